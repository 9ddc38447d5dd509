"""The run folder: parts written whole and journalled, one writer, a manifest, recovery."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import itertools
import json
import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path
from types import UnionType  # noqa: TC003 - NEEDED is read
from typing import TYPE_CHECKING, Any

from rmbench import journal
from rmbench.errors import EnvironmentFault, InputError, RunFolderError
from rmbench.guard import exists
from rmbench.journal import Entry, Journal

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

SCHEMA = 1
NEEDED: dict[str, type | UnionType] = {
    "name": str, "suite": dict, "base": str, "data_dir": str | None, "kind": str | None, "resolved": dict,
    "fingerprint": str, "identity": dict, "failures": dict, "problems": list,
}  # fmt: skip
MANIFEST, JOURNAL, LOCK, SEAL = "manifest.json", "journal.jsonl", ".lock", "sha256"
OF_PARTS = ("samples", "scores")
INSIDE = (*OF_PARTS, "training", "logs", "report", "quarantine", JOURNAL, MANIFEST, "results.json", "measurements.json")
TEMPORARY = re.compile(r"\.tmp-\d+$")
SAFE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,99}")
RESERVED = {"con", "prn", "aux", "nul", *(f"{port}{number}" for port in ("com", "lpt") for number in range(10))}


def folder_name(name: str) -> str:
    """Return a name as a folder's: itself where that is safe, else a slug and a hash."""
    if SAFE.fullmatch(name) and not name.endswith(".") and name.split(".", maxsplit=1)[0] not in RESERVED:
        return name
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "x"
    return f"{slug}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def canonical(value: Any) -> bytes:
    """Return indented JSON with a final newline; NaN is refused."""
    try:
        return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # a path whose bytes are no UTF-8: its surrogates are written as escapes
        return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


def sealed(manifest: Mapping[str, Any]) -> bytes:
    """Return a manifest as bytes, with the sha256 of the rest as its last key: it tells accidents, not forgers."""
    told = {key: value for key, value in manifest.items() if key != SEAL}
    return canonical({**told, SEAL: hashlib.sha256(canonical(told)).hexdigest()})


