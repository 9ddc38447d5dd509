"""Which rows are computed together: a function of the token ids and the budget only, without torch.

A row's score must not depend on its neighbours, so a plan decides how fast a run is and nothing else; it is kept, since
bytes are equal only under the same plan.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Ids = np.ndarray  # int64, one dimension
LEAST_SHARED = 8  # tokens: a shorter prefix costs more to share than to compute again


@dataclass(frozen=True, slots=True)
class Group:
    """Rows that begin with the same tokens: ``shared`` tokens are computed once (0: nothing is shared)."""

    rows: tuple[int, ...]
    shared: int


@dataclass(frozen=True, slots=True)
class Batch:
    """One forward pass.

    Attributes:
        groups: its rows.
        real: tokens of its rows, those of a shared prefix counted in each.
        computed: tokens that go through the model, padding among them.
    """

    groups: tuple[Group, ...]
    real: int
    computed: int

    @property
    def rows(self) -> tuple[int, ...]:
        """Indices of its rows, among the different rows."""
        return tuple(row for group in self.groups for row in group.rows)


@dataclass(frozen=True, slots=True)
class Plan:
    """How rows are computed.

    Attributes:
        way: ``packed`` (no padding), ``padded`` or ``single``.
        first: for each row of the input, which of the different rows it is, int (n,).
        unique: for each different row, its first place in the input.
        batches: of the different rows.
    """

    way: str
    first: tuple[int, ...]
    unique: tuple[int, ...]
    batches: tuple[Batch, ...]

    @property
    def real(self) -> int:
        """Tokens of the different rows."""
        return sum(batch.real for batch in self.batches)

    @property
    def computed(self) -> int:
        """Tokens that go through the model."""
        return sum(batch.computed for batch in self.batches)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain values, for JSON."""
        return asdict(self)


def deduplicated(rows: Sequence[Ids]) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return (first, unique) of ``Plan``: rows with exactly the same ids are one row."""
    known: dict[bytes, int] = {}
    first, unique = [], []
    for place, row in enumerate(rows):
        key = np.ascontiguousarray(row, dtype=np.int64).tobytes()
        if key not in known:
            known[key] = len(unique)
            unique.append(place)
        first.append(known[key])
    return tuple(first), tuple(unique)


def shared_groups(rows: Sequence[Ids], prefixes: Sequence[int]) -> list[Group]:
    """Return the rows in groups that share their prefix, in the order of their first row.

    Args:
        rows: token ids; a row keeps at least one token of its own.
        prefixes: leading tokens of each row that may be shared (the prompt's).
    """
    members: dict[tuple[int, bytes], list[int]] = {}
    for index, (row, prefix) in enumerate(zip(rows, prefixes, strict=True)):
        shared = min(prefix, len(row) - 1)
        key = (shared, row[:shared].tobytes()) if shared >= LEAST_SHARED else (0, index.to_bytes(8, "big"))
        members.setdefault(key, []).append(index)
    return [Group(tuple(found), shared if len(found) > 1 else 0) for (shared, _), found in members.items()]


def packed(rows: Sequence[Ids], groups: Iterable[Group], budget: int) -> tuple[Batch, ...]:
    """Return batches without padding, filled in order up to ``budget`` tokens; a longer row stands alone.

    A group that does not fit is cut; its prefix is computed again in each piece.
    """
    batches: list[Batch] = []
    held: list[Group] = []
    real = computed = 0

    def close() -> None:
        nonlocal held, real, computed
        if held:
            batches.append(Batch(tuple(held), real, computed))
        held, real, computed = [], 0, 0

    for group in groups:
        piece: list[int] = []
        cost = group.shared
        for row in group.rows:
            own = len(rows[row]) - group.shared
            if (held or piece) and computed + cost + own > budget:
                if piece:
                    held.append(Group(tuple(piece), group.shared if len(piece) > 1 else 0))
                    computed += cost
                close()
                piece, cost = [], group.shared
            piece.append(row)
            cost += own
            real += len(rows[row])
        held.append(Group(tuple(piece), group.shared if len(piece) > 1 else 0))
        computed += cost
    close()
    return tuple(batches)


def padded(rows: Sequence[Ids], budget: int) -> tuple[Batch, ...]:
    """Return batches of rows sorted by length, at most ``budget`` tokens each, padding counted; one row at least."""
    order = sorted(range(len(rows)), key=lambda row: (-len(rows[row]), row))
    batches: list[Batch] = []
    start = 0
    while start < len(order):
        longest = len(rows[order[start]])
        taken = order[start : start + max(1, budget // max(1, longest))]
        real = sum(len(rows[row]) for row in taken)
        batches.append(Batch(tuple(Group((row,), 0) for row in taken), real, longest * len(taken)))
        start += len(taken)
    return tuple(batches)


def single(rows: Sequence[Ids]) -> tuple[Batch, ...]:
    """Return one batch for each row."""
    return tuple(Batch((Group((index,), 0),), len(row), len(row)) for index, row in enumerate(rows))


def halves(batch: Batch, rows: Sequence[Ids], way: str, budget: int) -> tuple[Batch, ...]:
    """Return batches of the first and of the second half of a batch's rows, none larger than ``budget`` where it can."""
    every = [(row, group.shared) for group in batch.groups for row in group.rows]
    middle = len(every) // 2
    made: list[Batch] = []
    for half in (every[:middle], every[middle:]):
        if way == "packed":
            groups: dict[tuple[int, bytes], list[int]] = {}
            for row, shared in half:
                groups.setdefault(
                    (shared, rows[row][:shared].tobytes() if shared else row.to_bytes(8, "big")), []
                ).append(row)
            found = [Group(tuple(some), shared if len(some) > 1 else 0) for (shared, _), some in groups.items()]
            made += packed(rows, found, budget)
        else:
            taken = [row for row, _ in half]
            longest = max(len(rows[row]) for row in taken)
            real = sum(len(rows[row]) for row in taken)
            made.append(Batch(tuple(Group((row,), 0) for row in taken), real, longest * len(taken)))
    return tuple(made)
