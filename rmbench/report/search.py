"""What a search came to: a table of trials as CSV, the best as a fragment of a suite, and a plot of the search."""

from __future__ import annotations

import csv
import io
import json
from math import ceil, floor, isfinite, log10
from typing import TYPE_CHECKING, Any

from rmbench.fragment import fragment
from rmbench.report.escape import csv_cell, plain
from rmbench.report.numbers import decimals, number
from rmbench.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.ranges import Range
    from rmbench.search_journal import Found, Tried

BEST, CSV, SVG = "best.toml", "trials.csv", "search.svg"
SHOWN = 10  # trials in the table
WIDE, SMALL, HEIGHT, COLUMNS = 640, 280, 180, 2
COLOURS = {"complete": "#3f7fbf", "pruned": "#8c8c8c", "best": "#c0563f"}


def write(found: Found) -> None:
    """Write trials.csv, and where a trial is complete best.toml and search.svg, beside the search."""
    write_whole(found.folder / CSV, as_csv(found).encode())
    if found.best is not None:
        write_whole(found.folder / BEST, best(found).encode())
        if drawn := draw(found):
            write_whole(found.folder / SVG, drawn.encode())


def best(found: Found) -> str:
    """Return the entry that was tuned with the best trial's options, as TOML; nothing where none is complete."""
    top, search = found.best, found.search
    if top is None:
        return ""
    said = f"{search.metric} {number(top.value, decimals([top.value]))} on dev, trial {top.place} of {len(found.tried)}"
    return fragment(search.table, search.entry_with(top.values), comment=said)


def summary(found: Found) -> dict[str, Any]:
    """Return the search as JSON."""
    search, top = found.search, found.best
    return {
        "entry": search.name, "table": search.table, "metric": search.metric, "direction": search.direction,
        "best": None if top is None else {"trial": top.place, "value": top.value, "options": dict(top.values)},
        "fragment": best(found),
        "trials": [
            {"trial": one.place, "state": one.state, "value": one.value, "options": dict(one.values),
             "evaluations": len(one.evaluations), **({"reason": one.reason} if one.reason else {})}
            for one in found.tried
        ],
    }  # fmt: skip


def table(found: Found) -> tuple[list[str], list[list[str]]]:
    """Return head and rows of the best trials, as text."""
    top = found.ranked[:SHOWN]
    digits = decimals(one.value for one in top)
    head = ["trial", found.search.metric, *(one.name for one in found.search.ranges)]
    return head, [
        [str(one.place), number(one.value, digits), *(_word(one.values.get(r.name)) for r in found.search.ranges)]
        for one in top
    ]


def counted(found: Found) -> str:
    """Return how the trials ended, in words."""
    states = [one.state for one in found.tried]
    words = [f"{states.count(state)} {state}" for state in ("complete", "pruned", "failed") if state in states]
    reason = next((one.reason for one in found.tried if one.reason), "")
    return f"{len(states)} trials: {', '.join(words)}" + (f" ({plain(reason)})" if reason else "")


def _word(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:.4g}"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)


def as_csv(found: Found) -> str:
    """Return all trials: place, state, metric, number of evaluations, a column per range, why one failed."""
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    names = [one.name for one in found.search.ranges]
    writer.writerow(["trial", "state", found.search.metric, "evaluations", *map(csv_cell, names), "reason"])
    for one in found.tried:
        value = "" if one.value is None else repr(one.value)
        cells = [_cell(one.values.get(name)) for name in names]
        writer.writerow([one.place, one.state, value, len(one.evaluations), *cells, csv_cell(one.reason)])
    return written.getvalue()


def _cell(value: Any) -> str:
    if isinstance(value, int | float) and not isinstance(value, bool):
        return repr(value)
    return csv_cell(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))


def draw(found: Found) -> str:
    """Return the search as SVG: the metric by trial with the best so far, and against each option.

    The same trials give the same bytes. Blue: complete; grey: pruned, at its last value; red: the best.
    """
    import altair as alt
    import vl_convert

    from rmbench.report.charts import styled
    from rmbench.report.svg import sanitised

    told = [one for one in found.tried if one.value is not None and isfinite(one.value)]
    if not told:
        return ""
    panels = [_panel(alt, found, told, one) for one in found.search.ranges]
    rows = [_course(alt, found, told), *([alt.concat(*panels, columns=COLUMNS, spacing=24)] if panels else [])]
    whole = styled(alt.vconcat(*rows, spacing=24))
    return sanitised(vl_convert.vegalite_to_svg(whole.to_dict(), allowed_base_urls=[]))


