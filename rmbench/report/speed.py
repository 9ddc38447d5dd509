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
OWN = "own:"  # before the name of what a reward tells of itself
NOTES = {
    "rows-per-second": "Rows scored a second, the reward's process started and all; more is faster.",
    "seconds": "Wall-clock seconds, in which other rewards may have been scored beside it.",
}


def speed_section(measurements: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return the section of the study ``speed``, None where nothing was measured."""
    rows = [row for row in map(shown, read_rows(measurements)) if row.study == "speed"]
    tables = [_by_task(rows, metric) for metric in NOTES if any(row.metric == metric for row in rows)]
    memory = [row for row in rows if row.metric == "peak-memory"]
    own = [row for row in rows if row.metric.startswith(OWN)]
    if not tables and not memory:
        return None
    words = "Measured on the machine of the run, once: these numbers are outside the promise of equal bytes."
    return Section(
        "Speed", (words,), tables=(*tables, *([_memory(memory)] if memory else []), *([_own(own)] if own else []))
    )


def _by_task(rows: Sequence[Result], metric: str) -> Table:
    chosen = [row for row in rows if row.metric == metric]
    filed = [Filed(row.reward or "", row.task, Head(row.task or ""), row, ranked=False) for row in chosen]
    return grid(Frame(metric.replace("-", " ").capitalize(), NOTES[metric]), filed)


def _own(rows: Sequence[Result]) -> Table:
    """Return what rewards tell of their own work: a model's tokens, and where its seconds went."""
    names = dict.fromkeys(row.metric.removeprefix(OWN) for row in rows)
    told: dict[str, dict[str, float]] = {}
    for row in rows:
        told.setdefault(row.reward or "", {})[row.metric.removeprefix(OWN)] = row.value or 0.0
    lines = tuple(
        Line(reward, tuple(Cell(f"{own[name]:,.4g}" if name in own else "") for name in names))
        for reward, own in told.items()
    )
    words = "What rewards tell of their own work, over all tasks: seconds, tokens and rows."
    return Table("Inside a reward", words, "reward", tuple(Head(name.replace("-", " ")) for name in names), lines)


def _memory(rows: Sequence[Result]) -> Table:
    lines = tuple(Line(row.reward or "", (Cell(f"{(row.value or 0.0) / MEBI:,.0f}"),)) for row in rows)
    words = "The most that the process of a reward held, Python and libraries included."
    return Table("Peak memory", words, "reward", (Head("MiB"),), lines)
