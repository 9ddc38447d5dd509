"""What a text looks like, as numbers: lengths, signs, shares, and how much of it stands in its source."""

from __future__ import annotations

import math
import re
from functools import lru_cache
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

WORDS = re.compile(r"\w+")
TOKENS = re.compile(r"\w+|[^\w\s]")
SENTENCE = re.compile(r"[.!?\u2026\u3002\uff01\uff1f]+(?=\s|$)")
ITEM = re.compile(r"^\s*(?:[-*\u2022]|\d+[.)])\s", re.MULTILINE)
LONG = 7  # letters of a long word
NAMES = (
    "characters", "words", "sentences", "words-per-sentence", "word-length", "long-words", "questions", "exclamations",
    "commas", "other-signs", "digits", "capitals", "not-ascii", "lines", "list-items", "type-token", "repeated-pairs",
    "source-words", "source-pairs", "words-of-source", "length-to-source", "ends-a-sentence", "empty",
)  # fmt: skip
"""The features by name: counts as log(1 + n), shares in [0, 1]; all 0 for an empty text but the last."""


def surface(responses: Sequence[str], sources: Sequence[str]) -> np.ndarray:
    """Return the surface features of texts, float64 (n, len(NAMES)); each row depends on its own two texts only."""
    made = [features(text, source) for text, source in zip(responses, sources, strict=True)]
    return np.array(made, np.float64).reshape(len(made), len(NAMES))


def features(text: str, source: str) -> list[float]:
    """Return the features of one text, in the order of ``NAMES``."""
    words = WORDS.findall(text.lower())
    marks = [token for token in TOKENS.findall(text) if not WORDS.match(token)]
    sentences = max(1, len(SENTENCE.findall(text))) if words else 0
    pairs = list(pairwise(words))
    count, length = len(words), len(text)
    known, known_pairs, size = _source(source)
    return [
        math.log1p(length), math.log1p(count), math.log1p(sentences), math.log1p(_share(count, sentences)),
        _share(sum(map(len, words)), count), _share(sum(len(word) >= LONG for word in words), count),
        math.log1p(marks.count("?")), math.log1p(marks.count("!")), math.log1p(marks.count(",")),
        _share(len(marks), length), _share(sum(map(str.isdigit, text)), length),
        _share(sum(map(str.isupper, text)), length), _share(sum(letter > "\x7f" for letter in text), length),
        math.log1p(text.strip().count("\n")), math.log1p(len(ITEM.findall(text))),
        _share(len(set(words)), count), _share(len(pairs) - len(set(pairs)), len(pairs)),
        _share(sum(word in known for word in words), count),
        _share(sum(pair in known_pairs for pair in pairs), len(pairs)),
        _share(len(known & set(words)), len(known)), math.log1p(count) - math.log1p(size) if count else 0.0,
        float(text.rstrip().endswith((".", "!", "?", "\u3002"))), float(not text.strip()),
    ]  # fmt: skip


def _share(part: float, whole: float) -> float:
    return part / whole if whole else 0.0


@lru_cache(maxsize=4)  # rows of a sample follow each other
def _source(source: str) -> tuple[frozenset[str], frozenset[tuple[str, str]], int]:
    """Return the different words of a source, its pairs of them, and how many words it has."""
    words = WORDS.findall(source.lower())
    return frozenset(words), frozenset(pairwise(words)), len(words)
