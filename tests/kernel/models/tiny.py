"""Small models of every packed architecture, from configurations, with random weights of a size that makes scores differ."""

from __future__ import annotations

import numpy as np
import torch
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    DistilBertConfig,
    DistilBertForSequenceClassification,
    GPT2Config,
    GPT2ForSequenceClassification,
    LlamaConfig,
    LlamaForSequenceClassification,
    Qwen2Config,
    Qwen2ForSequenceClassification,
    Qwen3Config,
    Qwen3ForSequenceClassification,
    RobertaConfig,
    RobertaForSequenceClassification,
)

VOCABULARY = 199
COMMON = {"vocab_size": VOCABULARY, "num_labels": 1, "pad_token_id": 1}
WIDE = {"hidden_size": 48, "intermediate_size": 96, "num_hidden_layers": 3, "num_attention_heads": 4}
LONG = {"max_position_embeddings": 160}
GROUPED = {**COMMON, **WIDE, **LONG, "num_key_value_heads": 2}
MODELS = {
    "llama": (LlamaForSequenceClassification, LlamaConfig(**GROUPED)),
    "qwen2": (Qwen2ForSequenceClassification, Qwen2Config(**GROUPED)),
    "qwen3": (Qwen3ForSequenceClassification, Qwen3Config(**GROUPED, head_dim=12)),
    "gpt2": (GPT2ForSequenceClassification, GPT2Config(**COMMON, n_embd=48, n_layer=3, n_head=4, n_positions=160)),
    "bert": (BertForSequenceClassification, BertConfig(**COMMON, **WIDE, **LONG)),
    "minilm": (BertForSequenceClassification, BertConfig(**COMMON, **{**WIDE, "num_attention_heads": 12}, **LONG)),
    "roberta": (RobertaForSequenceClassification, RobertaConfig(**COMMON, **WIDE, max_position_embeddings=162)),
    "distilbert": (
        DistilBertForSequenceClassification,
        DistilBertConfig(**COMMON, dim=48, hidden_dim=96, n_layers=3, n_heads=4, max_position_embeddings=160),
    ),
}
DECODERS = ("llama", "qwen2", "qwen3", "gpt2")


def model(name, seed=0, **changes):
    kind, config = MODELS[name]
    torch.manual_seed(seed)
    config = type(config)(**{**config.to_dict(), **changes})
    made = kind(config).eval()
    with torch.no_grad():  # far from the tiny weights of an initialisation: attention and positions must matter
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.15)
    return made


def rows(count=40, seed=0, longest=150):
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(3.0, 1.0, count).astype(int), 1, longest)
    return [draw.integers(2, VOCABULARY, length) for length in [1, 2, longest, *lengths]]


def alone(made, ids):
    """The score of a row by the model's own forward pass, nothing beside it and no padding."""
    pad, made.config.pad_token_id = (
        made.config.pad_token_id,
        None if "score" in dict(made.named_children()) else made.config.pad_token_id,
    )
    with torch.inference_mode():
        logits = made(
            input_ids=torch.tensor(np.asarray(ids)[None]), attention_mask=torch.ones(1, len(ids), dtype=torch.long)
        ).logits
    made.config.pad_token_id = pad
    return float(logits[0, 0])
