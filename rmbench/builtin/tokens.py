"""Tokenisations of ROUGE beside rouge-score's, each text as the numbers of its tokens: what the kernel counts is equal.

sacrebleu's tokenizers are the field's for translation, signs are tokens there. ROUGE on them is rouge-score's formula
with another tokenizer, to the bit.
"""

from collections.abc import Callable, Iterable
from importlib.metadata import version
from typing import Any, Literal, get_args

from rmbench.kernel.terms import OTHER, kind_of

OWN = "rouge-score"
Tokenizer = Literal["rouge-score", "words", "char", "13a", "intl", "zh", "ja-mecab", "ko-mecab"]
Split = Callable[[str], list[str]]


def words(text: str) -> list[str]:
    """Return the runs of letters, digits, marks and underscores of a text, in any script."""
    return "".join(char if kind_of(char) != OTHER else " " for char in text).split()


def splitter(name: Tokenizer) -> Split:
    """Return the function from a text to its tokens.

    Raises:
        RuntimeError: the tokenizer needs a package that is not installed (named in the message).
    """
    if name == "words":
        return words
    from rmbench.corpus import bleu_metric

    tokenizer = bleu_metric(name).tokenizer
    return lambda text: str(tokenizer(text)).split()


def facts(*, tokenizer: Tokenizer = "rouge-score", **_: Any) -> Iterable[str]:
    """Return the version of what tokenises, for the signature; raise before anything runs where it is missing."""
    if tokenizer in (OWN, "words") or tokenizer not in get_args(Tokenizer):  # a wrong one is for the builder to refuse
        return ()
    splitter(tokenizer)
    return (f"sacrebleu:{version('sacrebleu')}",)


class Numbering:
    """Writes texts as the numbers of their tokens with spaces between, equal for equal tokens of all its texts.

    Args:
        split: from a text to its tokens.
        lowercase: texts are lower-cased before.
        lines: keep lines apart, each tokenised by itself; otherwise a line break is the tokenizer's affair.
    """

    def __init__(self, split: Split, *, lowercase: bool, lines: bool) -> None:
        self.split = split
        self.lowercase = lowercase
        self.lines = lines
        self.numbers: dict[str, str] = {}
        self.written: dict[str, str] = {}

    def __call__(self, text: str) -> str:
        """Return a text's numbers."""
        if text not in self.written:
            lower = text.lower() if self.lowercase else text
            pieces = lower.split("\n") if self.lines else [lower]
            self.written[text] = "\n".join(" ".join(map(self._number, self.split(piece))) for piece in pieces)
        return self.written[text]

    def _number(self, token: str) -> str:
        return self.numbers.setdefault(token, str(len(self.numbers)))

    def empty(self, text: str) -> bool:
        """Whether a text that is not blank has no token."""
        return bool(text.strip()) and not self(text).strip()
