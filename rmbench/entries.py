"""``[[policy]]`` and ``[[train]]`` of a suite: what is trained from what, checked before anything is read."""

from __future__ import annotations

from dataclasses import dataclass, fields
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING, Any, Literal

from rmbench import guard, judgements, options, rewards
from rmbench.api import NAME
from rmbench.errors import InputError, did_you_mean
from rmbench.overrides import tables_of
from rmbench.policy import Decoding
from rmbench.recipes import refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Task
    from rmbench.plugins import Catalog, Provided
    from rmbench.policy import Policy, Trainer
    from rmbench.rewards import Chosen

POLICY_KEYS = {"name", "use", "init", "task", "trainer", "options", "trainer_options"}
TRAIN_KEYS = {"name", "trainer", "policy", "task", "reward", "judges", "options", "trainer_options"}
TUNING = {"tune", "tune_options"}  # ranges, which only `rmbench tune` reads
EXAMPLES = {
    "policy": '[[policy]] name = "base"  use = "tiny"  task = "..."  trainer = "sft"',
    "train": '[[train]] name = "ppo-mix"  trainer = "ppo"  policy = "base"  reward = "mix"',
}
DECODING = frozenset(one.name for one in fields(Decoding))


@dataclass(frozen=True, slots=True)
class Entry:
    """A policy of the suite: of ``[[policy]]``, or of ``[[train]]``, one for each seed.

    Attributes:
        name: as it stands in the suite; the ``system`` of what it writes.
        kind: which table it is of.
        policy: how it is made or loaded, ``start`` the entry whose weights it begins with, or None.
        trainer: what improves it, None where it stays as it is.
        task: whose train split it learns from and on whose test split it writes.
        options: of the policy, those of its start included; ``own`` those given here; paths are absolute.
        trainer_options: as given.
        contents: sha256 of what each path among the options holds.
        reward, judges: names of rewards of the suite.
        sha256: of each file of the task that is learnt from, by name; empty where the task has no train split.
    """

    name: str
    kind: Literal["policy", "train"]
    policy: Provided[Policy]
    start: str | None
    trainer: Provided[Trainer] | None
    task: Task
    options: Mapping[str, Any]
    own: Mapping[str, Any]
    trainer_options: Mapping[str, Any]
    contents: Mapping[str, str]
    reward: str | None
    judges: tuple[str, ...]
    sha256: Mapping[str, str]

    @property
    def needs(self) -> frozenset[str]:
        """What its trainer needs: of ``policy.NEEDS``."""
        if self.trainer is None:
            return frozenset()
        trainer = self.trainer.value
        if not callable(trainer.needs):
            return frozenset(trainer.needs)
        return frozenset(trainer.needs(trainer.options(**options.typed(trainer.options, self.trainer_options))))

    @property
    def where(self) -> str:
        """Its place in the suite, for errors."""
        return f"[[{self.kind}]] {self.name}"


def read(
    given: Mapping[str, Any], catalog: Catalog, *, find_task: Callable[[Any], Task], base: Path, where: str
) -> dict[str, Entry]:
    """Return the policies of a suite by name, in an order in which each comes after its start.

    Args:
        given: the suite's table.
        catalog: what the plugins give.
        find_task: from a name in the suite to a task.
        base: folder that paths are relative to.
        where: the suite file, for errors.

    Raises:
        InputError: a wrong key, name, option, start, trainer or task.
    """
    tables: dict[str, tuple[Literal["policy", "train"], Mapping[str, Any]]] = {}
    for kind in ("policy", "train"):
        for table in _tables(given, kind, where):
            name = _name(table, kind, where)
            if name in tables:
                raise InputError(f"two policies are called {name!r}", where=where, help="give one another name")
            if any(model.get("name") == name for model in tables_of(given, "reward_model")):
                what = f"a policy and a reward model are called {name!r}: both would stand in training/{name}"
                raise InputError(what, where=where, help="give one another name")
            tables[name] = (kind, table)
    starts = {name: _start(name, kind, table, tables, where) for name, (kind, table) in tables.items()}
    found: dict[str, Entry] = {}
    for name in _ordered(starts, where):
        kind, table = tables[name]
        start = starts[name]
        place = f"{where}: [[{kind}]] {name}"
        maker = _Maker(catalog, find_task, base, place)
        found[name] = maker.entry(name, kind, table, None if start is None else found[start])
    return found


