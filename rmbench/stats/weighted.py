"""Rank statistics of every bootstrap resample at once: rows keep their place, resamples are weights.

A resample that holds a row w times equals the row with weight w, so ranks, ties and concordance follow
from cumulative sums of weights in an order that is found once. Each ``*_of`` prepares that order and
returns a function from weights, float64 of shape (resamples, rows), to values of shape (resamples,),
NaN where the statistic is undefined in that resample.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.ranking import group_starts
from rmbench.stats.resampling import FEW_RESAMPLES, coded, counts, percentile_interval, resampled_sums

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rmbench.stats.resampling import Interval

CELLS = 400_000  # weights at a time: what stays in the processor's cache
TABLE, MOMENTS = 8_000_000, 6  # cells of one table of moments (64 MB), and how many each cluster has
MERGED = 4  # times fewer sets of equal rows than rows, for which they are worth to be merged
MANY_ROWS = 20_000  # above, statistics of ranks take fewer resamples
LEAST_SPREAD = 1e-14  # mean square, in squares of the greatest deviation, below which a resample is constant


def rank_resamples(rows: int, resamples: int = 1000) -> int:
    """Return how many resamples a pooled rank statistic takes: 200 at most above 20,000 rows."""
    return min(resamples, FEW_RESAMPLES) if rows > MANY_ROWS else resamples


def weighted_intervals(
    statistics: Sequence[Callable[[np.ndarray], np.ndarray]], clusters: np.ndarray, *, seed: int, resamples: int
) -> list[Interval | None]:
    """Return the 95 % cluster-bootstrap interval of each weighted statistic, on the same resamples.

    Args:
        statistics: functions of weights of shape (resamples, rows).
        clusters: cluster code of each row, shape (rows,).
        seed: of the resamples.
        resamples: how many.

    Returns:
        One (low, high) per statistic; None with fewer than two clusters.
    """
    values = weighted_values(statistics, clusters, seed=seed, resamples=resamples)
    return [None] * len(statistics) if values is None else [percentile_interval(column) for column in values.T]


def weighted_values(
    statistics: Sequence[Callable[[np.ndarray], np.ndarray]], clusters: np.ndarray, *, seed: int, resamples: int
) -> np.ndarray | None:
    """Return the value of each weighted statistic in each resample, shape (resamples, statistics).

    Arguments as of ``weighted_intervals``; None with fewer than two clusters.
    """
    codes = coded(clusters)[1]
    size = int(codes.max()) + 1 if len(codes) else 0
    if size < 2 or not statistics:  # noqa: PLR2004 - one cluster does not vary
        return None
    weights = _weights(codes, size, seed, resamples)
    return np.concatenate([np.stack([statistic(each) for statistic in statistics], axis=1) for each in weights])


def kendall_of(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare tau-b of two rounded columns of shape (rows,).

    Concordance is counted bit by bit of the rank in the column with fewer values: two rows whose ranks
    first differ in a bit are in the order of that bit. One pass of cumulative sums per bit.
    """
    merged, x_codes, y_codes = _merged(_codes(x), _codes(y))
    few, many = (x_codes, y_codes) if x_codes.max() <= y_codes.max() else (y_codes, x_codes)
    passes = [_bit_pass(many, few, bit) for bit in range(int(few.max()).bit_length())]
    x_total, y_total = _square_total(x_codes), _square_total(y_codes)

    def tau_b(of_rows: np.ndarray) -> np.ndarray:
        weights = merged(of_rows)
        balance = sum((each(weights) for each in passes), start=np.zeros(len(weights)))
        pairs = weights.sum(axis=1) ** 2
        return _ratio(2 * balance, np.sqrt(pairs - x_total(weights)) * np.sqrt(pairs - y_total(weights)))

    return tau_b


