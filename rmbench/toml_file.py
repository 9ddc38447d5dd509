"""TOML files of users: read whole, within 1 MiB, with the lines of keys, which the standard library does not tell."""

from __future__ import annotations

import re
import tomllib
from typing import TYPE_CHECKING, Any

from rmbench.datafile import open_regular
from rmbench.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

CAP = 1 << 20


def text_of(path: Path) -> str:
    """Return the text of a TOML file.

    Raises:
        InputError: it is no regular file, longer than 1 MiB, or not UTF-8.
    """
    with open_regular(path) as stream:
        raw = stream.read(CAP + 1)
    if len(raw) > CAP:
        raise InputError("the file is longer than 1 MiB", where=str(path), help="data belong into files of their own")
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        what = f"byte 0x{raw[error.start]:02x} at offset {error.start} of the file is not UTF-8"
        raise InputError(what, where=f"{path}:{line}", help="save the file as UTF-8") from None


def table_of(path: Path, text: str) -> dict[str, Any]:
    """Return the table that a text is; an ``InputError`` where it is no TOML."""
    try:
        return tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        what, _, place = str(error).partition(" (at line ")
        line = place.partition(",")[0]
        where = f"{path}:{line}" if line.isdigit() else str(path)
        raise InputError(f"not valid TOML: {what[:1].lower()}{what[1:]}", where=where, help="mend this line") from None
    except RecursionError:
        raise InputError("not valid TOML: nested too deep", where=str(path), help="write flat lists") from None
    except ValueError:
        what = "not valid TOML: a number is too long, expected at most 64 bits"
        raise InputError(what, where=str(path), help="write it as a string, or a smaller one") from None


def line_of(text: str, key: str, table: str = "") -> int | None:
    """Return the line (from 1) where a key of a table, or the table of that name, stands."""
    stated = re.compile(rf"""\s*["']?{re.escape(key)}["']?\s*[=.]""")
    current = ""
    for number, line in enumerate(text.split("\n"), 1):
        if header := re.match(r"\s*\[+\s*([^\]]*?)\s*\]", line):
            current = header[1]
            if not table and current == key:
                return number
        elif current == table and stated.match(line):
            return number
    return None
