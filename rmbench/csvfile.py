"""Strict CSV: every cell text, an empty cell an absent field, streamed, and nothing guessed.

``csv`` of the standard library takes ragged rows, NUL bytes and a quote that is never closed (which swallows the rest
of the file); here each of these is an error with the line on which the record begins.
"""

from __future__ import annotations

import csv
from typing import TYPE_CHECKING

from rmbench.checks import HopelessError, show
from rmbench.errors import InputError
from rmbench.jsonl import BOM, FOREIGN, LINE_CAP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any, BinaryIO

    from rmbench.checks import Problems

_QUOTES = 'put a cell with quotes, commas or line ends between quotes, and write a quote inside it twice ("")'
_SHOWN = 8


def csv_rows(stream: BinaryIO, path: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line on which it begins (from 1) and the fields of every record; errors go to ``problems``.

    The first record names the columns. Cells are text as they stand; an empty one is an absent field. Memory is
    bounded by the longest record, at most 16 MiB.
    """
    lines = _Lines(stream, path)
    csv.field_size_limit(LINE_CAP)  # of the whole process: its default, 131,072, is less than a long document
    records = csv.reader(lines, strict=True)
    names: list[str] | None = None
    while True:
        lines.begin()
        try:
            cells = next(records)
            if names is None:
                names = _header(cells, path)
            elif cells:
                yield lines.first, _fields(names, cells, f"{path}:{lines.first}")
        except StopIteration:
            return
        except HopelessError as error:
            problems.add(error)
            return
        except csv.Error as error:
            problems.add(_broken(error, lines, path))
            return
        except InputError as error:
            problems.add(error)


class _Lines:
    """The lines of a file as text; ``first`` is the line on which the record that is read begins."""

    def __init__(self, stream: BinaryIO, path: str) -> None:
        self.stream, self.path = stream, path
        self.first = 1
        self.number = self.offset = self.held = 0

    def begin(self) -> None:
        """A new record begins with the next line."""
        self.first, self.held = self.number + 1, 0

    def __iter__(self) -> _Lines:
        return self

    def __next__(self) -> str:
        raw = self.stream.readline(LINE_CAP + 2)
        if not raw:
            raise StopIteration
        self.number += 1
        self.held += len(raw)
        if self.held > LINE_CAP:
            advice = "a quote that is not closed takes in all that follows: look for one there"
            raise self._error(f"the record is longer than {LINE_CAP >> 20} MiB", advice, self.first)
        if self.number == 1:
            if found := next((name for mark, name in FOREIGN.items() if raw.startswith(mark)), None):
                raise self._error(f"the file looks like {found}, expected CSV in UTF-8", "convert it to UTF-8 CSV")
            raw = raw.removeprefix(BOM)
        if b"\0" in raw:
            raise self._error("a NUL byte", "save the file as UTF-8 text")
        try:
            text = raw.decode("utf-8")
        except UnicodeDecodeError as error:
            what = f"byte 0x{raw[error.start]:02x} at offset {self.offset + error.start} of the file is not UTF-8"
            raise self._error(what, "save the file as UTF-8") from None
        self.offset += len(raw)
        return text

    def _error(self, what: str, advice: str, line: int | None = None) -> HopelessError:
        return HopelessError(what, where=f"{self.path}:{line or self.number}", help=advice)


def _header(cells: list[str], path: str) -> list[str]:
    """Return the names of the columns."""
    where = f"{path}:1"
    if len(cells) == 1 and (other := next((mark for mark in ";\t|" if mark in cells[0]), None)):
        word = "a tab" if other == "\t" else f'"{other}"'
        raise HopelessError(
            f"one column {show(cells[0])}", where=where, help=f"cells seem to end at {word}: write commas"
        )
    if not cells:
        raise HopelessError(
            "the first line is empty, expected the names of the columns", where=where, help="name the columns there"
        )
    if "" in cells:
        what = f"column {cells.index('') + 1} has no name"
        raise HopelessError(what, where=where, help="the first line names every column")
    if twice := sorted({name for name in cells if cells.count(name) > 1}):
        raise HopelessError(f"two columns have the name {show(twice[0])}", where=where, help="rename one of them")
    return cells


def _fields(names: list[str], cells: list[str], where: str) -> dict[str, Any]:
    if len(cells) != len(names):
        more = ", ..." if len(names) > _SHOWN else ""
        what = f"{len(cells)} cells, expected {len(names)}: {show(', '.join(names[:_SHOWN]))[1:-1]}{more}"
        raise InputError(what, where=where, help=_QUOTES)
    return {name: cell for name, cell in zip(names, cells, strict=True) if cell}


def _broken(error: csv.Error, lines: _Lines, path: str) -> HopelessError:
    """Return what the reader of the standard library could not read, in our words."""
    words, where = str(error), f"{path}:{lines.first}"
    if "unexpected end of data" in words:
        return HopelessError("a quote is opened and never closed", where=where, help=_QUOTES)
    if "new-line character" in words:
        return HopelessError("a carriage return stands alone", where=where, help=r"end lines in \n or \r\n")
    return HopelessError(f"not valid CSV: {words}", where=where, help=_QUOTES)
