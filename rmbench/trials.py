"""One trial of a search: an entry of the suite with other options, made as a run makes it, and its value on dev.

No test split is opened: a trial's plan has no sources.
"""

from __future__ import annotations

import json
import math
import shutil
import threading
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, TypeGuard

from rmbench import fitting, judgements, optimising, rewards, training_checks
from rmbench.errors import InputError
from rmbench.fitting import Fit, Fits
from rmbench.optimising import Job, Trainings
from rmbench.process import Stopped

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

    from rmbench.api import Runtime
    from rmbench.judged import Judgements
    from rmbench.plugins import Catalog
    from rmbench.suite import Plan
    from rmbench.tuning import Search

SHARED = "shared"  # what all trials begin with: reward models and policies that are not tuned
OPTIONS = "options."  # begins the names of ranges of a policy's own options, beside those of its trainer
HEAVY = ("*.safetensors", ".state*")


class Lost(Exception):
    """A trial came to no value, and why."""


class Halt(threading.Event):
    """Set by itself (a trial is pruned) or by another (the user stops all)."""

    def __init__(self, other: threading.Event) -> None:
        super().__init__()
        self.other = other
        self.pruned = False

    def is_set(self) -> bool:
        """Return whether either is."""
        return super().is_set() or self.other.is_set()


@dataclass(frozen=True, slots=True)
class Slot:
    """Where options of an entry stand.

    Attributes:
        tune: key of the ranges, ``tune`` or ``tune_options``.
        key: key of the options, ``options`` or ``trainer_options``.
        prefix: of the names of its ranges: ``OPTIONS``, or "" for the first slot of an entry.
        build: what takes the options.
        use: name of what takes them.
        alone: whether the options of this entry are all that ``build`` takes (not where it has a start's too).
    """

    tune: str
    key: str
    prefix: str
    build: Callable[..., Any]
    use: str
    alone: bool = True

    def takes(self, name: str) -> bool:
        """Whether a range of this name is this slot's."""
        return name.startswith(OPTIONS) == bool(self.prefix)


def model_slots(entry: Mapping[str, Any], _: Mapping[str, Any], catalog: Catalog) -> tuple[Slot, ...]:
    """Return where the options of a [[reward_model]] stand."""
    use = str(entry.get("use"))
    return (Slot("tune", "options", "", catalog.find("reward-model", use).value.options, use),)


def policy_slots(entry: Mapping[str, Any], given: Mapping[str, Any], catalog: Catalog) -> tuple[Slot, ...]:
    """Return where the options of a [[policy]] or [[train]] stand: those of its trainer, then its own."""
    trainer = entry.get("trainer")
    if not isinstance(trainer, str):
        raise InputError("has no trainer: there is nothing to search", help='trainer = "sft"')
    use, alone = _maker(entry, given)
    return (
        Slot("tune", "trainer_options", "", catalog.find("trainer", trainer).value.options, trainer),
        Slot("tune_options", "options", OPTIONS, catalog.find("policy", use).value.options, use, alone),
    )


def _maker(entry: Mapping[str, Any], given: Mapping[str, Any]) -> tuple[str, bool]:
    """Return the name of what makes the policy of an entry, and whether it is this entry that says so."""
    tables = {
        one.get("name"): one for key in ("policy", "train") for one in given.get(key, []) if isinstance(one, dict)
    }
    at: Any = entry
    for _ in tables:
        start = at.get("policy", at.get("init"))
        if start is None or start not in tables:
            break
        at = tables[start]
    return str(at.get("use")), at is entry


def model_metrics(_: Mapping[str, Any], __: Mapping[str, Any]) -> dict[str, str]:
    """Return what a search of a reward model may look at, the default first, with its direction."""
    return {"accuracy": "maximise", "dev-loss": "minimise"}


