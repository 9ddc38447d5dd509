"""Texts to vectors with a local sentence encoder, as sentence-transformers makes them, without its padding.

Different texts are encoded once. Rows of known architectures lie one behind the other (``packed``), each of any other
goes alone, by the model's own forward pass. A vector depends on its own text only, beyond the last bits of the dtype.
"""

from __future__ import annotations

import hashlib
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.content import digest
from rmbench.errors import EnvironmentFault, InputError
from rmbench.kernel.models import layout
from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.forward import DTYPES, ModelError, budget_of, is_memory
from rmbench.kernel.models.heads import FIRST, Head, behind_padding, longest_row
from rmbench.kernel.models.load import Kind, load
from rmbench.kernel.models.packed import attending, sent
from rmbench.kernel.models.sentence import Sentences, inspect_encoder
from rmbench.kernel.models.vectors import Vectors, key_of

if TYPE_CHECKING:
    from collections.abc import Sequence

CHUNK = 512  # texts that are encoded before they are kept
UNUSED = r"(.*\.)?pooler\.|(cls|lm_head|classifier|pre_classifier|vocab_\w+|qa_outputs|score|generator_\w+)\."


def _no_hidden(*_: object) -> torch.Tensor:
    raise ModelError("an encoder has no head")


def _encoder(**more: Any) -> Head:
    return Head(FIRST, "", _no_hidden, **more)


# Those that a test holds equal to their own forward pass.
ENCODERS = {
    "BertModel": _encoder(token_types=True),
    "RobertaModel": _encoder(offset=behind_padding, token_types=True),
    "XLMRobertaModel": _encoder(offset=behind_padding, token_types=True),
    "DistilBertModel": _encoder(),
}


@dataclass(slots=True)
class Took:
    """What embedding took since the embedder was made.

    ``texts`` counts every text given, ``encoded`` those that went through the model, ``cut`` those of them that were
    longer than the encoder takes, ``tokens`` their tokens.
    """

    seconds: float = 0.0
    texts: int = 0
    encoded: int = 0
    cut: int = 0
    tokens: int = 0


