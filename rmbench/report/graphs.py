"""Graphs as SVG: numbers over the steps of a training, or over how far a policy moved."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from rmbench.report.charts import COLUMNS, INK, NARROW, label, styled
from rmbench.report.numbers import decimals, number
from rmbench.report.svg import sanitised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.report.tables import Graph, Graphs, Series

HIGH = 150  # pixels of a panel
PALETTE = ("#3f7fbf", "#c0563f", "#4c9a63", "#b8862f", "#8a62b0", "#4aa3a8", "#b5568c", "#7d7d7d")
LARGEST = 1e300


def draw_graphs(graphs: Graphs) -> str:
    """Return the graphs as one SVG element, sanitised; the same numbers give the same bytes.

    Of more series than colours the last share one; a number that no axis can hold is not drawn.
    """
    names = list(dict.fromkeys(label(each.label) for panel in graphs.panels for each in panel.series))
    if not names:
        return ""
    colours = [PALETTE[min(at, len(PALETTE) - 1)] for at in range(len(names))]
    scale = alt.Scale(domain=names, range=colours)
    panels = [_panel(panel, scale) for panel in graphs.panels]
    whole = alt.concat(*panels, columns=COLUMNS, spacing=24)
    legend = {
        "labelColor": INK,
        "labelFontSize": 11,
        "title": None,
        "orient": "bottom",
        "columns": 4,
        "labelLimit": 220,
    }
    drawn = styled(whole).configure_legend(**legend).to_dict()
    return sanitised(vl_convert.vegalite_to_svg(drawn, allowed_base_urls=[]))


def _panel(panel: Graph, colours: Any) -> Any:
    x = alt.X(
        "x:Q", scale=alt.Scale(nice=False, zero=False), axis=alt.Axis(title=label(panel.x), tickCount=4, grid=False)
    )
    y = alt.Y("y:Q", scale=alt.Scale(zero=False), axis=alt.Axis(title=label(panel.y) if panel.y else None, tickCount=4))
    colour = alt.Color("name:N", scale=colours)
    layers = [
        layer.encode(x=x, y=y, color=colour)
        for wanted, marks in ((False, _told), (True, _fitted))
        for layer in marks(_records([each for each in panel.series if each.fitted == wanted]))
    ]
    return alt.layer(*layers).properties(width=NARROW, height=HIGH, title=label(panel.title))


def _told(records: Sequence[dict[str, Any]]) -> list[Any]:
    """Return lines and dots of what was measured."""
    joined = [record for record in records if record["joined"]]
    dots = alt.Chart(alt.InlineData(values=list(records))).mark_circle(size=26, opacity=1, aria=False)
    line = alt.Chart(alt.InlineData(values=joined)).mark_line(strokeWidth=1.4, opacity=0.8, aria=False)
    return [line, dots] if joined else [dots]


def _fitted(records: Sequence[dict[str, Any]]) -> list[Any]:
    """Return the dashed lines of what was fitted."""
    if not records:
        return []
    return [alt.Chart(alt.InlineData(values=list(records))).mark_line(strokeWidth=1.2, strokeDash=[4, 3], aria=False)]


def _records(series: Sequence[Series]) -> list[dict[str, Any]]:
    return [
        {"name": label(each.label), "x": x, "y": y, "joined": each.joined}
        for each in series
        for x, y in each.points
        if isfinite(x) and isfinite(y) and max(abs(x), abs(y)) < LARGEST
    ]


def graphs_told(graphs: Graphs) -> str:
    """Return in words where each series begins and ends, for those who do not see it."""
    return ". ".join(f"{panel.title}: {_spoken(panel)}" for panel in graphs.panels)


def _spoken(panel: Graph) -> str:
    said = []
    for each in panel.series:
        if each.points and not each.fitted:
            (x, y), (last, end) = each.points[0], each.points[-1]
            digits = decimals((y, end))
            where = f"{panel.x} {x:.3g} to {last:.3g}"
            said.append(f"{each.label} from {number(y, digits)} to {number(end, digits)} ({where})")
    return ", ".join(said)
