"""Is a reward's margin a probability? Calibration on the pairs that people order, as given and at a fitted temperature.

For all pairs of stated preferences and of the main aspect, and every reward that is no null reward and no oracle. A
pair with an unscored side has no probability: it is in none of these numbers, and its rows are in ``unscored``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats import calibration as stats
from rmbench.stats.ties import round12
from rmbench.studies.view import Number, Share, first_half, mean, seeded, shares

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Result
    from rmbench.stats.resampling import Interval
    from rmbench.studies.pairs import Pairs
    from rmbench.studies.view import Judged, Place, Wanted

ERRORS = ("brier", "calibration-error")
TEMPERATURE = "temperature"
SCALED = ("brier-scaled", "calibration-error-scaled")
ACCURACY, CONFIDENCE, CONFIDENCE_SCALED, EDGE = BY_MARGIN = (
    "margin-accuracy",
    "margin-confidence",
    "margin-confidence-scaled",
    "margin-edge",
)
METRICS = (*ERRORS, TEMPERATURE, *SCALED, *BY_MARGIN)
LOWER_IS_BETTER = frozenset({*ERRORS, *SCALED})
PARTS = 5  # bins of the margin
LEAST_PAIRS = 40  # fewer say nothing of ten bins
LEAST_HALF = 20  # pairs of a half, to fit on or to measure on
GREATEST = float(np.finfo(np.float64).max)

FEW = f"fewer than {LEAST_PAIRS} pairs have a score on both sides"
TIED = "every pair is a tie of the reward"
FEW_IN_HALF = f"fewer than {LEAST_HALF} scored pairs in a half of the prompts"
NO_CONFIDENCE = (
    "no finite temperature: the margins of the fitting half do not point to the better texts, "
    "so that every scaled probability is one half"
)
ALL_CONFIDENCE = (
    "at its lower bound: the margins of the fitting half point to the better texts (almost) without exception, "
    "so that every scaled probability is 0 or 1, or one half for a tie"
)


@dataclass(frozen=True, slots=True)
class Margins:
    """The margins of one reward on the pairs that it scored.

    Attributes:
        reward: whose.
        inside: bool of shape (pairs,): the pairs with a score on both sides.
        values: rounded score of the better text less that of the worse, float64 (pairs,), 0 where not ``inside``.
        temperature: that the margins are divided by.
        reason: why there is no number, or None.
    """

    reward: Judged
    inside: np.ndarray
    values: np.ndarray
    temperature: float = 1.0
    reason: str | None = None

    @property
    def own(self) -> np.ndarray:
        """The margins that there are; none where no number is to be given."""
        return self.values[self.inside] if self.reason is None else np.zeros(0)

    def take(self, part: np.ndarray) -> Margins:
        """Return the margins of the pairs of a bool mask."""
        return replace(self, inside=self.inside[part], values=self.values[part])


def calibration(pairs: Pairs, wanted: Wanted) -> list[Result]:
    """Return Brier score, calibration error and temperature, and accuracy and confidence by margin.

    Nothing for the pairs of a subset or of another aspect than the main one. Below 40 pairs in all, nothing unless
    the suite names the metrics: then a null with its reason, as for a reward that scored too few or tied all.
    """
    names = [name for name in METRICS if name in wanted]
    rewards = [reward for reward in pairs.rewards if not (reward.scored.null or reward.scored.oracle)]
    few = len(pairs.better) < LEAST_PAIRS and (wanted.names is None or not len(pairs.better))
    if pairs.subset is not None or pairs.aspect not in (None, pairs.rows.main) or few or not rewards or not names:
        return []
    given = [_margins(pairs, reward) for reward in rewards]
    fitted, half = list(given), np.zeros(len(pairs.better), dtype=bool)
    if any(name in names for name in (TEMPERATURE, *SCALED, CONFIDENCE_SCALED)):
        clusters = pairs.rows.cluster[pairs.samples]
        half = np.isin(clusters, first_half(clusters, pairs.rows.seed))
        fitted = [_fit(margins, half) for margins in given]
    results = _errors(pairs, given, [name for name in ERRORS if name in names])
    results += _temperatures(pairs, fitted, half) if TEMPERATURE in names else []
    results += _scaled(pairs, fitted, half, [name for name in SCALED if name in names])
    return results + _by_margin(pairs, given, fitted, [name for name in BY_MARGIN if name in names])


def _margins(pairs: Pairs, reward: Judged) -> Margins:
    inside = reward.ok[pairs.better] & reward.ok[pairs.worse]
    with np.errstate(over="ignore"):
        apart = reward.values[pairs.better] - reward.values[pairs.worse]
    values = np.where(inside, round12(np.clip(apart, -GREATEST, GREATEST)), 0.0)
    reason = FEW if np.count_nonzero(inside) < LEAST_PAIRS else None if values.any() else TIED
    return Margins(reward, inside, values, reason=reason)


def _fit(margins: Margins, half: np.ndarray) -> Margins:
    """Return the margins with the temperature of their first half."""
    if margins.reason is not None:
        return margins
    sizes = [np.count_nonzero(margins.inside & part) for part in (half, ~half)]
    if min(sizes) < LEAST_HALF:
        return replace(margins, reason=FEW_IN_HALF)
    return replace(margins, temperature=stats.fit_temperature(margins.take(half).own))


def _errors(pairs: Pairs, every: Sequence[Margins], names: Sequence[str]) -> list[Result]:
    """Return the two errors, each at the temperatures of the margins."""
    if not names:
        return []
    place, results = pairs.place("pair"), []
    for name in names:
        numbers = _briers(place, pairs, every) if name in (ERRORS[0], SCALED[0]) else _gaps(place, pairs, every)
        for margins, number in zip(every, numbers, strict=True):
            results.append(place.result(name, margins.reward, replace(number, reason=margins.reason)))
    return results


def _briers(place: Place, pairs: Pairs, every: Sequence[Margins]) -> list[Number]:
    units = []
    for margins in every:
        terms = stats.brier_terms(stats.win_probability(margins.own, margins.temperature))
        units.append(Share(_samples(pairs, margins), terms, np.ones(len(terms))))
    return [Number(value, ci, pairs=_count(m)) for m, (value, ci) in zip(every, shares(place, units), strict=True)]


def _gaps(place: Place, pairs: Pairs, every: Sequence[Margins]) -> list[Number]:
    columns, values = [], []
    for margins in every:
        sure = stats.confidence(stats.win_probability(margins.own, margins.temperature))
        rights = stats.right(margins.own)
        values.append(stats.calibration_error(sure, rights))
        columns.append((place.codes[_samples(pairs, margins)], sure, rights))
    size, seed = len(place.clusters), place.rows.seed
    intervals = stats.calibration_intervals(columns, size, seed=seed, resamples=place.resamples)
    return [Number(value, ci, pairs=_count(m)) for m, value, ci in zip(every, values, intervals, strict=True)]


def _samples(pairs: Pairs, margins: Margins) -> np.ndarray:
    """Return the sample of each margin that there is."""
    return pairs.samples[margins.inside] if margins.reason is None else np.zeros(0, dtype=np.int64)


def _count(margins: Margins) -> int:
    return int(np.count_nonzero(margins.inside))


def _temperatures(pairs: Pairs, fitted: Sequence[Margins], half: np.ndarray) -> list[Result]:
    place, results = pairs.where(half, None).place("pair"), []
    for margins in fitted:
        value, reason = (None, margins.reason) if margins.reason else _told(margins.temperature)
        number = Number(value, pairs=_count(margins.take(half)), reason=reason)
        results.append(seeded(place.result(TEMPERATURE, margins.reward, number), pairs.rows.seed))
    return results


def _told(temperature: float) -> tuple[float | None, str | None]:
    """Return the temperature as a number that can be written, and what is to be said of a limit."""
    if math.isinf(temperature):
        return None, NO_CONFIDENCE
    return temperature, None if temperature else ALL_CONFIDENCE


def _scaled(pairs: Pairs, fitted: Sequence[Margins], half: np.ndarray, names: Sequence[str]) -> list[Result]:
    rest = [margins.take(~half) for margins in fitted]
    return [seeded(result, pairs.rows.seed) for result in _errors(pairs.where(~half, None), rest, names)]


def _by_margin(pairs: Pairs, given: Sequence[Margins], fitted: Sequence[Margins], names: Sequence[str]) -> list[Result]:
    """Return accuracy, confidence and greatest margin of each fifth of the margins, held fixed in the resamples.

    A bin that is empty, because equal margins share one, has no row. The temperature was fitted on half of the pairs.
    """
    if not names:
        return []
    parts = [list(_parts(pairs, margins)) for margins in given]
    results: list[Result] = []
    for name in names:
        every = fitted if name == CONFIDENCE_SCALED else given
        flat = [(margins, part) for margins, its in zip(every, parts, strict=True) for part in its]
        for (margins, part), (value, ci) in zip(flat, _numbers(name, pairs, every, parts), strict=True):
            if margins.reason is None:
                number = Number(value, ci, pairs=int(np.count_nonzero(part.inside)))
                result = part.place.result(name, margins.reward, number)
                results.append(seeded(result, pairs.rows.seed) if name == CONFIDENCE_SCALED else result)
    return results


@dataclass(frozen=True, slots=True)
class Part:
    """One bin of the margins of a reward: its place, and which of the reward's scored pairs are in it, bool."""

    place: Place
    inside: np.ndarray


