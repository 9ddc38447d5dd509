"""Token ids in, scores out: the plain path first, then the packed one, equal to it.

Reward-model benchmarks pad batches in input order; here exact duplicates are scored once, and rows of known
architectures lie one behind the other without padding. On CPU every other architecture goes a row at a time, which
beats padding there; on an accelerator in batches of like lengths where padding is known to change no score.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.kernel.models import layout
from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.folder import MOST_LABELS, listed_labels
from rmbench.kernel.models.heads import LAST, head_of, longest_row, paddable, reads_last_token
from rmbench.kernel.models.packed import attending, sent

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

CPU_BUDGET, CPU_HALF_BUDGET = 2048, 1024  # tokens of a batch: what it computes stays in the cache; measured
ACCELERATOR_BUDGET = 16_384
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
USUAL = {"cpu": "float32"}  # elsewhere bfloat16
WAYS = ("packed", "padded", "single")
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cublas_status_alloc_failed")

_configuration = threading.Lock()  # held while a model's configuration says otherwise than it was given


class ModelError(ValueError):
    """What a model cannot score: no label chosen, weights that are no numbers, ids or lengths that it does not know."""


@dataclass(slots=True)
class Meter:
    """What scoring took since the scorer was made: seconds, and tokens real and computed."""

    planning: float = 0.0
    forward: float = 0.0
    rows: int = 0
    repeated: int = 0
    real: int = 0
    computed: int = 0
    splits: int = 0
    ways: dict[str, int] = field(default_factory=dict)


def label_index(config: Any, label: int | str | None) -> int:
    """Return which logit is the score: the only one, else that of ``label`` (an index, or a name of ``id2label``)."""
    count = int(config.num_labels)
    names = [str((config.id2label or {}).get(index, f"LABEL_{index}")) for index in range(min(count, MOST_LABELS))]
    known = listed_labels(dict(enumerate(names)))
    if label is None:
        if count == 1:
            return 0
        raise ModelError(f"the model has {count} labels: choose one with label: {known}")
    if isinstance(label, str) and names.count(label) > 1:
        raise ModelError(f"{names.count(label)} labels are called {label!r}: give the index")
    if isinstance(label, str):
        index = names.index(label) if label in names else int(label) if label.isdecimal() else -1
    else:
        index = -1 if isinstance(label, bool) else label
    if not 0 <= index < count:
        raise ModelError(f"label is {label!r}, the model has {known}")
    return index


def check_weights(model: torch.nn.Module) -> None:
    """Raise ``ModelError`` naming the first parameter that holds a NaN or an infinity."""
    for name, weights in model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise ModelError(f"the weights {name} hold NaN or infinity: no score of this model means anything")


class TokenScorer:
    """Scores rows of token ids with a sequence-classification model.

    A score is the logit of the label, float64. It does not depend on the other rows beyond the last bits of the dtype.

    Args:
        model: a transformers ``...ForSequenceClassification``; it is put into eval mode, on the device, in the dtype.
        pad_id: any id of the vocabulary; it fills padded batches and is masked.
        device: where to compute.
        dtype: ``float32``, ``bfloat16`` or ``float16`` (default: ``float32`` on CPU, ``bfloat16`` elsewhere).
        batch_tokens: most tokens of a batch (default: on CPU 2,048, in 16 bits 1,024; elsewhere 16,384).
        label: which logit, where there are several: an index or a name of ``id2label``.
        way: ``packed``, ``padded`` or ``single``; chosen by architecture and device where it is None.

    Raises:
        ModelError: no label is chosen, an unknown dtype or way, or weights that are not finite.
    """

    def __init__(
        self,
        model: Any,
        *,
        pad_id: int,
        device: str = "cpu",
        dtype: str | None = None,
        batch_tokens: int | None = None,
        label: int | str | None = None,
        way: str | None = None,
    ) -> None:
        self.device = torch.device(device)
        self.dtype = dtype or USUAL.get(self.device.type, "bfloat16")
        if self.dtype not in DTYPES:
            raise ModelError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        self.label = label_index(model.config, label)
        self.head = head_of(model)
        self.model = model
        self.way = way or self._usual()
        if self.way not in WAYS:
            raise ModelError(f"way {way!r} is not one of {', '.join(WAYS)}")
        if self.way == "packed" and self.head is None:
            raise ModelError(f"{type(model).__name__} is not among the architectures that can be packed")
        self.model = model.to(device=device, dtype=DTYPES[self.dtype]).eval()
        check_weights(self.model)
        self.pad_id = pad_id
        self.budget = batch_tokens or budget_of(self.device.type, self.dtype)
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self.longest = longest_row(model)
        self.meter = Meter()
        self._lock = threading.Lock()
        self._calls = 0
        self._training: list[torch.nn.Module] = []

    @contextmanager
    def _evaluating(self) -> Iterator[None]:
        """Score without dropout, also with a model that is being trained: it is in train mode again afterwards."""
        with self._lock:
            self._calls += 1
            if self._calls == 1:
                self._training = [module for module in self.model.modules() if module.training]
                for module in self._training:
                    module.training = False
        try:
            yield
        finally:
            with self._lock:
                self._calls -= 1
                for module in self._training if not self._calls else ():
                    module.training = True

    def _usual(self) -> str:
        """Return the way of an architecture: where padding could change a score, a row goes alone everywhere."""
        if self.head is not None:
            return "packed"
        return "padded" if self.device.type != "cpu" and paddable(self.model) else "single"

    def plan(self, rows: Sequence[Any], prefixes: Sequence[int] | None = None) -> planning.Plan:
        """Return how these rows would be computed (see ``__call__``)."""
        return self._plan([np.asarray(row, dtype=np.int64) for row in rows], prefixes)

    def _plan(self, rows: list[np.ndarray], prefixes: Sequence[int] | None) -> planning.Plan:
        first, unique = planning.deduplicated(rows)
        different = [rows[place] for place in unique]
        if self.way == "single":
            batches = planning.single(different)
        elif self.way == "padded":
            batches = planning.padded(different, self.budget)
        else:
            shares = self.head is not None and self.head.position == LAST and prefixes is not None
            lengths = [prefixes[place] if shares and prefixes is not None else 0 for place in unique]
            batches = planning.packed(different, planning.shared_groups(different, lengths), self.budget)
        return planning.Plan(self.way, first, unique, batches)

    def __call__(self, rows: Sequence[Any], prefixes: Sequence[int] | None = None) -> np.ndarray:
        """Score rows of token ids.

        Args:
            rows: one sequence of ids each, none of them empty.
            prefixes: how many leading tokens of each row are its prompt's: rows with the same ones share them where
                the model reads from left to right.

        Returns:
            float64 (n,), in input order.

        Raises:
            ModelError: an empty row, an id beyond the vocabulary, a row longer than the model has positions for.
        """
        begun = time.perf_counter()
        ids = [np.asarray(row, dtype=np.int64) for row in rows]
        if prefixes is not None and len(prefixes) != len(ids):
            raise ModelError(f"{len(ids)} rows, but {len(prefixes)} prefixes")
        self._check(ids)
        made = self._plan(ids, prefixes)
        different = [ids[place] for place in made.unique]
        planned = time.perf_counter()
        with self._evaluating():
            scores = self._scores(made.batches, different)
        self.meter.planning += planned - begun
        self.meter.forward += time.perf_counter() - planned
        self._count(made, len(ids))
        return scores[np.array(made.first, np.int64)]

    def _check(self, ids: Sequence[np.ndarray]) -> None:
        for place, row in enumerate(ids):
            if row.ndim != 1:
                raise ModelError(f"row {place} has the shape {row.shape}, expected one sequence of token ids")
            if not len(row):
                raise ModelError(f"row {place} has no tokens")
            if self.longest is not None and len(row) > self.longest:
                raise ModelError(f"row {place} has {len(row)} tokens, the model has positions for {self.longest}")
            for odd in (int(row.max()), int(row.min())):
                if not 0 <= odd < self.vocabulary:
                    raise ModelError(
                        f"row {place} has the token id {odd}, the model knows 0 to {self.vocabulary - 1}: "
                        "is this its tokenizer?"
                    )

    def _count(self, made: planning.Plan, rows: int) -> None:
        self.meter.rows += rows
        self.meter.repeated += rows - len(made.unique)
        self.meter.real += made.real
        self.meter.computed += made.computed
        self.meter.ways[made.way] = self.meter.ways.get(made.way, 0) + rows

    def _scores(self, batches: Sequence[planning.Batch], rows: Sequence[np.ndarray]) -> np.ndarray:
        """Score batches; the device is waited for once, at the end."""
        found = [piece for batch in batches for piece in self._fitting(batch, rows)]
        scores = np.empty(len(rows))
        if found:
            order = [row for batch, _ in found for row in batch.rows]
            scores[order] = torch.cat([column for _, column in found]).cpu().numpy()
        return scores

    def _fitting(
        self, batch: planning.Batch, rows: Sequence[np.ndarray]
    ) -> Iterator[tuple[planning.Batch, torch.Tensor]]:
        """Score a batch; where the memory does not hold it, its halves, and smaller batches from then on."""
        waiting = [batch]
        while waiting:
            batch = waiting.pop()
            if batch.computed <= self.budget or len(batch.rows) == 1:
                column = self._column(batch, rows)
                if column is not None:
                    yield batch, column
                    continue
                self.meter.splits += 1
                self.budget = max(1, min(self.budget, batch.computed // 2))
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
            waiting += reversed(planning.halves(batch, rows, self.way, self.budget))

    def _column(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor | None:
        """Return the scores of a batch, float64 on the device, or None where the memory does not hold it.

        Halving goes on outside of the except block: its traceback holds the tensors that did not fit.
        """
        try:
            with torch.inference_mode():
                logits = self._packed(batch, rows) if self.way == "packed" else self._padded(batch, rows)
                return logits[:, self.label].double()
        except RuntimeError as error:
            if not is_memory(error) or len(batch.rows) == 1:
                raise
        return None

    def _padded(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor:
        """Return logits (n, labels) of rows padded on the right; the position read comes from their lengths."""
        taken = [rows[row] for row in batch.rows]
        if self.head is None:
            return self._own(taken)
        laid = layout.padded(taken, self.pad_id, self.head, self.model)
        given = {"input_ids": sent(laid.ids, self.device), "attention_mask": sent(laid.mask, self.device)}
        if laid.positions is not None:
            given["position_ids"] = sent(laid.positions, self.device)
        hidden = self._hidden(given)
        places = torch.arange(len(taken), device=self.device), sent(laid.read, self.device)
        return self.head.read(self.model, hidden[places])

    def _own(self, taken: Sequence[np.ndarray]) -> torch.Tensor:
        """Return the logits of the model's own forward pass.

        Many models look for the last token that is not the padding token, which is often the end-of-text token: a row
        that ends with it would be read too early. For the time of the call padding is a token that ends none of them.
        """
        pad, ends = self.pad_id, {int(row[-1]) for row in taken}
        seeks = reads_last_token(self.model)
        if seeks:
            pad = next((token for token in range(self.vocabulary) if token not in ends), -1)
            if pad < 0 and len(taken) > 1:
                return torch.cat([self._own([row]) for row in taken])
        laid = layout.padded(taken, pad, None, self.model)
        given = {"input_ids": sent(laid.ids, self.device), "attention_mask": sent(laid.mask, self.device)}
        with _sought(self.model, pad) if seeks else nullcontext():
            logits: torch.Tensor = self.model(**given).logits
        return logits

    def _packed(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor:
        """Return logits (n, labels) of rows that lie one behind the other."""
        head = self.head
        if head is None:
            raise ModelError("this architecture cannot be packed")
        laid = layout.packed(batch, rows, head, self.model)
        given = {"input_ids": sent(laid.ids[None], self.device)}
        given["position_ids"] = sent(laid.positions[None], self.device)
        with attending(getattr(self.model, head.backbone), laid.segments):
            hidden = self._hidden(given)
        return head.read(self.model, hidden[0, sent(laid.read, self.device)])

    def _hidden(self, given: dict[str, Any]) -> torch.Tensor:
        """Return the last hidden states (batch, tokens, width) of the model without its head."""
        head = self.head
        backbone = self.model if head is None else getattr(self.model, head.backbone)
        if head is not None and head.token_types:
            given["token_type_ids"] = torch.zeros_like(given["input_ids"])
        if head is not None and head.position == LAST:
            given["use_cache"] = False
        hidden: torch.Tensor = backbone(**given).last_hidden_state
        return hidden


@contextmanager
def _sought(model: Any, pad: int) -> Iterator[None]:
    """Let a model take another token for padding; one thread at a time, since its configuration says which."""
    config = model.config.get_text_config()
    with _configuration:
        before, config.pad_token_id = config.pad_token_id, pad
        try:
            yield
        finally:
            config.pad_token_id = before


def budget_of(device: str, dtype: str) -> int:
    """Return the most tokens of a batch by default, on a kind of device."""
    if device != "cpu":
        return ACCELERATOR_BUDGET
    return CPU_BUDGET if dtype == "float32" else CPU_HALF_BUDGET


def is_memory(error: RuntimeError) -> bool:
    """Whether an error says that the memory does not hold what was asked for."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in NO_MEMORY)
