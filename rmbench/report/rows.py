"""Rows of results.json as `Result` records, checked: a damaged or foreign file is an error, not a wrong table."""

from __future__ import annotations

import sys
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from rmbench.api import FIELDS, Result
from rmbench.errors import RunFolderError
from rmbench.report.escape import plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

COUNTS = ("seed", "step", "resamples", "n", "rows", "pairs", "skipped", "unscored")
NUMBERS = ("value", "p", "p_holm")
TEXTS = tuple(name for name in FIELDS if name not in (*COUNTS, *NUMBERS, "ci"))
LARGEST = sys.float_info.max  # NaN and infinity are not within it
PLACE = FIELDS[: FIELDS.index("value")]
_HELP = "remove results.json and run `rmbench run --resume --out RUN`: it is computed again from the rows"


def read_rows(rows: Sequence[Mapping[str, Any]]) -> tuple[Result, ...]:
    """Return the rows as records, their texts as they are.

    Raises:
        RunFolderError: a row lacks a key, has another, or holds something else than text, a finite
            number or null where one is expected.
    """
    return tuple(_row(row, f"results row {index}") for index, row in enumerate(rows))


def _row(row: Mapping[str, Any], where: str) -> Result:
    if set(row) != set(FIELDS):
        odd = ", ".join(sorted(plain(str(key)) for key in set(row) ^ set(FIELDS)))
        raise RunFolderError(f"keys missing or unknown: {odd}", where=where, help=_HELP)
    good = (
        all(row[name] is None or isinstance(row[name], str) for name in TEXTS)
        and all(row[name] is None or _is_count(row[name]) for name in COUNTS)
        and all(row[name] is None or _is_number(row[name]) for name in NUMBERS)
        and (row["ci"] is None or _is_interval(row["ci"]))
        and bool(row["study"])
        and bool(row["metric"])
    )
    if not good:
        raise RunFolderError("a field has another type than results.json promises", where=where, help=_HELP)
    return Result(**{**row, "ci": None if row["ci"] is None else (row["ci"][0], row["ci"][1])})


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= LARGEST


def _is_interval(value: object) -> bool:
    return isinstance(value, list | tuple) and len(value) == 2 and all(map(_is_number, value))  # noqa: PLR2004 - a pair


def shown(row: Result) -> Result:
    """Return the row with every text made inert for display."""
    fields: dict[str, Any] = asdict(row)
    fields |= {name: plain(fields[name]) for name in TEXTS if fields[name] is not None}
    return Result(**fields)


def place(row: Result) -> tuple[object, ...]:
    """Return what a row is about: two rows of equal place are the same number."""
    return tuple(value for name, value in asdict(row).items() if name in PLACE)


def is_plain(row: Result) -> bool:
    """Whether the row describes a reward on given texts: no comparison, no policy, no training step, no probe."""
    return row.against is None and row.policy is None and row.trainer is None and row.step is None and row.probe is None
