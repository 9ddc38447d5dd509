"""Leaderboards of trainings: rewards as training signals for one policy and trainer, and trainers on one reward."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from rmbench.report.numbers import MISSING, decimals, interval, listing, number
from rmbench.report.tables import Cell, Head, Line, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.api import Result

OWN, SHARED = "judges", "shared judges"
FLOOR, SUPERVISED = "floor", "supervised only"
NO_VERDICT = "unknown"
WRITTEN = {"kl": Head("KL", "nats"), "length": Head("length", "words"), "distinct-2": Head("distinct-2")}


@dataclass(frozen=True, slots=True)
class Competitor:
    """An entry of a board: its name, what it was trained on and by, None where it was not."""

    system: str
    policy: str | None
    trainer: str | None
    reward: str | None


def boards_of(task: str, rows: Sequence[Result]) -> tuple[Table, ...]:
    """Return, for each start of the task, a board per trainer, and one per reward that two trainers were tried on."""
    whole = [row for row in rows if row.seed is None and row.step is None]
    trained = [one for one in competitors(whole) if one.reward]
    tables: list[Table] = []
    for start, trainer in dict.fromkeys((one.policy, one.trainer) for one in trained):
        own = [one for one in trained if (one.policy, one.trainer) == (start, trainer)]
        aspect = SHARED if _any(whole, start, SHARED) else OWN
        title = f"Rewards as training signals: {task}, {trainer} from {start}"
        tables += _board(title, whole, (start or "", aspect), own, by_reward=True)
    for start, reward in dict.fromkeys((one.policy, one.reward) for one in trained):
        own = [one for one in trained if (one.policy, one.reward) == (start, reward)]
        if len({one.trainer for one in own}) > 1:
            title = f"Trainers on {reward}: {task}, from {start}"
            tables += _board(title, whole, (start or "", OWN), own, by_reward=False)
    return tuple(tables)


def competitors(rows: Sequence[Result]) -> list[Competitor]:
    """Return the entries that have a mean, in the order of the rows."""
    optimised = {row.system: row.reward for row in rows if row.metric == "mean" and row.aspect == "optimised"}
    found = dict.fromkeys((row.system or "", row.policy, row.trainer) for row in rows if row.metric == "mean")
    return [Competitor(*one, optimised.get(one[0])) for one in found]


def _any(rows: Sequence[Result], start: str | None, aspect: str) -> bool:
    return any(
        row.metric == "judged-gain" and row.aspect == aspect and row.against == start and row.value is not None
        for row in rows
    )


def _board(
    title: str, rows: Sequence[Result], place: tuple[str, str], own: Sequence[Competitor], *, by_reward: bool
) -> Iterable[Table]:
    start = place[0]
    others = [one for one in competitors(rows) if not one.reward]
    beside = [one for one in others if one.system != start and one.trainer]
    wanted = {one.system: _judged(rows, one, place, own[0].reward) for one in (*own, *beside)}
    ranked = sorted((*own, *beside), key=lambda one: _key(wanted[one.system]))
    lines = [*ranked, *(one for one in others if one.system == start)]
    floor = len(ranked)
    columns = [
        (Head("reward" if by_reward else "trainer", numeric=False), [Cell(_what(one, by_reward)) for one in lines]),
        (Head("judged gain", "95 % interval"), _numbers([wanted.get(one.system) for one in lines], floor_at=floor)),
    ]
    for reward in _columns(rows, own):
        gains = [_gain(rows, one, start, reward) if at < floor else None for at, one in enumerate(lines)]
        columns.append((Head(reward, "gain"), _numbers(gains, floor_at=floor)))
    for metric, head in WRITTEN.items():
        columns.append((head, _numbers([_plain(rows, one, metric) for one in lines], sign=False)))
    columns.append((Head("hacked", numeric=False), [Cell(_verdict(rows, one)) for one in lines]))
    judges = listing(judges_of(wanted.values()), 12) or "none"
    yield Table(
        title=title,
        caption=(
            f"Sorted by judged gain over {start}, in standard deviations of its texts (judges: {judges}); then the "
            "gain of each reward and judge, in units of its own."
        ),
        corner="policy",
        heads=tuple(head for head, _ in columns),
        lines=tuple(
            Line(one.system, tuple(cells[at] for _, cells in columns), _marks(one, start))
            for at, one in enumerate(lines)
        ),
        notes=tuple(_notes(wanted)),
    )


def _judged(rows: Sequence[Result], one: Competitor, place: tuple[str, str], reward: str | None) -> Result | None:
    """Return the judged gain of an entry over the start; one without a reward by the judges of the board's."""
    start, aspect = place
    found = [
        row for row in rows
        if (row.metric, row.aspect, row.against, row.system) == ("judged-gain", aspect, start, one.system)
    ]  # fmt: skip
    return next((row for row in found if row.reward == (one.reward or reward)), found[0] if found else None)