def _tables(given: Mapping[str, Any], kind: str, where: str) -> list[Mapping[str, Any]]:
    tables = given.get(kind, [])
    if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
        raise InputError(f"{kind} is no list of tables", where=where, help=EXAMPLES[kind])
    return tables


def _name(table: Mapping[str, Any], kind: Literal["policy", "train"], where: str) -> str:
    """Check the keys of a table and the types of their values, and return its name."""
    keys = POLICY_KEYS if kind == "policy" else TRAIN_KEYS
    for key in table:
        if key not in keys | TUNING:
            raise InputError(f"unknown key {key!r} in a [[{kind}]]", where=where, help=did_you_mean(key, keys))
    needed = ("name",) if kind == "policy" else ("name", "trainer", "policy")
    for key in needed:
        if not isinstance(table.get(key), str):
            raise InputError(f"a [[{kind}]] has no {key} (a string)", where=where, help=EXAMPLES[kind])
    name: str = table["name"]
    if not NAME.fullmatch(name):
        what = f"policy name {guard.plain(name)!r} does not match {NAME.pattern}"
        raise InputError(what, where=where, help="lower-case letters")
    for key in ("use", "init", "task", "trainer", "policy", "reward"):
        if key in table and not isinstance(table[key], str):
            raise InputError(f"{key} of {name} is {table[key]!r}, expected a string", where=where, help=EXAMPLES[kind])
    for key in ("options", "trainer_options", *TUNING):
        if not isinstance(table.get(key, {}), dict):
            raise InputError(f"{key} of {name} is no table", where=where, help=f"{key} = {{ ... }}")
    judges = table.get("judges", [])
    if not isinstance(judges, list) or not all(isinstance(judge, str) for judge in judges):
        raise InputError(f"judges of {name} is no list of names", where=where, help='judges = ["chrf", "bleu"]')
    return name


def _start(name: str, kind: str, table: Mapping[str, Any], tables: Mapping[str, Any], where: str) -> str | None:
    """Return the name of the policy that this one begins with."""
    start: str | None = table.get("policy" if kind == "train" else "init")
    if start is not None and start not in tables:
        what = f"{name} begins with the policy {guard.plain(start)!r}, which is none of the suite"
        raise InputError(what, where=where, help=did_you_mean(start, tables))
    if kind == "policy" and start is None and "use" not in table:
        raise InputError(f"the policy {name} has neither use nor init", where=where, help=EXAMPLES["policy"])
    return start