def _parts(pairs: Pairs, margins: Margins) -> Iterator[Part]:
    bins = stats.margin_bins(np.abs(margins.own), PARTS)
    rows = np.flatnonzero(margins.inside)
    for each in range(PARTS):
        inside = bins == each
        if inside.any():
            some = np.zeros(len(pairs.better), dtype=bool)
            some[rows[inside]] = True
            yield Part(pairs.where(some, f"margin:{each + 1}/{PARTS}").place("pair"), inside)


def _numbers(
    name: str, pairs: Pairs, every: Sequence[Margins], parts: Sequence[Sequence[Part]]
) -> list[tuple[float | None, Interval | None]]:
    """Return value and interval in each bin of each reward; only the accuracy has an interval."""
    if name == ACCURACY:
        return shares(pairs.place("pair"), _credits(pairs, every, parts))
    found: list[tuple[float | None, Interval | None]] = []
    for margins, its in zip(every, parts, strict=True):
        values = margins.values[margins.inside]
        sure = stats.confidence(stats.win_probability(values, margins.temperature))
        for part in its:
            edge = float(np.abs(values[part.inside]).max())
            found.append((edge if name == EDGE else mean(sure[part.inside]), None))
    return found


def _credits(pairs: Pairs, every: Sequence[Margins], parts: Sequence[Sequence[Part]]) -> Iterator[Share]:
    for margins, its in zip(every, parts, strict=True):
        samples, rights = _samples(pairs, margins), stats.right(margins.own)
        for part in its:
            inside = part.inside.astype(np.float64)
            yield Share(samples, rights * inside, inside)
