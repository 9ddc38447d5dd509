"""Pairs of texts of a sample that people order: accuracy over pairs, and of the top of each sample."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.ranking import all_pairs, group_starts, pair_credit, top1_credits
from rmbench.studies.view import Number, Share, place_at, place_of, shares, subset_names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmbench.api import Result
    from rmbench.studies.rows import Rows
    from rmbench.studies.view import Judged, Place, View, Wanted

PAIRWISE = ("pairwise-accuracy", "pairwise-accuracy-strict")
LONGER, SHORTER = "length:better-longer", "length:better-shorter"


@dataclass(frozen=True, slots=True)
class Pairs:
    """Pairs that people order, with where they come from.

    Attributes:
        rows: the task.
        aspect: of the ratings, None for stated preferences.
        subset: None for all pairs.
        better, worse: row indices, int64 of shape (p,).
        rewards: what is held against them.
    """

    rows: Rows
    aspect: str | None
    subset: str | None
    better: np.ndarray
    worse: np.ndarray
    rewards: tuple[Judged, ...]

    @property
    def samples(self) -> np.ndarray:
        """Sample of each pair."""
        return np.asarray(self.rows.sample[self.better])

    def place(self, level: str) -> Place:
        """Return the place of a number over these pairs."""
        return place_at(self.rows, self.aspect, self.subset, level, self.better, self.worse)

    def where(self, inside: np.ndarray, subset: str | None) -> Pairs:
        """Return the pairs of a bool mask, under the name of a subset."""
        return replace(self, subset=subset, better=self.better[inside], worse=self.worse[inside])


def rated_pairs(view: View) -> Pairs:
    """Return all pairs of rated texts of a sample whose rounded human scores differ."""
    rated = np.flatnonzero(view.rated)
    first, second = (rated[side] for side in all_pairs(view.rows.sample[rated]))
    differ = view.human[first] != view.human[second]
    first, second = first[differ], second[differ]
    up = view.human[first] > view.human[second]
    better, worse = np.where(up, first, second), np.where(up, second, first)
    return Pairs(view.rows, view.aspect, view.subset, better, worse, view.rewards)


def stated_pairs(rows: Rows, rewards: tuple[Judged, ...]) -> Iterator[Pairs]:
    """Yield the stated preferences (ties left out), all first, then those of each subset."""
    if not len(rows.better):
        return
    pairs = Pairs(rows, None, None, rows.better, rows.worse, rewards)
    yield pairs
    names = np.array([name if name is not None else "" for name in rows.preference_subset], dtype=object)
    known = np.array([name is not None for name in rows.preference_subset], dtype=bool)
    for name in subset_names(rows.preference_subset):
        yield pairs.where(known & (names == name), name)


def pair_units(pairs: Pairs, reward: Judged, *, strict: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """Return credit and weight of each pair: an unscored side is wrong, or takes the pair out."""
    credit = pair_credit(reward.values[pairs.better], reward.values[pairs.worse], strict=strict)
    ok = (reward.ok[pairs.better] & reward.ok[pairs.worse]).astype(np.float64)
    return credit * ok, ok if reward.exclude else np.ones_like(ok)


def pairwise(pairs: Pairs, wanted: Wanted) -> list[Result]:
    """Return pairwise accuracy (a tie of the reward counts one half) and its strict form (a tie is wrong)."""
    if not len(pairs.better) or not pairs.rewards:
        return []
    results = _pairwise(pairs, [name for name in PAIRWISE if name in wanted])
    if pairs.subset is None and PAIRWISE[0] in wanted:
        lengths = np.array([len(text) for text in pairs.rows.texts])
        longer = lengths[pairs.better] - lengths[pairs.worse]
        for inside, subset in ((longer > 0, LONGER), (longer < 0, SHORTER)):
            if inside.any():
                results += _pairwise(pairs.where(inside, subset), [PAIRWISE[0]])
    return results


def _pairwise(pairs: Pairs, metrics: list[str]) -> list[Result]:
    place, samples = pairs.place("pair"), pairs.samples
    cases = [(metric, reward) for metric in metrics for reward in pairs.rewards]
    units = (pair_units(pairs, reward, strict=metric == PAIRWISE[1]) for metric, reward in cases)
    numbers = shares(place, (Share(samples, top, bottom) for top, bottom in units))
    results = []
    for (metric, reward), (value, ci) in zip(cases, numbers, strict=True):
        scored = int(np.count_nonzero(reward.ok[pairs.better] & reward.ok[pairs.worse]))
        reason = "no pair has a score on both sides" if value is None else None
        count = scored if reward.exclude else len(samples)
        results.append(place.result(metric, reward, Number(value, ci, pairs=count, reason=reason)))
    return results


def rated_top1(view: View, wanted: Wanted) -> list[Result]:
    """Return top-1 accuracy where the best texts of a sample are those with the greatest human score."""

    def best(counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        members = np.flatnonzero(view.rated & counted)
        groups = view.rows.sample[members]
        starts = group_starts(groups)
        if not len(starts):
            return members, np.zeros(0, dtype=bool)
        greatest = np.maximum.reduceat(view.human[members], starts)
        return members, view.human[members] == np.repeat(greatest, np.diff(np.append(starts, len(members))))

    if "top1-accuracy" not in wanted or not view.rewards or not view.rated.any():
        return []
    place = place_of(view, "sample")
    units = [top1_units(view.rows, reward, *best(reward.counted)) for reward in view.rewards]
    return _top1(place, view.rewards, units)


def stated_top1(pairs: Pairs, wanted: Wanted) -> list[Result]:
    """Return top-1 accuracy where the best texts are preferred to some other and none is preferred to them."""
    if "top1-accuracy" not in wanted or not len(pairs.better) or not pairs.rewards:
        return []
    units = [top1_units(pairs.rows, reward, *stated_best(pairs, reward.counted)) for reward in pairs.rewards]
    return _top1(pairs.place("sample"), pairs.rewards, units)


def stated_best(pairs: Pairs, counted: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows of the preferences among counted rows, sorted, and which of them are never worse."""
    inside = counted[pairs.better] & counted[pairs.worse]
    members = np.unique(np.concatenate([pairs.better[inside], pairs.worse[inside]]))
    return members, ~np.isin(members, pairs.worse[inside])


def top1_units(rows: Rows, reward: Judged, members: np.ndarray, best: np.ndarray) -> Share:
    """Return the credit of each sample for its top texts; undefined where all or none of its texts are best.

    Args:
        rows: the task.
        reward: whose top texts.
        members: sorted row indices of the texts that compete.
        best: bool of the same shape: those that people find best.
    """
    groups = rows.sample[members]
    starts = group_starts(groups)
    if not len(starts):
        return Share(groups, np.zeros(0), np.zeros(0))
    sizes = np.diff(np.append(starts, len(groups)))
    goods = np.add.reduceat(best.astype(np.int64), starts)
    defined = (goods > 0) & (goods < sizes)
    whole = np.logical_and.reduceat(reward.ok[members], starts)
    credit = top1_credits(reward.values[members], best, groups) * (defined & whole)
    return Share(groups[starts], credit, defined.astype(np.float64))


def _top1(place: Place, rewards: tuple[Judged, ...], units: list[Share]) -> list[Result]:
    results = []
    for reward, unit, (value, ci) in zip(rewards, units, shares(place, units), strict=True):
        skipped = len(place.samples) - int(np.count_nonzero(unit.bottom))
        reason = "no sample has both a best text and another" if value is None else None
        results.append(place.result("top1-accuracy", reward, Number(value, ci, skipped=skipped, reason=reason)))
    return results
