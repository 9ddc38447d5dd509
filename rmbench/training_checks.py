"""Whether the policies of a plan can be trained: their data, rewards and judges, seen before anything is written."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench import judgements, training_words
from rmbench.errors import InputError, InputErrors
from rmbench.process import Failed, Worker

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.entries import Entry
    from rmbench.judged import Judgements
    from rmbench.rewards import Chosen
    from rmbench.source import Source
    from rmbench.suite import Plan


def prepare(plan: Plan, sources: Sequence[Source]) -> tuple[dict[str, Entry], list[str]]:
    """Read what every policy of a plan learns from and check that it can be trained, before anything is written.

    Returns:
        The entries with their judges settled, and warnings.

    Raises:
        InputError: a wrong row, no references or pairs where the trainer needs them, a reward or a judge that the
            rows cannot feed, a system of the data that is called like a policy.
    """
    by_name = {chosen.name: chosen for chosen in plan.rewards}
    read: dict[object, Judgements | None] = {}
    settled: dict[str, Entry] = {}
    warnings: list[str] = []
    read_again = sources if plan.entries else ()
    tested = {source.task.name: {sample.prompt for sample in source.read()} for source in read_again}
    systems = {source.task.name: {c.system for s in source.read() for c in s.candidates} for source in read_again}
    for name, entry in plan.entries.items():
        data = _data(entry, plan.seed, read)
        if name in systems.get(entry.task.name, ()):
            what = f"the data of {entry.task.name} have a system of this name already"
            raise InputError(what, where=entry.where, help="give the policy another name")
        _check_data(entry, data)
        settled[name] = _judged(entry, plan, by_name, data)
        if entry.trainer is not None and data is not None:
            warnings += _meeting(entry, data, tested)
        if sources and entry.task.name not in tested and all(one.start != name for one in plan.entries.values()):
            warnings.append(
                f"policy {name} writes nothing: its task {entry.task.name} is not among the tasks of the suite, and no "
                "other begins with it"
            )
    return settled, list(dict.fromkeys(warnings))


def _data(entry: Entry, seed: int, read: dict[object, Judgements | None]) -> Judgements | None:
    """Return what an entry learns from, None where its task has no train split; entries of one task share it."""
    key = judgements.same(entry.task, seed)
    if key not in read:
        read[key] = judgements.read(entry.task, seed=seed) if "train" in entry.task.data else None
    return read[key]


def _check_data(entry: Entry, data: Judgements | None) -> None:
    """Raise where train has nothing for the trainer."""
    if data is None or entry.trainer is None:
        return
    samples, where, trainer = data.train.samples, entry.where, entry.trainer.value.name
    if not any(sample.prompt.strip() for sample in samples):
        raise InputError(f"every train prompt of {entry.task.name} is empty", where=where, help="give the rows prompts")
    if "references" in entry.needs and not any(sample.references for sample in samples):
        what = f"the trainer {trainer!r} needs references, which the train rows of {entry.task.name} have not"
        raise InputError(what, where=where, help='"references": ["..."] in the rows of its train split')
    if "pairs" in entry.needs and not data.train.pairs:
        what = (
            f"the trainer {entry.trainer.value.name!r} needs pairs, which the train rows of {entry.task.name} have not"
        )
        raise InputError(what, where=where, help="preferences or ratings of candidates in its train split")


def _judged(entry: Entry, plan: Plan, by_name: Mapping[str, Chosen], data: Judgements | None) -> Entry:
    """Return the entry with its judges: those it names, else every reward of the suite that its rows can feed."""
    if entry.reward is not None and (why := _unfed(entry.reward, by_name, data)):
        raise InputError(f"the reward {entry.reward!r} needs {why}", where=entry.where, help="choose another reward")
    for judge in entry.judges:
        if why := _unfed(judge, by_name, data):
            raise InputError(f"the judge {judge!r} needs {why}", where=entry.where, help="leave it out of its judges")
    best_by = entry.options.get("best_by")
    if best_by and best_by not in by_name:
        what = f"best_by is {best_by!r}, which is no reward of the suite"
        raise InputError(what, where=entry.where, help=f"there are {', '.join(by_name)}")
    if best_by and by_name[best_by].oracle:
        raise InputError(f"best_by is {best_by!r}, an oracle", where=entry.where, help="name another reward")
    others = tuple(
        one.name for one in plan.rewards
        if not (one.null or one.oracle) and one.name != entry.reward and not _unfed(one.name, by_name, data)
    )  # fmt: skip
    return replace(entry, judges=entry.judges or others)


def _unfed(name: str, by_name: Mapping[str, Chosen], data: Judgements | None) -> str | None:
    """Return which columns the train rows lack that a reward, or one that it uses, needs."""
    if data is None:
        return None
    samples = data.train.samples
    there = {
        "references": any(sample.references for sample in samples),
        "contexts": any(sample.context is not None for sample in samples),
        "scores": False,
    }
    waiting, needs = [name], frozenset[str]()
    while waiting:
        one = by_name[waiting.pop()]
        needs |= one.needs
        waiting += one.uses
    lacking = sorted(column for column in needs if not there.get(column, True))
    return f"{' and '.join(lacking)}, which the train rows of {data.task.name} have not" if lacking else None


def _meeting(entry: Entry, data: Judgements, tested: Mapping[str, set[str]]) -> Iterator[str]:
    """Warn of test prompts that a policy is trained on."""
    known = {sample.prompt for part in (data.train, data.dev) for sample in part.samples if sample.prompt.strip()}
    for task, prompts in tested.items():
        if both := len(prompts & known):
            yield (
                f"policy {entry.name}: {both} of {len(prompts)} test prompts of {task} are among those it is trained "
                "on: its numbers there flatter it"
            )


def check(plan: Plan, *, stop: threading.Event) -> None:
    """Let policies and trainers check their data and options, in a process of their own, before anything is written.

    Raises:
        InputError, InputErrors: what they refuse.
    """
    checked = [
        entry for entry in plan.entries.values()
        if entry.policy.value.check is not None or (entry.trainer is not None and entry.trainer.value.check is not None)
    ]  # fmt: skip
    if not checked:
        return
    worker = Worker("rmbench.trainer", timeout=plan.timeout, stop=stop, log=None)
    try:
        problems = worker.ask({"check": [training_words.named(entry, plan.seed) for entry in checked]})["problems"]
    except Failed:  # met again when it is trained
        return
    finally:
        worker.kill()
    found = [
        InputError(
            f"{one['where']}: {one['what']}" if one["where"] else one["what"], where=one["name"], help=one["help"]
        )
        for one in problems
    ]
    if len(found) == 1:
        raise found[0]
    if found:
        raise InputErrors(found)
