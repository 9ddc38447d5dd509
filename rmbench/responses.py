"""What ``rmbench score`` reads: rows with a ``response`` to score, or task rows with candidates."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, BinaryIO, cast

from rmbench.checks import Once, Place, Problems, string
from rmbench.errors import InputError
from rmbench.jsonl import objects
from rmbench.records import records
from rmbench.samples import ROW, sample_from, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader
    from pathlib import Path

    from rmbench.api import Sample

_WRITTEN = frozenset({"score", "reason", "parts"})  # of an earlier pass: replaced, never read
_KNOWN = ROW | {"response"}


def read_responses(
    stream: BinaryIO, where: str, warn: Callable[[str], None], path: Path | None = None
) -> Iterator[tuple[dict[str, Any], Sample]]:
    """Yield every object as it was read, and its sample: one candidate whose text is the ``response``.

    An object may also be a task row with ``candidates``. Without an id it is called ``row-<line>``; ids may
    repeat, since every line gets a score of its own.

    Args:
        stream: the bytes, read once.
        where: name of the stream for messages.
        warn: told once of every field that is not known.
        path: the file that the stream is of, whose name says the format; None: JSON lines.

    Raises:
        InputError: at the end, where a line is wrong; nothing is yielded after the first such line.
    """
    problems = Problems()
    tell = Once(where, warn)
    rows = objects(stream, where, problems) if path is None else records(cast("BufferedReader", stream), path, problems)
    for line, record in rows:
        place = Place(f"{where}:{line}", "", tell)
        try:
            sample = sample_from(_row(record, place, f"row-{line}"), where=place.where, task=None, warn=tell)
        except InputError as error:
            problems.add(error)
        else:
            if not problems:
                yield record, sample
    problems.raise_any()


def _row(record: dict[str, Any], at: Place, default_id: str) -> dict[str, Any]:
    """Return the object as a task row with candidates and an id."""
    row = {"id": default_id} | {key: value for key, value in record.items() if key not in _WRITTEN}
    if isinstance(row["id"], int) and not isinstance(row["id"], bool):
        row["id"] = str(row["id"])
    if "response" not in record:
        if "candidates" not in record:
            unknown(record, at, _KNOWN)
            raise at.error('"response" is missing', 'give the text to score as "response", or "candidates"')
        return row
    if "candidates" in record:
        raise at.error('"response" and "candidates" are both there', "keep one of them")
    response = string(row.pop("response"), at.key("response"))
    return row | {"candidates": [{"text": response}]}
