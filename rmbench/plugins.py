"""Discover plugins: import each once, isolated and timed, and collect what they give with its provenance."""

from __future__ import annotations

import inspect
import os
import re
import time
from dataclasses import dataclass, field
from importlib.metadata import entry_points
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import pluggy

from rmbench import guard, hookspecs, traces
from rmbench.api import NAME, Metric, Reward, Task
from rmbench.errors import InputError, PluginError, did_you_mean
from rmbench.judged import RewardModel
from rmbench.policy import Policy, Trainer
from rmbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from importlib.metadata import EntryPoint

T = TypeVar("T")
BUILTIN = "rmbench:builtin"
PLURALS = {"policy": "policies"}
GIVES: dict[str, tuple[str, type[Reward | RewardModel | Policy | Trainer | Task | Metric]]] = {
    "rmbench_rewards": ("reward", Reward),
    "rmbench_reward_models": ("reward-model", RewardModel),
    "rmbench_policies": ("policy", Policy),
    "rmbench_trainers": ("trainer", Trainer),
    "rmbench_tasks": ("task", Task),
    "rmbench_metrics": ("metric", Metric),
}


@dataclass(frozen=True, slots=True)
class Plugin:
    """One entry point and what became of it; ``reason`` says why it is broken (None: it works)."""

    name: str
    module: str
    distribution: str
    version: str
    seconds: float = 0.0
    reason: str | None = None
    traceback: str = ""

    @property
    def key(self) -> str:
        """``distribution:name``: unique, also where two distributions use one entry-point name."""
        return f"{self.distribution}:{self.name}"

    def __str__(self) -> str:
        return f"plugin {self.name} ({self.distribution} {self.version})"


@dataclass(frozen=True, slots=True)
class Provided(Generic[T]):
    """A value that a plugin gave, and the plugin."""

    value: T
    plugin: Plugin


@dataclass(slots=True)
class Catalog:
    """Everything that the installed plugins give, by name; clashing names hold several."""

    plugins: list[Plugin] = field(default_factory=list)
    rewards: dict[str, list[Provided[Reward]]] = field(default_factory=dict)
    reward_models: dict[str, list[Provided[RewardModel]]] = field(default_factory=dict)
    policies: dict[str, list[Provided[Policy]]] = field(default_factory=dict)
    trainers: dict[str, list[Provided[Trainer]]] = field(default_factory=dict)
    tasks: dict[str, list[Provided[Task]]] = field(default_factory=dict)
    metrics: dict[str, list[Provided[Metric]]] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    observers: list[Plugin] = field(default_factory=list)

    def table(self, what: str) -> dict[str, list[Provided[Any]]]:
        """Return the mapping of one kind: reward, reward-model, policy, trainer, task or metric."""
        tables: dict[str, Any] = {
            "reward": self.rewards, "reward-model": self.reward_models, "policy": self.policies,
            "trainer": self.trainers, "task": self.tasks, "metric": self.metrics,
        }  # fmt: skip
        found: dict[str, list[Provided[Any]]] = tables[what]
        return found

    def find(self, what: str, name: str) -> Provided[Any]:
        """Return the one ``what`` of this name, or of ``distribution:name``.

        Raises:
            InputError: no such name (with the nearest ones).
            PluginError: two plugins give it, or the plugin of that name is broken.
        """
        table = self.table(what)
        qualifier, _, bare = name.rpartition(":")
        found = table.get(bare if qualifier else name, [])
        if qualifier:
            found = [p for p in found if p.plugin.distribution == qualifier]
        if len(found) > 1:
            found = [p for p in found if p.plugin.key == BUILTIN] or found
        if len(found) == 1:
            return found[0]
        if found:
            ways = " or ".join(f"{p.plugin.distribution}:{name}" for p in found)
            raise PluginError(f"{what} {name!r} is given by {len(found)} plugins", help=f"say {ways}, or uninstall one")
        raise self.unknown(what, name)

    def unknown(self, what: str, name: str) -> InputError | PluginError:
        """Return the error for a name that nothing gives."""
        if what == "reward" and name in self.reward_models:
            example = f'[[reward_model]] name = "..."  use = "{name}"  task = "..."'
            return InputError(
                f"{name!r} is a reward model: it gives scores once it is fitted", help=f"in a suite: {example}"
            )
        broken = [p for p in self.plugins if p.reason is not None]
        for plugin in broken:
            if plugin.name in name or plugin.distribution in name or name in plugin.name:
                return PluginError(f"{what} {name!r}: {plugin} could not be loaded: {plugin.reason}", help=_fix(plugin))
        note = "".join(f"; {p} could not be loaded" for p in broken)
        advice = did_you_mean(guard.plain(name), self.table(what))
        return InputError(
            f"no {what} is called {guard.plain(name)!r}",
            help=f"{advice}{note} (see `rmbench list {PLURALS.get(what, what + 's')}`)",
        )


