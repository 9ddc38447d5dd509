"""chrF and chrF++ of many rows, equal to sacrebleu's.

Popovic (2015), "chrF: character n-gram F-score for automatic MT evaluation", and (2017), "chrF++: words helping
character n-grams".
"""

import string
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.runs import codes_of, rows_of, spaces

Column = NDArray[np.float64]
CODE_POINTS = 0x110000


def plain(
    responses: Sequence[str], references: Sequence[Sequence[str]], *, word_order: int = 0, lowercase: bool = False
) -> dict[str, Column]:
    """Return what ``scores`` returns, by sacrebleu: nothing to compile."""
    from sacrebleu.metrics.chrf import CHRF

    metric = CHRF(word_order=word_order, lowercase=lowercase)
    rows = zip(responses, references, strict=True)
    found = [metric.sentence_score(response, list(texts)).score for response, texts in rows]
    return {"chrf": np.array(found, dtype=np.float64)}


def scores(
    responses: Sequence[str], references: Sequence[Sequence[str]], *, word_order: int = 0, lowercase: bool = False
) -> dict[str, Column]:
    """Return chrF of each response against its best reference, compiled.

    F with beta 2 of precision and recall, averaged over the orders for which both texts are long enough: 1 to 6
    characters, spaces left out, then 1 to ``word_order`` words.

    Args:
        responses: n texts.
        references: n sequences of texts; none may be empty (``ValueError``).
        word_order: 0 for chrF, 2 for chrF++.
        lowercase: compare lower-cased texts.

    Returns:
        ``chrf``: float64 (n,), 0 to 100, higher is better.
    """
    from rmbench.kernel import chars

    rows = rows_of(responses, references)
    texts = [text.lower() for text in rows.texts] if lowercase else rows.texts
    table = np.zeros(CODE_POINTS, np.int32)  # pages that no text touches are never made
    table[spaces()] = -1
    stops = np.zeros(128, np.bool_)
    stops[[ord(mark) for mark in string.punctuation]] = True
    found = chars.f_scores(codes_of(texts), (rows.first, rows.last), table, stops, word_order)
    return {"chrf": found}
