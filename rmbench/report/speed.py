"""What the rewards of a run cost: seconds and rows per second by task, and memory."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench.report.grid import Filed, Frame, grid
from rmbench.report.rows import read_rows, shown
from rmbench.report.tables import Cell, Head, Line, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rmbench.api import Result

MEBI = 2**20
NOTES = {
    "rows-per-second": "Rows scored a second, the reward's process started and all; more is faster.",
    "seconds": "Wall-clock seconds, in which other rewards may have been scored beside it.",
}


def speed_section(measurements: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the section of the study ``speed``, None where nothing was measured."""
    rows = [shown(row) for row in read_rows(measurements)]
    tables = [_by_task(rows, metric) for metric in NOTES if any(row.metric == metric for row in rows)]
    memory = [row for row in rows if row.metric == "peak-memory"]
    if not tables and not memory:
        return None
    words = "Measured on the machine of the run, once: these numbers are outside the promise of equal bytes."
    return Section("Speed", (words,), tables=(*tables, *([_memory(memory)] if memory else [])))


def _by_task(rows: Sequence[Result], metric: str) -> Table:
    chosen = [row for row in rows if row.metric == metric]
    filed = [Filed(row.reward or "", row.task, Head(row.task or ""), row, ranked=False) for row in chosen]
    return grid(Frame(metric.replace("-", " ").capitalize(), NOTES[metric]), filed)


def _memory(rows: Sequence[Result]) -> Table:
    lines = tuple(Line(row.reward or "", (Cell(f"{(row.value or 0.0) / MEBI:,.0f}"),)) for row in rows)
    words = "The most that the process of a reward held, Python and libraries included."
    return Table("Peak memory", words, "reward", (Head("MiB"),), lines)
