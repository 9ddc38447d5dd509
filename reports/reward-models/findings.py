"""What the runs say of each reward: its headline, what it is ahead of the length baseline, calibration and cost."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import recipes

if TYPE_CHECKING:
    from rmbench import Result

Interval = tuple[float, float]
Costs = Mapping[str, Mapping[str, float]]
Verdict = Literal["better", "worse", "not told apart", "not compared"]

HEADLINE = "pairwise-accuracy"
CALIBRATION = ("brier", "calibration-error", "temperature", "brier-scaled", "calibration-error-scaled")


@dataclass(frozen=True, slots=True)
class Ahead:
    """How far a reward is ahead of the length baseline: its accuracy less the other's, on the same pairs."""

    value: float | None = None
    ci: Interval | None = None
    p_holm: float | None = None

    @property
    def verdict(self) -> Verdict:
        """What the interval says."""
        if self.ci is None:
            return "not compared"
        low, high = self.ci
        return "better" if low > 0 else "worse" if high < 0 else "not told apart"


@dataclass(frozen=True, slots=True)
class Line:
    """One reward on one data set.

    Attributes:
        task, reward, kind: which; a fitted one, a rule, a null reward, people ...
        value, ci: pairwise accuracy.
        pairs, unscored: on which it was counted, and texts without a score.
        ahead: of the length baseline.
        margin: accuracy less that of the best null reward.
        calibration: by metric; of fitted rewards.
        cost: of a fit, mean over the folds: ``seconds``, ``parameters``, ``accuracy`` on dev.
    """

    task: str
    reward: str
    kind: str
    value: float
    ci: Interval | None
    pairs: int | None
    unscored: int
    ahead: Ahead
    margin: float | None
    calibration: Mapping[str, float]
    cost: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Board:
    """All rewards of one data set, the best first, and the name of the one that is the length baseline."""

    task: str
    prompts: int
    baseline: str
    lines: tuple[Line, ...]

    def line(self, reward: str) -> Line:
        """Return the line of a reward."""
        return next(line for line in self.lines if line.reward == reward)

    def fitted(self) -> list[Line]:
        """Return the lines of the fitted rewards."""
        return [line for line in self.lines if line.kind == "fitted"]


def headlines(rows: Sequence[Result], main: str | None) -> dict[str, Result]:
    """Return the headline of each reward of a task, by name."""
    return {row.reward: row for row in rows if _is_headline(row, main) and row.against is None and row.reward}


def _is_headline(row: Result, main: str | None) -> bool:
    return row.study == "agree" and row.metric == HEADLINE and row.subset is None and row.aspect in (None, main)


def baseline(found: Mapping[str, Result]) -> str:
    """Return the length baseline: the best of longer and shorter, in words and in characters."""
    return max((name for name in recipes.LENGTHS if name in found), key=lambda name: found[name].value or 0.0)


def ahead(rows: Sequence[Result], main: str | None, of: str) -> dict[str, Ahead]:
    """Return how far each reward is ahead of one, from the differences of every two rewards."""
    found = {}
    for row in rows:
        if not _is_headline(row, main) or row.against is None or row.reward is None or row.value is None:
            continue
        if row.against == of:
            found[row.reward] = Ahead(row.value, row.ci, row.p_holm)
        elif row.reward == of:
            ci = None if row.ci is None else (-row.ci[1], -row.ci[0])
            found[row.against] = Ahead(-row.value, ci, row.p_holm)
    return found


def board(
    rows: Sequence[Result], main: str | None, *, columns: Sequence[str], nulls: Sequence[str], costs: Costs
) -> Board:  # fmt: skip
    """Return what a run says of a data set.

    Args:
        rows: all numbers of the run.
        main: the task's main aspect.
        columns: names of the rewards of which held-out scores were measured.
        nulls: names of the null rewards.
        costs: of the fits, by name.
    """
    found = headlines(rows, main)
    best = baseline(found)
    gaps = ahead(rows, main, best)
    margins = {row.reward: row.value for row in rows if row.metric == "margin-over-null" and row.aspect in (None, main)}
    lines = [
        Line(
            row.task or "", name, recipes.kind(name, columns, nulls), row.value, row.ci, row.pairs, row.unscored or 0,
            gaps.get(name, Ahead()), margins.get(name), calibration(rows, main, name), costs.get(name, {}),
        )
        for name, row in found.items() if row.value is not None
    ]  # fmt: skip
    lines.sort(key=lambda line: (-line.value, line.reward))
    return Board(lines[0].task, max(row.n or 0 for row in found.values()), best, tuple(lines))


def calibration(rows: Sequence[Result], main: str | None, reward: str) -> dict[str, float]:
    """Return the calibration of a reward's margins, by metric."""
    return {
        row.metric: row.value
        for row in rows
        if row.metric in CALIBRATION and row.reward == reward and row.subset is None and row.against is None
        and row.aspect in (None, main) and row.value is not None
    }  # fmt: skip


HEAD = (
    "task reward kind accuracy low high pairs unscored baseline ahead ahead_low ahead_high p_holm verdict margin "
    "brier calibration_error temperature brier_scaled calibration_error_scaled seconds parameters dev_accuracy"
)


def write_csv(boards: Sequence[Board], path: Path) -> None:
    """Write every headline number."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(HEAD.split())
        for each in boards:
            for line in each.lines:
                low, high = line.ci or (None, None)
                gap_low, gap_high = line.ahead.ci or (None, None)
                writer.writerow([
                    line.task, line.reward, line.kind, line.value, low, high, line.pairs, line.unscored, each.baseline,
                    line.ahead.value, gap_low, gap_high, line.ahead.p_holm, line.ahead.verdict, line.margin,
                    *(line.calibration.get(name) for name in CALIBRATION),
                    *(line.cost.get(name) for name in ("seconds", "parameters", "accuracy")),
                ])  # fmt: skip
