"""Best-of-n: draw n responses, keep the one with the greatest reward. No weight changes (Stiennon et al. 2020).

What it costs is known without a second model: the policy that writes the best of n lies at most log n - (n - 1)/n nats
from the one that writes the n, and its expected reward is estimated without bias from one pool of N >= n responses for
every n up to N at once (Nakano et al. 2021). The trainer draws such pools on dev prompts and tells both.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence


def kl_bound(n: int) -> float:
    """Return log n - (n - 1)/n, in nats: the KL divergence of best-of-n from its policy where no two rewards tie.

    Stiennon et al. 2020, appendix G.3. It is an upper bound (Beirami et al. 2024): where responses are few or rewards
    tie, the true divergence is less.
    """
    return math.log(n) - (n - 1) / n


def best_weights(pool: int, n: int) -> list[float]:
    """Return the chance that each of ``pool`` responses, from worst to best, is the best of n drawn of them.

    Without replacement: rank i (from 1) is the best of C(i - 1, n - 1) of the C(pool, n) draws. They sum to 1; n above
    the pool is a ``ValueError``.
    """
    if not 1 <= n <= pool:
        raise ValueError(f"n is {n}, expected 1 to {pool}, the responses of the pool")
    draws = math.comb(pool, n)
    return [math.comb(rank, n - 1) / draws for rank in range(pool)]


def expected_best(rewards: Sequence[float], n: int, values: Sequence[float] | None = None) -> float:
    """Return the expected reward of the best of n, without bias, from a pool of at least n responses of one prompt.

    Nakano et al. 2021, section 3.3: the mean over all subsets of n of their best, here by the rank of each response.

    Args:
        rewards: of the pool, finite; they choose.
        n: from 1 to the size of the pool.
        values: what to average over the chosen instead, such as a judge's scores, one per reward. Responses with one
            reward are chosen equally often.
    """
    values = rewards if values is None else values
    order = sorted(range(len(rewards)), key=rewards.__getitem__)
    weights = best_weights(len(rewards), n)
    tied: dict[float, list[int]] = {}
    for place, row in enumerate(order):
        tied.setdefault(rewards[row], []).append(place)
    return math.fsum(
        math.fsum(weights[place] for place in places) * math.fsum(values[order[place]] for place in places) / len(places)
        for places in tied.values()
    )
