"""The run folder: parts written whole and journalled, one writer, a manifest, recovery."""

from __future__ import annotations

import errno
import fcntl
import hashlib
import json
import os
import re
import shutil
import time
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rmbench.errors import EnvironmentFault, InputError, RunFolderError
from rmbench.guard import exists

if TYPE_CHECKING:
    from collections.abc import Iterator

SCHEMA = 1
NEEDED = ("name", "suite", "base", "data_dir", "kind", "resolved", "fingerprint", "identity", "failures", "problems")
MANIFEST, JOURNAL, LOCK = "manifest.json", "journal.jsonl", ".lock"
INSIDE = ("samples", "scores", "training", "logs", "report", "quarantine", JOURNAL, MANIFEST)
TEMPORARY = re.compile(r"\.tmp-\d+$")
SAFE = re.compile(r"[a-z0-9][a-z0-9._+-]{0,99}")
RESERVED = {"con", "prn", "aux", "nul"}


def folder_name(name: str) -> str:
    """Return a name as a folder's: itself where that is safe, else a slug and a hash."""
    if SAFE.fullmatch(name) and name.split(".", maxsplit=1)[0] not in RESERVED:
        return name
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")[:40] or "x"
    return f"{slug}-{hashlib.sha256(name.encode(errors='surrogatepass')).hexdigest()[:8]}"


def canonical(value: Any) -> bytes:
    """Return indented JSON with a final newline; NaN is refused."""
    try:
        return (json.dumps(value, indent=1, ensure_ascii=False, allow_nan=False) + "\n").encode()
    except UnicodeEncodeError:  # a path whose bytes are no UTF-8: its surrogates are written as escapes
        return (json.dumps(value, indent=1, allow_nan=False) + "\n").encode()


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
        try:
            with temporary.open("wb") as file:
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


def append_whole(path: Path, data: bytes) -> None:
    """Append a line to a journal and sync it; where that fails the journal is as long as before."""
    with faults(path), path.open("ab") as journal:
        before = journal.tell()
        try:
            journal.write(data)
            journal.flush()
            os.fsync(journal.fileno())
        except OSError:
            with suppress(OSError):
                os.ftruncate(journal.fileno(), before)
            raise


class RunFolder:
    """An open run folder. ``create`` and ``open`` lock it for writing; ``RunFolder(path)`` only reads."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.parts: dict[str, str] = {}
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
                write_whole(run.path / MANIFEST, canonical(manifest))
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
        for name in INSIDE:
            if (path / name).is_symlink():
                raise RunFolderError(f"{name} is a symbolic link", where=str(path), help="run again into a new folder")
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

    def close(self) -> None:
        """Release the lock."""
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None

    def manifest(self) -> dict[str, Any]:
        """Read the manifest.

        Raises:
            RunFolderError: none here, damaged, or of a newer schema.
        """
        path = self.path / MANIFEST
        try:
            manifest = json.loads(path.read_bytes())
        except FileNotFoundError as error:
            raise InputError(
                "is no run folder (no manifest.json)",
                where=str(self.path),
                help="give the folder of `rmbench run --out`",
            ) from error
        except (ValueError, OSError) as error:
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
        return manifest["schema"] != SCHEMA or all(key in manifest for key in NEEDED)

    def write_manifest(self, manifest: dict[str, Any]) -> None:
        """Replace the manifest."""
        write_whole(self.path / MANIFEST, canonical(manifest))

    def commit(self, name: str, data: bytes, *, rows: int) -> None:
        """Write a part whole, then journal it with its sha256. Called by the driver only."""
        write_whole(self.path / name, data)
        digest = hashlib.sha256(data).hexdigest()
        line = json.dumps({"part": name, "sha256": digest, "rows": rows}) + "\n"
        append_whole(self.path / JOURNAL, line.encode())
        self.parts[name] = digest

    def journal(self) -> dict[str, str]:
        """Return the journalled parts with their sha256; a cut last line is no part."""
        found: dict[str, str] = {}
        path = self.path / JOURNAL
        for line in path.read_bytes().split(b"\n") if path.exists() else ():
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            name = self._part_of(entry)
            found[name] = entry["sha256"]
        return found

    def _part_of(self, entry: Any) -> str:
        """Return the part that a journal entry names: a path inside the folder, in samples/ or scores/.

        Raises:
            RunFolderError: it is no entry of ours; a run folder is not trusted.
        """
        if isinstance(entry, dict) and isinstance(entry.get("part"), str) and isinstance(entry.get("sha256"), str):
            path = PurePosixPath(entry["part"])
            if not path.is_absolute() and ".." not in path.parts and path.parts[:1] in (("samples",), ("scores",)):
                return str(entry["part"])
        raise RunFolderError(
            "holds an entry that rmbench did not write",
            where=str(self.path / JOURNAL),
            help="run again into a new folder",
        )

    def _intact(self, name: str, digest: str) -> bool:
        path = self.path / name
        return path.is_file() and hashlib.sha256(path.read_bytes()).hexdigest() == digest

    def recover(self) -> None:
        """Keep the parts whose hash is right; move a changed one to quarantine/; drop temporary files."""
        journal = self.journal()
        self.parts = {name: digest for name, digest in journal.items() if self._intact(name, digest)}
        for name in set(journal) - set(self.parts):
            if (self.path / name).exists():
                target = self.path / "quarantine" / name.replace("/", "__")
                target.parent.mkdir(exist_ok=True)
                (self.path / name).replace(target)
        for leftover in self.path.rglob("*.tmp-*"):
            if TEMPORARY.search(leftover.name) and leftover.is_file():
                leftover.unlink(missing_ok=True)
        if journal.keys() != self.parts.keys() or not self._ends_whole():
            self._write_journal()

    def _ends_whole(self) -> bool:
        path = self.path / JOURNAL
        return not path.exists() or path.read_bytes()[-1:] in (b"\n", b"")

    def forget(self, *folders: str) -> None:
        """Remove the parts under these folders with all else that stands there, then from the journal."""
        for folder in folders:
            with faults(self.path / folder):
                shutil.rmtree(self.path / folder, ignore_errors=not (self.path / folder).exists())
        gone = tuple(f"{folder}/" for folder in folders)
        self.parts = {name: digest for name, digest in self.parts.items() if not name.startswith(gone)}
        self._write_journal()

    def _write_journal(self) -> None:
        lines = [json.dumps({"part": name, "sha256": digest}) + "\n" for name, digest in self.parts.items()]
        write_whole(self.path / JOURNAL, "".join(lines).encode())

    def names(self, folder: str) -> list[str]:
        """Return the journalled parts under a folder, in order."""
        parts = self.parts or self.journal()
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