def policy_metrics(given: Mapping[str, Any], entry: Mapping[str, Any]) -> dict[str, str]:
    """Return what a search of a training may look at: its judges' mean, its reward, the loss on dev, one judge."""
    listed = [one.get("name", one.get("use")) if isinstance(one, dict) else one for one in given.get("rewards", [])]
    fitted = [one.get("name") for one in given.get("reward_model", []) if isinstance(one, dict)]
    named = entry.get("judges", [])
    judges = [one for one in (*named, *listed, *fitted) if isinstance(one, str)]
    return {"judges": "maximise", "reward": "maximise", "dev-loss": "minimise"} | dict.fromkeys(judges, "maximise")


@dataclass(frozen=True, slots=True)
class Ground:
    """Where the trials of a search are made, and with what; ``read`` keeps data that trials share."""

    search: Search
    catalog: Catalog
    out: Path
    runtime: Runtime
    read: dict[object, Judgements] = field(default_factory=dict)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def fitted(self, plan: Plan, names: Iterable[str], stop: threading.Event, progress: Any) -> Plan:
        """Fit the reward models among these names and what they use, once for all trials; return the plan with them."""
        wanted = closure(names, plan)
        shared = self.out / SHARED
        placed = fitting.place(plan, shared)
        every = [one for wave in placed.waves for one in wave if one.recipe is not None and one.name in wanted]
        fits = {one.name: self.fit(one) for one in every}
        made = Fits(placed, fits, shared, self.runtime, stop=stop, progress=progress)
        with self.lock:
            for fit in fits.values():
                made.one(fit)
        if made.failures:
            name, why = next(iter(made.failures.items()))
            raise Lost(f"the reward model {name} could not be fitted: {why}")
        return placed

    def fit(self, chosen: Any) -> Fit:
        """Return a reward model with its data, read once."""
        recipe = chosen.recipe
        key = judgements.same(recipe.task, recipe.seed)
        with self.lock:
            if key not in self.read:
                self.read[key] = judgements.read(recipe.task, seed=recipe.seed)
        return Fit(chosen, self.read[key])


class ModelTrials:
    """Trials of a [[reward_model]]: each fits it with other options."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.name = ground.search.name
        self.keys = {self.name}

    def check(self, stop: threading.Event) -> tuple[str, list[str]]:
        """Check data and options as a run does, and return the signature of the first trial, and warnings.

        Raises:
            InputError, InputErrors: what data and options rule out.
        """
        search = self.ground.search
        plan = search.plan(self.ground.catalog, search.start())
        plan = narrow(plan, [self.name])
        fits, notes = fitting.prepare(plan, ())
        fitting.check(fits, timeout=plan.timeout, stop=stop)
        self.ground.read.update({judgements.same(f.recipe.task, f.recipe.seed): f.data for f in fits.values()})
        by_name = {one.name: one for one in plan.rewards}
        return rewards.meaning(by_name[self.name], by_name), notes

    def run(self, values: Mapping[str, Any], folder: Path, stop: threading.Event, told: Any) -> float:
        """Fit the model with these values into a folder and return what dev says of it.

        Raises:
            Lost: it could not be fitted, or dev says nothing.
            Stopped: ``stop`` was set.
        """
        ground = self.ground
        plan = ground.search.plan(ground.catalog, values)
        by_name = {one.name: one for one in plan.rewards}
        placed = ground.fitted(plan, by_name[self.name].uses, stop, told)
        mine = ground.fit(next(one for one in placed.rewards if one.name == self.name))
        made = Fits(placed, {self.name: mine}, folder, ground.runtime, stop=stop, progress=told)
        made.one(mine)
        if made.failures:
            raise Lost(made.failures[self.name])
        told.look({"curve": lines(self.place(folder) / "log.jsonl")})  # what no message told of
        if stop.is_set():
            raise Stopped
        return self._value(self.place(folder))

    def _value(self, folder: Path) -> float:
        """Return the metric of a checkpoint: of the weights that were kept."""
        training = json.loads((folder / "config.json").read_bytes()).get("training", {})
        value = training.get("accuracy")
        if self.ground.search.metric == "dev-loss":
            rows = lines(folder / "log.jsonl")
            value = next((row.get("dev_loss") for row in rows if row.get("step") == training.get("best_step")), None)
        if not number(value):
            raise Lost(f"its fit says no {self.ground.search.metric} on dev")
        return float(value)

    def told(self, step: Mapping[str, Any], _: Path) -> list[tuple[int, float]]:
        """Return the evaluations that a message of a fit tells of, numbered from 1, with their values."""
        key = "dev_loss" if self.ground.search.metric == "dev-loss" else "accuracy"
        values = [(at, row.get(key)) for at, row in enumerate(step.get("curve", ()), 1)]
        return [(at, float(value)) for at, value in values if number(value)]

    def place(self, folder: Path) -> Path:
        """Return where the model of a trial's folder stands."""
        return fitting.folder_of(folder, self.name)


