"""The folder of a run: created, or reopened to go on with it."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError, RunFolderError
from rmbench.results import from_json
from rmbench.store import RunFolder, faults, hidden, now

if TYPE_CHECKING:
    from pathlib import Path

    from rmbench.runs import Settings

MEASUREMENTS = "measurements.json"
MOST_SHOWN = 60  # characters of a value that differs


def open_folder(path: Path, manifest: dict[str, Any], settings: Settings) -> tuple[RunFolder, dict[str, Any]]:
    """Create the run folder, or reopen it to resume.

    Raises:
        InputError: it is not empty and neither --resume nor --force was given.
        RunFolderError: it belongs to another suite, or another process writes there.
    """
    with faults(path, creating=True):
        path = path.resolve()  # a link to a run is that run
        filled = path.exists() and (not path.is_dir() or any(path.iterdir()))
    if filled and settings.resume and RunFolder.is_run(path):
        return _reopen(path, manifest)
    if filled and settings.force and RunFolder.is_run(path):
        old = RunFolder(path)
        try:
            old.manifest()  # any folder may hold a file of that name: only a run of ours is replaced
        except RunFolderError as error:
            raise InputError("is no run of rmbench", where=str(path), help="choose another --out") from error
        old.lock()
        with faults(path):
            aside = hidden(path, ".old")  # renamed first: what is half removed could be neither resumed nor replaced
            path.rename(aside)
            run = RunFolder.create(path, manifest)
            shutil.rmtree(aside, ignore_errors=True)
        old.close()
        return run, manifest
    if filled:
        advice = (
            "--resume to go on with it, --force to replace it"
            if RunFolder.is_run(path)
            else "it is no run folder: choose another --out"
        )
        raise InputError("is not empty", where=str(path), help=advice)
    return RunFolder.create(path, manifest), manifest


def _reopen(path: Path, manifest: dict[str, Any]) -> tuple[RunFolder, dict[str, Any]]:
    run = RunFolder.reopen(path)
    old = run.manifest()
    if old["fingerprint"] != manifest["fingerprint"]:
        run.close()
        before, after = old["identity"], manifest["identity"]
        changed = [_differs(key, before.get(key), after.get(key)) for key in {**before, **after}]
        raise RunFolderError(
            f"belongs to another run; what differs: {', '.join(filter(None, changed)) or 'its fingerprint alone'}",
            where=str(path),
            help="choose another --out, or --force",
        )
    with faults(path):
        run.recover()
        if _unreadable(path / MEASUREMENTS):
            run.quarantine(MEASUREMENTS)
    kept = {"started": old.get("started"), "command": old.get("command")}
    warnings = list(dict.fromkeys([*manifest["warnings"], *_words(old, "warnings")]))
    renewed = {**manifest, **kept, "warnings": warnings, "resumed": [*_words(old, "resumed"), now()]}
    run.write_manifest(renewed)
    return run, renewed


def _words(manifest: dict[str, Any], key: str) -> list[str]:
    """Return a list of texts of a manifest that may be edited, empty where it is none."""
    value = manifest.get(key)
    return [one for one in value if isinstance(one, str)] if isinstance(value, list) else []


def _unreadable(path: Path) -> bool:
    """Whether the measurements of an earlier start cannot be gone on with."""
    if not path.exists():
        return False
    try:
        from_json(path.read_bytes())
    except (RunFolderError, OSError):
        return True
    return False


def _differs(key: str, before: Any, after: Any) -> str:
    """Return what differs between two identities under a key, empty where nothing does."""
    if before == after:
        return ""
    if not (isinstance(before, dict) and isinstance(after, dict)) or "signatures" not in before:
        old, new = (json.dumps(value, ensure_ascii=True) for value in (before, after))
        return f"{key} ({old} there, {new} now)" if max(len(old), len(new)) <= MOST_SHOWN else key
    if {**before, "signatures": {}} != {**after, "signatures": {}}:
        return key
    old, new = before["signatures"], after["signatures"]
    return f"{key} (reward {', '.join(name for name in {**old, **new} if old.get(name) != new.get(name))})"
