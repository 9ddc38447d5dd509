"""Files of rows that a training leaves: appended while it runs, cut back to the step that it goes on from."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from rmbench.store import faults, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

LOG, CURVE, TIMINGS, MEASURES = "log.jsonl", "curve.jsonl", ".timings.jsonl", ".measures.json"


def line(row: Mapping[str, Any]) -> bytes:
    """Return a row as a line of JSON; NaN is refused."""
    return (json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n").encode()


def whole_steps(folder: Path) -> int:
    """Return how many steps, from 1 without a gap, the log holds."""
    return len(_rows(folder / LOG))


def _rows(path: Path) -> list[bytes]:
    """Return the lines of a file as far as they are whole and of steps 1, 2, ..."""
    found: list[bytes] = []
    data = path.read_bytes() if path.is_file() else b""
    for one in data.split(b"\n")[:-1]:
        try:
            right = json.loads(one)["step"] == len(found) + 1
        except (ValueError, TypeError, KeyError):
            right = False
        if not right:
            break
        found.append(one + b"\n")
    return found


@dataclass(slots=True)
class Rows:
    """An open file of rows."""

    path: Path
    file: BinaryIO

    @classmethod
    def reopen(cls, path: Path, steps: int) -> Rows:
        """Open a file with one row per step, cut back to so many steps."""
        write_whole(path, b"".join(_rows(path)[:steps]))
        with faults(path):
            return cls(path, path.open("ab"))

    def add(self, row: Mapping[str, Any]) -> None:
        """Append a row; a process that is killed leaves it whole or not at all, or cut: that one is left out later."""
        with faults(self.path):
            self.file.write(line(row))
            self.file.flush()

    def sync(self) -> None:
        """Make the rows durable."""
        with faults(self.path):
            os.fsync(self.file.fileno())

    def close(self) -> None:
        """Close the file."""
        self.file.close()
