"""Translation edit rate of many rows, equal to sacrebleu's, negated.

Snover et al. (2006), "A study of translation edit rate with targeted human annotation".
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.bleu import numbers_of
from rmbench.kernel.runs import rows_of

Column = NDArray[np.float64]

# seconds of sacrebleu: measured 0.0001 for 10 words against 10, 0.005 for 30, 0.05 to 1 for 100, 2 to 6 for 300, 11 to
# 17 for 600, the more the less the words differ from each other
CUBIC, LINEAR = 2e-7, 2e-2


def plain(responses: Sequence[str], references: Sequence[Sequence[str]], **options: bool) -> dict[str, Column]:
    """Return what ``scores`` returns, by sacrebleu: nothing to compile."""
    metric = _metric(options)
    rows = zip(responses, references, strict=True)
    # 0.0 - x, because -x of a perfect response would be -0.0
    found = [0.0 - metric.sentence_score(response, list(texts)).score for response, texts in rows]
    return {"ter": np.array(found, dtype=np.float64)}


def scores(responses: Sequence[str], references: Sequence[Sequence[str]], **options: bool) -> dict[str, Column]:
    """Return the translation edit rate of each response, *negated*, compiled.

    Args:
        responses: n texts.
        references: n sequences of texts; none may be empty (``ValueError``).
        **options: sacrebleu's ``normalized``, ``no_punct``, ``asian_support`` and ``case_sensitive``, all off: words
            are lower-cased and stand between spaces. Its tokenizer runs where one is on.

    Returns:
        ``ter``: float64 (n,), -100 * (edits and shifts to the closest reference) / mean reference length; at most 0,
        which is best, no lower limit; -100 where all references are empty and the response is not.
    """
    from rmbench.kernel import shifts

    rows = rows_of(responses, references)
    if any(options.values()):
        tokenizer = _metric(options).tokenizer
        texts = [tokenizer(text.rstrip()) for text in rows.texts]
        count = len(responses)
        texts[count:] = map(tokenizer, texts[count:])  # sacrebleu tokenises references twice, which can split them more
    else:
        texts = [text.lower() for text in rows.texts]
    numbers, own, _ = numbers_of(texts, "none")
    return {"ter": shifts.negated_rates(numbers, own, (rows.first, rows.last))}


def seconds(responses: Sequence[str], references: Sequence[Sequence[str]], **options: bool) -> float:
    """Return the estimated time of sacrebleu for these rows.

    Its search for shifts grows with the cube of the words until it gives up on candidates, then with the words.
    """
    count = len if options.get("asian_support") else _words
    total = 0.0
    for response, texts in zip(responses, references, strict=True):
        own = count(response)
        for text in texts:
            words = (own * count(text)) ** 0.5
            total += min(CUBIC * words**3, LINEAR * words)
    return total


def _words(text: str) -> int:
    return len(text.split())


def _metric(options: dict[str, Any]) -> Any:
    from sacrebleu.metrics.ter import TER

    return TER(**options)
