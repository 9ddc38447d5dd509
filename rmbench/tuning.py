"""``[tune]`` of a suite and the ``tune`` tables of its entries: what is searched, checked before that begins."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rmbench import ranges, suite
from rmbench.checks import Problems, show
from rmbench.errors import InputError, did_you_mean
from rmbench.overrides import Overrides, merged
from rmbench.trials import TABLES

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rmbench.plugins import Catalog
    from rmbench.ranges import Range
    from rmbench.suite import Plan
    from rmbench.trials import Slot

KEYS = ("entry", "trials", "metric", "direction", "pruner", "startup")
TUNES = ("tune", "tune_options")  # keys of an entry: ranges of its options; of a policy: its trainer's, and its own
DIRECTIONS = ("maximise", "minimise")
PRUNERS = ("median", "halving", "none")
EXAMPLE = '[tune] entry = "rm"  trials = 20, and in that entry: ' + ranges.EXAMPLE
TRIALS, MOST_TRIALS = 20, 100_000
STARTUP = 5


@dataclass(frozen=True, slots=True)
class Search:
    """What a suite asks to search.

    Attributes:
        given: the suite, its ``tune`` tables among it.
        table: ``reward_model``, ``policy`` or ``train``.
        entry: the table of the suite that is tuned, without ``tune``.
        ranges: of its options, by name; a name that begins with the ``prefix`` of a slot is that slot's.
        slots: where options of the entry stand.
        trials: how many are made.
        metric: what is looked at, on dev.
        direction: of ``DIRECTIONS``.
        pruner: of ``PRUNERS``.
        startup: trials drawn at random before the sampler learns from them; none is pruned before as many are complete.
        first: values of the first trial: the suite's own or the defaults, where they lie in the ranges.
    """

    given: Mapping[str, Any]
    base: Path
    where: str
    data_dir: Path | None
    table: str
    entry: Mapping[str, Any]
    ranges: tuple[Range, ...]
    slots: tuple[Slot, ...]
    trials: int
    metric: str
    direction: str
    pruner: str
    startup: int
    first: Mapping[str, Any]

    @property
    def name(self) -> str:
        """Name of the entry."""
        return str(self.entry["name"])

    def entry_with(self, values: Mapping[str, Any]) -> dict[str, Any]:
        """Return the entry with these values of its ranges."""
        made = dict(self.entry)
        for slot in self.slots:
            mine = {name.removeprefix(slot.prefix): value for name, value in values.items() if slot.takes(name)}
            if mine:
                made[slot.key] = {**made.get(slot.key, {}), **mine}
        return made

    def plan(self, catalog: Catalog, values: Mapping[str, Any]) -> Plan:
        """Return the plan of the suite with these values.

        Raises:
            InputError: what the suite's own checks refuse.
        """
        others = untuned(self.given)
        changed = self.entry_with(values)
        others[self.table] = [changed if one.get("name") == self.name else one for one in others[self.table]]
        return suite.plan(others, catalog, Overrides(data_dir=self.data_dir), base=self.base, where=self.where)

    def start(self) -> dict[str, Any]:
        """Return a value of every range: the first trial's, else the first end."""
        return {one.name: self.first.get(one.name, one.ends[0]) for one in self.ranges}

    def identity(self) -> dict[str, Any]:
        """Return what makes two searches one: not the number of trials, of which there may be more."""
        return {
            "entry": {"table": self.table, **self.entry}, "ranges": {one.name: one.record() for one in self.ranges},
            "metric": self.metric, "direction": self.direction, "pruner": self.pruner, "startup": self.startup,
        }  # fmt: skip


def untuned(given: Mapping[str, Any]) -> dict[str, Any]:
    """Return a suite without its ``tune`` tables."""
    kept = {key: value for key, value in given.items() if key != "tune"}
    for table in TABLES:
        if isinstance(kept.get(table), list):
            kept[table] = [_without(one) for one in kept[table]]
    return kept


def _without(entry: Any) -> Any:
    return {key: value for key, value in entry.items() if key not in TUNES} if isinstance(entry, dict) else entry


