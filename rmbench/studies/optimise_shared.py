"""One number for what judges say of a training: the gain in their own standard deviations, averaged over judges.

A gain of 0.5 says that a text of the trained policy lies half a standard deviation of the start's texts higher, by the
mean of the judges. Rewards have scales of their own, so that nothing else of them can be averaged. Where the start's
texts are all the same to a judge, the standard deviation is that over all texts of the task.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.ties import round12
from rmbench.studies.entries import Sheet, beside, less, scores
from rmbench.studies.optimise_judges import is_same
from rmbench.studies.optimise_means import NO_OUTPUT, Mean, about, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Result
    from rmbench.studies.entries import Entry, Outputs
    from rmbench.studies.optimise_means import Field

JUDGED = "judged-gain"
OWN, SHARED = "judges", "shared judges"
NO_JUDGE = "no judge"
NO_SHARED = "no judge that every entry of this start has, and that none of them optimises"


def judged_gains(field: Field) -> list[Result]:
    """Return ``judged-gain`` of each entry with a reward, and of the entries without one beside it.

    Aspect ``judges``: by the judges that all entries of the same start and reward have, so that trainers can be
    compared (by its own where they have none in common); aspect ``shared judges``: by those of all entries with the
    same start that none of these optimises, so that rewards can be compared. A judge that is an optimised reward under
    another name has no say. ``against`` names the start. Entries without a reward (supervised only, or not trained)
    have a row for each reward of that start, by the same judges.
    """
    return numbers(field, list(_means(field)))


def _means(field: Field) -> Iterator[Mean]:
    every = [found.entry for found in field.outputs.values()]
    starts = dict.fromkeys(entry.policy for entry in every if entry.reward and entry.policy in field.outputs)
    for start in starts:
        rewarded = [entry for entry in every if entry.reward and entry.policy == start]
        others = [entry for entry in every if not entry.reward and entry.name != start]
        shared = shared_judges(field, rewarded)
        for reward in dict.fromkeys(entry.reward or "" for entry in rewarded):
            own = [entry for entry in rewarded if entry.reward == reward]
            judges = shared_judges(field, own)
            for entry in (*own, *others):
                of_entry = judges if judges or not entry.reward else shared_judges(field, [entry])
                yield _mean(field, entry, (start or "", reward), OWN, of_entry)
                yield _mean(field, entry, (start or "", reward), SHARED, shared)


def shared_judges(field: Field, rewarded: Sequence[Entry]) -> list[str]:
    """Return the judges that all these entries have and none optimises, under whatever name."""
    optimised = dict.fromkeys(entry.reward for entry in rewarded if entry.reward)
    return [
        name for name in rewarded[0].judges
        if all(name in entry.judges for entry in rewarded)
        and not any(is_same(field, name, reward) for reward in optimised)
    ]  # fmt: skip


def _mean(field: Field, entry: Entry, place: tuple[str, str], aspect: str, judges: Sequence[str]) -> Mean:
    start, reward = field.outputs[place[0]], field.rows.rewards.get(place[1])
    found = field.outputs[entry.name]
    sheet, used = _standardised(field, found, start, judges)
    row = replace(about(field, entry, JUDGED, reward), aspect=aspect, against=place[0])
    nobody = _silent(field, judges) or (NO_SHARED if aspect == SHARED else NO_JUDGE)
    reason = (entry.failure or NO_OUTPUT) if not found.seeds else None if used else nobody
    if used:
        row = replace(row, signature=f"{row.signature}|judges:{','.join(used)}")
    return Mean(row, found.seeds, sheet, missing=found.missing, reason=reason, failure=entry.failure)


def _silent(field: Field, judges: Sequence[str]) -> str:
    """Return why each of these judges has no say: it could not run, or no two texts differ to it."""
    told = {name: field.rows.rewards.get(name) for name in judges}
    why = {
        name: (one.reason if one and one.column is None else None) or "gives all texts the same, or none a score"
        for name, one in told.items()
    }
    return "; ".join(f"{name}: {words}" for name, words in why.items())


def _standardised(field: Field, found: Outputs, start: Outputs, judges: Sequence[str]) -> tuple[Sheet, list[str]]:
    """Return the mean over judges of the differences in standard deviations of the start's texts, and who judged.

    A judge that could not run, or gives all texts the same, has no say.
    """
    place = beside(start, found.seeds)
    total, ok, used = np.zeros(found.place.shape), np.ones(found.place.shape, dtype=bool), []
    for name in judges:
        scored = field.rows.rewards.get(name)
        if scored is None or scored.column is None:
            continue
        before = scores(scored, start.place)
        spread = _spread(before.values[before.ok]) or _spread(scored.column.values[scored.column.ok])
        if spread > 0:
            apart = less(scores(scored, found.place), scores(scored, place))
            total += apart.values / spread
            ok &= apart.ok
            used.append(name)
    values = np.where(ok, total / max(1, len(used)), 0.0)
    return Sheet(values, ok & bool(used)), used


def _spread(values: np.ndarray) -> float:
    """Return the standard deviation, 0 where all values are the same (on paper too) or there are none."""
    return float(values.std()) if len(values) and np.ptp(round12(values)) > 0 else 0.0
