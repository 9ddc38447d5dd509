"""Corpus BLEU, chrF and TER through sacrebleu, with the lengths checked that sacrebleu does not check.

Here ``references`` is one tuple of texts per response, of any length from one up; sacrebleu wants them transposed, and
scores the wrong texts, often as 100, when it does not get that. The statistics of a segment are additive: a bootstrap
resamples rows of the array and never tokenises twice.
"""

from __future__ import annotations

import re
from itertools import zip_longest
from typing import TYPE_CHECKING, Any

import numpy as np
from sacrebleu.metrics.bleu import BLEU
from sacrebleu.metrics.chrf import CHRF
from sacrebleu.metrics.ter import TER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    Texts = Sequence[str]
    References = Sequence[Sequence[str]]

BY_LANGUAGE = {"zh": "zh", "ja": "ja-mecab", "ko": "ko-mecab"}
EXTRA = {"ja-mecab": "sacrebleu[ja]", "ko-mecab": "sacrebleu[ko]"}
BLEU_WIDTH = 10
CHRF_WIDTH = 18


def tokenizer_of(language: str | None) -> str:
    """Return sacrebleu's default tokenizer for a language: zh, ja-mecab, ko-mecab, else 13a.

    Only the primary subtag counts, so ``zh-CN`` and ``zh_Hans`` are Chinese.
    """
    primary = re.split("[-_]", language.lower())[0] if language else ""
    return BY_LANGUAGE.get(primary, "13a")


def bleu_metric(tokenizer: str, *, lowercase: bool = False, sentence: bool = False) -> Any:
    """Return sacrebleu's BLEU object; ``sentence`` counts only the n-gram orders that a text is long enough for.

    Raises:
        RuntimeError: the tokenizer needs a package that is not installed (named in the message).
    """
    try:
        return BLEU(tokenize=tokenizer, lowercase=lowercase, effective_order=sentence, force=True)
    except RuntimeError as error:
        package = EXTRA.get(tokenizer)
        if package is None:
            raise
        raise RuntimeError(f"the tokenizer {tokenizer} needs another package: pip install {package!r}") from error


def checked(hypotheses: Texts, references: References) -> None:
    """Raise unless there is one sequence of reference texts, maybe an empty one, per hypothesis.

    Raises:
        ValueError: the lengths differ.
        TypeError: a text stands where a sequence of texts belongs.
    """
    if isinstance(hypotheses, str) or isinstance(references, str):
        raise TypeError("expected a sequence of texts, got one text")
    if len(hypotheses) != len(references):
        raise ValueError(f"{len(hypotheses)} hypotheses, but references for {len(references)}")
    for row, texts in enumerate(references):
        if isinstance(texts, str):
            raise TypeError(f"row {row}: expected a tuple of reference texts, got one text")


def streams(responses: Texts, references: References) -> Any:
    """Return the references as sacrebleu takes them: one list per reference number, None where a row has fewer.

    Raises:
        ValueError: no rows, other lengths, or a row without a reference.
    """
    checked(responses, references)
    if not responses:
        raise ValueError("a corpus score needs at least one row")
    for row, texts in enumerate(references):
        if not texts:
            raise ValueError(f"row {row} has no reference: leave such rows out of a corpus score")
    return [list(stream) for stream in zip_longest(*references)]


def corpus_bleu(responses: Texts, references: References, language: str | None = None) -> float:
    """Return corpus BLEU, 0 to 100, higher is better, with the language's tokenizer (Papineni et al., 2002)."""
    metric = bleu_metric(tokenizer_of(language))
    return float(metric.corpus_score(list(responses), streams(responses, references)).score)


def corpus_chrf(responses: Texts, references: References) -> float:
    """Return corpus chrF2, 0 to 100, higher is better (Popovic, 2015)."""
    return float(CHRF().corpus_score(list(responses), streams(responses, references)).score)


def corpus_ter(responses: Texts, references: References) -> float:
    """Return corpus TER *negated*, so that higher is better and 0 is best (Snover et al., 2006)."""
    return 0.0 - float(TER().corpus_score(list(responses), streams(responses, references)).score)


def bleu_statistics(responses: Texts, references: References, language: str | None = None) -> NDArray[np.int64]:
    """Return the counts of each segment, int64 (n, 10).

    Words of the response and of the closest reference, then matched n-grams of 1 to 4 words, then all of them.
    """
    return _statistics(bleu_metric(tokenizer_of(language)), responses, references, BLEU_WIDTH)


def bleu_from_statistics(sums: Sequence[int] | NDArray[np.int64]) -> float:
    """Return corpus BLEU, 0 to 100, of summed ``bleu_statistics``, shape (10,)."""
    counts = _counts(sums, BLEU_WIDTH)
    score = BLEU.compute_bleu(counts[2:6], counts[6:], sys_len=counts[0], ref_len=counts[1], smooth_method="exp")
    return float(score.score)


def chrf_statistics(responses: Texts, references: References) -> NDArray[np.int64]:
    """Return the counts of each segment, int64 (n, 18).

    For 1 to 6 characters in turn: n-grams of the response, of its best reference, and of both.
    """
    return _statistics(CHRF(), responses, references, CHRF_WIDTH)


def chrf_from_statistics(sums: Sequence[int] | NDArray[np.int64]) -> float:
    """Return corpus chrF2, 0 to 100, of summed ``chrf_statistics``, shape (18,)."""
    return float(CHRF()._compute_f_score(_counts(sums, CHRF_WIDTH)))  # noqa: SLF001 - pinned, with a parity test


def _statistics(metric: Any, responses: Texts, references: References, width: int) -> NDArray[np.int64]:
    """Return sacrebleu's own per-segment counts (private there; sacrebleu is pinned and a test holds the parity)."""
    rows = metric._extract_corpus_statistics(list(responses), streams(responses, references))  # noqa: SLF001 - see above
    return np.array(rows, dtype=np.int64).reshape(len(responses), width)


def _counts(sums: Sequence[int] | NDArray[np.int64], width: int) -> list[int]:
    """Return the sums as a list of Python integers."""
    counts = [int(count) for count in sums]
    if len(counts) != width:
        raise ValueError(f"expected {width} summed statistics, got {len(counts)}")
    return counts
