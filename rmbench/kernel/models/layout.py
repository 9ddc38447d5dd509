"""How the tokens of a batch lie in memory, without torch: packed one behind the other, or padded on the right."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rmbench.kernel.models.heads import LAST, Head, positions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.kernel.models.plan import Batch


class Segment(NamedTuple):
    """Tokens ``start`` to ``stop`` of the sequence, which also see those from ``prefix`` to ``prefix_stop``."""

    start: int
    stop: int
    prefix: int
    prefix_stop: int


class Packed(NamedTuple):
    """Rows one behind the other: ids and position ids int64 (tokens,), the place where each row is read int64 (n,)."""

    ids: np.ndarray
    positions: np.ndarray
    segments: tuple[Segment, ...]
    read: np.ndarray


class Cumulative(NamedTuple):
    """Segments as variable-length attention takes them.

    Attributes:
        queries: where each segment begins, and the end: int32 (segments + 1,).
        seen: the same of the keys that it sees, its prefix before its own.
        keys: which tokens those keys are, int64; None where each segment sees itself only.
        longest: tokens of the longest segment, and of the longest run of keys.
    """

    queries: np.ndarray
    seen: np.ndarray
    keys: np.ndarray | None
    longest: tuple[int, int]


class Padded(NamedTuple):
    """Rows padded on the right: ids, mask and position ids int64 (n, longest), the place read in each int64 (n,)."""

    ids: np.ndarray
    mask: np.ndarray
    positions: np.ndarray | None
    read: np.ndarray


def packed(batch: Batch, rows: Sequence[np.ndarray], head: Head, model: Any) -> Packed:
    """Lay the rows of a batch one behind the other, a shared prefix before the rows that begin with it."""
    pieces: list[np.ndarray] = []
    numbers: list[np.ndarray] = []
    segments: list[Segment] = []
    read: list[int] = []
    at = 0

    def add(tokens: np.ndarray, before: int, prefix: tuple[int, int]) -> None:
        nonlocal at
        pieces.append(tokens)
        numbers.append(positions(tokens, head, model, before))
        segments.append(Segment(at, at + len(tokens), *prefix))
        at += len(tokens)

    for group in batch.groups:
        begun = at
        if group.shared:
            add(rows[group.rows[0]][: group.shared], 0, (at, at))
        for row in group.rows:
            prefix = (begun, begun + group.shared) if group.shared else (at, at)
            add(rows[row][group.shared :], group.shared, prefix)
            read.append(at - 1 if head.position == LAST else segments[-1].start)
    return Packed(np.concatenate(pieces), np.concatenate(numbers), tuple(segments), np.array(read, np.int64))


def places(batch: Batch, segments: Sequence[Segment], spans: Sequence[tuple[int, int]]) -> np.ndarray:
    """Return where tokens of rows lie in a packed sequence, int64, one row's after the other's.

    Args:
        batch: whose rows they are.
        segments: of the sequence that ``packed`` made of it.
        spans: for each row, in the batch's order, from which of its tokens to before which.
    """
    own = iter(segments)
    found: list[np.ndarray] = []
    wanted = iter(spans)
    for group in batch.groups:
        if group.shared:
            next(own)
        for _ in group.rows:
            segment, (start, stop) = next(own), next(wanted)
            at = np.arange(start, stop)
            found.append(np.where(at < group.shared, segment.prefix + at, segment.start + at - group.shared))
    return np.concatenate(found).astype(np.int64)


def cumulative(segments: Sequence[Segment]) -> Cumulative:
    """Return the lengths of segments that follow each other from 0 on, and the keys that each sees."""
    table = np.array(segments, np.int64).reshape(-1, 4)
    own, prefix = table[:, 1] - table[:, 0], table[:, 3] - table[:, 2]
    queries = np.concatenate([[0], np.cumsum(own)]).astype(np.int32)
    longest = int(own.max()), int((own + prefix).max())
    if not prefix.any():
        return Cumulative(queries, queries, None, longest)
    seen = np.concatenate([[0], np.cumsum(own + prefix)]).astype(np.int32)
    both = [np.arange(*piece) for start, stop, *before in table.tolist() for piece in (before, (start, stop))]
    return Cumulative(queries, seen, np.concatenate(both), longest)


def padded(taken: Sequence[np.ndarray], pad_id: int, head: Head | None, model: Any) -> Padded:
    """Fill rows up to the longest; where it is read comes from their lengths, not from the ids."""
    longest = max(map(len, taken))
    ids = np.full((len(taken), longest), pad_id, dtype=np.int64)
    mask = np.zeros((len(taken), longest), dtype=np.int64)
    offset = head.offset(model) if head is not None else 0
    numbered = np.full_like(ids, offset - 1) if head is not None and offset else None
    for place, row in enumerate(taken):
        ids[place, : len(row)] = row
        mask[place, : len(row)] = 1
        if head is not None and numbered is not None:
            numbered[place, : len(row)] = positions(row, head, model)
    last = head is not None and head.position == LAST
    read = np.array([len(row) - 1 if last else 0 for row in taken], np.int64)
    return Padded(ids, mask, numbered, read)
