"""What a policy that can be enumerated is worth exactly: its expected reward, and the best that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench.studies.figures import read_lines
from rmbench.studies.optimise_means import about

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rmbench.api import Result
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field

TOY, TABULAR = "toy", "tabular"


def toy(field: Field) -> Iterator[Result]:
    """Yield ``expected-reward`` of each tabular policy on the task ``toy``, by seed and over seeds, and ``optimum``.

    Of a policy as it samples at temperature 1; of one that chooses by the reward ``toy``, of the best of its pool.
    """
    mine = [found for found in field.outputs.values() if found.entry.use == TABULAR and field.rows.task == TOY]
    if not mine:
        return
    from rmbench.toy import expected, optimum

    for found in mine:
        row = about(field, found.entry, "expected-reward")
        places = [(seed, found.entry.folder(field.run, seed)) for seed in found.seeds]
        values = [(seed, float(expected(place, best=_best(found.entry, place)))) for seed, place in places]
        for seed, value in values:
            if seed is not None:
                yield replace(row, seed=seed, value=value)
        if values:
            whole = sum(value for _, value in values) / len(values)
            yield replace(row, value=whole, rows=len(values))
            yield replace(row, metric="optimum", value=float(optimum()))


def _best(entry: Entry, place: Path) -> int:
    """Return of how many responses an entry takes the best by the task's own reward; 1: of none."""
    pools = read_lines(place / "pool.jsonl") if entry.chooser == TOY else []
    scores = pools[0].get("scores") if pools else None
    pool = scores.get(TOY) if isinstance(scores, dict) else None
    return len(pool) if isinstance(pool, list) and pool else 1
