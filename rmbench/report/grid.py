"""Result rows as a table: lines and columns by key, digits by column, reasons of missing values below."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rmbench.report.numbers import decimals, interval, listing, number
from rmbench.report.tables import Cell, Head, Line, Table

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Mapping, Sequence

    from rmbench.api import Result

MISSING_CELL = Cell("")
NO_MARKS: Mapping[str, tuple[str, ...]] = {}


@dataclass(frozen=True, slots=True)
class Frame:
    """What stands around a grid: its words, and which lines may be called best."""

    title: str
    caption: str
    corner: str = "reward"
    folded: bool = False
    best: frozenset[str] = frozenset()
    unscored: bool = False


@dataclass(frozen=True, slots=True)
class Filed:
    """A result with the line and the column it belongs to; ``ranked`` where higher is better.

    Lines of one ``unit`` share their digits: where a column holds rewards of scales of their own, each has its own.
    """

    line: str
    column: Hashable
    head: Head
    result: Result
    ranked: bool = True
    unit: str = ""


def grid(frame: Frame, filed: Iterable[Filed], marks: Mapping[str, tuple[str, ...]] = NO_MARKS) -> Table:
    """Return the table of these results; the first of a line and column counts.

    Lines and columns stand in the order in which they first appear. With ``unscored`` a last column
    counts the rows without a score (the largest count that a number of the line speaks of).
    """
    cells: dict[tuple[str, Hashable], Result] = {}
    heads: dict[Hashable, Head] = {}
    ranked: set[Hashable] = set()
    units: dict[str, str] = {}
    for one in filed:
        units.setdefault(one.line, one.unit)
        cells.setdefault((one.line, one.column), one.result)
        heads.setdefault(one.column, one.head)
        if one.ranked:
            ranked.add(one.column)
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = []
    for key in heads:
        found = [cells.get((line, key)) for line in lines]
        leaders = _leaders(found, lines, frame.best if key in ranked else frozenset())
        columns.append(_column(found, leaders, [units[line] for line in lines]))
    shown = list(heads.values())
    if frame.unscored:
        columns.append([_unscored([cells.get((line, key)) for key in heads]) for line in lines])
        shown.append(Head("unscored", "rows"))
    return Table(
        title=frame.title,
        caption=frame.caption,
        corner=frame.corner,
        heads=tuple(shown),
        lines=tuple(
            Line(line, tuple(column[at] for column in columns), marks.get(line, ())) for at, line in enumerate(lines)
        ),
        notes=(*_reasons(cells, heads), *_skipped(cells, heads)),
        folded=frame.folded,
    )


def _leaders(results: Sequence[Result | None], lines: Sequence[str], named: frozenset[str]) -> frozenset[int]:
    """Return the lines that hold the best value of a column; none where fewer than two can be compared.

    Comparable are the named lines whose statistic is undefined in the fewest samples: a mean over the one
    sample of fifty in which it is defined is no record. Equal to 12 significant digits is equal.
    """
    own = [(at, row) for at, row in enumerate(results) if row and row.value is not None and lines[at] in named]
    least = min((row.skipped or 0 for _, row in own), default=0)
    values = {at: float(f"{row.value:.12g}") for at, row in own if (row.skipped or 0) == least}
    return frozenset(at for at, value in values.items() if len(values) > 1 and value == max(values.values()))


def _column(results: Sequence[Result | None], leaders: frozenset[int], units: Sequence[str]) -> list[Cell]:
    values: dict[str, list[float | None]] = {}
    for unit, row in zip(units, results, strict=True):
        values.setdefault(unit, []).append(row.value if row else None)
    digits = {unit: decimals(its) for unit, its in values.items()}
    return [
        MISSING_CELL
        if row is None
        else Cell(number(row.value, digits[unit]), interval(row.ci, digits[unit]), best=at in leaders)
        for at, (unit, row) in enumerate(zip(units, results, strict=True))
    ]


def _unscored(results: Sequence[Result | None]) -> Cell:
    counts = [row.unscored for row in results if row and row.unscored is not None]
    return Cell(f"{max(counts):,}") if counts else MISSING_CELL


def _named(head: Head) -> str:
    return f"{head.name} ({head.note})" if head.note else head.name


def _reasons(cells: Mapping[tuple[str, Hashable], Result], heads: Mapping[Hashable, Head]) -> list[str]:
    """Say why values are missing, once per line and reason."""
    found: dict[tuple[str, str], list[str]] = {}
    for (line, key), row in cells.items():
        if row.value is None:
            found.setdefault((line, row.reason or "no reason given"), []).append(_named(heads[key]))
    return [
        f"{line}: {'all' if len(names) == len(heads) and len(names) > 1 else listing(names)}: {reason}"
        for (line, reason), names in found.items()
    ]


def _skipped(cells: Mapping[tuple[str, Hashable], Result], heads: Mapping[Hashable, Head]) -> list[str]:
    """Say in how many samples a statistic was undefined, once per column."""
    found: dict[Hashable, list[str]] = {}
    for (line, key), row in cells.items():
        if row.skipped and row.value is not None:
            found.setdefault(key, []).append(f"{line} {row.skipped:,}")
    return [
        f"{_named(heads[key])}: undefined in some samples, which are left out: {listing(names)}"
        for key, names in found.items()
    ]
