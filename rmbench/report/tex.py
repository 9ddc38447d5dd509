r"""Leaderboard, headlines, calibration and trainings as LaTeX tables (booktabs), to be taken in with ``\input``."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench.report.escape import latex

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmbench.report.model import Report
    from rmbench.report.tables import Cell, Line, Table

MOST_INTERVALS = 3  # columns with intervals that fit beside the names
_HEAD = "% Needs \\usepackage{booktabs} and, for quotes in names, \\usepackage[T1]{fontenc}.\n"


def tables(report: Report) -> str:
    """Return every leaderboard table, each in a ``table`` environment of its own, its notes as text behind it."""
    none = "" if report.leaders else "% No task has a headline: there is no leaderboard.\n"
    shown = (*report.leaders, *report.paper)
    return _HEAD + none + "".join("\n" + "\n".join(_table(part)) + "\n" for table in shown for part in _parts(table))


def _parts(table: Table) -> list[Table]:
    """Return the table in parts that fit the text width of an article: some columns of intervals at a time."""
    wide = sum(
        bool(head.numeric and any(line.cells[at].small for line in table.lines)) for at, head in enumerate(table.heads)
    )
    if wide <= MOST_INTERVALS:
        return [table]
    starts = range(0, len(table.heads), MOST_INTERVALS)
    return [
        replace(
            table,
            title=f"{table.title} ({part} of {len(starts)})",
            heads=table.heads[start : start + MOST_INTERVALS],
            lines=tuple(replace(line, cells=line.cells[start : start + MOST_INTERVALS]) for line in table.lines),
            notes=table.notes if part == len(starts) else (),
        )
        for part, start in enumerate(starts, 1)
    ]


def _table(table: Table) -> Iterable[str]:
    yield r"\begin{table}"
    yield r"  \centering\footnotesize\setlength{\tabcolsep}{3pt}"
    yield rf"  \caption{{{latex(table.title)}. {latex(table.caption)}}}"
    yield rf"  \begin{{tabular}}{{l{''.join('r' if head.numeric else 'l' for head in table.heads)}}}"
    yield r"    \toprule"
    yield f"    {_joined([latex(table.corner), *(latex(head.name) for head in table.heads)])}"
    yield r"    \midrule"
    for line in table.lines:
        yield f"    {_joined(_cells(line))}"
    yield r"    \bottomrule"
    yield r"  \end{tabular}"
    yield r"\end{table}"
    for note in table.notes:
        yield rf"\par\noindent{{\footnotesize {latex(note)}\par}}"


def _joined(cells: Iterable[str]) -> str:
    return " & ".join(cells) + r" \\"


def _cells(line: Line) -> list[str]:
    label = latex(line.label) + "".join(rf" {{\scriptsize {latex(mark)}}}" for mark in line.marks)
    return [label, *map(_cell, line.cells)]


def _cell(cell: Cell) -> str:
    text = latex(cell.text)
    small = rf" {{\scriptsize {latex(cell.small)}}}" if cell.small else ""
    # Braces: a cell that begins with a bracket would be read as the argument of the row end before it.
    return (rf"\textbf{{{text}}}" if cell.best else f"{{{text}}}" if text[:1] in tuple("[*") else text) + small
