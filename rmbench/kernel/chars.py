"""chrF of many rows, compiled: n-grams of characters and words matched by sorting places, with no hash to trust.

The two texts of a pair stand in one circle of numbers, each followed by a mark of its own. The places in the circle
are sorted by the numbers that follow, six for characters, so equal n-grams of every order stand side by side; within
such a group the clipped count of matches is (h + r - |h - r|) / 2 for h places of the response and r of the reference.
A gram that runs over the end of its text holds a mark, which the other text's grams lack: it never matches.
"""

import numpy as np

from rmbench.kernel.compiled import compiled

CHARS = 6  # the orders of chrF: 1 to 6 characters
FACTOR = 4  # beta squared: recall counts twice (chrF2)
IDS, PLACES, SPARE, DIGITS = 0, 1, 2, 3  # rows of the working memory, int32
MARK = 1  # of the end of the response; the reference's is one more, and numbers of characters and words come after it
FIRST = 3
WIDE = 1 << 16  # at most this many buckets for pairs of numbers: they stay in the cache
BITS = 21  # of a number of a character: three fit a word
LOW = (1 << 32) - 1
PRIME = np.int64(1099511628211)
GOLDEN = np.int64(-7046029254386353131)  # 2**64 divided by the golden ratio, as a signed number


@compiled
def f_scores(texts, rows, spaces, stops, word_order):
    """Return chrF of each row against the reference with the highest: float64 (n,), 0 to 100.

    Args:
        texts: code points of all texts, and their bounds.
        rows: first and last reference of each row (``runs.Rows``).
        spaces: int32 by code point: -1 for those that ``str.split`` drops, else 0; as before on return.
        stops: bool by code point below 128: the punctuation that chrF++ splits off words.
        word_order: the longest word n-gram, 0 for none.
    """
    (codes, bounds), (first, last) = texts, rows
    longest = longest_pair(bounds, first, last)
    words = min(word_order, longest)
    work = np.empty((4, longest + max(CHARS, words) + FIRST + 2), np.uint32)
    keys = np.empty(longest + CHARS, np.int64)
    buckets = np.empty(max(WIDE, (3 if words else 1) * longest + 8) + 1, np.uint32)
    sums, unmatched, result = np.zeros(3), np.zeros(max(CHARS, words), np.int64), np.empty(first.size)
    for row in range(first.size):
        best = -1.0
        for other in range(first[row], last[row]):
            sums[:] = 0.0
            pair = (bounds[row], bounds[row + 1], bounds[other], bounds[other + 1])
            circle = number_chars(codes, pair, spaces, work)
            match_chars(work, buckets, keys, circle, unmatched)
            add(sums, unmatched[:CHARS], circle)
            if words:
                circle = number_words((codes, pair), (spaces, stops), work, buckets, keys)
                match_words(work, buckets, circle, unmatched[:words])
                add(sums, unmatched[:words], circle)
            best = max(best, f_score(sums))
        result[row] = best
    return result


@compiled
def longest_pair(bounds, first, last):
    """Return the most code points that a response and one of its references have together."""
    longest = 0
    for row in range(first.size):
        for other in range(first[row], last[row]):
            longest = max(longest, bounds[row + 1] - bounds[row] + bounds[other + 1] - bounds[other])
    return longest


@compiled
def add(sums, unmatched, circle):
    """Add precision and recall of each order that both texts are long enough for, and count these orders."""
    size, middle, _ = circle
    for order in range(unmatched.size):
        response, reference = middle - 1 - order, size - middle - 1 - order
        if response <= 0 or reference <= 0:
            break
        matches = (size - unmatched[order]) // 2
        sums[0] += matches / response
        sums[1] += matches / reference
        sums[2] += 1


@compiled
def f_score(sums):
    """Return F of the mean precision and recall, 0 to 100, by sacrebleu's operations in their order."""
    if sums[2] == 0:
        return 0.0
    precision, recall = sums[0] / sums[2], sums[1] / sums[2]
    if precision + recall == 0:
        return 0.0
    score = (1 + FACTOR) * precision * recall
    score /= FACTOR * precision + recall
    return 100 * score


