"""Texts to word numbers, compiled: rouge-score's tokenisation of many texts in one pass over their bytes.

Words are runs of A-Z, a-z and 0-9 (texts are lower-cased before, where asked). Everything else separates: all that is
not ASCII becomes ``?``, after Python's own ``lower()``, which makes ASCII letters of some of it (a dotted capital I,
the Kelvin sign). Numbers are counted from 0 in each call, so that tables stay small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.porter import stems
from rmbench.kernel.splits import edges, intern

Numbers = NDArray[np.int32]
Offsets = NDArray[np.int64]
Bytes = NDArray[np.uint8]

LINE_BREAK = 10
BLOCK = 8  # bytes


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of some texts as numbers: equal words (or stems) have equal numbers.

    Attributes:
        numbers: int32, the words of all texts, one text after the other.
        bounds: int64, (texts + 1,); text i is ``numbers[bounds[i] : bounds[i + 1]]``.
        lines: int32, like numbers, or empty; words with the same line stand on the same line of the same text.
        size: how many different numbers there are.
    """

    numbers: Numbers
    bounds: Offsets
    lines: Numbers
    size: int


def tokens_of(texts: Sequence[str], *, stemmer: bool = False, lowercase: bool = True, lines: bool = False) -> Tokens:
    """Return the words of texts as rouge-score splits them; see ``Tokens``.

    Args:
        texts: any texts.
        stemmer: number the Porter stems (of words longer than 3 characters, as rouge-score does).
        lowercase: False keeps case: words are then runs of A-Z, a-z and 0-9.
        lines: count lines, too.
    """
    data, ends = joined(texts, lowercase=lowercase)
    places = edges(data)
    numbers, words = numbered(data, places)
    size = len(words)
    if stemmer and size:
        # the stems, one for each word and never empty, are numbered like the words of one text
        stemmed = stems(data, places, words)
        merged, words = numbered(stemmed, edges(stemmed))
        numbers, size = merged[numbers], len(words)
    starts = places[::2]
    bounds = np.concatenate(([0], np.searchsorted(starts, ends)))
    breaks = np.searchsorted(np.flatnonzero(data == LINE_BREAK), starts) if lines else starts[:0]
    return Tokens(numbers, bounds, breaks.astype(np.int32), size)


def joined(texts: Sequence[str], *, lowercase: bool) -> tuple[Bytes, Offsets]:
    """Return the ASCII bytes of all texts and where each ends.

    A space stands behind each text. At least one block of spaces stands behind all, and the size is whole blocks.
    """
    parts: Sequence[str] = texts
    if not all(map(str.isascii, texts)):
        parts = [(text.lower() if lowercase else text).encode("ascii", "replace").decode("ascii") for text in texts]
    ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)) + 1)
    total = int(ends[-1]) if parts else 0
    data = " ".join((*parts, " " * (2 * BLOCK - total % BLOCK))).encode("ascii")
    return np.frombuffer(data.lower() if lowercase else data, np.uint8), ends


def numbered(data: Bytes, places: Offsets) -> tuple[Numbers, Numbers]:
    """Return ``intern`` with a table that is large enough: first for a word that is new in every four."""
    bits = max(8, (len(places) // 4).bit_length())
    while True:
        numbers, words = intern(data.view(np.uint64), places, bits)
        if len(numbers) == len(places) // 2:
            return numbers, words
        bits += 2
