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
def ones(value):
    """Return the number of bits that are set."""
    value -= (value >> ONE) & np.uint64(0x5555555555555555)
    value = (value & np.uint64(0x3333333333333333)) + ((value >> np.uint64(2)) & np.uint64(0x3333333333333333))
    value = (value + (value >> np.uint64(4))) & np.uint64(0x0F0F0F0F0F0F0F0F)
    return np.int64((value * np.uint64(0x0101010101010101)) >> np.uint64(56))


@compiled
def enter(words, heads, tails, cells, masks, following):
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
def leave(words, heads, tails):
    """Forget the words of a reference."""
    for place in range(words.size):
        heads[words[place]] = -1
        tails[words[place]] = -1


@compiled
def advance(vector, entry, cells, masks, following):
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
def longest(texts):
    """Return the largest distance of two bounds."""
    most = 0
    for text in range(texts.size - 1):
        most = max(most, texts[text + 1] - texts[text])
    return most


@compiled
def lcs(numbers, bounds, size, runs, pairs):
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


@compiled
def mark(taken, words, other, heads, cells, masks, following):
    """Mark the places of a reference's words that one longest common subsequence with ``other`` takes.

    Of several longest ones it is rouge-score's: back from the ends, both on where the words are equal, else the
    response where the table is larger without its word than without the reference's, else the reference. With words
    that differ the first is the case where bit i - 1 of vector j is 0. The vectors are computed block by block, the
    last one first, each from the one kept before it.
    """
    width = (words.size + 63) // 64
    step = min(other.size, max(KEPT // width, int(np.sqrt(other.size)), 1))
    blocks = (other.size + step - 1) // step
    kept, vectors = np.empty((blocks, width), np.uint64), np.empty((step + 1, width), np.uint64)
    kept[0] = FULL
    for number in range(1, blocks):
        kept[number] = kept[number - 1]
        for j in range((number - 1) * step, number * step):
            advance(kept[number], heads[other[j]], cells, masks, following)
    i, j = words.size, other.size
    for number in range(blocks - 1, -1, -1):
        if i == 0:
            break
        start = number * step
        vectors[0] = kept[number]
        for later in range(start, j):
            vectors[later - start + 1] = vectors[later - start]
            advance(vectors[later - start + 1], heads[other[later]], cells, masks, following)
        while i > 0 and j > start:
            if words[i - 1] == other[j - 1]:
                i -= 1
                j -= 1
                taken[i] = True
            elif (vectors[j - start, (i - 1) >> 6] >> np.uint64((i - 1) & 63)) & ONE:
                i -= 1
            else:
                j -= 1


@compiled
def line_ends(lines):
    """Return the bounds of the lines of a text: int64, (lines + 1,)."""
    result = np.zeros(lines.size + 1, np.int64)
    count = 0
    for place in range(lines.size):
        if place + 1 == lines.size or lines[place + 1] != lines[place]:
            count += 1
            result[count] = place + 1
    return result[: count + 1]


@compiled
def all_taken(taken, entry, cells, masks, following):
    """Return whether all places of one word, whose chain starts at ``entry``, are taken."""
    while entry >= 0:
        mask = masks[entry]
        while mask != ZERO:
            lowest = mask & (~mask + ONE)
            if not taken[64 * cells[entry] + ones(lowest - ONE)]:
                return False
            mask ^= lowest
        entry = following[entry]
    return True


@compiled
def mark_all(words, whole, others, index, seen, line, chains):
    """Return which places of a reference's line the lines of a response take.

    Lines are found by a word of the reference's line that is not yet taken everywhere: others would add nothing.

    ``index`` is the last place of each word in the response, for each place the one before with the same word, and the
    line of each place; ``chains`` are those of the reference's line.
    """
    last, earlier, line_of = index
    heads, cells, masks, following = chains
    taken = np.zeros(words.size, np.bool_)
    for place in range(words.size):
        head = heads[words[place]]
        if 64 * cells[head] + ones((masks[head] & (~masks[head] + ONE)) - ONE) < place:
            continue  # this word stood before
        occurrence = last[words[place]]
        while occurrence >= 0 and not all_taken(taken, head, cells, masks, following):
            number = line_of[occurrence]
            if seen[number] != line:
                seen[number] = line
                other = whole[others[number] : others[number + 1]]
                mark(taken, words, other, heads, cells, masks, following)
            occurrence = earlier[occurrence]
    return taken


@compiled
def compare(words, targets, whole, others, last, left, chains):
    """Return the hits of one pair. ``last`` is -1 and ``left`` is 0 for all words, and so they are left behind."""
    heads, tails, cells, masks, following = chains
    earlier, line_of = np.empty(whole.size, np.int32), np.empty(whole.size, np.int32)
    for number in range(others.size - 1):
        for place in range(others[number], others[number + 1]):
            word = whole[place]
            earlier[place], line_of[place], last[word] = last[word], number, place
            left[word] += 1
    seen, shared = np.full(others.size - 1, -1, np.int32), 0
    for line in range(targets.size - 1):
        part = words[targets[line] : targets[line + 1]]
        enter(part, heads, tails, cells, masks, following)
        taken = mark_all(part, whole, others, (last, earlier, line_of), seen, line, (heads, cells, masks, following))
        leave(part, heads, tails)
        for place in range(part.size):
            if taken[place] and left[part[place]] > 0:
                left[part[place]] -= 1
                shared += 1
    for place in range(whole.size):
        last[whole[place]], left[whole[place]] = -1, 0
    return shared


@compiled
def union(numbers, lines, bounds, size, runs, pairs):
    """Return the clipped size of the union of longest common subsequences of each pair, line by line: int64, (pairs,).

    For each line of the reference, the places that its longest common subsequence with any line of the response takes;
    a word counts at most as often as it stands in the response.
    """
    hits = np.zeros(pairs, np.int64)
    most = longest(bounds)
    last, left = np.full(size, -1, np.int32), np.zeros(size, np.int32)
    heads, tails = np.full(size, -1, np.int32), np.full(size, -1, np.int32)
    chains = (heads, tails, np.empty(most, np.int32), np.empty(most, np.uint64), np.empty(most, np.int32))
    for run in range(runs.shape[0]):
        first, behind, first_reference, behind_reference, start = runs[run]
        for reference in range(first_reference, behind_reference):
            words = numbers[bounds[reference] : bounds[reference + 1]]
            targets = line_ends(lines[bounds[reference] : bounds[reference + 1]])
            for response in range(first, behind):
                whole = numbers[bounds[response] : bounds[response + 1]]
                others = line_ends(lines[bounds[response] : bounds[response + 1]])
                pair = start + (response - first) * (behind_reference - first_reference) + reference - first_reference
                hits[pair] = compare(words, targets, whole, others, last, left, chains)
    return hits
