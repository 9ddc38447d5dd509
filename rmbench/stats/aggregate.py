"""Aggregates over runs (seeds) and prompts: interquartile mean, probability of improvement, crossed bootstrap.

After Agarwal, Schwarzer, Castro, Courville & Bellemare (2021), "Deep reinforcement learning at the edge of the
statistical precipice". There the runs of each task are resampled apart from those of other tasks (the strata). Here a
task of a suite is a stratum, a seed is a run, and all prompts of a task are answered by the same trained policies: a
resample therefore draws whole seeds, and, as prompts are a sample too, prompts, crossed with the seeds (Owen 2007, "The
pigeonhole bootstrap"). Drawing the seeds of each prompt apart would take the effect of a seed, which all prompts share,
for noise that averages out.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.resampling import counts, percentile_interval, resampled_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.stats.resampling import Interval

TRIMMED = 4  # one in so many values is left out at each end
CELLS = 250_000  # weights at a time: what stays in the cache


def interquartile_mean(values: np.ndarray) -> float | None:
    """Return the mean of the middle half of all values: floor(n / 4) are left out at each end; None of no values.

    Equal to ``scipy.stats.trim_mean(values, 0.25, axis=None)``.

    Args:
        values: finite numbers of any shape, such as (seeds, prompts).
    """
    flat = np.sort(np.asarray(values, dtype=np.float64), axis=None)
    cut = len(flat) // TRIMMED
    return float(flat[cut : len(flat) - cut].mean()) if len(flat) else None


def interquartile_means(values: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return the interquartile mean of each resample, in which value i stands ``weights[r, i]`` times.

    Args:
        values: finite numbers in ascending order, shape (n,).
        weights: how often each stands in each resample, whole numbers, float64 of shape (resamples, n).

    Returns:
        float64 of shape (resamples,); NaN for a resample without values.
    """
    upto = np.cumsum(weights, axis=1)
    size = upto[:, -1:].copy() if weights.shape[1] else np.zeros((len(weights), 1))
    cut = np.floor(size / TRIMMED)
    np.clip(upto, cut, size - cut, out=upto)
    kept = np.diff(upto, axis=1, prepend=cut)
    kept_size = (size - 2 * cut)[:, 0]
    means = np.divide(kept @ values, kept_size, out=np.full(len(weights), np.nan), where=kept_size > 0)
    return np.asarray(means)


