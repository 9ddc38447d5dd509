"""Columns of scores from the kernel, with None where a row has none."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from rmbench import Batch

Score = Callable[[Batch], list[float | None]]


def by_references(name: str, options: Mapping[str, Any] | None = None) -> Score:
    """Return the scorer of a reward of the kernel; rows without references have no score (None)."""

    def score(batch: Batch) -> list[float | None]:
        return of_rows(name, batch, range(len(batch)), options)

    return score


def by_response(name: str, options: Mapping[str, Any] | None = None) -> Score:
    """Return the scorer of a reward of the kernel that reads the response only; NaN becomes None."""

    def score(batch: Batch) -> list[float | None]:
        from rmbench.kernel import score_texts

        found = score_texts([name], batch.responses, options=options)[name]
        return [None if value != value else value for value in found.tolist()]  # noqa: PLR0124 - only NaN is not itself

    return score


def by_source(name: str) -> Score:
    """Return the scorer of a reward of the kernel that compares the response with its source."""

    def score(batch: Batch) -> list[float | None]:
        from rmbench.kernel import score_texts

        found: list[float | None] = score_texts([name], batch.responses, sources=batch.sources)[name].tolist()
        return found

    return score


def of_rows(
    name: str, batch: Batch, rows: Sequence[int], options: Mapping[str, Any] | None = None
) -> list[float | None]:
    """Return the scores of some rows of a batch by a reward of the kernel, None for all others."""
    from rmbench.kernel import score_texts

    some = [row for row in rows if batch.references[row]]
    texts, references = [batch.responses[row] for row in some], [batch.references[row] for row in some]
    found = score_texts([name], texts, references, options=options)[name]
    values: list[float | None] = [None] * len(batch)
    for row, value in zip(some, found.tolist(), strict=True):
        values[row] = value
    return values
