"""Porter's stemmer, compiled, equal to NLTK's (its default mode), which rouge-score calls for every word.

Porter (1980), "An algorithm for suffix stripping", with the changes of NLTK's default mode. A word is a buffer of bytes
and a length; every step returns the new length. Words of up to 3 characters stay as they are, as in rouge-score.
"""

import numpy as np

from rmbench.kernel.compiled import compiled

UNSTEMMED = 3  # rouge-score stems longer words only
WIDTH = 8
BLOCK = 8  # bytes
# suffix and replacement, in the order in which they are tried: the first suffix that fits decides
STEP_2 = (
    "ational ate, tional tion, enci ence, anci ance, izer ize, bli ble, alli al, entli ent, eli e, ousli ous, "
    "ization ize, ation ate, ator ate, alism al, iveness ive, fulness ful, ousness ous, aliti al, iviti ive, "
    "biliti ble, fulli ful, logi log"
)
STEP_3 = "icate ic, ative, alize al, iciti ic, ical ic, ful, ness"
STEP_4 = "al, ance, ence, er, ic, able, ible, ant, ement, ment, ent, ion, ou, ism, ate, iti, ous, ive, ize"
IRREGULAR = (
    "skies sky, dying die, lying lie, tying tie, news news, innings inning, inning inning, outings outing, "
    "outing outing, cannings canning, canning canning, howe howe, proceed proceed, exceed exceed, succeed succeed"
)


