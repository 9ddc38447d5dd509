"""The page and the chart of the performance report."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import device_page
from comparisons import ENOUGH, ROUNDS, Finding, Spread, Target

from rmbench.report.charts import draw
from rmbench.report.tables import Chart, Panel, Point

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

COMMAND = "python reports/performance/make.py"
TITLES = {"rules": "Rules, beside the peers' packages", "models": "Models, beside the plain loops"}
NOTES = {
    "rules": "Scores are compared first: ROUGE is equal in every bit, the rest to 1e-9.",
    "models": (
        "Models are built from configurations with random weights, but for MiniLM. Both sides are given token ids, and "
        "their scores are compared first. The lengths are log-normal, in random order."
    ),
}
FRONT = {
    ("ROUGE-1/2/L, 60 words, stemming", "rouge-score"),
    ("ROUGE-1/2/L, 60 words, stemming", "rouge-score-rs"),
    ("chrF, 60 words", "sacrebleu"),
    ("sentence BLEU, 60 words", "sacrebleu"),
    ("TER, 100 words, 50% of them kept", "sacrebleu"),
    ("skewed lengths, float32", "padded batches of 8"),
    ("skewed lengths, float32", "padded batches of 64"),
    ("16 responses of one prompt of 400 tokens", "padded batches of 8"),
}
HEAD = ("#", "work", "against", "aim", "prototype", "needed", "measured", "spread", "ours", "mark")
FEW = 0.05  # seconds: rewards that cost less are left out of the table
TEN, HUNDRED = 10, 100
MOST = 4.0  # of the chart's axis: a row that is far above what it needs must not hide the others


def read(row: Mapping[str, Any]) -> Finding:
    """Return a finding as it was measured."""
    given = {key: value for key, value in row.items() if key not in {"name", "mark"}}
    spreads = {key: Spread(**given[key]) for key in ("ratio", "rate") if given[key] is not None}
    target = None if given["target"] is None else Target(**given["target"])
    return Finding(**{**given, **spreads, "target": target})


def ratio(value: float) -> str:
    """Return a ratio with three digits."""
    return f"{value:.2f}" if value < TEN else f"{value:.1f}" if value < HUNDRED else f"{value:.0f}"


def row(number: int, found: Finding) -> str:
    """Return a line of a table."""
    target = found.target
    aim = "" if target is None else f"{'at most ' if target.most else ''}{target.aim:g}"
    reached = "" if target is None or target.reached is None else f"{target.reached:g}"
    needed = "" if target is None else ratio(target.needed)
    spread = f"{ratio(found.ratio.low)} to {ratio(found.ratio.high)}"
    fast = "" if found.rate is None else f"{found.rate.median:,.0f} {found.unit}/s"
    if found.unit == "FLOP" and found.rate is not None:
        fast = f"{found.rate.median / 1e9:.0f} GFLOP/s"
    mark = f"**{found.mark}**" if found.mark == "missed" else found.mark
    cells = (number, found.work, found.against, aim, reached, needed, ratio(found.ratio.median), spread, fast, mark)
    return "| " + " | ".join(str(cell) for cell in cells) + " |"


def table(findings: Sequence[tuple[int, Finding]]) -> list[str]:
    """Return the lines of a table."""
    rule = ["---:", "---", "---", *["---:"] * 6, "---"]
    return [f"| {' | '.join(HEAD)} |", f"| {' | '.join(rule)} |", *(row(*one) for one in findings)]


def chart(findings: Sequence[Finding]) -> str:
    """Return how far each row is from what it needs, as SVG on white: one is enough, and more is better."""
    points = []
    for number, found in enumerate(findings, 1):
        if found.target is None or not found.target.applies:
            continue
        needed, ends = found.target.needed, (found.ratio.low, found.ratio.high)
        value, low, high = (one / needed for one in (found.ratio.median, *ends))
        if found.target.most:
            value, low, high = 1 / value, 1 / high, 1 / low
        mark = "incomplete" if found.mark == "missed" else "reward"
        ends = min(low, MOST), min(high, MOST)
        points.append(Point(f"{number}. {found.against}", min(value, MOST), ends, mark))
    title = f"measured over needed, by row ({MOST:g} stands for {MOST:g} and more)"
    panel = Panel(title, tuple(points), ((1.0, "needed"),))
    svg = draw(Chart("", (panel,)))
    svg = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="white"/>', svg, count=1)
    return svg.replace("currentColor", "#222222")


def summary(findings: Sequence[Finding]) -> Iterator[str]:
    """Yield how many rows are met, and which are not."""
    asked = [found for found in findings if found.mark in {"met", "missed"}]
    missed = [found for found in asked if found.mark == "missed"]
    yield f"{len(asked) - len(missed)} of {len(asked)} rows are met."
    for found in missed:
        wanted, reached = ratio(found.target.needed if found.target else 0.0), ratio(found.ratio.median)
        yield f"Missed: {found.work} against {found.against}: {reached} measured, {wanted} needed."
    for found in findings:
        if found.mark == "does not apply":
            yield f"Does not apply: {found.work}, against {found.against} ({found.detail.partition(';')[0]})."


def human_lines(cost: Mapping[str, Any]) -> Iterator[str]:
    """Yield the section on the human suite: processor seconds and shares by reward, before and now."""
    seconds = cost["seconds"]
    total = {side: sum(one[side] for one in seconds.values()) for side in ("before", "now")}
    words = (
        f"Processor seconds that each reward's worker spent scoring, start-up apart: before the kernel (commit "
        f"{cost['before']}) and now, the mean of {cost['turns']} runs of each in turn. In all "
        f"{total['before']:.1f} before, {total['now']:.1f} now. A reward below {FEW:g} seconds is left out. "
        "Made by `python reports/performance/human.py`."
    )
    yield from ("## What rewards cost on the `human` suite", "", words, "")
    yield from ("| reward | before | share | now | share |", "| --- | ---: | ---: | ---: | ---: |")
    for name, one in sorted(seconds.items(), key=lambda item: -item[1]["before"]):
        if max(one.values()) >= FEW:
            cells = (f"{one[side]:.2f} | {one[side] / total[side]:.0%}" for side in ("before", "now"))
            yield f"| {name} | {' | '.join(cells)} |"
    yield ""


def how(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield how it was measured, and on what."""
    machine, product, loads = found["machine"], found["product"], found["processor_load"]
    yield (
        f"Each number is the median of {ROUNDS} rounds in which the sides ran in turn, ratios taken within a round, "
        "with the least and the greatest. One thread, in processor seconds, so that other work on the machine counts "
        "little; rows that say so are in seconds on the wall. *Needed* is what a row has to reach: "
        f"{ENOUGH} of what a prototype reached, or of the aim where none was tried."
    )
    packages = ("numpy", "numba", "torch", "transformers", "rouge-score", "sacrebleu")
    versions = ", ".join(f"{name} {machine[name]}" for name in packages if machine[name])
    own = f", oneDNN's {product['onednn'] / 1e9:.0f}" if "onednn" in product else ""
    yield ""
    yield (
        f"Machine: {machine['processor']}, {machine['processors']} processors, {machine['system']}, Python "
        f"{machine['python']}, {versions}. Best float32 matrix product on one thread: torch's "
        f"{product['torch'] / 1e9:.0f} GFLOP/s{own}. Processes that wanted a processor, on average: {loads['before']} "
        f"before, {loads['after']} at the end. The run took {found['seconds'] / 60:.0f} minutes."
    )


