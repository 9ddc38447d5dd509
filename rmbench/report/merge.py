"""Several runs as one set of rows: what agrees is merged, what differs keeps its run's name."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, NamedTuple

from rmbench.errors import InputError
from rmbench.report.cards import RewardCard, RunCard, TaskCard, read_manifest
from rmbench.report.numbers import UNKNOWN
from rmbench.report.rows import place, read_rows, shown

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rmbench.api import Result


class RunData(NamedTuple):
    """What a report reads of one run; a plain pair ``(manifest, results)`` does as well.

    Attributes:
        manifest: manifest.json as a dict.
        results: the rows of results.json, dicts with the keys of ``rmbench.api.FIELDS``.
        samples: texts to show, dicts with ``task``, ``id``, ``prompt``, ``system``, ``text``, ``human``
            (aspect -> score) and ``scores`` (reward -> score or None); what is missing is left out.
        name: what to call the run; else the manifest's name.
        measurements: the rows of measurements.json, of the same keys; those that were asked for.
        compared: texts of trained policies beside those of their starts (see ``report.optimise``).
    """

    manifest: Mapping[str, Any]
    results: Sequence[Mapping[str, Any]]
    samples: Sequence[Mapping[str, Any]] = ()
    name: str = ""
    measurements: Sequence[Mapping[str, Any]] = ()
    compared: Sequence[Mapping[str, Any]] = ()


@dataclass(frozen=True, slots=True)
class Merged:
    """Runs as one: rows whose texts are inert, cards by name, and what the reader has to know of the merge."""

    runs: tuple[RunCard, ...]
    tasks: Mapping[str, TaskCard]
    rewards: Mapping[str, RewardCard]
    rows: tuple[Result, ...]
    notes: tuple[str, ...]


@dataclass(slots=True)
class _Entry:
    """One reward of the merged table: the runs that agree on it."""

    name: str
    first: int
    rows: dict[tuple[object, ...], Result] = field(default_factory=dict)


def merge(sources: Iterable[RunData | tuple[Any, ...]], *, allow_versions: bool = False) -> Merged:
    """Return the runs as one set of rows.

    A reward whose signature or numbers differ between two runs on the same task becomes two entries,
    ``name (run)``; rows that agree are merged. Runs of equal names are numbered.

    Raises:
        InputError: two versions of a task, unless ``allow_versions`` puts them in one column.
        RunFolderError: rows that are no rows of results.json.
    """
    every = [RunData(*source) for source in sources]
    if not every:
        raise InputError("no run to report on", help="name at least one run folder")
    runs = _distinct([read_manifest(source.manifest, source.name) for source in every])
    rows = [tuple(map(shown, read_rows(source.results))) for source in every]
    notes = _check_versions(runs, rows, allow_versions=allow_versions)
    entries = _entries(rows)
    names = _names(entries, runs)
    return Merged(
        runs=tuple(runs),
        tasks=_tasks(runs, rows),
        rewards=_rewards(entries, names, runs),
        rows=tuple(_renamed(rows, entries, names)),
        notes=notes,
    )


def _distinct(runs: list[RunCard]) -> list[RunCard]:
    """Number the runs that share a name."""
    seen: dict[str, int] = {}
    for index, run in enumerate(runs):
        seen[run.name] = seen.get(run.name, 0) + 1
        if seen[run.name] > 1:
            runs[index] = replace(run, name=f"{run.name} {seen[run.name]}")
    return runs


def label_of(signature: str | None, task: str | None) -> str | None:
    """Return the part of a signature that names the task, such as ``summeval@1#b3335a80``."""
    parts = (signature or "").split("|")
    mine = (part for part in parts if task and part.startswith(f"{task}@"))
    return next((part for part in mine if "#" in part), None)  # a reward may have the task's name


def _check_versions(runs: list[RunCard], rows: list[tuple[Result, ...]], *, allow_versions: bool) -> tuple[str, ...]:
    labels: dict[str, dict[str, str]] = {}
    for run, its_rows in zip(runs, rows, strict=True):
        known = {(task.name, task.label) for task in run.tasks if task.label != UNKNOWN}
        known |= {(row.task, label) for row in its_rows if row.task and (label := label_of(row.signature, row.task))}
        for task, label in sorted(known):
            labels.setdefault(task, {}).setdefault(label, run.name)
    notes = []
    for task, seen in sorted(labels.items()):
        if len(seen) < 2:  # noqa: PLR2004 - two versions
            continue
        found = " and ".join(f"{label} (run {run})" for label, run in sorted(seen.items()))
        if not allow_versions:
            raise InputError(
                f"two versions of task {task} do not belong in one column: {found}",
                where=f"task {task}",
                help="report the runs apart, run again on one version, or allow versions to be mixed",
            )
        notes.append(f"Versions of task {task} are mixed in one column, as asked: {found}.")
    return tuple(notes)


