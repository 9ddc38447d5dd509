"""Differences between rewards, or between two runs of one, on the units that both have."""

from __future__ import annotations

from dataclasses import replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.stats.ranking import group_starts
from rmbench.stats.resampling import (
    difference_intervals,
    distinct,
    exact_sum,
    holm,
    percentile_interval,
    permutations,
    ratio_intervals,
    resamples_of,
    sign_flip_couples,
    sign_flip_test,
)
from rmbench.stats.weighted import auroc_of, rank_resamples, weighted_values
from rmbench.studies.headline import all_sums
from rmbench.studies.view import mean

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.studies.headline import HeadlineSums
    from rmbench.studies.rows import Rows
    from rmbench.studies.view import Wanted

MARGIN = "margin-over-null"
CELLS = 20_000_000  # of one matrix of differences, clusters by pairs of rewards

Couple = tuple["HeadlineSums", "HeadlineSums"]


def differences(rows: Rows, wanted: Wanted) -> list[Result]:
    """Return the difference of every two rewards on the headline, and each reward's margin over the best null.

    The tests are corrected by Holm over all pairs of rewards of the task, m in number, and take
    max(10,000, 100 m) permutations each.
    """
    sums = all_sums(rows)
    if not sums or not (sums[0].headline.metric in wanted or MARGIN in wanted):
        return []
    couples = list(combinations(sums, 2))
    results = compare(couples, tests=len(couples))
    tested = [result.p for result in results if result.p is not None]
    corrected = iter(holm(tested))
    results = [result if result.p is None else replace(result, p_holm=next(corrected)) for result in results]
    return (results if sums[0].headline.metric in wanted else []) + _margins(sums)


def _margins(sums: Sequence[HeadlineSums]) -> list[Result]:
    values = [(each, each.value) for each in sums if each.reward.scored.null]
    nulls = [(each, value) for each, value in values if value is not None]
    if not nulls:
        return []
    greatest = max(value for _, value in nulls)
    best = next(each for each, value in nulls if value == greatest)
    results = compare([(each, best) for each in sums if not each.reward.scored.null], tests=0)
    return [replace(result, metric=MARGIN) for result in results]


def compare(couples: Sequence[Couple], *, tests: int) -> list[Result]:
    """Return the difference of each couple of one headline, all on the same resamples and signs of the prompts.

    The two-sided p-value is that of a sign-flip permutation test over prompts; the ROC area has none.
    The two of a couple may come from two runs of the same task: units are matched by sample id and candidate.

    Args:
        couples: the sums to hold against each other; the first of all couples are of one run, and so are the second.
        tests: how many tests are corrected together: each takes ``permutations(tests)``; 0: no p-values.
    """
    if not couples:
        return []
    if couples[0][0].headline.level == "pooled":
        return _areas([match(first, second) for first, second in couples])
    alike = _alike(couples)
    whole, rest = {}, {}
    for place, (first, second) in enumerate(couples):
        if {id(first), id(second)} <= alike:
            whole[place] = first, second
        else:
            rest[place] = match(first, second)
    sides = [first for first, _ in rest.values()] + [first for first, _ in whole.values()][:1]
    clusters = distinct(len(couples[0][0].rows.ids), *map(_clusters, sides))  # of all, so that all see the same draws
    found = dict(zip(whole, _of_same_units(list(whole.values()), clusters, tests), strict=True))
    found.update(zip(rest, _accuracies(list(rest.values()), clusters, tests), strict=True))
    return [found[place] for place in range(len(couples))]


def _alike(couples: Sequence[Couple]) -> set[int]:
    """Return which sums (by identity) have the units of the first one, all of which count."""
    model = couples[0][0]
    every = {id(each): each for couple in couples for each in couple}
    return {name for name, each in every.items() if (each.weight > 0).all() and _same_units(model, each)}


