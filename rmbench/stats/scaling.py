"""How a gold score changes as a proxy of it is optimised: best-of-n without bias, and the forms of Gao et al. 2022.

Gao, Schulman & Hilton (2022), "Scaling laws for reward model overoptimization": with d the root of the KL divergence
(nats) from the start, the gold score gained is d (alpha - beta d) for best-of-n and d (alpha - beta log d) for RL. Both
are linear in alpha and beta, so that least squares has one answer.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

Form = Literal["best-of-n", "rl"]


class Fit(NamedTuple):
    """The two numbers of a form: ``alpha`` is the first gain per nat^0.5, ``beta`` how fast it wears off."""

    alpha: float
    beta: float


def best_of_n_kl(n: int) -> float:
    """Return log n - (n - 1) / n nats: what best-of-n moves from its start (Stiennon et al. 2020, appendix G.3).

    It is exact where no two responses tie, an upper bound otherwise (Beirami et al. 2024).
    """
    return math.log(n) - (n - 1) / n


def rank_weights(pool: int, n: int) -> np.ndarray:
    """Return the chance that each of ``pool`` responses, worst first, is the best of n drawn without replacement.

    C(i, n - 1) / C(pool, n) for the one with i others below it: float64 (pool,) of sum 1.
    """
    every = math.comb(pool, n)
    return np.array([math.comb(below, n - 1) / every for below in range(pool)], dtype=np.float64)


def best_of_n(proxy: np.ndarray, gold: np.ndarray, ns: Sequence[int]) -> np.ndarray:
    """Return the expected gold score of the best of n responses by the proxy, without bias, of each prompt.

    The mean over all subsets of n of the pool (each choice among equal proxy scores as likely as another).

    Args:
        proxy: what chooses, float64 (prompts, pool).
        gold: what judges, float64 of the same shape.
        ns: each from 1 to the size of the pool.

    Returns:
        float64 (len(ns), prompts).

    Raises:
        ValueError: two shapes, or an n that the pool cannot give.
    """
    if proxy.shape != gold.shape or proxy.ndim != 2:  # noqa: PLR2004 - prompts and their pools
        raise ValueError(f"proxy {proxy.shape} and gold {gold.shape} are not two matrices of one shape")
    prompts, pool = proxy.shape
    if not all(1 <= n <= pool for n in ns):
        raise ValueError(f"n is {list(ns)}, expected 1 to {pool}: the size of the pool")
    order = np.argsort(proxy, axis=1, kind="stable")
    ranked = np.take_along_axis(proxy, order, axis=1)
    scores = _shared(ranked, np.take_along_axis(gold, order, axis=1))
    weights = np.stack([rank_weights(pool, n) for n in ns]) if ns else np.zeros((0, pool))
    return np.asarray(weights @ scores.T).reshape(len(ns), prompts)


def _shared(ranked: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Give responses of equal proxy score, which stand side by side, the mean of their scores."""
    fresh = np.ones(ranked.shape, dtype=bool)
    fresh[:, 1:] = ranked[:, 1:] != ranked[:, :-1]
    if fresh.all() or not fresh.size:
        return scores
    group = np.cumsum(fresh.ravel()) - 1
    sums, sizes = np.bincount(group, weights=scores.ravel()), np.bincount(group)
    return np.asarray((sums / sizes)[group].reshape(scores.shape))


def features(form: Form, distance: np.ndarray) -> np.ndarray:
    """Return what alpha and beta multiply at each distance d: (d, -d^2) or (d, -d log d), float64 (points, 2)."""
    d = np.asarray(distance, dtype=np.float64)
    wear = d if form == "best-of-n" else np.log(d, out=np.zeros_like(d), where=d > 0)
    return np.stack([d, -d * wear], axis=1)


def fit(form: Form, distance: np.ndarray, gained: np.ndarray, weights: np.ndarray | None = None) -> Fit | None:
    """Return the least-squares fit of a form; None where the points lie at fewer than two distances above 0.

    Args:
        form: of best-of-n or of RL.
        distance: root of the KL to the start of each point, shape (points,), at least 0.
        gained: gold score less that of the start, shape (points,).
        weights: how much each point counts, shape (points,); None: all the same.
    """
    scale = np.ones(len(distance)) if weights is None else np.sqrt(weights)
    table = features(form, distance)
    known = (scale > 0) & (np.asarray(distance) > 0)
    if len(np.unique(np.asarray(distance)[known])) < 2:  # noqa: PLR2004 - two unknowns
        return None
    found, _, rank, _ = np.linalg.lstsq(table * scale[:, None], gained * scale, rcond=None)
    return Fit(float(found[0]), float(found[1])) if rank == 2 else None  # noqa: PLR2004 - both are determined


def turning_point(form: Form, fitted: Fit) -> float | None:
    """Return the distance at which a form is greatest: alpha / (2 beta), or exp(alpha / beta - 1); None without one."""
    alpha, beta = fitted
    if beta <= 0 or (form == "best-of-n" and alpha <= 0):
        return None
    power = alpha / beta - 1
    if form == "rl":
        return math.exp(power) if power < 700 else None  # noqa: PLR2004 - exp of more is no float
    return alpha / (2 * beta)