class Embedder:
    """Makes vectors of texts; the model is loaded when the first text is not known yet.

    Args:
        path: a local folder of a sentence encoder (``sentence.inspect_encoder``).
        device: where to compute.
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        cache: a folder in which vectors are kept between processes, or None.
        batch_tokens: most tokens of a batch.

    Raises:
        InputError: the folder cannot be used.
    """

    def __init__(
        self,
        path: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        cache: str | Path | None = None,
        batch_tokens: int | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ModelError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        self.sentences = inspect_encoder(path)
        self.device, self.dtype = torch.device(device), dtype
        self.budget = batch_tokens or budget_of(self.device.type, dtype)
        self.store = Vectors(None if cache is None else store_folder(self.sentences, cache, device=device, dtype=dtype))
        self.took = Took()
        self._made: tuple[Any, Any] | None = None

    def __call__(self, texts: Sequence[str]) -> np.ndarray:
        """Embed texts.

        Returns:
            float32 (n, width), in input order, of length 1 where the encoder normalises. A text without any token has
            zeros.

        Raises:
            InputError, EnvironmentFault: the model cannot be loaded, or its cache not written.
            ModelError: a vector that is not finite.
        """
        begun = time.perf_counter()
        keys = [key_of(text) for text in texts]
        different = dict(zip(keys, texts, strict=True))
        found = self.store.get(list(different))
        missing = [key for key in different if key not in found]
        for start in range(0, len(missing), CHUNK):
            some = missing[start : start + CHUNK]
            new = dict(zip(some, self._encode([different[key] for key in some]), strict=True))
            self.store.put(new)
            found |= new
        self.took.texts += len(texts)
        self.took.seconds += time.perf_counter() - begun
        if not texts:
            return np.zeros((0, self.sentences.width or 0), np.float32)
        return np.stack([found[key] for key in keys])

    def close(self) -> None:
        """Write the vectors that are not on disk yet."""
        self.store.flush()

    def _encode(self, texts: Sequence[str]) -> np.ndarray:
        """Return the vectors of different texts, float32 (n, width)."""
        model, tokenizer = self._model()
        rows = [self._ids(tokenizer, text) for text in texts]
        full = [place for place, row in enumerate(rows) if len(row)]
        some = [rows[place] for place in full]
        vectors = np.zeros((len(texts), int(model.config.get_text_config().hidden_size)), np.float32)
        head = head_of_encoder(model)
        if head is None:
            batches = planning.single(some)
        else:
            batches = planning.packed(some, [planning.Group((row,), 0) for row in range(len(some))], self.budget)
        for batch in batches:
            for place, vector in zip(batch.rows, self._fitting(model, head, batch, some), strict=True):
                vectors[full[place]] = vector
        self.took.encoded += len(texts)
        self.took.tokens += sum(map(len, rows))
        if not np.isfinite(vectors).all():
            raise ModelError(f"{self.sentences.folder.path}: a vector holds NaN or infinity in {self.dtype}")
        return vectors

    def _ids(self, tokenizer: Any, text: str) -> np.ndarray:
        """Return the tokens of a text, int64 (n,), as many as the encoder takes."""
        made = self.sentences
        whole = made.prefix + text
        whole = whole.lower() if made.lower else whole
        kept: list[int] = tokenizer(whole, verbose=False)["input_ids"]
        if made.limit is not None and len(kept) > made.limit:
            self.took.cut += 1
            kept = tokenizer(whole, truncation=True, max_length=made.limit, verbose=False)["input_ids"]
        return np.asarray(kept, np.int64)

    def _model(self) -> tuple[Any, Any]:
        if self._made is None:
            folder = self.sentences.folder
            kind = Kind(
                _maker, "encoder", "an encoder of another architecture, or one that was cut", re.compile(UNUSED)
            )
            loaded = load(folder, dtype=self.dtype, device=str(self.device), kind=kind)
            model = loaded.model.to(self.device).eval()
            most = longest_row(model)
            if most is not None and (self.sentences.limit is None or self.sentences.limit > most):
                what = f"a text may have {self.sentences.limit} tokens, the model has positions for {most:,}"
                raise InputError(what, where=str(folder.path), help="correct max_seq_length")
            self._made = model, loaded.tokenizer
        return self._made

    def _fitting(self, model: Any, head: Head | None, batch: planning.Batch, rows: Sequence[np.ndarray]) -> np.ndarray:
        """Return the vectors of a batch; where the memory does not hold it, of its halves."""
        try:
            with torch.inference_mode():
                return self._pooled(_hidden(model, head, batch, rows, self.device)).float().cpu().numpy()
        except RuntimeError as error:
            if not is_memory(error):
                raise
            if len(batch.rows) == 1:
                what = f"a text of {len(rows[batch.rows[0]]):,} tokens does not fit the memory"
                raise EnvironmentFault(what, where=str(self.device), help="a machine with more memory") from None
        pieces = planning.halves(batch, rows, "packed", self.budget)
        return np.concatenate([self._fitting(model, head, piece, rows) for piece in pieces])

    def _pooled(self, hidden: Sequence[torch.Tensor]) -> torch.Tensor:
        """Return vectors (n, width) of the hidden states (tokens, width) of rows."""
        if self.sentences.pooling == "cls":
            vectors = torch.stack([one[0] for one in hidden])
        else:
            vectors = torch.stack([one.float().mean(0) for one in hidden])
        return torch.nn.functional.normalize(vectors.float(), dim=1) if self.sentences.normalised else vectors


def _maker() -> Any:
    from transformers import AutoModel

    return AutoModel


def head_of_encoder(model: Any) -> Head | None:
    """Return how an encoder's rows are packed, None where it is called a row at a time."""
    kind, given = type(model), model.config.to_dict()
    known = ENCODERS.get(kind.__name__) if kind.__module__.startswith("transformers.models.") else None
    odd = given.get("is_decoder", False) or given.get("is_causal", False) is not False
    return None if odd else known


def _hidden(
    model: Any, head: Head | None, batch: planning.Batch, rows: Sequence[np.ndarray], device: torch.device
) -> list[torch.Tensor]:
    """Return the last hidden states of each row of a batch, (tokens, width)."""
    if head is None:
        given = [torch.from_numpy(rows[row])[None].to(device) for row in batch.rows]
        return [model(input_ids=ids, attention_mask=torch.ones_like(ids)).last_hidden_state[0] for ids in given]
    laid = layout.packed(batch, rows, head, model)
    ids = sent(laid.ids[None], device)
    more = {"token_type_ids": torch.zeros_like(ids)} if head.token_types else {}
    with attending(model, laid.segments):
        hidden = model(input_ids=ids, position_ids=sent(laid.positions[None], device), **more).last_hidden_state[0]
    return [hidden[segment.start : segment.stop] for segment in laid.segments]


def store_folder(sentences: Sentences, cache: str | Path, *, device: str, dtype: str) -> Path:
    """Return where an encoder's vectors are kept: named by all that they depend on."""
    from importlib.metadata import version

    words = [digest(sentences.folder.path), device.partition(":")[0], dtype, version("torch"), version("transformers")]
    return Path(cache) / "embeddings" / hashlib.sha256(" ".join(words).encode()).hexdigest()[:32]
