"""What can be chosen of an n-gram language model; light, so that listing and planning import nothing else."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal, get_args

from rmbench.kernel.checks import choice, flag, whole

Tokens = Literal["words", "characters"]
Texts = Literal["references", "responses", "better"]
Split = Literal["train", "dev"]
LONGEST = 10  # words of one n-gram


@dataclass(frozen=True, slots=True, kw_only=True)
class NgramLm:
    """Fluency: mean natural-log probability of a token by an n-gram language model of some texts, higher is better.

    Smoothed by interpolated modified Kneser-Ney (Chen & Goodman, 1998). Parts: ``tokens`` (with the end of the text)
    and ``oov``, how many of them are unknown. A text without a token has no score.

    Attributes:
        order: the longest n-grams, 1 to 10: a word is predicted from the ``order - 1`` before it.
        tokens: ``words`` (runs of letters, digits and _, with apostrophes inside; every other character that is no
            white space by itself) or ``characters`` (white space is one space, none at the ends).
        lowercase: whether upper and lower case are one.
        texts: what it is fitted on: the ``references`` of the samples, all ``responses``, or those that are the
            ``better`` one of a pair, each once.
        split: the split whose texts these are; where the task has no dev, ``dev`` is the 10 % of train by prompt that
            stand in for it. ``test`` is never read by a fit.
        min_count: a word seen less often is the unknown word.
    """

    order: int = 3
    tokens: Tokens = "words"
    lowercase: bool = True
    texts: Texts = "references"
    split: Split = "train"
    min_count: int = 1

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it and what was expected."""
        whole("order", self.order, 1)
        if self.order > LONGEST:
            raise ValueError(f"order is {self.order}, expected at most {LONGEST}")
        choice("tokens", self.tokens, get_args(Tokens))
        flag("lowercase", self.lowercase)
        choice("texts", self.texts, get_args(Texts))
        if str(self.split) == "test":
            raise ValueError("split is 'test', which no fit reads: expected train or dev")
        choice("split", self.split, get_args(Split))
        whole("min_count", self.min_count, 1)
