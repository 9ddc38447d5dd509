"""Rows one behind the other in a single sequence, each attending to itself only: no padding is computed.

transformers calls the attention function that a configuration names; ours, for the time of a call, computes scaled
dot-product attention segment by segment. A segment may also see the keys of a prefix that stands earlier in the sequence,
so that a prompt is computed once for all its responses. No model code is copied: embeddings, layers and norms are the
model's own, and see one long row with position ids that start again.
"""

from __future__ import annotations

from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NAME = "rmbench_packed"


class Segment(NamedTuple):
    """Tokens ``start`` to ``stop`` of the sequence, which also see those from ``prefix`` to ``prefix_stop``."""

    start: int
    stop: int
    prefix: int
    prefix_stop: int


_segments: ContextVar[tuple[Segment, ...]] = ContextVar("rmbench_segments", default=())


def _seen(length: int, prefix: int, device: torch.device) -> torch.Tensor:
    """Return the mask of a segment behind a prefix, bool (length, prefix + length): the prefix, and what came before."""
    return torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril(prefix)


def _causal(module: torch.nn.Module, given: dict[str, Any]) -> bool:
    asked = given.get("is_causal")
    return bool(vars(module).get("is_causal", False) if asked is None else asked)


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each segment: (1, heads, tokens, width) to (1, tokens, heads, width), as transformers wants it."""
    del attention_mask
    causal, grouped = _causal(module, given), query.shape[1] != key.shape[1]
    output = query.new_empty((1, query.shape[2], query.shape[1], value.shape[3]))
    for start, stop, prefix, prefix_stop in _segments.get():
        keys, values, mask = key[:, :, start:stop], value[:, :, start:stop], None
        if prefix_stop > prefix:
            keys = torch.cat([key[:, :, prefix:prefix_stop], keys], dim=2)
            values = torch.cat([value[:, :, prefix:prefix_stop], values], dim=2)
            mask = _seen(stop - start, prefix_stop - prefix, query.device)
        attended = scaled_dot_product_attention(
            query[:, :, start:stop], keys, values, attn_mask=mask, is_causal=causal and mask is None,
            scale=scaling, enable_gqa=grouped,
        )  # fmt: skip
        output[:, start:stop] = attended.transpose(1, 2)
    return output, None


def _no_mask(*_: Any, **__: Any) -> None:
    """Build no mask: the segments say who sees whom."""


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _no_mask)


@contextmanager
def attending(backbone: torch.nn.Module, segments: Sequence[Segment]) -> Iterator[None]:
    """Let a model attend by segments; its own way of attention is back afterwards."""
    config: Any = backbone.config
    before, token = config._attn_implementation, _segments.set(tuple(segments))  # noqa: SLF001 - the setter of 5.24 reloads kernels
    config._attn_implementation = NAME  # noqa: SLF001 - as above
    try:
        yield
    finally:
        config._attn_implementation = before  # noqa: SLF001 - as above
        _segments.reset(token)
