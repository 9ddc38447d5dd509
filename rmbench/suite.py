"""A suite file -> a plan: which tasks, which rewards in which order, under which rules."""

from __future__ import annotations

import os
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import entries, guard, hub, options, recipes, rewards, suite_values, tasks
from rmbench.api import EMPTY
from rmbench.builtin.nulls import NULL_REWARDS
from rmbench.errors import InputError, did_you_mean
from rmbench.overrides import Overrides, label, merged, reward_entry
from rmbench.toml_file import table_of, text_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rmbench.api import Task, Unscored
    from rmbench.entries import Entry
    from rmbench.plugins import Catalog
    from rmbench.rewards import Chosen
    from rmbench.suite_values import Lines


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run will do.

    ``given`` is the suite as the user gave it (with the command line's changes), ``base`` the folder that
    its paths are relative to. ``waves`` are the rewards in an order in which each finds those that it uses
    already scored; rewards of one wave are independent.
    """

    name: str
    tasks: tuple[Task, ...]
    waves: tuple[tuple[Chosen, ...], ...]
    metrics: tuple[str, ...] | None
    studies: tuple[str, ...]
    seeds: tuple[int, ...]
    limit: int | None
    unscored: Unscored | None
    timeout: float
    given: Mapping[str, Any]
    base: Path
    data_dir: Path | None
    kind: str | None = None
    warnings: tuple[str, ...] = ()
    entries: Mapping[str, Entry] = field(default_factory=dict)

    @property
    def rewards(self) -> tuple[Chosen, ...]:
        """All rewards, in the order of the suite as far as ``uses`` allows, null rewards last."""
        every = [chosen for wave in self.waves for chosen in wave]
        return tuple(sorted(every, key=lambda chosen: chosen.null))

    @property
    def seed(self) -> int:
        """The seed of everything random in the run."""
        return self.seeds[0]


def suites_folder() -> Path:
    """Return the folder of the suites that ship with rmbench."""
    package = Path(__file__).parent
    inside = package / "_tasks" / "suites"
    return inside if inside.is_dir() else package.parent / "tasks" / "suites"


def shipped() -> dict[str, Path]:
    """Return the suites that ship with rmbench, by name."""
    return {path.stem: path for path in sorted(suites_folder().glob("*.toml"))}


def find(name: str) -> Path:
    """Return the suite file of this path or shipped name."""
    path = Path(name)
    if guard.exists(path) and path.is_file():
        return path
    known = shipped()
    if name in known:
        return known[name]
    if path.suffix or os.sep in name:
        raise InputError(
            f"no suite file {guard.plain(name)!r}", help="give a .toml file, or a name of `rmbench list suites`"
        )
    raise InputError(f"no suite is called {guard.plain(name)!r}", help=did_you_mean(name, known))


def read(path: Path) -> dict[str, Any]:
    """Read a suite file as it stands; its keys are checked by ``plan``."""
    return table_of(path, text_of(path))


def _metrics(given: Mapping[str, Any], catalog: Catalog, at: Lines) -> tuple[str, ...] | None:
    names = suite_values.metrics(given, at)
    for name in names or ():
        try:
            catalog.find("metric", name)
        except InputError as error:
            raise InputError(error.what, where=at("metrics"), help=error.help) from error
    return names


def _task(name: Any, catalog: Catalog, base: Path, over: Overrides) -> Task:
    if not isinstance(name, str):
        raise InputError(f"task {name!r} is not a string", help='tasks = ["name", "folder", "file.jsonl"]')
    if name in catalog.tasks:
        found: Task = catalog.find("task", name).value
        return found
    if name.startswith(hub.PREFIX):
        return hub.hub_task(name, over.kind)
    if guard.exists(base / name):
        return tasks.open_task(base / name, over.kind)
    data = _data_folder(over)
    if data is not None:
        by_name = {card.name: card for card in tasks.load_tasks(data)}
        if name in by_name:
            return by_name[name]
        raise InputError(
            f"no task {guard.plain(name)!r}", where=str(data), help=did_you_mean(name, [*by_name, *catalog.tasks])
        )
    advice = f"{did_you_mean(guard.plain(name), catalog.tasks)}; folders of further tasks: --data-dir or RMBENCH_DATA"
    raise InputError(f"no task or file {guard.plain(name)!r}", help=advice)


def _data_folder(over: Overrides) -> Path | None:
    named = over.data_dir or (Path(os.environ["RMBENCH_DATA"]) if os.environ.get("RMBENCH_DATA") else None)
    if named is not None and not named.is_dir():
        raise InputError(
            f"no folder {guard.plain(str(named))!r}", help="--data-dir (or RMBENCH_DATA) is a folder of task folders"
        )
    return named


def _placed_options(
    given: Mapping[str, Any], over: Overrides, catalog: Catalog, base: Path, where: str
) -> list[tuple[str, str, Any]]:
    """Return the options of the command line; a path among them is relative to where that was typed."""
    entries = over.rewards or given.get("rewards")
    by_label = {label(entry): entry for entry in entries} if isinstance(entries, list | tuple) else {}
    models = {entry.get("name"): entry for entry in reward_models(given)}
    placed = []
    for name, key, value in over.options:
        if isinstance(value, str) and (name in by_label or name in models):
            if name in models:
                build = catalog.find("reward-model", str(models[name].get("use"))).value.options
            else:
                use = reward_entry(by_label[name], where)["use"]
                build = rewards.find(catalog, use, over.base if over.rewards else base).reward.build
            if options.paths(build, {key: value}):
                value = str(over.base / Path(value).expanduser())  # noqa: PLW2901 - the same value, placed
        placed.append((name, key, value))
    return placed


def _chosen(
    given: Mapping[str, Any], models: Mapping[str, Chosen], catalog: Catalog, base: Path, where: str
) -> dict[str, Chosen]:
    """Resolve every reward of the suite, its reward models among them, then those that they use."""
    chosen: dict[str, Chosen] = {}
    for given_entry in given["rewards"]:
        entry = reward_entry(given_entry, where)
        if isinstance(entry["use"], str) and entry["use"] in models:
            if entry.keys() - {"use"} or entry["use"] in chosen:
                raise InputError(
                    f"the reward model {entry['use']!r} stands in rewards by its name alone, once", where=where,
                    help="its options stand in its [[reward_model]] table",
                )  # fmt: skip
            chosen[entry["use"]] = models[entry["use"]]
            continue
        if entry.pop("optional", False) and str(entry["use"]) not in catalog.rewards:
            continue
        if (
            isinstance(entry["use"], str)
            and entry["use"] not in catalog.rewards
            and get_close_matches(entry["use"], models)
        ):
            help_ = did_you_mean(entry["use"], [*models, *catalog.rewards])
            raise InputError(f"no reward is called {guard.plain(entry['use'])!r}", where=where, help=help_)
        found = rewards.choose(catalog, entry, base=base, where=where)
        if found.name in chosen or found.name in models:
            raise InputError(
                f"two rewards are called {found.name!r}",
                where=where,
                help='give one another name: { use = ..., name = "..." }',
            )
        chosen[found.name] = found
    return with_uses(chosen, catalog, base, where, models)


def with_uses(
    chosen: dict[str, Chosen], catalog: Catalog, base: Path, where: str, models: Mapping[str, Chosen] = EMPTY
) -> dict[str, Chosen]:
    """Return the rewards with those that they use, and that these use, by name; ``models`` are fitted in the suite."""
    every = dict(chosen)
    waiting = [(name, found) for found in chosen.values() for name in found.uses]
    while waiting:
        name, user = waiting.pop()
        if name not in every:
            every[name] = models.get(name) or rewards.choose_used(catalog, name, user, base=base, where=where)
            waiting += [(one, every[name]) for one in every[name].uses]
    for one in every.values():
        rewards.check_used(one, every)
    return every


def reward_models(given: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the [[reward_model]] tables of a suite, before they are checked."""
    entries = given.get("reward_model", [])
    return [entry for entry in entries if isinstance(entry, dict)] if isinstance(entries, list) else []


def _with_nulls(chosen: dict[str, Chosen], catalog: Catalog, where: str) -> dict[str, Chosen]:
    for name in NULL_REWARDS:
        found = chosen.pop(name, None) or rewards.choose(catalog, {"use": name}, base=Path(), where=where)
        if found.reward.name != name:
            raise InputError(
                f"{name!r} is the name of a null reward", where=where, help="give this reward another name"
            )
        chosen[name] = replace(found, null=True)
    return chosen


def waves(chosen: Mapping[str, Chosen], where: str) -> tuple[tuple[Chosen, ...], ...]:
    """Order the rewards so that those a reward uses come in an earlier wave; what uses an oracle becomes one."""
    done: set[str] = set()
    oracles: set[str] = set()
    ordered = []
    left = dict(chosen)
    while left:
        ready = [found for found in left.values() if set(found.uses) <= done]
        if not ready:
            raise InputError(
                f"rewards use each other in a circle: {', '.join(left)}", where=where, help="break the circle"
            )
        ready = [replace(found, oracle=found.oracle or not oracles.isdisjoint(found.uses)) for found in ready]
        ordered.append(tuple(ready))
        done |= {found.name for found in ready}
        oracles |= {found.name for found in ready if found.oracle}
        left = {name: found for name, found in left.items() if name not in done}
    return tuple(ordered)


def plan(given: Mapping[str, Any], catalog: Catalog, over: Overrides, *, base: Path, where: str) -> Plan:
    """Check a suite and resolve every name in it.

    Args:
        given: the suite's table, as read.
        catalog: what the plugins give.
        over: what the command line or a Python call changes.
        base: folder of the suite file.
        where: the suite file, for errors.

    Raises:
        InputError, PluginError: before anything is written.
    """
    at = suite_values.lines(where, over)
    suite_values.check_keys(given, at)
    placed = _placed_options(given, over, catalog, base, where)
    given, placed = entries.with_options(given, placed, catalog, over.base)
    over = replace(over, options=placed)
    written, given = given, merged(given, over, where)
    given["rewards"] = entries.with_rewards(given, written, models=not over.rewards)
    suite_values.check(given, at)
    found_tasks = _tasks(suite_values.tasks(given, at), catalog, over, base)
    seeds = suite_values.seeds(given, at)
    find_task: Callable[[Any], Task] = lambda name: _task(name, catalog, base, over)  # noqa: E731 - for two readers
    models = recipes.read(
        given.get("reward_model", []), catalog, find_task=find_task, base=base, where=where, seed=seeds[0]
    )
    policies = entries.read(given, catalog, find_task=find_task, base=base, where=where)
    chosen = _chosen(given, models, catalog, base, at("rewards"))
    ordered = waves(_with_nulls(chosen, catalog, where), where)
    recipes.check([one for wave in ordered for one in wave], where)
    entries.check_rewards(policies, [one for wave in ordered for one in wave], where)
    return Plan(
        name=suite_values.name(given, at),
        tasks=found_tasks,
        waves=ordered,
        metrics=_metrics(given, catalog, at),
        studies=suite_values.studies(given, at),
        seeds=seeds,
        limit=suite_values.limit(given, at),
        unscored=suite_values.unscored(given, at),
        timeout=suite_values.timeout(given, at),
        given=given,
        base=base,
        data_dir=_data_folder(over),
        kind=over.kind,
        entries=policies,
    )


def _tasks(names: Iterable[str], catalog: Catalog, over: Overrides, base: Path) -> tuple[Task, ...]:
    found = [_task(name, catalog, base, over) for name in names]
    twice = {task.name for task in found if sum(other.name == task.name for other in found) > 1}
    if twice:
        advice = "rename one in its task.toml (a bare file: rename the file)"
        raise InputError(f"two tasks are called {min(twice)!r}", help=advice)
    return tuple(found)
