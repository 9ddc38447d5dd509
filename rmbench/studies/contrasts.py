"""Paired differences between systems under a reward, with intervals and tests over the prompts."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.stats.resampling import holm, permutations, resamples_of, sign_flip_test
from rmbench.stats.ties import round12
from rmbench.studies.clusters import (
    CELLS,
    blocked_intervals,
    blocks,
    cluster_codes,
    cluster_sums,
    exact_mean,
    incomplete,
    shared_prompts,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Column
    from rmbench.studies.rows import Rows, Scored

MOST_SYSTEMS = 20


@dataclass(frozen=True, slots=True)
class Contrast:
    """Two systems under one reward.

    Attributes:
        scored: the reward.
        system, against: the names.
        members: rows of the two systems; ``unscored`` of them have no score.
        entered: those that have one and stand in a sample where both systems do.
        samples: those samples; ``differences`` of their (mean) scores, of the same shape.
    """

    scored: Scored
    system: str
    against: str
    members: int
    unscored: int
    entered: int
    samples: np.ndarray
    differences: np.ndarray


@dataclass(frozen=True, slots=True)
class Answers:
    """What one system got: ``samples`` with a score, the mean score in each (12 digits), and scored rows in each.

    ``mean`` is over its scored rows, ``members`` counts all its rows, ``unscored`` those without a score.
    """

    samples: np.ndarray
    means: np.ndarray
    counts: np.ndarray
    mean: float | None
    members: int
    unscored: int


def _answers(rows: Rows, column: Column, system: int) -> Answers:
    mine = rows.system == system
    found = np.flatnonzero(mine & column.ok)
    values = column.values[found]
    samples, starts, counts = np.unique(rows.sample[found], return_index=True, return_counts=True)
    means = values[starts]
    for place in np.flatnonzero(counts > 1).tolist():  # a system that occurs twice in a sample: the mean of its rows
        means[place] = math.fsum(values[starts[place] : starts[place] + counts[place]].tolist()) / counts[place]
    members = int(np.count_nonzero(mine))
    return Answers(samples, round12(means), counts, exact_mean(values), members, members - len(found))


def _contrasts(rows: Rows, scored: Scored, column: Column) -> Iterator[Contrast]:
    """Yield the pairs of systems of a task under a reward, with the differences of their scores.

    Scores are rounded to 12 significant digits before they are subtracted: equal on paper gives exactly zero.
    """
    answers = [_answers(rows, column, system) for system in range(len(rows.systems))]
    for first, second in _pairs(answers):
        one, other = answers[first], answers[second]
        samples, left, right = np.intersect1d(one.samples, other.samples, assume_unique=True, return_indices=True)
        yield Contrast(
            scored,
            rows.systems[first],
            rows.systems[second],
            one.members + other.members,
            one.unscored + other.unscored,
            int(one.counts[left].sum() + other.counts[right].sum()),
            samples,
            one.means[left] - other.means[right],
        )


def _pairs(answers: Sequence[Answers]) -> list[tuple[int, int]]:
    """Return all pairs of systems in order; above 20 systems, each with the one of the greatest mean (the first)."""
    if len(answers) <= MOST_SYSTEMS:
        return list(combinations(range(len(answers)), 2))
    means = [(index, float(round12(each.mean))) for index, each in enumerate(answers) if each.mean is not None]
    if not means:
        return []
    best = max(means, key=lambda pair: (pair[1], -pair[0]))[0]
    return [(index, best) for index in range(len(answers)) if index != best]


def differences(rows: Rows, rewards: Sequence[tuple[Scored, Column]]) -> list[Result]:
    """Return ``mean-difference`` of the pairs of systems: mean over the samples in which both have a score.

    The interval is a cluster bootstrap, p a two-sided sign-flip test over the same prompts, corrected by Holm (1979)
    over the m pairs of a reward on this task that have common samples, each with max(10,000, 100 m) permutations.
    """
    systems = len(rows.systems)
    pairs = math.comb(systems, 2) if systems <= MOST_SYSTEMS else systems
    step = max(1, CELLS // max(1, pairs * cluster_codes(rows)[1]))
    results = []
    for start in range(0, len(rewards), step):  # rewards together see the same draws, some at a time fit in memory
        results += _differences(rows, [list(_contrasts(rows, *each)) for each in rewards[start : start + step]])
    return results


def _differences(rows: Rows, families: Sequence[list[Contrast]]) -> list[Result]:
    contrasts = [contrast for family in families for contrast in family]
    codes, size = cluster_codes(rows)
    sums = (cluster_sums(codes[c.samples], c.differences, size) for c in contrasts)
    counts = (cluster_sums(codes[c.samples], np.ones(len(c.samples)), size) for c in contrasts)
    resamples = resamples_of(size)
    intervals = blocked_intervals(zip(sums, counts, strict=True), size, seed=rows.seed, resamples=resamples)
    tests: dict[int, tuple[float, float]] = {}
    ps = _tests(rows, families)
    for family in families:
        tested = [contrast for contrast in family if len(contrast.samples)]
        corrected = holm([ps[id(contrast)] for contrast in tested])
        tests.update({id(c): (ps[id(c)], each) for c, each in zip(tested, corrected, strict=True)})
    return [
        replace(
            _result(rows, contrast, tests.get(id(contrast), (None, None))),
            ci=ci,
            resamples=resamples if len(contrast.samples) else None,
        )
        for contrast, ci in zip(contrasts, intervals, strict=True)
    ]


def _tests(rows: Rows, families: Sequence[list[Contrast]]) -> dict[int, float]:
    """Return the p-value of each contrast with common samples, by its identity; families of one size share a pass."""
    codes, size = cluster_codes(rows)
    groups: dict[int, list[Contrast]] = {}
    for family in families:
        tested = [contrast for contrast in family if len(contrast.samples)]
        groups.setdefault(permutations(len(tested)), []).extend(tested)
    found: dict[int, float] = {}
    for times, contrasts in groups.items():
        sums = (cluster_sums(codes[c.samples], c.differences, size) for c in contrasts)
        blocked = (np.stack(block, axis=1) for block in blocks(sums, size))
        ps = [p for matrix in blocked for p in sign_flip_test(matrix, seed=rows.seed, resamples=times)]
        found.update(zip(map(id, contrasts), ps, strict=True))
    return found


def _result(rows: Rows, contrast: Contrast, tests: tuple[float | None, float | None]) -> Result:
    value = exact_mean(contrast.differences)
    return Result(
        study="score",
        metric="mean-difference",
        task=rows.task,
        kind=rows.kind,
        split=rows.split,
        reward=contrast.scored.name,
        system=contrast.system,
        against=contrast.against,
        level="system",
        value=value,
        p=tests[0],
        p_holm=tests[1],
        cluster=shared_prompts(rows, contrast.samples),
        n=len(contrast.samples),
        rows=contrast.entered,
        unscored=contrast.unscored,
        reason="no common samples" if value is None else incomplete(contrast.unscored, contrast.members),
        signature=contrast.scored.signature,
    )