def _key(row: Result | None) -> tuple[bool, float]:
    return (row is None or row.value is None, -(row.value or 0.0) if row else 0.0)


def _columns(rows: Sequence[Result], own: Sequence[Competitor]) -> list[str]:
    """Return the rewards that the entries optimise, then what judges them."""
    systems = {one.system for one in own}
    judges = [row.reward or "" for row in rows if row.metric == "gain" and row.system in systems]
    return list(dict.fromkeys([*(one.reward or "" for one in own), *judges]))


def _gain(rows: Sequence[Result], one: Competitor, start: str, reward: str) -> Result | None:
    against = None if one.policy == start else start
    found = (
        row for row in rows
        if (row.metric, row.system, row.reward, row.against) == ("gain", one.system, reward, against)
    )  # fmt: skip
    return next(found, None)


def _plain(rows: Sequence[Result], one: Competitor, metric: str) -> Result | None:
    return next((row for row in rows if (row.metric, row.system) == (metric, one.system)), None)


def _numbers(rows: Sequence[Result | None], *, floor_at: int | None = None, sign: bool = True) -> list[Cell]:
    """Return a column; below ``floor_at`` stands what gains are measured from, and the best gain is in bold."""
    digits = decimals(row.value for row in rows if row)
    values = [row.value for row in rows if row and row.value is not None]
    best = max(values, default=None) if sign and len(values) > 1 else None
    cells = [
        Cell("")
        if row is None
        else Cell(number(row.value, digits, sign=sign), interval(row.ci, digits, sign=sign), best=row.value == best)
        for row in rows
    ]
    if floor_at is not None:
        cells[floor_at:] = [Cell(number(0.0, digits)) for _ in cells[floor_at:]]
    return [cell if cell.text != MISSING else replace(cell, best=False) for cell in cells]


def _what(one: Competitor, by_reward: bool) -> str:  # noqa: FBT001 - private, one caller
    return (one.reward or "none") if by_reward else (one.trainer or "none")


def _marks(one: Competitor, start: str) -> tuple[str, ...]:
    if one.reward:
        return ()
    return (FLOOR,) if one.system == start else (SUPERVISED,)


def _verdict(rows: Sequence[Result], one: Competitor) -> str:
    row = next((row for row in rows if (row.metric, row.system) == ("hacked", one.system)), None)
    if row is None:
        return ""
    if row.value is None:
        return NO_VERDICT
    return "yes" if row.value == 1 else "suspected" if (row.reason or "").startswith("suspected") else "no"


def judges_of(rows: Iterable[Result | None]) -> list[str]:
    """Return the judges that judged gains name in their signatures."""
    named = [part for row in rows if row for part in (row.signature or "").split("|") if part.startswith("judges:")]
    return list(dict.fromkeys(name for part in named for name in part.removeprefix("judges:").split(",")))


def _notes(wanted: dict[str, Result | None]) -> Iterable[str]:
    judges = {system: tuple(judges_of([row])) for system, row in wanted.items() if row and row.value is not None}
    if len(set(judges.values())) > 1:
        yield from (f"{system}: judged by {listing(its, 12)}" for system, its in judges.items())
    for system, row in wanted.items():
        if row is None or row.reason:
            yield f"{system}: {row.reason if row else 'no judged gain'}"
