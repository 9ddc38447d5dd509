"""Where a model is read, and the head that reads it: the model's own modules, called apart.

Only architectures that a test holds equal to their own forward pass stand here. Every other one is called as it is,
a row at a time.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    import torch

LAST, FIRST = "last", "first"
PLAIN_ROPE = {"default", "linear", "llama3", "yarn"}  # the others depend on the longest position in the batch

# architectures that a test holds equal to their own pass when padded, too; on an accelerator others go row by row:
# XLNet reads its last position, FNet mixes over padding, and some approximations of attention depend on the width
PADDABLE = {
    f"{name}ForSequenceClassification"
    for name in (
        "Albert", "Bert", "Bloom", "DebertaV2", "DistilBert", "Electra", "Falcon", "GPT2", "GPTNeoX", "Gemma", "Gemma2",
        "Gemma3Text", "Llama", "Mistral", "ModernBert", "OPT", "Phi", "Phi3", "Qwen2", "Qwen3", "Roberta", "XLMRoberta",
    )
}  # fmt: skip
READS_LAST = {"CTRLForSequenceClassification", "ModernBertDecoderForSequenceClassification"}  # not named ``score``


@dataclass(frozen=True, slots=True)
class Head:
    """How the score is read from the hidden states.

    Attributes:
        position: ``last`` real token (decoders) or ``first`` (encoders).
        backbone: name of the module that gives the hidden states.
        read: ``(model, hidden (n, width)) -> logits (n, labels)``, of a language model (n, vocabulary).
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


def _vocabulary(model: Any, hidden: torch.Tensor) -> torch.Tensor:
    logits: torch.Tensor = model.lm_head(hidden)
    return logits


def behind_padding(model: Any) -> int:
    """Return the first position id of models that number behind the padding token's."""
    return int(model.config.pad_token_id) + 1


HEADS: dict[str, Head] = {
    "LlamaForSequenceClassification": Head(LAST, "model", _score),
    "Qwen2ForSequenceClassification": Head(LAST, "model", _score),
    "Qwen3ForSequenceClassification": Head(LAST, "model", _score),
    "GPT2ForSequenceClassification": Head(LAST, "transformer", _score),
    "BertForSequenceClassification": Head(FIRST, "bert", _bert, token_types=True),
    "RobertaForSequenceClassification": Head(FIRST, "roberta", _roberta, behind_padding, token_types=True),
    "DistilBertForSequenceClassification": Head(FIRST, "distilbert", _distilbert),
}

# language models: the logits of the next token, over the vocabulary
CAUSAL: dict[str, Head] = {
    "LlamaForCausalLM": Head(LAST, "model", _vocabulary),
    "Qwen2ForCausalLM": Head(LAST, "model", _vocabulary),
    "Qwen3ForCausalLM": Head(LAST, "model", _vocabulary),
    "GPT2LMHeadModel": Head(LAST, "transformer", _vocabulary),
}


def head_of(model: Any, known: Mapping[str, Head] = HEADS) -> Head | None:
    """Return how a model is read where that is known and the model has no odd attention, else None."""
    kind, config = type(model), model.config
    head = known.get(kind.__name__) if kind.__module__.startswith("transformers.models.") else None
    if head is None or config.is_encoder_decoder or vars(config).get("is_decoder", False):
        return None
    if head.position == LAST and not _plain_decoder(config):
        return None
    if head.position != LAST and config.to_dict().get("is_causal", False) is not False:
        return None
    return head


def _plain_decoder(config: Any) -> bool:
    """Whether every layer attends to all that came before, from positions that do not depend on the batch."""
    given = config.to_dict()
    full = all(layer == "full_attention" for layer in given.get("layer_types") or ())
    return full and given.get("is_causal", True) is True and fixed_positions(config)


def paddable(model: Any) -> bool:
    """Whether padding is known to change no score: by architecture, attention of one direction or of both as usual."""
    kind = type(model)
    known = kind.__name__ in PADDABLE and kind.__module__.startswith("transformers.models.")
    odd = model.config.is_encoder_decoder or "is_causal" in model.config.to_dict()
    return known and not odd and fixed_positions(model.config)


def fixed_positions(config: Any) -> bool:
    """Whether a token's rotation does not depend on the longest row beside it."""
    return _rope_kinds(config.get_text_config().to_dict().get("rope_parameters") or {}) <= PLAIN_ROPE


def _rope_kinds(rope: dict[str, Any]) -> set[str]:
    nested = [inner for inner in rope.values() if isinstance(inner, dict)]  # by the kind of layer
    return {str(inner.get("rope_type", "default")) for inner in nested or [rope]}


def longest_row(model: Any) -> int | None:
    """Return the most tokens of a row that the model has positions for, None where its configuration states none."""
    import torch

    stated = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    limits = [stated] if isinstance(stated, int) and stated > 0 else []
    for name, module in model.named_modules():
        if name.endswith("position_embeddings") and isinstance(module, torch.nn.Embedding) and module.padding_idx:
            limits.append(module.num_embeddings - module.padding_idx - 1)  # RoBERTa numbers behind the padding
    return min(limits) if limits else None


def reads_last_token(model: Any) -> bool:
    """Whether the model itself looks for the last token that is not the padding token, to read the score there."""
    return "score" in dict(model.named_children()) or type(model).__name__ in READS_LAST


def positions(ids: np.ndarray, head: Head, model: Any, start: int = 0) -> np.ndarray:
    """Return the position ids of a row's tokens, int64 (n,), as the model itself numbers them.

    ``start`` tokens of the row stand before these. RoBERTa gives the padding token its own position wherever it stands.
    """
    offset = head.offset(model)
    if not offset:
        return np.arange(start, start + len(ids))
    real = ids != offset - 1
    return np.where(real, np.cumsum(real) + offset - 1, offset - 1)
