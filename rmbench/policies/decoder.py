"""One step of a small Llama or GPT-2 for many rows at once, on a cache that is laid out beforehand.

What transformers' modules compute, with fewer and larger operations: one product for query, key and value, one for gate
and up, keys and values written into their place instead of a copy of the cache at every step. A test holds its logits
against the modules' own. Vaswani et al. 2017; Touvron et al. 2023 (Llama); Radford et al. 2019 (GPT-2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Mapping

    from torch import Tensor

    from rmbench.policies.cache import Cache

    Linear = tuple[Tensor, Tensor | None]

LLAMA = {"hidden_act": "silu", "attention_bias": False, "mlp_bias": False}
GPT2 = {
    "activation_function": "gelu_new", "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
    "reorder_and_upcast_attn": False, "add_cross_attention": False,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Layer:
    """Weights of a layer, each product's as ``functional.linear`` takes it, with its bias or None."""

    before: Linear
    attended: Linear
    out: Linear
    between: Linear
    up: Linear
    down: Linear


@dataclass(frozen=True, slots=True)
class Decoder:
    """Weights of a model.

    Attributes:
        known: embeddings (vocabulary, width), which are the head too.
        layers: from the first on.
        last: the norm before the head.
        heads: of attention.
        eps: of the norms.
        turns: cosines and sines (positions, 2, head width) of rotated positions, or None where they are learnt.
        places: learnt positions (positions, width), or None where they are rotated.
        head: the language-model head.
    """

    known: Tensor
    layers: tuple[Layer, ...]
    last: Linear
    heads: int
    eps: float
    turns: Tensor | None
    places: Tensor | None
    head: Tensor

    def embedded(self, ids: Tensor, at: Tensor) -> Tensor:
        """Return the states (rows, width) of tokens (rows,) at positions (rows,)."""
        states = self.known[ids]
        return states if self.places is None else states + self.places[at]

    def logits(self, states: Tensor) -> Tensor:
        """Return float32 (rows, vocabulary)."""
        return functional.linear(self._normed(states, self.last), self.head)

    def step(self, states: Tensor, at: Tensor, cache: Cache) -> Tensor:
        """Return the states behind all layers of one token per row, and write its keys and values into the cache.

        Args:
            states: (rows, width).
            at: positions (rows,).
            cache: its next column is written.
        """
        rows = len(states)
        turn = None if self.turns is None else self.turns[at][:, :, None, None]
        for number, layer in enumerate(self.layers):
            asked = functional.linear(self._normed(states, layer.before), *layer.attended)
            query, key, value = asked.view(rows, 3, self.heads, -1).unbind(1)
            if turn is not None:
                query, key = _turned(asked.view(rows, 3, self.heads, -1)[:, :2], turn).unbind(1)
            found = cache.attend(number, query, key, value)
            states = states + functional.linear(found.reshape(rows, -1), *layer.out)
            states = states + self._fed(self._normed(states, layer.between), layer)
        cache.written += 1
        return states

    def _normed(self, states: Tensor, norm: Linear) -> Tensor:
        weight, bias = norm
        if self.turns is None:
            return functional.layer_norm(states, weight.shape, weight, bias, self.eps)
        return functional.rms_norm(states, weight.shape, weight, self.eps)

    def _fed(self, states: Tensor, layer: Layer) -> Tensor:
        inner = functional.linear(states, *layer.up)
        if self.turns is None:
            return functional.linear(functional.gelu(inner, approximate="tanh"), *layer.down)
        gate, up = inner.chunk(2, -1)
        return functional.linear(functional.silu(gate).mul_(up), *layer.down)


def _turned(pair: Tensor, turn: Tensor) -> Tensor:
    """Return queries and keys (rows, 2, heads, head width) rotated by their positions (Su et al. 2021)."""
    half = pair.shape[-1] // 2
    other = torch.cat([-pair[..., half:], pair[..., :half]], -1)
    return pair * turn[:, 0] + other * turn[:, 1]


def decoder_of(model: Any) -> Decoder | None:
    """Return a model's weights for steps, or None where it is none of those that are known here.

    They are copies in part: they are to be taken anew where the model has learnt.
    """
    config = model.config
    if not model.get_input_embeddings().weight.is_floating_point() or model.dtype != torch.float32:
        return None
    if config.model_type == "gpt2" and _says(config, GPT2):
        return _gpt2(model)
    whole = config.model_type == "llama" and config.num_key_value_heads == config.num_attention_heads
    plain = whole and (config.rope_parameters or {}).get("rope_type", "default") == "default"
    return _llama(model) if plain and _says(config, LLAMA) else None


def _says(config: Any, wanted: Mapping[str, object]) -> bool:
    given = config.to_dict()
    return all(given.get(name, value) == value for name, value in wanted.items())


def _llama(model: Any) -> Decoder | None:
    body = model.model
    if any(one.bias is not None for one in model.modules() if type(one) is torch.nn.Linear):
        return None
    layers = []
    for one in body.layers:
        attention, fed = one.self_attn, one.mlp
        attended = torch.cat([attention.q_proj.weight, attention.k_proj.weight, attention.v_proj.weight])
        up = torch.cat([fed.gate_proj.weight, fed.up_proj.weight])
        norms = (one.input_layernorm.weight, None), (one.post_attention_layernorm.weight, None)
        out, down = attention.o_proj.weight, fed.down_proj.weight
        layers.append(Layer(norms[0], (attended, None), (out, None), norms[1], (up, None), (down, None)))
    known, config = body.embed_tokens.weight, model.config
    at = torch.arange(config.max_position_embeddings, device=known.device)
    turns = torch.stack(body.rotary_emb(known[:1, None], at[None]), 2)[0]
    heads = config.num_attention_heads
    return Decoder(
        known, tuple(layers), (body.norm.weight, None), heads, config.rms_norm_eps, turns, None, model.lm_head.weight
    )


def _gpt2(model: Any) -> Decoder:
    body, config = model.transformer, model.config

    def turned(one: Any) -> Linear:
        return one.weight.t(), one.bias

    layers = tuple(
        Layer(
            (one.ln_1.weight, one.ln_1.bias), turned(one.attn.c_attn), turned(one.attn.c_proj),
            (one.ln_2.weight, one.ln_2.bias), turned(one.mlp.c_fc), turned(one.mlp.c_proj),
        )
        for one in body.h
    )  # fmt: skip
    return Decoder(
        body.wte.weight, layers, (body.ln_f.weight, body.ln_f.bias), config.n_head, config.layer_norm_epsilon, None,
        body.wpe.weight, model.lm_head.weight,
    )  # fmt: skip
