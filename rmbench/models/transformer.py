"""A transformer as reward model: a new small one or a local Hugging Face folder, fitted whole or with adapters.

With the architecture's own pooling the checkpoint is an ordinary ``...ForSequenceClassification`` folder with one
label, which the reward ``hf`` scores alike. One difference remains where a decoder learns ratings by the squared loss:
its head has no bias, so the mean rating stands in config.json and ``hf`` leaves it out.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.errors import InputError
from rmbench.kernel.checks import choice, whole
from rmbench.kernel.models.folder import TOKENIZER, inspect
from rmbench.kernel.models.forward import DTYPES, TokenScorer
from rmbench.kernel.models.load import check_vocabulary, load_tokenizer, offline, quiet
from rmbench.kernel.models.load import load as load_classifier
from rmbench.models import checkpoint, pretrained, tokenizers
from rmbench.models.card import card
from rmbench.models.memory import check_memory
from rmbench.models.ranker import Ranker
from rmbench.models.reading import Read, Reader, columns, read, texts_of
from rmbench.models.training import reproducible, train
from rmbench.store import canonical

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.api import Batch, Runtime
    from rmbench.judged import Fitting, Judgements
    from rmbench.kernel.models.encode import Encoded
    from rmbench.kernel.models.folder import Folder
    from rmbench.models.checkpoint import Checkpoint
    from rmbench.models.neural_options import Transformer
    from rmbench.models.trained import Trained

    Score = Callable[[Sequence[np.ndarray], Sequence[int]], np.ndarray]
    Train = Callable[["Learner", Judgements, str, Transformer, Fitting], Trained]

MEAN = "RmbenchMeanPooling"  # as an architecture: no ...ForSequenceClassification, so that ``hf`` refuses it
BACKBONE = "backbone."
AGAIN = "fit the model again"


class Learner:
    """What ``training.train`` trains: a ranker and the token ids of both splits."""

    def __init__(self, module: Ranker, data: Read) -> None:
        self.module = module
        self.rows = data.rows

    def scores(self, split: str, rows: Sequence[int]) -> torch.Tensor:
        """Return the scores of rows of a split, float32 (len(rows),)."""
        taken = [self.rows[split][row] for row in rows]
        found: torch.Tensor = self.module(*inputs(taken))
        return found


def inputs(rows: Sequence[Encoded]) -> tuple[list[np.ndarray], list[int]]:
    """Return token ids, int64, and lengths of the prompts, as a ranker and the kernel take them."""
    return [one.ids.astype(np.int64) for one in rows], [one.prompt for one in rows]


def check(options: Transformer) -> None:
    """Raise an ``InputError`` for sizes that take more memory than there is, or a folder that cannot be begun with."""
    if options.init is None:
        check_memory(0, pretrained.size(options, options.vocabulary), where="transformer")
    else:
        pretrained.loaded(inspect(options.init, headless=True), options, "cpu")


def fit(
    judgements: Judgements, loss: str, options: Transformer, fitting: Fitting, *, by: Train | None = None
) -> Path:  # fmt: skip
    """Fit a transformer to train and write the checkpoint.

    ``by`` is what trains the learner in place of ``training.train``, called and answering as that.

    Raises:
        InputError: a folder that must not be loaded or does not fit the options, more memory than there is, no row that
            can be read, no peft where adapters are asked for.
    """
    begun = time.perf_counter()
    folder = None if options.init is None else inspect(options.init, headless=True)
    if folder is None:
        check(options)
    with reproducible(fitting.runtime):
        model, tokenizer, files = _begin(judgements, options, folder, fitting.runtime.device)
        ranker = Ranker(model, pooling=options.pooling, dropout=options.dropout).to(fitting.runtime.device)
        adapters = pretrained.adapted(model, options) if options.lora_rank else None
    data = read(judgements, Reader(tokenizer, max_length=options.max_length, truncation=options.truncation))
    trained = (by or train)(Learner(ranker, data), data.judgements, loss, options, fitting)
    if adapters is not None:
        ranker.model = adapters.merge_and_unload()
    shift = _rescale(ranker, trained)
    tensors, config = _saved(ranker)
    reading = {"max_length": options.max_length, "truncation": options.truncation, "pooling": options.pooling}
    learnt = sum(one.numel() for one in tensors.values())
    return checkpoint.write(
        fitting.folder, tensors=tensors, files=files,
        config={**config, "reading": {**reading, "shift": shift}, "training": trained.record()},
        card=card(data.judgements, fitting, trained, parameters=learnt, notes=data.notes), log=trained.curve,
        measures={"seconds": time.perf_counter() - begun, "parameters": learnt},
    )  # fmt: skip


def _begin(
    judgements: Judgements, options: Transformer, folder: Folder | None, device: str
) -> tuple[Any, Any, Mapping[str, bytes]]:
    """Return the model to begin with, its tokenizer, and the tokenizer's files for the checkpoint."""
    if folder is not None:
        model, tokenizer = pretrained.loaded(folder, options, device)
        if options.chat_template == "none":
            tokenizer.chat_template = None
        return model, tokenizer, _tokenizer_files(folder, tokenizer, options)
    files = tokenizers.train(texts_of(judgements), vocabulary=options.vocabulary, max_length=options.max_length)
    if options.chat_template == "none":
        del files[tokenizers.CHAT]
    tokenizer = tokenizers.made_of(files)
    return pretrained.new(options, tokenizer).to(device), tokenizer, files