@compiled
def number_chars(codes, pair, spaces, work):
    """Make the circle of a pair's characters; return its size, where the reference begins, and how many numbers."""
    ids, used = work[IDS], work[SPARE]
    size, middle, kinds = 0, 0, FIRST
    for text in range(2):
        for place in range(pair[2 * text], pair[2 * text + 1]):
            number = spaces[codes[place]]
            if number == 0:
                number = np.int32(kinds)
                spaces[codes[place]], used[kinds] = number, codes[place]
                kinds += 1
            ids[size] = number
            size += number > 0
        ids[size] = MARK + text
        size += 1
        if text == 0:
            middle = size
    for number in range(FIRST, kinds):
        spaces[used[number]] = 0
    return size, middle, kinds


@compiled
def number_words(source, tables, work, buckets, keys):
    """Make the circle of a pair's words, with punctuation at their ends split off as chrF++ does."""
    (codes, pair), (spaces, stops) = source, tables
    ids = work[IDS]
    bits = 4
    while (1 << bits) < pair[1] - pair[0] + pair[3] - pair[2] + 2:
        bits += 1
    buckets[: 1 << bits] = 0
    size, middle, kinds = 0, 0, FIRST
    for text in range(2):
        place, end = pair[2 * text], pair[2 * text + 1]
        while place < end:
            if spaces[codes[place]] < 0:
                place += 1
                continue
            start = place
            while place < end and spaces[codes[place]] == 0:
                place += 1
            cut = place
            if place - start > 1:
                if codes[place - 1] < stops.size and stops[codes[place - 1]]:
                    cut = place - 1
                elif codes[start] < stops.size and stops[codes[start]]:
                    cut = start + 1
            ids[size] = number_word(codes, start << 32 | (cut - start), (buckets, bits), keys, kinds)
            kinds += ids[size] == kinds
            size += 1
            if cut < place:
                ids[size] = number_word(codes, cut << 32 | (place - cut), (buckets, bits), keys, kinds)
                kinds += ids[size] == kinds
                size += 1
        ids[size] = MARK + text
        size += 1
        if text == 0:
            middle = size
    return size, middle, kinds


@compiled
def number_word(codes, span, table, keys, kinds):
    """Return the number of a word (start and length in one word of 64 bits); ``kinds`` for one not seen before."""
    (buckets, bits), start, length = table, span >> 32, span & LOW
    key = np.int64(0)
    for place in range(start, start + length):
        key = (key ^ np.int64(codes[place])) * PRIME
    mask = (1 << bits) - 1
    slot = (key * GOLDEN >> (64 - bits)) & mask
    while buckets[slot]:
        number = buckets[slot]
        seen, same = keys[number] >> 32, keys[number] & LOW == length
        for step in range(length if same else 0):
            if codes[start + step] != codes[seen + step]:
                same = False
                break
        if same:
            return number
        slot = (slot + 1) & mask
    buckets[slot], keys[kinds] = kinds, span
    return np.int32(kinds)


@compiled
def sort_places(work, buckets, circle, orders):
    """Sort the places of a circle by the next ``orders`` numbers; return in which row of the memory they lie.

    A radix sort from the last number to the first. Every place is followed by some place, so the same counts serve
    each pass: passes forward leave the buckets' ends, passes backward their beginnings. Two numbers make one digit
    where there are few enough pairs of them.
    """
    size, _, kinds = circle
    ids, digits = work[IDS], work[DIGITS]
    step = 2 if orders % 2 == 0 and kinds * kinds <= min(WIDE, 4 * size) else 1
    for place in range(orders):
        ids[size + place] = ids[place]
    for place in range(size + orders - step):
        digits[place] = ids[place] if step == 1 else ids[place] * kinds + ids[place + 1]
    buckets[: kinds**step + 1] = 0
    for place in range(size):
        buckets[digits[place] + 1] += 1
    for bucket in range(kinds**step):
        buckets[bucket + 1] += buckets[bucket]
    row, offset = PLACES, orders - step
    new = work[row]
    for place in range(size):
        digit = digits[place + offset]
        new[buckets[digit]] = place
        buckets[digit] += 1
    while offset > 0:
        offset -= step
        old, row = work[row], PLACES + SPARE - row
        new = work[row]
        if (orders - offset) // step % 2:
            for place in old[:size]:
                digit = digits[place + offset]
                new[buckets[digit]] = place
                buckets[digit] += 1
        else:
            for place in old[:size][::-1]:
                digit = digits[place + offset]
                buckets[digit] -= 1
                new[buckets[digit]] = place
    return row


