"""The leaderboard as tables and the summary as sentences."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmbench.report.board import CHANCE, Board, Headline, Standing, why_unranked
from rmbench.report.numbers import UNKNOWN, interval, listing, number, plural
from rmbench.report.tables import Cell, Chart, Head, Line, Panel, Point, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.report.cards import RunCard
    from rmbench.report.merge import Merged

MEAN_RULE = (
    "The mean is that of the tasks' headlines; its interval takes tasks as independent "
    "(root of the summed squared arms, over the number of tasks)."
)
MARGIN_RULE = (
    "Over best null: the mean over the tasks of a reward's margin over the best null reward of each task, "
    "which need not be the same one."
)


def board_table(board: Board, merged: Merged, found: Sequence[Headline]) -> Table:
    """Return one board as a table: ranked rewards and null rewards by value, then what cannot be compared."""
    own = [headline for headline in found if headline.task in board.tasks]
    reasons = {standing.reward: why_unranked(standing, merged.tasks, own) for standing in board.standings}
    k = len(board.tasks)
    caption = f"Over {plural(k, 'task')} ({listing(board.tasks, 20)}); chance is 0.5. "
    caption += f"{MEAN_RULE} {MARGIN_RULE}" if k > 1 else f"Headline: {own[0].words}."
    return Table(
        title=f"Kind: {board.kind}" if board.kind else "All tasks",
        caption=caption,
        corner="reward",
        heads=(
            Head("rank"),
            Head("agreement", "95 % interval"),
            Head("over best null", "95 % interval"),
            Head("tasks"),
            Head("unscored", "rows"),
        ),
        lines=tuple(_line(standing) for standing in board.standings),
        notes=tuple(f"{name}: not ranked: {reason}" for name, reason in reasons.items() if reason),
    )


def board_chart(board: Board) -> tuple[Chart, ...]:
    """Return the chart of a board: a dot per reward that can be compared."""
    comparable = [s for s in board.standings if not {"partial", "incomplete"} & set(s.marks)]
    points = [Point(s.reward, s.value, s.ci, (*s.marks, "reward")[0]) for s in comparable if s.value is not None]
    if not any(point.mark == "reward" for point in points):
        return ()
    caption = f"Mean agreement over {plural(len(board.tasks), 'task')}, with 95 % intervals."
    return (dot_chart("mean agreement with the labels", caption, points, best="the best mean of one null reward"),)


def dot_chart(axis: str, caption: str, points: Sequence[Point], *, best: str = "the best null reward") -> Chart:
    """Return dots with their intervals, a dashed line at chance and a solid one at the best null reward."""
    nulls = [point for point in points if point.mark == "null"]
    highest = max(nulls, key=lambda point: point.value, default=None)
    rules = [(CHANCE, "chance")] + ([(highest.value, "best null")] if highest else [])
    caption += f" Dashed line: chance ({CHANCE})."
    if highest:
        caption += f" Solid line: {best} ({highest.label}, {highest.value:.3f})."
    return Chart(caption, (Panel(axis, tuple(points), tuple(rules)),))


def _line(standing: Standing) -> Line:
    margin = Cell(number(standing.margin, sign=True), interval(standing.margin_ci, sign=True))
    return Line(
        standing.reward,
        (
            Cell("" if standing.rank is None else str(standing.rank)),
            Cell(number(standing.value), interval(standing.ci), best=standing.rank == 1),
            Cell("") if "null" in standing.marks else margin,
            Cell(f"{standing.covered}/{standing.of}"),
            Cell(f"{standing.unscored:,}"),
        ),
        standing.marks,
    )


def summary(merged: Merged, found: Sequence[Headline], boards: Sequence[Board]) -> tuple[str, ...]:
    """Return what the run says, in sentences."""
    return (*map(_status, merged.runs), _extent(merged), *_verdict(merged, found, boards), *_doubts(merged))


def _status(run: RunCard) -> str:
    if run.status == "complete":
        return f"Run {run.name} is complete."
    return f"Run {run.name} is not complete (status: {run.status}): the numbers cover what had been finished."


def _extent(merged: Merged) -> str:
    nulls = sum(card.null for card in merged.rewards.values())
    oracles = sum(card.oracle and not card.null for card in merged.rewards.values())
    kinds = sorted({card.kind for card in merged.tasks.values()} - {UNKNOWN})
    limits = sorted({run.limit for run in merged.runs if run.limit is not None})
    counts = [plural(len(merged.rewards) - nulls - oracles, "reward"), plural(nulls, "null reward")]
    counts += [plural(oracles, "oracle")] if oracles else []
    of = f" ({listing(kinds)})" if kinds else ""
    said = f"{listing(counts)} on {plural(len(merged.tasks), 'task')}{of}."
    if limits:
        said += f" Only a seeded sample of each task was measured (limit {listing(map(str, limits))})."
    return said


def _verdict(merged: Merged, found: Sequence[Headline], boards: Sequence[Board]) -> Iterable[str]:
    if not found:
        yield "No task has a headline (pairs of texts that people order, or good texts and others): nothing is ranked."
        return
    yield _winner(boards[0])
    for board in boards[1:]:
        yield f"{board.kind}: {_winner(board)}"
    yield from _nulls(merged, found)
    incomplete = [s.reward for s in boards[0].standings if "incomplete" in s.marks and "oracle" not in s.marks]
    if incomplete:
        yield f"Unscored rows keep {listing(incomplete)} off the ranking."
    partial = [s.reward for s in boards[0].standings if "partial" in s.marks and "incomplete" not in s.marks]
    if partial:
        yield f"Not on every task, so not ranked over all of them: {listing(partial)}."


def _winner(board: Board) -> str:
    over = f"over {plural(len(board.tasks), 'task')}" if len(board.tasks) > 1 else f"on {board.tasks[0]}"
    ranked = [standing for standing in board.standings if standing.rank is not None]
    if not ranked:
        return f"No reward could be ranked {over}: none has a complete score on every task."
    first = [standing for standing in ranked if standing.rank == 1]
    verb = "agrees" if len(first) == 1 else "agree"
    said = f"{listing(s.reward for s in first)} {verb} best with the labels {over}: {number(first[0].value)}"
    if first[0].ci:
        said += f" {interval(first[0].ci)}"
    others = [s for s in ranked if s.rank != 1 and s.ci and first[0].ci and s.ci[1] > first[0].ci[0]]
    near = f" Its interval overlaps with {listing(s.reward for s in others)}." if others else ""
    return f"{said} (chance is 0.5).{near}"


def _nulls(merged: Merged, found: Sequence[Headline]) -> Iterable[str]:
    """Say which rewards beat the best null reward on every task, and which do not on any of theirs."""
    beat: dict[str, list[bool]] = {}
    for headline in found:
        for name, row in headline.margins.items():
            if row.ci is not None and name in merged.rewards and not merged.rewards[name].oracle:
                beat.setdefault(name, []).append(row.ci[0] > 0)
    always = [name for name in beat if all(beat[name])]
    never = [name for name in beat if not any(beat[name])]
    if always:
        yield f"Clearly above the best null reward on every task measured: {listing(always)}."
    if never:
        yield f"Clearly above the best null reward on no task: {listing(never)}."


def _doubts(merged: Merged) -> Iterable[str]:
    checks = [row for row in merged.rows if row.study == "canary"]
    failed = sorted({row.reward or "all rewards" for row in checks if row.reason is not None})
    if failed:
        yield f"Canaries failed for {listing(failed)}: read their numbers with the failures below in mind."
    elif checks:
        yield "All canaries passed."
    else:
        yield "No canaries were run."
    oracles = [name for name, card in merged.rewards.items() if card.oracle]
    if oracles:
        yield f"Oracles, which read the labels, are shown and never ranked: {listing(oracles)}."
    yield from (f"Problem: {problem}" for run in merged.runs for problem in run.problems)
    warnings = sum(len(run.warnings) for run in merged.runs)
    if warnings:
        yield f"{plural(warnings, 'warning')}: see provenance."
    yield from merged.notes