def match(first: HeadlineSums, second: HeadlineSums) -> Couple:
    """Return the sums of both over their common units that count for both, in one order."""
    if not _same_units(first, second):
        _, left, right = np.intersect1d(*_keys(first, second), assume_unique=True, return_indices=True)
        order = np.argsort(left)
        first, second = first.take(left[order]), second.take(right[order])
    both = (first.weight > 0) & (second.weight > 0)
    if both.all():
        return first, second
    return first.take(np.flatnonzero(both)), second.take(np.flatnonzero(both))


def _same_units(first: HeadlineSums, second: HeadlineSums) -> bool:
    same_rows = first.rows is second.rows or first.rows.ids == second.rows.ids
    return same_rows and np.array_equal(first.first, second.first) and np.array_equal(first.second, second.second)


def _keys(first: HeadlineSums, second: HeadlineSums) -> tuple[np.ndarray, np.ndarray]:
    """Return a distinct integer for each unit of both, equal where the unit is; a pair stated twice has two."""
    numbers = _row_numbers(first, second)
    width = 1 + max(len(first.rows.sample), len(second.rows.sample))
    keys = first.first * width + first.second, numbers[second.first] * width + numbers[second.second]
    turns = _turns(keys[0]), _turns(keys[1])
    times = 1 + max(int(turn.max(initial=0)) for turn in turns)
    return keys[0] * times + turns[0], keys[1] * times + turns[1]


def _turns(keys: np.ndarray) -> np.ndarray:
    """Return how many equal keys stand before each key."""
    order = np.argsort(keys, kind="stable")
    starts = group_starts(keys[order])
    turns = np.empty(len(keys), dtype=np.int64)
    turns[order] = np.arange(len(keys)) - np.repeat(starts, np.diff(np.append(starts, len(keys))))
    return turns


def _row_numbers(first: HeadlineSums, second: HeadlineSums) -> np.ndarray:
    """Return the row of the first run for each row of the second, negative where the first has no such sample."""
    rows = second.rows
    if first.rows is rows:
        return np.arange(len(rows.sample))
    number = {name: index for index, name in enumerate(first.rows.ids)}
    sample = np.array([number.get(name, -1) for name in rows.ids], dtype=np.int64)[rows.sample]
    start = np.searchsorted(first.rows.sample, sample)
    return np.where(sample >= 0, start + rows.candidate, -1 - np.arange(len(sample)))


def _of_same_units(couples: Sequence[Couple], clusters: np.ndarray, tests: int) -> list[Result]:
    """Return the differences of couples with the same units: sums of each reward once, then their differences.

    Credits are multiples of one half, so that these sums are exact.
    """
    if not couples or not len(couples[0][0].first):
        return [_result(first, second, None) for first, second in couples]
    model = couples[0][0]
    codes = np.searchsorted(clusters, _clusters(model))
    every = list({id(each): each for couple in couples for each in couple}.values())
    columns = {id(each): column for column, each in enumerate(every)}
    tops = np.stack([np.bincount(codes, weights=each.credit, minlength=len(clusters)) for each in every], axis=1)
    chosen = np.array([[columns[id(each)] for each in couple] for couple in couples])
    seed, weights = model.rows.seed, np.bincount(codes, minlength=len(clusters)).astype(np.float64)
    resamples = resamples_of(len(clusters))
    intervals = difference_intervals(tops, weights, chosen, seed=seed, resamples=resamples)
    ps = _tested(sign_flip_couples(tops, chosen, seed=seed, resamples=permutations(tests)) if tests else None, couples)
    totals = [exact_sum(each.credit) for each in every]
    values = [(totals[first] - totals[second]) / len(codes) for first, second in chosen.tolist()]
    plain = _result(model, model, 0.0)
    entered = distinct(len(model.rows.sample), model.first, model.second)
    unscored = {id(each): int(np.count_nonzero(~each.reward.ok[entered])) for each in every}
    return [
        replace(
            plain, reward=first.reward.scored.name, against=second.reward.scored.name, value=value, ci=ci, p=p,
            resamples=resamples, unscored=unscored[id(first)], signature=first.reward.scored.signature,
        )
        for (first, second), value, ci, p in zip(couples, values, intervals, ps, strict=True)
    ]  # fmt: skip


