"""Strict JSON lines: one object per line, streamed, and nothing repaired.

The standard library's parser takes NaN, 1e999, duplicate keys and lone surrogates, and ``str.splitlines``
cuts a row at U+2028; here bytes are split at the newline only and each of these is an error.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, NoReturn

from rmbench.checks import HopelessError, Problems, show, type_name
from rmbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE_CAP = 16 * 1024 * 1024
DEPTH_CAP = 64
_INT_DIGITS = 20
BOM = b"\xef\xbb\xbf"
FOREIGN = {
    b"\xff\xfe": "UTF-16 text",
    b"\xfe\xff": "UTF-16 text",
    b"\x1f\x8b": "gzip data",
    b"PAR1": "a Parquet file",
}
_SURROGATE_ESCAPE = re.compile(rb"\\u[dD][89a-fA-F]")
_CELLS = {  # columns that hold JSON where a format has texts only
    "messages": '[{"role": "user", "content": "..."}]',
    "references": '["..."]',
    "candidates": '[{"system": "A", "text": "..."}]',
    "preferences": '[{"better": 0, "worse": 1}]',
    "ties": "[[0, 2]]",
    "meta": '{"source": "..."}',
}
NESTED = frozenset(_CELLS)
_ONE_PER_LINE = "write one whole JSON object on each line"


def read_objects(stream: BinaryIO, where: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the line number (from 1) and the object of every line that is not blank.

    Lines end in a newline (a carriage return before it is dropped); a byte order mark at the start is
    accepted. Memory is bounded by the longest line, at most 16 MiB.

    Args:
        stream: the bytes, read once, forward only.
        where: name of the file for messages.

    Raises:
        InputError: at the end, where a line is no strict JSON object; ``InputErrors`` for several (the
            first 20, at the twentieth).
    """
    problems = Problems()
    yield from objects(stream, where, problems)
    problems.raise_any()


def parse_cell(text: str, where: str, name: str) -> Any:
    """Return the JSON value that stands in a cell of a table, as strictly as a line.

    Raises:
        InputError: at ``where``, naming the column, where it is no strict JSON.
    """
    try:
        return _parse(text, _Line((text + "\n").encode("utf-8", "surrogatepass"), 0, 0, where))
    except InputError as error:
        what = f"{show(name)} is {show(text)}: {error.what}"
        raise InputError(what, where=where, help=f"a cell of {show(name)} holds JSON, such as {_CELLS[name]}") from None


