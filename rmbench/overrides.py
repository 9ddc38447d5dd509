"""What the command line or a Python call changes in a suite, written into the suite itself."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import guard
from rmbench.api import NAME, Reward
from rmbench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


@dataclass(frozen=True, slots=True)
class Overrides:
    """What the command line or a Python call changes in a suite; None and () leave it as it is."""

    tasks: Sequence[Any] = ()
    rewards: Sequence[Any] = ()
    options: Sequence[tuple[str, str, Any]] = ()
    kind: str | None = None
    seed: int | None = None
    limit: int | None = None
    unscored: str | None = None
    timeout: float | None = None
    data_dir: Path | None = None
    base: Path = field(default_factory=Path.cwd)


def _placed_task(name: Any, base: Path) -> Any:
    return str((base / name).resolve()) if isinstance(name, (str, Path)) and guard.exists(base / name) else name


def _placed_reward(entry: Any, base: Path) -> Any:
    if isinstance(entry, dict):
        return {**entry, "use": _placed_reward(entry.get("use"), base)}
    if isinstance(entry, str) and (parts := entry.rpartition(":"))[0].endswith(".py"):
        return f"{(base / parts[0]).resolve()}:{parts[2]}"
    if isinstance(entry, str) and os.sep in entry and (base / entry).is_dir():  # a fitted model's folder
        return os.path.abspath(base / entry)  # noqa: PTH100 - resolve() would follow links
    return entry


def merged(given: Mapping[str, Any], over: Overrides, where: str) -> dict[str, Any]:
    """Return the suite with the changes in it, and their relative paths made absolute.

    Raises:
        InputError: an option of a reward that is not in the run.
    """
    changes: dict[str, Any] = {
        "tasks": [_placed_task(name, over.base) for name in over.tasks] or None,
        "rewards": [_placed_reward(entry, over.base) for entry in over.rewards] or None,
        "seeds": None if over.seed is None else [over.seed],
        "limit": over.limit,
        "unscored": over.unscored,
        "timeout": over.timeout,
    }
    new = {**given, **{key: value for key, value in changes.items() if value is not None}}
    if over.options:
        models = new.get("reward_model", [])
        fitted = (
            {entry.get("name") for entry in models if isinstance(entry, dict)} if isinstance(models, list) else set()
        )
        to_fit = [one for one in over.options if one[0] in fitted]
        if to_fit:
            new["reward_model"] = [_with_fit_options(entry, to_fit) for entry in models]
        if len(to_fit) < len(over.options):
            others = [one for one in over.options if one[0] not in fitted]
            trained = [one.get("name") for key in ("policy", "train") for one in tables_of(new, key)]
            known = sorted(map(str, [*fitted, *trained]))
            new["rewards"] = _with_options(new.get("rewards"), others, where, known, policies=bool(trained))
    return new


def label(entry: Any) -> str:
    """Return what a reward of the suite is called on the command line: its name, else its use."""
    use = entry.get("name", entry.get("use")) if isinstance(entry, dict) else entry
    return str(use).rpartition(":")[2] if ".py:" in str(use) else str(use)


def _with_options(
    entries: Any, options: Sequence[tuple[str, str, Any]], where: str, known: Sequence[str], *, policies: bool
) -> list[Any]:
    if not isinstance(entries, list):
        return []
    labels = [label(entry) for entry in entries]
    for name, key, _ in options:
        if name not in labels:
            raise InputError(
                f"-o {name}.{key}: no reward{' or policy' if policies else ''} {name!r} in this run",
                help=did_you_mean(name, [*labels, *known]),
            )
    changed = []
    for entry, mine in zip(entries, labels, strict=True):
        wanted = {key: value for name, key, value in options if name == mine}
        table = reward_entry(entry, where)
        changed.append({**table, "options": {**table.get("options", {}), **wanted}} if wanted else entry)
    return changed


def tables_of(given: Mapping[str, Any], key: str) -> list[dict[str, Any]]:
    """Return the tables of a suite under a key, before they are checked: what is none is left out."""
    tables = given.get(key, [])
    return [table for table in tables if isinstance(table, dict)] if isinstance(tables, list) else []


def _with_fit_options(entry: Any, options: Sequence[tuple[str, str, Any]]) -> Any:
    wanted = {key: value for name, key, value in options if isinstance(entry, dict) and name == entry.get("name")}
    return {**entry, "options": {**entry.get("options", {}), **wanted}} if wanted else entry


def reward_entry(entry: Any, where: str) -> dict[str, Any]:
    """Return a reward of a suite as a table with ``use``; its keys are checked."""
    if not isinstance(entry, dict):
        entry = {"use": entry}
    if not (isinstance(entry.get("use", ""), (str, Reward)) or callable(entry["use"])):
        raise InputError(f"reward {entry['use']!r} is no name", where=where, help='rewards = ["rouge-l", ...]')
    keys = {"use", "name", "options", "optional"}
    for key in entry:
        if key not in keys:
            raise InputError(f"unknown key {key!r} in a reward", where=where, help=did_you_mean(key, keys))
    if isinstance(entry.get("name"), str) and not NAME.fullmatch(entry["name"]):
        raise InputError(
            f"reward name {entry['name']!r} does not match {NAME.pattern}", where=where, help="lower-case letters"
        )
    if "use" not in entry:
        raise InputError(
            "a reward has no `use`", where=where, help='{ use = "rouge-l", name = "...", options = { ... } }'
        )
    if not isinstance(entry.get("options", {}), dict) or not isinstance(entry.get("name", ""), str):
        raise InputError(
            "a reward's name is a string and its options a table", where=where, help="options = { key = value }"
        )
    return dict(entry)
