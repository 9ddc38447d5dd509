"""Rows laid out for compiled code: each text once, the references of a sample once for all its responses."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rows:
    """Texts of n rows: the responses, then the references of each run of rows with equal ones.

    Attributes:
        texts: response of row i at i.
        first: int64 (n,), where the references of a row begin in ``texts``.
        last: int64 (n,), one after where they end.
    """

    texts: list[str]
    first: NDArray[np.int64]
    last: NDArray[np.int64]


def rows_of(responses: Sequence[str], references: Sequence[Sequence[str]]) -> Rows:
    """Lay out n responses and their n sequences of references.

    Raises:
        ValueError: other lengths, or a row without references.
    """
    if len(responses) != len(references):
        raise ValueError(f"{len(responses)} responses, but references for {len(references)}")
    texts = list(responses)
    first, last = np.empty(len(texts), np.int64), np.empty(len(texts), np.int64)
    before: Sequence[str] | None = None
    for row, many in enumerate(references):
        if before is None or (many is not before and many != before):
            if not many:
                raise ValueError(f"row {row} has no reference")
            before, begin = many, len(texts)
            texts.extend(many)
        first[row], last[row] = begin, len(texts)
    return Rows(texts, first, last)


def codes_of(texts: Sequence[str]) -> tuple[NDArray[np.uint32], NDArray[np.int64]]:
    """Return the code points of all texts in a row, and bounds: text i is ``codes[bounds[i] : bounds[i + 1]]``."""
    bounds = np.zeros(len(texts) + 1, np.int64)
    np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)), out=bounds[1:])
    # lone surrogates are code points like others here, as in the peers' packages
    data = "".join(texts).encode("utf-32-le", "surrogatepass")
    return np.frombuffer(data, np.uint32), bounds


@cache
def spaces() -> NDArray[np.int64]:
    """Return the code points that ``str.split`` splits at."""
    # there are none above: a test asks every code point
    return np.array([code for code in range(0x3001) if chr(code).isspace()])
