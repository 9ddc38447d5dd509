"""The folder of a search: what it is a search of, one writer, going on with it or replacing it."""

from __future__ import annotations

import json
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError, RunFolderError
from rmbench.rewards import fingerprint
from rmbench.store import RunFolder, canonical, faults, folder_name, write_whole
from rmbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rmbench.overrides import Overrides
    from rmbench.tuning import Search

SCHEMA = 1
ABOUT = "search.json"


@dataclass(frozen=True, slots=True)
class Settings:
    """How to search, as opposed to what: with one worker none of it changes a number."""

    out: Path
    resume: bool = False
    force: bool = False
    device: str = "cpu"
    workers: int = 1


def default_folder(search: Search) -> Path:
    """Return ``runs/<suite>-tune-<UTC time>``."""
    stamp = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    return Path("runs") / f"{folder_name(str(search.given.get('name', 'suite')))}-tune-{stamp}"


def is_search(folder: Path) -> bool:
    """Whether a folder holds a search."""
    return (folder / ABOUT).is_file()


def about(folder: Path) -> dict[str, Any]:
    """Return what a folder's search is: ``suite``, ``base``, ``where``, ``data_dir``, ``trials``, ``identity``.

    Raises:
        RunFolderError: damaged, or of a newer schema.
    """
    path = folder / ABOUT
    try:
        found = json.loads(path.read_bytes())
        whole = isinstance(found["suite"], dict) and {"base", "where", "data_dir", "trials", "identity"} <= set(found)
        schema = int(found["schema"])
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RunFolderError("is damaged", where=str(path), help="search again into a new folder") from error
    if not whole or schema > SCHEMA:
        raise RunFolderError(f"has schema {schema}, expected {SCHEMA}", where=str(path), help="upgrade rmbench")
    return dict(found)


def open_folder(search: Search, settings: Settings, signature: str, out: Path) -> RunFolder:
    """Make the folder of a search, or go on with what is in it; return it locked."""
    identity = {**search.identity(), "seeds": search.given.get("seeds", [1]), "signature": signature}
    identity = json.loads(canonical({**identity, "device": settings.device}))
    with faults(out, creating=True):
        filled = out.exists() and (not out.is_dir() or any(path.name != ".lock" for path in out.iterdir()))
        if filled and not is_search(out):
            raise InputError("is not empty, and holds no search", where=str(out), help="choose another --out")
        if filled and not (settings.resume or settings.force):
            help_ = "--resume to go on with it, --force to replace it"
            raise InputError("is not empty", where=str(out), help=help_)
        out.mkdir(parents=True, exist_ok=True)
    folder = RunFolder(out)
    folder.lock()
    try:
        if filled and settings.force and not settings.resume:
            _empty(out)
        elif filled:
            _check_same(about(out)["identity"], identity, out)
        given = {
            "schema": SCHEMA, "rmbench": __version__, "suite": dict(search.given), "base": str(search.base.resolve()),
            "where": search.where, "data_dir": str(search.data_dir.resolve()) if search.data_dir else None,
            "trials": search.trials, "identity": identity, "fingerprint": fingerprint(identity),
        }  # fmt: skip
        write_whole(out / ABOUT, canonical(given))
    except BaseException:
        folder.close()
        raise
    return folder


def _empty(out: Path) -> None:
    """Remove a search from its folder; its mark goes last."""
    with faults(out):
        for path in sorted(out.iterdir(), key=lambda path: path.name == ABOUT):
            if path.name == ".lock":
                continue
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink()


def _check_same(before: Any, after: Mapping[str, Any], out: Path) -> None:
    if before == after:
        return
    old = before if isinstance(before, dict) else {}
    changed = [key for key in {**old, **after} if old.get(key) != after.get(key)]
    raise RunFolderError(
        f"belongs to another search; what differs: {', '.join(changed)}", where=str(out),
        help="choose another --out, or --force",
    )  # fmt: skip


def from_folder(out: Path, over: Overrides) -> tuple[dict[str, Any], Path, str, Path | None, int]:
    """Return suite, base, place for errors, data folder and number of trials of the search in a folder."""
    found = about(out)
    data = over.data_dir or (Path(found["data_dir"]) if found["data_dir"] else None)
    return found["suite"], Path(found["base"]), found["where"], data, found["trials"]
