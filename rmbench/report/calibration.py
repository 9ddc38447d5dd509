"""The section that shows whether a reward's margin is a probability: errors, temperature, reliability by margin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmbench.report.numbers import MISSING, decimals, interval, listing, number, plural
from rmbench.report.rows import is_plain
from rmbench.report.tables import Bin, Cell, Diagram, Head, Line, Reliability, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.report.merge import Merged

ERRORS = {
    "brier": Head("Brier", "T = 1"),
    "calibration-error": Head("calibration error", "T = 1"),
    "temperature": Head("T", "fitted"),
    "brier-scaled": Head("Brier", "fitted T"),
    "calibration-error-scaled": Head("calibration error", "fitted T"),
}
BY_MARGIN = {
    "margin-edge": Head("margin", "up to"),
    "margin-accuracy": Head("accuracy", "95 % interval"),
    "margin-confidence": Head("confidence", "T = 1"),
    "margin-confidence-scaled": Head("confidence", "fitted T"),
}
METRICS = (*ERRORS, *BY_MARGIN)
IN_UNITS = ("temperature", "margin-edge")  # of the reward: no two lines of a column have the same
SUBSET = "margin:"
MOST_PANELS = 6

Place = tuple[str, "str | None"]
Cells = dict[tuple[str, str], "Result"]

WHAT = (
    "A reward's margin on a pair (score of the text that people prefer less that of the other) is read as the "
    "Bradley-Terry probability sigmoid(margin / T) that the preferred text wins: at T = 1, as the loss of a reward "
    "model has it, and at the T that is most likely on a seeded half of the prompts, measured on the other half."
)
HOW = (
    "Brier score: mean squared error of that probability; 0.25 is what one half for every pair gets. Calibration "
    "error (ECE): each pair in the direction that the reward prefers, ten bins of equal width over confidences from "
    "0.5 to 1, mean of |accuracy - confidence| over the pairs. It is biased upwards, and so is its interval, which may "
    "lie above the number. Lower is better for both."
)
CAPTION = (
    "Each dot is a fifth of the pairs, by size of the margin: accuracy with its 95 % interval over what the reward "
    "says (mean confidence). On the diagonal it is right as often as it says; below it says too much. "
    "Blue circles: T = 1. Brown diamonds: fitted T."
)


def calibration_section(merged: Merged) -> Section | None:
    """Return a diagram and two tables per task and aspect that have such numbers, None where there are none."""
    rows = [row for row in merged.rows if row.metric in METRICS and row.study == "agree" and row.reward]
    rows = [row for row in rows if is_plain(row) and row.task]
    if not rows:
        return None
    order = {name: at for at, name in enumerate(merged.rewards)}
    diagrams: list[Diagram] = []
    tables: list[Table] = []
    for place in dict.fromkeys((row.task or "", row.aspect) for row in rows):
        own = [row for row in rows if (row.task, row.aspect) == place]
        own.sort(key=lambda row: order.get(row.reward or "", len(order)))
        diagrams += _diagram(place, own)
        tables += [*_errors(place, own), *_margins(place, own)]
    return Section("Calibration", paragraphs=(WHAT, HOW), diagrams=tuple(diagrams), tables=tuple(tables))


def _of(place: Place) -> str:
    task, aspect = place
    return f"{task}, {aspect}" if aspect else task


def _errors(place: Place, rows: Sequence[Result]) -> Iterable[Table]:
    cells: Cells = {(row.reward or "", row.metric): row for row in rows if row.metric in ERRORS and not row.subset}
    if not cells:
        return
    pairs = {row.pairs for row in cells.values() if row.metric in ("brier", "calibration-error")}
    words = f" From {plural(pairs.pop() or 0, 'pair')}." if len(pairs) == 1 else ""
    yield _table(f"Calibration: {_of(place)}", f"Lower is better; T is in units of the reward.{words}", cells, ERRORS)


def _margins(place: Place, rows: Sequence[Result]) -> Iterable[Table]:
    found = [row for row in rows if row.metric in BY_MARGIN and (row.subset or "").startswith(SUBSET)]
    if not found:
        return
    cells: Cells = {(f"{row.reward}, {(row.subset or '').removeprefix(SUBSET)}", row.metric): row for row in found}
    words = "Fifths of the pairs by the size of the reward's margin, the smallest first; equal margins share a fifth."
    yield _table(f"By margin: {_of(place)}", words, cells, BY_MARGIN, folded=True)


def _table(title: str, caption: str, cells: Cells, heads: Mapping[str, Head], *, folded: bool = False) -> Table:
    shown = [metric for metric in heads if any(metric == its for _, its in cells)]
    lines = list(dict.fromkeys(line for line, _ in cells))
    columns = {metric: _column([cells.get((line, metric)) for line in lines], metric) for metric in shown}
    return Table(
        title=title,
        caption=caption,
        corner="reward",
        heads=tuple(heads[metric] for metric in shown),
        lines=tuple(Line(line, tuple(columns[metric][at] for metric in shown)) for at, line in enumerate(lines)),
        notes=tuple(_reasons(cells)),
        folded=folded,
    )


def _column(rows: Sequence[Result | None], metric: str) -> list[Cell]:
    """Return one column; where every reward has its own units, each number has its own digits."""
    digits = decimals(row.value for row in rows if row)
    return [
        Cell("")
        if row is None
        else Cell(MISSING if row.value is None else f"{row.value:.4g}")
        if metric in IN_UNITS
        else Cell(number(row.value, digits), interval(row.ci, digits))
        for row in rows
    ]


def _reasons(cells: Cells) -> Iterable[str]:
    """Yield why values are missing, or what is to be said of them: once per reason."""
    found: dict[str, dict[str, list[str]]] = {}
    for (line, metric), row in cells.items():
        if row.reason:
            found.setdefault(row.reason, {}).setdefault(line, []).append(metric)
    for reason, lines in found.items():
        metrics = dict.fromkeys(metric for its in lines.values() for metric in its)
        yield f"{listing(lines)}: {listing(metrics)}: {reason}"


def _diagram(place: Place, rows: Sequence[Result]) -> Iterable[Diagram]:
    """Yield the diagram of a task: a panel for each of the rewards with the lowest Brier score at the fitted T."""
    panels = [_panel(name, rows) for name in dict.fromkeys(row.reward or "" for row in rows)]
    drawn = [panel for panel in panels if panel.bins]
    if not drawn:
        return
    score = {row.reward: row.value for row in rows if row.metric == "brier-scaled" and row.value is not None}
    chosen = sorted(drawn, key=lambda panel: score.get(panel.title, 1.0))[:MOST_PANELS]
    cut = (
        f" The {MOST_PANELS} of {len(drawn)} rewards with the lowest Brier score at the fitted T."
        if len(drawn) > MOST_PANELS
        else ""
    )
    yield Diagram(f"{_of(place)}: {CAPTION}{cut}", tuple(chosen))


def _panel(name: str, rows: Sequence[Result]) -> Reliability:
    own = [row for row in rows if row.reward == name and row.subset]
    said = {(row.metric, row.subset): row.value for row in own}
    bins = []
    for metric in ("margin-confidence", "margin-confidence-scaled"):
        for row in own:
            sure = said.get((metric, row.subset))
            if row.metric == "margin-accuracy" and row.value is not None and sure is not None:
                bins.append(Bin(sure, row.value, row.ci, scaled=metric.endswith("-scaled")))
    return Reliability(name, tuple(bins))