def read(
    given: Mapping[str, Any],
    catalog: Catalog,
    *,
    base: Path,
    where: str,
    seed: int | None = None,
    trials: int | None = None,
    data_dir: Path | None = None,
) -> Search:
    """Return the search that a suite asks for.

    Args:
        given: the suite's table, as read.
        catalog: what the plugins give.
        base: folder of the suite file.
        where: the suite file, for errors.
        seed: instead of the suite's.
        trials: instead of the suite's.
        data_dir: folder of further tasks.

    Raises:
        InputError, InputErrors: all that is wrong with ``[tune]`` and the ranges, at once.
    """
    given = merged(given, Overrides(seed=seed), where)
    settings = given.get("tune", {})
    if not isinstance(settings, dict):
        raise InputError(f"tune is {show(settings)}, expected a table", where=where, help=EXAMPLE)
    problems = Problems()
    for key in settings:
        if key not in KEYS:
            problems.add(InputError(f"unknown key {key!r} in [tune]", where=where, help=did_you_mean(key, KEYS)))
    table, entry = _entry(given, settings, where)
    place = f"{where}: [[{table}]] {entry['name']}"
    slots = _slots(table, entry, given, catalog, place)
    found = tuple(_ranges(entry, slots, problems, place))
    metrics = TABLES[table].metrics(given, entry)
    metric = _word(settings, "metric", next(iter(metrics)), problems, known=tuple(metrics), where=where)
    usual = metrics.get(metric, DIRECTIONS[0])
    search = Search(
        given=given, base=base, where=where, data_dir=data_dir, table=table, entry=_without(entry),
        ranges=found, slots=slots, metric=metric,
        trials=_count(settings, "trials", TRIALS, problems, least=1, where=where) if trials is None else trials,
        direction=_word(settings, "direction", usual, problems, known=DIRECTIONS, where=where),
        pruner=_word(settings, "pruner", PRUNERS[0], problems, known=PRUNERS, where=where),
        startup=_count(settings, "startup", STARTUP, problems, least=0, where=where), first={},
    )  # fmt: skip
    problems.raise_any()
    return replace(search, first=_try(search, problems))


def _try(search: Search, problems: Problems) -> dict[str, Any]:
    """Try the ends of all ranges, and return the values of the first trial."""
    first: dict[str, Any] = {}
    for slot in search.slots:
        mine = [replace(one, name=one.name.removeprefix(slot.prefix)) for one in search.ranges if slot.takes(one.name)]
        own = search.entry.get(slot.key, {})
        place = f"{search.where}: [[{search.table}]] {search.name}"
        if slot.alone:
            ranges.try_ends(mine, slot.build, own, problems, base=search.base, where=place)
        found = ranges.begin(mine, slot.build, own)
        first |= {f"{slot.prefix}{name}": value for name, value in found.items()}
    problems.raise_any()
    return first


def _ranges(entry: Mapping[str, Any], slots: Sequence[Slot], problems: Problems, where: str) -> Iterator[Range]:
    """Yield the ranges of an entry."""
    for slot in slots:
        if slot.tune in entry:
            found = ranges.read(entry[slot.tune], slot.build, problems, where=where, use=slot.use, key=slot.tune)
            yield from (replace(one, name=f"{slot.prefix}{one.name}") for one in found)


def _entry(given: Mapping[str, Any], settings: Mapping[str, Any], where: str) -> tuple[str, dict[str, Any]]:
    """Return the entry that is tuned and the name of its table."""
    every = [
        (table, one)
        for table in TABLES
        for one in (given[table] if isinstance(given.get(table), list) else [])
        if isinstance(one, dict) and isinstance(one.get("name"), str)
    ]
    names = [one["name"] for _, one in every if not one.keys().isdisjoint(TUNES)]
    if not names:
        raise InputError("no entry has a `tune` table: there is nothing to search", where=where, help=EXAMPLE)
    wanted = settings.get("entry", names[0] if len(names) == 1 else None)
    if wanted is None:
        raise InputError(
            f"{', '.join(names)} have `tune` tables, and [tune] does not say which one is meant", where=where,
            help=f'[tune] entry = "{names[0]}"',
        )  # fmt: skip
    if wanted not in names:
        raise InputError(
            f"[tune] entry is {show(wanted)}, expected an entry with a `tune` table", where=where,
            help=did_you_mean(str(wanted), names),
        )  # fmt: skip
    return next((table, one) for table, one in every if one["name"] == wanted and not one.keys().isdisjoint(TUNES))


def _slots(
    table: str, entry: Mapping[str, Any], given: Mapping[str, Any], catalog: Catalog, where: str
) -> tuple[Slot, ...]:
    try:
        slots = TABLES[table].slots(entry, given, catalog)
    except InputError as error:
        raise InputError(error.what, where=where, help=error.help) from error
    if "tune_options" in entry and all(slot.tune != "tune_options" for slot in slots):
        raise InputError("tune_options is for policies", where=where, help="tune has the ranges of its options")
    return slots


def _count(given: Mapping[str, Any], key: str, default: int, problems: Problems, *, least: int, where: str) -> int:
    value = given.get(key, default)
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= MOST_TRIALS:
        what = f"[tune] {key} is {show(value)}, expected a whole number from {least} to {MOST_TRIALS:,}"
        problems.add(InputError(what, where=where, help=f"{key} = {default}"))
        return default
    return int(value)


def _word(
    given: Mapping[str, Any], key: str, default: str, problems: Problems, *, known: Sequence[str], where: str
) -> str:
    value = given.get(key, default)
    if value not in known:
        what = f"[tune] {key} is {show(value)}, expected {' or '.join(known)}"
        problems.add(InputError(what, where=where, help=did_you_mean(str(value), known)))
        return default
    return str(value)
