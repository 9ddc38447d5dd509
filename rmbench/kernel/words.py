"""Texts to word numbers, compiled: rouge-score's tokenisation, one pass over the bytes of many texts.

Words are runs of A-Z, a-z and 0-9 (texts are lower-cased before, where asked). Everything else separates: all bytes of
texts that are not ASCII become ``?`` after Python's own ``lower()``, which may make ASCII letters of others (a dotted
capital I, the Kelvin sign). Numbers are counted from 0 in each call, so that tables stay small.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.compiled import compiled
from rmbench.kernel.porter import stems

Numbers = NDArray[np.int32]
Offsets = NDArray[np.int64]
Bytes = NDArray[np.uint8]

SHORT = 8  # bytes: a word up to this length is its own key
GOLDEN = np.int64(-7046029254386353131)  # 2**64 divided by the golden ratio, as a signed number
PRIME = np.int64(1099511628211)
LONG = np.int64(-(2**63))  # marks the key of a longer word; ASCII bytes never set this bit
FIRST_BITS = 10  # of the table of words: 1024 slots
LINE_BREAK = 10
LETTER = np.zeros(256, dtype=np.bool_)
LETTER[[*range(48, 58), *range(65, 91), *range(97, 123)]] = True


@dataclass(frozen=True, slots=True)
class Tokens:
    """The words of some texts as numbers: equal words (or stems) have equal numbers.

    Attributes:
        numbers: int32, the words of all texts, one text after the other.
        bounds: int64, (texts + 1,); text i is ``numbers[bounds[i] : bounds[i + 1]]``.
        lines: bool, like numbers; whether a line break stands between this word and the one before it in its text.
        size: how many different numbers there may be.
    """

    numbers: Numbers
    bounds: Offsets
    lines: NDArray[np.bool_]
    size: int


def tokens_of(texts: Sequence[str], *, stemmer: bool, lowercase: bool) -> Tokens:
    """Return the words of texts as rouge-score splits them; see ``Tokens``.

    Args:
        texts: any texts.
        stemmer: number the Porter stems (of words longer than 3 characters, as rouge-score does).
        lowercase: False keeps case: words are then runs of A-Z, a-z and 0-9.
    """
    data, ends = joined(texts, lowercase=lowercase)
    numbers, bounds, lines, starts, lengths = tokenise(data, ends, LETTER)
    if stemmer and len(starts):
        # the stems, one for each word and never empty, are numbered like the words of one text
        stemmed = stems(data, starts, lengths)
        merged, _, _, starts, _ = tokenise(stemmed, np.array([stemmed.size]), LETTER)
        return Tokens(merged[numbers], bounds, lines, len(starts))
    return Tokens(numbers, bounds, lines, len(starts))


def joined(texts: Sequence[str], *, lowercase: bool) -> tuple[Bytes, Offsets]:
    """Return the ASCII bytes of all texts in a row, lower-cased where asked, and where each text ends."""
    whole = "".join(texts)
    if whole.isascii():
        data = whole.encode("ascii")
        ends = np.cumsum(np.fromiter(map(len, texts), np.int64, len(texts)))
        return np.frombuffer(data.lower() if lowercase else data, np.uint8), ends
    parts = [(text.lower() if lowercase else text).encode("ascii", "replace") for text in texts]
    ends = np.cumsum(np.fromiter(map(len, parts), np.int64, len(parts)))
    return np.frombuffer(b"".join(parts), np.uint8), ends


@compiled
def slot_of(key, bits):  # type: ignore[no-untyped-def]
    """Return the first slot to try: the top bits of a product, which depend on every bit of the key."""
    return (key * GOLDEN >> (64 - bits)) & ((1 << bits) - 1)


@compiled
def grown(keys, values, bits):  # type: ignore[no-untyped-def]
    """Return a table of 2**bits slots with the same entries."""
    mask = (1 << bits) - 1
    new_keys, new_values = np.zeros(1 << bits, np.int64), np.full(1 << bits, -1, np.int32)
    for old in range(keys.size):
        if values[old] >= 0:
            slot = slot_of(keys[old], bits)
            while new_values[slot] >= 0:
                slot = (slot + 1) & mask
            new_keys[slot], new_values[slot] = keys[old], values[old]
    return new_keys, new_values


@compiled
def longer(values):  # type: ignore[no-untyped-def]
    """Return an array of twice the size with the same values in front."""
    result = np.empty(2 * values.size, values.dtype)
    result[: values.size] = values
    return result


@compiled
def same(data, one, other, length):  # type: ignore[no-untyped-def]
    """Return whether two stretches of bytes are equal."""
    for place in range(length):
        if data[one + place] != data[other + place]:
            return False
    return True


@compiled
def tokenise(data, ends, letter):  # type: ignore[no-untyped-def]
    """Split and number words: numbers, bounds and lines of ``Tokens``, and where each word first stands."""
    most = data.size // 2 + ends.size + 1
    numbers, lines = np.empty(most, np.int32), np.empty(most, np.bool_)
    bounds = np.zeros(ends.size + 1, np.int64)
    bits, size, count, place = FIRST_BITS, 0, 0, 0
    keys, values = np.zeros(1 << bits, np.int64), np.full(1 << bits, -1, np.int32)
    starts, lengths = np.empty(1 << bits, np.int64), np.empty(1 << bits, np.int64)
    for text in range(ends.size):
        line, end = False, ends[text]
        while place < end:
            if not letter[data[place]]:
                line |= data[place] == LINE_BREAK
                place += 1
                continue
            start, key, shift = place, np.int64(0), 0
            while place < end and letter[data[place]]:
                if shift < 8 * SHORT:
                    key |= np.int64(data[place]) << shift
                else:
                    key = (key ^ np.int64(data[place])) * PRIME
                shift += 8
                place += 1
            if place - start > SHORT:
                key |= LONG
            slot = slot_of(key, bits)
            while True:
                word = values[slot]
                if word < 0 or (
                    keys[slot] == key
                    # a hash is never trusted: the bytes of longer words are compared
                    and (key >= 0 or (lengths[word] == place - start and same(data, starts[word], start, place - start)))
                ):
                    break
                slot = (slot + 1) & ((1 << bits) - 1)
            if word < 0:
                word = np.int32(size)
                keys[slot], values[slot], starts[size], lengths[size] = key, word, start, place - start
                size += 1
                if 2 * size > keys.size:
                    bits += 1
                    keys, values = grown(keys, values, bits)
                    starts, lengths = longer(starts), longer(lengths)
            numbers[count], lines[count] = word, line and count > bounds[text]
            line = False
            count += 1
        bounds[text + 1] = count
    return numbers[:count], bounds, lines[:count], starts[:size], lengths[:size]
