"""Made-up texts to measure with: words as frequent as in a language, answers that keep a part of their reference.

No text of anybody, no file to carry, and the same texts on every machine.
"""

from __future__ import annotations

import random
from statistics import NormalDist

VOCABULARY = 20_000
LETTERS = "etaoinshrdlcumwfgypbvk"
ENDINGS = ("", "", "", "ing", "ed", "s", "ly", "ation")
MARKS = (".", ",", ";", "?", "-based", "'s")
MARKED = 0.08  # share of words with a mark behind them
KEPT = 0.5
MOVES = 3


class Language:
    """Made-up words, as often as in a natural text: the n-th one with a frequency of 1 / n (Zipf's law)."""

    def __init__(self, seed: int = 0) -> None:
        self.draw = random.Random(seed)  # noqa: S311 - texts, no secrets
        self.words = [self._word() for _ in range(VOCABULARY)]
        total, self.weights = 0.0, []
        for rank in range(1, VOCABULARY + 1):
            total += 1 / rank
            self.weights.append(total)

    def _word(self) -> str:
        length = max(1, round(self.draw.gauss(6, 2.5)))
        return "".join(self.draw.choices(LETTERS, k=length)) + self.draw.choice(ENDINGS)

    def some(self, count: int) -> list[str]:
        """Return so many words, some of them with a punctuation mark."""
        chosen = self.draw.choices(self.words, cum_weights=self.weights, k=count)
        return [word + self.draw.choice(MARKS) if self.draw.random() < MARKED else word for word in chosen]

    def text(self, words: int) -> str:
        """Return a text of so many words."""
        return " ".join(self.some(words)).capitalize()

    def answer(self, reference: list[str], kept: float) -> str:
        """Return a text that keeps a share of a reference's words and has some runs of them elsewhere."""
        pairs = zip(reference, self.some(len(reference)), strict=True)
        words = [one if self.draw.random() < kept else other for one, other in pairs]
        for _ in range(self.draw.randrange(MOVES + 1)):
            start, length = self.draw.randrange(len(words)), self.draw.randrange(1, 9)
            run = words[start : start + length]
            del words[start : start + length]
            place = self.draw.randrange(len(words) + 1)
            words[place:place] = run
        return " ".join(words).capitalize()


def pairs(count: int, words: int, *, candidates: int = 1, kept: float = KEPT) -> tuple[list[str], list[str]]:
    """Return responses and references of so many words, the same ones at every call.

    Args:
        count: at least this many responses; a multiple of ``candidates``.
        words: of each text.
        candidates: consecutive responses to one reference.
        kept: share of the reference's words that a response has.
    """
    language = Language()
    responses: list[str] = []
    references: list[str] = []
    while len(responses) < count:
        reference = language.some(words)
        responses += [language.answer(reference, kept) for _ in range(candidates)]
        references += [" ".join(reference).capitalize()] * candidates
    return responses, references


def skewed(count: int, *, median: float, sigma: float, seed: int = 0) -> list[int]:
    """Return lengths of a log-normal distribution in random order: its quantiles, so that no draw decides the tail."""
    quantiles = [NormalDist().inv_cdf((place + 0.5) / count) for place in range(count)]
    lengths = [max(1, round(median * 2.718281828 ** (sigma * quantile))) for quantile in quantiles]
    random.Random(seed).shuffle(lengths)  # noqa: S311 - an order, no secret
    return lengths
