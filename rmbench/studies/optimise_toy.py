"""What a policy that can be enumerated is worth exactly: its expected reward, and the best that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from rmbench.studies.clusters import exact_mean
from rmbench.studies.entries import pool_size
from rmbench.studies.optimise_means import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmbench.api import Result
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field

TOY, TABULAR = "toy", "tabular"
CONFIG = "config.json"
NOT_KEPT = "its table is not in the run folder"


def toy(field: Field) -> Iterator[Result]:
    """Yield ``expected-reward`` of each tabular policy on the task ``toy``, by seed and over seeds, and ``optimum``.

    Of a policy as it samples at temperature 1; of one that chooses by the reward ``toy``, of the best of its pool.
    """
    mine = [found for found in field.outputs.values() if found.entry.use == TABULAR and field.rows.task == TOY]
    if not mine:
        return
    from rmbench.toy import optimum

    for found in mine:
        if not found.seeds:
            continue
        row = about(field, found.entry, "expected-reward")
        values = [(seed, _expected(field, found.entry, seed)) for seed in found.seeds]
        for seed, value in values:
            if seed is not None:
                yield replace(row, seed=seed, value=value, reason=NOT_KEPT if value is None else None)
        known = np.array([value for _, value in values if value is not None])
        yield replace(row, value=exact_mean(known), rows=len(known), reason=None if len(known) else NOT_KEPT)
        yield replace(row, metric="optimum", value=float(optimum()))


def _expected(field: Field, entry: Entry, seed: int | None) -> float | None:
    """Return the expected reward of an entry's table; one that was not trained is its start, or knows nothing."""
    from rmbench.toy import expected, mean, policy, uniform

    place = entry.folder(field.run, seed)
    if (place / CONFIG).is_file():
        return float(expected(place, best=pool_size(field.run, entry) if entry.chooser == TOY else 1))
    if entry.trainer is not None or entry.options.get("spread"):
        return None
    start = field.outputs.get(entry.policy or "")
    return _expected(field, start.entry, seed) if start else mean(policy(uniform()))
