"""TER's edits of many rows, compiled: Tercom's greedy search for shifts over a beamed edit distance, as in sacrebleu.

Snover et al. (2006), "A study of translation edit rate with targeted human annotation". The limits and the order of
preference are part of the metric: other ones give other numbers. The table of distances keeps the beam only, so memory
grows with the number of words, and a shift computes the rows behind its first moved word only.
"""

import math

import numpy as np

from rmbench.kernel.compiled import compiled

BEAM = 25  # columns on both sides of the diagonal
LONGEST = 10  # words that are shifted together
FARTHEST = 50  # places between a word and the equal word of the reference
MOST = 1000  # shifts tried for one pair; the round in which they run out counts no more
OUTSIDE = 1 << 29  # distance of what the beam leaves out


@compiled
def negated_rates(numbers, own, rows):
    """Return -100 * edits / mean length of the references of each row: float64 (n,), at most 0.

    Args:
        numbers: numbers of the words of all texts.
        own: where the words of each text begin, and the end.
        rows: first and last reference of each row (``runs.Rows``).
    """
    first, last = rows
    result = np.empty(first.size)
    for row in range(first.size):
        response = numbers[own[row] : own[row + 1]]
        fewest, length = np.int64(-1), 0
        for other in range(first[row], last[row]):
            reference = numbers[own[other] : own[other + 1]]
            count = edits(response, reference)
            fewest = count if fewest < 0 else min(fewest, count)
            length += reference.size
        rate = 1.0 if fewest > 0 else 0.0
        if length > 0:
            rate = fewest / (length / (last[row] - first[row]))
        result[row] = 0.0 - 100 * rate
    return result


@compiled
def edits(response, reference):
    """Return the number of shifts and of words inserted, deleted and replaced."""
    if response.size == 0 or reference.size == 0:
        return response.size + reference.size
    beam, width = beam_of(response.size, reference.size)
    base = np.full((response.size + 1, width), OUTSIDE, np.int32)
    base[0, 1:] = np.arange(width - 1)
    trial, words = base.copy(), response.copy()
    fill(base, beam, words, reference, (1, words.size))
    shifts, tried = 0, 0
    while True:
        gain, tried, shift = best_shift((base, trial), beam, words, reference, tried)
        if tried >= MOST or gain <= 0:
            return shifts + distance(base, beam, reference)
        words = moved(words, shift)
        fill(base, beam, words, reference, (1 + min(shift[0], shift[2]), words.size))
        shifts += 1


@compiled
def beam_of(rows, columns):
    """Return the columns of the table that are worked out in each row, begin and end, and room for them."""
    ratio = columns / rows
    half = math.ceil(ratio / 2 + BEAM) if ratio / 2 > BEAM else BEAM
    beam = np.zeros((rows + 1, 2), np.int64)
    beam[0, 1] = min(columns + 1, math.floor(ratio) + half)
    width = 0
    for row in range(1, rows + 1):
        diagonal = math.floor(row * ratio)
        beam[row, 0] = max(0, diagonal - half)
        beam[row, 1] = columns + 1 if row == rows else min(columns + 1, diagonal + half)
        width = max(width, beam[row, 1] - beam[row - 1, 0] + 2)
    return beam, width


@compiled
def fill(table, beam, words, reference, rows):
    """Work out the edit distances of some rows, first and last. Cell 1 of a row is the first column of its beam."""
    for row in range(rows[0], rows[1] + 1):
        above, here, word = table[row - 1], table[row], words[row - 1]
        column, end = beam[row]
        shift = column - beam[row - 1, 0]
        left = np.int32(OUTSIDE)
        if column == 0:
            left = above[1] + np.int32(1)
            here[1] = left
        for cell in range(1 + (column == 0), end - column + 1):
            replaced = above[cell + shift - 1] + np.int32(word != reference[column + cell - 2])
            left = min(replaced, above[cell + shift] + np.int32(1), left + np.int32(1))
            here[cell] = left


@compiled
def distance(table, beam, reference):
    """Return the edit distance: the last column of the last row."""
    return np.int64(table[-1, reference.size - beam[-1, 0] + 1])


