"""Rows of token ids through a model, whatever is read from it: in batches that fit, with what it took.

The plan decides which rows are computed together. A batch that the memory does not hold is halved.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.heads import LAST, Head, longest_row
from rmbench.kernel.models.packed import attending, sent

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rmbench.kernel.models import layout

    Read = Callable[[planning.Batch], torch.Tensor]  # a batch to float64 (rows of the batch,), on the device

CPU_BUDGET, CPU_HALF_BUDGET = 2048, 1024  # tokens of a batch: what it computes stays in the cache; measured
ACCELERATOR_BUDGET = 16_384
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
USUAL = {"cpu": "float32"}  # elsewhere bfloat16
WAYS = ("packed", "padded", "single")
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory", "cublas_status_alloc_failed")


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


def check_weights(model: torch.nn.Module) -> None:
    """Raise ``ModelError`` naming the first parameter that holds a NaN or an infinity."""
    for name, weights in model.named_parameters():
        if not bool(torch.isfinite(weights).all()):
            raise ModelError(f"the weights {name} hold NaN or infinity: no score of this model means anything")


class Passes:
    """A model on its device, and how rows go through it.

    Args:
        model: a transformers model; it is put into eval mode, on the device, in the dtype.
        head: how it is read where rows can be packed, else None.
        device, dtype, batch_tokens, way: see ``forward.TokenScorer``; ``way`` is a choice already made.

    Raises:
        ModelError: an unknown dtype or way, or weights that are not finite.
    """

    def __init__(
        self, model: Any, head: Head | None, *, device: str, dtype: str | None, batch_tokens: int | None,
        way: str | None,
    ) -> None:  # fmt: skip
        self.device = torch.device(device)
        self.dtype = dtype or USUAL.get(self.device.type, "bfloat16")
        if self.dtype not in DTYPES:
            raise ModelError(f"dtype {self.dtype!r} is not one of {', '.join(DTYPES)}")
        self.head = head
        self.model = model
        self.way = way or self._usual()
        if self.way not in WAYS:
            raise ModelError(f"way {way!r} is not one of {', '.join(WAYS)}")
        if self.way == "packed" and self.head is None:
            raise ModelError(f"{type(model).__name__} is not among the architectures that can be packed")
        self.model = model.to(device=device, dtype=DTYPES[self.dtype]).eval()
        check_weights(self.model)
        self.budget = batch_tokens or budget_of(self.device.type, self.dtype)
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self.longest = longest_row(model)
        self.meter = Meter()
        self._lock = threading.Lock()
        self._calls = 0
        self._training: list[torch.nn.Module] = []

    def _usual(self) -> str:
        """Return the way of an architecture: packed where that is known to give the same, else a row alone."""
        return "packed" if self.head is not None else "single"

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

    def _scores(self, batches: Sequence[planning.Batch], rows: Sequence[np.ndarray], read: Read) -> np.ndarray:
        """Score batches, as ``read`` scores one; the device is waited for once, at the end."""
        found = [piece for batch in batches for piece in self._fitting(batch, rows, read)]
        scores = np.empty(len(rows))
        if found:
            order = [row for batch, _ in found for row in batch.rows]
            scores[order] = torch.cat([column for _, column in found]).cpu().numpy()
        return scores

    def _fitting(
        self, batch: planning.Batch, rows: Sequence[np.ndarray], read: Read
    ) -> Iterator[tuple[planning.Batch, torch.Tensor]]:
        """Score a batch; where the memory does not hold it, its halves, and smaller batches from then on."""
        waiting = [batch]
        while waiting:
            batch = waiting.pop()
            if batch.computed <= self.budget or len(batch.rows) == 1:
                column = self._column(batch, read)
                if column is not None:
                    yield batch, column
                    continue
                self.meter.splits += 1
                self.budget = max(1, min(self.budget, batch.computed // 2))
                if self.device.type == "cuda":
                    torch.cuda.empty_cache()
            waiting += reversed(planning.halves(batch, rows, self.way, self.budget))

    def _column(self, batch: planning.Batch, read: Read) -> torch.Tensor | None:
        """Return the scores of a batch, float64 on the device, or None where the memory does not hold it.

        Halving goes on outside of the except block: its traceback holds the tensors that did not fit.
        """
        try:
            with torch.inference_mode():
                return read(batch)
        except RuntimeError as error:
            if not is_memory(error) or len(batch.rows) == 1:
                raise
        return None

    def _laid(self, laid: layout.Packed, head: Head) -> torch.Tensor:
        """Return the last hidden states (tokens, width) of rows that lie one behind the other."""
        given = {"input_ids": sent(laid.ids[None], self.device)}
        given["position_ids"] = sent(laid.positions[None], self.device)
        with attending(getattr(self.model, head.backbone), laid.segments):
            return self._hidden(given)[0]

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


def budget_of(device: str, dtype: str) -> int:
    """Return the most tokens of a batch by default, on a kind of device."""
    if device != "cpu":
        return ACCELERATOR_BUDGET
    return CPU_BUDGET if dtype == "float32" else CPU_HALF_BUDGET


def is_memory(error: RuntimeError) -> bool:
    """Whether an error says that the memory does not hold what was asked for."""
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in NO_MEMORY)
