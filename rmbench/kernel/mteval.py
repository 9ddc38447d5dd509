"""BLEU's words and counts, compiled: the tokenisation of mteval-v13a in one pass, and clipped n-grams of 1 to 4 words.

Words are numbered over all texts of a call. The n-grams of a row's references are entered once for all responses of
the sample: an n-gram is the number of the one that is a word shorter, and the word after it, so a table finds it by an
exact key of 64 bits.
"""

import math

import numpy as np

from rmbench.kernel.compiled import compiled

ORDERS = 4
OTHER, SPACE, ALONE, DOT, DIGIT, DASH = range(6)  # kinds of characters
ASCII = 128
SHORT = 8  # a word of at most so many ASCII characters is its own key
PRIME = np.int64(1099511628211)
GOLDEN = np.int64(-7046029254386353131)  # 2**64 divided by the golden ratio, as a signed number
LENGTH = (1 << 32) - 1  # of a span: start of a word, and its length in the lower half
HASHED = np.int64(-(2**63))  # marks the key of any other word
FIRST_BITS = 10  # of the table of words
WIDTH = 2 + 2 * ORDERS


@compiled
def split(codes, bounds, kinds):
    """Split texts into words: start and length of each, in one word of 64 bits, and which of them are whose.

    Every character of kind ALONE is a word, and so is a full stop or comma unless it stands between digits (mteval's
    two substitutions leave it attached also behind another one that they have just cut off), and a dash after a digit.

    Args:
        codes: code points of all texts in a row, without line breaks where kinds other than SPACE are in use.
        bounds: where each text begins, and the end.
        kinds: uint8 by code point; those beyond it are OTHER.
    """
    words, own = np.empty(codes.size, np.int64), np.zeros(bounds.size, np.int64)
    count = 0
    for text in range(bounds.size - 1):
        start = end = bounds[text]
        before, cut = (
            np.int64(SPACE),
            False,
        )  # kind of the last character, and whether it is a DOT cut off after a non-digit
        for place in range(bounds[text], bounds[text + 1]):
            code = codes[place]
            kind = np.int64(kinds[code]) if code < kinds.size else np.int64(OTHER)
            alone = kind == ALONE or (kind == DASH and before == DIGIT)
            if kind == DOT:
                following = codes[place + 1] if place + 1 < bounds[text + 1] else np.uint32(0)
                cut = before != DIGIT and not (before == DOT and cut)
                alone = cut or following >= kinds.size or kinds[following] != DIGIT
            if kind == SPACE or alone:
                if start < end:
                    words[count] = start << 32 | (end - start)
                    count += 1
                if alone:
                    words[count] = place << 32 | 1
                    count += 1
                start = place + 1
            end, before = place + 1, kind
        if start < end:
            words[count] = start << 32 | (end - start)
            count += 1
        own[text + 1] = count
    return words[:count], own


@compiled
def key_of(codes, span):
    """Return the key of a word: its characters behind a 1, 7 bits each, where they are ASCII and few, else a hash."""
    start, length = span >> 32, span & LENGTH
    key, every = np.int64(1), np.uint32(0)
    if length <= SHORT:
        for place in range(start, start + length):
            key = key << 7 | np.int64(codes[place])
            every |= codes[place]
        if every < ASCII:
            return key
    for place in range(start, start + length):
        key = (key ^ np.int64(codes[place])) * PRIME
    return key | HASHED


@compiled
def same(codes, one, other):
    """Return whether two words are equal, character by character."""
    if one & LENGTH != other & LENGTH:
        return False
    step, length = 0, one & LENGTH
    while step < length and codes[(one >> 32) + step] == codes[(other >> 32) + step]:
        step += 1
    return step == length


@compiled
def number(codes, words):
    """Return a number for each word, equal for equal words, and how many there are."""
    bits, size = FIRST_BITS, 0
    slots, keys, spans = np.zeros(1 << bits, np.int32), np.empty(1 << bits, np.int64), np.empty(1 << bits, np.int64)
    numbers = np.empty(words.size, np.int32)
    for place in range(words.size):
        key = key_of(codes, words[place])
        slot = (key * GOLDEN >> (64 - bits)) & ((1 << bits) - 1)
        while slots[slot]:
            entry = slots[slot] - 1
            if keys[entry] == key and (key >= 0 or same(codes, words[place], spans[entry])):
                break
            slot = (slot + 1) & ((1 << bits) - 1)
        if not slots[slot]:
            keys[size], spans[size] = key, words[place]
            size += 1
            slots[slot] = size
        numbers[place] = slots[slot] - 1
        if 2 * size > slots.size:
            bits += 1
            keys, spans = np.concatenate((keys, keys)), np.concatenate((spans, spans))
            slots = np.zeros(1 << bits, np.int32)
            for entry in range(size):
                slot = (keys[entry] * GOLDEN >> (64 - bits)) & ((1 << bits) - 1)
                while slots[slot]:
                    slot = (slot + 1) & ((1 << bits) - 1)
                slots[slot] = entry + 1
    return numbers, size


@compiled
def find(table, key):
    """Return the slot of an n-gram in a table of (key, number), or the free one where it belongs; a key is never 0."""
    keys, bits = table
    slot = (key * GOLDEN >> (64 - bits)) & ((1 << bits) - 1)
    while keys[slot] != key and keys[slot]:
        slot = (slot + 1) & ((1 << bits) - 1)
    return slot


