"""The manifest of a run as plain text: what was asked for, what ran, on what. Missing things read "unknown"."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rmbench.report.escape import plain
from rmbench.report.numbers import UNKNOWN
from rmbench.report.rows import LARGEST


@dataclass(frozen=True, slots=True)
class TaskCard:
    """A task of a run; ``label`` is ``summeval@1#b3335a80``; ``rows`` and ``samples`` are counts."""

    name: str
    label: str = UNKNOWN
    kind: str = UNKNOWN
    main: str | None = None
    good: float | None = None
    description: str = ""
    licence: str = UNKNOWN
    languages: str = UNKNOWN
    rows: int | None = None
    samples: int | None = None
    sha256: str = UNKNOWN


@dataclass(frozen=True, slots=True)
class RewardCard:
    """A reward of a run: where it came from and whether it is ranked (null rewards and oracles are not)."""

    name: str
    use: str = UNKNOWN
    options: str = ""
    version: str = UNKNOWN
    plugin: str = UNKNOWN
    distribution: str = UNKNOWN
    null: bool = False
    oracle: bool = False
    doc: str = ""
    unscored: str = "wrong"


@dataclass(frozen=True, slots=True)
class RunCard:
    """A run: its tasks, its rewards, and what is needed to make it again."""

    name: str
    status: str
    tasks: tuple[TaskCard, ...]
    rewards: tuple[RewardCard, ...]
    studies: str
    seeds: str
    limit: int | None
    versions: tuple[tuple[str, str], ...]
    git: str
    device: str
    command: str
    started: str
    finished: str
    problems: tuple[str, ...]
    warnings: tuple[str, ...]


def read_manifest(manifest: Mapping[str, Any], name: str = "") -> RunCard:
    """Return the card of a run; ``name`` overrides the suite's (a run folder's name says more)."""
    resolved = _mapping(manifest.get("resolved"))
    return RunCard(
        name=plain(name) or _text(manifest.get("name")),
        status=_text(manifest.get("status")),
        tasks=tuple(_task(_mapping(task)) for task in _items(resolved.get("tasks"))),
        rewards=tuple(_reward(_mapping(reward)) for reward in _items(resolved.get("rewards"))),
        studies=_join(resolved.get("studies")),
        seeds=_join(resolved.get("seeds")),
        limit=_integer(resolved.get("limit")),
        versions=tuple((plain(str(k)), _text(v)) for k, v in sorted(_mapping(manifest.get("versions")).items())),
        git=_text(manifest.get("git")),
        device=_text(manifest.get("device")),
        command=_text(manifest.get("command")),
        started=_text(manifest.get("started")),
        finished=_text(manifest.get("finished")),
        problems=_problems(manifest),
        warnings=tuple(_text(warning) for warning in _items(manifest.get("warnings"))),
    )


def _task(task: Mapping[str, Any]) -> TaskCard:
    return TaskCard(
        name=_text(task.get("name")),
        label=_text(task.get("label")),
        kind=_text(task.get("kind")),
        main=None if task.get("main") is None else _text(task["main"]),
        good=_number(task.get("good")),
        description=_text(task.get("description"), ""),
        licence=_text(task.get("licence")),
        languages=_join(task.get("languages")),
        rows=_integer(task.get("rows")),
        samples=_integer(task.get("samples")),
        sha256=_options(task.get("sha256")) or UNKNOWN,
    )


def _reward(reward: Mapping[str, Any]) -> RewardCard:
    made_by = _text(reward.get("distribution"))
    return RewardCard(
        name=_text(reward.get("name")),
        use=_text(reward.get("use")),
        options=_options(reward.get("options")),
        version=_text(reward.get("version")),
        plugin=_text(reward.get("plugin")),
        distribution=f"{made_by} {_text(reward.get('distribution_version'))}" if made_by != UNKNOWN else UNKNOWN,
        null=reward.get("null") is True,
        oracle=reward.get("oracle") is True,
        doc=_text(reward.get("doc"), ""),
        unscored=_text(reward.get("unscored"), "wrong"),
    )


def _problems(manifest: Mapping[str, Any]) -> tuple[str, ...]:
    unusable = _mapping(manifest.get("failures"))
    policies = {_mapping(one).get("name") for one in _items(_mapping(manifest.get("resolved")).get("training"))}
    told = [
        f"policy {plain(str(name))} could not be trained: {_text(why)}"
        if name in policies
        else f"reward {plain(str(name))} could not be used: {_text(why)}"
        for name, why in sorted(unusable.items())
    ]
    return (*told, *(_text(problem) for problem in _items(manifest.get("problems"))))


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}


def _items(value: object) -> Sequence[Any]:
    return value if isinstance(value, Sequence) and not isinstance(value, str) else ()


def _text(value: object, missing: str = UNKNOWN) -> str:
    return missing if value is None or value == "" else plain(str(value))


def _join(value: object) -> str:
    return ", ".join(_text(item) for item in _items(value)) or UNKNOWN


def _options(value: object) -> str:
    if not isinstance(value, Mapping):
        return _text(value, "")
    return ", ".join(f"{plain(str(key))} = {_text(item)}" for key, item in sorted(value.items()))


def _integer(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _number(value: object) -> float | None:
    if not isinstance(value, int | float) or isinstance(value, bool) or abs(value) > LARGEST:
        return None
    return float(value)
