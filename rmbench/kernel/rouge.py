"""ROUGE-1, -2, -L and -Lsum of many rows: rouge-score itself, or compiled code that equals it bit for bit.

Lin (2004), "ROUGE: a package for automatic evaluation of summaries". Compiled code counts hits in whole numbers; the
scores are rouge-score's formulas in its order of operations.
"""

import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain, pairwise
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.imports import undisturbed

if TYPE_CHECKING:
    from rmbench.kernel.words import Tokens

Column = NDArray[np.float64]
Texts = Sequence[str]
References = Sequence[Sequence[str]]
Several = Literal["max", "mean"]

KINDS = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL", "rouge-lsum": "rougeLsum"}
PARTS = ("f", "precision", "recall")
NAMES = (*KINDS, *(f"{kind}.{part}" for kind in KINDS for part in PARTS[1:]))
IMPORT = 0.7  # seconds that rouge-score takes to import, with NLTK
UNSTEMMED = 3  # rouge-score stems longer tokens only
COMPILED = {
    "rouge-1": ("ngrams.count_words",),
    "rouge-2": ("ngrams.count_pairs",),
    "rouge-l": ("lcs.lcs",),
    "rouge-lsum": ("lcs.lcs", "lcs.union"),
}
# seconds of rouge-score: a cell of its table of lengths, a character split, a character split and stemmed
CELL, SPLIT, STEMMED = 2.2e-7, 2e-7, 1.2e-6
CHARACTERS = 6  # of a word and the space behind it
TOKEN = re.compile("[A-Za-z0-9]+")
LONG = 1000  # characters: the words of longer texts are counted
TABLE = 4_000_000  # cells: rouge-score's table of lengths would take more than 32 MB


@dataclass(frozen=True, slots=True)
class Pairs:
    """Scores of each response with each of its references.

    Attributes:
        bounds: int64, (rows + 1,); the pairs of row i are ``bounds[i]`` up to ``bounds[i + 1]``.
        parts: F, precision and recall (``PARTS``) of each kind: float64, (3, pairs).
    """

    bounds: NDArray[np.int64]
    parts: Mapping[str, Column]


@dataclass(frozen=True, slots=True)
class Layout:
    """Rows laid out for compiled code.

    Attributes:
        texts: the responses, then the references of each run of rows with equal ones.
        runs: int64, (runs, 5); see ``ngrams``.
        bounds: int64, (rows + 1,); see ``Pairs``.
        own: int64, (pairs,); the response of each pair in ``texts``.
        theirs: int64, (pairs,); its reference.
    """

    texts: list[str]
    runs: NDArray[np.int64]
    bounds: NDArray[np.int64]
    own: NDArray[np.int64]
    theirs: NDArray[np.int64]


class Cased:
    """rouge-score's tokenisation without its lower-casing: runs of A-Z, a-z and 0-9."""

    def __init__(self, *, stemmer: bool) -> None:
        with undisturbed():
            from rouge_score.tokenizers import porter

        self.stemmer = porter.PorterStemmer() if stemmer else None

    def tokenize(self, text: str) -> list[str]:
        """Return the tokens; those of more than 3 characters are stemmed, as in rouge-score, but keep their case."""
        tokens = TOKEN.findall(text)
        if self.stemmer is None:
            return tokens
        return [self.stemmer.stem(token, to_lowercase=False) if len(token) > UNSTEMMED else token for token in tokens]


def tokenless(text: str, *, lowercase: bool = True) -> bool:
    """Whether a text that is not blank has no token of rouge-score: it scores 0.0 even against itself."""
    return bool(text.strip()) and not TOKEN.search(text.lower() if lowercase else text)


def scores(
    responses: Texts,
    references: References,
    *,
    names: Mapping[str, Several],
    stemmer: bool = False,
    lowercase: bool = True,
    use_compiled: bool = True,
) -> dict[str, Column]:
    """Return ROUGE of n rows: float64 (n,) by name, in [0, 1], higher is better.

    Args:
        responses: n texts.
        references: n sequences of texts, none empty. Consecutive equal ones are prepared once.
        names: of ``NAMES``, each with what several references give: ``max``, the part of the first reference with the
            highest F (rouge-score's ``score_multi``), or ``mean``, the mean of the parts.
        stemmer: compare Porter stems.
        lowercase: False keeps case (no choice of rouge-score: the same tokenisation on unlowered text).
        use_compiled: False scores with rouge-score itself.
    """
    kinds = [kind for kind in KINDS if any(name.partition(".")[0] == kind for name in names)]
    score = compiled_pairs if use_compiled else plain_pairs
    pairs = score(responses, references, kinds, stemmer=stemmer, lowercase=lowercase)
    best = {kind: first_best(pairs.parts[kind][0], pairs.bounds) for kind in kinds}
    columns = {}
    for name, several in names.items():
        kind, _, part = name.partition(".")
        column = pairs.parts[kind][PARTS.index(part or "f")]
        columns[name] = column[best[kind]] if several == "max" else means(column, pairs.bounds)
    return columns


def seconds(responses: Texts, references: References, *, names: Sequence[str], stemmer: bool = False) -> float:
    """Return the estimated time of rouge-score for these rows; infinite where one of its tables would take memory."""
    characters = sum(map(len, responses)) + sum(sum(map(len, texts)) for texts in references)
    total = characters * (STEMMED if stemmer else SPLIT)
    tables = len({kind for name in names if (kind := name.partition(".")[0]) in {"rouge-l", "rouge-lsum"}})
    if tables:
        pairs = zip(map(_words, responses), references, strict=True)
        cells = [words * _words(text) for words, texts in pairs for text in texts]
        total += sum(cells) * tables * CELL
        total = math.inf if max(cells, default=0) > TABLE else total
    return total


