"""The transformer as a module that is trained: rows of token ids in, one score each out, with gradients.

It computes what the scoring kernel computes: rows of known architectures lie one behind the other without padding, and
a prompt is computed once for the responses that share it, in training too, where a pair nearly always does. So a
trained model and its checkpoint, which the kernel scores, agree to the last bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn
from torch.nn import functional

from rmbench.kernel.models import layout
from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.heads import LAST, head_of, paddable, reads_last_token
from rmbench.kernel.models.packed import attending, sent

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np

BUDGET, ACCELERATOR_BUDGET = 2048, 16_384  # tokens computed at once, as in the kernel


class Ranker(nn.Module):
    """A transformers ``...ForSequenceClassification`` with one label, or its backbone with mean pooling.

    Args:
        model: transformers' model.
        pooling: ``last``: the model's own head; ``mean``: a linear head of the mean over all tokens of a row.
        dropout: share of what the head reads.
    """

    def __init__(self, model: Any, *, pooling: str, dropout: float) -> None:
        super().__init__()
        self.model = model
        self.dropout = dropout
        self.known = head_of(model)
        self.head = nn.Linear(model.config.get_text_config().hidden_size, 1) if pooling == "mean" else None

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        found: torch.device = self.model.device
        return found

    def forward(self, rows: Sequence[np.ndarray], prefixes: Sequence[int]) -> Tensor:
        """Score rows.

        Args:
            rows: int64 token ids of each.
            prefixes: how many leading tokens of each are its prompt's.

        Returns:
            (n,), in the weights' type.
        """
        batches = self._plan(rows, prefixes)
        found = [self._packed(one, rows) if self.known else self._padded(one, rows) for one in batches]
        order = [row for batch in batches for row in batch.rows]
        places = torch.tensor(order, device=self.device).argsort()
        return torch.cat(found)[places]

    def _plan(self, rows: Sequence[np.ndarray], prefixes: Sequence[int]) -> tuple[planning.Batch, ...]:
        budget = BUDGET if self.device.type == "cpu" else ACCELERATOR_BUDGET
        if self.known is None:
            return planning.padded(rows, budget) if paddable(self.model) else planning.single(rows)
        lengths = prefixes if self.known.position == LAST else [0] * len(rows)
        return planning.packed(rows, planning.shared_groups(rows, lengths), budget)

    def _packed(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> Tensor:
        head = self.known
        if head is None:
            raise ValueError(f"{type(self.model).__name__} cannot be packed")
        laid = layout.packed(batch, rows, head, self.model)
        backbone = getattr(self.model, head.backbone)
        given = {"input_ids": sent(laid.ids[None], self.device)}
        given["position_ids"] = sent(laid.positions[None], self.device)
        if head.token_types:
            given["token_type_ids"] = torch.zeros_like(given["input_ids"])
        more = {"use_cache": False} if head.position == LAST else {}
        with attending(backbone, laid.segments):
            hidden = backbone(**given, **more).last_hidden_state[0]
        if self.head is not None:
            return self._mean(_means(hidden, batch, laid.segments))
        read = head.read(self.model, self._dropped(hidden[sent(laid.read, self.device)]))
        return read[:, 0]

    def _padded(self, batch: planning.Batch, rows: Sequence[np.ndarray]) -> Tensor:
        """Return the scores of rows by the model's own forward pass.

        Many models look for the last token that is not the padding token: padding is a token that ends no row.
        """
        taken = [rows[row] for row in batch.rows]
        ends = {int(row[-1]) for row in taken}
        pad = next(token for token in range(len(ends) + 1) if token not in ends)
        laid = layout.padded(taken, pad, None, self.model)
        given = {"input_ids": sent(laid.ids, self.device), "attention_mask": sent(laid.mask, self.device)}
        if self.head is not None:
            hidden = self.model.base_model(**given).last_hidden_state
            mask = given["attention_mask"][:, :, None].to(hidden.dtype)
            return self._mean((hidden * mask).sum(1) / mask.sum(1))
        config = self.model.config.get_text_config()
        before = config.pad_token_id
        config.pad_token_id = pad if reads_last_token(self.model) else before
        try:
            logits: Tensor = self.model(**given).logits
        finally:
            config.pad_token_id = before
        return logits[:, 0]

    def _mean(self, means: Tensor) -> Tensor:
        if self.head is None:
            raise ValueError("no head for mean pooling")
        read: Tensor = self.head(self._dropped(means))
        return read[:, 0]

    def _dropped(self, hidden: Tensor) -> Tensor:
        return functional.dropout(hidden, self.dropout, self.training) if self.dropout else hidden


def _means(hidden: Tensor, batch: planning.Batch, segments: Sequence[layout.Segment]) -> Tensor:
    """Return the mean of each row's hidden states (n, width), those of a shared prefix among them."""
    means: list[Tensor] = []
    place = 0
    for group in batch.groups:
        place += bool(group.shared)  # the prefix has a segment of its own
        for start, stop, prefix, prefix_stop in segments[place : place + len(group.rows)]:
            total = hidden[start:stop].sum(0) + hidden[prefix:prefix_stop].sum(0)
            means.append(total / (stop - start + prefix_stop - prefix))
        place += len(group.rows)
    return torch.stack(means)
