"""What the agree study looks at: rewards beside human scores, and the counts that stand with each number."""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.stats.resampling import coded, distinct, exact_sum, ratio_intervals, resamples_of
from rmbench.stats.ties import round12

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Mapping

    from rmbench.api import Column, Metric
    from rmbench.stats.resampling import Interval
    from rmbench.studies.rows import Rows, Scored


CELLS = 8_000_000  # of one matrix of sums by cluster: 64 MB


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which metrics to give: those of a suite (None: all), and the statistics that plugins bring."""

    names: Collection[str] | None
    plugins: Mapping[str, Metric]

    def __contains__(self, metric: str) -> bool:
        """Return whether the metric is wanted."""
        return self.names is None or metric in self.names

    def plugin_metrics(self, level: str) -> list[Metric]:
        """Return the plugins' metrics that have a statistic for this level, by name."""
        known = (self.plugins[name] for name in sorted(self.plugins) if name in self)
        return [metric for metric in known if metric.statistic is not None and level in metric.levels]


@dataclass(frozen=True, slots=True)
class Judged:
    """One reward with its rounded scores: ``values`` where ``ok``, float64 and bool of shape (rows,)."""

    scored: Scored
    values: np.ndarray
    ok: np.ndarray

    @property
    def exclude(self) -> bool:
        """Whether rows without a score are left out instead of counting as wrong."""
        return self.scored.unscored == "exclude"

    @property
    def counted(self) -> np.ndarray:
        """The rows that count: all, or those with a score where the others are excluded."""
        return self.ok if self.exclude else np.ones(len(self.ok), dtype=bool)


@dataclass(frozen=True, slots=True)
class View:
    """The rows that people rated, for one aspect and subset, and the rewards that are held against them.

    Attributes:
        rows: the task.
        aspect, subset: None for all samples and for stated preferences.
        human: rounded human scores, float64 (rows,), where ``rated``, bool (rows,).
        rewards: what is compared; an oracle that splits the raters has a view of its own.
    """

    rows: Rows
    aspect: str | None
    subset: str | None
    human: np.ndarray
    rated: np.ndarray
    rewards: tuple[Judged, ...]


def judge(rows: Rows) -> tuple[Judged, ...]:
    """Return the rewards that scored at least one row of the task, in order."""
    return tuple(
        Judged(scored, round12(scored.column.values), np.asarray(scored.column.ok, dtype=bool))
        for scored in rows.rewards.values()
        if scored.column is not None and scored.column.ok.any()
    )


def rating_views(rows: Rows, aspect: str, rewards: tuple[Judged, ...]) -> list[View]:
    """Return the views of an aspect: one for all ordinary rewards, one for each oracle that splits the raters.

    Such an oracle (parts ``<aspect>.rater`` and ``<aspect>.others``) is one rater held against the mean
    of the others.
    """
    human = rows.human[aspect]
    plain = tuple(reward for reward in rewards if _split(reward, aspect) is None)
    views = [View(rows, aspect, None, round12(human.values), np.asarray(human.ok, dtype=bool), plain)] if plain else []
    for reward in rewards:
        parts = _split(reward, aspect)
        if parts is not None:
            rater, others = parts
            one = replace(reward, values=round12(rater.values), ok=np.asarray(rater.ok, dtype=bool))
            views.append(View(rows, aspect, None, round12(others.values), np.asarray(others.ok, dtype=bool), (one,)))
    return views


def subset_names(subsets: Iterable[str | None]) -> list[str]:
    """Return the named subsets in order of name, none where everything is of one subset."""
    distinct = set(subsets)
    return sorted(name for name in distinct if name is not None) if len(distinct) > 1 else []


def with_subsets(view: View) -> Iterator[View]:
    """Yield the view, then the view of each subset of samples."""
    yield view
    names = np.array([name if name is not None else "" for name in view.rows.subset], dtype=object)
    known = np.array([name is not None for name in view.rows.subset], dtype=bool)
    for name in subset_names(view.rows.subset):
        inside = (known & (names == name))[view.rows.sample]
        if (view.rated & inside).any():
            yield replace(view, subset=name, rated=view.rated & inside)


