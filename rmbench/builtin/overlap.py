"""BLEU, chrF and TER of single texts as rewards, through the scoring kernel: sacrebleu, or compiled code equal to it.

Post (2018), "A call for clarity in reporting BLEU scores". Scales are sacrebleu's, 0 to 100; TER is negated. A row
without references has no score (None).
"""

from collections.abc import Callable
from typing import Literal, get_args

from rmbench import Batch, Reward
from rmbench.builtin.columns import by_references, of_rows
from rmbench.builtin.options import choice, flag, whole

Score = Callable[[Batch], list[float | None]]
Tokenizer = Literal["13a", "zh", "ja-mecab", "ko-mecab", "intl", "char", "none"]


def bleu(*, tokenize: Tokenizer | None = None, lowercase: bool = False) -> Score:
    """Precision of 1 to 4 words against the references: sentence BLEU, 0 to 100, higher is better.

    exp(1 - r / c) where the response (c words) is shorter than the closest reference (r), times the geometric mean of
    the n-gram precisions; orders longer than the text are left out (``effective_order``), zeros smoothed exponentially
    (Papineni et al., 2002; Chen and Cherry, 2014). Without ``tokenize``: zh, ja-mecab or ko-mecab by the response's
    language, else 13a. A tokenizer without its package is a ``RuntimeError`` that names the package.
    """
    from rmbench.corpus import bleu_metric, checked, tokenizer_of

    flag("lowercase", lowercase)
    if tokenize is not None:
        choice("tokenize", tokenize, get_args(Tokenizer))
        bleu_metric(tokenize)

    def score(batch: Batch) -> list[float | None]:
        checked(batch.responses, batch.references)
        names = [tokenize or tokenizer_of(languages[-1] if languages else None) for languages in batch.languages]
        values: list[float | None] = [None] * len(batch)
        for name in dict.fromkeys(names):
            rows = [row for row, own in enumerate(names) if own == name]
            found = of_rows("bleu", batch, rows, {"tokenize": name, "lowercase": lowercase})
            for row in rows:
                values[row] = found[row]
        return values

    return score


def chrf(*, word_order: int = 0, lowercase: bool = False) -> Score:
    """F-score of 1 to 6 characters against the best reference: chrF2, 0 to 100, higher is better.

    5PR / (4P + R) with P and R averaged over the orders, spaces left out (Popovic, 2015). ``word_order = 2`` adds words
    and word pairs: chrF++ (Popovic, 2017).
    """
    whole("word_order", word_order, 0)
    flag("lowercase", lowercase)
    return _checked(by_references("chrf", {"word_order": word_order, "lowercase": lowercase}))


def ter(
    *, normalized: bool = False, no_punct: bool = False, asian_support: bool = False, case_sensitive: bool = False
) -> Score:
    """Edits and shifts that turn the response into the closest reference, *negated*: higher is better, 0 is best.

    -100 * edits / mean reference length, no lower limit (TER; Snover et al., 2006). The options are sacrebleu's.
    """
    flag("normalized", normalized)
    flag("no_punct", no_punct)
    flag("asian_support", asian_support)
    flag("case_sensitive", case_sensitive)
    options = {
        "normalized": normalized,
        "no_punct": no_punct,
        "asian_support": asian_support,
        "case_sensitive": case_sensitive,
    }
    return _checked(by_references("ter", options))


def _checked(scorer: Score) -> Score:
    def score(batch: Batch) -> list[float | None]:
        from rmbench.corpus import checked

        checked(batch.responses, batch.references)
        return scorer(batch)

    return score


REWARDS = tuple(
    Reward(name=name, version=1, build=factory, needs=frozenset({"references"}), backends=("sacrebleu",))
    for name, factory in (("bleu", bleu), ("chrf", chrf), ("ter", ter))
)