def _words(text: str) -> float:
    """Return the number of tokens, an estimate for short texts."""
    if len(text) > LONG:
        return sum(1 for _ in TOKEN.finditer(text))
    return max(len(text.split()), len(text) / CHARACTERS)


def kernels(names: Sequence[str], *, stemmer: bool = False) -> list[str]:
    """Return the compiled functions that these names need, for ``compiled.ready``."""
    used = {kernel for name in names for kernel in COMPILED[name.partition(".")[0]]}
    return sorted(used | {"splits.edges", "splits.intern"} | ({"porter.stems"} if stemmer else set()))


def first_best(f: Column, bounds: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the pair of each row with the highest F, the first one of equals."""
    if len(f) == len(bounds) - 1:
        return np.arange(len(f))
    rows = np.repeat(np.arange(len(bounds) - 1), np.diff(bounds))
    best = np.flatnonzero(f == np.maximum.reduceat(f, bounds[:-1])[rows])
    return best[np.searchsorted(best, bounds[:-1])]


def means(values: Column, bounds: NDArray[np.int64]) -> Column:
    """Return the mean of each row's values, rounded once."""
    if len(values) == len(bounds) - 1:
        return values
    rows = [values[start:stop].tolist() for start, stop in pairwise(bounds.tolist())]
    return np.array([math.fsum(row) / len(row) for row in rows])


def plain_pairs(
    responses: Texts, references: References, kinds: Sequence[str], *, stemmer: bool, lowercase: bool
) -> Pairs:
    """Return the scores by rouge-score."""
    with undisturbed():
        from rouge_score.rouge_scorer import RougeScorer

    tokenizer = None if lowercase else Cased(stemmer=stemmer)
    scorer = RougeScorer([KINDS[kind] for kind in kinds], use_stemmer=stemmer, tokenizer=tokenizer)
    rows = zip(responses, references, strict=True)
    found = [scorer.score(text, response) for response, texts in rows for text in texts]
    parts = {kind: np.array([_parts(one[KINDS[kind]]) for one in found], np.float64).reshape(-1, 3).T for kind in kinds}
    return Pairs(np.cumsum([0, *map(len, references)]), parts)


def _parts(score: Any) -> tuple[float, float, float]:
    return score.fmeasure, score.precision, score.recall


def compiled_pairs(
    responses: Texts, references: References, kinds: Sequence[str], *, stemmer: bool, lowercase: bool
) -> Pairs:
    """Return the scores by compiled code."""
    from rmbench.kernel.words import tokens_of

    layout = laid_out(responses, references)
    tokens = tokens_of(layout.texts, stemmer=stemmer, lowercase=lowercase, lines="rouge-lsum" in kinds)
    lengths = np.diff(tokens.bounds)
    own, theirs = lengths[layout.own], lengths[layout.theirs]
    parts = {}
    for kind in kinds:
        hits = _hits(kind, tokens, layout)
        less = kind == "rouge-2"  # there is one pair of words fewer than there are words
        parts[kind] = _scores(hits, np.maximum(own - less, 1), np.maximum(theirs - less, 1))
    return Pairs(layout.bounds, parts)


def _hits(kind: str, tokens: "Tokens", layout: Layout) -> NDArray[np.int64]:
    from rmbench.kernel import lcs, ngrams

    numbers, bounds, size, pairs = tokens.numbers, tokens.bounds, tokens.size, len(layout.own)
    hits: NDArray[np.int64]
    if kind == "rouge-1":
        hits = ngrams.count_words(numbers, bounds, size, layout.runs, pairs)
    elif kind == "rouge-2":
        hits = ngrams.count_pairs(numbers, bounds, layout.runs, pairs)
    elif kind == "rouge-l" or not tokens.lines.any():  # texts of one line: the union is one subsequence
        hits = lcs.lcs(numbers, bounds, size, layout.runs, pairs)
    else:
        hits = lcs.union(numbers, tokens.lines, bounds, size, layout.runs, pairs)
    return hits


def _scores(hits: NDArray[np.int64], own: NDArray[np.int64], theirs: NDArray[np.int64]) -> Column:
    precision, recall = hits / own, hits / theirs
    total = precision + recall
    f = np.divide(2 * precision * recall, total, out=np.zeros(len(hits)), where=total > 0)
    return np.stack([f, precision, recall])


def laid_out(responses: Texts, references: References) -> Layout:
    """Lay out rows, the references of a run of rows once."""
    new = [before is not many and before != many for before, many in pairwise(references)]
    starts = [row for row, fresh in enumerate([True, *new][: len(references)]) if fresh]
    unique = [references[row] for row in starts]
    rows = np.array([*starts, len(responses)], np.int64)
    first = len(responses) + np.cumsum([0, *map(len, unique)])
    each, many_each = np.diff(rows), np.diff(first)
    counts = np.repeat(many_each, each)
    bounds = np.concatenate(([0], np.cumsum(counts)))
    runs = np.stack([rows[:-1], rows[1:], first[:-1], first[1:], bounds[rows[:-1]]], axis=1)
    own = np.repeat(np.arange(len(responses)), counts)
    theirs = np.repeat(first[:-1], each)[own] + np.arange(len(own)) - bounds[own]
    return Layout([*responses, *chain.from_iterable(unique)], runs, bounds, own, theirs)
