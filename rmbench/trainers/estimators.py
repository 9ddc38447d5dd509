"""What policy gradients are made of: plain functions on tensors, each with its formula and its paper.

Rows are responses, T their tokens, V the vocabulary; ``mask`` is True on a response's tokens (its end among them).
Rows of a group are adjacent. Nothing here knows a policy, a task or an option record.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import torch
from torch.nn import functional

from rmbench.trainers.fused import logprobs_and_entropy

if TYPE_CHECKING:
    from torch import Tensor

SMALLEST = 1e-4  # added to a group's deviation, as TRL does


def logprobs(logits: Tensor, ids: Tensor, temperature: float = 1.0) -> Tensor:
    """Return log p(id) at each place, p = softmax(logits / temperature).

    Args:
        logits: (rows, T, V).
        ids: int64 (rows, T).
        temperature: above 0.

    Returns:
        (rows, T), at most 0.
    """
    return logprobs_and_entropy(logits, ids, temperature, entropy=False)[0]


def entropy(logits: Tensor, temperature: float = 1.0) -> Tensor:
    """Return the entropy -sum_v p_v log p_v at each place, in nats: (rows, T), from 0 to log V."""
    anything = torch.zeros(logits.shape[:-1], dtype=torch.int64, device=logits.device)
    return logprobs_and_entropy(logits, anything, temperature)[1]


def masked_sum(values: Tensor, mask: Tensor) -> Tensor:
    """Return the sum of each row over its mask: (rows,)."""
    return torch.where(mask, values, 0.0).sum(-1)


def masked_mean(values: Tensor, mask: Tensor) -> Tensor:
    """Return the mean over all that is in the mask, 0 where nothing is: a scalar."""
    return torch.where(mask, values, 0.0).sum() / mask.sum().clamp_min(1)


def kl_k1(logp: Tensor, ref: Tensor) -> Tensor:
    """Return log r, r = p / q at a token drawn from p: unbiased for KL(p || q), may be negative (Schulman 2020, k1)."""
    return logp - ref


def kl_k2(logp: Tensor, ref: Tensor) -> Tensor:
    """Return (log r)^2 / 2: biased for KL(p || q), never negative; its gradient is unbiased (Schulman 2020, k2)."""
    return (logp - ref).square() / 2


def kl_k3(logp: Tensor, ref: Tensor) -> Tensor:
    """Return 1/r - 1 + log r: unbiased for KL(p || q), never negative (Schulman 2020, "Approximating KL", k3)."""
    log_r = logp - ref
    return torch.expm1(-log_r) + log_r


KL = {"k1": kl_k1, "k2": kl_k2, "k3": kl_k3}


def exact_kl(logits: Tensor, ref_logits: Tensor, mask: Tensor) -> Tensor:
    """Return sum_t sum_v p_v log(p_v / q_v) over the places of each response, in nats: (rows,), from 0.

    Its mean over responses drawn from p is unbiased for the KL of whole responses (the chain rule), with less
    variance than sums of ``kl_k1``.
    """
    log_p, log_q = functional.log_softmax(logits, -1), functional.log_softmax(ref_logits, -1)
    return masked_sum((log_p.exp() * (log_p - log_q)).nan_to_num(nan=0.0).sum(-1), mask).clamp_min(0.0)


def returns(rewards: Tensor, gamma: float = 1.0) -> Tensor:
    """Return Monte-Carlo returns G_t = sum_{k >= t} gamma^(k - t) r_k of rewards (rows, T), 0 beyond a response."""
    found = torch.empty_like(rewards)
    later = torch.zeros_like(rewards[:, 0])
    for place in range(rewards.shape[1] - 1, -1, -1):
        later = rewards[:, place] + gamma * later
        found[:, place] = later
    return found


def at_end(rewards: Tensor, mask: Tensor) -> Tensor:
    """Return rewards (rows,) put on the last token of each response: (rows, T)."""
    spread = torch.zeros(mask.shape, dtype=rewards.dtype, device=rewards.device)
    last = (mask.sum(-1) - 1).clamp_min(0)
    return spread.scatter(1, last[:, None], rewards[:, None])


def leave_one_out(rewards: Tensor, group: int, scored: Tensor | None = None) -> Tensor:
    """Return r_i minus the mean of its group's other scored rewards (Kool et al. 2019; Ahmadian et al. 2024): (rows,).

    Exactly 0 for a row that is unscored or the only scored one of its group, and for a group without differences.
    """
    grid, known = _grid(rewards, group, scored)
    count = known.sum(1, keepdim=True)
    others = (grid.sum(1, keepdim=True) - grid) / (count - 1).clamp_min(1)
    return torch.where(known & (count > 1), grid - others, 0.0).reshape(-1).to(rewards.dtype)


def group_standardised(
    rewards: Tensor, group: int, scored: Tensor | None = None, *, scale: bool = True, smallest: float = SMALLEST
) -> Tensor:
    """Return (r_i - mean) / (deviation + smallest) within groups (Shao et al. 2024); unscaled as Liu et al. 2025.

    The deviation is that of a sample (n - 1), as in TRL. Exactly 0 for a row that is unscored or the only scored one of
    its group, and for a group without differences.
    """
    grid, known = _grid(rewards, group, scored)
    count = known.sum(1, keepdim=True)
    mean = grid.sum(1, keepdim=True) / count.clamp_min(1)
    centred = torch.where(known & (count > 1), grid - mean, 0.0)
    if scale:
        deviation = (centred.square().sum(1, keepdim=True) / (count - 1).clamp_min(1)).sqrt()
        centred = centred / (deviation + smallest)
    return centred.reshape(-1).to(rewards.dtype)


def _grid(rewards: Tensor, group: int, scored: Tensor | None) -> tuple[Tensor, Tensor]:
    """Return rewards and which are scored, (groups, group), in double precision: there n equal ones sum to n times one.

    In single precision a group of equal rewards had advantages of rounding, which AdamW makes into steps of full size.
    """
    known = torch.ones_like(rewards, dtype=torch.bool) if scored is None else scored
    return torch.where(known, rewards, 0.0).double().reshape(-1, group), known.reshape(-1, group)


def self_critical(rewards: Tensor, greedy: Tensor, group: int = 1) -> Tensor:
    """Return r_i - r(greedy response of its prompt), greedy of shape (prompts,) (Rennie et al. 2017): (rows,)."""
    return rewards - greedy.repeat_interleave(group)


def moving_average(average: float | None, value: float, decay: float) -> float:
    """Return decay * average + (1 - decay) * value, the value itself where there is no average yet (Williams 1992)."""
    return value if average is None else decay * average + (1 - decay) * value


def importance_weights(logp: Tensor, old: Tensor, kind: str, cap: float) -> Tensor:
    """Return weights p / p_old of samples that p_old drew, without gradient; any shape.

    Args:
        logp: log-probabilities now (of tokens, or of whole responses).
        old: those of the policy that drew.
        kind: ``none``: 1; ``truncated``: min(p / p_old, cap) (Ionides 2008; Espeholt et al. 2018); ``clipped``: from
            1 / cap to cap.
        cap: above 1.
    """
    ratio = (logp - old).detach().exp()
    if kind == "none":
        return torch.ones_like(ratio)
    return ratio.clamp(max=cap) if kind == "truncated" else ratio.clamp(1 / cap, cap)


def clipped_surrogate(ratio: Tensor, advantages: Tensor, low: float, high: float) -> Tensor:
    """Return min(ratio A, clip(ratio, 1 - low, 1 + high) A) (Schulman et al. 2017): to be maximised; any shape."""
    return torch.minimum(ratio * advantages, ratio.clamp(1 - low, 1 + high) * advantages)


def mix_weight(weight: float, schedule: str, step: int, steps: int) -> float:
    """Return the weight of cross-entropy at a step (from 1) of a mixed objective.

    (1 - w) * policy gradient + w * cross-entropy: Ranzato et al. 2016 anneal between the two, Wu et al. 2016 and
    Paulus et al. 2018 mix them with a constant. ``linear``: w (1 - (step - 1) / steps); ``cosine``: w (1 + cos(pi
    (step - 1) / steps)) / 2.
    """
    done = (step - 1) / steps
    if schedule == "linear":
        return weight * (1 - done)
    return weight * (1 + math.cos(math.pi * done)) / 2 if schedule == "cosine" else weight
