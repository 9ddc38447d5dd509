"""Token ids in, scores out: the plain path first, then the packed one, equal to it.

Reward-model benchmarks pad batches in input order; here exact duplicates are scored once, and rows of known architectures
lie one behind the other without padding. On CPU every other architecture goes a row at a time, which beats padding
there; on an accelerator in batches of like lengths.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.heads import LAST, head_of, positions
from rmbench.kernel.models.packed import Segment, attending

BUDGET = {"cpu": 2048}  # tokens of a batch: what it computes stays in the cache; measured in tests/benchmarks
ACCELERATOR_BUDGET = 16_384
DTYPES = {"float32": torch.float32, "bfloat16": torch.bfloat16, "float16": torch.float16}
NO_MEMORY = ("out of memory", "not enough memory", "can't allocate memory")


class ModelError(ValueError):
    """A model that cannot score: no label chosen, weights that are no numbers, ids that it does not know."""


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
    names = {str(name): int(index) for index, name in (config.id2label or {}).items()}
    if label is None:
        if count == 1:
            return 0
        known = ", ".join(f"{index} ({name})" for name, index in sorted(names.items(), key=lambda item: item[1]))
        raise ModelError(f"the model has {count} labels: choose one with label ({known})")
    index = names.get(label, -1) if isinstance(label, str) else label
    if not 0 <= index < count:
        raise ModelError(f"label {label!r} is not one of the model's {count}: {', '.join(sorted(names))}")
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
        dtype: ``float32``, ``bfloat16`` or ``float16``.
        batch_tokens: most tokens of a batch (default: 2,048 on CPU).
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
        dtype: str = "float32",
        batch_tokens: int | None = None,
        label: int | str | None = None,
        way: str | None = None,
    ) -> None:
        if dtype not in DTYPES:
            raise ModelError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
        check_weights(model)
        self.label = label_index(model.config, label)
        self.model = model.to(device=device, dtype=DTYPES[dtype]).eval()
        self.head = head_of(model)
        self.pad_id = pad_id
        self.device = torch.device(device)
        self.budget = batch_tokens or BUDGET.get(self.device.type, ACCELERATOR_BUDGET)
        self.way = way or self._usual()
        if self.way == "packed" and self.head is None:
            raise ModelError(f"{type(model).__name__} is not among the architectures that can be packed")
        self.vocabulary = int(model.get_input_embeddings().weight.shape[0])
        self.meter = Meter()

    def _usual(self) -> str:
        if self.head is not None:
            return "packed"
        return "single" if self.device.type == "cpu" else "padded"

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
            ModelError: an empty row, or an id beyond the vocabulary.
        """
        begun = time.perf_counter()
        ids = [np.asarray(row, dtype=np.int64) for row in rows]
        self._check(ids)
        made = self._plan(ids, prefixes)
        different = [ids[place] for place in made.unique]
        self.meter.planning += time.perf_counter() - begun
        scores = np.zeros(len(different))
        for batch in made.batches:
            self._run(batch, different, scores)
        self._count(made, len(ids))
        return scores[list(made.first)] if ids else scores

    def _check(self, ids: Sequence[np.ndarray]) -> None:
        for place, row in enumerate(ids):
            if row.ndim != 1 or not len(row):
                raise ModelError(f"row {place} has no tokens")
            if int(row.max()) >= self.vocabulary or int(row.min()) < 0:
                raise ModelError(
                    f"row {place} has the token id {int(row.max())}, the model knows 0 to {self.vocabulary - 1}: "
                    "is this its tokenizer?"
                )

    def _count(self, made: planning.Plan, rows: int) -> None:
        self.meter.rows += rows
        self.meter.repeated += rows - len(made.unique)
        self.meter.real += made.real
        self.meter.computed += made.computed
        self.meter.ways[made.way] = self.meter.ways.get(made.way, 0) + rows

    def _run(self, batch: planning.Batch, rows: Sequence[np.ndarray], scores: np.ndarray) -> None:
        """Score one batch; where the memory does not hold it, its halves, and smaller batches from then on."""
        begun = time.perf_counter()
        try:
            with torch.inference_mode():
                logits = self._logits(batch, rows)
            scores[list(batch.rows)] = logits[:, self.label].double().cpu().numpy()
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_memory(error) or len(batch.rows) < 2:  # noqa: PLR2004 - one row cannot be halved
                raise
        else:
            self.meter.forward += time.perf_counter() - begun
            return
        # outside of the except block, whose traceback holds the tensors that did not fit
        self.meter.splits += 1
        self.budget = max(1, min(self.budget, batch.computed // 2))
        for half in planning.halves(batch, rows, self.way, self.budget):
            self._run(half, rows, scores)

    def _logits(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor:
        if self.way == "packed":
            return self._packed(batch, rows)
        return self._padded(batch, rows)

    def _padded(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor:
        """Return logits (n, labels) of rows padded on the right; the position read comes from the mask."""
        taken = [rows[row] for row in batch.rows]
        longest = max(map(len, taken))
        ids = np.full((len(taken), longest), self.pad_id, dtype=np.int64)
        mask = np.zeros((len(taken), longest), dtype=np.int64)
        for place, row in enumerate(taken):
            ids[place, : len(row)] = row
            mask[place, : len(row)] = 1
        given = {"input_ids": self._on_device(ids), "attention_mask": self._on_device(mask)}
        if self.head is None:
            return self._own(given, len(taken))
        if self.head.offset(self.model):
            numbered = np.full_like(ids, self.head.offset(self.model) - 1)
            for place, row in enumerate(taken):
                numbered[place, : len(row)] = positions(row, self.head, self.model)
            given["position_ids"] = self._on_device(numbered)
        hidden = self._hidden(given)
        read = [len(row) - 1 for row in taken] if self.head.position == LAST else [0] * len(taken)
        return self.head.read(self.model, hidden[torch.arange(len(taken)), torch.tensor(read)])

    def _own(self, given: dict[str, torch.Tensor], rows: int) -> torch.Tensor:
        """Return the logits of the model's own forward pass.

        Of one row without padding, a model that looks for the last token that is no padding must not find an earlier
        one: the padding token of many is their end-of-text token, which a row may end with.
        """
        config = self.model.config.get_text_config()
        pad = config.pad_token_id
        if rows == 1 and not self.model.config.is_encoder_decoder and _last_token_model(self.model):
            config.pad_token_id = None
        try:
            logits: torch.Tensor = self.model(**given).logits
        finally:
            config.pad_token_id = pad
        return logits

    def _packed(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> torch.Tensor:
        """Return logits (n, labels) of rows that lie one behind the other."""
        head = self.head
        if head is None:
            raise ModelError("this architecture cannot be packed")
        pieces: list[np.ndarray] = []
        numbers: list[np.ndarray] = []
        segments: list[Segment] = []
        read: list[int] = []
        at = 0
        for group in batch.groups:
            prefix = at, at
            if group.shared:
                shared = rows[group.rows[0]][: group.shared]
                pieces.append(shared)
                numbers.append(positions(shared, head, self.model))
                segments.append(Segment(at, at + len(shared), at, at))
                prefix = at, at + len(shared)
                at += len(shared)
            for row in group.rows:
                own = rows[row][group.shared :]
                pieces.append(own)
                numbers.append(positions(own, head, self.model, group.shared))
                segments.append(Segment(at, at + len(own), *(prefix if group.shared else (at, at))))
                read.append(at + len(own) - 1 if head.position == LAST else at)
                at += len(own)
        given = {"input_ids": self._on_device(np.concatenate(pieces)[None])}
        given["position_ids"] = self._on_device(np.concatenate(numbers)[None])
        backbone = getattr(self.model, head.backbone)
        with attending(backbone, segments):
            hidden = self._hidden(given)
        return head.read(self.model, hidden[0, torch.tensor(read, device=hidden.device)])

    def _hidden(self, given: dict[str, torch.Tensor]) -> torch.Tensor:
        """Return the last hidden states (batch, tokens, width) of the model without its head."""
        head = self.head
        backbone = self.model if head is None else getattr(self.model, head.backbone)
        if head is not None and head.token_types:
            given["token_type_ids"] = torch.zeros_like(given["input_ids"])
        if head is not None and head.position == LAST:
            given["use_cache"] = False  # type: ignore[assignment]
        hidden: torch.Tensor = backbone(**given).last_hidden_state
        return hidden

    def _on_device(self, values: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(values).to(self.device, non_blocking=True)


def _last_token_model(model: Any) -> bool:
    return "score" in dict(model.named_children())


def _is_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or any(word in str(error).lower() for word in NO_MEMORY)