def _fix(plugin: Plugin) -> str:
    return f"reinstall or remove {plugin.distribution}, or leave it out with RMBENCH_PLUGINS"


def _record(point: EntryPoint, seconds: float = 0.0, error: guard.Foreign | str | None = None) -> Plugin:
    dist = point.dist
    return Plugin(
        name=point.name,
        module=point.value,
        distribution=dist.name if dist else "unknown",
        version=dist.version if dist else "unknown",
        seconds=seconds,
        reason=None if error is None else f"{error}{_release(point, error)}",
        traceback=error.traceback if isinstance(error, guard.Foreign) else "",
    )


def _release(point: EntryPoint, error: guard.Foreign | str) -> str:
    """Return which release of rmbench a plugin asks for, where its error may come of that."""
    if not isinstance(error, guard.Foreign) or point.dist is None:
        return ""
    if error.kind != "PluginValidationError" and "rmbench" not in error.message:
        return ""
    asked = [one for one in point.dist.requires or () if re.match(r"rmbench(?![\w.-])", one)]
    return f" (it requires {guard.plain(asked[0])}; this is rmbench {__version__})" if asked else ""


def _managed(module: Any) -> pluggy.PluginManager:
    """Register a module in a manager of its own and check its hooks."""
    manager = pluggy.PluginManager(hookspecs.PROJECT)
    manager.add_hookspecs(hookspecs)
    manager.register(module)
    manager.check_pending()
    return manager


def _collect(manager: pluggy.PluginManager) -> dict[str, list[Any]]:
    """Return what the hooks of a module give."""
    given: dict[str, list[Any]] = {}
    for hook, (what, kind) in GIVES.items():
        caller = manager.subset_hook_caller(hook, [])
        answers = caller()
        if len(answers) < len(caller.get_hookimpls()):  # pluggy leaves None out
            raise TypeError(f"{hook} gave None, expected a list of {kind.__name__}")
        values = [value for some in answers for value in some]
        for value in values:
            if not isinstance(value, kind):
                raise TypeError(f"{hook} gave {type(value).__name__}, expected {kind.__name__}")
            if not NAME.fullmatch(value.name):
                raise ValueError(f"{what} name {value.name!r} does not match {NAME.pattern}")
            if isinstance(
                value, Reward | RewardModel | Policy | Trainer
            ):  # what has no signature cannot be listed or checked
                inspect.signature(value.build if isinstance(value, Reward) else value.options)
        names = [value.name for value in values]
        if len(set(names)) != len(names):
            raise ValueError(f"{hook} gave a name twice: {', '.join(sorted(n for n in names if names.count(n) > 1))}")
        given[what] = values
    return given


def _chosen(points: Sequence[EntryPoint]) -> tuple[list[EntryPoint], list[str]]:
    """Narrow the entry points to RMBENCH_PLUGINS (the built-ins always stay); warn of unknown names."""
    wanted = os.environ.get("RMBENCH_PLUGINS")
    if wanted is None:
        return list(points), []
    names = {name.strip() for name in wanted.split(",") if name.strip()}
    labels = {label: point for point in points for label in (point.name, point.dist.name if point.dist else "")}
    missing = [
        f"RMBENCH_PLUGINS names {n!r}, which is not installed: {did_you_mean(n, labels)}" for n in names - set(labels)
    ]
    keep = {"builtin", *names}
    return [p for p in points if {p.name, p.dist.name if p.dist else ""} & keep], sorted(missing)


