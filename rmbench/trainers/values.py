"""Advantages and returns from values, and what is learnt of them, as pure functions of tensors.

Every function takes float tensors (rows, T) and a mask (rows, T), True on a row's first places and False from its end
on. The value at place t is that of the state before token t, the reward at t what that token brought. After a row's
last token its episode is over, whether the text came to its end or to the most tokens: nothing is expected from there.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

TINY = 1e-8  # below it a variance is none


def gae(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, lam: float) -> Tensor:
    """Return generalised advantage estimates, (rows, T), 0 where masked (Schulman et al. 2016, equations 11 to 16).

    With delta_t = r_t + gamma V_{t+1} - V_t and V = 0 after the last token, A_t = sum over l of (gamma lam)^l
    delta_{t+l}. ``lam = 1`` gives Monte-Carlo returns minus values, ``lam = 0`` the one-step error.
    """
    _check(rewards, values, mask)
    rewards, values = (torch.where(mask.bool(), one, torch.zeros_like(one)) for one in (rewards, values))
    after = torch.nn.functional.pad(values[:, 1:], (0, 1))
    return _discounted(rewards + gamma * after - values, gamma * lam)


def n_step(rewards: Tensor, values: Tensor, mask: Tensor, *, gamma: float, n: int) -> Tensor:
    """Return n-step returns, (rows, T), 0 where masked (Sutton and Barto 2018, equation 7.1).

    G_t = sum over k < n of gamma^k r_{t+k}, plus gamma^n V_{t+n} where the row has a place t + n. The advantages of
    actor-critic are G - V (Mnih et al. 2016). ``n`` is at least 1; from T on these are Monte-Carlo returns.
    """
    _check(rewards, values, mask)
    rewards, values = (torch.where(mask.bool(), one, torch.zeros_like(one)) for one in (rewards, values))
    length = rewards.shape[1]
    found = torch.zeros_like(rewards)
    for k in range(min(n, length)):
        found[:, : length - k] += gamma**k * rewards[:, k:]
    if n < length:
        found[:, : length - n] += gamma**n * values[:, n:]
    return found * mask


def value_losses(values: Tensor, old: Tensor, returns: Tensor, *, clip: float) -> Tensor:
    """Return half the squared error of each value, (rows, T), masked places too.

    With ``clip`` above 0 it is the larger of that and of the error of the value held within ``clip`` of the old one,
    so that a value does not run far from where the advantages saw it (Schulman et al. 2017's own implementation).

    Args:
        values: of the policy as it is, with gradient.
        old: as they were when the texts were drawn.
        returns: what they should be.
        clip: 0 for none.
    """
    losses = (values - returns) ** 2
    if clip:
        losses = torch.maximum(losses, (old + (values - old).clamp(-clip, clip) - returns) ** 2)
    return losses / 2


def explained_variance(values: Tensor, returns: Tensor, mask: Tensor) -> float | None:
    """Return 1 - Var(returns - values) / Var(returns) over the mask; 1 is perfect, 0 as good as a constant.

    None where the returns are all alike or there are fewer than two, of which nothing is to be explained.
    """
    wanted, guessed = returns[mask.bool()].double(), values[mask.bool()].double()
    if wanted.numel() < 2 or (spread := wanted.var(correction=0).item()) < TINY:  # noqa: PLR2004 - one has no variance
        return None
    return 1 - (wanted - guessed).var(correction=0).item() / spread


def whitened(advantages: Tensor, mask: Tensor) -> Tensor:
    """Return advantages with mean 0 and deviation 1 over the mask, (rows, T), 0 where masked; equal ones become 0."""
    mask = mask.bool()
    kept = advantages[mask].double()  # in which the mean of equal ones is their value
    if not kept.numel():
        return torch.zeros_like(advantages)
    spread = torch.sqrt(kept.var(correction=0) + TINY)
    return torch.where(mask, (advantages - kept.mean()) / spread, 0.0).to(advantages.dtype)


def _discounted(steps: Tensor, rate: float) -> Tensor:
    """Return sum over l of rate^l steps_{t+l} of each place t."""
    found = steps.clone()
    for place in reversed(range(steps.shape[1] - 1)):
        found[:, place] += rate * found[:, place + 1]
    return found


def _check(rewards: Tensor, values: Tensor, mask: Tensor) -> None:
    if rewards.ndim != 2 or not rewards.shape == values.shape == mask.shape:  # noqa: PLR2004 - rows and places
        shapes = ", ".join(str(tuple(one.shape)) for one in (rewards, values, mask))
        raise ValueError(f"rewards, values and mask have shapes {shapes}, expected one shape (rows, T)")
