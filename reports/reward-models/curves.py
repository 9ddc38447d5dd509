"""Learning curves: accuracy by the number of training prompts, and dev accuracy by step; as one SVG."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any

import altair as alt
import vl_convert

from rmbench.report.svg import sanitised

COLOURS = {"linear": "#3f7fbf", "mlp": "#c0563f", "lstm": "#b8862f", "transformer": "#4d8f5b"}
INK = "#222222"
WIDTH, HEIGHT = 330, 230


@dataclass(frozen=True, slots=True)
class Point:
    """Accuracy on held-out prompts of an architecture that was fitted on so many prompts (mean over the folds)."""

    architecture: str
    prompts: float
    value: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Step:
    """Dev accuracy of an architecture at a step, mean over the folds that came so far."""

    architecture: str
    step: int
    value: float


def by_step(architecture: str, logs: Sequence[Sequence[Mapping[str, Any]]]) -> list[Step]:
    """Return the curve of an architecture from the logs of its folds; where half of them have stopped, it ends."""
    found: dict[int, list[float]] = {}
    for log in logs:
        for row in log:
            if row.get("accuracy") is not None:
                found.setdefault(int(row["step"]), []).append(float(row["accuracy"]))
    return [
        Step(architecture, step, fmean(values)) for step, values in sorted(found.items()) if 2 * len(values) > len(logs)
    ]


def draw(points: Sequence[Point], steps: Sequence[Step], length: float) -> str:
    """Return both panels as SVG on white; ``length`` is the accuracy of the length baseline, a dashed line."""
    whole = alt.hconcat(_by_prompts(points, length), _by_steps(steps), spacing=40)
    chart = whole.configure(font="sans-serif", background="white").configure_view(stroke=None)
    svg = sanitised(vl_convert.vegalite_to_svg(chart.to_dict(), allowed_base_urls=[]))
    return re.sub(r"currentColor", INK, svg) + "\n"


def _colour(names: Sequence[str]) -> alt.Color:
    known = list(dict.fromkeys(names))
    return alt.Color(
        "name:N", title=None, scale=alt.Scale(domain=known, range=[COLOURS[name] for name in known]),
        legend=alt.Legend(orient="bottom"),
    )  # fmt: skip


def _by_prompts(points: Sequence[Point], length: float) -> Any:
    values = [
        {"name": point.architecture, "x": point.prompts, "y": point.value, "low": point.low, "high": point.high}
        for point in points
    ]
    base = alt.Chart(alt.InlineData(values=values))
    x = alt.X("x:Q", title="training prompts", scale=alt.Scale(type="log", nice=False), axis=alt.Axis(format="d"))
    y = alt.Y("y:Q", title="pairwise accuracy on held-out prompts", scale=alt.Scale(zero=False))
    colour = _colour([point.architecture for point in points])
    rule = alt.Chart(alt.InlineData(values=[{"at": length}])).mark_rule(strokeDash=[4, 3], color=INK, opacity=0.6)
    layers = [
        rule.encode(y="at:Q"),
        base.mark_rule(opacity=0.5).encode(x=x, y=alt.Y("low:Q"), y2="high:Q", color=colour),
        base.mark_line(point=True).encode(x=x, y=y, color=colour),
    ]
    return alt.layer(*layers).properties(width=WIDTH, height=HEIGHT, title="by training prompts (dashed: length)")


def _by_steps(steps: Sequence[Step]) -> Any:
    values = [{"name": step.architecture, "x": step.step, "y": step.value} for step in steps]
    return (
        alt.Chart(alt.InlineData(values=values))
        .mark_line()
        .encode(
            x=alt.X("x:Q", title="step"),
            y=alt.Y("y:Q", title="pairwise accuracy on dev", scale=alt.Scale(zero=False)),
            color=_colour([step.architecture for step in steps]),
        )
        .properties(width=WIDTH, height=HEIGHT, title="by step, mean over the folds")
    )
