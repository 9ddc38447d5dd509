"""One record after the other from a data file, whatever its format: what the rest of rmbench reads rows from."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench.datafile import check_format, is_packed, lines_of
from rmbench.errors import InputError
from rmbench.jsonl import NESTED, objects, parse_cell

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader
    from pathlib import Path

    from rmbench.checks import Problems


def records(stream: BufferedReader, path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line of every record, and its fields; errors go to ``problems``, and reading goes on where it can.

    A line is counted from 1: in CSV that on which the record begins, in Parquet and Arrow files the number of the row.
    Where a format has texts for what JSON lines nest (``candidates``, ``meta``, ...), they are read as strict JSON.

    Raises:
        InputError: the file's name says no format, or it unpacks to too much.
    """
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".gz"):
        if suffix == ".gz" and not is_packed(path):
            check_format(path)
        yield from objects(lines_of(stream, path), str(path), problems)
        return
    for line, record in _table(stream, path, problems):
        try:
            yield line, {key: _cell(value, key, f"{path}:{line}") for key, value in record.items()}
        except InputError as error:
            problems.add(error)


def _table(stream: BufferedReader, path: Path, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    suffix = path.suffix.lower()
    if suffix == ".csv":
        from rmbench.csvfile import csv_rows

        return csv_rows(stream, str(path), problems)
    from rmbench.columnar import arrow_rows, parquet_rows  # pyarrow is slow to import

    if suffix == ".parquet":
        return parquet_rows(stream, str(path), problems)
    if suffix != ".arrow":
        check_format(path)
    return arrow_rows(stream, str(path), problems)


def _cell(value: Any, key: str, where: str) -> Any:
    return parse_cell(value, where, key) if key in NESTED and isinstance(value, str) else value