def _ordered(starts: Mapping[str, str | None], where: str) -> list[str]:
    graph = {name: [] if start is None else [start] for name, start in starts.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(error.args[1])
        what, advice = f"policies begin with each other in a circle: {circle}", "give one of them use instead of init"
        raise InputError(what, where=where, help=advice) from error
    depth: dict[str, int] = {}
    for name in order:
        start = starts[name]
        depth[name] = 0 if start is None else depth[start] + 1
    return sorted(starts, key=lambda name: depth[name])  # the suite's order among those of one depth


@dataclass(frozen=True, slots=True)
class _Maker:
    """Makes an entry of a table."""

    catalog: Catalog
    find_task: Callable[[Any], Task]
    base: Path
    place: str

    def entry(
        self, name: str, kind: Literal["policy", "train"], table: Mapping[str, Any], start: Entry | None
    ) -> Entry:
        policy = self._policy(table, start)
        trainer = self._found("trainer", table["trainer"]) if "trainer" in table else None
        task = self._task(table, start)
        own = self._own(policy, table, start)
        merged = {**(start.options if start is not None else {}), **own}
        contents = self._contents(policy.value, name, merged)
        trainer_options = self._trainer_options(trainer, table)
        if trainer is not None:
            judgements.check_train(task, self.place)
        sha256 = judgements.digests(task) if "train" in task.data else {}
        entry = Entry(
            name, kind, policy, None if start is None else start.name, trainer, task, merged, own, trainer_options,
            contents, table.get("reward"), tuple(table.get("judges", ())), sha256,
        )  # fmt: skip
        self._check_reward(entry)
        return entry

    def _found(self, what: str, name: str) -> Provided[Any]:
        try:
            return self.catalog.find(what, name)
        except InputError as error:
            raise InputError(error.what, where=self.place, help=error.help) from error

    def _policy(self, table: Mapping[str, Any], start: Entry | None) -> Provided[Policy]:
        if start is None:
            return self._found("policy", table["use"])
        if "use" in table and table["use"] != start.policy.value.name:
            what = f"use is {table['use']!r}, but it begins with {start.name}, which is {start.policy.value.name!r}"
            raise InputError(what, where=self.place, help="leave use out")
        return start.policy

    def _task(self, table: Mapping[str, Any], start: Entry | None) -> Task:
        if "task" in table:
            try:
                return self.find_task(table["task"])
            except InputError as error:
                if error.where and not error.what.startswith("no task"):  # a file of it, and the line
                    raise
                raise InputError(error.what, where=self.place, help=error.help) from error
        if start is None:
            raise InputError("has no task", where=self.place, help='task = "..."')
        return start.task

    def _own(self, policy: Provided[Policy], table: Mapping[str, Any], start: Entry | None) -> dict[str, Any]:
        """Check the policy's options that stand here; what was made with its weights cannot change with a start."""
        kind = policy.value
        given = table.get("options", {})
        if start is not None:
            options.check_names(kind.name, kind.options, given, where=self.place, what="policy")
            fixed = sorted(set(given) - DECODING - set(getattr(kind.options, "CHANGEABLE", ())))
            if fixed:
                what = f"{', '.join(fixed)} cannot change: the weights are those of {start.name}"
                raise InputError(
                    what, where=self.place, help=f"set it there, or leave it out (free: {', '.join(sorted(DECODING))})"
                )
            whole = {**start.options, **given}
            checked = options.check(kind.name, kind.options, whole, where=self.place, what="policy")
            return {key: checked[key] for key in given}
        checked = options.check(kind.name, kind.options, given, where=self.place, what="policy")
        return rewards.placed(kind.options, checked, self.base)[0]

    def _contents(self, policy: Policy, name: str, merged: Mapping[str, Any]) -> dict[str, str]:
        record = policy.options
        paths = options.paths(record, merged)
        rewards.contents_of(name, merged, paths, self.place, read=False)
        refused(record, options.typed(record, merged), self.place, policy.name)
        return rewards.contents_of(name, merged, paths, self.place, read=True)

    def _trainer_options(self, trainer: Provided[Trainer] | None, table: Mapping[str, Any]) -> dict[str, Any]:
        given = table.get("trainer_options", {})
        if trainer is None:
            if given:
                raise InputError("trainer_options without a trainer", where=self.place, help='trainer = "sft"')
            return {}
        kind = trainer.value
        checked = options.check(kind.name, kind.options, given, where=self.place, what="trainer")
        typed = options.typed(kind.options, checked)
        record = refused(kind.options, typed, self.place, kind.name)
        if callable(kind.needs):
            refused(kind.needs, {"options": record}, self.place, kind.name)
        return checked

    def _check_reward(self, entry: Entry) -> None:
        """Raise where a reward is missing, or is given to a trainer that takes none."""
        needed = "reward" in entry.needs
        trainer = "" if entry.trainer is None else entry.trainer.value.name
        if needed and entry.kind == "policy":
            what = f"the trainer {trainer!r} needs a reward, which a [[policy]] has not"
            raise InputError(what, where=self.place, help=EXAMPLES["train"])
        if needed and entry.reward is None:
            raise InputError(f"the trainer {trainer!r} needs a reward", where=self.place, help='reward = "..."')
        if not needed and entry.reward is not None:
            what = f"the trainer {trainer!r} takes no reward here, {entry.reward!r} is given"
            raise InputError(what, where=self.place, help="leave reward out; judges are free")


def with_options(
    given: Mapping[str, Any], placed: Sequence[tuple[str, str, Any]], catalog: Catalog, base: Path
) -> tuple[dict[str, Any], list[tuple[str, str, Any]]]:
    """Return the suite with the command line's options of its policies, and the options that are of other things.

    An option is the trainer's where it has one of that name, else the policy's; a path is relative to ``base``.
    """
    new, rest = dict(given), []
    for name, key, value in placed:
        kind, table = next(
            ((kind, table) for kind in EXAMPLES for table in tables_of(new, kind) if table.get("name") == name),
            ("", {}),
        )
        if not kind:
            rest.append((name, key, value))
            continue
        trainers = catalog.table("trainer").get(str(table.get("trainer")), [])
        policies = catalog.table("policy").get(_use(table, new), [])
        mine = trainers and key in options.options_of(trainers[0].value.options)
        if not mine and policies and (trainers or "trainer" not in table):
            _check_known(key, (*trainers, *policies), f"[[{kind}]] {name}")
        where = "trainer_options" if mine else "options"
        if policies and not mine and options.paths(policies[0].value.options, {key: value}):
            value = str(base / value)  # noqa: PLW2901 - the same value, placed
        changed = {**table, where: {**table.get(where, {}), key: value}}
        new[kind] = [changed if one is table else one for one in new[kind]]
    return new, rest


def _use(table: Mapping[str, Any], given: Mapping[str, Any]) -> str:
    """Return what makes the policy of a table: its own ``use``, else that of what it begins with."""
    every = {one.get("name"): one for key in EXAMPLES for one in tables_of(given, key)}
    for _ in every:
        start = table.get("policy", table.get("init"))
        if "use" in table or start not in every:
            break
        table = every[start]
    return str(table.get("use"))


def _check_known(key: str, makers: Sequence[Provided[Any]], where: str) -> None:
    """Raise where a trainer and a policy both lack an option of the command line."""
    known = {name for maker in makers for name in options.options_of(maker.value.options)}
    if key in known:
        return
    *trainers, policy = (maker.value.name for maker in makers)
    whose = f"neither the trainer {trainers[0]!r} nor the policy" if trainers else "the policy"
    what = f"{whose} {policy!r} has {'an' if trainers else 'no'} option {guard.plain(key)!r}"
    raise InputError(what, where=where, help=did_you_mean(key, known))


def with_rewards(given: Mapping[str, Any], before: Mapping[str, Any], *, models: bool) -> Any:
    """Return the rewards of a suite with its reward models and those that its [[train]] tables name, listed or not.

    Args:
        given: the suite as the command line changes it.
        before: as it stands in the file, where a reward that is trained on may have options.
        models: whether its reward models count (not where the command line names the rewards).
    """
    listed = given.get("rewards", [])
    if not isinstance(listed, list):
        return listed
    there = {_label(entry) for entry in listed}
    written = before.get("rewards", [])
    known = {_label(entry): entry for entry in (written if isinstance(written, list) else [])}
    fitted = [table.get("name") for table in tables_of(given, "reward_model")] if models else []
    named = [name for name in (*fitted, *_named(given)) if isinstance(name, str)]
    return [*listed, *(known.get(name, name) for name in dict.fromkeys(named) if name not in there)]


def _label(entry: Any) -> Any:
    """Return the name that an entry of ``rewards`` has in the suite."""
    found = entry.get("name", entry.get("use")) if isinstance(entry, dict) else entry
    return found if isinstance(found, str) else None


def _named(given: Mapping[str, Any]) -> list[Any]:
    """Return the rewards and judges that the [[train]] tables name, before they are checked."""
    found: list[Any] = []
    for table in tables_of(given, "train"):
        judges = table.get("judges", [])
        found += [table.get("reward"), *(judges if isinstance(judges, list) else [])]
    return found


def check_rewards(entries: Mapping[str, Entry], chosen: Sequence[Chosen], where: str) -> None:
    """Raise where an oracle is trained on or judges: ``chosen`` is every reward of the suite, oracles marked."""
    oracles = {one.name for one in chosen if one.oracle}
    for entry in entries.values():
        if wrong := oracles & {entry.reward, *entry.judges}:
            what = f"{min(wrong)!r} is an oracle that reads the human labels: nothing is trained on it or judged by it"
            raise InputError(what, where=f"{where}: {entry.where}", help="name another reward")
