"""The optimise study: what training on a reward did to a policy, judged by rewards that were not optimised.

Every number is of the outputs on the test split: of each seed, and over seeds (seed None). A gain is paired: the output
of a trained policy less that of its start, of the same seed and prompt; positive is better.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.stats.aggregate import crossed_intervals, pair_weights, probability_of_improvement
from rmbench.stats.resampling import RESAMPLES
from rmbench.stats.ties import round12
from rmbench.studies.clusters import exact_mean
from rmbench.studies.entries import Sheet, beside, entries, outputs, scores
from rmbench.studies.optimise_curves import curves, pools
from rmbench.studies.optimise_hacked import hacked
from rmbench.studies.optimise_judges import independence
from rmbench.studies.optimise_means import (
    SEEDS_AND_PROMPTS,
    about,
    field_of,
    gain,
    numbers,
    reward_mean,
)
from rmbench.studies.optimise_shared import judged_gains
from rmbench.studies.optimise_texts import texts
from rmbench.studies.optimise_toy import toy

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rmbench.api import Result
    from rmbench.stats.resampling import Interval
    from rmbench.store import RunFolder
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field, Mean
    from rmbench.studies.rows import Rows, Scored


def optimise(run: RunFolder, manifest: Mapping[str, Any], rows: Rows) -> list[Result]:
    """Return the numbers of the policies of one task, none where the suite has none there.

    For every entry and its optimised reward (aspect ``optimised``) and judges (aspect ``judge``): ``mean`` and, where
    it has a start, ``gain``, of each seed and over seeds, where also ``interquartile-mean`` and ``interquartile-gain``
    (Agarwal et al. 2021) and ``probability-of-improvement`` over the start and over supervised-only entries
    (``against``); ``judged-gain``, ``hacked`` and
    ``independent-judges``. Without a reward: ``kl``, ``length``, ``distinct-2``, ``finished``,
    ``bleu``, ``chrf``, ``rouge-1/2/l``. From the training: curves by ``step``, ``best-of-n`` and scaling fits.
    """
    field = field_of(run.path, rows, [outputs(rows, entry) for entry in entries(manifest, rows.task)])
    if not field.outputs:
        return []
    rewarded = numbers(field, [*_means(field), *_gains(field)])
    return [
        *rewarded,
        *_improvements(field),
        *judged_gains(field),
        *hacked(field, rewarded),
        *independence(field, manifest),
        *texts(field),
        *curves(field),
        *pools(field),
        *toy(field),
    ]


def measured(field: Field, entry: Entry) -> list[Scored]:
    """Return the rewards that an entry is told of: the optimised one, then its judges."""
    names = dict.fromkeys((*([entry.reward] if entry.reward else []), *entry.judges))
    return [field.rows.rewards[name] for name in names if name in field.rows.rewards]


def _every(field: Field) -> Iterator[Entry]:
    return (found.entry for found in field.outputs.values())


def _means(field: Field) -> Iterator[Mean]:
    for entry in _every(field):
        yield from (reward_mean(field, entry, scored) for scored in measured(field, entry))


def _gains(field: Field) -> Iterator[Mean]:
    """Yield the gains over the start of each entry, and those of the other entries over what rewards started from."""
    for entry in _every(field):
        start = field.outputs.get(entry.policy or "")
        if start:
            place = beside(start, field.outputs[entry.name].seeds)
            yield from (gain(field, entry, scored, place) for scored in measured(field, entry))
    for name in dict.fromkeys(entry.policy for entry in _every(field) if entry.reward and entry.policy):
        for entry in _every(field):
            if name in field.outputs and not entry.reward and name not in (entry.name, entry.policy):
                place = beside(field.outputs[name], field.outputs[entry.name].seeds)
                for scored in measured(field, entry):
                    made = gain(field, entry, scored, place)
                    yield replace(made, row=replace(made.row, against=name))


@dataclass(frozen=True, slots=True)
class Contest:
    """The texts of two entries, held against each other by one reward; ``wins`` as ``probability_of_improvement``."""

    row: Result
    wins: np.ndarray
    known: np.ndarray
    together: bool


def _improvements(field: Field) -> list[Result]:
    """Return the probability that a text of an entry is better than one of another for the same prompt.

    Averaged over all pairs of their seeds and then prompts; intervals resample seeds (jointly where both have the same
    ones) and prompts.
    """
    contests = [contest for entry in _every(field) for contest in _contests(field, entry)]
    tops: list[np.ndarray] = []
    bottoms: list[np.ndarray] = []
    weights: list[np.ndarray] = []
    for one in contests:
        runs, others, _ = one.wins.shape
        flat = [np.reshape(values, (runs * others, -1)) for values in (one.wins * one.known, one.known)]
        for side, values in zip((tops, bottoms), flat, strict=True):
            side.append(np.array([np.bincount(field.codes, weights=row, minlength=field.size) for row in values]))
        together, seed = one.together, field.rows.seed
        weights.append(pair_weights(runs, others, together=together, seed=seed, resamples=RESAMPLES))
    intervals = crossed_intervals(tops, bottoms, weights, seed=field.rows.seed, resamples=RESAMPLES)
    return [_contest(one, ci) for one, ci in zip(contests, intervals, strict=True)]


def _contest(one: Contest, ci: Interval | None) -> Result:
    value = exact_mean(one.wins[one.known])
    several = max(one.wins.shape[:2]) > 1
    return replace(
        one.row, value=value, ci=None if value is None else ci, resamples=None if ci is None else RESAMPLES,
        cluster=SEEDS_AND_PROMPTS if several else None, n=int(one.known.any(axis=(0, 1)).sum()),
        pairs=int(one.known.sum()), reason=None if value is not None else "no prompt has a score on both sides",
    )  # fmt: skip


def _contests(field: Field, entry: Entry) -> Iterator[Contest]:
    own = field.outputs[entry.name]
    rivals = [one.name for one in _every(field) if one.supervised and entry.reward]
    for name in dict.fromkeys(([entry.policy] if entry.policy else []) + rivals):
        other = field.outputs.get(name)
        if other is None or name == entry.name or not own.seeds or not other.seeds:
            continue
        for scored in measured(field, entry):
            if scored.column is not None:
                left, right = scores(scored, own.place), scores(scored, other.place)
                row = replace(about(field, entry, "probability-of-improvement", scored), against=name)
                yield _held(row, left, right, together=own.seeds == other.seeds)


def _held(row: Result, left: Sheet, right: Sheet, *, together: bool) -> Contest:
    known = left.ok[:, None, :] & right.ok[None, :, :]
    return Contest(row, probability_of_improvement(round12(left.values), round12(right.values)), known, together)
