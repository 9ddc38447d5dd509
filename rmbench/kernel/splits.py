"""Bytes to word numbers, compiled: where words begin and end, and which are equal.

The bytes are laid out as ``words.joined`` does: spaces behind the last word up to a whole block, and one more block.
Eight bytes are read at once, the first one lowest: this is code for little-endian machines.
"""

import numpy as np

from rmbench.kernel.compiled import compiled

LETTER = np.zeros(256, dtype=np.uint8)
LETTER[[*range(48, 58), *range(65, 91), *range(97, 123)]] = 1  # 0-9, A-Z, a-z
ONE = np.uint64(1)
BLOCK = 8  # bytes: a word up to this length is its own key
GOLDEN = np.uint64(0x9E3779B97F4A7C15)  # 2**64 divided by the golden ratio
PRIME = np.uint64(0x100000001B3)
LONG = np.uint64(1 << 63)  # marks the key of a longer word; ASCII bytes never set this bit


@compiled
def edges(data):
    """Return where words begin and end in turn: int64, (2 * words,). No branch depends on the text."""
    places = np.empty(data.size + 1, np.int64)
    count, before = 0, np.uint8(0)
    for place in range(data.size):
        now = LETTER[data[place]]
        places[count] = place
        count += np.int64(now ^ before)
        before = now
    return places[:count].copy()


@compiled
def block(view, place):
    """Return the eight bytes from a place on, which need not be a multiple of eight."""
    shift = np.uint64((place & 7) * 8)
    return (view[place >> 3] >> shift) | ((view[(place >> 3) + 1] << ONE) << (np.uint64(63) - shift))


@compiled
def part(view, start, stop):
    """Return the first eight bytes of what stands between two places, zeros behind it."""
    value = block(view, start)
    if stop - start < BLOCK:
        value &= (ONE << np.uint64(8 * (stop - start))) - ONE
    return value


@compiled
def same(view, start, stop, other_start, other_stop):
    """Return whether two words are equal."""
    if stop - start != other_stop - other_start:
        return False
    while start < stop:
        if part(view, start, stop) != part(view, other_start, other_stop):
            return False
        start += BLOCK
        other_start += BLOCK
    return True


@compiled
def intern(view, places, bits):
    """Return the number of each word (int32) and, of each number, the index of a word that has it (int32).

    Stops with too few numbers where there are more different words than half the 2**bits slots of the table.
    """
    numbers, words = np.empty(places.size // 2, np.int32), np.empty(1 << (bits - 1), np.int32)
    table = np.zeros(2 << bits, np.uint64)  # a key, and the number + 1 or 0 where the slot is free, in turn
    mask, shift = (ONE << np.uint64(bits)) - ONE, np.uint64(64 - bits)
    size = 0
    for index in range(numbers.size):
        start, stop = places[2 * index], places[2 * index + 1]
        key = part(view, start, stop)
        if stop - start > BLOCK:
            for place in range(start + BLOCK, stop, BLOCK):
                key = ((key ^ (key >> np.uint64(32))) * PRIME) ^ part(view, place, stop)
            key |= LONG
        slot = (key * GOLDEN) >> shift
        while True:
            number = np.int64(table[ONE + (slot << ONE)]) - 1
            if number < 0:
                if size == words.size:
                    return numbers[:index], words
                table[slot << ONE], table[ONE + (slot << ONE)] = key, size + 1
                words[size], number = index, size
                size += 1
                break
            if table[slot << ONE] == key:
                # a hash is never trusted: of words longer than their key all bytes are compared
                other = 2 * words[number]
                if stop - start <= BLOCK or same(view, start, stop, places[other], places[other + 1]):
                    break
            slot = (slot + ONE) & mask
        numbers[index] = number
    return numbers, words[:size]