def objects(stream: BinaryIO, where: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield as ``read_objects``, but give the errors to ``problems`` and read on."""
    first = True
    for line in _lines(stream, where):
        try:
            body = line.body()
            if not body:
                continue
            record = _record(body, line, first=first)
        except HopelessError as error:
            problems.add(error)
            return
        except InputError as error:
            problems.add(error)
        else:
            yield line.number, record
        first = False


@dataclass(frozen=True, slots=True)
class _Line:
    """One line as bytes: ``raw`` with its line end, ``offset`` of its first byte in the file."""

    raw: bytes
    number: int
    offset: int
    path: str

    @property
    def cut(self) -> bool:
        """Whether the line has no line end: it is the file's last."""
        return not self.raw.endswith(b"\n")

    def error(self, what: str, advice: str = "", *, column: int | None = None) -> InputError:
        """Return an error at this line."""
        return InputError(what, where=self._place(column), help=advice)

    def hopeless(self, what: str, advice: str) -> HopelessError:
        """Return an error at this line after which nothing can be read."""
        return HopelessError(what, where=self._place(None), help=advice)

    def _place(self, column: int | None) -> str:
        return f"{self.path}:{self.number}" + ("" if column is None else f":{column}")

    def body(self) -> bytes:
        """Return the line without byte order mark and line end, empty where it is blank."""
        body = self.raw if self.cut else self.raw[:-1].removesuffix(b"\r")
        if self.number == 1:
            for mark, name in FOREIGN.items():
                if body.startswith(mark):
                    raise self.hopeless(
                        f"the file looks like {name}, expected JSON lines in UTF-8", "convert it to UTF-8 JSON lines"
                    )
            body = body.removeprefix(BOM)
        if b"\r" in body:
            raise self.error("a carriage return stands alone", r"end lines in \n or \r\n", column=body.index(b"\r") + 1)
        if b"\0" in body:
            raise self.error("a NUL byte", "save the file as UTF-8 text", column=body.index(b"\0") + 1)
        return body if body.strip(b" \t") else b""


def _lines(stream: BinaryIO, path: str) -> Iterator[_Line]:
    """Yield the lines, cut short where one is too long (then its error ends the reading)."""
    number, offset = 1, 0
    while raw := stream.readline(LINE_CAP + len(BOM) + 2):
        yield _Line(raw, number, offset, path)
        number, offset = number + 1, offset + len(raw)


def _record(body: bytes, line: _Line, *, first: bool) -> dict[str, Any]:
    """Return the object of one line that is not blank."""
    if body.lstrip(b" \t").startswith(b"["):
        make = line.hopeless if first else line.error
        raise make(
            "a list at the top, expected an object",
            "this looks like a JSON array: write one object per line (jq -c '.[]' FILE)",
        )
    if len(body) > LINE_CAP:
        raise line.hopeless(f"the line is longer than {LINE_CAP >> 20} MiB", _ONE_PER_LINE)
    value = _parse(_text(body, line), line)
    if not isinstance(value, dict):
        raise line.error(f"{type_name(value)} at the top, expected an object", _ONE_PER_LINE)
    if _too_deep(value, body):
        raise line.error(f"nested deeper than {DEPTH_CAP} levels", "flatten the row")
    if _SURROGATE_ESCAPE.search(body):
        _refuse_surrogates(value, line)
    return value


def _text(body: bytes, line: _Line) -> str:
    try:
        return body.decode("utf-8")
    except UnicodeDecodeError as error:
        at = line.raw.index(body) + error.start
        raise line.error(
            f"byte 0x{body[error.start]:02x} at offset {line.offset + at} of the file is not UTF-8",
            "save the file as UTF-8",
            column=at + 1,
        ) from None


def _parse(text: str, line: _Line) -> object:
    try:
        return _DECODER.decode(text)
    except json.JSONDecodeError as error:
        seems_cut = "the last line has no line end: the file seems cut; get it again"
        what = f"not valid JSON: {error.msg[0].lower()}{error.msg[1:]}".removesuffix(" at")
        raise line.error(what, seems_cut if line.cut else _ONE_PER_LINE, column=error.pos + 1) from None
    except RecursionError:
        raise line.error(f"nested deeper than {DEPTH_CAP} levels", "flatten the row") from None
    except _RefusedError as error:
        raise line.error(str(error), error.advice) from None


class _RefusedError(ValueError):
    """Raised inside the parser, which knows no line."""

    def __init__(self, what: str, advice: str) -> None:
        super().__init__(what)
        self.advice = advice


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        twice, _ = Counter(key for key, _ in pairs).most_common(1)[0]
        raise _RefusedError(f"the key {show(twice)} stands twice in an object", "keep one of the two")
    return found


def _float(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise _RefusedError(f"the number {text[:40]} is out of range", "write a finite number or leave the field out")
    return value


def _int(text: str) -> int:
    if len(text) > _INT_DIGITS or not -(2**63) <= int(text) < 2**64:
        raise _RefusedError(f"the number {text[:40]} does not fit 64 bits", "write it as a string")
    return int(text)


def _constant(text: str) -> NoReturn:
    raise _RefusedError(f"{text} is not JSON", "leave out what has no value")


_DECODER = json.JSONDecoder(object_pairs_hook=_object, parse_float=_float, parse_int=_int, parse_constant=_constant)


def _too_deep(value: dict[str, Any], body: bytes) -> bool:
    if body.count(b"[") + body.count(b"{") <= DEPTH_CAP:
        return False
    level: list[Any] = [value]
    for _ in range(DEPTH_CAP):
        inner = (child for node in level for child in (node.values() if isinstance(node, dict) else node))
        level = [child for child in inner if isinstance(child, (dict, list))]
    return bool(level)


def _refuse_surrogates(value: dict[str, Any], line: _Line) -> None:
    try:
        json.dumps(value, ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        code = ord(error.object[error.start])
        raise line.error(f"the lone surrogate \\u{code:04x} is no character", "write the whole pair") from None
