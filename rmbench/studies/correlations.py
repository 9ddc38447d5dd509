"""Correlation of a reward with human scores within samples and over all candidates, and tie-calibrated accuracy."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats import correlation
from rmbench.stats.ranking import (
    TiePairs,
    acc_eq_credit,
    all_pairs,
    by_size,
    fit_tie_threshold,
    group_starts,
    tie_pairs,
)
from rmbench.stats.resampling import FEW_RESAMPLES, statistic_interval
from rmbench.stats.weighted import (
    kendall_of,
    kept,
    pearson_intervals,
    rank_resamples,
    spearman_of,
    weighted_intervals,
)
from rmbench.studies.view import Number, Share, place_of, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rmbench.api import Metric, Result
    from rmbench.studies.view import Judged, Place, View, Wanted

    Statistic = Callable[[np.ndarray, np.ndarray], float | None]
    PerSample = Callable[[np.ndarray, np.ndarray], correlation.PerRow]

ROWS = {"kendall": correlation.kendall_rows, "spearman": correlation.spearman_rows, "pearson": correlation.pearson_rows}
WHOLE = {"kendall": correlation.kendall, "spearman": correlation.spearman, "pearson": correlation.pearson}
WEIGHTED = {"kendall": kendall_of, "spearman": spearman_of}


def checked(metric: Metric) -> Statistic:
    """Return a plugin's statistic as one that gives a finite float or None."""
    statistic = metric.statistic

    def call(scores: np.ndarray, human: np.ndarray) -> float | None:
        value = None if statistic is None else statistic(scores, human)
        return float(value) if value is not None and math.isfinite(value) else None

    return call


def why_undefined(scores: np.ndarray, human: np.ndarray) -> str:
    """Return why a correlation of these two columns is undefined."""
    if len(scores) < 2:  # noqa: PLR2004 - one value does not vary
        return "fewer than two values"
    if (scores == scores[0]).all():
        return "constant"
    return "human scores are constant" if (human == human[0]).all() else "undefined"


def sample_level(view: View, wanted: Wanted) -> list[Result]:
    """Return the correlations within each sample, averaged over the samples where they are defined."""
    functions: dict[str, PerSample] = {name: function for name, function in ROWS.items() if name in wanted}
    functions |= {metric.name: _row_by_row(checked(metric)) for metric in wanted.plugin_metrics("sample")}
    cases = [(name, reward) for name in functions for reward in view.rewards]
    defined: list[int] = []

    def units() -> Iterator[Share]:
        for name, reward in cases:
            unit = _per_sample(view, reward, functions[name])
            defined.append(int(np.count_nonzero(unit.bottom)))
            yield unit

    if not cases or not view.rated.any():
        return []
    place = place_of(view, "sample")
    results = []
    for (name, reward), (value, ci), count in zip(cases, shares(place, units()), defined, strict=True):
        rows = np.flatnonzero(view.rated & reward.ok)
        constant = len(rows) > 1 and (reward.values[rows] == reward.values[rows[0]]).all()
        reason = None if value is not None else "constant" if constant else "undefined in every sample"
        skipped = len(place.samples) - count
        results.append(place.result(name, reward, Number(value, ci, skipped=skipped, reason=reason)))
    return results


def _per_sample(view: View, reward: Judged, function: Callable[[np.ndarray, np.ndarray], correlation.PerRow]) -> Share:
    rows = np.flatnonzero(view.rated & reward.ok)
    samples, values, defined = [np.zeros(0, np.int64)], [np.zeros(0)], [np.zeros(0)]
    for members in by_size(view.rows.sample[rows]):
        table = rows[members]
        answer = function(reward.values[table], view.human[table])
        samples.append(view.rows.sample[table[:, 0]])
        values.append(answer.values)
        defined.append(answer.defined.astype(np.float64))
    order = np.argsort(np.concatenate(samples), kind="stable")
    return Share(np.concatenate(samples)[order], np.concatenate(values)[order], np.concatenate(defined)[order])


def _row_by_row(statistic: Statistic) -> Callable[[np.ndarray, np.ndarray], correlation.PerRow]:
    def function(scores: np.ndarray, human: np.ndarray) -> correlation.PerRow:
        values = [statistic(x, y) for x, y in zip(scores, human, strict=True)]
        defined = np.array([value is not None for value in values], dtype=bool)
        return correlation.PerRow(np.array([value or 0.0 for value in values]), defined)

    return function


def pooled_level(view: View, wanted: Wanted) -> list[Result]:
    """Return the correlations over all rated candidates; those of ranks take 200 resamples above 20,000 rows."""
    if not view.rated.any() or not view.rewards:
        return []
    place = place_of(view, "pooled")
    results = []
    for name in ROWS:
        if name in wanted:
            few = rank_resamples(len(place.entered), place.resamples)
            results += _pooled(view, place, name, place.resamples if name == "pearson" else few)
    for metric in wanted.plugin_metrics("pooled"):
        results += [_pooled_plugin(view, place, metric, reward) for reward in view.rewards]
    return results


