"""``rmbench compare``: the paired difference of two rewards, or of one reward in two runs, from their rows."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from rmbench.errors import InputError, did_you_mean
from rmbench.parts import load
from rmbench.stats.resampling import holm
from rmbench.stats.ties import round12
from rmbench.store import RunFolder
from rmbench.studies.calibration import LOWER_IS_BETTER
from rmbench.studies.difference import compare, match
from rmbench.studies.headline import all_sums

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Result
    from rmbench.runs import Run
    from rmbench.studies.headline import HeadlineSums
    from rmbench.studies.rows import Rows

_Drop = tuple[str, str, "str | None", "float | None", str]


@dataclass(frozen=True, slots=True)
class Change:
    """One difference: ``after`` less ``before`` on a task.

    Attributes:
        before, after: the rewards.
        result: the difference on the units (pairs of texts, or texts) that count for both.
        values: the headline of each on these same units, so that their difference is the result's.
        left_out: how many units count for one of them only, of ``before`` and of ``after``.
        oracles: which of the two read the labels: nothing to be ranked.
    """

    before: str
    after: str
    result: Result
    values: tuple[float | None, float | None]
    left_out: tuple[int, int] = (0, 0)
    oracles: tuple[str, ...] = ()


def _tasks(run: Run) -> dict[str, Rows]:
    manifest, folder = run.manifest, RunFolder(run.folder)
    return {task["name"]: load(folder, manifest, task) for task in manifest["resolved"]["tasks"]}


def _couples(first: Run, second: Run, named: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of rewards to compare: the named ones, else all pairs, or each with itself in two runs."""
    known = [[r["name"] for r in run.manifest["resolved"]["rewards"]] for run in (first, second)]
    if named:
        couple = (named[0], named[-1])
        for name, names, run in zip(couple, known, (first, second), strict=True):
            if name not in names:
                raise InputError(
                    f"no reward {name!r} in this run", where=str(run.folder), help=did_you_mean(name, names)
                )
        return [couple]
    if first is not second:
        return [(name, name) for name in known[0] if name in known[1]]
    shown = [r["name"] for r in first.manifest["resolved"]["rewards"] if not r["null"]]
    return list(combinations(shown, 2))


def changes(first: Run, second: Run, rewards: Sequence[str] = ()) -> list[Change]:
    """Return the differences (second less first) on the headline of every task that both have.

    Args:
        first: the run to compare with.
        second: the other run, or the same.
        rewards: at most two names: the first in ``first``, the last in ``second``.

    Raises:
        InputError: a name that is not there, two versions of a task, or nothing in common.
    """
    if len(rewards) > 2:  # noqa: PLR2004 - before and after
        raise InputError(f"{len(rewards)} rewards are named, expected at most two", help="--rewards A,B")
    before = _tasks(first)
    after = before if second is first else _tasks(second)
    couples = _couples(first, second, rewards)
    matched = [_on_task(before[name], after[name], couples) for name in before if name in after]
    tests = sum(map(len, matched))
    found = [change for each in matched for change in _changes(each, tests)]
    if not found:
        raise InputError(
            "the two have no task in common on which both have scores", help="compare runs of the same tasks"
        )
    return _corrected(found)


def _on_task(one: Rows, two: Rows, couples: Sequence[tuple[str, str]]) -> list[tuple[HeadlineSums, HeadlineSums]]:
    """Return (before, after) of the couples that both have scores on a task."""
    if one.label != two.label:
        raise InputError(
            f"task {one.task!r} has two versions: {one.label} and {two.label}", help="run both on the same data"
        )
    left = {each.reward.scored.name: each for each in all_sums(one)}
    right = left if two is one else {each.reward.scored.name: each for each in all_sums(two)}
    return [(left[before], right[after]) for before, after in couples if before in left and after in right]


def _changes(couples: Sequence[tuple[HeadlineSums, HeadlineSums]], tests: int) -> Iterator[Change]:
    """Yield the differences on one task; all tests of all tasks are corrected together, so ``tests`` counts them."""
    results = compare([(after, before) for before, after in couples], tests=tests)
    for (before, after), result in zip(couples, results, strict=True):
        yield _change(before, after, result)


