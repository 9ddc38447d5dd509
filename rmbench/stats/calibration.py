"""Is a reward's margin a probability? Brier score, calibration error and temperature, as pure functions on arrays.

A margin is the score of the text that people prefer less the score of the other. Bradley and Terry (1952) make it
the probability sigmoid(margin / T) that the preferred text wins; T is the temperature, 1 where a reward is taken
at its word. T = 0 stands for its limit (the text with the higher score wins for sure), T = inf for one half always.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from scipy.optimize import brentq
from scipy.special import expit
from scipy.stats import rankdata

from rmbench.stats.resampling import exact_sum, percentile_interval, resampled_sums
from rmbench.stats.ties import round12

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.stats.resampling import Interval

BINS = 10
EDGES = np.array([0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95])  # between the bins of confidence
STEEPEST = 1000.0  # greatest 1/T that is fitted, in units of the mean absolute margin
BALANCED = 1e-12  # mean margin, in the same units, up to which the margins point nowhere
MACHINE = float(np.finfo(np.float64).eps)
CELLS = 8_000_000  # of one matrix of sums by cluster: 64 MB


def win_probability(margins: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """Return sigmoid(margin / temperature), the Bradley-Terry probability that the preferred text wins.

    Args:
        margins: float64 of any shape.
        temperature: in [0, inf]; 0 and inf stand for the limits.

    Returns:
        Probabilities in [0, 1], of the same shape; one half where the margin is 0.
    """
    if temperature == 0:
        return np.asarray(np.heaviside(margins, 0.5))
    with np.errstate(over="ignore"):  # a margin too great for a float is a sure win
        return np.asarray(expit(margins / temperature))


def fit_temperature(margins: np.ndarray) -> float:
    """Return the temperature that makes the margins most likely: temperature scaling (Guo et al. 2017).

    The negative log-likelihood sum(log(1 + exp(-margin / T))) is convex in 1/T. Its minimum is found as the root of
    its slope, which is exact to the last digits where a search for the lowest value of so flat a function is to half of
    them. 1/T is sought from 0 to 1000 over the mean absolute margin.

    Args:
        margins: float64 of shape (n,).

    Returns:
        T in (0, inf); inf where the margins point, on the mean, to no text or to the worse one (1/T at its lower
        bound: no confidence is the most likely); 0.0 where they point to the better one without exception, or
        nearly so (1/T at its upper bound: more confidence is always more likely).
    """
    largest = float(np.abs(margins).max(initial=0.0))
    if largest == 0:
        return math.inf
    scaled = margins / largest
    unit = exact_sum(np.abs(scaled)) / len(scaled)
    scaled = scaled / unit

    def climb(inverse: float) -> float:
        return float((scaled * expit(-inverse * scaled)).sum())

    if exact_sum(scaled) <= BALANCED * len(scaled):
        return math.inf
    if climb(STEEPEST) >= 0:
        return 0.0
    return unit * largest / float(brentq(climb, 0.0, STEEPEST, xtol=1e-18, rtol=4 * MACHINE))


def brier_terms(probabilities: np.ndarray) -> np.ndarray:
    """Return (1 - p)² of each pair; their mean is the Brier score (Brier 1950) of one outcome, 0 to 1, lower is better.

    Both orders of a pair give the same, so that it needs no orientation; one half always gives 0.25.
    """
    return np.asarray((1.0 - probabilities) ** 2)


def confidence(probabilities: np.ndarray) -> np.ndarray:
    """Return the probability of the text that the reward itself prefers, in [0.5, 1], rounded to 12 digits."""
    return round12(np.maximum(probabilities, 1.0 - probabilities))


def right(margins: np.ndarray) -> np.ndarray:
    """Return 1.0 where the reward prefers the better text, 0.5 where it ties and 0.0 elsewhere."""
    return np.asarray(np.heaviside(margins, 0.5))


def confidence_bins(confidences: np.ndarray) -> np.ndarray:
    """Return the bin of each confidence, int64 in [0, 10): (0.5, 0.55], ... (0.95, 1]; 0.5 itself is in the first."""
    return np.searchsorted(EDGES, confidences, side="left").astype(np.int64)


def calibration_error(confidences: np.ndarray, rights: np.ndarray) -> float | None:
    """Return the expected calibration error: the mean over bins of |accuracy - mean confidence|, by their pairs.

    Ten bins of equal width over [0.5, 1] (Naeini et al. 2015; Guo et al. 2017); each pair stands in the direction
    that the reward prefers, so that the confidence is at least one half. A tie has confidence 0.5 and is half
    right. In [0, 1], lower is better; biased upwards, most with few pairs, because noise in a bin has no sign.

    Args:
        confidences: in [0.5, 1], shape (n,).
        rights: 1 right, 0.5 tie, 0 wrong, shape (n,).

    Returns:
        The error, None of no pairs.
    """
    if not len(confidences):
        return None
    gaps, bins = rights - confidences, confidence_bins(confidences)
    return math.fsum(abs(exact_sum(gaps[bins == each])) for each in range(BINS)) / len(gaps)


def calibration_intervals(
    columns: Sequence[tuple[np.ndarray, np.ndarray, np.ndarray]], clusters: int, *, seed: int, resamples: int
) -> list[Interval | None]:
    """Return the 95 % cluster-bootstrap percentile interval of each calibration error, on the same resamples.

    The statistic is biased upwards, and in a resample more so, so the interval lies high and may miss a small value.

    Args:
        columns: (codes, confidences, rights) each, of shape (n,); a code is the cluster of a pair, from 0.
        clusters: how many there are.
        seed: of the resamples.
        resamples: how many.

    Returns:
        One (low, high) per column; None where fewer than two clusters have pairs.
    """
    found: list[Interval | None] = []
    step = max(1, CELLS // (max(1, clusters) * (BINS + 1)))
    for start in range(0, len(columns), step):
        tables = [_bin_sums(*column, clusters) for column in columns[start : start + step]]
        ends = np.cumsum([table.shape[1] for table in tables])[:-1]
        sums = resampled_sums(np.hstack(tables), seed=seed, resamples=resamples)
        for table, part in zip(tables, np.split(sums, ends, axis=1), strict=True):
            varies = np.count_nonzero(table[:, -1]) > 1
            found.append(percentile_interval(_errors(part)) if varies else None)
    return found


def _bin_sums(codes: np.ndarray, confidences: np.ndarray, rights: np.ndarray, clusters: int) -> np.ndarray:
    """Return the gap of each cluster in each bin that has pairs, and in the last column its pairs."""
    cells = codes * BINS + confidence_bins(confidences)
    gaps = np.bincount(cells, weights=rights - confidences, minlength=clusters * BINS).reshape(clusters, BINS)
    return np.column_stack([gaps[:, gaps.any(axis=0)], np.bincount(codes, minlength=clusters)])


def _errors(sums: np.ndarray) -> np.ndarray:
    gaps, pairs = np.abs(sums[:, :-1]).sum(axis=1), sums[:, -1]
    return np.asarray(np.divide(gaps, pairs, out=np.full(len(gaps), np.nan), where=pairs > 0))


def margin_bins(sizes: np.ndarray, parts: int) -> np.ndarray:
    """Return in which of so many quantile bins each margin is, int64 in [0, parts), the smallest in 0.

    A margin goes where the middle of its equals goes, so that equal margins share a bin; a bin may stay empty.

    Args:
        sizes: absolute margins, rounded, shape (n,).
        parts: how many bins.
    """
    if not len(sizes):
        return np.zeros(0, dtype=np.int64)
    return np.asarray(np.floor(parts * (rankdata(sizes) - 0.5) / len(sizes)), dtype=np.int64)
