"""The leaderboard in a terminal: short tables, no markup from data."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rich import box
from rich.table import Table as RichTable
from rich.text import Text

from rmbench.report.escape import plain
from rmbench.report.numbers import MISSING

if TYPE_CHECKING:
    from rmbench.report.model import Report
    from rmbench.report.tables import Cell, Line, Table


def tables(report: Report) -> list[RichTable | Text]:
    """Return the boards, those of trainings last, then what is said in place of one.

    Without a headline the first table with a value of each task stands for the boards.
    """
    sections = [section for section in report.sections if section.title in report.merged.tasks]
    first = (next(filter(_has_value, section.tables), None) for section in sections)
    chosen = report.leaders or [
        replace(table, title=f"{section.title}: {table.title}")
        for section, table in zip(sections, first, strict=True)
        if table
    ]
    said = (Text(f"{plain(sentence)}\n") for sentence in report.said)
    return [*(_rich(table) for table in (*chosen, *report.trained)), *said]


def _has_value(table: Table) -> bool:
    numbers = [at for at, head in enumerate(table.heads) if head.name != "unscored"]
    return any(line.cells[at].text not in ("", MISSING) for line in table.lines for at in numbers)


def _rich(table: Table) -> RichTable:
    shown = RichTable(
        title=Text(plain(table.title), style="bold"), title_justify="left", box=box.SIMPLE_HEAD, pad_edge=False
    )
    shown.add_column(Text(plain(table.corner)), overflow="fold")
    names = [head.name for head in table.heads]
    for head in table.heads:
        title = head.name if names.count(head.name) == 1 else f"{head.name} {head.note}"  # as kendall at three levels
        shown.add_column(Text(plain(title)), justify="right" if head.numeric else "left", overflow="fold")
    for line in table.lines:
        shown.add_row(_label(line), *map(_cell, line.cells), style="dim" if line.marks else "")
    return shown


def _label(line: Line) -> Text:
    marks = "".join(f" [{mark}]" for mark in line.marks)
    return Text.assemble(plain(line.label), (marks, "italic"))


def _cell(cell: Cell) -> Text:
    text = Text(plain(cell.text), style="bold" if cell.best else "")
    return text.append(f" {plain(cell.small)}", style="dim") if cell.small else text