def probability_of_improvement(left: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Return, for each run of one side, run of the other and prompt, whether the first is better: 1, 1/2 (tie) or 0.

    Their mean over runs is the Mann-Whitney U statistic over the product of the numbers of runs, and that, averaged
    over prompts, the probability of improvement (Agarwal et al. 2021, equation 1), in [0, 1].

    Args:
        left: float64 (runs, prompts).
        right: float64 (other runs, prompts), of the same prompts.

    Returns:
        float64 (runs, other runs, prompts).
    """
    above = left[:, None, :] > right[None, :, :]
    same = left[:, None, :] == right[None, :, :]
    return np.asarray(above + same / 2.0)


def run_weights(runs: int, *, seed: int, resamples: int = 1000) -> np.ndarray:
    """Return how often each resample holds each run: float64 (resamples, runs), each row of sum ``runs``.

    The draws depend on the seed and the number of runs only: systems of the same seeds see the same resamples.
    """
    if runs == 1:
        return np.ones((resamples, 1))
    drawn = np.random.default_rng([seed, runs]).integers(0, runs, size=(resamples, runs))
    drawn += np.arange(resamples)[:, None] * runs
    return np.bincount(drawn.ravel(), minlength=resamples * runs).reshape(resamples, runs).astype(np.float64)


def crossed_values(
    tops: Sequence[np.ndarray], bottoms: Sequence[np.ndarray], weights: Sequence[np.ndarray], *, seed: int
) -> list[np.ndarray]:
    """Return sum(top) / sum(bottom) over runs and prompts in every crossed resample, for each statistic.

    Args:
        tops: sums of each run and cluster of prompts, each float64 (runs, clusters); the runs may differ in number.
        bottoms: their weights (counts), of the same shapes.
        weights: how often each resample holds each run (``run_weights``, or products of them), each (resamples, runs).
        seed: of the prompts that are drawn.

    Returns:
        One float64 (resamples,) per statistic, NaN where nothing was drawn.
    """
    if not tops:
        return []
    resamples = len(weights[0])
    flat = [side for pair in zip(tops, bottoms, strict=True) for side in pair]
    sums = resampled_sums(np.concatenate(flat).T, seed=seed, resamples=resamples)
    parts = np.split(sums, np.cumsum([len(side) for side in flat])[:-1], axis=1)
    found = []
    for over, under, held in zip(parts[::2], parts[1::2], weights, strict=True):
        found.append(over_runs(over, under, held))
    return found


def over_runs(tops: np.ndarray, bottoms: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Return sum(top) / sum(bottom) over the runs that each resample holds: float64 (resamples,), NaN of none.

    Args:
        tops: of each resample and run, float64 (resamples, runs).
        bottoms: their weights, of the same shape.
        weights: how often each resample holds each run (``run_weights``), of the same shape.
    """
    bottom = (weights * bottoms).sum(axis=1)
    means = np.divide((weights * tops).sum(axis=1), bottom, out=np.full(len(tops), np.nan), where=bottom > 0)
    return np.asarray(means)


def crossed_intervals(
    tops: Sequence[np.ndarray],
    bottoms: Sequence[np.ndarray],
    weights: Sequence[np.ndarray] | None = None,
    *,
    seed: int,
    resamples: int = 1000,
) -> list[Interval | None]:
    """Return the 95 % percentile interval of each of the ratios of `crossed_values`.

    None where fewer than two clusters of prompts have a weight: one prompt says nothing of how much prompts vary. With
    one run only prompts are resampled. Without ``weights`` every row of a statistic is a run.
    """
    held = weights or [run_weights(len(top), seed=seed, resamples=resamples) for top in tops]
    values = crossed_values(tops, bottoms, held, seed=seed)
    varied = [np.count_nonzero(bottom.any(axis=0)) > 1 for bottom in bottoms]
    return [percentile_interval(its) if varies else None for its, varies in zip(values, varied, strict=True)]


def pair_weights(runs: int, others: int, *, together: bool, seed: int, resamples: int = 1000) -> np.ndarray:
    """Return how often each resample holds each pair of runs: float64 (resamples, runs * others).

    Args:
        runs: of one side.
        others: of the other.
        together: whether both sides are of the same seeds, which then are drawn once for both.
        seed: of the draws.
        resamples: how many.
    """
    left = run_weights(runs, seed=seed, resamples=resamples)
    right = left if together else run_weights(others, seed=seed + 1, resamples=resamples)
    return np.asarray((left[:, :, None] * right[:, None, :]).reshape(resamples, runs * others))


def interquartile_interval(
    values: np.ndarray, known: np.ndarray, codes: np.ndarray, *, seed: int, resamples: int = 1000
) -> Interval | None:
    """Return the 95 % percentile interval of the interquartile mean over seeds and prompts, crossed resamples.

    Args:
        values: float64 (runs, prompts).
        known: which of them there are, bool of the same shape.
        codes: cluster of each prompt, int64 (prompts,), from 0 without gaps.
        seed: of the resamples.
        resamples: how many.

    Returns:
        (low, high), or None with fewer than two clusters of known values.
    """
    runs, places = np.nonzero(known)
    if len(np.unique(codes[places])) < 2:  # noqa: PLR2004 - one cluster does not vary
        return None
    order = np.argsort(values[runs, places], kind="stable")
    runs, places = runs[order], places[order]
    ascending, clusters = values[runs, places], codes[places]
    found = [
        interquartile_means(ascending, some[:, runs] * block[:, clusters])
        for some, block in _crossed(len(values), int(codes.max()) + 1, len(ascending), seed=seed, resamples=resamples)
    ]
    return percentile_interval(np.concatenate(found))


def _crossed(
    runs: int, clusters: int, cells: int, *, seed: int, resamples: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield weights of the runs and of the clusters, some resamples at a time."""
    weights = run_weights(runs, seed=seed, resamples=resamples)
    step, at = max(1, CELLS // max(1, cells)), 0
    for block in counts(clusters, seed=seed, resamples=resamples):
        for start in range(0, len(block), step):
            some = block[start : start + step]
            yield weights[at : at + len(some)], some
            at += len(some)
