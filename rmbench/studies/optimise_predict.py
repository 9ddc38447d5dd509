"""Does agreement with people predict what training on a reward brings? Over the rewards that a suite did both with."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.stats.correlation import kendall_rows, spearman_rows
from rmbench.stats.resampling import RESAMPLES, percentile_interval
from rmbench.stats.ties import round12
from rmbench.studies.calibration import METRICS as CALIBRATION
from rmbench.studies.clusters import exact_mean
from rmbench.studies.optimise_means import OPTIMISE
from rmbench.studies.optimise_shared import JUDGED, OWN, SHARED

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

PREDICTION = "predicts-gain:"  # then the coefficient
COEFFICIENTS = {"spearman": spearman_rows, "kendall": kendall_rows}
LEAST = 3
NO_MEASURE = (*CALIBRATION, "acc-eq-threshold", "threshold", "margin-over-null")
Training = tuple["str | None", "str | None", "str | None"]  # task, start, trainer


def predictions(results: Sequence[Result], *, seed: int) -> list[Result]:
    """Return the rank correlation, over rewards, of each agreement metric and the judged gain after training.

    Metrics ``predicts-gain:spearman`` and ``predicts-gain:kendall``; ``task`` is that of the labels, ``probe`` the
    agreement metric with its ``aspect`` and ``level``, ``against`` the task trained on, with ``policy`` and
    ``trainer`` (None: mean over the trainers, of the rewards that all of these were tried on); ``n`` counts rewards.
    The gain is that by shared judges where there are any, else by each reward's own. Intervals resample rewards; below
    three rewards there is no number.
    """
    gains = _gains(results)
    found: list[Result] = []
    for place, values in _agreements(results).items():
        for training, by_reward in gains.items():
            names = sorted(set(values) & set(by_reward))
            if names:
                found += _correlations(place, training, [(values[n], by_reward[n]) for n in names], seed)
    return found


Place = tuple["str | None", "str | None", "str | None", str, "str | None", "str | None"]


def _agreements(results: Sequence[Result]) -> dict[Place, dict[str, float]]:
    """Return the value of each reward by (task, kind, split, metric, aspect, level)."""
    found: dict[Place, dict[str, float]] = {}
    for row in results:
        whole = row.study == "agree" and row.reward and row.against is None and row.subset is None
        if whole and row.value is not None and row.metric not in NO_MEASURE and row.system is None:
            place = (row.task, row.kind, row.split, row.metric, row.aspect, row.level)
            found.setdefault(place, {}).setdefault(row.reward or "", row.value)
    return found


def _gains(results: Sequence[Result]) -> dict[Training, dict[str, float]]:
    """Return the judged gain of each reward by training; of several trainings of one kind their mean.

    Over trainers (None) stand the rewards that each of them was tried on: else a reward would be told from another by
    who trained on it. A mean of trainers counts each of them once.
    """
    rows = [
        row
        for row in results
        if (row.study, row.metric, row.seed) == (OPTIMISE, JUDGED, None) and row.policy == row.against
    ]
    shared = {(row.task, row.policy) for row in rows if row.aspect == SHARED and row.value is not None}
    every: dict[Training, dict[str, list[float]]] = {}
    trained = {row.system: row.reward for row in results if row.study == OPTIMISE and row.metric == "hacked"}
    for row in rows:
        wanted = SHARED if (row.task, row.policy) in shared else OWN
        if row.aspect == wanted and row.value is not None and trained.get(row.system) == row.reward:
            its = every.setdefault((row.task, row.policy, row.trainer), {})
            its.setdefault(row.reward or "", []).append(row.value)
    means = {place: {name: _mean(values) for name, values in its.items()} for place, its in every.items()}
    return means | _over_trainers(means)


def _over_trainers(means: Mapping[Training, Mapping[str, float]]) -> dict[Training, dict[str, float]]:
    found: dict[Training, dict[str, float]] = {}
    for task, start in dict.fromkeys(place[:2] for place in means):
        of = [its for place, its in means.items() if place[:2] == (task, start)]
        if len(of) > 1:
            names = [name for name in of[0] if all(name in its for its in of)]
            found[task, start, None] = {name: _mean([its[name] for its in of]) for name in names}
    return found


def _mean(values: Sequence[float]) -> float:
    return exact_mean(np.array(values)) or 0.0


def _correlations(
    place: Place, training: Training, pairs: Sequence[tuple[float, float]], seed: int
) -> Iterator[Result]:
    task, kind, split, metric, aspect, level = place
    x, y = (round12(side) for side in zip(*pairs, strict=True))
    few = f"fewer than {LEAST} rewards ran both studies" if len(pairs) < LEAST else None
    drawn = np.random.default_rng(seed).integers(0, len(pairs), size=(RESAMPLES, len(pairs)))
    for name, coefficient in COEFFICIENTS.items():
        whole, resampled = coefficient(x[None, :], y[None, :]), coefficient(x[drawn], y[drawn])
        value = float(whole.values[0]) if whole.defined[0] and not few else None
        ci = None if value is None else percentile_interval(resampled.values[resampled.defined])
        yield Result(
            study=OPTIMISE, metric=f"{PREDICTION}{name}", task=task, kind=kind, split=split, against=training[0],
            policy=training[1], trainer=training[2], probe=metric, aspect=aspect, level=level, value=value, ci=ci,
            resamples=None if ci is None else RESAMPLES, cluster="reward", n=len(pairs),
            reason=few or (None if value is not None else "all values of one side are the same"),
        )  # fmt: skip
