"""Means over the test outputs of policies: of each seed, over seeds, and their middle half, with intervals."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from rmbench.api import Result
from rmbench.stats.aggregate import crossed_intervals, interquartile_interval, interquartile_mean
from rmbench.stats.resampling import RESAMPLES
from rmbench.studies.clusters import blocked_intervals, cluster_codes, exact_mean, incomplete, shared_prompts
from rmbench.studies.entries import Sheet, less, scores

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rmbench.stats.resampling import Interval
    from rmbench.studies.entries import Entry, Outputs
    from rmbench.studies.rows import Rows, Scored

OPTIMISE = "optimise"
OPTIMISED, JUDGE = "optimised", "judge"  # the aspect of a reward's number: it was what the policy is trained on, or not
SEEDS_AND_PROMPTS = "seed and prompt"
NO_OUTPUT = "its training gave no outputs"


@dataclass(frozen=True, slots=True)
class Field:
    """One task of a run with the policies that answered it.

    Attributes:
        run: the run folder.
        rows: the task.
        outputs: of each entry by name, in the order of the manifest.
        codes: cluster of each sample, int64 (m,), from 0 without gaps; ``size`` of them.
    """

    run: Path
    rows: Rows
    outputs: dict[str, Outputs]
    codes: np.ndarray
    size: int


def field_of(run: Path, rows: Rows, outputs: Sequence[Outputs]) -> Field:
    """Return the field of these outputs."""
    codes, size = cluster_codes(rows)
    return Field(run, rows, {one.entry.name: one for one in outputs}, codes, size)


def about(field: Field, entry: Entry, metric: str, scored: Scored | None = None) -> Result:
    """Return a row of the study without its number."""
    own = f"{entry.signature}|{field.rows.label}"
    words = (own,) if scored is None else (entry.signature, scored.signature)
    aspect = None if scored is None else OPTIMISED if scored.name == entry.reward else JUDGE
    return Result(
        study=OPTIMISE, metric=metric, task=field.rows.task, kind=field.rows.kind, split=field.rows.split,
        reward=scored.name if scored else None, aspect=aspect, system=entry.name, policy=entry.policy,
        trainer=entry.trainer, signature="|".join(words),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Mean:
    """A mean to take.

    Attributes:
        row: what it is of, without seed and number.
        seeds: of the rows of ``sheet``.
        sheet: the numbers.
        missing: seeds of the entry without outputs.
        middle: name of the interquartile mean over seeds and prompts; None: it is not wanted.
        unscored: texts of each seed without a score; None where nothing scores.
        skipped: texts of each seed that have no counterpart.
        reason: why there can be no number at all.
        failure: why the missing seeds have no outputs, None where nothing is known of that.
    """

    row: Result
    seeds: tuple[int | None, ...]
    sheet: Sheet
    missing: tuple[int | None, ...] = ()
    middle: str | None = None
    unscored: tuple[int, ...] | None = None
    skipped: tuple[int, ...] | None = None
    reason: str | None = None
    failure: str | None = None


def mean_of(field: Field, entry: Entry, metric: str, sheet: Sheet, *, middle: str | None = None) -> Mean:
    """Return the mean of a number that each output has of itself."""
    found = field.outputs[entry.name]
    why = None if found.seeds else entry.failure
    return Mean(
        about(field, entry, metric), found.seeds, sheet, missing=found.missing, middle=middle, reason=why,
        failure=entry.failure,
    )  # fmt: skip


def reward_mean(field: Field, entry: Entry, scored: Scored) -> Mean:
    """Return the mean of a reward over the outputs of an entry."""
    found = field.outputs[entry.name]
    sheet = scores(scored, found.place)
    missed = (found.place >= 0) & ~sheet.ok
    return Mean(
        about(field, entry, "mean", scored), found.seeds, sheet, missing=found.missing, middle="interquartile-mean",
        unscored=tuple(missed.sum(axis=1).tolist()), reason=_why(field, entry, scored),
        failure=entry.failure,
    )  # fmt: skip


def gain(field: Field, entry: Entry, scored: Scored, start: np.ndarray) -> Mean:
    """Return the mean of a reward on an entry's outputs less that on the rows of a start for the same prompts.

    Args:
        field: the task.
        entry: whose outputs.
        scored: the reward.
        start: rows of the start for each seed of the outputs, int64 (seeds, m).
    """
    found = field.outputs[entry.name]
    sheet = less(scores(scored, found.place), scores(scored, start))
    answered = found.place >= 0
    alone = answered & (start < 0)
    return Mean(
        about(field, entry, "gain", scored), found.seeds, sheet, missing=found.missing, middle="interquartile-gain",
        unscored=tuple((answered & ~alone & ~sheet.ok).sum(axis=1).tolist()),
        skipped=tuple(alone.sum(axis=1).tolist()), reason=_why(field, entry, scored),
        failure=entry.failure,
    )  # fmt: skip


def _why(field: Field, entry: Entry, scored: Scored) -> str | None:
    """Return why there can be no number."""
    if not field.outputs[entry.name].seeds:
        return entry.failure or NO_OUTPUT
    return (scored.reason or "it was not scored") if scored.column is None else None


def numbers(field: Field, wanted: Sequence[Mean]) -> list[Result]:
    """Return the results of each mean: one per seed, one over seeds, and its interquartile mean.

    A seed's interval resamples prompts. That over several seeds resamples seeds and prompts, crossed: whole seeds are
    drawn with replacement, and prompts, the same ones for all of these seeds (see ``stats.aggregate``).
    """
    sums = [_sums(field, mean.sheet) for mean in wanted]
    columns = ((top[at], bottom[at]) for top, bottom in sums for at in range(len(top)))
    each = iter(blocked_intervals(columns, field.size, seed=field.rows.seed, resamples=RESAMPLES))
    kept = [at for at, (top, _) in enumerate(sums) if len(top)]
    tops, bottoms = ([sums[at][side] for at in kept] for side in (0, 1))
    whole = dict(zip(kept, crossed_intervals(tops, bottoms, seed=field.rows.seed, resamples=RESAMPLES), strict=True))
    results: list[Result] = []
    for at, mean in enumerate(wanted):
        intervals = [next(each) for _ in range(len(mean.sheet.values))]
        results += [*_of_seeds(field, mean, intervals), _over_seeds(field, mean, whole.get(at))]
        results += [_middle(field, mean)] if mean.middle else []
    return results


def _sums(field: Field, sheet: Sheet) -> tuple[np.ndarray, np.ndarray]:
    """Return the sums and the counts of each seed and cluster, both float64 (seeds, size)."""
    tables = []
    for values in (sheet.values, sheet.ok.astype(np.float64)):
        rows = [np.bincount(field.codes, weights=row, minlength=field.size) for row in values]
        tables.append(np.array(rows).reshape(len(values), field.size))
    return tables[0], tables[1]


def _of_seeds(field: Field, mean: Mean, intervals: Sequence[Interval | None]) -> list[Result]:
    results = [
        _filled(field, replace(mean, sheet=Sheet(mean.sheet.values[at : at + 1], mean.sheet.ok[at : at + 1])), ci, at)
        for at, ci in enumerate(intervals)
        if mean.seeds[at] is not None
    ]
    why = mean.reason or mean.failure or NO_OUTPUT
    gone = (replace(mean.row, seed=seed, reason=why) for seed in mean.missing if seed is not None)
    return [*results, *gone]


def _filled(field: Field, mean: Mean, ci: Interval | None, at: int | None) -> Result:
    """Return the result of the sheet: of the seed at this place, or over all (None)."""
    ok = mean.sheet.ok
    samples = np.flatnonzero(ok.any(axis=0))
    unscored, skipped = (
        None if its is None else its[at] if at is not None else sum(its) for its in (mean.unscored, mean.skipped)
    )
    value = exact_mean(mean.sheet.values[ok]) if mean.reason is None else None
    nothing = "no row was scored" if mean.row.reward else "no output has this number"
    several = at is None and len(ok) > 1
    return replace(
        mean.row, seed=None if at is None else mean.seeds[at], value=value, ci=None if value is None else ci,
        resamples=None if ci is None or value is None else RESAMPLES,
        cluster=SEEDS_AND_PROMPTS if several else shared_prompts(field.rows, samples),
        n=len(samples), rows=int(ok.sum()), unscored=unscored, skipped=skipped,
        reason=mean.reason or (nothing if value is None else incomplete(unscored, int(ok.sum()) + (unscored or 0))),
    )  # fmt: skip


def _over_seeds(field: Field, mean: Mean, ci: Interval | None) -> Result:
    return without(_filled(field, mean, ci, None), mean.missing)


def without(result: Result, missing: Sequence[int | None]) -> Result:
    """Return a number over seeds with what it lacks in words."""
    gone = [str(seed) for seed in missing if seed is not None]
    if result.value is None or not gone:
        return result
    lost = f"no outputs of seed {', '.join(gone)}"
    return replace(result, reason="; ".join(word for word in (result.reason, lost) if word))


def _middle(field: Field, mean: Mean) -> Result:
    """Return the interquartile mean over all seeds and prompts (Agarwal et al. 2021)."""
    found = replace(_over_seeds(field, mean, None), metric=mean.middle or "")
    if found.value is None:
        return found
    sheet = mean.sheet
    ci = interquartile_interval(sheet.values, sheet.ok, field.codes, seed=field.rows.seed, resamples=RESAMPLES)
    value = interquartile_mean(sheet.values[sheet.ok])
    return replace(found, value=value, ci=ci, resamples=None if ci is None else RESAMPLES)
