"""Rules on the words of a text, in plain Python: overlap with an answer, repetition, fragments copied from a source.

Words are what stands between spaces (``str.split``). numpy is imported where an array is made only: the built-in
rewards import this module at start-up.
"""

import re
import string
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

from rmbench.kernel.compiled import ready

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Column = NDArray[np.float64]

PUNCTUATION = str.maketrans("", "", string.punctuation)
TUPLES = 8  # words of the longest n-gram that is made as such
MANY = 1_000_000  # places to look at in a row: from here on compiled code is thought of
PLACE = 4e-7  # seconds for one, at most
ARTICLES = re.compile(r"\b(a|an|the)\b")


def scores(responses: Sequence[str], references: Sequence[Sequence[str]]) -> "dict[str, Column]":
    """Return the overlap of each response with its best reference after SQuAD's normalisation.

    Args:
        responses: n texts.
        references: n sequences of texts, none empty; consecutive equal ones are split once.

    Returns:
        float64 (n,) each, in [0, 1], higher is better: ``token-f1`` (``f1``) and ``exact-match`` (1 where the words
        are equal; Rajpurkar et al., 2016).
    """
    import numpy as np

    overlaps, matches = np.empty(len(responses)), np.empty(len(responses))
    for row, (response, targets) in enumerate(zip(responses, _normalised(references), strict=True)):
        words = normalise(response)
        overlaps[row] = max(f1(words, target) for target in targets)
        matches[row] = float(words in targets)
    return {"token-f1": overlaps, "exact-match": matches}


def _normalised(references: Sequence[Sequence[str]]) -> Iterator[list[list[str]]]:
    """Yield the normalised references of each row; those of a sample's many responses are worked out once."""
    last: Sequence[str] | None = None
    words: list[list[str]] = []
    for texts in references:
        if texts != last:
            last, words = texts, [normalise(text) for text in texts]
        yield words


def normalise(text: str) -> list[str]:
    """Return the words of a text as SQuAD compares them: lower-case, no ASCII punctuation, no articles."""
    return ARTICLES.sub(" ", text.lower().translate(PUNCTUATION)).split()


def f1(response: Sequence[str], reference: Sequence[str]) -> float:
    """Return 2PR / (P + R) of two bags of words, in [0, 1]; 1 where both are empty, 0 where one is (SQuAD 2.0)."""
    if not response or not reference:
        return float(response == reference)
    same = (Counter(response) & Counter(reference)).total()
    if same == 0:
        return 0.0
    precision, recall = same / len(response), same / len(reference)
    return 2 * precision * recall / (precision + recall)


def words_of(text: str) -> list[str]:
    """Return the lower-cased words between spaces."""
    return text.lower().split()


def shares(responses: Sequence[str], orders: Collection[int]) -> "dict[int, Column]":
    """Return different n-grams / n-grams of each response by n, float64 (n,), each text split once.

    A response of fewer than n words has no n-gram: NaN there. See ``distinct``.
    """
    import numpy as np

    found = {n: np.empty(len(responses)) for n in orders}
    for row, response in enumerate(responses):
        words = words_of(response)
        for n, column in found.items():
            share = distinct(words, n)
            column[row] = np.nan if share is None else share
    return found


def distinct(words: Sequence[str], n: int) -> float | None:
    """Return different n-grams / n-grams of one text's words, in (0, 1]; None where it has fewer than n words.

    Distinct-n of Li et al. (2016), "A diversity-promoting objective function for neural conversation models", in each
    text by itself. It is also 1 - the share of n-grams that repeat an earlier one.
    """
    grams = len(words) - n + 1
    if grams <= 0:
        return None
    numbers: Sequence[object] = words
    width = 1
    while n > TUPLES and 2 * width <= n:  # a number for each different gram of twice the width
        known: dict[tuple[object, object], int] = {}
        pairs = zip(numbers, numbers[width:], strict=False)
        numbers, width = [known.setdefault(pair, len(known)) for pair in pairs], 2 * width
    starts = range(n) if width == 1 else (0, n - width)  # of wide grams two cover the n words
    return len(set(zip(*(numbers[start:] for start in starts), strict=False))) / grams


def length(text: str, unit: str, target: int | None = None) -> float:
    """Return the length of a text in words (between spaces) or chars; with a target, -|length - target| / target."""
    count = len(text.split()) if unit == "words" else len(text)
    return float(count) if target is None else -abs(count - target) / target


