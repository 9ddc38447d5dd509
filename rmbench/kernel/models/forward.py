"""Token ids in, scores out: the plain path first, then the packed one, equal to it.

Reward-model benchmarks pad batches in input order; here exact duplicates are scored once, and rows of known
architectures lie one behind the other without padding. On CPU every other architecture goes a row at a time, which
beats padding there; on an accelerator in batches of like lengths where padding is known to change no score.
"""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager, nullcontext
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.kernel.models import layout
from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.folder import MOST_LABELS, listed_labels
from rmbench.kernel.models.heads import LAST, head_of, paddable, reads_last_token
from rmbench.kernel.models.packed import sent
from rmbench.kernel.models.passes import DTYPES, ModelError, Passes, budget_of, check_weights, is_memory

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

__all__ = [
    "DTYPES", "ModelError", "TokenScorer", "budget_of", "check_weights", "is_memory", "label_index", "probabilities",
]  # fmt: skip

OUTPUTS = ("logit", "probability")

_configuration = threading.Lock()  # held while a model's configuration says otherwise than it was given


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


def probabilities(logits: torch.Tensor, config: Any) -> torch.Tensor:
    """Return the probability of each label, float64 (n, labels), from logits of any float type.

    The softmax over the labels; where there is one, or several may hold at once (``problem_type`` is
    ``multi_label_classification``), the sigmoid of each.
    """
    alone = logits.shape[1] == 1 or config.problem_type == "multi_label_classification"
    found = logits.double().sigmoid() if alone else logits.double().softmax(dim=1)
    return torch.where(logits.isfinite().all(dim=1, keepdim=True), found, torch.nan)  # no 1.0 of an overflow


class TokenScorer(Passes):
    """Scores rows of token ids with a sequence-classification model.

    A score is the logit of the label, float64, or its probability. It does not depend on the other rows beyond the last
    bits of the dtype.

    Args:
        model: a transformers ``...ForSequenceClassification``; it is put into eval mode, on the device, in the dtype.
        pad_id: any id of the vocabulary; it fills padded batches and is masked.
        device: where to compute.
        dtype: ``float32``, ``bfloat16`` or ``float16`` (default: ``float32`` on CPU, ``bfloat16`` elsewhere).
        batch_tokens: most tokens of a batch (default: on CPU 2,048, in 16 bits 1,024; elsewhere 16,384).
        label: which logit, where there are several: an index or a name of ``id2label``.
        way: ``packed``, ``padded`` or ``single``; chosen by architecture and device where it is None.
        output: ``logit``, or ``probability``: see ``probabilities``.

    Raises:
        ModelError: no label is chosen, an unknown dtype, way or output, or weights that are not finite.
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
        output: str = "logit",
    ) -> None:
        self.label = label_index(model.config, label)
        if output not in OUTPUTS:
            raise ModelError(f"output {output!r} is not one of {', '.join(OUTPUTS)}")
        self.output = output
        self.pad_id = pad_id
        super().__init__(model, head_of(model), device=device, dtype=dtype, batch_tokens=batch_tokens, way=way)

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
            scores = self._scores(made.batches, different, lambda batch: self._values(batch, different))
        self.meter.planning += planned - begun
        self.meter.forward += time.perf_counter() - planned
        self._count(made, len(ids))
        return scores[np.array(made.first, np.int64)]

    def _values(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor:
        """Return the scores of a batch, float64 (n,)."""
        logits = self._packed(batch, rows) if self.way == "packed" else self._padded(batch, rows)
        if self.output == "logit":
            return logits[:, self.label].double()
        return probabilities(logits, self.model.config)[:, self.label]

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
        return head.read(self.model, self._laid(laid, head)[sent(laid.read, self.device)])


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
