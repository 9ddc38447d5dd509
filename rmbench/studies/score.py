"""The score study: mean reward of each system, and paired differences between systems. It needs no human labels.

Means are exact (``math.fsum``) over the rows that have a score; a row without one is counted and enters nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.stats.resampling import distinct, resamples_of
from rmbench.studies.clusters import (
    blocked_intervals,
    cluster_codes,
    cluster_sums,
    exact_mean,
    incomplete,
    shared_prompts,
)
from rmbench.studies.contrasts import differences

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Column
    from rmbench.stats.resampling import Interval
    from rmbench.studies.rows import Rows, Scored

LARGEST = 1e290  # sums of greater scores could leave float64


def score(rows: Rows) -> list[Result]:
    """Return the mean rewards and the paired differences between systems of one task.

    For every reward: ``mean`` by system and over all rows (system None), ``part-mean:<part>`` over all rows for each
    part of it; for every reward that is no null reward ``mean-difference`` of every pair of systems (above 20 systems:
    of each against the best by mean, chosen on the same rows). A reward without a column has one null with its reason.
    All intervals of a task see the same resamples of its prompts.
    """
    tallies = [tally for scored in rows.rewards.values() for tally in _tallies(rows, scored)]
    rewards = [
        (scored, scored.column)
        for scored in rows.rewards.values()
        if not scored.null and scored.column is not None and _why_not(scored, scored.column) is None
    ]
    return _mean_results(rows, tallies) + differences(rows, rewards)


@dataclass(frozen=True, slots=True)
class Tally:
    """One mean to take.

    Attributes:
        scored: the reward.
        metric: name of the number.
        system: None for all rows.
        members: row indices it is about.
        entered: those of them that have a value; ``values`` of the same shape.
        reason: why no row may enter.
    """

    scored: Scored
    metric: str
    system: str | None
    members: np.ndarray
    entered: np.ndarray
    values: np.ndarray
    reason: str | None


def _why_not(scored: Scored, column: Column | None) -> str | None:
    """Return why a column can have no mean, None where it can."""
    if column is None:
        return scored.reason or "it was not scored"
    if (np.abs(column.values[column.ok]) > LARGEST).any():
        return f"scores beyond {LARGEST:g} are not averaged"
    return None


def _tallies(rows: Rows, scored: Scored) -> Iterator[Tally]:
    every, column = np.arange(len(rows.sample)), scored.column
    reason = _why_not(scored, column)
    if column is None:
        yield Tally(scored, "mean", None, every, every[:0], np.zeros(0), reason)
        return
    for index, system in enumerate(rows.systems):
        yield _tally(scored, column, system, np.flatnonzero(rows.system == index))
    yield _tally(scored, column, None, every)
    for name in sorted(column.parts):
        yield _tally(scored, column.parts[name], None, every, f"part-mean:{name}")


def _tally(scored: Scored, column: Column, system: str | None, members: np.ndarray, metric: str = "mean") -> Tally:
    reason = _why_not(scored, column)
    entered = members[column.ok[members]] if reason is None else members[:0]
    if reason is None and not len(entered):
        reason = "no row was scored" if metric == "mean" else "no row has this part"
    return Tally(scored, metric, system, members, entered, column.values[entered], reason)


def _mean_results(rows: Rows, tallies: Sequence[Tally]) -> list[Result]:
    codes, size = cluster_codes(rows)
    sums = (cluster_sums(codes[rows.sample[t.entered]], t.values, size) for t in tallies)
    counts = (cluster_sums(codes[rows.sample[t.entered]], np.ones(len(t.entered)), size) for t in tallies)
    intervals = blocked_intervals(zip(sums, counts, strict=True), size, seed=rows.seed, resamples=resamples_of(size))
    return [_mean_result(rows, tally, ci, resamples_of(size)) for tally, ci in zip(tallies, intervals, strict=True)]


def _mean_result(rows: Rows, tally: Tally, ci: Interval | None, resamples: int) -> Result:
    samples = distinct(len(rows.ids), rows.sample[tally.entered])
    column = tally.scored.column
    unscored = None if column is None else int(np.count_nonzero(~column.ok[tally.members]))
    return Result(
        study="score",
        metric=tally.metric,
        task=rows.task,
        kind=rows.kind,
        split=rows.split,
        reward=tally.scored.name,
        system=tally.system,
        level="system",
        value=exact_mean(tally.values),
        ci=ci,
        resamples=None if ci is None else resamples,
        cluster=shared_prompts(rows, samples),
        n=len(samples),
        rows=len(tally.entered),
        unscored=unscored,
        reason=tally.reason or incomplete(unscored, len(tally.members)),
        signature=tally.scored.signature,
    )
