"""Finding the high-quality texts of a task: those with a human score of at least ``good``."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.classification import RATIOS, auroc, confusion, fit_threshold
from rmbench.stats.ties import round12
from rmbench.stats.weighted import auroc_of, kept, rank_resamples, weighted_intervals
from rmbench.studies.view import Number, Share, first_half, place_of, seeded, shares

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rmbench.api import Result
    from rmbench.studies.view import Judged, View, Wanted

ONE_CLASS = "only one class of texts"
NO_FIT = "no threshold: only one class of texts to fit it on"
NONE_FOUND = "no text reaches the threshold"


def good_texts(view: View) -> np.ndarray:
    """Return which rated rows are high-quality texts, bool of shape (rows,)."""
    least = np.inf if view.rows.good is None else round12([view.rows.good])[0]
    return np.asarray(view.rated & (view.human >= least))


@dataclass(frozen=True, slots=True)
class Fitted:
    """What was fitted on one half of the prompts: the rows of that half, and the threshold of each reward."""

    half: np.ndarray
    thresholds: Mapping[str, float | None]


def fit_quality(view: View) -> Fitted:
    """Split the prompts in halves by a seeded shuffle; fit each reward's threshold with the best F1 on the first.

    The first half has the smaller number of prompts where they are odd. No threshold where the half has
    texts of one class only.
    """
    clusters = view.rows.cluster[view.rows.sample]
    half = view.rated & np.isin(clusters, first_half(clusters[view.rated], view.rows.seed))
    good = good_texts(view)
    thresholds: dict[str, float | None] = {}
    for reward in view.rewards:
        rows = np.flatnonzero(half & reward.counted)
        both = good[rows].any() and not good[rows].all()
        fit = fit_threshold(reward.values[rows], good[rows], reward.ok[rows]) if both else None
        thresholds[reward.scored.name] = fit
    return Fitted(half, thresholds)


def quality(view: View, wanted: Wanted, fitted: Fitted) -> list[Result]:
    """Return precision, recall, F1 and accuracy on the half that nothing was fitted on, and the ROC area.

    The intervals hold the threshold fixed, and so do the subsets. The area needs no threshold and is
    taken over all rows.
    """
    if not view.rated.any() or not view.rewards:
        return []
    results = _classified(view, [name for name in RATIOS if name in wanted], fitted)
    return results + (_areas(view) if "auroc" in wanted else [])


def _classified(view: View, names: list[str], fitted: Fitted) -> list[Result]:
    good = good_texts(view)
    place = place_of(replace(view, rated=view.rated & ~fitted.half), "pooled")
    cases, units, reasons = [], [], []
    for reward in view.rewards:
        rows = place.entered[reward.counted[place.entered]]
        threshold, one_class = fitted.thresholds[reward.scored.name], good[rows].all() or not good[rows].any()
        reason = NO_FIT if threshold is None else ONE_CLASS if one_class else None
        for name in names:
            cases.append((name, reward))
            reasons.append(reason)
            units.append(_units(view, reward, rows, name, None if reason else threshold))
    results = []
    for (name, reward), reason, (value, ci) in zip(cases, reasons, shares(place, units), strict=True):
        why = reason or (NONE_FOUND if value is None else None)
        results.append(seeded(place.result(name, reward, Number(value, ci, reason=why)), view.rows.seed))
    return results


def _units(view: View, reward: Judged, rows: np.ndarray, name: str, threshold: float | None) -> Share:
    """Return the rows' weights in a ratio; without a score a text is not found, and wrong in accuracy."""
    samples = view.rows.sample[rows]
    if threshold is None:
        return Share(samples, np.zeros(len(rows)), np.zeros(len(rows)))
    ok = reward.ok[rows]
    cells = np.stack(confusion(reward.values[rows], good_texts(view)[rows], ok, threshold=threshold))
    top, bottom = (np.array(weights, dtype=np.float64) @ cells for weights in RATIOS[name])
    return Share(samples, top * ok, bottom)


def _areas(view: View) -> list[Result]:
    place = place_of(view, "pooled")
    resamples = rank_resamples(len(place.entered), place.resamples)
    values = [area(view, reward) for reward in view.rewards]
    statistics = [weighted_area(view, reward, place.entered) for reward in view.rewards]
    clusters = view.rows.cluster[view.rows.sample[place.entered]]
    intervals = weighted_intervals(statistics, clusters, seed=view.rows.seed, resamples=resamples)
    return [
        place.result(
            "auroc",
            reward,
            Number(None, reason=ONE_CLASS) if value is None else Number(value, ci, resamples=resamples),
        )
        for reward, value, ci in zip(view.rewards, values, intervals, strict=True)
    ]


def area(view: View, reward: Judged) -> float | None:
    """Return the area under the ROC curve over all rated rows; a pair with an unscored side counts 0 or leaves."""
    rows = np.flatnonzero(view.rated & reward.ok)
    counted = good_texts(view)[view.rated & reward.counted]
    good = good_texts(view)[rows]
    goods, pairs = np.count_nonzero(counted), np.count_nonzero(good) * np.count_nonzero(~good)
    every = goods * (len(counted) - goods)
    scored = auroc(reward.values[rows], good)
    if not every:
        return None
    return 0.0 if scored is None else scored * (pairs / every)


def weighted_area(view: View, reward: Judged, rows: np.ndarray) -> Callable[[np.ndarray], np.ndarray]:
    """Return the area as a function of the weights of these rows."""
    counted = reward.counted[rows]
    inner = rows[counted]
    return kept(auroc_of(reward.values[inner], good_texts(view)[inner], reward.ok[inner]), counted)
