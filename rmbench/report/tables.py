"""What a report is made of, before it becomes HTML, Markdown, LaTeX or a terminal table. Texts are inert already."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rmbench.report.numbers import Interval


@dataclass(frozen=True, slots=True)
class Cell:
    """One cell: ``text`` and, in smaller type, ``small`` (an interval). ``best`` is set in bold."""

    text: str
    small: str = ""
    best: bool = False


@dataclass(frozen=True, slots=True)
class Head:
    """One column: its name, a note in smaller type (the level), and whether it holds numbers."""

    name: str
    note: str = ""
    numeric: bool = True


@dataclass(frozen=True, slots=True)
class Line:
    """One row: its label, marks beside the label (null, oracle, incomplete, partial), then its cells."""

    label: str
    cells: tuple[Cell, ...]
    marks: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Table:
    """A table: ``corner`` heads the labels; ``notes`` explain missing values; ``folded`` ones open on demand."""

    title: str
    caption: str
    corner: str
    heads: tuple[Head, ...]
    lines: tuple[Line, ...]
    notes: tuple[str, ...] = ()
    folded: bool = False


@dataclass(frozen=True, slots=True)
class Point:
    """One dot of a chart, with its interval; ``mark`` is its colour's meaning (reward, null, oracle, incomplete)."""

    label: str
    value: float
    ci: Interval | None = None
    mark: str = "reward"


@dataclass(frozen=True, slots=True)
class Panel:
    """Dots over one axis; ``rules`` are the vertical lines, each with what it marks."""

    title: str
    points: tuple[Point, ...]
    rules: tuple[tuple[float, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Chart:
    """One or several panels side by side, with the sentence that says what they show."""

    caption: str
    panels: tuple[Panel, ...]


@dataclass(frozen=True, slots=True)
class Bin:
    """One dot of a reliability diagram: what a reward says it is right (0.5 to 1), and how often it is (0 to 1)."""

    confidence: float
    accuracy: float
    ci: Interval | None = None
    scaled: bool = False


@dataclass(frozen=True, slots=True)
class Reliability:
    """The dots of one reward."""

    title: str
    bins: tuple[Bin, ...]


@dataclass(frozen=True, slots=True)
class Diagram:
    """Reliability diagrams side by side, with the sentence that says what they show."""

    caption: str
    panels: tuple[Reliability, ...]


@dataclass(frozen=True, slots=True)
class Series:
    """Points of one name, joined by a line where ``joined``; ``fitted`` lines are dashed and have no dots."""

    label: str
    points: tuple[tuple[float, float], ...]
    joined: bool = True
    fitted: bool = False


@dataclass(frozen=True, slots=True)
class Graph:
    """Series over two axes, with the names of the axes."""

    title: str
    x: str
    y: str
    series: tuple[Series, ...]


@dataclass(frozen=True, slots=True)
class Graphs:
    """Graphs side by side that share their colours, with the sentence that says what they show."""

    caption: str
    panels: tuple[Graph, ...]


@dataclass(frozen=True, slots=True)
class Beside:
    """Texts for one prompt side by side, each with its label (before, after, reference)."""

    title: str
    prompt: str
    texts: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Example:
    """One text of a task, with what people and rewards gave it."""

    title: str
    prompt: str
    text: str
    scores: str


@dataclass(frozen=True, slots=True)
class Section:
    """A heading and what stands under it: paragraphs, facts, a list, commands, drawings, tables, texts."""

    title: str
    paragraphs: tuple[str, ...] = ()
    facts: tuple[tuple[str, str], ...] = ()
    items: tuple[str, ...] = ()
    charts: tuple[Chart, ...] = ()
    tables: tuple[Table, ...] = ()
    examples: tuple[Example, ...] = ()
    commands: tuple[str, ...] = ()
    diagrams: tuple[Diagram, ...] = ()
    graphs: tuple[Graphs, ...] = ()
    compared: tuple[Beside, ...] = ()
