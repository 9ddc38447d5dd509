"""What a policy that can be enumerated is worth exactly: its expected reward, and the best that there is."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench.studies.optimise_means import about

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rmbench.api import Result
    from rmbench.studies.optimise_means import Field

TOY, TABULAR = "toy", "tabular"


def toy(field: Field) -> Iterator[Result]:
    """Yield ``expected-reward`` of each tabular policy on the task ``toy``, by seed and over seeds, and ``optimum``."""
    mine = [found for found in field.outputs.values() if found.entry.use == TABULAR and field.rows.task == TOY]
    if not mine:
        return
    from rmbench.toy import expected, optimum

    for found in mine:
        row = about(field, found.entry, "expected-reward")
        values = [(seed, float(expected(found.entry.folder(field.run, seed)))) for seed in found.seeds]
        for seed, value in values:
            if seed is not None:
                yield replace(row, seed=seed, value=value)
        if values:
            whole = sum(value for _, value in values) / len(values)
            yield replace(row, value=whole, rows=len(values))
            yield replace(row, metric="optimum", value=float(optimum()))
