"""Score a batch whatever the reward does: halve it until the rows that fail stand alone."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rmbench import canary
from rmbench.process import Broken, Failed
from rmbench.scoring import Scores

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.api import Batch
    from rmbench.process import Seat

LOST_BEFORE_BROKEN = 3
LOST_BEFORE_GIVING_UP = 10


@dataclass(slots=True)
class Ledger:
    """What happened to one reward: rows scored, rows lost, what it did that it should not."""

    scored: int = 0
    lost: int = 0
    deaths: int = 0
    notes: set[str] = field(default_factory=set)
    tracebacks: list[str] = field(default_factory=list)


def fill(rows: int, reason: str) -> Scores:
    """Return rows without a score, all for one reason."""
    return Scores([None] * rows, [reason] * rows)


def join(pieces: Sequence[Scores]) -> Scores:
    """Put the scores of consecutive batches together; a part that a batch lacks is None there."""
    names = sorted({name for piece in pieces for name in piece.parts})
    return Scores(
        [value for piece in pieces for value in piece.values],
        [reason for piece in pieces for reason in piece.reasons],
        {name: [v for piece in pieces for v in piece.parts.get(name, [None] * len(piece.values))] for name in names},
    )


def score_rows(seat: Seat, rows: Batch, ledger: Ledger, *, whole: bool) -> Scores:
    """Score a batch; where it fails, halve it until the rows (or samples) that fail stand alone.

    Args:
        seat: where the reward scores.
        rows: the batch.
        ledger: of this reward.
        whole: the reward must see whole samples, so these are not halved.

    Raises:
        Broken: the reward has never scored a row and has failed on several alone.
    """
    if not len(rows):  # no policy of the task could be trained
        return Scores([], [])
    if ledger.deaths >= LOST_BEFORE_GIVING_UP:
        ledger.lost += len(rows)
        return fill(len(rows), f"not tried: the reward had hung or died {ledger.deaths} times")
    try:
        scores = seat.score(rows)
    except Failed as error:
        failure = error
    else:
        ledger.scored += len(rows)
        ledger.notes.update(scores.notes)
        return scores
    return _after_failure(seat, rows, ledger, failure, whole=whole)


def _after_failure(seat: Seat, rows: Batch, ledger: Ledger, failure: Failed, *, whole: bool) -> Scores:
    units = canary.units_of(rows, whole=whole)
    if len(units) == 1:
        ledger.lost += len(rows)
        ledger.deaths += failure.kind in ("timeout", "died")
        ledger.tracebacks += (
            [failure.traceback] if failure.traceback and len(ledger.tracebacks) < LOST_BEFORE_GIVING_UP else []
        )
        if not ledger.scored and ledger.lost >= LOST_BEFORE_BROKEN:
            raise Broken(f"it failed on every row tried ({failure.kind}: {failure})", failure.traceback)
        return fill(len(rows), f"{failure.kind}: {failure}")
    if failure.memory:
        ledger.notes.add("ran out of memory on a batch (scored in smaller ones)")
    if failure.kind in ("timeout", "died") and not ledger.scored:
        _probe(seat, rows, [units[0], units[len(units) // 2], units[-1]], ledger)
    return join([score_rows(seat, half, ledger, whole=whole) for half in _halves(rows, units)])


def _halves(rows: Batch, units: list[list[int]]) -> list[Batch]:
    middle = len(units) // 2
    return [rows.take([row for unit in some for row in unit]) for some in (units[:middle], units[middle:])]


def within_memory(seat: Seat, rows: Batch, *, whole: bool) -> Scores:
    """Score a batch as the seat does; where memory does not hold it, in halves."""
    try:
        return seat.score(rows)
    except Failed as error:
        units = canary.units_of(rows, whole=whole)
        if not error.memory or len(units) == 1:
            raise
    return join([within_memory(seat, half, whole=whole) for half in _halves(rows, units)])


def _probe(seat: Seat, rows: Batch, units: list[list[int]], ledger: Ledger) -> None:
    """After a first timeout or death, see whether the reward can score any row at all before halving."""
    last: Failed | None = None
    for unit in units:
        try:
            seat.score(rows.take(unit))
        except Failed as error:
            last = error
        else:
            ledger.scored += len(unit)
            return
    raise Broken(f"it failed on every row tried ({last})")


def with_scores(rows: Batch, used: dict[str, tuple[float | None, ...]]) -> Batch:
    """Return the batch with the scores of used rewards beside those that the data carry, none of which can change."""
    return replace(rows, scores=MappingProxyType({**rows.scores, **used}))
