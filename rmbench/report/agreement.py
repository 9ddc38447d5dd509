"""The part of a task's section that compares rewards with people."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmbench.report.calibration import METRICS as CALIBRATION
from rmbench.report.grid import Filed, Frame, grid
from rmbench.report.numbers import decimals, interval, number, p_value, plural
from rmbench.report.rows import is_plain
from rmbench.report.standings import dot_chart
from rmbench.report.tables import Cell, Chart, Head, Line, Point, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.report.board import Headline
    from rmbench.report.merge import Merged

GROUPS = (
    ("Pairs and choices", ("pairwise-accuracy", "pairwise-accuracy-strict", "top1-accuracy", "acc-eq")),
    ("Correlation", ("kendall", "spearman", "pearson")),
    ("High-quality texts", ("precision", "recall", "f1", "accuracy", "auroc")),
    ("Systems", ("system-accuracy", "soft-pairwise-accuracy")),
    ("Benchmark averages", ("rm-bench-average", "rewardbench-average", "rewardbench2-average")),
)
KNOWN = tuple(metric for _, metrics in GROUPS for metric in metrics)
LEVELS = ("pair", "sample", "pooled", "system")
LENGTH = "length:"
MARGIN = "margin-over-null"
Marks = dict[str, tuple[str, ...]]


def marks_of(merged: Merged, headline: Headline | None) -> Marks:
    """Return what stands beside each reward's name in the tables of one task."""
    return {
        name: tuple(
            mark
            for mark, applies in (
                ("null", card.null),
                ("oracle", card.oracle),
                ("incomplete", headline is not None and headline.unscored.get(name, 0) > 0),
            )
            if applies
        )
        for name, card in merged.rewards.items()
    }


def agreement_tables(rows: Sequence[Result], main: str | None, marks: Marks) -> tuple[Table, ...]:
    """Return the tables of one task: margins, the main aspect (None: stated preferences) by group, the rest folded."""
    agree = [row for row in rows if row.study == "agree" and row.reward and row.metric not in (MARGIN, *CALIBRATION)]
    plain_rows = [row for row in agree if is_plain(row) and row.system is None]
    whole = [row for row in plain_rows if row.subset is None]
    aspects = sorted(
        {row.aspect for row in whole}, key=lambda aspect: (aspect != main, aspect is not None, aspect or "")
    )
    tables = list(_margin_table(rows, marks))
    for aspect in aspects:
        tables += _aspect_tables([row for row in whole if row.aspect == aspect], aspect, marks, folded=aspect != main)
    tables += _subset_tables([row for row in plain_rows if row.subset is not None], marks)
    tables += _comparison_table([row for row in agree if row.against is not None])
    return tuple(tables)


def _margin_table(rows: Sequence[Result], marks: Marks) -> Iterable[Table]:
    margins = [row for row in rows if row.metric == MARGIN and row.reward]
    if not margins:
        return
    digits = decimals(row.value for row in margins)
    tested = any(row.p is not None for row in margins)
    yield Table(
        title="Margin over the best null reward",
        caption="Headline of the reward minus that of the best null reward, which looks at no meaning. "
        "An interval that excludes 0 means that the reward beats, or is beaten by, that null reward.",
        corner="reward",
        heads=(
            Head("margin", "95 % interval"),
            *((Head("p"),) if tested else ()),
            Head("best null", numeric=False),
            Head("of", numeric=False),
        ),
        lines=tuple(
            Line(
                row.reward or "",
                (
                    Cell(number(row.value, digits, sign=True), interval(row.ci, digits, sign=True)),
                    *((Cell(p_value(row.p)),) if tested else ()),
                    Cell(row.against or ""),
                    Cell(", ".join(part for part in (row.aspect, row.subset) if part) or "headline"),
                ),
                marks.get(row.reward or "", ()),
            )
            for row in margins
        ),
        notes=tuple(f"{row.reward}: {row.reason}" for row in margins if row.reason),
    )


def _aspect_tables(rows: Sequence[Result], aspect: str | None, marks: Marks, *, folded: bool) -> Iterable[Table]:
    of = f"aspect {aspect}" if aspect else "stated preferences"
    groups: tuple[tuple[str, tuple[str, ...]], ...]
    groups = (*GROUPS, ("Other metrics", tuple(sorted({row.metric for row in rows} - set(KNOWN)))))
    if folded:
        groups = (("Agreement", tuple(metric for _, metrics in groups for metric in metrics)),)
    for title, metrics in groups:
        chosen = sorted((row for row in rows if row.metric in metrics), key=lambda row: _order(row, metrics))
        if chosen:
            best = frozenset(name for name, its in marks.items() if not its)
            frame = Frame(f"{title}: {of}", _caption(chosen), folded=folded, best=best, unscored=True)
            yield _by_reward(grid(frame, map(_by_metric, chosen), marks), marks)


def _by_reward(table: Table, marks: Marks) -> Table:
    """Return the table with its lines in the order of the rewards."""
    order = {name: at for at, name in enumerate(marks)}
    lines = tuple(sorted(table.lines, key=lambda line: order.get(line.label, len(order))))
    return Table(table.title, table.caption, table.corner, table.heads, lines, table.notes, table.folded)