class PolicyTrials:
    """Trials of a [[policy]] or [[train]]: each trains it with other options, with the first seed of the suite."""

    def __init__(self, ground: Ground) -> None:
        self.ground = ground
        self.name = ground.search.name
        self.seed = int(ground.search.given.get("seeds", [1])[0])
        self.keys = {self.name, f"{self.name} (seed {self.seed})"}

    def check(self, stop: threading.Event) -> tuple[str, list[str]]:
        """Check data and options as a run does, and return the signature of the first trial, and warnings.

        Raises:
            InputError, InputErrors: what data and options rule out.
        """
        search = self.ground.search
        plan, notes = self._plan(search.start())
        training_checks.check(plan, stop=stop)
        fits, more = fitting.prepare(narrow(plan, self._rewards(plan)), ())
        fitting.check(fits, timeout=plan.timeout, stop=stop)
        self._check_metric(plan)
        trainings = Trainings(plan, plan.entries, {}, self.ground.out, self.ground.runtime, stop, None)
        return json.dumps(trainings.recipe(plan.entries[self.name], self.seed), sort_keys=True), [*notes, *more]

    def _check_metric(self, plan: Plan) -> None:
        """Raise where the metric is none that this training has on dev."""
        entry, metric = plan.entries[self.name], self.ground.search.metric
        known = {
            "dev-loss": True, "reward": entry.reward is not None, "judges": bool(entry.judges),
            **dict.fromkeys(entry.judges, True),
        }  # fmt: skip
        if not known.get(metric, metric == entry.reward):
            help_ = f"there are {', '.join(name for name, there in known.items() if there)}"
            raise InputError(f"[tune] metric is {metric!r}, which {self.name} has not", where=entry.where, help=help_)

    def _plan(self, values: Mapping[str, Any]) -> tuple[Plan, list[str]]:
        """Return the plan with this entry and those that it begins with, their judges settled; and warnings."""
        plan = self.ground.search.plan(self.ground.catalog, values)
        entries, at = {}, self.name
        while at is not None:
            entries[at] = plan.entries[at]
            at = plan.entries[at].start  # type: ignore[assignment]
        plan = replace(plan, entries=dict(reversed(entries.items())), seeds=(self.seed,))
        settled, notes = training_checks.prepare(plan, ())
        return replace(plan, entries=settled), notes

    def _rewards(self, plan: Plan) -> list[str]:
        """Return the rewards that score while the entries of a plan are trained."""
        named = [(one.reward, *one.judges, one.options.get("best_by")) for one in plan.entries.values()]
        return list(dict.fromkeys(name for names in named for name in names if name))

    def run(self, values: Mapping[str, Any], folder: Path, stop: threading.Event, told: Any) -> float:
        """Train the policy with these values into a folder and return what dev says of it.

        Raises:
            Lost: it could not be trained, or dev says nothing.
            Stopped: ``stop`` was set.
        """
        ground = self.ground
        plan, _ = self._plan(values)
        plan = ground.fitted(plan, self._rewards(plan), stop, told)
        shared = Trainings(plan, plan.entries, {}, ground.out / SHARED, ground.runtime, stop, told)
        with ground.lock:
            for entry in plan.entries.values():
                if entry.name != self.name and entry.trainer is not None:
                    shared.one(Job(entry, self.seed))
        mine = Trainings(plan, plan.entries, {}, folder, ground.runtime, stop, told, starts=shared.run)
        mine.lost |= shared.lost
        mine.one(Job(plan.entries[self.name], self.seed))
        if mine.failures:
            raise Lost(mine.failures.get(self.name, next(iter(mine.failures.values()))))
        told.look({})  # at the rows of the curve that no message told of
        if stop.is_set():
            raise Stopped
        return self._value(self.place(folder))

    def _value(self, folder: Path) -> float:
        """Return the metric of a training: its last, of the dev loss the least, whose weights are kept."""
        values = [value for _, value in self._curve(folder)]
        if not values:
            raise Lost(f"its training says no {self.ground.search.metric} on dev")
        return min(values) if self.ground.search.metric == "dev-loss" else values[-1]

    def _curve(self, folder: Path) -> list[tuple[int, float]]:
        """Return the metric at each evaluation so far, numbered from 1; the one before the first step is none."""
        metric = self.ground.search.metric
        found = []
        rows = [row for row in lines(folder / "curve.jsonl") if row.get("step") != 0]
        for at, row in enumerate(rows, 1):
            judged = row.get("judges") or {}
            values = [value for value in judged.values() if number(value)]
            known = {
                "judges": math.fsum(values) / len(values) if values else None, "reward": row.get("reward"),
                "dev-loss": row.get("dev_loss"),
            }  # fmt: skip
            value = known[metric] if metric in known else judged.get(metric)
            found += [(at, float(value))] if number(value) else []
        return found

    def told(self, _: Mapping[str, Any], folder: Path) -> list[tuple[int, float]]:
        """Return the evaluations so far, from the curve: when messages come is no matter then."""
        return self._curve(self.place(folder))

    def place(self, folder: Path) -> Path:
        """Return where the policy of a trial's folder stands."""
        return optimising.folder_of(folder, self.name, self.seed)