def _pooled(view: View, place: Place, name: str, resamples: int) -> list[Result]:
    entered, human = place.entered, view.human[place.entered]
    columns, values = [], []
    for reward in view.rewards:
        ok, scores = reward.ok[entered], reward.values[entered]
        values.append(WHOLE[name](scores[ok], human[ok]))
        if values[-1] is not None:
            columns.append((scores[ok], human[ok], ok))
    clusters, seed = view.rows.cluster[view.rows.sample[entered]], view.rows.seed
    if name == "pearson":
        found = pearson_intervals(columns, clusters, seed=seed, resamples=resamples)
    else:
        statistics = [kept(WEIGHTED[name](x, y), ok) for x, y, ok in columns]
        found = weighted_intervals(statistics, clusters, seed=seed, resamples=resamples)
    intervals = iter(found)
    results = []
    for reward, value in zip(view.rewards, values, strict=True):
        if value is None:
            rows = entered[reward.ok[entered]]
            number = Number(None, reason=why_undefined(reward.values[rows], view.human[rows]))
        else:
            number = Number(value, next(intervals), resamples=resamples)
        results.append(place.result(name, reward, number))
    return results


def _pooled_plugin(view: View, place: Place, metric: Metric, reward: Judged) -> Result:
    rows, statistic = place.entered[reward.ok[place.entered]], checked(metric)

    def of(drawn: np.ndarray) -> float | None:
        return statistic(reward.values[rows[drawn]], view.human[rows[drawn]])

    value = of(np.arange(len(rows)))
    if value is None:
        return place.result(metric.name, reward, Number(None, reason="undefined"))
    clusters = view.rows.cluster[view.rows.sample[rows]]
    ci = statistic_interval(of, clusters, seed=view.rows.seed, resamples=FEW_RESAMPLES)
    return place.result(metric.name, reward, Number(value, ci, resamples=FEW_RESAMPLES))


def fit_ties(view: View) -> dict[str, float | None]:
    """Return the tie threshold of acc-eq of each reward, None where no pair has scores."""
    pairs = {reward.scored.name: _tie_units(view, reward)[2] for reward in view.rewards}
    return {name: fit_tie_threshold(each) if len(each.difference) else None for name, each in pairs.items()}


def acc_eq(view: View, wanted: Wanted, thresholds: Mapping[str, float | None]) -> list[Result]:
    """Return tie-calibrated pairwise accuracy within samples, and on the whole task its threshold.

    One threshold for the task (Deutsch et al. 2023), fitted on the data it is measured on; the interval
    holds it fixed, and so do the subsets.
    """
    if "acc-eq" not in wanted or not view.rated.any() or not view.rewards:
        return []
    place = place_of(view, "sample")
    units = [_acc_eq_units(view, reward, thresholds[reward.scored.name]) for reward in view.rewards]
    results = []
    for reward, unit, (value, ci) in zip(view.rewards, units, shares(place, units), strict=True):
        reason = "no sample has a pair with scores" if value is None else None
        skipped = len(place.samples) - int(np.count_nonzero(unit.bottom))
        results.append(place.result("acc-eq", reward, Number(value, ci, skipped=skipped, reason=reason)))
        if view.subset is None:
            number = Number(thresholds[reward.scored.name], skipped=skipped, reason=reason)
            results.append(place.result("acc-eq-threshold", reward, number))
    return results


def _acc_eq_units(view: View, reward: Judged, threshold: float | None) -> Share:
    samples, scored, pairs = _tie_units(view, reward)
    starts = group_starts(samples)
    if threshold is None or not len(starts):
        return Share(samples[starts], np.zeros(len(starts)), np.zeros(len(starts)))
    credit = np.zeros(len(samples))
    credit[scored] = acc_eq_credit(pairs, threshold)
    sizes = np.diff(np.append(starts, len(samples)))
    return Share(samples[starts], np.add.reduceat(credit, starts) / sizes, np.ones(len(starts)))


def _tie_units(view: View, reward: Judged) -> tuple[np.ndarray, np.ndarray, TiePairs]:
    """Return the sample of each pair that counts, which of them have both scores, and those pairs.

    The weights are 1 / pairs of the sample that count, so that unscored pairs are wrong unless excluded.
    """
    rows = np.flatnonzero(view.rated & reward.counted)
    first, second = (rows[side] for side in all_pairs(view.rows.sample[rows]))
    samples = view.rows.sample[first]
    human, scores = ((column[first], column[second]) for column in (view.human, reward.values))
    pairs = tie_pairs(human, scores, samples)
    scored = reward.ok[first] & reward.ok[second]
    return samples, scored, TiePairs(*(column[scored] for column in pairs))
