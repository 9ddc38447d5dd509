"""Score a few rows again: shuffled, each alone, and twice in one batch. The scores must not move."""

from __future__ import annotations

import json
import random
from typing import TYPE_CHECKING

from rmbench.process import Failed
from rmbench.source import batch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.api import Batch, Task
    from rmbench.scoring import Scores, Values
    from rmbench.source import Part

ROWS = 8
SAMPLES = 3
TOLERANCE, HALF = 1e-5, 0.1  # of a score, or absolute below 1; the second in the 16-bit types


def few(part: Part, task: Task, *, labels: bool, whole: bool) -> Batch:
    """Return the batch of the first few rows of a part (of whole samples where the reward needs them)."""
    every = batch(part.samples[:SAMPLES], task, labels=labels)
    return every if whole else every.take(range(min(ROWS, len(every))))


def _orders(units: Sequence[Sequence[int]], *, whole: bool) -> dict[str, list[list[int]]]:
    """Return, by canary, the calls to make: each a list of row indices."""
    shuffled = list(units)
    random.Random(0).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    flat = [row for unit in units for row in unit]
    calls = {"shuffled": [[row for unit in shuffled for row in unit]], "alone": [list(unit) for unit in units]}
    return calls if whole else calls | {"twice": [flat + flat]}  # twice would change what a sample is


def units_of(rows: Batch, *, whole: bool) -> list[list[int]]:
    """Return the row indices that must stay together: single rows, or samples."""
    if not whole:
        return [[row] for row in range(len(rows))]
    groups: dict[str, list[int]] = {}
    for row, group in enumerate(rows.groups):
        groups.setdefault(group, []).append(row)
    return list(groups.values())


def _deviation(first: Values, again: Values, allowed: float) -> tuple[float, str | None]:
    """Return the largest difference, and what is wrong when it is beyond the tolerance."""
    worst, wrong = 0.0, None
    for one, two in zip(first, again, strict=True):
        if one is None or two is None:
            wrong = wrong or ("a row has a score once and none another time" if one is not two else None)
            continue
        worst = max(worst, abs(one - two))
        if abs(one - two) > allowed * max(1.0, abs(one)):
            wrong = wrong or f"a score moved from {one:.6g} to {two:.6g}"
    return worst, wrong


def run(
    score: Callable[[Batch], Scores], rows: Batch, *, whole: bool, allowed: float = TOLERANCE
) -> dict[str, tuple[float | None, str | None]]:
    """Return, by canary, the largest difference and the failure in words (None: passed)."""
    if not len(rows):
        return dict.fromkeys(("shuffled", "alone", "twice"), (0.0, None))
    try:
        base = score(rows).values
    except Failed as error:
        return dict.fromkeys(("shuffled", "alone", "twice"), (None, f"could not be scored: {error}"))
    outcome: dict[str, tuple[float | None, str | None]] = {}
    for name, calls in _orders(units_of(rows, whole=whole), whole=whole).items():
        outcome[name] = _compare(score, rows, base, calls, allowed)
    return outcome


def _compare(
    score: Callable[[Batch], Scores], rows: Batch, base: Values, calls: list[list[int]], allowed: float
) -> tuple[float | None, str | None]:
    worst, wrong = 0.0, None
    for order in calls:
        try:
            again = score(rows.take(order)).values
        except Failed as error:
            return None, f"could not be scored: {error}"
        off, told = _deviation([base[row] for row in order], again, allowed)
        worst, wrong = max(worst, off), wrong or told
    return worst, wrong


def to_bytes(outcome: Mapping[str, tuple[float | None, str | None]]) -> bytes:
    """Return the outcome as the file that the run folder keeps."""
    return (json.dumps(outcome, sort_keys=True, allow_nan=False) + "\n").encode()
