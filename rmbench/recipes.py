"""``[[reward_model]]`` of a suite: what is fitted on what, checked before anything is read or written."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rmbench import guard, judgements, options, rewards, scoring
from rmbench.api import EMPTY, NAME
from rmbench.constructed import DAMAGED
from rmbench.errors import InputError, PluginError, did_you_mean
from rmbench.rewards import Chosen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Task
    from rmbench.judged import RewardModel
    from rmbench.plugins import Catalog, Plugin

KEYS = {"name", "use", "task", "loss", "pairs", "options", "tune"}  # tune: ranges, of which a run takes no notice
EXAMPLE = '[[reward_model]] name = "rm"  use = "linear"  task = "..."  loss = "bradley-terry"'


@dataclass(frozen=True, slots=True)
class Recipe:
    """How a reward of a suite is fitted.

    ``options`` are as the user gave them, paths absolute; ``contents`` the sha256 of what each path holds,
    ``sha256`` that of each file that is read, by name.
    """

    name: str
    model: RewardModel
    plugin: Plugin
    task: Task
    loss: str
    options: Mapping[str, Any]
    contents: Mapping[str, str]
    uses: tuple[str, ...]
    seed: int
    sha256: Mapping[str, str]

    def signature(self, *, backends: bool = True) -> str:
        """Return what the scores depend on: model, options that differ from the default, loss, data, seed."""
        words = [f"{self.model.name}@{self.model.version}"]
        words += [f"{key}:{word}" for key, word in self._changed().items()]
        words += [
            f"loss:{self.loss}",
            f"task:{judgements.label(self.task, self.sha256)}",
            *judgements.card_words(self.task),
        ]
        words += [f"seed:{self.seed}"]
        words += ["seconds:not-reproducible"] if self.options.get("seconds") is not None else []
        words += rewards.versions(self.model.backends) if backends else []
        return "|".join(words)

    def _changed(self) -> dict[str, str]:
        changed = options.changed(self.model.options, self.options)
        return {key: rewards.option_word(key, value, self.contents) for key, value in changed.items()}

    def record(
        self, used: Mapping[str, str] = EMPTY, entries: Mapping[str, Mapping[str, Any]] = EMPTY
    ) -> dict[str, Any]:
        """Return what stands in config.json and card.md (see ``judged.Fitting``).

        ``used`` are the signatures of the rewards it learns from, by name; ``entries`` how to name each in a suite.
        """
        given = {
            key: rewards.option_word(key, value, self.contents) if key in self.contents else value
            for key, value in self.options.items()
        }
        return {
            "reward_model": self.model.name, "version": self.model.version, "plugin": self.plugin.name,
            "distribution": self.plugin.distribution, "distribution_version": self.plugin.version,
            "task": judgements.label(self.task, self.sha256), "sha256": dict(self.sha256), "loss": self.loss,
            "options": given, "seed": self.seed, "uses": dict(used), "signature": self.signature(backends=False),
            "entries": {name: dict(entry) for name, entry in entries.items()},
        }  # fmt: skip


def read(
    entries: Any, catalog: Catalog, *, find_task: Callable[[Any], Task], base: Path, where: str, seed: int
) -> dict[str, Chosen]:
    """Return the rewards that the ``[[reward_model]]`` entries of a suite make, by name.

    Args:
        entries: the suite's list of tables.
        catalog: what the plugins give.
        find_task: from a name in the suite to a task.
        base: folder that paths are relative to.
        where: the suite file, for errors.
        seed: of the fits.

    Raises:
        InputError: a wrong key, name, loss or option, or a task that has no train split.
    """
    if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
        raise InputError("reward_model is no list of tables", where=where, help=EXAMPLE)
    found: dict[str, Chosen] = {}
    for entry in entries:
        recipe = _recipe(entry, catalog, find_task=find_task, base=base, where=where, seed=seed)
        if recipe.name in found:
            raise InputError(f"two reward models are called {recipe.name!r}", where=where, help="give one another name")
        found[recipe.name] = _chosen(recipe, catalog)
    return found


def _chosen(recipe: Recipe, catalog: Catalog) -> Chosen:
    """Return the reward ``fitted`` that the recipe becomes; its folder is known once there is a run."""
    provided = catalog.find("reward", "rmbench:fitted")
    who = provided.plugin
    return Chosen(
        recipe.name, "fitted", provided.value, {}, frozenset(), recipe.uses, "catalog", plugin=who.name,
        distribution=who.distribution, distribution_version=who.version, recipe=recipe,
    )  # fmt: skip


def _recipe(
    entry: Mapping[str, Any], catalog: Catalog, *, find_task: Callable[[Any], Task], base: Path, where: str, seed: int
) -> Recipe:
    name = _words(entry, where)
    use = entry["use"]
    place = f"{where}: [[reward_model]] {name}"
    try:
        provided = catalog.find("reward-model", use)
    except InputError as error:
        raise InputError(error.what, where=place, help=error.help) from error
    model: RewardModel = provided.value
    loss = entry.get("loss", model.losses[0])
    if loss not in model.losses:
        raise InputError(
            f"the reward model {use!r} has no loss {loss!r}", where=place, help=did_you_mean(str(loss), model.losses)
        )
    task = find_task(entry["task"])
    if task.bare:  # a file that the user names to learn from
        task = replace(task, data={"train": task.data["test"]})
    task = replace(task, pairs=_pairs(entry, place))
    judgements.check_train(task, place)
    given = options.check(use, model.options, entry.get("options", {}), where=place, what="reward model")
    given, paths = rewards.placed(model.options, given, base)
    rewards.contents_of(name, given, paths, where, read=False)
    typed = options.typed(model.options, given)
    refused(model.options, typed, place, use)
    uses = tuple(model.uses) if not callable(model.uses) else tuple(refused(model.uses, typed, place, use))
    contents = rewards.contents_of(name, given, paths, where, read=True)
    return Recipe(name, model, provided.plugin, task, loss, given, contents, uses, seed, judgements.digests(task))


def _pairs(entry: Mapping[str, Any], place: str) -> str:
    """Return how pairs are made of the task's rows; empty: they are the data's own."""
    pairs = entry.get("pairs", "")
    if pairs not in ("", DAMAGED):
        raise InputError(f"pairs is {pairs!r}", where=place, help=f'leave it out, or pairs = "{DAMAGED}"')
    return str(pairs)


def _words(entry: Mapping[str, Any], where: str) -> str:
    """Check the keys of an entry and return its name."""
    for key in entry:
        if key not in KEYS:
            raise InputError(f"unknown key {key!r} in a [[reward_model]]", where=where, help=did_you_mean(key, KEYS))
    for key in ("name", "use", "task"):
        if not isinstance(entry.get(key), str):
            raise InputError(f"a [[reward_model]] has no {key} (a string)", where=where, help=EXAMPLE)
    name: str = entry["name"]
    if not NAME.fullmatch(name):
        raise InputError(
            f"reward model name {guard.plain(name)!r} does not match {NAME.pattern}",
            where=where,
            help="lower-case letters",
        )
    if not isinstance(entry.get("options", {}), dict):
        raise InputError(f"options of {name} is no table", where=where, help="options = { steps = 500 }")
    return name


def refused(call: Callable[..., Any], given: Mapping[str, Any], place: str, use: str) -> Any:
    """Call what a plugin gives with the options; what it says of them is the user's error."""
    try:
        return guard.call(call, **given)
    except guard.Foreign as error:
        if said := scoring.refusal(error):
            raise InputError(said, where=place, help=f"see `rmbench show {use}`") from error
        raise PluginError(f"its options raised {error}", where=place, help=f"rmbench show {use}") from error


def check(chosen: Sequence[Chosen], where: str) -> None:
    """Raise where a reward model would learn from a reward that reads the labels."""
    for one in chosen:
        if one.recipe is not None and one.oracle:
            raise InputError(
                f"the reward model {one.name!r} uses {', '.join(one.uses)}, among them an oracle that reads the labels",
                where=where, help="leave it out of its features",
            )  # fmt: skip