def spearman_of(x: np.ndarray, y: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare Spearman's rho of two rounded columns of shape (rows,): Pearson's r of weighted mid-ranks."""
    merged, *codes = _merged(_codes(x), _codes(y))
    x_ranks, y_ranks = map(_mid_ranks, codes)

    def rho(of_rows: np.ndarray) -> np.ndarray:
        weights = merged(of_rows)
        mean = (weights.sum(axis=1, keepdims=True) + 1) / 2
        left, right = x_ranks(weights) - mean, y_ranks(weights) - mean
        spread = [np.einsum("ij,ij,ij->i", weights, side, side) for side in (left, right)]
        return _ratio(np.einsum("ij,ij,ij->i", weights, left, right), np.sqrt(spread[0]) * np.sqrt(spread[1]))

    return rho


def pearson_intervals(
    columns: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], clusters: np.ndarray, *, seed: int, resamples: int
) -> list[Interval | None]:
    """Return the 95 % cluster-bootstrap interval of Pearson's r of each pair of columns, on the same resamples.

    Args:
        columns: (x, y, rows) each: two varying columns, and the bool mask of the rows they are of.
        clusters: cluster code of each row, shape (rows,).
        seed: of the resamples.
        resamples: how many.

    Returns:
        One (low, high) per pair of columns; None with fewer than two clusters.
    """
    codes = coded(clusters)[1]
    size = int(codes.max()) + 1 if len(codes) else 0
    if size < 2 or not columns:  # noqa: PLR2004 - one cluster does not vary
        return [None] * len(columns)
    found: list[Interval | None] = []
    step = max(1, TABLE // (MOMENTS * size))
    for start in range(0, len(columns), step):
        tables = [_moments(x, y, codes[rows], size) for x, y, rows in columns[start : start + step]]
        sums = resampled_sums(np.hstack(tables), seed=seed, resamples=resamples)
        found += [percentile_interval(_r(part)) for part in np.split(sums, len(tables), axis=1)]
    return found


def _moments(x: np.ndarray, y: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Return the moments of each cluster about the mean, in units of the greatest deviation, shape (size, 6)."""
    left, right = ((side - side.mean()) / np.abs(side - side.mean()).max() for side in (x, y))
    parts = (np.ones(len(left)), left, right, left * left, right * right, left * right)
    return np.stack([np.bincount(codes, weights=part, minlength=size) for part in parts], axis=1)


def _r(moments: np.ndarray) -> np.ndarray:
    total, sum_x, sum_y, sum_xx, sum_yy, sum_xy = moments.T
    total = np.maximum(total, 1.0)
    spread = [square - side * side / total for square, side in ((sum_xx, sum_x), (sum_yy, sum_y))]
    varies = (spread[0] > LEAST_SPREAD * total) & (spread[1] > LEAST_SPREAD * total)
    return _ratio(sum_xy - sum_x * sum_y / total, np.where(varies, np.sqrt(np.abs(spread[0] * spread[1])), 0.0))


def auroc_of(scores: np.ndarray, good: np.ndarray, ok: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare the area under the ROC curve; a pair with a side that is not ``ok`` counts 0.

    Args:
        scores: rounded scores, shape (rows,).
        good: bool, shape (rows,).
        ok: bool, shape (rows,): the rows that have a score.
    """
    upper, lower = np.flatnonzero(good & ok), np.flatnonzero(~good & ok)
    lower = lower[np.argsort(scores[lower], kind="stable")]
    before, after = (np.searchsorted(scores[lower], scores[upper], side=side) for side in ("left", "right"))

    classes = np.stack([good, ~good], axis=1).astype(np.float64)

    def area(weights: np.ndarray) -> np.ndarray:
        goods, others = (weights @ classes).T
        running = np.zeros((len(weights), len(lower) + 1))
        np.cumsum(weights.take(lower, axis=1), axis=1, out=running[:, 1:])
        below = running.take(before, axis=1) + running.take(after, axis=1)
        return _ratio(np.einsum("ij,ij->i", weights.take(upper, axis=1), below) / 2, goods * others)

    return area


def kept(statistic: Callable[[np.ndarray], np.ndarray], rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the statistic on the rows of a bool mask, from the weights of all rows."""
    return statistic if rows.all() else lambda weights: statistic(weights[:, rows])


def _weights(codes: np.ndarray, size: int, seed: int, resamples: int) -> Iterator[np.ndarray]:
    step = max(1, CELLS // max(1, len(codes)))
    for block in counts(size, seed=seed, resamples=resamples):
        for start in range(0, len(block), step):
            yield block[start : start + step].take(codes, axis=1)


def _codes(values: np.ndarray) -> np.ndarray:
    return np.asarray(np.unique(values, return_inverse=True)[1])


def _merged(x: np.ndarray, y: np.ndarray) -> tuple[Callable[[np.ndarray], np.ndarray], np.ndarray, np.ndarray]:
    """Return how to add up the weights of rows with equal x and y, and the two codes of each such set of rows.

    A row that stands w times is w equal rows, so equal rows are one row with the sum of their weights.
    """
    width = int(y.max(initial=0)) + 1
    cells, places = np.unique(x * width + y, return_inverse=True)
    if MERGED * len(cells) > len(x):  # not worth a pass of its own
        return lambda weights: weights, x, y

    def merged(weights: np.ndarray) -> np.ndarray:
        return np.stack([np.bincount(places, weights=row, minlength=len(cells)) for row in weights])

    return merged, cells // width, cells % width


def _bit_pass(x_codes: np.ndarray, y_codes: np.ndarray, bit: int) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare the sum of w_i w_j sign(x_j - x_i) over pairs whose y first differ in this bit, y_i < y_j.

    The lower rows are laid out by (higher bits, x); for each upper row the weight below it less the weight
    above it is a difference of the running sum at four places: around its ties, and at the ends of its part.
    """
    prefix, is_upper = y_codes >> (bit + 1), ((y_codes >> bit) & 1).astype(bool)
    width = int(x_codes.max()) + 1
    key = prefix * width + x_codes
    lower, upper = (rows[np.argsort(key[rows], kind="stable")] for rows in map(np.flatnonzero, (~is_upper, is_upper)))
    part = prefix[upper] * width
    before, after, begin, end = (
        np.searchsorted(key[lower], wanted) for wanted in (key[upper], key[upper] + 1, part, part + width)
    )

    def balance(weights: np.ndarray) -> np.ndarray:
        running = np.zeros((len(weights), len(lower) + 1))
        np.cumsum(weights.take(lower, axis=1), axis=1, out=running[:, 1:])
        below = running.take(before, axis=1) - running.take(begin, axis=1)
        above = running.take(end, axis=1) - running.take(after, axis=1)
        return np.asarray(np.einsum("ij,ij->i", weights.take(upper, axis=1), below - above))

    return balance


def _square_total(codes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Prepare the sum over groups of equal values of the square of the group's weight."""
    order = np.argsort(codes, kind="stable")
    starts = group_starts(codes[order])

    def total(weights: np.ndarray) -> np.ndarray:
        groups = np.add.reduceat(weights.take(order, axis=1), starts, axis=1)
        return np.asarray(np.einsum("ij,ij->i", groups, groups))

    return total


def _mid_ranks(codes: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    order = np.argsort(codes, kind="stable")
    starts = group_starts(codes[order])

    def ranks(weights: np.ndarray) -> np.ndarray:
        groups = np.add.reduceat(weights.take(order, axis=1), starts, axis=1)
        return np.asarray((np.cumsum(groups, axis=1) - (groups - 1) / 2).take(codes, axis=1))

    return ranks


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    return np.asarray(np.divide(top, bottom, out=np.full(len(top), np.nan), where=bottom > 0))
