"""Does a score depend on what is scored beside it? Rows of a run again: alone, shuffled, beside a long neighbour.

Batched inference may move a score in the last bits of its dtype; beyond that, a number depends on the batch size that
somebody chose. The rows' scores of the run itself are what the new ones are held against.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field, replace
from itertools import combinations
from typing import TYPE_CHECKING, Any

from rmbench.api import Batch
from rmbench.canary import units_of
from rmbench.process import Failed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from rmbench.api import Runtime
    from rmbench.rewards import Chosen
    from rmbench.scoring import Scores, Values

ROWS = 32
FULL, HALF = 1e-5, 0.05  # of the scores' standard deviation: in float32 or float64, and in the 16-bit types
LAST_BITS = 16 * 2.0**-23  # of a float32 of size 1
HALVES = ("bfloat16", "float16")
LONGER = (4, 2)  # the long neighbour's response, repeated so often, if it has a score then
WAYS = ("alone", "shuffled", "long")


@dataclass(frozen=True, slots=True)
class Found:
    """What scoring rows again gave.

    Attributes:
        rows: rows compared; ``pairs``: pairs of different scores within a sample among them.
        flipped: pairs that another order of scores, or a tie, took the place of.
        worst: largest difference by way, in standard deviations of the reward's scores on the task; None where it
            could not be scored again.
        tolerance: what is allowed.
        wrong: by way, what is wrong in words; empty where all is within the tolerance.
    """

    rows: int
    pairs: int
    flipped: int
    worst: Mapping[str, float | None] = field(default_factory=dict)
    tolerance: float = FULL
    wrong: Mapping[str, str] = field(default_factory=dict)


def precision(chosen: Chosen, runtime: Runtime) -> str:
    """Return the dtype that a reward computes in: its own option, else the run's."""
    return str(chosen.options.get("dtype") or runtime.dtype)


def tolerance(dtype: str, scores: Sequence[float | None]) -> float:
    """Return the largest difference allowed, in standard deviations of these scores.

    Scores that lie so close together that float32 hardly tells them apart (a model that was never trained) may move by
    a few of its last bits, however many standard deviations that is.
    """
    largest = max((abs(score) for score in scores if score is not None), default=0.0)
    return max(HALF if dtype in HALVES else FULL, LAST_BITS * max(1.0, largest) / spread(scores))


def spread(scores: Sequence[float | None]) -> float:
    """Return the standard deviation of the scores that are there; of equal ones their size, and of zeros 1."""
    there = [score for score in scores if score is not None]
    if not there:
        return 1.0
    middle = math.fsum(there) / len(there)
    deviation = math.sqrt(math.fsum((score - middle) ** 2 for score in there) / len(there))
    return deviation or abs(middle) or 1.0


def selected(groups: Sequence[str], count: int, seed: int) -> list[int]:
    """Return the rows of seeded samples, whole ones, at least ``count`` rows where there are so many."""
    members: dict[str, list[int]] = {}
    for row, group in enumerate(groups):
        members.setdefault(group, []).append(row)
    order = list(members)
    random.Random(seed).shuffle(order)  # noqa: S311 - a choice of rows, no secret
    taken: list[int] = []
    for group in order:
        if len(taken) >= count:
            break
        taken += members[group]
    return sorted(taken)


def _long(score: Callable[[Batch], Scores], rows: Batch, unit: Sequence[int]) -> Batch:
    """Return the rows of the longest response once more, with that response several times over where it has a score."""
    whole = rows.take(unit)
    whole = replace(
        whole, ids=tuple(f"{name}+long" for name in whole.ids), groups=tuple(f"{name}+long" for name in whole.groups)
    )
    for times in LONGER:
        longer = replace(whole, responses=tuple(" ".join([text] * times) for text in whole.responses))
        try:
            if None not in score(longer).values:
                return longer
        except Failed:
            continue
    return whole


def _joined(first: Batch, second: Batch) -> Batch:
    columns: dict[str, Any] = {
        name: vars_of(first)[name] + vars_of(second)[name] for name in vars_of(first) if name != "scores"
    }
    return Batch(**columns, scores={name: first.scores[name] + second.scores[name] for name in first.scores})


def vars_of(batch: Batch) -> dict[str, Any]:
    """Return the columns of a batch by name."""
    return {name: getattr(batch, name) for name in Batch.__slots__}


def _calls(
    score: Callable[[Batch], Scores], rows: Batch, units: list[list[int]], seed: int
) -> Iterator[tuple[str, Batch, list[int]]]:
    """Yield (way, batch, which of the rows its first ones are)."""
    for unit in units:
        yield "alone", rows.take(unit), unit
    shuffled = list(units)
    random.Random(seed).shuffle(shuffled)  # noqa: S311 - an order, not a secret
    flat = [row for unit in shuffled for row in unit]
    yield "shuffled", rows.take(flat), flat
    longest = max(units, key=lambda unit: max(len(rows.responses[row]) for row in unit))
    neighbour = _long(score, rows, longest)
    for unit in units:
        yield "long", _joined(rows.take(unit), neighbour), unit


def _flips(rows: Batch, base: Values, again: Values) -> tuple[int, int]:
    """Return (pairs within a sample whose scores differ, those that are ordered otherwise afterwards)."""
    pairs = flipped = 0
    for unit in units_of(rows, whole=True):
        for one, two in combinations(unit, 2):
            before, after = _order(base[one], base[two]), _order(again[one], again[two])
            pairs += before not in (None, 0)
            flipped += before not in (None, 0) and after is not None and before != after
    return pairs, flipped


def _order(one: float | None, two: float | None) -> int | None:
    return None if one is None or two is None else (one > two) - (one < two)


def check(
    score: Callable[[Batch], Scores], rows: Batch, base: Values, scale: float, *, whole: bool, allowed: float = FULL
) -> Found:
    """Score rows again in other company.

    Args:
        score: of a batch.
        rows: whole samples.
        base: their scores in the run.
        scale: standard deviation of the reward's scores on the task.
        whole: the reward must see whole samples.
        allowed: largest difference that is no fault, in ``scale``.
    """
    worst: dict[str, float | None] = dict.fromkeys(WAYS, 0.0)
    latest: dict[str, Values] = {way: list(base) for way in WAYS}
    wrong: dict[str, tuple[float, str]] = {}
    for way, batch, places in _calls(score, rows, units_of(rows, whole=whole), seed=0):
        try:
            values = score(batch).values[: len(places)]
        except Failed as error:
            worst[way] = None
            wrong[way] = math.inf, f"could not be scored again ({error.kind})"
            continue
        for place, value in zip(places, values, strict=True):
            latest[way][place] = value
            off, told = _off(base[place], value, scale)
            known = worst[way]
            worst[way] = None if known is None or not math.isfinite(off) else max(known, off)
            if off > allowed and off > wrong.get(way, (0.0, ""))[0]:
                wrong[way] = off, f"row {rows.ids[place]}: " + (told or f"moved by {off:.2g} of the std")
    counted = [_flips(rows, base, again) for again in latest.values()]
    words = {way: told for way, (_, told) in wrong.items()}
    return Found(len(rows), counted[0][0], max(flips for _, flips in counted), worst, allowed, words)


def _off(one: float | None, two: float | None, scale: float) -> tuple[float, str | None]:
    if one is None or two is None:
        return (0.0, None) if one is two else (math.inf, "has a score once and none another time")
    return abs(one - two) / scale, None