def _points() -> list[EntryPoint]:
    points = entry_points(group=hookspecs.PROJECT)
    unique = {(p.dist.name if p.dist else "", p.name, p.value): p for p in points}
    return [unique[key] for key in sorted(unique)]


def _load_one(point: EntryPoint, catalog: Catalog) -> None:
    start = time.perf_counter()
    try:
        with traces.undone((*traces.STATE, traces.PATH)) as changed:
            manager = guard.call(_managed, guard.call(point.load))
            given = guard.call(_collect, manager)
    except guard.Foreign as error:
        plugin = _record(point, time.perf_counter() - start, error)
        catalog.plugins.append(plugin)
        catalog.warnings.append(f"{plugin} is left out: {plugin.reason}; {_fix(plugin)}")
        return
    plugin = _record(point, time.perf_counter() - start)
    catalog.plugins.append(plugin)
    catalog.warnings += [f"{plugin}: importing it {note}" for note in changed]
    catalog.observers += [plugin] if manager.hook.rmbench_run_finished.get_hookimpls() else []
    for what, values in given.items():
        for value in values:
            catalog.table(what).setdefault(value.name, []).append(Provided(value, plugin))


def _clashes(catalog: Catalog) -> Iterable[str]:
    for what, _ in GIVES.values():
        for name, given in catalog.table(what).items():
            if len(given) > 1:
                who = ", ".join(str(p.plugin) for p in given)
                builtin = any(p.plugin.key == BUILTIN for p in given)
                rule = "the built-in keeps the name" if builtin else "the bare name cannot be used"
                yield f"{what} {name!r} is given by {who}: {rule}; write distribution:{name}"


def load() -> Catalog:
    """Import every installed plugin once and return what they give.

    A plugin that fails is left out with one warning in ``Catalog.warnings``; ``RMBENCH_STRICT=1`` makes
    the first warning a ``PluginError``. ``RMBENCH_PLUGINS=a,b`` narrows to these entry points or
    distributions (and the built-ins).
    """
    catalog = Catalog()
    points, missing = _chosen(_points())
    catalog.warnings += missing
    with guard.stdout_to_stderr():
        for point in points:
            _load_one(point, catalog)
    catalog.warnings += _clashes(catalog)
    if catalog.warnings and os.environ.get("RMBENCH_STRICT") == "1":
        raise PluginError(catalog.warnings[0], help="unset RMBENCH_STRICT to go on without it")
    return catalog


def _installed(distribution: str, plugin: str, wanted: str) -> EntryPoint:
    """Return the entry point of ``distribution:plugin``, as workers find it again."""
    for point in _points():
        if point.name == plugin and point.dist is not None and point.dist.name == distribution:
            return point
    raise PluginError(f"no plugin {distribution}:{plugin} is installed, which gives {wanted}", help="install it")


def load_value(distribution: str, plugin: str, what: str, name: str) -> Any:
    """Import the one plugin ``distribution:plugin`` and return what it gives of this kind and name, as workers do."""
    point = _installed(distribution, plugin, f"the {what} {name!r}")
    for value in guard.call(_collect, guard.call(_managed, guard.call(point.load)))[what]:
        if value.name == name:
            return value
    raise PluginError(f"plugin {distribution}:{plugin} no longer gives a {what} {name!r}", help="reinstall it")


def observe(distribution: str, plugin: str, run: Any) -> None:
    """Import the one plugin ``distribution:plugin`` and call its ``rmbench_run_finished(run)``, as workers do."""
    manager = guard.call(_managed, guard.call(_installed(distribution, plugin, "an observer").load))
    guard.call(manager.hook.rmbench_run_finished, run=run)
