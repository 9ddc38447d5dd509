"""The badge of batch invariance: whether rows kept their scores when they were scored again in other company."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench.report.numbers import listing, plural
from rmbench.report.rows import read_rows, shown
from rmbench.report.tables import Cell, Head, Line, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rmbench.api import Result

WAYS = ("alone", "shuffled", "long")
WORDS = (
    "Rows of the run were scored again alone, in another order, and beside a neighbour of several times the longest "
    "response. Differences from the scores of the run are in standard deviations of the reward's scores on the task; "
    "a pair flips where two scores of a sample change their order."
)


def _checks(measurements: Sequence[Mapping[str, Any]]) -> list[Result]:
    return [row for row in map(shown, read_rows(measurements)) if row.study == "invariance"]


def invariance_words(measurements: Sequence[Mapping[str, Any]]) -> tuple[str, ...]:
    """Return what the summary says: the badge in one sentence, nothing where it was not asked for."""
    rows = _checks(measurements)
    if not rows:
        return ()
    names = sorted({row.reward or "" for row in rows})
    failed = sorted({row.reward or "" for row in rows if row.reason is not None})
    if failed:
        return (f"Batch invariance failed for {listing(failed)}: a score depends on what is scored beside it.",)
    largest = max(
        (row.value for row in rows if row.metric == "largest-difference" and row.value is not None), default=0
    )
    flipped = sum(row.value or 0.0 for row in rows if row.metric == "flipped-pairs")
    words = (
        f"Batch-invariant: {plural(len(names), 'reward')} scored again in other company, largest difference "
        f"{largest:.2g} of the standard deviation, {plural(int(flipped), 'pair')} flipped."
    )
    return (words,)


def invariance_section(measurements: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return one line per reward and task with its badge, None where it was not asked for."""
    rows = _checks(measurements)
    if not rows:
        return None
    places = dict.fromkeys((row.reward or "", row.task or "") for row in rows)
    heads = (
        Head("task", numeric=False), Head("badge", numeric=False), Head("rows"), *(Head(way) for way in WAYS),
        Head("allowed"), Head("pairs flipped"), Head("what failed", numeric=False),
    )  # fmt: skip
    lines = tuple(
        _line(reward, task, [row for row in rows if (row.reward or "", row.task or "") == (reward, task)])
        for reward, task in places
    )
    caption = "By reward and task; differences in standard deviations of the scores."
    return Section("Batch invariance", (WORDS,), tables=(Table("Badges", caption, "reward", heads, lines),))


def _line(reward: str, task: str, rows: Sequence[Result]) -> Line:
    moved = {row.probe: row for row in rows if row.metric == "largest-difference"}
    flips = next((row for row in rows if row.metric == "flipped-pairs"), None)
    allowed = next((row.value for row in rows if row.metric == "tolerance"), None)
    wrong = "; ".join(f"{row.probe}: {row.reason}" for row in rows if row.reason is not None) or None
    return Line(
        reward,
        (
            Cell(task),
            Cell("batch-invariant" if wrong is None else "depends on the batch", best=wrong is not None),
            Cell(f"{max((row.rows or 0 for row in rows), default=0):,}"),
            *(Cell(_size(moved[way].value if way in moved else None)) for way in WAYS),
            Cell(_size(allowed)),
            Cell("" if flips is None else f"{int(flips.value or 0):,} of {flips.pairs or 0:,}"),
            Cell(wrong or ""),
        ),
    )


def _size(value: float | None) -> str:
    return "not scored" if value is None else f"{value:.2g}"
