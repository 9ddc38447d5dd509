"""Where a sequence classifier reads its score, and the head that reads it: the model's own modules, called apart.

Only architectures that a test holds equal to their own forward pass stand here. Every other one is called as it is,
a row at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable

    import torch

LAST, FIRST = "last", "first"
PLAIN_ROPE = {"default", "linear", "llama3", "yarn"}  # the others depend on the longest position in the batch


@dataclass(frozen=True, slots=True)
class Head:
    """How the score is read from the hidden states.

    Attributes:
        position: ``last`` real token (decoders) or ``first`` (encoders).
        backbone: name of the module that gives the hidden states.
        read: ``(model, hidden (n, width)) -> logits (n, labels)``.
        offset: what the first position id is.
        token_types: whether the backbone takes ``token_type_ids``.
    """

    position: str
    backbone: str
    read: Callable[[Any, torch.Tensor], torch.Tensor]
    offset: Callable[[Any], int] = lambda _: 0
    token_types: bool = False


def _score(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.score(hidden)
    return logits


def _bert(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.classifier(model.bert.pooler(hidden[:, None]))
    return logits


def _roberta(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.classifier(hidden[:, None])
    return logits


def _distilbert(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.classifier(model.pre_classifier(hidden).relu())
    return logits


def _behind_padding(model: Any) -> int:
    return int(model.config.pad_token_id) + 1


HEADS: dict[str, Head] = {
    "LlamaForSequenceClassification": Head(LAST, "model", _score),
    "Qwen2ForSequenceClassification": Head(LAST, "model", _score),
    "Qwen3ForSequenceClassification": Head(LAST, "model", _score),
    "GPT2ForSequenceClassification": Head(LAST, "transformer", _score),
    "BertForSequenceClassification": Head(FIRST, "bert", _bert, token_types=True),
    "RobertaForSequenceClassification": Head(FIRST, "roberta", _roberta, _behind_padding, token_types=True),
    "DistilBertForSequenceClassification": Head(FIRST, "distilbert", _distilbert),
}


def head_of(model: Any) -> Head | None:
    """Return how the score of a model is read where that is known and the model has no odd attention, else None."""
    head = HEADS.get(type(model).__name__)
    config = model.config
    if head is None or config.is_encoder_decoder or vars(config).get("is_decoder", False):
        return None
    if head.position == LAST and not _plain_decoder(config):
        return None
    return head


def _plain_decoder(config: Any) -> bool:
    """Whether every layer attends to all that came before, from positions that do not depend on the batch."""
    given = config.to_dict()
    layers = given.get("layer_types") or ()
    rope = given.get("rope_parameters") or {}
    kind = rope.get("rope_type", "default") if isinstance(rope, dict) else "default"
    return all(layer == "full_attention" for layer in layers) and kind in PLAIN_ROPE


def positions(ids: np.ndarray, head: Head, model: Any, start: int = 0) -> np.ndarray:
    """Return the position ids of a row's tokens, int64 (n,), as the model itself numbers them.

    ``start`` tokens of the row stand before these. RoBERTa gives the padding token its own position wherever it stands.
    """
    offset = head.offset(model)
    if not offset:
        return np.arange(start, start + len(ids))
    real = ids != offset - 1
    return np.where(real, np.cumsum(real) + offset - 1, offset - 1)
