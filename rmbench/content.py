"""What a file or folder holds, as one digest: a score that depends on it has it in its signature."""

from __future__ import annotations

import errno
import hashlib
import os
from functools import lru_cache
from pathlib import Path

MOST_FILES = 10_000


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of every file of a folder with its name; hidden ones do not count.

    A file is read once in a process, and again where its size or time of change is another.

    Raises:
        OSError: nothing is there, or it cannot be read.
    """
    if not path.is_dir():
        return _file(path)
    whole = hashlib.sha256()
    for file in sorted(_files(path)):
        whole.update(f"{os.fsencode(file.relative_to(path)).hex()} {_file(file)}\n".encode())
    return whole.hexdigest()


def _files(folder: Path) -> list[Path]:
    """Return the regular files below a folder; links to folders are not followed, pipes and devices are no files."""
    found: list[Path] = []
    for place, folders, files in os.walk(folder, onerror=_raise):
        if len(found) > MOST_FILES:
            raise OSError(errno.EMFILE, f"it holds more than {MOST_FILES:,} files, is it the right folder?")
        folders[:] = [name for name in folders if not name.startswith(".")]
        found += [Path(place) / name for name in files if not name.startswith(".")]
    return [file for file in found if file.is_file()]


def _raise(error: OSError) -> None:
    raise error


def _file(path: Path) -> str:
    stat = path.stat()
    return _read(path, stat.st_size, stat.st_mtime_ns)


@lru_cache(maxsize=4096)
def _read(path: Path, size: int, changed: int) -> str:
    del size, changed  # they make the key
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
