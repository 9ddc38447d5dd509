"""The journal of a run folder: one line per committed part, with its sha256, rows and bytes."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from rmbench.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Entry:
    """What the journal says of a part; ``rows`` and ``size`` (bytes) are None where an older line has none."""

    sha256: str
    rows: int | None = None
    size: int | None = None

    def holds(self, path: Path) -> bool:
        """Whether the file has these bytes."""
        return path.is_file() and digest(path) == self.sha256

    def line(self, part: str) -> bytes:
        """Return the line of a part."""
        told = {"part": part, "sha256": self.sha256, "rows": self.rows, "bytes": self.size}
        return (json.dumps({key: value for key, value in told.items() if value is not None}) + "\n").encode()


@dataclass(slots=True)
class Journal:
    """What stands in a journal: the entries by part, and what is odd about its lines, in words."""

    entries: dict[str, Entry] = field(default_factory=dict)
    odd: list[str] = field(default_factory=list)
    cut: bool = False


def digest(path: Path) -> str:
    """Return the sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def read(path: Path) -> Journal:
    """Read a journal; a line that is no JSON is odd and no part, the cut last line of an interrupted run too.

    Raises:
        RunFolderError: a line names no part of a run: a run folder is not trusted.
    """
    found = Journal()
    data = path.read_bytes() if path.is_file() else b""
    found.cut = not data.endswith(b"\n") and bool(data)
    lines = data.split(b"\n")
    for number, line in enumerate(lines, 1):
        if not line:
            continue
        try:
            value = json.loads(line)
        except (ValueError, RecursionError):
            found.odd.append(f"line {number} {'is cut' if number == len(lines) else 'is no JSON'}")
            continue
        name, entry = _entry(value, f"{path}:{number}")
        if name in found.entries:
            found.odd.append(f"line {number} names {name} again")
        found.entries[name] = entry
    return found


def write(entries: Mapping[str, Entry]) -> bytes:
    """Return the journal of these parts."""
    return b"".join(entry.line(part) for part, entry in entries.items())


def _entry(value: Any, where: str) -> tuple[str, Entry]:
    """Return the part that a line names, a path inside the folder in samples/ or scores/, and what it says of it."""
    if isinstance(value, dict) and isinstance(value.get("part"), str) and isinstance(value.get("sha256"), str):
        path = PurePosixPath(value["part"])
        inside = not path.is_absolute() and ".." not in path.parts and "\0" not in value["part"]
        if inside and path.parts[:1] in (("samples",), ("scores",)) and len(path.parts) > 1:
            return value["part"], Entry(value["sha256"], _count(value.get("rows")), _count(value.get("bytes")))
    raise RunFolderError("holds an entry that rmbench did not write", where=where, help="run again into a new folder")


def _count(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None
