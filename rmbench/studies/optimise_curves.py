"""Over-optimisation: rewards and judges over the steps of a training and over best-of-n, and the fits to both."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rmbench.stats import scaling
from rmbench.stats.aggregate import crossed_values, run_weights
from rmbench.stats.resampling import RESAMPLES, percentile_interval
from rmbench.stats.ties import round12
from rmbench.studies.entries import Sheet
from rmbench.studies.figures import finite, read_lines
from rmbench.studies.optimise_means import JUDGE, OPTIMISED, SEEDS_AND_PROMPTS, Mean, about, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field

BEST_OF_N: scaling.Form = "best-of-n"
RL: scaling.Form = "rl"
DEV = "dev"  # the split that curves are measured on
OWN = ("kl", "entropy", "length", "distinct-2", "finished")  # numbers of a curve's row that no reward gives
LEAST_POINTS = 3
FEW_POINTS = f"fewer than {LEAST_POINTS} points at two distances from the start"

Lines = list[dict[str, Any]]


def curves(field: Field) -> list[Result]:
    """Return what each training told of itself on its dev prompts, by ``step`` and seed, and the fits to it.

    ``mean`` of the reward and of each judge, ``kl``, ``entropy``, ``length``, ``distinct-2``, ``finished``; then
    ``scaling-alpha``, ``scaling-beta`` and ``scaling-peak`` with aspect ``rl`` (Gao et al. 2022): least squares through
    all evaluations of all seeds, with the gain over step 0 at the root of the KL. Intervals resample seeds; with one
    seed, evaluations.
    """
    results: list[Result] = []
    for found in field.outputs.values():
        entry = found.entry
        if entry.trainer is None:
            continue
        lines = {seed: read_lines(entry.folder(field.run, seed) / "curve.jsonl") for seed in entry.seeds}
        told = {seed: its for seed, its in lines.items() if its}
        results += [row for seed, its in told.items() for line in its for row in _line(field, entry, seed, line)]
        moved = [its for its in told.values() if "n" not in its[0]]  # best-of-n: the pools are fitted
        if entry.reward and entry.policy and moved:
            results += _rl_fits(field, entry, moved)
    return results


def _values(entry: Entry, line: Mapping[str, Any]) -> dict[str, float | None]:
    """Return what a row of a curve says of rewards, by name: that of the optimised one first."""
    judges = line.get("judges")
    own = {entry.reward: finite(line.get("reward"))} if entry.reward else {}
    given = {str(name): finite(value) for name, value in judges.items()} if isinstance(judges, dict) else {}
    return {**own, **{name: value for name, value in given.items() if name not in own}}


def _line(field: Field, entry: Entry, seed: int | None, line: Mapping[str, Any]) -> Iterator[Result]:
    step = line.get("step")
    if not isinstance(step, int) or isinstance(step, bool):
        return
    for name, value in _values(entry, line).items():
        scored = field.rows.rewards.get(name)
        row = replace(about(field, entry, "mean", scored), reward=name, split=DEV)
        why = None if value is not None else "no row was scored"
        yield replace(row, seed=seed, step=step, value=value, reason=why)
    for metric in OWN:
        value = finite(line.get(metric))
        if value is not None:
            yield replace(about(field, entry, metric), split=DEV, seed=seed, step=step, value=value)


class Points(NamedTuple):
    """The evaluations of one seed: root of the KL to the start, and the gain over the first one, both (points,)."""

    distance: np.ndarray
    gained: np.ndarray


def _rl_fits(field: Field, entry: Entry, lines: Sequence[Lines]) -> Iterator[Result]:
    names = dict.fromkeys(name for its in lines for line in its for name in _values(entry, line))
    for name in names:
        scored = field.rows.rewards.get(name)
        runs = [points for its in lines if (points := _points(entry, its, name)) is not None]
        row = replace(about(field, entry, "", scored), reward=name, aspect=RL, split=DEV)
        total = sum(len(points.distance) for points in runs)
        fitted = _fit(runs) if total >= LEAST_POINTS else None
        if fitted is None:
            yield from _none(replace(row, n=total))
            continue
        drawn = np.array(list(_refits(runs, field.rows.seed)), dtype=np.float64).reshape(-1, 2)
        cluster = "seed" if len(runs) > 1 else "evaluation"
        yield from _numbers(replace(row, n=total, cluster=cluster), fitted, drawn, RL)


def _points(entry: Entry, lines: Lines, name: str) -> Points | None:
    known = []
    for line in lines:
        kl, value = finite(line.get("kl")), _values(entry, line).get(name)
        if kl is not None and value is not None:
            known.append((math.sqrt(max(0.0, kl)), value))
    begun = finite(lines[0].get("kl")) is not None and _values(entry, lines[0]).get(name) is not None
    if not begun or len(known) < 2:  # noqa: PLR2004 - the start, and what came of it
        return None
    table = np.array(known)
    return Points(table[1:, 0], table[1:, 1] - table[0, 1])


def _fit(runs: Sequence[Points], weights: Sequence[np.ndarray] | None = None) -> scaling.Fit | None:
    distance, gained = (np.concatenate(side) for side in zip(*runs, strict=True))
    return scaling.fit(RL, distance, gained, None if weights is None else np.concatenate(weights))


def _refits(runs: Sequence[Points], seed: int) -> Iterator[scaling.Fit]:
    """Yield the fit of every resample that has one: of seeds, or of the evaluations of the only one."""
    if len(runs) == 1:
        held = [[row] for row in run_weights(len(runs[0].distance), seed=seed, resamples=RESAMPLES)]
        times = np.ones(len(held), dtype=np.int64)
    else:
        every = run_weights(len(runs), seed=seed, resamples=RESAMPLES)
        distinct, times = np.unique(every, axis=0, return_counts=True)
        sizes = [len(points.distance) for points in runs]
        held = [[np.full(size, weight) for size, weight in zip(sizes, row, strict=True)] for row in distinct]
    for weights, count in zip(held, times.tolist(), strict=True):
        found = _fit(runs, weights)
        if found is not None:
            yield from (found for _ in range(count))


def _none(row: Result, reason: str = FEW_POINTS) -> Iterator[Result]:
    for metric in ("scaling-alpha", "scaling-beta"):
        yield replace(row, metric=metric, reason=reason)


def _numbers(row: Result, fitted: scaling.Fit, drawn: np.ndarray, form: scaling.Form) -> Iterator[Result]:
    """Yield alpha and beta with their intervals, and the root of the KL where the form is greatest."""
    for at, metric in enumerate(("scaling-alpha", "scaling-beta")):
        ci = percentile_interval(drawn[:, at]) if len(drawn) else None
        yield replace(row, metric=metric, value=fitted[at], ci=ci, resamples=None if ci is None else RESAMPLES)
    peak = scaling.turning_point(form, fitted)
    if peak is not None and math.isfinite(peak):
        yield replace(row, metric="scaling-peak", value=peak)


def pools(field: Field) -> list[Result]:
    """Return best-of-n of each entry that left pools of responses, by ``step`` = n = 1, 2, 4, ... and reward.

    The expected score, without bias, of the response that the choosing reward prefers among n of the pool, averaged
    over prompts; prompts with a response that either reward could not score are left out (``skipped``). Then
    ``best-of-n-kl`` and the fits with aspect ``best-of-n``, whose intervals resample seeds and prompts.
    """
    results: list[Result] = []
    for found in field.outputs.values():
        entry = found.entry
        pooled = {seed: read_lines(entry.folder(field.run, seed) / "pool.jsonl") for seed in entry.seeds}
        pooled = {seed: lines for seed, lines in pooled.items() if lines}
        if pooled and entry.chooser:
            results += _pools(field, entry, pooled)
    return results


def _pools(field: Field, entry: Entry, pooled: Mapping[int | None, Lines]) -> Iterator[Result]:
    proxy = entry.chooser or ""
    first = next(iter(pooled.values()))[0].get("scores", {})
    size = max((len(its) for lines in pooled.values() for line in lines for its in line.get("scores", {}).values()),
               default=0)  # fmt: skip
    ns = [2**power for power in range(size.bit_length())] if size else []
    if not ns or proxy not in first:
        return
    for n in ns:
        yield replace(about(field, entry, "best-of-n-kl"), step=n, value=scaling.best_of_n_kl(n))
    for name in dict.fromkeys((proxy, *first)):
        scored = field.rows.rewards.get(name)
        row = replace(about(field, entry, BEST_OF_N, scored), reward=name, aspect=OPTIMISED if name == proxy else JUDGE)
        sheets = _sheets(field, pooled, (proxy, name), ns, size)
        lost = tuple(len(lines) - int(ok.sum()) for lines, ok in zip(pooled.values(), sheets[0].ok, strict=True))
        seeds = tuple(pooled)
        means = [Mean(replace(row, step=n), seeds, sheet, skipped=lost) for n, sheet in zip(ns, sheets, strict=True)]
        yield from numbers(field, means)
        yield from _pool_fit(field, replace(row, aspect=BEST_OF_N), ns, sheets)


def _sheets(
    field: Field, pooled: Mapping[int | None, Lines], names: tuple[str, str], ns: Sequence[int], size: int
) -> list[Sheet]:
    """Return the expected score by the second reward of the best by the first, one sheet (seeds, m) for each n."""
    at = {name: index for index, name in enumerate(field.rows.ids)}
    values = np.zeros((len(ns), len(pooled), len(field.rows.ids)))
    ok = np.zeros(values.shape[1:], dtype=bool)
    for row, lines in enumerate(pooled.values()):
        pairs = [(line["id"], _pair(line, names, size)) for line in lines if line.get("id") in at]
        kept = [(at[name], *pair) for name, pair in pairs if pair is not None]
        if kept:
            places, proxy, gold = zip(*kept, strict=True)
            values[:, row, list(places)] = scaling.best_of_n(round12(np.array(proxy)), np.array(gold), ns)
            ok[row, list(places)] = True
    return [Sheet(its, ok) for its in values]


def _pair(line: Mapping[str, Any], names: tuple[str, str], size: int) -> np.ndarray | None:
    """Return the scores of a pool by two rewards, float64 (2, size), None where one is missing."""
    given = line.get("scores")
    try:
        sides = np.array([given[name] for name in names] if isinstance(given, dict) else [], dtype=np.float64)
    except (KeyError, TypeError, ValueError, OverflowError):  # no such reward, or no list of numbers
        return None
    return sides if sides.shape == (2, size) and np.isfinite(sides).all() else None  # null is read as NaN


def _pool_fit(field: Field, row: Result, ns: Sequence[int], sheets: Sequence[Sheet]) -> Iterator[Result]:
    distance = np.sqrt([scaling.best_of_n_kl(n) for n in ns])
    ok = sheets[0].ok
    if len(ns) < LEAST_POINTS or not ok.any():
        yield from _none(replace(row, n=len(ns)))
        return
    gained = np.array([(sheet.values - sheets[0].values)[ok].mean() for sheet in sheets])
    fitted = scaling.fit(BEST_OF_N, distance, gained)
    if fitted is None:
        yield from _none(replace(row, n=len(ns)))
        return
    tops = [_by_cluster(field, sheet.values - sheets[0].values) for sheet in sheets]
    bottoms = [_by_cluster(field, ok.astype(np.float64))] * len(sheets)
    held = [run_weights(len(ok), seed=field.rows.seed, resamples=RESAMPLES)] * len(sheets)
    drawn = np.stack(crossed_values(tops, bottoms, held, seed=field.rows.seed), axis=1)
    drawn = drawn[np.isfinite(drawn).all(axis=1)] @ np.linalg.pinv(scaling.features(BEST_OF_N, distance)).T
    cluster = SEEDS_AND_PROMPTS if len(ok) > 1 else None
    yield from _numbers(replace(row, n=len(ns), cluster=cluster), fitted, drawn, BEST_OF_N)


def _by_cluster(field: Field, values: np.ndarray) -> np.ndarray:
    return np.array([np.bincount(field.codes, weights=row, minlength=field.size) for row in values])