def _tokenizer_files(folder: Folder, tokenizer: Any, options: Transformer) -> dict[str, bytes]:
    """Return the tokenizer's files of a folder, whose limit and template say how the model was fitted."""
    files = {name: (folder.path / name).read_bytes() for name in TOKENIZER if (folder.path / name).is_file()}
    for name in (tokenizers.CHAT, "chat_template.json"):
        files.pop(name, None)
    left = {name: value for name, value in folder.tokenizer.items() if name not in {"chat_template", "auto_map"}}
    files[tokenizers.SETTINGS] = canonical({**left, "model_max_length": options.max_length})
    if tokenizer.chat_template is not None:
        files[tokenizers.CHAT] = tokenizer.chat_template.encode()
    return files


def _rescale(ranker: Ranker, trained: Trained) -> float:
    """Put scores on the raters' scale by the last layer; return what is left to be added to them."""
    if trained.scale == 1.0 and trained.shift == 0.0:
        return 0.0
    last = [one for one in ranker.modules() if isinstance(one, torch.nn.Linear) and one.out_features == 1][-1]
    with torch.no_grad():
        last.weight.mul_(trained.scale)
        if last.bias is None:
            return trained.shift
        last.bias.mul_(trained.scale).add_(trained.shift)
    return 0.0


def _saved(ranker: Ranker) -> tuple[dict[str, torch.Tensor], dict[str, Any]]:
    """Return tensors and configuration as ``save_pretrained`` writes them; mean pooling has a form of its own."""
    if ranker.head is not None:
        config = json.loads(ranker.model.config.to_json_string(use_diff=True))
        tensors = {f"{BACKBONE}{name}": one for name, one in ranker.model.base_model.state_dict().items()}
        tensors |= {f"head.{name}": one for name, one in ranker.head.state_dict().items()}
        config["architectures"] = [MEAN]
    else:
        from safetensors.torch import load_file

        with tempfile.TemporaryDirectory() as place, quiet():
            ranker.model.save_pretrained(place, max_shard_size="1000GB")
            tensors = load_file(Path(place) / "model.safetensors")
            config = json.loads((Path(place) / "config.json").read_text(encoding="utf-8"))
    dropped = ("_name_or_path", "auto_map")
    tensors = {name: one.detach().cpu().contiguous().clone() for name, one in tensors.items()}
    return tensors, {name: value for name, value in config.items() if name not in dropped}


def load(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a checkpoint.

    Raises:
        InputError: what the reward ``hf`` refuses; a configuration that ``fit`` does not write.
        EnvironmentFault: the weights do not fit the free memory.
    """
    found = checkpoint.read(folder)
    reading = _reading(found.config, folder)
    if reading["pooling"] == "mean":
        tokenizer, score = _mean(folder, runtime, found)
    else:
        loaded = load_classifier(inspect(folder), dtype=runtime.dtype, device=runtime.device)
        tokenizer = loaded.tokenizer
        pad = loaded.model.config.get_text_config().pad_token_id or tokenizer.pad_token_id or 0
        score = TokenScorer(loaded.model, pad_id=pad, device=runtime.device, dtype=runtime.dtype)
    reader = Reader(tokenizer, max_length=reading["max_length"], truncation=reading["truncation"], where=str(folder))
    return Scorer(reader, score, shift=reading["shift"])


def _reading(config: Mapping[str, Any], folder: Path) -> Mapping[str, Any]:
    """Return how rows are read, as ``fit`` wrote it into the configuration."""
    found = config.get("reading")
    try:
        if not isinstance(found, dict):
            raise ValueError("has no object 'reading'")  # noqa: TRY301 - one place for what is wrong
        whole("max_length", found.get("max_length"), 1)
        choice("truncation", found.get("truncation"), ("left", "both"))
        choice("pooling", found.get("pooling"), ("last", "mean"))
        shift = found.get("shift")
        if isinstance(shift, bool) or not isinstance(shift, int | float):
            raise ValueError(f"shift is {shift!r}, expected a number")  # noqa: TRY301 - as above
    except ValueError as error:
        raise InputError(str(error), where=str(folder / "config.json"), help=AGAIN) from error
    return found


def _mean(folder: Path, runtime: Runtime, found: Checkpoint) -> tuple[Any, Score]:
    """Return the tokenizer of a checkpoint with mean pooling, and what scores token ids."""
    files = inspect(folder, headless=True)
    with offline(), quiet():
        model = pretrained.empty(files)
        tokenizer, _ = load_tokenizer(files)
        ranker = Ranker(model, pooling="mean", dropout=0.0)
    check_vocabulary(model, tokenizer, str(folder))
    parts = {BACKBONE: model.base_model, "head.": ranker.head}
    expected = {
        f"{prefix}{name}": tuple(one.shape) for prefix, part in parts.items() for name, one in part.state_dict().items()
    }
    tensors = checkpoint.tensors(found, expected)
    for prefix, part in parts.items():
        part.load_state_dict({
            name: torch.from_numpy(tensors[f"{prefix}{name}"]) for name in part.state_dict()
        })  # fmt: skip
    ranker = ranker.to(device=runtime.device, dtype=DTYPES[runtime.dtype]).eval()

    def score(rows: Sequence[np.ndarray], prefixes: Sequence[int]) -> np.ndarray:
        with torch.inference_mode():
            scores: np.ndarray = ranker(rows, prefixes).double().cpu().numpy()
        return scores

    return tokenizer, score


class Scorer:
    """Scores batches; the columns are score, tokens and cut."""

    def __init__(self, reader: Reader, score: Score, *, shift: float) -> None:
        self.reader, self.score, self.shift = reader, score, shift

    def __call__(self, batch: Batch) -> Mapping[str, Sequence[Any]]:
        """Return the columns score, tokens (of the row as it is read) and cut (tokens that were left out)."""
        rows = self.reader(batch)
        there = [one for one in rows if one.reason is None]
        scores = self.score(*inputs(there)) + self.shift if there else np.zeros(0)
        return columns(rows, scores.tolist())