@compiled
def enter(words, tables, size, counts, trail):
    """Enter the n-grams of one reference: ``wanted`` becomes the most of each that any reference so far has.

    Args:
        words: numbers of the reference's words.
        tables: keys of n-grams, the bits of a slot's number, and the number of each n-gram.
        size: how many numbers are given away, to words and to n-grams.
        counts: ``wanted`` and ``used`` by number; ``used`` is zero on entry and on return.
        trail: room for the numbers of all n-grams of a text.
    """
    (keys, bits, grams), (wanted, used), steps = tables, counts, 0
    for place in range(words.size):
        gram, most = words[place], min(ORDERS, words.size - place)
        for order in range(1, most + 1):
            used[gram] += 1
            trail[steps] = gram
            steps += 1
            if order < most:
                key = np.int64(gram + 1) << 32 | np.int64(words[place + order])
                slot = find((keys, bits), key)
                if not keys[slot]:
                    keys[slot], grams[slot] = key, size
                    size += 1
                gram = grams[slot]
    for gram in trail[:steps]:
        wanted[gram], used[gram] = max(wanted[gram], used[gram]), 0
    return size


@compiled
def match(words, tables, counts, trail, matches):
    """Count the n-grams of a response that are wanted, each as often as it is: one count for each order."""
    (keys, bits, grams), (wanted, used), steps = tables, counts, 0
    matches[:] = 0
    for place in range(words.size):
        gram = words[place]
        for order in range(min(ORDERS, words.size - place)):
            if order:
                slot = find((keys, bits), np.int64(gram + 1) << 32 | np.int64(words[place + order]))
                if not keys[slot]:
                    break
                gram = grams[slot]
            if wanted[gram] == 0:
                break
            if used[gram] < wanted[gram]:
                used[gram] += 1
                matches[order] += 1
                trail[steps] = gram
                steps += 1
    for gram in trail[:steps]:
        used[gram] = 0


@compiled
def statistics(numbers, own, size, rows):
    """Return what sacrebleu counts of each row: int64 (n, 10).

    Words of the response and of the reference closest in length, the shorter of two; matched n-grams of 1 to 4 words;
    all of them.

    Args:
        numbers: numbers of the words of all texts.
        own: where the words of each text begin, and the end.
        size: how many numbers there are.
        rows: first and last reference of each row (``runs.Rows``).
    """
    first, last = rows
    longest, most = 0, 1
    for text in range(own.size - 1):
        longest = max(longest, own[text + 1] - own[text])
    for row in range(first.size):
        most = max(most, own[last[row]] - own[first[row]])
    bits = bits_of(most)
    tables = (np.empty(1 << bits, np.int64), np.empty(1 << bits, np.int32))
    counts = (np.zeros(size + (ORDERS - 1) * most, np.int32), np.zeros(size + (ORDERS - 1) * most, np.int32))
    trail, result = np.empty(ORDERS * longest, np.int32), np.zeros((first.size, WIDTH), np.int64)
    grams = size
    for row in range(first.size):
        if row == 0 or first[row] != first[row - 1]:
            counts[0][size:grams] = 0
            for word in numbers[own[first[row - 1]] : own[last[row - 1]]] if row else numbers[:0]:
                counts[0][word] = 0
            grams, bits = size, bits_of(own[last[row]] - own[first[row]])
            tables[0][: 1 << bits] = 0
            for text in range(first[row], last[row]):
                grams = enter(numbers[own[text] : own[text + 1]], (tables[0], bits, tables[1]), grams, counts, trail)
        words = numbers[own[row] : own[row + 1]]
        match(words, (tables[0], bits, tables[1]), counts, trail, result[row, 2 : 2 + ORDERS])
        closest = -1
        for text in range(first[row], last[row]):
            length = own[text + 1] - own[text]
            gap, least = abs(words.size - length), abs(words.size - closest)
            if closest < 0 or gap < least or (gap == least and length < closest):
                closest = length
        result[row, 0], result[row, 1] = words.size, closest
        for order in range(ORDERS):
            result[row, 2 + ORDERS + order] = max(0, words.size - order)
    return result


@compiled
def bits_of(words):
    """Return the bits of a slot's number for the n-grams of so many words: at most half of the slots are taken."""
    bits = 4
    while 1 << bits < 2 * (ORDERS - 1) * words:
        bits += 1
    return bits


@compiled
def bleu(counts):
    """Return sentence BLEU of each row of ``statistics``: float64 (n,), 0 to 100, by sacrebleu's operations in order.

    Orders without an n-gram in the response are left out; a precision of 0 becomes 1 / 2**k of one match, for the k-th
    of them (method 3 of Chen and Cherry, 2014).
    """
    result = np.zeros(counts.shape[0])
    for row in range(counts.shape[0]):
        length, reference = counts[row, 0], counts[row, 1]
        matches, totals = counts[row, 2 : 2 + ORDERS], counts[row, 2 + ORDERS :]
        if not matches.any():
            continue
        penalty = math.exp(1 - reference / length) if length < reference else 1.0
        smooth, total, orders = 1.0, 0.0, 0
        for order in range(ORDERS):
            if totals[order] == 0:
                break
            orders += 1
            if matches[order]:
                total += math.log(100.0 * matches[order] / totals[order])
            else:
                smooth *= 2
                total += math.log(100.0 / (smooth * totals[order]))
        result[row] = penalty * math.exp(total / orders)
    return result
