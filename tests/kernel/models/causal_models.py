"""Small causal language models, and their log-probabilities by transformers' own forward pass, a row at a time."""

from __future__ import annotations

import folders
import tiny
import torch
import transformers as tf

MODELS = {
    "llama": (tf.LlamaForCausalLM, tf.LlamaConfig(**tiny.GROUPED)),
    "qwen2": (tf.Qwen2ForCausalLM, tf.Qwen2Config(**tiny.GROUPED, tie_word_embeddings=True)),
    "gpt2": (tf.GPT2LMHeadModel, tf.GPT2Config(**tiny.COMMON, n_embd=48, n_layer=3, n_head=4, n_positions=160)),
    "qwen3": (tf.Qwen3ForCausalLM, tf.Qwen3Config(**tiny.GROUPED, head_dim=12)),
    # not packed: by their own forward pass
    "gemma2": (
        tf.Gemma2ForCausalLM,
        tf.Gemma2Config(**tiny.GROUPED, head_dim=12, query_pre_attn_scalar=12, final_logit_softcapping=3.0),
    ),
    "opt": (
        tf.OPTForCausalLM,
        tf.OPTConfig(
            **tiny.COMMON, **tiny.LONG, hidden_size=48, ffn_dim=96, num_hidden_layers=2, num_attention_heads=4,
            word_embed_proj_dim=48,
        ),
    ),
}  # fmt: skip
TOKENIZERS = {"gpt2": "gpt2", "qwen2": "qwen", "qwen3": "qwen"}


def model(name, seed=0, **changes):
    kind, config = MODELS[name]
    torch.manual_seed(seed)
    made = kind(type(config)(**{**config.to_dict(), **changes})).eval()
    with torch.no_grad():  # far from the tiny weights of an initialisation
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.15)
    return made


def pair(name, **changes):
    """Return a model and its tokenizer."""
    tokenizer = folders.bpe(TOKENIZERS.get(name, "llama"))
    given = {"vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, **changes}
    return model(name, **given), tokenizer


def save(path, name, **changes):
    made, tokenizer = pair(name, **changes)
    made.save_pretrained(path)
    tokenizer.save_pretrained(path)
    return path


def own(made, ids, start, stop=None):
    """Sum of log p of the ids from ``start`` to ``stop`` by the model's own float32 log-softmax."""
    ids = torch.tensor([list(map(int, ids))])
    with torch.inference_mode():
        logits = made(input_ids=ids, attention_mask=torch.ones_like(ids)).logits[0]
    every = torch.log_softmax(logits.float(), dim=-1)[:-1].gather(1, ids[0, 1:, None])[:, 0].double()
    return float(every[start - 1 : None if stop is None else stop - 1].sum())