def _tested(ps: list[float] | None, couples: Sequence[Couple]) -> Sequence[float | None]:
    return [None] * len(couples) if ps is None else ps


def _accuracies(couples: Sequence[Couple], clusters: np.ndarray, tests: int) -> list[Result]:
    results: list[Result] = []
    step, resamples = max(1, CELLS // max(1, len(clusters))), resamples_of(len(clusters))
    for start in range(0, len(couples), step):
        block = couples[start : start + step]
        tops, bottoms = np.zeros((2, len(clusters), len(block)))
        for place, (first, second) in enumerate(block):
            codes = np.searchsorted(clusters, _clusters(first))
            gain = first.credit - second.credit
            tops[:, place] = np.bincount(codes, weights=gain, minlength=len(clusters))
            bottoms[:, place] = np.bincount(codes, minlength=len(clusters))
        seed = block[0][0].rows.seed
        intervals = ratio_intervals(tops, bottoms, seed=seed, resamples=resamples)
        ps = _tested(sign_flip_test(tops, seed=seed, resamples=permutations(tests)) if tests else None, block)
        for (first, second), ci, p in zip(block, intervals, ps, strict=True):
            value = mean(first.credit - second.credit)
            result = _result(first, second, value)
            results.append(result if value is None else replace(result, ci=ci, p=p, resamples=resamples))
    return results


def _areas(couples: Sequence[Couple]) -> list[Result]:
    columns = _resampled_areas(couples)
    results = []
    for first, second in couples:
        values, result = (first.value, second.value), _result(first, second, None)
        if values[0] is not None and values[1] is not None:
            left, right = columns.get(id(first)), columns.get(id(second))
            ci = None if left is None or right is None else percentile_interval(left - right)
            resamples = None if ci is None else rank_resamples(len(first.first))
            result = replace(result, value=values[0] - values[1], ci=ci, resamples=resamples, reason=None)
        results.append(result)
    return results


def _resampled_areas(couples: Sequence[Couple]) -> dict[int, np.ndarray]:
    """Return the area of each sums (by its identity) in each resample; those of the same texts share a pass."""
    groups: dict[bytes, list[HeadlineSums]] = {}
    for couple in couples:
        members = groups.setdefault(couple[0].first.tobytes(), [])
        members += [each for each in couple if not any(each is member for member in members)]
    columns: dict[int, np.ndarray] = {}
    for members in groups.values():
        statistics = [auroc_of(each.credit, each.good, each.ok) for each in members]
        first, resamples = members[0], rank_resamples(len(members[0].first))
        table = weighted_values(statistics, _clusters(first), seed=first.rows.seed, resamples=resamples)
        if table is not None:
            columns.update({id(each): column for each, column in zip(members, table.T, strict=True)})
    return columns


def _clusters(sums: HeadlineSums) -> np.ndarray:
    return np.asarray(sums.rows.cluster[sums.samples])


def _result(first: HeadlineSums, second: HeadlineSums, value: float | None) -> Result:
    rows, samples = first.rows, distinct(len(first.rows.ids), first.samples)
    entered = distinct(len(rows.sample), first.first, first.second)
    return Result(
        study="agree",
        metric=first.headline.metric,
        task=rows.task,
        kind=rows.kind,
        split=rows.split,
        reward=first.reward.scored.name,
        against=second.reward.scored.name,
        aspect=first.headline.aspect,
        level=first.headline.level,
        value=value,
        cluster="prompt" if len(distinct(len(rows.ids), rows.cluster[samples])) < len(samples) else None,
        n=len(samples),
        rows=len(entered),
        pairs=len(first.first) if first.headline.level == "pair" else None,
        unscored=int(np.count_nonzero(~first.reward.ok[entered])),
        reason="undefined on the units that both have" if value is None else None,
        signature=first.reward.scored.signature,
    )