@compiled
def match_chars(work, buckets, keys, circle, unmatched):
    """Count the grams without a counterpart, of 1 to 6 characters; a mark is one too."""
    size, middle, _ = circle
    row = sort_places(work, buckets, circle, CHARS)
    ids, places, shared, balances = (
        work[IDS],
        work[row],
        work[PLACES + SPARE - row].view(np.int32),
        work[DIGITS].view(np.int32),
    )
    key = np.int64(ids[0]) << BITS | np.int64(ids[1])
    for place in range(size + 3):
        key = (key << BITS | np.int64(ids[place + 2])) & ((1 << 3 * BITS) - 1)
        keys[place] = key
    count, balance, left, right = 0, np.int32(0), np.int64(-1), np.int64(-1)
    for rank in range(size):
        place = places[rank]
        near, far = keys[place] ^ left, keys[place + np.uint32(3)] ^ right
        left, right = keys[place], keys[place + np.uint32(3)]
        level = np.int32(near >> 2 * BITS == 0) + np.int32(near >> BITS == 0) + np.int32(near == 0)
        more = np.int32(far >> 2 * BITS == 0) + np.int32(far >> BITS == 0) + np.int32(far == 0)
        level += more if near == 0 else np.int32(0)
        shared[np.uintp(count)], balances[np.uintp(count)] = level, balance
        count += int(level < CHARS)
        balance += np.int32(1) if place < middle else np.int32(-1)
    shared[count], balances[count] = -1, balance
    count_unmatched(shared, balances, count, unmatched[:CHARS])


@compiled
def match_words(work, buckets, circle, unmatched):
    """Count the grams without a counterpart, of 1 and more words; a mark is one too."""
    size, middle, _ = circle
    row = sort_places(work, buckets, circle, unmatched.size)
    ids, places, shared, balances = (
        work[IDS],
        work[row],
        work[PLACES + SPARE - row].view(np.int32),
        work[DIGITS].view(np.int32),
    )
    count, balance = 0, np.int32(0)
    for rank in range(size):
        level = 0
        while rank and level < unmatched.size and ids[places[rank] + level] == ids[places[rank - 1] + level]:
            level += 1
        shared[np.uintp(count)], balances[np.uintp(count)] = level, balance
        count += level < unmatched.size
        balance += np.int32(1) if places[rank] < middle else np.int32(-1)
    shared[count], balances[count] = -1, balance
    count_unmatched(shared, balances, count, unmatched)


@compiled
def count_unmatched(shared, balances, count, unmatched):
    """Sum |h - r| over the groups of each order, from the longest grams to the shortest.

    ``shared`` says how many numbers a place has in common with the one before it, ``balances`` how many more places of
    the response than of the reference come before it. Where a group begins, all longer groups begin.
    """
    for order in range(unmatched.size - 1, -1, -1):
        total = np.int32(0)
        for begin in range(count):
            total += abs(balances[begin + 1] - balances[begin])
        unmatched[order] = total
        kept = 0
        for begin in range(count + 1):
            shared[np.uintp(kept)], balances[np.uintp(kept)] = shared[begin], balances[begin]
            kept += shared[begin] < order
        count = kept - 1
