"""Clipped counts of words and word pairs, compiled: how many of a reference's n-grams a response has.

``runs`` says which texts are compared: int64, one row for each run of responses with the same references, holding the
first response, the response behind the last, the first reference, the reference behind the last (all as text numbers
of ``Tokens.bounds``) and the number of the first pair. Pairs are numbered response by response, reference by reference.
A reference is counted once for all responses of its run.
"""

import numpy as np

from rmbench.kernel.compiled import compiled

GOLDEN = np.int64(-7046029254386353131)  # 2**64 divided by the golden ratio, as a signed number


@compiled
def count_words(numbers, bounds, size, runs, pairs):
    """Return the clipped number of shared words of each pair: int64, (pairs,)."""
    hits = np.zeros(pairs, np.int64)
    wanted, used = np.zeros(size, np.int32), np.zeros(size, np.int32)
    for run in range(runs.shape[0]):
        first, behind, first_reference, behind_reference, start = runs[run]
        for reference in range(first_reference, behind_reference):
            for place in range(bounds[reference], bounds[reference + 1]):
                wanted[numbers[place]] += 1
            for response in range(first, behind):
                shared = 0
                for place in range(bounds[response], bounds[response + 1]):
                    word = numbers[place]
                    used[word] += 1
                    shared += used[word] <= wanted[word]
                for place in range(bounds[response], bounds[response + 1]):
                    used[numbers[place]] = 0
                pair = start + (response - first) * (behind_reference - first_reference) + reference - first_reference
                hits[pair] = shared
            for place in range(bounds[reference], bounds[reference + 1]):
                wanted[numbers[place]] = 0
    return hits


@compiled
def find(keys, key, bits):
    """Return the slot of a key (never 0) in a table with 0 in its free slots, or the free slot it would take."""
    slot = (key * GOLDEN >> (64 - bits)) & ((1 << bits) - 1)
    while keys[slot] != key and keys[slot] != 0:
        slot = (slot + 1) & ((1 << bits) - 1)
    return slot


@compiled
def fill(keys, wanted, words, bits):
    """Count the pairs of words of a reference in an empty table. A key is both numbers, the first one plus one."""
    for place in range(words.size - 1):
        key = ((np.int64(words[place]) + 1) << 32) | np.int64(words[place + 1])
        slot = find(keys, key, bits)
        keys[slot] = key
        wanted[slot] += 1


@compiled
def shared_pairs(keys, wanted, used, words, bits):
    """Return the clipped number of pairs of words that are in the table."""
    shared = 0
    for place in range(words.size - 1):
        key = ((np.int64(words[place]) + 1) << 32) | np.int64(words[place + 1])
        slot = find(keys, key, bits)
        if keys[slot] == key:
            used[slot] += 1
            shared += used[slot] <= wanted[slot]
    return shared


@compiled
def count_pairs(numbers, bounds, runs, pairs):
    """Return the clipped number of shared pairs of neighbouring words of each pair of texts: int64, (pairs,)."""
    hits = np.zeros(pairs, np.int64)
    keys, wanted, used = np.zeros(16, np.int64), np.zeros(16, np.int32), np.zeros(16, np.int32)
    for run in range(runs.shape[0]):
        first, behind, first_reference, behind_reference, start = runs[run]
        for reference in range(first_reference, behind_reference):
            words = numbers[bounds[reference] : bounds[reference + 1]]
            bits = 4
            while (1 << bits) < 2 * words.size:
                bits += 1
            if keys.size < (1 << bits):
                keys = np.zeros(1 << bits, np.int64)
                wanted, used = np.zeros(1 << bits, np.int32), np.zeros(1 << bits, np.int32)
            keys[: 1 << bits] = 0
            wanted[: 1 << bits] = 0
            fill(keys, wanted, words, bits)
            for response in range(first, behind):
                used[: 1 << bits] = 0
                pair = start + (response - first) * (behind_reference - first_reference) + reference - first_reference
                other = numbers[bounds[response] : bounds[response + 1]]
                hits[pair] = shared_pairs(keys, wanted, used, other, bits)
    return hits