def copied(responses: Sequence[str], sources: Sequence[str]) -> "dict[str, Column]":
    """Return how much of each response is copied from its source, by extractive fragments of lower-cased words.

    coverage = sum of |f| / |response|, density = sum of |f|^2 / |response| over the fragments f, in words (Grusky et
    al., 2018, "Newsroom: a dataset of 1.3 million summaries with diverse extractive strategies", equations 1 and 2).

    Args:
        responses: n texts.
        sources: n texts; consecutive equal ones are split once.

    Returns:
        float64 (n,) each: ``coverage`` in [0, 1], higher is more copied words; ``density`` in [0, words], higher is
        longer copies. Both are 0 where the response has no word.
    """
    import numpy as np

    coverage, density = np.zeros(len(responses)), np.zeros(len(responses))
    last: str | None = None
    article: list[str] = []
    index = indexed(article)
    for row, (response, source) in enumerate(zip(responses, sources, strict=True)):
        if source != last:
            last, article = source, words_of(source)
            index = indexed(article)
        words = words_of(response)
        lengths = _lengths(words, article, index)
        if words:
            coverage[row] = sum(lengths) / len(words)
            density[row] = sum(length * length for length in lengths) / len(words)
    return {"coverage": coverage, "density": density}


def _lengths(summary: Sequence[str], article: Sequence[str], index: "Index") -> list[int]:
    """Return the lengths of the fragments, by compiled code where a text of repeated phrases takes long without."""
    places = sum(len(index.pairs.get(pair, ())) for pair in pairwise(summary))
    if places < MANY or not ready(places * PLACE, ("copies.lengths",)):
        return list(fragments(summary, article, index))
    import numpy as np

    from rmbench.kernel import copies

    numbers = {word: number for number, word in enumerate({*summary, *article})}
    own, theirs = (np.array([numbers[word] for word in words], np.int32) for words in (summary, article))
    entries = [int(word in index.words) - 2 for word in summary]
    for start, pair in enumerate(pairwise(summary)):
        entries[start] = index.pairs.get(pair, [entries[start]])[0]
    following = np.full(len(article), -1, np.int64)
    for chain in index.pairs.values():
        following[chain[:-1]] = chain[1:]
    found: list[int] = copies.lengths(own, theirs, np.array(entries, np.int64), following).tolist()
    return found


@dataclass(frozen=True, slots=True)
class Index:
    """The words of a text, and where each pair of neighbours stands."""

    words: frozenset[str]
    pairs: Mapping[tuple[str, str], list[int]]


def indexed(words: Sequence[str]) -> Index:
    """Return the index of a text."""
    pairs: dict[tuple[str, str], list[int]] = {}
    for place, pair in enumerate(pairwise(words)):
        pairs.setdefault(pair, []).append(place)
    return Index(frozenset(words), pairs)


def fragments(summary: Sequence[str], article: Sequence[str], index: Index | None = None) -> Iterator[int]:
    """Yield the length in words of each extractive fragment of a summary, from left to right.

    The greedy search of Grusky et al. (2018, figure 3): from each word of the summary on, the longest run that also
    stands in the article; the next fragment begins after it. As in the paper the search goes on after the end of each
    run that it tried, so a longer run that begins inside one is not seen. Quadratic only where pairs of words repeat:
    ``copied`` leaves such a row to compiled code (a second for 50,000 words).

    Args:
        summary: words.
        article: words.
        index: of the article (made where it is not given).
    """
    index = indexed(article) if index is None else index
    start = 0
    while start < len(summary):
        longest, free = int(summary[start] in index.words), 0
        # runs of one word need no search: none is longer, and none begins inside them
        for place in index.pairs.get((summary[start], summary[start + 1]), ()) if start + 1 < len(summary) else ():
            if place >= free:
                free = place + _run(summary, start, article, place)
                longest = max(longest, free - place)
        if longest:
            yield longest
        start += max(longest, 1)


def _run(one: Sequence[str], start: int, other: Sequence[str], place: int) -> int:
    """Return how many words are equal from two places on."""
    length, most = 0, min(len(one) - start, len(other) - place)
    while length < most and one[start + length] == other[place + length]:
        length += 1
    return length
