"""Data files as they lie on disk: opened only when regular, hashed by streaming, never opened by a surprise."""

from __future__ import annotations

import errno
import gzip
import hashlib
import os
import stat
import zlib
from typing import TYPE_CHECKING, cast

from rmbench.checks import HopelessError
from rmbench.errors import EnvironmentFault, InputError, RMBenchError

if TYPE_CHECKING:
    from io import BufferedReader
    from pathlib import Path
    from typing import BinaryIO

PACKED = ".jsonl.gz"
FORMATS = (".jsonl", ".csv", ".parquet")
FREE = 64 * 2**20  # bytes that a packed file may always unpack to
RATIO = 200  # and times its own size beyond that: rows of text pack to a tenth or so
_SPECIAL = {
    stat.S_IFDIR: "a folder",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
}
_NO_FILE = {
    errno.ENOENT: "no such file or folder",
    errno.ENOTDIR: "no such file: a part of its path is no folder",
    errno.ELOOP: "a loop of symbolic links",
    errno.ENAMETOOLONG: "the name is too long",
    errno.ENXIO: "a socket, expected a regular file",
}


def open_regular(path: Path) -> BufferedReader:
    """Open a regular file for reading; never waits, as a named pipe would make it.

    Raises:
        InputError: there is no file, or it is a folder, pipe, device, socket or loop of links.
        EnvironmentFault: the system does not let us read it.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from None
    special = _SPECIAL.get(stat.S_IFMT(os.fstat(descriptor).st_mode))
    if special:
        os.close(descriptor)
        raise InputError(f"{special}, expected a regular file", where=str(path), help="name a data file")
    return os.fdopen(descriptor, "rb")


def is_folder(path: Path) -> bool:
    """Say whether something that is there is a folder; errors as in ``open_regular``."""
    try:
        return stat.S_ISDIR(path.stat().st_mode)
    except (OSError, ValueError) as error:
        raise _refusal(error, path) from None


def _refusal(error: OSError | ValueError, path: Path) -> RMBenchError:
    if isinstance(error, ValueError):
        return InputError("a file name with a NUL character", where=repr(str(path)), help="mend the name")
    if error.errno in _NO_FILE:
        return InputError(_NO_FILE[error.errno], where=str(path), help="check the path")
    return EnvironmentFault(f"cannot be read: {error.strerror}", where=str(path), help="check its permissions")


def digest(path: Path) -> str:
    """Return the sha256 of a file as 64 lower-case hexadecimal digits, read as a stream."""
    with open_regular(path) as stream:
        return digest_of(stream)


def digest_of(stream: BufferedReader) -> str:
    """Return the sha256 of an open file and rewind it."""
    found = hashlib.file_digest(stream, "sha256").hexdigest()
    stream.seek(0)
    return found


def state(stream: BufferedReader) -> tuple[int, int]:
    """Return size and modification time (ns) of an open file: what changes when somebody writes to it."""
    found = os.fstat(stream.fileno())
    return found.st_size, found.st_mtime_ns


def is_packed(path: Path) -> bool:
    """Say whether the file's name says JSON lines packed by gzip."""
    return path.name.lower().endswith(PACKED)


def is_table(path: Path) -> bool:
    """Say whether the file's name says a format that is read other than as lines of JSON."""
    return is_packed(path) or path.suffix.lower() in FORMATS[1:]


def stem(path: Path) -> str:
    """Return the file's name without its type: rows without an id get the same one whatever the format."""
    return path.name[: -len(PACKED)] if is_packed(path) else path.stem


def lines_of(stream: BufferedReader, path: Path) -> BinaryIO:
    """Return what yields the lines of an open data file: itself, or what it unpacks to, without holding it."""
    return cast("BinaryIO", Unpacked(stream, path)) if is_packed(path) else stream


def most_bytes(stream: BufferedReader) -> int:
    """Return the bytes that an open packed file may unpack to."""
    return max(FREE, RATIO * size_of(stream))


def size_of(stream: BufferedReader) -> int:
    """Return the bytes of an open file."""
    return os.fstat(stream.fileno()).st_size


def too_much(where: str) -> HopelessError:
    """Return the error of a packed file that unpacks to more than it may."""
    what = f"unpacks to more than {RATIO} times its size, over {FREE >> 20:,} MiB"
    return HopelessError(what, where=where, help="rows of text pack less than that: unpack it if it is meant")


class Unpacked:
    """The lines of a gzip file, unpacked as they are read, within a budget.

    Args:
        stream: the open file.
        path: its name, for messages.
    """

    def __init__(self, stream: BufferedReader, path: Path) -> None:
        self.path, self.read = path, 0
        self.stream = stream
        self.file = gzip.GzipFile(fileobj=stream, mode="rb")

    def readline(self, size: int = -1) -> bytes:
        """Return the next line, or its first ``size`` bytes; empty at the end.

        Raises:
            InputError: it is no gzip file, damaged, cut short, or unpacks to more than the budget.
        """
        try:
            line = self.file.readline(size)
        except EOFError:
            raise self._error("the gzip file ends too early", "it was cut short: get it again") from None
        except (gzip.BadGzipFile, zlib.error) as error:
            if not self.read and "Not a gzipped file" in str(error):
                raise self._error(
                    "not gzip data", "where it is plain text, name it .jsonl; else pack it again"
                ) from None
            raise self._error(f"not a whole gzip file ({error})", "get it again, or pack it again with gzip") from None
        self.read += len(line)
        if self.read > FREE and self.read > RATIO * self.stream.tell():
            raise too_much(str(self.path))
        return line

    def _error(self, what: str, advice: str) -> InputError:
        return InputError(what, where=str(self.path), help=advice)


def check_format(path: Path) -> None:
    """Raise an ``InputError`` unless the file's name ends as one that can be read."""
    if is_packed(path) or path.suffix.lower() in FORMATS:
        return
    kinds = ", ".join((*FORMATS[:-1], PACKED))
    if path.suffix.lower() == ".gz":
        what = f"a packed file of a type that cannot be read, expected {PACKED}"
        raise InputError(what, where=str(path), help=f"unpack it with gunzip: {kinds} and {FORMATS[-1]} are read")
    what = f'unknown file type "{path.suffix.lower()}", expected {kinds} or {FORMATS[-1]}'
    raise InputError(what, where=str(path), help="rows are JSON lines: one object per line, in a file named .jsonl")
