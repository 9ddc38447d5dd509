"""Sentence BLEU of many rows, equal to sacrebleu's.

Papineni et al. (2002), "BLEU: a method for automatic evaluation of machine translation"; Chen and Cherry (2014), "A
systematic comparison of smoothing techniques for sentence-level BLEU".
"""

from collections.abc import Sequence
from functools import cache
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.runs import codes_of, rows_of, spaces

Column = NDArray[np.float64]
Counts = NDArray[np.int64]
COMPILED = "13a"  # the tokenizer that is compiled
ENTITIES = {"&quot;": '"', "&amp;": "&", "&lt;": "<", "&gt;": ">"}  # in the order of replacement


def plain(
    responses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: str = COMPILED, lowercase: bool = False
) -> dict[str, Column]:
    """Return what ``scores`` returns, by sacrebleu: nothing to compile."""
    from rmbench.corpus import bleu_metric

    metric = bleu_metric(tokenize, lowercase=lowercase, sentence=True)
    rows = zip(responses, references, strict=True)
    found = [metric.sentence_score(response, list(texts)).score for response, texts in rows]
    return {"bleu": np.array(found, dtype=np.float64)}


def scores(
    responses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: str = COMPILED, lowercase: bool = False
) -> dict[str, Column]:
    """Return sentence BLEU of each response against all its references, compiled.

    exp(1 - r / c) where the response (c words) is shorter than the closest reference (r), times the geometric mean of
    the precisions of 1 to 4 words; orders longer than the response are left out, zeros smoothed exponentially.

    Args:
        responses: n texts.
        references: n sequences of texts; none may be empty (``ValueError``).
        tokenize: a tokenizer of sacrebleu's; 13a is compiled, the others run there and only the counts are compiled.
        lowercase: compare lower-cased texts.

    Returns:
        ``bleu``: float64 (n,), 0 to 100, higher is better.
    """
    from rmbench.kernel import mteval

    counts = statistics(responses, references, tokenize=tokenize, lowercase=lowercase)
    return {"bleu": mteval.bleu(counts)}


def statistics(
    responses: Sequence[str], references: Sequence[Sequence[str]], *, tokenize: str = COMPILED, lowercase: bool = False
) -> Counts:
    """Return what sacrebleu counts of each row, int64 (n, 10); they add up over rows to those of corpus BLEU.

    Words of the response and of the closest reference, then matched n-grams of 1 to 4 words, then all of them.
    """
    from rmbench.kernel import mteval

    rows = rows_of(responses, references)
    texts = [text.lower() for text in rows.texts] if lowercase else rows.texts
    if tokenize == COMPILED:
        texts = cleaned(texts)
    else:
        from rmbench.corpus import bleu_metric

        tokenizer = bleu_metric(tokenize).tokenizer
        texts = [tokenizer(text.rstrip()) for text in texts]
    numbers, own, size = numbers_of(texts, tokenize)
    counts: Counts = mteval.statistics(numbers, own, size, (rows.first, rows.last))
    return counts


def numbers_of(texts: Sequence[str], tokenize: str) -> tuple[NDArray[np.int32], NDArray[np.int64], int]:
    """Return the words of all texts in a row as numbers, where each text's begin, and how many numbers there are.

    ``tokenize`` is 13a for texts that are ``cleaned``; with any other, words are what stands between spaces.
    """
    from rmbench.kernel import mteval

    codes, bounds = codes_of(texts)
    spans, own = mteval.split(codes, bounds, kinds(tokenize))
    numbers, size = mteval.number(codes, spans)
    return numbers, own, size


def cleaned(texts: list[str]) -> list[str]:
    """Return texts as mteval's tokenisation begins: marks of skipped text dropped, lines joined, entities replaced."""
    whole = "".join(texts)
    if "\n" not in whole and "&" not in whole and "<skipped>" not in whole:
        return texts  # blanks at the end then make no difference
    return list(map(_clean, texts))


def _clean(text: str) -> str:
    text = text.rstrip().replace("<skipped>", "").replace("-\n", "").replace("\n", " ")
    if "&" in text:
        for entity, character in ENTITIES.items():
            text = text.replace(entity, character)
    return text


@cache
def kinds(tokenize: str) -> NDArray[np.uint8]:
    """Return the kind of each character (``mteval``); with other tokenizers words stand between spaces already."""
    from rmbench.kernel import mteval

    table = np.full(spaces()[-1] + 1, mteval.OTHER, np.uint8)
    if tokenize == COMPILED:
        marks = chain(range(0x20, 0x27), range(0x28, 0x2C), range(0x3A, 0x41), range(0x5B, 0x61), range(0x7B, 0x7F))
        table[[*marks, ord("/")]] = mteval.ALONE
        table[[ord("."), ord(",")]] = mteval.DOT
        table[ord("0") : ord("9") + 1] = mteval.DIGIT
        table[ord("-")] = mteval.DASH
    table[spaces()] = mteval.SPACE
    return table