def front(findings: Sequence[Finding]) -> str:
    """Return the table of the front page: the rows that stand for the others."""
    lines = ["| work | against | times as fast | spread |", "| --- | --- | ---: | --- |"]
    for found in findings:
        if (found.work, found.against) in FRONT:
            spread = f"{ratio(found.ratio.low)} to {ratio(found.ratio.high)}"
            lines.append(f"| {found.work} | {found.against} | {ratio(found.ratio.median)} | {spread} |")
    return "\n".join(lines) + "\n"


def page(
    found: Mapping[str, Any],
    findings: Sequence[Finding],
    cost: Mapping[str, Any] | None,
    device: Mapping[str, Any] | None = None,
) -> str:
    """Return README.md."""
    lines = ["# How fast is the scoring kernel?", "", f"Made by `make performance` ({COMMAND}).", ""]
    lines += [f"- {sentence}" for sentence in summary(findings)]
    lines += ["", *how(found), "", "![Measured over needed, by row](targets.svg)", ""]
    for name, title in TITLES.items():
        chosen = [(number, one) for number, one in enumerate(findings, 1) if one.table == name]
        details = [f"- {number}: {one.detail}." for number, one in chosen if one.detail]
        lines += [f"## {title}", "", NOTES[name], "", *table(chosen), "", "Sizes, by row:", "", *details, ""]
    lines += human_lines(cost) if cost else []
    lines += device_page.lines(device) if device else []
    return "\n".join(lines)
