"""Reliability diagrams as SVG: how often a reward is right, over how sure it says it is."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from rmbench.report.charts import COLOURS, COLUMNS, INK, NARROW, label, styled
from rmbench.report.svg import sanitised

if TYPE_CHECKING:
    from rmbench.report.tables import Bin, Diagram, Reliability

HIGH = 170  # pixels of a panel
RAW, SCALED = COLOURS["reward"], COLOURS["oracle"]
LEAST = 0.5  # a reward prefers what it gives at least this probability


def draw_diagram(diagram: Diagram) -> str:
    """Return the diagrams as one SVG element, sanitised; the same numbers give the same bytes."""
    whole = alt.concat(*map(_panel, diagram.panels), columns=COLUMNS, spacing=24)
    return sanitised(vl_convert.vegalite_to_svg(styled(whole).to_dict(), allowed_base_urls=[]))


def _panel(panel: Reliability) -> Any:
    values = [_record(each) for each in panel.bins if _inside(each)]
    x = alt.X(
        "x:Q",
        scale=alt.Scale(domain=[LEAST, 1]),
        axis=alt.Axis(title="confidence", values=[0.5, 0.75, 1], format=".2f", grid=False),
    )
    scale, axis = alt.Scale(domain=[0, 1]), alt.Axis(title="accuracy", values=[0, 0.5, 1], format=".2f", grid=False)
    base = alt.Chart(alt.InlineData(values=values))
    colour, shape = alt.Color("colour:N", scale=None), alt.Shape("shape:N", scale=None)
    bars = base.mark_rule(strokeWidth=1.2, opacity=0.7, aria=False).encode(
        x=x, y=alt.Y("low:Q", scale=scale, axis=axis), y2="high:Q", color=colour
    )
    dots = base.mark_point(size=48, filled=True, opacity=1, aria=False).encode(
        x=x, y=alt.Y("y:Q", scale=scale, axis=axis), color=colour, shape=shape
    )
    ends: list[dict[str, Any]] = [{"x": LEAST, "y": LEAST}, {"x": 1, "y": 1}]
    diagonal = alt.Chart(alt.InlineData(values=ends)).mark_line(color=INK, opacity=0.55, strokeDash=[4, 3], aria=False)
    diagonal = diagonal.encode(x=x, y=alt.Y("y:Q", scale=scale, axis=axis))
    return alt.layer(diagonal, bars, dots).properties(width=NARROW, height=HIGH, title=label(panel.title))


def _inside(each: Bin) -> bool:
    """Whether the numbers are such as a study writes: a file from elsewhere may hold any."""
    return LEAST <= each.confidence <= 1 and all(0 <= end <= 1 for end in (each.accuracy, *(each.ci or ())))


def _record(each: Bin) -> dict[str, Any]:
    low, high = each.ci or (each.accuracy, each.accuracy)
    look = (SCALED, "diamond") if each.scaled else (RAW, "circle")
    return {"x": each.confidence, "y": each.accuracy, "low": low, "high": high, "colour": look[0], "shape": look[1]}


def told(diagram: Diagram) -> str:
    """Return the diagram's numbers in words, for those who do not see it."""
    return ". ".join(f"{panel.title}: {_spoken(panel)}" for panel in diagram.panels)


def _spoken(panel: Reliability) -> str:
    said = []
    for scaled, words in ((False, "as it says"), (True, "at the fitted temperature")):
        dots = [
            f"says {each.confidence:.2f}, right {each.accuracy:.2f}" for each in panel.bins if each.scaled == scaled
        ]
        said += [f"{words}: {', '.join(dots)}"] if dots else []
    return "; ".join(said)
