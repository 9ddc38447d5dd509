"""Longest common subsequences, compiled: their length, and their union over the lines of a text.

Hyyro (2004), "Bit-parallel LCS-length computation revisited". The columns of the table of lengths are bits: bit i of
the vector after j words of the response is 0 where the reference's word i makes the subsequence longer. A step takes
the machine words in which the response's word stands, and those that a carry reaches. 50,000 words against 50,000 take
a tenth of a second where the table of lengths would have 2.5 thousand million cells.

Memory grows with the number of words: of a word's places only those machine words are kept in which it stands, and the
union keeps every k-th vector and computes those between again while it goes back.

``runs`` and ``pairs`` are those of ``rmbench.kernel.ngrams``.
"""

import numpy as np

from rmbench.kernel.compiled import compiled

ONE = np.uint64(1)
ZERO = np.uint64(0)
FULL = np.uint64(0xFFFFFFFFFFFFFFFF)
KEPT = 1 << 17  # machine words: the vectors kept of one comparison take at most a megabyte, or twice the root


@compiled
def ones(value):  # type: ignore[no-untyped-def]
    """Return the number of bits that are set."""
    value -= (value >> ONE) & np.uint64(0x5555555555555555)
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def enter(words, heads, tails, cells, masks, following):  # type: ignore[no-untyped-def]
    """Note where each word of a reference stands: a chain of (machine word, bits) for each, in order.

    ``heads`` and ``tails`` are -1 where a word has no chain; ``leave`` makes them so again.
    """
    count = 0
    for place in range(words.size):
        word = words[place]
        bit = ONE << np.uint64(place & 63)
        tail = tails[word]
        if tail >= 0 and cells[tail] == place >> 6:
            masks[tail] |= bit
            continue
        cells[count], masks[count], following[count] = place >> 6, bit, -1
        if tail < 0:
            heads[word] = count
        else:
            following[tail] = count
        tails[word] = count
        count += 1


@compiled
def leave(words, heads, tails):  # type: ignore[no-untyped-def]
    """Forget the words of a reference."""
    for place in range(words.size):
        heads[words[place]] = -1
        tails[words[place]] = -1


@compiled
def advance(vector, entry, cells, masks, following):  # type: ignore[no-untyped-def]
    """Take one word of the response, whose chain starts at ``entry``: V = (V + (V & M)) | (V & ~M), over all words."""
    while entry >= 0:
        cell = cells[entry]
        value = vector[cell]
        match = value & masks[entry]
        total = value + match
        vector[cell] = total | (value ^ match)
        entry = following[entry]
        carry = total < value
        while carry:
            cell += 1
            if cell == vector.size:
                return
            value = vector[cell]
            if entry >= 0 and cells[entry] == cell:
                match = value & masks[entry]
                entry = following[entry]
                total = value + match
                carry = total < value
                total += ONE
                carry |= total == ZERO
            else:
                match = ZERO
                total = value + ONE
                carry = total == ZERO
            vector[cell] = total | (value ^ match)


@compiled
def longest(texts):  # type: ignore[no-untyped-def]
    """Return the largest distance of two bounds."""
    most = 0
    for text in range(texts.size - 1):
        most = max(most, texts[text + 1] - texts[text])
    return most


@compiled
def lcs(numbers, bounds, size, runs, pairs):  # type: ignore[no-untyped-def]
    """Return the length of the longest common subsequence of each pair: int64, (pairs,)."""
    hits = np.zeros(pairs, np.int64)
    most = longest(bounds)
    heads, tails = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
    cells, masks, following = np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int32)
    space = np.empty((most + 63) // 64, np.uint64)
    for run in range(runs.shape[0]):
        first, behind, first_reference, behind_reference, start = runs[run]
        for reference in range(first_reference, behind_reference):
            words = numbers[bounds[reference] : bounds[reference + 1]]
            enter(words, heads, tails, cells, masks, following)
            vector = space[: (words.size + 63) // 64]
            for response in range(first, behind):
                vector[:] = FULL
                for place in range(bounds[response], bounds[response + 1]):
                    entry = heads[numbers[place]]
                    if entry >= 0:
                        advance(vector, entry, cells, masks, following)
                length = 64 * vector.size
                for cell in range(vector.size):
                    length -= ones(vector[cell])
                pair = start + (response - first) * (behind_reference - first_reference) + reference - first_reference
                hits[pair] = length
            leave(words, heads, tails)
    return hits
