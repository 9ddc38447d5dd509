"""Cluster bootstrap, sign-flip permutation test and Holm's correction, as pure functions on arrays.

Every function draws from ``numpy.random.default_rng(seed)`` only, and in the same order for the same
number of clusters: statistics of the same clusters under the same seed see the same resamples, so that
their intervals belong together. Bounds are rounded to 12 significant digits, which takes the last bits
that depend on the order of a matrix product out of results that must be equal from run to run.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

LOW, HIGH = 2.5, 97.5
RESAMPLES, FEW_RESAMPLES = 1000, 200
MANY_CLUSTERS = 100_000
CHUNK = 4_000_000  # cells of one count matrix: about 100 MB with its draws
CACHED = 32_768  # draws that are counted at once: more of them leave the processor's cache
WIDE = 8  # times their number that codes may reach
KEPT = 128_000_000  # bytes of a count matrix that is kept for the next statistic of the same clusters
PERMUTATIONS, PER_TEST = 10_000, 100
SLICE = 16_384  # clusters whose coins are tossed at a time: more of them leave the processor's cache
EXACT = 2.0**24  # below, float32 holds every integer
WHOLE = 2.0**52  # below, float64 holds every multiple of one half
TIE = 1e-12  # share of the greatest possible sum within which two sums are equal on paper

Interval = tuple[float, float]


def resamples_of(clusters: int) -> int:
    """Return how many resamples so many clusters take: 1000, and 200 above 100,000, whose intervals hardly vary."""
    return RESAMPLES if clusters <= MANY_CLUSTERS else FEW_RESAMPLES


def counts(clusters: int, *, seed: int, resamples: int) -> Iterator[np.ndarray]:
    """Yield chunks of the count matrix of a bootstrap: how often each resample holds each cluster.

    Each chunk is float64 of shape (some resamples, clusters); every row sums to ``clusters``.
    """
    kept = _kept(clusters, seed, resamples) if clusters * resamples <= KEPT else None
    if kept is None:
        yield from _drawn(clusters, seed, resamples)
        return
    step = max(1, CHUNK // max(1, clusters))
    for start in range(0, resamples, step):
        yield kept[start : start + step].astype(np.float64)


def _drawn(clusters: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    rng = np.random.default_rng(seed)
    step, few = (max(1, cells // max(1, clusters)) for cells in (CHUNK, CACHED))
    for start in range(0, resamples, step):
        block = np.empty((min(step, resamples - start), clusters))
        for at in range(0, len(block), few):
            some = block[at : at + few]
            drawn = rng.integers(0, clusters, size=some.shape)
            drawn += np.arange(len(some))[:, None] * clusters
            some[:] = np.bincount(drawn.ravel(), minlength=some.size).reshape(some.shape)
        yield block


@lru_cache(maxsize=1)
def _kept(clusters: int, seed: int, resamples: int) -> np.ndarray | None:
    """Return the count matrix as bytes, read-only; None where a count is too great for one."""
    table = np.zeros((resamples, clusters), dtype=np.uint8)
    start = 0
    for block in _drawn(clusters, seed, resamples):
        if block.max(initial=0) > np.iinfo(np.uint8).max:
            return None
        table[start : start + len(block)] = block
        start += len(block)
    table.flags.writeable = False
    return table


def distinct(size: int, *indices: np.ndarray) -> np.ndarray:
    """Return the distinct indices among these arrays of integers in [0, size), ascending; linear, without a sort."""
    marked = np.zeros(size, dtype=bool)
    for some in indices:
        marked[some] = True
    return np.flatnonzero(marked)


def coded(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the distinct values, ascending, and the index of each: ``np.unique``, without its sort for codes.

    Linear for integers between 0 and a few times their number.
    """
    most = int(values.max(initial=0))
    if values.dtype.kind != "i" or not len(values) or most > WIDE * len(values) or values.min() < 0:
        known, codes = np.unique(values, return_inverse=True)
        return known, codes
    known = distinct(most + 1, values)
    places = np.zeros(most + 1, dtype=np.int64)
    places[known] = np.arange(len(known))
    return known, places[values]


def resampled_sums(sums: np.ndarray, *, seed: int, resamples: int = 1000) -> np.ndarray:
    """Return the column sums of every bootstrap resample of the clusters.

    Args:
        sums: additive statistics, float64 of shape (clusters, k).
        seed: of the resamples.
        resamples: how many.

    Returns:
        float64 of shape (resamples, k).
    """
    matrix = np.asarray(sums, dtype=np.float64)
    if not len(matrix) or not resamples:
        return np.zeros((0, matrix.shape[1]))
    return np.concatenate([block @ matrix for block in counts(len(matrix), seed=seed, resamples=resamples)])


