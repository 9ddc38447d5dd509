"""The plain values of a suite: keys, seeds, limits and names, each wrong one told with its line, all at once."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.checks import Problems, show
from rmbench.errors import InputError, did_you_mean
from rmbench.toml_file import line_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rmbench.overrides import Overrides

    Lines = Callable[[str], str]

KEYS = {
    "name", "tasks", "rewards", "metrics", "studies", "seeds", "limit", "unscored", "timeout", "reward_model", "policy",
    "train", "tune",
}  # fmt: skip
STUDIES = ("score", "agree", "optimise", "speed")
LATER_STUDIES = ("probe",)
LARGEST = 2**63 - 1
DEFAULT_TIMEOUT = 300.0
_TYPES = {int: "a whole number", float: "a number", str: "a string", list: "a list"}


def lines(where: str, over: Overrides) -> Lines:
    """Return what gives the place of a suite's key: ``path:line``, or nothing where the command line gave the value."""
    text = text_of(Path(where)) if where.endswith(".toml") and Path(where).is_file() else ""
    changed = {
        "tasks": bool(over.tasks),
        "rewards": bool(over.rewards),
        "seeds": over.seed is not None,
        "limit": over.limit is not None,
        "unscored": over.unscored is not None,
        "timeout": over.timeout is not None,
    }

    def place(key: str) -> str:
        line = line_of(text, key) if text else None
        return "" if changed.get(key) else f"{where}:{line}" if line else where

    return place


def check_keys(given: Mapping[str, Any], at: Lines) -> None:
    """Raise an ``InputError`` for every key that a suite does not have."""
    problems = Problems()
    for key in given:
        if key not in KEYS:
            problems.add(InputError(f"unknown key {key!r}", where=at(key), help=did_you_mean(key, KEYS)))
    problems.raise_any()


def check(given: Mapping[str, Any], at: Lines) -> None:
    """Raise the errors of all plain values together."""
    problems = Problems()
    for each in (name, entries, limit, timeout, seeds, unscored, studies, metrics):
        try:
            each(given, at)
        except InputError as error:
            problems.add(error)
    problems.raise_any()


def _value(given: Mapping[str, Any], key: str, default: Any, kind: type, at: Lines) -> Any:
    if key not in given:
        return default
    value = given[key]
    if isinstance(value, bool) or not isinstance(value, (int, float) if kind is float else kind):
        example = default if default is not None else {int: 100, list: ["..."]}.get(kind, "...")
        what = f"{key} is {show(value)}, expected {_TYPES[kind]}"
        raise InputError(what, where=at(key), help=f"write {key} = {show(example)}")
    return value


def name(given: Mapping[str, Any], at: Lines) -> str:
    """Return the suite's name."""
    found: str = _value(given, "name", "suite", str, at)
    return found


def entries(given: Mapping[str, Any], at: Lines) -> None:
    """Raise an ``InputError`` unless there are tasks and rewards, in lists."""
    problems = Problems()
    for key in ("tasks", "rewards"):
        if not isinstance(given.get(key), list) or not given[key]:
            what = f"is {show(given[key])}, expected a list" if given.get(key) else "is missing or empty"
            advice = f'{key} = ["..."] (see `rmbench list {key}`)'
            problems.add(InputError(f"{key} {what}", where=at(key), help=advice))
    problems.raise_any()


def seeds(given: Mapping[str, Any], at: Lines) -> tuple[int, ...]:
    """Return the seeds, 0 to 2^63-1, each once."""
    found = _value(given, "seeds", [1], list, at)
    for seed in found:
        if not isinstance(seed, int) or isinstance(seed, bool) or not 0 <= seed <= LARGEST:
            what = f"seed {show(seed)} is not a whole number from 0 to 2^63-1"
            raise InputError(what, where=at("seeds"), help="write seeds = [1]")
        if found.count(seed) > 1:
            raise InputError(f"seed {seed} stands twice in seeds", where=at("seeds"), help="leave one out")
    if not found:
        raise InputError("seeds is empty, expected at least one", where=at("seeds"), help="write seeds = [1]")
    return tuple(found)


def limit(given: Mapping[str, Any], at: Lines) -> int | None:
    """Return the most samples of a task, or None."""
    found: int | None = _value(given, "limit", None, int, at)
    if found is not None and not 1 <= found <= LARGEST:
        what = f"limit is {show(found)}, expected at least 1" + (" and at most 2^63-1" if found > 0 else "")
        raise InputError(what, where=at("limit"), help="leave it out to take every sample")
    return found


def timeout(given: Mapping[str, Any], at: Lines) -> float:
    """Return the seconds of a batch (0: none)."""
    found = _value(given, "timeout", DEFAULT_TIMEOUT, float, at)
    if not 0 <= found < float(LARGEST):
        what = f"timeout is {str(found)[:40]}, expected seconds (0: none)"
        raise InputError(what, where=at("timeout"), help="write timeout = 300")
    return float(found)


def unscored(given: Mapping[str, Any], at: Lines) -> Any:
    """Return how rows without a score count, or None."""
    return _choice(given.get("unscored"), ("wrong", "exclude"), "unscored", at)


def _choice(value: Any, choices: Sequence[str], key: str, at: Lines) -> Any:
    if value is not None and value not in choices:
        what = f"{key} is {show(value)}, expected {' or '.join(choices)}"
        raise InputError(what, where=at(key), help=did_you_mean(str(value)[:200], choices))
    return value


def _strings(given: Mapping[str, Any], key: str, at: Lines) -> tuple[str, ...] | None:
    values = _value(given, key, None, list, at)
    if values is None:
        return None
    if not all(isinstance(value, str) for value in values):
        raise InputError(f"{key} holds something else than strings", where=at(key), help=f'{key} = ["..."]')
    return tuple(values)


def studies(given: Mapping[str, Any], at: Lines) -> tuple[str, ...]:
    """Return the studies of a run, the scores first."""
    named = _strings(given, "studies", at)
    for study in named or ():
        if study in LATER_STUDIES:
            what = f"the study {study!r} is not in this version of rmbench"
            raise InputError(what, where=at("studies"), help=f"there are {', '.join(STUDIES)}")
        _choice(study, STUDIES, "studies", at)
    if named is None:
        return ("score", "agree", *(["optimise"] if given.get("policy") or given.get("train") else []))
    return ("score", *(s for s in STUDIES[1:] if s in named))


def metrics(given: Mapping[str, Any], at: Lines) -> tuple[str, ...] | None:
    """Return the names of metrics as they stand, or None."""
    return _strings(given, "metrics", at)


def tasks(given: Mapping[str, Any], at: Lines) -> Iterable[str]:
    """Return the tasks as they are named."""
    for task in given["tasks"]:
        if not isinstance(task, str):
            advice = 'tasks = ["name", "folder", "file.jsonl"]'
            raise InputError(f"task {show(task)} is not a string", where=at("tasks"), help=advice)
    named: list[str] = given["tasks"]
    return named