@contextmanager
def faults(path: Path, *, creating: bool = False) -> Iterator[None]:
    """Turn an OSError on a path into an error that names it and says what to do."""
    try:
        yield
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            free = shutil.disk_usage(next(one for one in (path, *path.parents) if exists(one))).free
            raise EnvironmentFault(
                f"no space to write ({free:,} bytes free)",
                where=str(path),
                help="free some space, then resume with --resume",
            ) from error
        if creating and error.errno in (errno.ENOTDIR, errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG):
            what = error.strerror if str(error.filename) == str(path) else f"{error.strerror}: {error.filename}"
            raise InputError(
                f"cannot be the run folder: {what}", where=str(path), help="choose another --out"
            ) from error
        raise EnvironmentFault(
            f"{error.strerror}", where=str(path), help="check the folder and its permissions"
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in this folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file so that it is there whole or not at all: temporary name, fsync, rename, fsync of the folder."""
    with faults(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary = path.with_name(f"{path.name}.tmp-{os.getpid()}")
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC  # a folder may hold planted links
        try:
            with os.fdopen(os.open(temporary, flags, 0o666), "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            temporary.rename(path)
        except OSError:  # a sync that failed once may succeed on lost data: nothing of this try is used
            temporary.unlink(missing_ok=True)
            raise
        sync_folder(path.parent)


def append(path: Path, data: bytes) -> None:
    """Append to a log, never through a symbolic link."""
    with faults(path):
        handle = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        with os.fdopen(handle, "ab") as log:
            log.write(data)


def _read(path: Path) -> bytes:
    """Read a file; a pipe of its name is not waited for."""
    if path.exists() and not path.is_file():
        raise OSError(errno.EINVAL, "it is no file")
    return path.read_bytes()


def append_whole(path: Path, data: bytes) -> None:
    """Append a line to a journal and sync it; where that fails the journal is as long as before."""
    with faults(path), path.open("ab") as log:
        before = log.tell()
        try:
            log.write(data)
            log.flush()
            os.fsync(log.fileno())
        except OSError:
            with suppress(OSError):
                os.ftruncate(log.fileno(), before)
            raise


class RunFolder:
    """An open run folder. ``create`` and ``open`` lock it for writing; ``RunFolder(path)`` only reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, Entry] = {}
        self._lock: int | None = None

    @staticmethod
    def is_run(path: Path) -> bool:
        """Whether the folder holds a manifest of ours."""
        return exists(path / MANIFEST)

    @classmethod
    def create(cls, path: Path, manifest: dict[str, Any]) -> RunFolder:
        """Make the folder appear with its manifest inside, locked.

        Raises:
            RunFolderError: another process has made it meanwhile.
        """
        with faults(path, creating=True):
            path.parent.mkdir(parents=True, exist_ok=True)
            clear(path)
            run = cls(hidden(path))
            run.path.mkdir()
            try:
                run.lock()
                write_whole(run.path / MANIFEST, sealed(manifest))
                run.appear(path)
                sync_folder(path.parent)
            except BaseException as error:
                shutil.rmtree(hidden(path), ignore_errors=True)
                run.close()
                if isinstance(error, EnvironmentFault):  # the user knows the folder, not what it is made as
                    raise EnvironmentFault(error.what, where=str(path), help=error.help) from error
                raise
        return run

    def appear(self, path: Path) -> None:
        """Take the place of nothing or of an empty folder."""
        try:
            self.path.rename(path)
        except OSError as error:
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST) and self.is_run(path):
                RunFolder(path).lock()  # raises and names who was first
                raise RunFolderError(
                    "another process has made a run here", where=str(path), help="choose another --out"
                ) from error
            raise
        self.path = path

    @classmethod
    def reopen(cls, path: Path) -> RunFolder:
        """Lock an existing run folder; ``recover`` then keeps the parts whose hash is right."""
        run = cls(path)
        if found := run.links():
            raise RunFolderError(f"{found[0]} is a symbolic link", where=str(path), help="run again into a new folder")
        run.lock()
        return run

    def lock(self) -> None:
        """Take the one writer's lock; it dies with the process."""
        with faults(self.path):
            handle = os.open(self.path / LOCK, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o644)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            holder = os.read(handle, 200).decode(errors="replace").strip()
            os.close(handle)
            raise RunFolderError(
                f"another process writes here ({holder})", where=str(self.path), help="wait for it to end"
            ) from error
        self._lock = handle
        with faults(self.path / LOCK):
            os.ftruncate(handle, 0)
            os.pwrite(handle, f"pid {os.getpid()} on {os.uname().nodename} since {now()}\n".encode(), 0)

    def writer(self) -> str | None:
        """Return who writes here now, None where nobody does. Nothing is made where there is no lock file."""
        try:
            handle = os.open(self.path / LOCK, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError:
            return None
        try:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except OSError:
            return os.read(handle, 200).decode(errors="replace").strip()
        finally:
            os.close(handle)
        return None

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def manifest(self) -> dict[str, Any]:
        """Read the manifest, without its seal.

        Raises:
            InputError: none here.
            RunFolderError: damaged, or of a newer schema.
        """
        return {key: value for key, value in self._manifest().items() if key != SEAL}

    def seal_broken(self) -> bool:
        """Whether the manifest was changed since it was written; one of an earlier version has no seal."""
        manifest = self._manifest()
        seal = manifest.pop(SEAL, None)
        return seal is not None and seal != hashlib.sha256(canonical(manifest)).hexdigest()

    def _manifest(self) -> dict[str, Any]:
        path = self.path / MANIFEST
        try:
            manifest = json.loads(_read(path))
        except FileNotFoundError as error:
            raise InputError(
                "is no run folder (no manifest.json)",
                where=str(self.path),
                help="give the folder of `rmbench run --out`",
            ) from error
        except (ValueError, OSError, RecursionError) as error:
            raise RunFolderError(f"damaged: {error}", where=str(path), help="run again into a new folder") from error
        if not isinstance(manifest, dict) or not isinstance(manifest.get("schema"), int) or not self._whole(manifest):
            raise RunFolderError("is no manifest of rmbench", where=str(path), help="run again into a new folder")
        if manifest["schema"] > SCHEMA:
            raise RunFolderError(
                f"has schema {manifest['schema']}, this rmbench reads up to {SCHEMA}",
                where=str(path),
                help="upgrade rmbench",
            )
        return manifest

    def _whole(self, manifest: dict[str, Any]) -> bool:
        """Whether a manifest of this schema has what the readers need."""
        return manifest["schema"] != SCHEMA or all(
            key in manifest and isinstance(manifest[key], kinds) for key, kinds in NEEDED.items()
        )

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_whole(self.path / MANIFEST, sealed(manifest))

    def commit(self, name: str, data: bytes, *, rows: int) -> None:
        """Write a part whole, then journal it with its sha256. Called by the driver only."""
        write_whole(self.path / name, data)
        entry = Entry(hashlib.sha256(data).hexdigest(), rows, len(data))
        append_whole(self.path / JOURNAL, entry.line(name))
        self.parts[name] = entry

    def journal(self) -> Journal:
        """Return what the journal says of the parts.

        Raises:
            RunFolderError: it holds an entry that rmbench did not write.
        """
        return journal.read(self.path / JOURNAL)

    def recover(self) -> None:
        """Keep the parts whose hash is right; move a changed one to quarantine/; drop temporary files."""
        listed = self.journal().entries
        self.parts = {name: entry for name, entry in listed.items() if entry.holds(self.path / name)}
        for name in listed:
            if name not in self.parts and (self.path / name).exists():
                self.quarantine(name)
        for leftover in self.path.rglob("*.tmp-*"):
            if TEMPORARY.search(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)
        path = self.path / JOURNAL
        if path.exists() and path.read_bytes() != journal.write(self.parts):
            self._write_journal()

    def links(self) -> list[str]:
        """Return the symbolic links of the folder, relative to it, sorted: rmbench makes none and follows none."""
        found = [name for name in INSIDE if (self.path / name).is_symlink()]
        for top in set(INSIDE) - set(found):
            for place, folders, files in os.walk(self.path / top):
                found += [
                    str((Path(place) / name).relative_to(self.path))
                    for name in (*folders, *files)
                    if (Path(place) / name).is_symlink()
                ]
        return sorted(found)

    def extra(self) -> list[str]:
        """Return the files of samples/ and scores/ that no line of the journal names, relative to the run, sorted."""
        known = self.parts or self.journal().entries
        files = (file for folder in OF_PARTS for file in (self.path / folder).rglob("*") if not file.is_dir())
        return sorted(name for file in files if (name := file.relative_to(self.path).as_posix()) not in known)

    def sweep(self) -> None:
        """Move what is no part of the finished run out of samples/ and scores/."""
        for name in self.extra():
            self.quarantine(name)

    def quarantine(self, name: str) -> None:
        """Move a file into quarantine/, beside what an earlier repair put there."""
        folder = self.path / "quarantine"
        with faults(folder):
            folder.mkdir(exist_ok=True)
            plain = name.replace("/", "__")[-200:]
            taken = {one.name for one in folder.iterdir()}
            free = (f"{plain}.{number}" if number else plain for number in itertools.count())
            (self.path / name).rename(folder / next(one for one in free if one not in taken))

    def forget(self, *folders: str) -> None:
        """Remove the parts under these folders with all else that stands there, then from the journal."""
        for folder in folders:
            with faults(self.path / folder):
                shutil.rmtree(self.path / folder, ignore_errors=not (self.path / folder).exists())
        gone = tuple(f"{folder}/" for folder in folders)
        self.parts = {name: entry for name, entry in self.parts.items() if not name.startswith(gone)}
        self._write_journal()

    def _write_journal(self) -> None:
        write_whole(self.path / JOURNAL, journal.write(self.parts))

    def names(self, folder: str) -> list[str]:
        """Return the journalled parts under a folder, in order."""
        parts = self.parts or self.journal().entries
        return sorted(name for name in parts if name.startswith(folder + "/") and name.endswith(".parquet"))


def hidden(path: Path, what: str = "") -> Path:
    """Return where a folder is made, or put aside, next to its place: a name that is never too long."""
    return path.with_name(f".{folder_name(path.name)}{what}.tmp-{os.getpid()}")


def clear(path: Path) -> None:
    """Remove what killed processes left beside a folder's place; what a living one makes there stays."""
    ours = re.compile(rf"\.{re.escape(folder_name(path.name))}(\.old)?\.tmp-(\d+)")
    for left in path.parent.iterdir():
        found = ours.fullmatch(left.name)
        if found and not left.is_symlink() and not _alive(int(found[2])):
            shutil.rmtree(left, ignore_errors=True)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:
        return True
    return pid != os.getpid()  # a process before us had our number


def now() -> str:
    """Return the time in UTC, to the second."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