def _order(row: Result, metrics: Sequence[str]) -> tuple[int, int]:
    return metrics.index(row.metric), LEVELS.index(row.level) if row.level in LEVELS else len(LEVELS)


def _by_metric(row: Result) -> Filed:
    return Filed(
        row.reward or "", (row.metric, row.level), Head(row.metric, row.level or ""), row, ranked=row.metric in KNOWN
    )


def _caption(rows: Sequence[Result]) -> str:
    """Say what the numbers rest on, where all of them rest on the same."""
    said = ["Higher is better; best in bold."] if any(row.metric in KNOWN for row in rows) else []
    samples = {row.n for row in rows if row.n is not None and row.level in ("pair", "sample")}
    pairs = {row.pairs for row in rows if row.pairs is not None}
    texts = {row.rows for row in rows if row.rows is not None}
    counts = [
        plural(found.pop(), noun)
        for found, noun in ((samples, "sample"), (pairs, "pair"), (texts, "row"))
        if len(found) == 1
    ]
    return " ".join([*said, f"From {', '.join(counts)}." if counts else ""]).strip()


def _subset_tables(rows: Sequence[Result], marks: Marks) -> Iterable[Table]:
    keys = dict.fromkeys((row.metric, row.aspect, (row.subset or "").startswith(LENGTH)) for row in rows)
    best = frozenset(name for name, its in marks.items() if not its)
    for metric, aspect, by_length in keys:
        chosen = [
            row
            for row in rows
            if (row.metric, row.aspect, (row.subset or "").startswith(LENGTH)) == (metric, aspect, by_length)
        ]
        of = f"{metric}, {aspect}" if aspect else metric
        title = f"Length: {of}" if by_length else f"Subsets: {of}"
        words = (
            "Pairs in which people preferred the longer text, and the shorter: a gap between the two is length bias."
            if by_length
            else "The same number on each subset of the task."
        )
        frame = Frame(title, words, folded=metric != "pairwise-accuracy", best=best, unscored=True)
        yield _by_reward(grid(frame, map(_by_subset, chosen), marks), marks)


def _by_subset(row: Result) -> Filed:
    name = (row.subset or "").removeprefix(LENGTH)
    count = f"{row.pairs:,} pairs" if row.pairs is not None else row.level or ""
    return Filed(row.reward or "", (row.subset, row.level), Head(name, count), row, ranked=row.metric in KNOWN)


def _comparison_table(rows: Sequence[Result]) -> Iterable[Table]:
    if not rows:
        return
    digits = decimals(row.value for row in rows)
    yield Table(
        title="Differences between rewards",
        caption="First reward minus second on the same samples; two-sided permutation test, and the same p-value "
        "corrected for the number of tests (Holm).",
        corner="reward",
        heads=(
            Head("against", numeric=False),
            Head("metric", numeric=False),
            Head("difference", "95 % interval"),
            Head("p"),
            Head("p", "Holm"),
        ),
        lines=tuple(
            Line(
                row.reward or "",
                (
                    Cell(row.against or ""),
                    Cell(", ".join(part for part in (row.metric, row.aspect, row.subset) if part)),
                    Cell(number(row.value, digits, sign=True), interval(row.ci, digits, sign=True)),
                    Cell(p_value(row.p)),
                    Cell(p_value(row.p_holm)),
                ),
            )
            for row in rows
        ),
        notes=tuple(f"{row.reward} against {row.against}: {row.reason}" for row in rows if row.reason),
        folded=True,
    )


def agreement_chart(merged: Merged, headline: Headline) -> tuple[Chart, ...]:
    """Return the chart of one task: a dot per reward with its interval, lines at chance and at the best null reward."""
    marks = marks_of(merged, headline)
    points = [
        Point(name, row.value, row.ci, (*marks.get(name, ()), "reward")[0])
        for name, row in headline.values.items()
        if row.value is not None
    ]
    if not points:
        return ()
    points.sort(key=lambda point: (-point.value, point.label))
    caption = f"{headline.task}: {headline.words}, with 95 % intervals."
    return (dot_chart(headline.words, caption, points),)


def by_task(merged: Merged, found: Sequence[Headline], marks: Mapping[str, tuple[str, ...]]) -> Table:
    """Return the headline of every reward on every task."""
    best = frozenset(name for name, card in merged.rewards.items() if not card.null and not card.oracle)
    filed = [
        Filed(name, headline.task, Head(headline.task, headline.words), headline.values[name])
        for name in merged.rewards
        for headline in found
        if name in headline.values
    ]
    # Columns in task order, whichever reward comes first.
    filed.sort(key=lambda one: [headline.task for headline in found].index(str(one.column)))
    frame = Frame(
        "Headline by task",
        "The number each task is ranked by; chance is 0.5 everywhere. Best complete value in bold.",
        best=frozenset(name for name in best if "incomplete" not in marks.get(name, ())),
        unscored=True,
    )
    table = grid(frame, filed, marks)
    return _by_reward(table, dict.fromkeys(merged.rewards, ()))