@dataclass(frozen=True, slots=True)
class Table:
    """How the entries of one table of a suite are searched."""

    metrics: Callable[[Mapping[str, Any], Mapping[str, Any]], dict[str, str]]
    slots: Callable[[Mapping[str, Any], Mapping[str, Any], Catalog], tuple[Slot, ...]]
    trials: Callable[[Ground], ModelTrials | PolicyTrials]


TABLES = {
    "reward_model": Table(model_metrics, model_slots, ModelTrials),
    "policy": Table(policy_metrics, policy_slots, PolicyTrials),
    "train": Table(policy_metrics, policy_slots, PolicyTrials),
}


def closure(names: Iterable[str], plan: Plan) -> set[str]:
    """Return these rewards with those that they use, and that these use."""
    by_name = {one.name: one for one in plan.rewards}
    found: set[str] = set()
    waiting = list(names)
    while waiting:
        name = waiting.pop()
        if name not in found:
            found.add(name)
            waiting += by_name[name].uses
    return found


def narrow(plan: Plan, names: Iterable[str]) -> Plan:
    """Return the plan with these rewards alone and those that they use."""
    wanted = closure(names, plan)
    return replace(plan, waves=tuple(tuple(one for one in wave if one.name in wanted) for wave in plan.waves))


def number(value: Any) -> TypeGuard[float]:
    """Whether it is a finite number."""
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def lines(path: Path) -> list[dict[str, Any]]:
    """Return the rows of a file of JSON lines, those before a first that is none; none where there is no file."""
    found: list[dict[str, Any]] = []
    for line in path.read_bytes().splitlines() if path.is_file() else ():
        try:
            row = json.loads(line)
        except ValueError:
            break
        found += [row] if isinstance(row, dict) else []
    return found


def lighten(folder: Path) -> None:
    """Remove the weights and the states of a trial that is not the best; what it learnt by stays (curves, cards)."""
    for pattern in HEAVY:
        for path in folder.rglob(pattern):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path, ignore_errors=True)
            else:
                path.unlink(missing_ok=True)