def _change(before: HeadlineSums, after: HeadlineSums, result: Result) -> Change:
    common = match(after, before)
    return Change(
        before=before.reward.scored.name,
        after=after.reward.scored.name,
        result=replace(result, value=None if result.value is None else float(round12([result.value])[0])),
        values=(common[1].value, common[0].value),
        left_out=(_counted(before) - _counted(common[1]), _counted(after) - _counted(common[0])),
        oracles=tuple(scored.name for each in (before, after) if (scored := each.reward.scored).oracle),
    )


def _counted(sums: HeadlineSums) -> int:
    return int(np.count_nonzero(sums.weight > 0))


def _corrected(found: Sequence[Change]) -> list[Change]:
    """Correct the p-values by Holm over everything that is compared."""
    tested = [change for change in found if change.result.p is not None]
    ps = dict(zip(map(id, tested), holm([c.result.p for c in tested if c.result.p is not None]), strict=True))
    return [replace(c, result=replace(c.result, p_holm=ps.get(id(c)))) for c in found]


def worse(found: Sequence[Change], rule: str, runs: tuple[Run, Run]) -> list[str]:
    """Return a sentence for every task on which ``after`` is worse than ``before`` by more than the margin.

    Args:
        found: the differences of the headline.
        rule: ``METRIC`` or ``METRIC:MARGIN``. The headline's metric is compared on the units that both have,
            another one by its values in the two runs' results (main number of each task). Worse is lower, and
            higher for the Brier score and the calibration error.
        runs: the two runs.

    Raises:
        InputError: the rule is malformed, or no number of that metric is there.
    """
    metric, _, text = rule.partition(":")
    margin = _margin(text, rule)
    values: list[_Drop] = [
        (c.before, c.after, c.result.task, c.result.value, "") for c in found if c.result.metric == metric
    ]
    if not values:
        values = [v for c in found if (v := _other(c, metric, runs)) is not None]
    if not values:
        known = {row.metric for run in runs for row in run.rows if row.study == "agree" and row.against is None}
        raise InputError(f"no number of metric {metric!r} to compare", help=did_you_mean(metric, known))
    return [
        f"{after} is worse than {before} on {task}: {metric} changes by {value:+.4f} (margin {margin:g}){over}"
        for before, after, task, value, over in values
        if value is not None and (-value if metric in LOWER_IS_BETTER else value) < -margin
    ]


def _margin(text: str, rule: str) -> float:
    try:
        margin = float(text) if text else 0.0
    except ValueError:
        margin = math.nan
    if not margin >= 0 or math.isinf(margin):
        raise InputError(f"--fail-if-worse {rule!r} is not METRIC or METRIC:MARGIN", help="pairwise-accuracy:0.01")
    return margin


def _other(change: Change, metric: str, runs: tuple[Run, Run]) -> _Drop | None:
    """Return how a metric other than the headline changes, at the first aspect and level that both runs have."""
    before, after = (
        _numbers(run, metric, change.result.task, name)
        for run, name in zip(runs, (change.before, change.after), strict=True)
    )
    both = next((place for place in before if place in after), None)
    if both is None:
        return None
    (old, old_n), (new, new_n) = before[both], after[both]
    over = "" if old_n == new_n else f", over {old_n} samples before and {new_n} samples after"
    return change.before, change.after, change.result.task, new - old, over


def _numbers(
    run: Run, metric: str, task: str | None, reward: str
) -> dict[tuple[str | None, str | None], tuple[float, int | None]]:
    """Return a metric's values on a whole task with their samples, by aspect (main or none) and level."""
    main = {t["name"]: t["main"] for t in run.manifest["resolved"]["tasks"]}
    return {
        (row.aspect, row.level): (row.value, row.n)
        for row in run.rows
        if (row.study, row.metric, row.task, row.reward) == ("agree", metric, task, reward)
        and (row.against, row.subset) == (None, None)
        and row.aspect in (None, main[row.task or ""])
        and row.value is not None
    }