@dataclass(frozen=True, slots=True)
class Number:
    """A value with what was found on the way to it; ``resamples`` where they are not those of its place."""

    value: float | None
    ci: Interval | None = None
    skipped: int | None = None
    pairs: int | None = None
    reason: str | None = None
    resamples: int | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """Where a number stands: aspect, subset and level, with the samples and rows that entered.

    Attributes:
        rows: the task.
        aspect, subset, level: of the number.
        samples, entered: the samples and rows, sorted.
        clusters: the distinct clusters of the samples, sorted.
        codes: of each sample of the task that entered, its cluster as an index into ``clusters``, int64 (m,).
    """

    rows: Rows
    aspect: str | None
    subset: str | None
    level: str
    samples: np.ndarray
    entered: np.ndarray
    clusters: np.ndarray
    codes: np.ndarray

    @property
    def resamples(self) -> int:
        """How many resamples an interval here takes."""
        return resamples_of(len(self.clusters))

    def result(self, metric: str, reward: Judged, number: Number) -> Result:
        """Return the row of results.json."""
        return Result(
            study="agree",
            metric=metric,
            task=self.rows.task,
            kind=self.rows.kind,
            subset=self.subset,
            split=self.rows.split,
            reward=reward.scored.name,
            aspect=self.aspect,
            level=self.level,
            value=number.value,
            ci=number.ci,
            resamples=None if number.ci is None else number.resamples or self.resamples,
            cluster="prompt" if len(self.clusters) < len(self.samples) else None,
            n=len(self.samples),
            rows=len(self.entered),
            pairs=number.pairs,
            skipped=number.skipped,
            unscored=int(np.count_nonzero(~reward.ok[self.entered])),
            reason=number.reason,
            signature=reward.scored.signature,
        )


def place_at(rows: Rows, aspect: str | None, subset: str | None, level: str, *entered: np.ndarray) -> Place:
    """Return the place of a number over these rows, given by index in any number of arrays."""
    found = distinct(len(rows.sample), *entered)
    samples = distinct(len(rows.ids), rows.sample[found])
    clusters, codes = coded(rows.cluster[samples])
    table = np.zeros(len(rows.ids), dtype=np.int64)
    table[samples] = codes
    return Place(rows, aspect, subset, level, samples, found, clusters, table)


def place_of(view: View, level: str) -> Place:
    """Return the place of a number over the rated rows of a view."""
    return place_at(view.rows, view.aspect, view.subset, level, np.flatnonzero(view.rated))


@dataclass(frozen=True, slots=True)
class Share:
    """One statistic sum(top) / sum(bottom) over units: the sample, credit and weight of each unit."""

    samples: np.ndarray
    top: np.ndarray
    bottom: np.ndarray


def first_half(clusters: np.ndarray, seed: int) -> np.ndarray:
    """Return the distinct clusters of the first half of a seeded shuffle, on which something is fitted.

    It has the smaller number of clusters where they are odd.
    """
    known = coded(clusters)[0]
    order = np.random.default_rng(seed).permutation(len(known))
    return np.asarray(known[order[: len(known) // 2]])


def seeded(result: Result, seed: int) -> Result:
    """Return a number that depends on the seed with the seed in its signature."""
    if result.signature is None or "|seed:" in result.signature:
        return result
    return replace(result, signature=f"{result.signature}|seed:{seed}")


def shares(place: Place, columns: Iterable[Share]) -> list[tuple[float | None, Interval | None]]:
    """Return value and 95 % interval of each share, all on the same resamples of the prompts."""
    size, rest = len(place.clusters), iter(columns)
    found: list[tuple[float | None, Interval | None]] = []
    while block := list(islice(rest, max(1, CELLS // max(1, size)))):
        values = [mean_of(column.top, column.bottom) for column in block]
        codes = [place.codes[column.samples] for column in block]
        sides = ([column.top for column in block], [column.bottom for column in block])
        top, bottom = (
            np.stack([np.bincount(at, each, minlength=size) for at, each in zip(codes, side, strict=True)], axis=1)
            for side in sides
        )
        intervals = ratio_intervals(top, bottom, seed=place.rows.seed, resamples=place.resamples)
        found += zip(values, intervals, strict=True)
    return found


def mean_of(top: np.ndarray, bottom: np.ndarray) -> float | None:
    """Return sum(top) / sum(bottom), exactly summed; None where there is nothing to divide by."""
    weight = exact_sum(bottom)
    return exact_sum(top) / weight if weight else None


def mean(values: np.ndarray) -> float | None:
    """Return the mean, exactly summed; None of nothing."""
    return exact_sum(values) / len(values) if len(values) else None


def _split(reward: Judged, aspect: str) -> tuple[Column, Column] | None:
    column = reward.scored.column
    parts = column.parts if column is not None else {}
    rater, others = parts.get(f"{aspect}.rater"), parts.get(f"{aspect}.others")
    return None if rater is None or others is None else (rater, others)
