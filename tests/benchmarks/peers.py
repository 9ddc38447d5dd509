"""The comparisons with the peers' real packages: what the benchmarks run and reports/performance prints.

Each row names its work, the other side, the aim of the project and how to measure it; sizes shrink where nothing is
to be measured.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rmbench.kernel import score_texts
from rmbench.kernel.measure import Measured, compared, pairs

ROUGE = ("rouge-1", "rouge-2", "rouge-l")


@dataclass(frozen=True, slots=True)
class Row:
    """One comparison: ``aim`` is the ratio wanted, ``reached`` what a prototype got (None: none was tried)."""

    work: str
    against: str
    aim: float
    reached: float | None
    measure: Callable[[float], Measured]


def ours(names, responses, references, threads=1, **options):
    return lambda: score_texts(list(names), responses, references, options=options, threads=threads)


def rouge_score(responses, references, *, stemmer):
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stemmer)
    return lambda: [scorer.score(b, a) for a, b in zip(responses, references, strict=True)]


def rouge_rs(responses, references, *, stemmer):
    from rouge_score_rs import RougeScorer

    scorer = RougeScorer(["rouge1", "rouge2", "rougeL"], use_stemmer=stemmer)
    return lambda: [scorer.score(b, a) for a, b in zip(responses, references, strict=True)]


def rouge(words, *, stemmer, peer, count, few):
    """ROUGE-1, 2 and L of ``count`` pairs of so many words; the slow peer scores the first ``few`` of them."""

    def measure(size):
        n, k = max(4, int(count * size)), max(2, int(few * size))
        responses, references = pairs(n, words)
        mine = ours(ROUGE, responses, references, stemmer=stemmer)
        return compared(
            f"ROUGE-1/2/L, {words} words",
            "pairs",
            (n, k),
            (mine, peer(responses[:k], references[:k], stemmer=stemmer)),
            peer.__name__,
        )

    return measure
