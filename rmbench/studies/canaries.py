"""Canaries from rows alone: what must hold of every headline, or a number here is wrong."""

from __future__ import annotations

import math
from bisect import bisect_left, bisect_right
from dataclasses import replace
from functools import lru_cache
from itertools import combinations, groupby
from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.studies.headline import again, all_sums, mirrored, unscored_share

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rmbench.api import Column
    from rmbench.studies.headline import HeadlineSums
    from rmbench.studies.rows import Rows

EXACT = 1e-9
MANY = 4096


def canaries(rows: Rows) -> list[Result]:
    """Return the canaries of a task: ``value`` is the deviation, ``reason`` what failed (None: it held).

    ``swapped``: with the labels swapped the headline is 1 - itself - the share of pairs that are unscored.
    ``constant``: a constant in the reward's place gets 0.5. ``recomputed``: a plain loop over the rows
    finds the same headline.
    """
    results = []
    for sums in all_sums(rows):
        value = sums.value
        if value is None:
            continue
        results.append(_swapped(sums, value))
        results.append(_constant(sums))
        results.append(_recomputed(sums, value))
    return results


def _swapped(sums: HeadlineSums, value: float) -> Result:
    other = mirrored(sums).value
    expected = 1.0 - value - unscored_share(sums)
    deviation = math.inf if other is None else abs(other - expected)
    return _result(sums, "swapped", deviation, f"labels swapped give {other}, expected {expected}")


def _constant(sums: HeadlineSums) -> Result:
    size = len(sums.reward.values)
    value = again(sums, replace(sums.reward, values=np.zeros(size), ok=np.ones(size, dtype=bool))).value
    deviation = math.inf if value is None else abs(value - 0.5)
    return _result(sums, "constant", deviation, f"a constant gets {value}, expected 0.5")


def _recomputed(sums: HeadlineSums, value: float) -> Result:
    other = plain_headline(sums)
    deviation = math.inf if other is None else abs(other - value)
    return _result(sums, "recomputed", deviation, f"a plain loop over the rows gives {other}, the result is {value}")


def plain_headline(sums: HeadlineSums) -> float | None:
    """Return the headline by plain loops over the rows as they were read, without any array arithmetic."""
    rows, aspect, column = sums.rows, sums.headline.aspect, sums.reward.scored.column
    if column is None:
        return None
    human = None if aspect is None else rows.human[aspect]
    if aspect is not None and f"{aspect}.rater" in column.parts and f"{aspect}.others" in column.parts:
        column, human = column.parts[f"{aspect}.rater"], column.parts[f"{aspect}.others"]
    scores, people = _decimals(column), [] if human is None else _decimals(human)
    if sums.headline.level == "pooled":
        return _plain_area(scores, people, good=_decimal(rows.good or 0.0), exclude=sums.reward.exclude)
    stated = zip(rows.better.tolist(), rows.worse.tolist(), strict=True)
    pairs: Iterable[tuple[int, int]] = stated if human is None else _plain_pairs(rows, people)
    right, count = 0.0, 0
    for better, worse in pairs:
        x, y = scores[better], scores[worse]
        if x is not None and y is not None:
            right += 1.0 if x > y else 0.5 if x == y else 0.0
        elif sums.reward.exclude:
            continue
        count += 1
    return right / count if count else None


def _plain_pairs(rows: Rows, people: list[float | None]) -> Iterator[tuple[int, int]]:
    samples = rows.sample.tolist()
    for _, members in groupby(range(len(samples)), samples.__getitem__):
        rated = [(row, score) for row in members if (score := people[row]) is not None]
        for (first, x), (second, y) in combinations(rated, 2):
            if x != y:
                yield (first, second) if x > y else (second, first)


def _plain_area(scores: list[float | None], people: list[float | None], *, good: float, exclude: bool) -> float | None:
    texts = [
        (x, y >= good) for x, y in zip(scores, people, strict=True) if y is not None and not (exclude and x is None)
    ]
    goods = [x for x, is_good in texts if is_good]
    others = [x for x, is_good in texts if not is_good]
    ladder = sorted(x for x in others if x is not None)
    right = sum((bisect_left(ladder, x) + bisect_right(ladder, x)) / 2 for x in goods if x is not None)
    return right / (len(goods) * len(others)) if goods and others else None


def _decimals(column: Column) -> list[float | None]:
    decimal = lru_cache(maxsize=MANY)(_decimal)  # ratings and lengths are few numbers, many times
    return [decimal(v) if ok else None for v, ok in zip(column.values.tolist(), column.ok.tolist(), strict=True)]


def _decimal(value: float) -> float:
    return float(f"{value:.11e}")


def _result(sums: HeadlineSums, metric: str, deviation: float, failure: str) -> Result:
    rows, reward = sums.rows, sums.reward.scored
    held = deviation <= EXACT
    return Result(
        study="canary",
        metric=metric,
        task=rows.task,
        kind=rows.kind,
        split=rows.split,
        reward=reward.name,
        value=deviation if math.isfinite(deviation) else None,
        reason=None if held else failure,
        signature=reward.signature,
    )
