"""Files of numbers that a training leaves, read with care: they are data, and may be damaged."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from rmbench.errors import RunFolderError

if TYPE_CHECKING:
    from pathlib import Path

HELP = "rmbench run --resume redoes it"


def read_lines(path: Path) -> list[dict[str, Any]]:
    """Return the objects of a JSON Lines file, none where there is no file.

    Raises:
        RunFolderError: it is damaged.
    """
    if not path.is_file():
        return []
    try:
        found = [json.loads(line) for line in path.read_bytes().split(b"\n") if line.strip()]
    except ValueError as error:
        raise RunFolderError(f"is damaged: {error}", where=str(path), help=HELP) from error
    if not all(isinstance(row, dict) for row in found):
        raise RunFolderError("is damaged: a line is no object", where=str(path), help=HELP)
    return found


def finite(value: object) -> float | None:
    """Return a number that can be written, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)
