"""Two figures as SVG: expected reward by step for each trainer, and by coefficient beside the exact optimum."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import altair as alt
import vl_convert

from rmbench.report.svg import sanitised

INK = "#222222"
WIDTH, HEIGHT = 360, 250
COLOURS = ("#3f7fbf", "#c0563f", "#b8862f", "#4d8f5b", "#7a5fa8", "#3a9a9a", "#a04f7b", "#6b6b6b", "#9aa03a")


def convergence(numbers: Mapping[str, Any]) -> str:
    """Return the curves: REINFORCE by baseline on the left, the other trainers on the right."""
    rows = numbers["convergence"]
    ours = [row for row in rows if row["trainer"].startswith("reinforce")]
    rest = [row for row in rows if row not in ours]
    panels = [
        _curves(ours, numbers["optimum"], "REINFORCE by baseline"),
        _curves(rest, numbers["optimum"], "other trainers"),
    ]
    return _svg(alt.hconcat(*panels, spacing=40).resolve_scale(color="independent"))


def coefficients(numbers: Mapping[str, Any]) -> str:
    """Return expected reward by KL and by entropy coefficient: points reached, lines exact."""
    penalties = [row for row in numbers["penalties"] if row["settles"] is not None]
    left = _against(
        [{"name": r["penalty"], "x": r["beta"], "exact": r["settles"]["expected"], **r["expected"]} for r in penalties],
        "KL coefficient", "KL penalty",
    )  # fmt: skip
    bonuses = [row for row in numbers["entropies"] if row["entropy"]]
    right = _against(
        [{"name": "entropy bonus", "x": r["entropy"], "exact": r["exact"], **r["expected"]} for r in bonuses],
        "entropy coefficient", "entropy bonus",
    )  # fmt: skip
    return _svg(alt.hconcat(left, right, spacing=40).resolve_scale(color="independent"))


def _svg(chart: Any) -> str:
    whole = chart.configure(font="sans-serif", background="white").configure_view(stroke=None)
    svg = sanitised(vl_convert.vegalite_to_svg(whole.to_dict(), allowed_base_urls=[]))
    return re.sub(r"currentColor", INK, svg) + "\n"


def _colour(names: Sequence[str]) -> alt.Color:
    known = list(dict.fromkeys(names))
    return alt.Color(
        "name:N", title=None, scale=alt.Scale(domain=known, range=list(COLOURS[: len(known)])),
        legend=alt.Legend(orient="bottom", columns=2, labelLimit=300, symbolOpacity=1),
    )  # fmt: skip


def _curves(rows: Sequence[Mapping[str, Any]], optimum: float, title: str) -> Any:
    values = [{"name": row["trainer"], **point} for row in rows for point in row["curve"]]
    base = alt.Chart(alt.InlineData(values=values))
    x, colour = alt.X("step:Q", title="step"), _colour([row["trainer"] for row in rows])
    rule = alt.Chart(alt.InlineData(values=[{"at": optimum}])).mark_rule(strokeDash=[4, 3], color=INK, opacity=0.6)
    layers = [
        rule.encode(y="at:Q"),
        base.mark_area(opacity=0.15).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_line().encode(
            x=x, y=alt.Y("mean:Q", title="exact expected reward", scale=alt.Scale(domain=[0, 1])), color=colour
        ),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=f"{title} (dashed: the optimum)")


def _against(values: Sequence[Mapping[str, Any]], x_title: str, title: str) -> Any:
    base = alt.Chart(alt.InlineData(values=[dict(value) for value in values]))
    x = alt.X("x:Q", title=x_title, scale=alt.Scale(type="log", nice=False))
    y = alt.Y("mean:Q", title="exact expected reward", scale=alt.Scale(domain=[0, 1]))
    colour = _colour([value["name"] for value in values])
    layers = [
        base.mark_line(strokeDash=[4, 3]).encode(x=x, y=alt.Y("exact:Q"), color=colour),
        base.mark_rule().encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_point(filled=True, size=50).encode(x=x, y=y, color=colour),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title=f"{title} (points: reached, dashed: exact)")