def percentile_interval(values: np.ndarray) -> Interval | None:
    """Return the 2.5 and 97.5 percentiles of the finite values of a 1-D array, None when there are none."""
    finite = values[np.isfinite(values)]
    if not len(finite):
        return None
    low, high = np.percentile(finite, [LOW, HIGH])
    return _rounded(float(low)), _rounded(float(high))


def ratio_intervals(
    numerators: np.ndarray, denominators: np.ndarray, *, seed: int, resamples: int = 1000
) -> list[Interval | None]:
    """Return the 95 % percentile interval of sum(numerator) / sum(denominator) of each column.

    Clusters (rows) are drawn with replacement, the same draws for all columns; a resample in which a
    column's denominator is zero is left out for that column (Efron & Tibshirani 1993, chapter 13).

    Args:
        numerators: float64 of shape (clusters, k).
        denominators: non-negative float64 of shape (clusters, k).
        seed: of the resamples.
        resamples: how many.

    Returns:
        One (low, high) per column; None where fewer than two clusters have a denominator, because
        one cluster says nothing of how much clusters vary.
    """
    top, bottom = np.asarray(numerators, dtype=np.float64), np.asarray(denominators, dtype=np.float64)
    if top.shape != bottom.shape or top.ndim != 2:  # noqa: PLR2004 - a matrix has two axes
        msg = f"numerators {top.shape} and denominators {bottom.shape} are not two matrices of one shape"
        raise ValueError(msg)
    known = np.flatnonzero(np.count_nonzero(bottom, axis=0) > 1)
    answers: list[Interval | None] = [None] * top.shape[1]
    if not len(known):
        return answers
    weights = bottom[:, known]
    if (weights == weights[:, :1]).all():  # as where every reward has the same units: one column does for all
        weights = weights[:, :1]
    sums = resampled_sums(np.hstack([top[:, known], weights]), seed=seed, resamples=resamples)
    over = sums[:, : len(known)]
    under = np.broadcast_to(sums[:, len(known) :], over.shape)
    ratios = np.divide(over, under, out=np.full_like(over, np.nan), where=under != 0)
    for place, column in enumerate(known):
        answers[column] = percentile_interval(ratios[:, place])
    return answers


def difference_intervals(
    columns: np.ndarray, weights: np.ndarray, couples: np.ndarray, *, seed: int, resamples: int = 1000
) -> list[Interval | None]:
    """Return the 95 % percentile interval of sum(first column - second column) / sum(weights) of each couple.

    Equal to ``ratio_intervals`` of the differences, where sums of the columns are exact; on the same resamples.

    Args:
        columns: float64 of shape (clusters, k).
        weights: non-negative float64 of shape (clusters,).
        couples: columns (first, second), int64 of shape (m, 2).
        seed: of the resamples.
        resamples: how many.

    Returns:
        One (low, high) per couple; None where fewer than two clusters have a weight.
    """
    if np.count_nonzero(weights) < 2:  # noqa: PLR2004 - one cluster does not vary
        return [None] * len(couples)
    sums = resampled_sums(np.column_stack([columns, weights]), seed=seed, resamples=resamples)
    sums = sums[sums[:, -1] != 0]
    return [percentile_interval((sums[:, first] - sums[:, second]) / sums[:, -1]) for first, second in couples.tolist()]


def statistic_interval(
    statistic: Callable[[np.ndarray], float | None], clusters: np.ndarray, *, seed: int, resamples: int = 1000
) -> Interval | None:
    """Return the 95 % percentile interval of any statistic of rows: the general, slow path.

    Args:
        statistic: takes row indices (a row drawn twice stands twice) and gives a number, or None where
            it is undefined; such resamples are left out.
        clusters: cluster code of each row, int64 of shape (rows,); any integers.
        seed: of the resamples; the draws are those of ``ratio_intervals`` on the sorted distinct codes.
        resamples: how many.

    Returns:
        (low, high), or None with fewer than two clusters or no defined resample.
    """
    codes = coded(np.asarray(clusters))[1]
    size = int(codes.max()) + 1 if len(codes) else 0
    if size < 2:  # noqa: PLR2004 - one cluster does not vary
        return None
    order = np.argsort(codes, kind="stable")
    codes = codes[order]
    values: list[float] = []
    for block in counts(size, seed=seed, resamples=resamples):
        for times in block.astype(np.int64):
            value = statistic(np.repeat(order, times[codes]))
            if value is not None:
                values.append(value)
    return percentile_interval(np.array(values, dtype=np.float64))