def _entries(rows: list[tuple[Result, ...]]) -> dict[tuple[int, str], _Entry]:
    """Return the entry of each (run, reward): the first one of that name it does not contradict."""
    by_name: dict[str, list[_Entry]] = {}
    found: dict[tuple[int, str], _Entry] = {}
    for run, its_rows in enumerate(rows):
        own: dict[str, dict[tuple[object, ...], Result]] = {}
        for row in its_rows:
            if row.reward is not None:
                own.setdefault(row.reward, {}).setdefault(place(row), row)
        for name, mine in own.items():
            known = by_name.setdefault(name, [])
            entry = next((entry for entry in known if _agree(entry.rows, mine)), None)
            if entry is None:
                entry = _Entry(name, run)
                known.append(entry)
            entry.rows.update({at: row for at, row in mine.items() if at not in entry.rows})
            found[run, name] = entry
    return found


def _agree(known: Mapping[tuple[object, ...], Result], mine: Mapping[tuple[object, ...], Result]) -> bool:
    """Whether no signature of a shared task and no number of a shared place differs.

    Comparisons are left out: their p-values depend on which rewards a run compared. The signature of a number on a
    trained policy names the policy too, and is no other reward's for that.
    """
    signatures = {row.task: row.signature for row in known.values() if row.against is None and not _of_policy(row)}
    return all(
        (_of_policy(row) or signatures.get(row.task, row.signature) == row.signature)
        and known.get(at, row).value == row.value
        for at, row in mine.items()
        if row.against is None
    )


def _of_policy(row: Result) -> bool:
    return row.study == "optimise"


def _names(entries: Mapping[tuple[int, str], _Entry], runs: list[RunCard]) -> dict[int, str]:
    """Return the shown name of each entry, by the entry's identity."""
    distinct = {id(entry): entry for entry in entries.values()}
    shared: dict[str, int] = {}
    for entry in distinct.values():
        shared[entry.name] = shared.get(entry.name, 0) + 1
    return {
        key: entry.name if shared[entry.name] == 1 else f"{entry.name} ({runs[entry.first].name})"
        for key, entry in distinct.items()
    }


def _renamed(
    rows: list[tuple[Result, ...]], entries: Mapping[tuple[int, str], _Entry], names: Mapping[int, str]
) -> Iterable[Result]:
    """Yield each row once, in the order of the runs, under its entry's name."""
    done: set[tuple[object, ...]] = set()
    for run, its_rows in enumerate(rows):
        shown_as = {reward: names[id(entry)] for (of, reward), entry in entries.items() if of == run}
        for row in its_rows:
            # `against` may name a reward or, between systems, a system.
            against = shown_as.get(row.against, row.against) if row.against and row.system is None else row.against
            named = replace(row, reward=shown_as.get(row.reward or "", row.reward), against=against)
            if place(named) not in done:
                done.add(place(named))
                yield named


def _tasks(runs: list[RunCard], rows: list[tuple[Result, ...]]) -> dict[str, TaskCard]:
    """Return the card of every task, those that only rows speak of included."""
    cards: dict[str, TaskCard] = {}
    for run in runs:
        for card in run.tasks:
            cards.setdefault(card.name, card)
    for row in (row for its_rows in rows for row in its_rows):
        if row.task is not None:
            known = cards.setdefault(row.task, TaskCard(row.task))
            if known.kind == UNKNOWN and row.kind:
                known = cards[row.task] = replace(known, kind=row.kind)
            if known.label == UNKNOWN and (label := label_of(row.signature, row.task)):
                cards[row.task] = replace(known, label=label)
    return cards


def _rewards(
    entries: Mapping[tuple[int, str], _Entry], names: Mapping[int, str], runs: list[RunCard]
) -> dict[str, RewardCard]:
    """Return the card of every entry by its shown name: suite order, null rewards last."""
    cards: dict[str, RewardCard] = {}
    for index, run in enumerate(runs):
        own = {card.name: card for card in run.rewards}
        order = [*own, *(name for of, name in entries if of == index and name not in own)]
        for name in order:
            entry = entries.get((index, name))
            shown_as = names[id(entry)] if entry else name
            cards.setdefault(shown_as, replace(own.get(name, RewardCard(name)), name=shown_as))
    return dict(sorted(cards.items(), key=lambda item: item[1].null))
