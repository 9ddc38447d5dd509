"""Log-probabilities of tokens and entropies in one pass over the logits, a piece that fits the cache at a time.

torch's own cross-entropy writes three tensors of the logits' size and an entropy four more; for a small model with a
vocabulary of thousands that is a third of a training step. Here the forward pass writes none and the backward pass one,
the gradient: p is computed anew from the logits and the log-probability that is known by then.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.autograd import Function
from torch.autograd.function import once_differentiable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from torch import Tensor

PIECE = 2**18  # numbers: a megabyte of float32
ACCELERATOR_PIECE = 2**26  # many small calls would cost more than memory does there


def logprobs_and_entropy(
    logits: Tensor, ids: Tensor, temperature: float = 1.0, *, entropy: bool = True
) -> tuple[Tensor, Tensor]:
    """Return log p(id) and -sum_v p_v log p_v (nats) at each place, p = softmax(logits / temperature).

    Args:
        logits: (..., V).
        ids: int64 (...).
        temperature: above 0.
        entropy: whether it is wanted; otherwise zeros.

    Returns:
        Two tensors (...), through which gradients flow to the logits, once.
    """
    found: tuple[Tensor, Tensor] = _Fused.apply(logits, ids, temperature, entropy)  # type: ignore[no-untyped-call]
    return found


def _pieces(logits: Tensor) -> Iterator[slice]:
    places, vocabulary = logits.shape
    size = max(1, (PIECE if logits.device.type == "cpu" else ACCELERATOR_PIECE) // vocabulary)
    return (slice(first, first + size) for first in range(0, places, size))


class _Fused(Function):
    """The two outputs and their gradient."""

    @staticmethod
    def forward(ctx: Any, logits: Tensor, ids: Tensor, temperature: float, entropy: bool) -> tuple[Tensor, Tensor]:  # noqa: FBT001 - torch passes them by place
        flat, wanted = logits.reshape(-1, logits.shape[-1]), ids.reshape(-1, 1)
        logp, spread = flat.new_zeros(len(flat)), flat.new_zeros(len(flat))
        for piece in _pieces(flat):
            part = torch.log_softmax(flat[piece] if temperature == 1 else flat[piece] / temperature, -1)
            logp[piece] = part.gather(1, wanted[piece])[:, 0]
            if entropy:
                p = part.exp()
                spread[piece] = -(p * part.clamp_min_(torch.finfo(part.dtype).min)).sum(-1)  # 0 * -inf is 0
        ctx.save_for_backward(flat, wanted, logp, spread)
        ctx.temperature, ctx.entropy, ctx.shape = temperature, entropy, logits.shape
        return logp.reshape(ids.shape), spread.reshape(ids.shape)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, of_logp: Tensor, of_entropy: Tensor) -> tuple[Tensor, None, None, None]:
        """Return dL/dx, x the logits: d log p(i) / dx_v = ([v = i] - p_v) / T; dH / dx_v = -p_v (log p_v + H) / T."""
        flat, wanted, logp, spread = ctx.saved_tensors
        scale = 1 / ctx.temperature
        of_logp, of_entropy = of_logp.reshape(-1, 1) * scale, of_entropy.reshape(-1, 1) * scale
        through = ctx.entropy and bool(of_entropy.any())
        found = torch.empty_like(flat)
        for piece in _pieces(flat):
            x = flat[piece] if ctx.temperature == 1 else flat[piece] * scale
            log_p = torch.sub(x, x.gather(1, wanted[piece]) - logp[piece, None], out=found[piece])
            if through:
                inner = log_p.clamp_min(torch.finfo(log_p.dtype).min) + spread[piece, None]
                log_p.exp_().mul_(-(of_logp[piece] + of_entropy[piece] * inner))
            else:
                log_p.exp_().mul_(-of_logp[piece])
            log_p.scatter_add_(1, wanted[piece], of_logp[piece])
        return found.reshape(ctx.shape), None, None, None