def _course(alt: Any, found: Found, told: Sequence[Tried]) -> Any:
    """Return the panel of the metric by trial, a line at the best so far."""
    values = [_record(found, one, x=one.place) for one in told]
    over = max if found.search.direction == "maximise" else min
    so_far: list[dict[str, float]] = []
    for one in told:
        if one.state == "complete" and one.value is not None:
            so_far.append({"x": one.place, "y": over([one.value, *(row["y"] for row in so_far[-1:])])})
    if so_far:
        so_far.append({"x": found.tried[-1].place, "y": so_far[-1]["y"]})
    x = alt.X(
        "x:Q",
        axis=alt.Axis(title="trial", format="d", tickMinStep=1),
        scale=alt.Scale(domain=[-0.5, found.tried[-1].place + 0.5], nice=False),
    )
    y = _metric(alt, found, told)
    line = alt.Chart(alt.InlineData(values=so_far)).mark_line(
        interpolate="step-after", color=COLOURS["best"], strokeWidth=1.5
    )
    layers = [*([line.encode(x=x, y=y)] if so_far else []), _dots(alt, values, x, y)]
    title = f"{_label(found.search.name)}: {_label(found.search.metric)} on dev (line: best so far; grey: pruned)"
    return alt.layer(*layers).properties(width=WIDE, height=HEIGHT, title=title)


def _panel(alt: Any, found: Found, told: Sequence[Tried], one: Range) -> Any:
    """Return the panel of the metric against an option."""
    y = _metric(alt, found, told)
    if one.choices:
        order = [_label(_word(choice)) for choice in one.choices]
        values = [_record(found, tried, x=_label(_word(tried.values[one.name]))) for tried in told]
        x = alt.X("x:N", sort=order, axis=alt.Axis(title=_label(one.name), labelAngle=0, labelLimit=90), title=None)
    else:
        values = [_record(found, tried, x=tried.values[one.name]) for tried in told]
        decades = (
            [10.0**at for at in range(ceil(log10(one.low) - 1e-9), floor(log10(one.high) + 1e-9) + 1)]
            if one.log
            else []
        )
        log = len(decades) > 1  # else its axis would have no two ticks
        scale = alt.Scale(type="log" if log else "linear", domain=_ends(one, log=log), zero=False, nice=False)
        axis = alt.Axis(title=_label(one.name), **({"values": decades, "format": "~g"} if log else {"tickCount": 6}))
        x = alt.X("x:Q", scale=scale, axis=axis)
    return _dots(alt, values, x, y).properties(width=SMALL, height=HEIGHT)


def _decades(one: Range) -> list[float]:
    """Return the powers of ten in a range."""
    return [10.0**at for at in range(ceil(log10(one.low) - 1e-9), floor(log10(one.high) + 1e-9) + 1)]


def _ends(one: Range, *, log: bool) -> list[float]:
    """Return the ends of a range with a little room."""
    if log:
        room = (one.high / one.low) ** 0.03
        return [one.low / room, one.high * room]
    wide = (one.high - one.low) * 0.03 or abs(one.low) * 0.1 or 0.5
    return [one.low - wide, one.high + wide]


def _metric(alt: Any, found: Found, told: Sequence[Tried]) -> Any:
    values = [one.value for one in told if one.value is not None]
    room = (max(values) - min(values)) * 0.06 or abs(values[0]) * 0.05 or 0.5
    scale = alt.Scale(domain=[min(values) - room, max(values) + room], nice=False, zero=False)
    return alt.Y("y:Q", scale=scale, axis=alt.Axis(title=_label(found.search.metric), tickCount=5))


def _dots(alt: Any, values: Sequence[Mapping[str, Any]], x: Any, y: Any) -> Any:
    shown = sorted(values, key=lambda value: value["colour"] == COLOURS["best"])  # the best is drawn over the others
    chart = alt.Chart(alt.InlineData(values=shown))
    return chart.mark_circle(size=48, opacity=0.9).encode(x=x, y=y, color=alt.Color("colour:N", scale=None))


def _record(found: Found, one: Tried, *, x: Any) -> dict[str, Any]:
    top = found.best
    colour = "best" if top is not None and one.place == top.place else one.state
    return {"x": x, "y": one.value, "colour": COLOURS[colour]}


def _label(text: str) -> str:
    from rmbench.report.charts import label

    return label(text)


def paths(folder: Path) -> dict[str, Path]:
    """Return the files of a search by what they hold."""
    return {"best": folder / BEST, "trials": folder / CSV, "plot": folder / SVG}