@compiled
def align(table, beam, words, reference):
    """Return the word of the response that each word of the reference is aligned to, and the errors before each place.

    Going back, replacing (or keeping) a word is preferred to deleting the response's and that to inserting one.
    """
    aligned = np.empty(reference.size, np.int64)
    wrong, missed = np.zeros(words.size + 1, np.int64), np.zeros(reference.size + 1, np.int64)
    row, column = words.size, reference.size
    while row or column:
        cell = column - beam[row, 0] + 1
        above = cell + beam[row, 0] - beam[row - 1, 0]
        if row and column and table[row, cell] == table[row - 1, above - 1] + (words[row - 1] != reference[column - 1]):
            error = np.int64(words[row - 1] != reference[column - 1])
            aligned[column - 1], wrong[row], missed[column] = row - 1, error, error
            row, column = row - 1, column - 1
        elif row and (column == 0 or table[row, cell] == table[row - 1, above] + 1):
            wrong[row] = 1
            row -= 1
        else:
            aligned[column - 1], missed[column] = row - 1, 1
            column -= 1
    return aligned, np.cumsum(wrong), np.cumsum(missed)


@compiled
def best_shift(tables, beam, words, reference, tried):
    """Return the gain of the best shift (0 for none), how many were tried in all, and (start, length, target).

    The most gain counts first, then the longest, then the earliest start, then the earliest target. Words are shifted
    that stand in the reference, that are not all right where they are, nor all right there.
    """
    base, _ = tables
    before = distance(base, beam, reference)
    aligned, wrong, missed = align(base, beam, words, reference)
    best = (np.int64(-OUTSIDE), 0, 0, 0)
    for start in range(words.size):
        for place in range(max(0, start - FARTHEST), min(reference.size, start + FARTHEST + 1)):
            most = min(LONGEST, words.size - start, reference.size - place)
            length = 0
            while length < most and words[start + length] == reference[place + length]:
                length += 1
                if wrong[start + length] == wrong[start] or missed[place + length] == missed[place]:
                    continue
                if start <= aligned[place] < start + length:
                    continue
                last = -1
                for offset in range(-1, length):
                    target = aligned[place + offset] + 1 if place + offset >= 0 else 0
                    if target == last:
                        continue
                    last = target
                    tried += 1
                    gain = before - shifted(tables, beam, words, reference, (start, length, target))
                    candidate = (gain, length, -start, -target)
                    if candidate > best:  # noqa: PLR1730 - numba has no max of tuples
                        best = candidate
                if tried >= MOST:
                    return best[0], tried, (-best[2], best[1], -best[3])
    return (best[0] if best[1] else 0), tried, (-best[2], best[1], -best[3])


@compiled
def shifted(tables, beam, words, reference, shift):
    """Return the edit distance after a shift.

    Behind the words that move, a row that is the old row plus a constant leads to the old distance plus it.
    """
    base, trial = tables
    begin, _, end = reach(words, shift)
    result = moved(words, shift)
    trial[begin] = base[begin]
    fill(trial, beam, result, reference, (begin + 1, end))
    for row in range(end, words.size):
        gap = trial[row, 1] - base[row, 1]
        cell, cells = 2, beam[row, 1] - beam[row, 0] + 1
        while cell < cells and trial[row, cell] - base[row, cell] == gap:
            cell += 1
        if cell >= cells:
            return distance(base, beam, reference) + gap
        fill(trial, beam, result, reference, (row + 1, row + 1))
    return distance(trial, beam, reference)


@compiled
def reach(words, shift):
    """Return the first word that a shift moves, the first of those that come to stand there, and the end of them.

    A target within the shifted words moves them on by as many words as it lies behind the start, as in Tercom.
    """
    start, length, target = shift
    if target < start:
        return target, start, start + length
    if target <= start + length:
        target += length
    return start, start + length, min(words.size, target)


@compiled
def moved(words, shift):
    """Return the words after a shift: ``length`` words from ``start`` stand before what was at ``target``."""
    begin, split, end = reach(words, shift)
    result = words.copy()
    result[begin : begin + end - split] = words[split:end]
    result[begin + end - split : end] = words[begin:split]
    return result
