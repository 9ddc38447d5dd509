"""Charts as SVG: altair describes them, vl-convert draws them, without a browser, a script or the network."""

from __future__ import annotations

from math import isfinite
from typing import TYPE_CHECKING, Any

import altair as alt
import vl_convert

from rmbench.report.escape import plain
from rmbench.report.numbers import decimals, number
from rmbench.report.svg import sanitised

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.report.tables import Chart, Panel, Point

INK = "currentColor"  # the page's own text colour, so that one drawing serves light and dark
COLOURS = {"reward": "#3f7fbf", "null": "#8c8c8c", "oracle": "#b8862f", "incomplete": "#c0563f"}
PADDING = {"left": 40, "top": 4, "right": 8, "bottom": 4}  # left: a browser's font may be wider than the one measured
ROW = 19  # pixels per dot
WIDE, NARROW, COLUMNS = 640, 190, 3
LABEL = 26  # characters of a name
LONGEST = 120  # characters of an axis title


def draw(chart: Chart) -> str:
    """Return the chart as one SVG element, sanitised; the same chart gives the same bytes."""
    # vl-convert takes the Vega-Lite that altair writes; no data is fetched: none is named.
    if not all(isfinite(end) for panel in chart.panels for end in _domain(panel)):
        return ""  # numbers so large that their range overflows: the tables have them
    width = WIDE if len(chart.panels) == 1 else NARROW
    parts = [_panel(panel, width, colours=len(chart.panels) == 1) for panel in chart.panels]
    whole = parts[0] if len(parts) == 1 else alt.concat(*parts, columns=COLUMNS, spacing=24)
    return sanitised(vl_convert.vegalite_to_svg(styled(whole).to_dict(), allowed_base_urls=[]))


def styled(chart: Any) -> Any:
    """Return a chart in the colours and letters that all have."""
    words = {
        "labelColor": INK,
        "titleColor": INK,
        "labelFontSize": 11,
        "titleFontSize": 11,
        "titleFontWeight": "normal",
    }
    lines = {
        "gridColor": INK,
        "gridOpacity": 0.12,
        "domainColor": INK,
        "domainOpacity": 0.4,
        "tickColor": INK,
        "tickOpacity": 0.4,
    }
    return (
        chart.configure(font="sans-serif", background="transparent", padding=PADDING)
        .configure_view(stroke=None)
        .configure_axis(**words, **lines)
        .configure_title(color=INK, fontSize=12, fontWeight="normal", anchor="start")
    )


def _panel(panel: Panel, width: int, *, colours: bool) -> Any:
    order = list(dict.fromkeys(label(point.label) for point in panel.points))
    low, high = _domain(panel)
    scale = alt.Scale(domain=[low, high], nice=False, zero=False)
    y = alt.Y(
        "label:N", sort=order, axis=alt.Axis(title=None, ticks=False, domain=False, labelLimit=220, labelPadding=8)
    )
    base = alt.Chart(alt.InlineData(values=[_record(point, colours=colours) for point in panel.points]))
    axis = alt.Axis(title=_words(panel.title) if colours else None, tickCount=8 if colours else 4)
    bars = base.mark_rule(strokeWidth=1.5).encode(
        x=alt.X("low:Q", scale=scale, axis=axis), x2="high:Q", y=y, color=alt.Color("colour:N", scale=None)
    )
    dots = base.mark_circle(size=52, opacity=1).encode(
        x=alt.X("value:Q", scale=scale, axis=axis), y=y, color=alt.Color("colour:N", scale=None)
    )
    layers = [*_rules(panel, scale, axis), bars, dots]
    title = {} if colours else {"title": label(panel.title)}
    return alt.layer(*layers).properties(width=width, height=ROW * len(order), **title)


def _rules(panel: Panel, scale: Any, axis: Any) -> list[Any]:
    """Return the vertical lines: the first dashed (chance), the others solid."""
    return [
        alt.Chart(alt.InlineData(values=[{"at": value}]))
        .mark_rule(color=INK, opacity=0.55, strokeDash=[4, 3] if index == 0 else [1, 0])
        .encode(x=alt.X("at:Q", scale=scale, axis=axis))
        for index, (value, _) in enumerate(panel.rules)
    ]


def _domain(panel: Panel) -> tuple[float, float]:
    """Return the ends of the axis: all dots, intervals and lines with a little room."""
    ends = [end for point in panel.points for end in (point.value, *(point.ci or ()))]
    ends += [value for value, _ in panel.rules]
    low, high = min(ends), max(ends)
    room = (high - low) * 0.04 or abs(high) * 0.1 or 0.5
    return low - room, high + room


def _record(point: Point, *, colours: bool) -> dict[str, Any]:
    low, high = point.ci or (point.value, point.value)
    mark = point.mark if colours else "reward"
    return {
        "label": label(point.label),
        "value": point.value,
        "low": low,
        "high": high,
        "colour": COLOURS.get(mark, COLOURS["reward"]),
    }


def _words(text: str) -> str:
    """Return text that vl-convert can measure: a character that XML forbids would abort the whole process."""
    return plain(text)[:LONGEST] or "-"


def label(text: str) -> str:
    """Return a name, shortened in the middle to fit beside an axis."""
    text = _words(text)
    return text if len(text) <= LABEL else text[: LABEL - 9] + "\u2026" + text[-8:]


def described(chart: Chart) -> str:
    """Return the chart's numbers in words, for those who do not see it."""
    return ". ".join(f"{panel.title}: {_spoken(panel.points)}" for panel in chart.panels)


def _spoken(points: Sequence[Point]) -> str:
    digits = decimals(point.value for point in points)
    return ", ".join(f"{point.label} {number(point.value, digits)}" for point in points)
