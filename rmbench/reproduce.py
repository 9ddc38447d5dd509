"""Run a suite again as a manifest has it, and hold the new run against the old one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench.differences import Difference, differences
from rmbench.errors import InputError, InputErrors, RunFolderError
from rmbench.manifest import feedable, make_manifest
from rmbench.runs import Settings, new_folder, prepare
from rmbench.store import folder_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from rmbench.runs import Run
    from rmbench.suite import Plan

OBJECT = "<python object"
TOLD = ("identity", "versions", "machine")  # of a manifest: what may change a number
SINGLE = ("device", "git", "max_unscored")


@dataclass(frozen=True, slots=True)
class Comparison:
    """A run and its reproduction.

    Attributes:
        equal: results.json has the same bytes.
        results: how many results the first has.
        differences: results that are not alike.
        changes: what the manifests say has changed between the two, in words.
    """

    equal: bool
    results: int
    differences: list[Difference]
    changes: list[str]


def original(run: Run) -> dict[str, Any]:
    """Return the manifest of a run that can be made again.

    Raises:
        InputError: a reward was a Python object, which no manifest holds.
        RunFolderError: it is unfinished.
    """
    manifest = run.manifest
    where = str(run.folder)
    if manifest["status"] != "complete":
        raise RunFolderError(
            f"is unfinished ({manifest['status']}): there are no results to compare with", where=where,
            help=f"rmbench run --resume --out {where}",
        )  # fmt: skip
    entries = manifest["suite"].get("rewards")
    for entry in entries if isinstance(entries, list) else ():
        use = entry.get("use") if isinstance(entry, dict) else entry
        if isinstance(use, str) and use.startswith(OBJECT):
            raise InputError(
                f"its reward {use} was an object of a Python program, which a run folder does not hold", where=where,
                help="run that program again into another folder, then: rmbench compare RUN RUN",
            )  # fmt: skip
    return manifest


def settings_of(manifest: Mapping[str, Any], out: Path | None, *, workers: int | None, command: str) -> Settings:
    """Return how the run was made, with a new folder: ``runs/<name>-reproduced-<UTC time>`` by default."""
    return Settings(
        out or new_folder(f"{folder_name(manifest['name'])}-reproduced"),
        device=manifest["device"], max_unscored=manifest["max_unscored"], workers=workers, command=command,
    )  # fmt: skip


def check_data(manifest: Mapping[str, Any], plan: Plan, settings: Settings, where: str) -> None:
    """Hold the data that a plan reads now against those of the manifest, before anything is run.

    Raises:
        InputError, InputErrors: a file has another sha256 than it had.
    """
    sources = prepare(plan)
    now = data_of(make_manifest(feedable(plan, sources), sources, settings))
    errors = [
        InputError(
            f"{name} has the sha256 {now[name][:12]}..., the run read {sha256[:12]}...", where=where,
            help="put the old file back, name its folder with --data-dir, or run the suite anew: rmbench run",
        )
        for name, sha256 in data_of(manifest).items()
        if name in now and now[name] != sha256
    ]  # fmt: skip
    if len(errors) == 1:
        raise errors[0]
    if errors:
        raise InputErrors(errors)


def data_of(manifest: Mapping[str, Any]) -> dict[str, str]:
    """Return the sha256 of every file of data that a run reads, by what it is for and its name."""
    resolved = manifest["resolved"]
    named = [(f"task {task['name']}", task["sha256"]) for task in resolved["tasks"]]
    named += [
        (f"reward model {one['name']}", one["recipe"]["sha256"]) for one in resolved["rewards"] if "recipe" in one
    ]
    named += [(f"policy {one['name']}", one["record"]["sha256"]) for one in resolved.get("training", ())]
    return {f"{what}: {file}": sha256 for what, files in named for file, sha256 in files.items()}


def compare(first: Run, second: Run) -> Comparison:
    """Compare the results of two finished runs, and what their manifests say of how they were made."""
    old, new = ((run.folder / "results.json").read_bytes() for run in (first, second))
    found = [] if old == new else differences(first.rows, second.rows)
    return Comparison(old == new, len(first.rows), found, list(changes(first.manifest, second.manifest)))


def changes(first: Mapping[str, Any], second: Mapping[str, Any]) -> Iterator[str]:
    """Yield what differs between two manifests of all that may change a number, in words."""
    for key in SINGLE:
        if first.get(key) != second.get(key):
            yield f"{key}: {first.get(key)} before, {second.get(key)} again"
    for table in TOLD:
        before, after = (one.get(table) or {} for one in (first, second))
        for key in dict.fromkeys((*before, *after)):
            if before.get(key) != after.get(key):
                yield from _change(key, before.get(key), after.get(key))
    for name in dict.fromkeys((*first["failures"], *second["failures"])):
        if first["failures"].get(name) != second["failures"].get(name):
            reasons = (one["failures"].get(name, "could be used") for one in (first, second))
            yield f"{name}: {' before, '.join(reasons)} again"


def _change(key: str, before: Any, after: Any) -> Iterator[str]:
    """Yield what differs under a key, of tables each entry of its own."""
    if isinstance(before, dict) and isinstance(after, dict):
        for inner in dict.fromkeys((*before, *after)):
            if before.get(inner) != after.get(inner):
                yield from _change(f"{key}, {inner}", before.get(inner), after.get(inner))
    else:
        yield f"{key}: {before} before, {after} again"