def permutations(tests: int) -> int:
    """Return how many permutations each of so many tests takes that Holm's correction holds together.

    max(10,000, 100 per test): the least p is 1 / (1 + permutations), so the least corrected p is below 0.01
    however many tests there are.
    """
    return max(PERMUTATIONS, PER_TEST * tests)


def sign_flip_test(differences: np.ndarray, *, seed: int, resamples: int = PERMUTATIONS) -> list[float]:
    """Return the two-sided p-value of each column of differences: ``sign_flip_couples`` against zero.

    Args:
        differences: sum of the differences in each cluster, float64 of shape (clusters, k).
        seed: of the signs.
        resamples: how many permutations.

    Returns:
        One p-value per column, in (0, 1]; 1.0 where there is no cluster.
    """
    size, width = differences.shape
    couples = np.column_stack([np.arange(width), np.full(width, width)])
    return sign_flip_couples(np.hstack([differences, np.zeros((size, 1))]), couples, seed=seed, resamples=resamples)


def sign_flip_couples(
    columns: np.ndarray, couples: np.ndarray, *, seed: int, resamples: int = PERMUTATIONS
) -> list[float]:
    """Return the two-sided p-value of the difference of each couple of columns under random signs of the clusters.

    p = (1 + #{|permuted sum| >= |observed sum|}) / (1 + resamples) (Phipson & Smyth 2010), where sums
    within 1e-12 of the greatest possible sum are equal. All couples see the same signs, which multiply the
    columns once: a difference of signed sums is the signed sum of the differences.

    Args:
        columns: sums in each cluster, float64 of shape (clusters, k).
        couples: columns (first, second), int64 of shape (m, 2).
        seed: of the signs.
        resamples: how many permutations.

    Returns:
        One p-value per couple, in (0, 1]; 1.0 where there is no cluster.
    """
    size = len(columns)
    if not size or not len(couples):
        return [1.0] * len(couples)
    first, second = couples.T
    totals = np.array([math.fsum(column) for column in columns.T.tolist()])
    most = np.abs(columns).sum(axis=0)
    least = np.abs(totals[first] - totals[second]) - TIE * (most[first] + most[second])
    table = columns.astype(np.float32 if _halves(columns) and 2 * most.max() < EXACT else np.float64)
    hits = np.zeros(len(couples), dtype=np.int64)
    rng = np.random.default_rng(seed)
    step = max(1, CHUNK // max(size, len(couples)))
    for start in range(0, resamples, step):
        words = _words(rng, min(step, resamples - start), size)
        heads = np.zeros((len(words), table.shape[1]))
        for at in range(0, size, SLICE):
            heads += _coins(words, at, min(SLICE, size - at)).astype(table.dtype) @ table[at : at + SLICE]
        sums = 2.0 * heads - totals
        hits += np.count_nonzero(np.abs(sums[:, first] - sums[:, second]) >= least, axis=0)
    return [(1 + int(hit)) / (1 + resamples) for hit in hits]


def exact_sum(values: np.ndarray) -> float:
    """Return the sum of a 1-D array, exact before it is rounded once (``math.fsum``)."""
    if len(values) * np.abs(values).max(initial=0.0) < WHOLE and _halves(values):
        return float(values.sum())
    return math.fsum(values.tolist())


def _halves(values: np.ndarray) -> bool:
    """Return whether all values are multiples of one half, so that their sums are exact."""
    return bool((np.rint(2 * values) == 2 * values).all())


def _words(rng: np.random.Generator, rows: int, size: int) -> np.ndarray:
    """Return random bits for ``size`` coins in each row, as bytes; rows take whole words of 64 bits."""
    words = rng.integers(0, 2**64 - 1, size=(rows, -(-size // 64)), dtype=np.uint64, endpoint=True)
    return words.astype("<u8", copy=False).view(np.uint8)


def _coins(words: np.ndarray, at: int, size: int) -> np.ndarray:
    """Return 0 or 1 for ``size`` clusters from one on whose index is a multiple of 8: uint8 of shape (rows, size)."""
    return np.unpackbits(words[:, at // 8 : (at + size + 7) // 8], axis=1, count=size)


def holm(ps: Sequence[float]) -> list[float]:
    """Return Holm's step-down adjusted p-values, in the order given (Holm 1979)."""
    adjusted = [0.0] * len(ps)
    running = 0.0
    for rank, index in enumerate(sorted(range(len(ps)), key=lambda i: ps[i])):
        running = max(running, min(1.0, (len(ps) - rank) * ps[index]))
        adjusted[index] = running
    return adjusted


def _rounded(value: float) -> float:
    return float(f"{value:.11e}")