def _table(rules: str, column: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the words of a column as (bytes, one row a word; lengths)."""
    words = [(*rule.split(), "")[column] for rule in rules.split(", ")]
    rows = [list(word.encode().ljust(WIDTH, b"\0")) for word in words]
    return np.array(rows, np.uint8), np.array([len(word) for word in words])


RULES = f"{STEP_2}, {STEP_3}, {STEP_4}, {IRREGULAR}"
SUFFIXES, SUFFIX_LENGTHS = _table(RULES, 0)
ENDINGS, ENDING_LENGTHS = _table(RULES, 1)
AFTER_2 = len(STEP_2.split(", "))
AFTER_3 = AFTER_2 + len(STEP_3.split(", "))
AFTER_4 = AFTER_3 + len(STEP_4.split(", "))
LOGI = AFTER_2 - 1
ALLI = STEP_2.split(", ").index("alli al")
SPACE = np.uint8(32)
ION = AFTER_3 + STEP_4.split(", ").index("ion")
A, B, D, E, G, I, L, N, O, S, T, U, W, X, Y, Z = (np.uint8(ord(letter)) for letter in "abdegilnostuwxyz")  # noqa: E741


@compiled
def vowel(letter):
    """Return whether a letter is one of a, e, i, o, u."""
    return letter == A or letter == E or letter == I or letter == O or letter == U


@compiled
def consonant(word, place):
    """Return whether a letter is a consonant: no vowel, and no y after a consonant."""
    other = False
    while place > 0 and word[place] == Y:
        other = not other
        place -= 1
    return (not vowel(word[place])) != other


@compiled
def measure(word, length):
    """Return how often a consonant follows a vowel."""
    count, before = 0, False
    for place in range(length):
        now = vowel(word[place]) or (word[place] == Y and place > 0 and not before)
        count += before and not now
        before = now
    return count


@compiled
def has_vowel(word, length):
    """Return whether any letter is a vowel (a y is one after a consonant)."""
    for place in range(length):
        if not consonant(word, place):
            return True
    return False


@compiled
def ends_twice(word, length):
    """Return whether the last two letters are the same consonant."""
    return length > 1 and word[length - 1] == word[length - 2] and consonant(word, length - 1)


@compiled
def ends_short(word, length):
    """Return whether the end is consonant, vowel, consonant other than w, x, y; or all is vowel, consonant."""
    if length == 2:
        return not consonant(word, 0) and consonant(word, 1)
    last = word[length - 1]
    return (
        length > 2
        and consonant(word, length - 3)
        and not consonant(word, length - 2)
        and consonant(word, length - 1)
        and not (last == W or last == X or last == Y)
    )


@compiled
def ends_in(word, length, rule):
    """Return whether a word ends in the suffix of a rule."""
    size = SUFFIX_LENGTHS[rule]
    if size > length:
        return False
    for place in range(size - 1, -1, -1):
        if word[length - size + place] != SUFFIXES[rule, place]:
            return False
    return True


@compiled
def put(word, stem, rule):
    """Write the ending of a rule behind a stem; return the new length."""
    for place in range(ENDING_LENGTHS[rule]):
        word[stem + place] = ENDINGS[rule, place]
    return stem + ENDING_LENGTHS[rule]


@compiled
def strip(word, length, first, after, least):
    """Apply the first rule whose suffix fits, if the measure of what is left is more than ``least``."""
    for rule in range(first, after):
        if ends_in(word, length, rule):
            stem = length - SUFFIX_LENGTHS[rule]
            # the l of "logi" counts as part of what is left; "ion" needs an s or t before it
            fits = measure(word, stem + (rule == LOGI)) > least
            if fits and rule == ION:
                fits = word[stem - 1] == S or word[stem - 1] == T
            return put(word, stem, rule) if fits else length
    return length


@compiled
def step_1a(word, length):
    """Take away a plural s."""
    if word[length - 1] != S:
        return length
    if length > 2 and word[length - 2] == E and word[length - 3] == I:
        return length - 1 if length == 4 else length - 2
    if length > 3 and word[length - 2] == E and word[length - 3] == S and word[length - 4] == S:
        return length - 2
    return length if word[length - 2] == S else length - 1


@compiled
def step_1b(word, length):
    """Take away ed and ing, and mend what is left."""
    stem = length
    if length > 1 and word[length - 1] == D and word[length - 2] == E:
        if length > 2 and word[length - 3] == I:
            return length - 1 if length == 4 else length - 2
        if length > 2 and word[length - 3] == E:
            return length - 1 if measure(word, length - 3) > 0 else length
        stem = length - 2
    elif length > 2 and word[length - 1] == G and word[length - 2] == N and word[length - 3] == I:
        stem = length - 3
    if stem == length or not has_vowel(word, stem):
        return length
    last, before = word[stem - 1], word[stem - 2] if stem > 1 else word[stem - 1]
    if stem > 1 and ((before == A and last == T) or (before == B and last == L) or (before == I and last == Z)):
        word[stem] = E
        return stem + 1
    if ends_twice(word, stem):
        return stem if last == L or last == S or last == Z else stem - 1
    if measure(word, stem) == 1 and ends_short(word, stem):
        word[stem] = E
        return stem + 1
    return stem


@compiled
def stem(word, length):
    """Stem the word in the buffer; return its new length."""
    for rule in range(AFTER_4, SUFFIX_LENGTHS.size):
        if SUFFIX_LENGTHS[rule] == length and ends_in(word, length, rule):
            return put(word, 0, rule)
    length = step_1b(word, step_1a(word, length))
    if length > 2 and word[length - 1] == Y and consonant(word, length - 2):  # step 1c
        word[length - 1] = I
    if ends_in(word, length, ALLI) and measure(word, length - 4) > 0:
        length -= 2
    length = strip(word, length, 0, AFTER_2, 0)
    length = strip(word, length, AFTER_2, AFTER_3, 0)
    length = strip(word, length, AFTER_3, AFTER_4, 1)
    if word[length - 1] == E:  # step 5a
        count = measure(word, length - 1)
        length -= count > 1 or (count == 1 and not ends_short(word, length - 1))
    if length > 1 and word[length - 1] == L and word[length - 2] == L and measure(word, length - 1) > 1:  # step 5b
        length -= 1
    return length


@compiled
def stems(data, places, words):
    """Return the stems of some words as bytes, a space behind each; read-only, laid out as ``words.joined`` does.

    ``places`` are where words begin and end in the data, in turn; ``words`` the indices of the words to stem.
    """
    most = 2 * BLOCK
    for index in range(words.size):
        most += places[2 * words[index] + 1] - places[2 * words[index]] + 1
    result = np.full(most // BLOCK * BLOCK, SPACE, np.uint8)
    end = 0
    for index in range(words.size):
        start = places[2 * words[index]]
        length = places[2 * words[index] + 1] - start
        word = result[end : end + length]
        word[:] = data[start : start + length]
        if length > UNSTEMMED:
            short = stem(word, length)
            word[short:] = SPACE
            length = short
        end += length + 1
    return result[: (end // BLOCK + 2) * BLOCK]
