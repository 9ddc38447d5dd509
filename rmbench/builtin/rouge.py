"""ROUGE as rewards, through the scoring kernel: rouge-score, or compiled code that equals it bit for bit.

Lin (2004), "ROUGE: a package for automatic evaluation of summaries". Every score is in [0, 1], higher is better; a row
without references has none (None). The default tokenisation is rouge-score's: lower-case, then runs of a-z and 0-9, so
a text in another script has no tokens and scores 0.0; such rows are counted in a warning, and the option ``tokenizer``
names others. A row of 50,000 tokens takes a tenth of a second compiled, and no row is cut. ROUGE-Lsum compares lines
that share a word with each other: where thousands share one that their subsequences do not take, time grows with the
square of the lines.
"""

import warnings
from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal, get_args

from rmbench import Batch, Reward
from rmbench.builtin import tokens
from rmbench.builtin.options import choice, flag
from rmbench.builtin.tokens import OWN, Tokenizer

Score = Callable[[Batch], list[float | None]]
Part = Literal["f", "precision", "recall"]
Several = Literal["max", "mean"]
Against = Literal["references", "source"]


@dataclass(frozen=True, slots=True)
class Options:
    """The options of one ROUGE reward, checked."""

    stemmer: bool
    part: Part
    references: Several
    against: Against
    lowercase: bool
    tokenizer: Tokenizer
    separator: str | None = None

    def __post_init__(self) -> None:
        """Raise ``ValueError`` where an option has a wrong value."""
        flag("stemmer", self.stemmer)
        choice("part", self.part, get_args(Part))
        choice("references", self.references, get_args(Several))
        choice("against", self.against, get_args(Against))
        flag("lowercase", self.lowercase)
        choice("tokenizer", self.tokenizer, get_args(Tokenizer))
        if self.stemmer and self.tokenizer != OWN:
            raise ValueError(f"stemmer is true, which is for the tokenizer {OWN} only, not for {self.tokenizer}")
        if self.separator is not None and (not isinstance(self.separator, str) or not self.separator):
            raise ValueError(f"separator is {self.separator!r}, expected a non-empty text")


def build(kind: str, options: Options) -> Score:
    """Return the scorer of one ROUGE type (a key of the kernel's ``KINDS``)."""
    from rmbench.kernel import score_texts
    from rmbench.kernel.rouge import tokenless

    name = kind if options.part == "f" else f"{kind}.{options.part}"
    own = options.tokenizer == OWN
    split = None if own else tokens.splitter(options.tokenizer)
    known = {"stemmer": options.stemmer, "lowercase": options.lowercase and own, "references": options.references}

    def score(batch: Batch) -> list[float | None]:
        rows = sentences(batch, options)
        if split is None:
            warn_of_empty(rows, partial(tokenless, lowercase=options.lowercase), options)
        else:
            number = tokens.Numbering(split, lowercase=options.lowercase, lines=kind == "rouge-lsum")
            warn_of_empty(rows, number.empty, options)
            rows = [(tuple(map(number, targets)), number(response)) for targets, response in rows]
        some = [(targets, response) for targets, response in rows if targets]
        found = score_texts([name], [response for _, response in some], [texts for texts, _ in some], options=known)
        values = iter(found[name].tolist())
        return [next(values) if targets else None for targets, _ in rows]

    return score


def sentences(batch: Batch, options: Options) -> list[tuple[tuple[str, ...], str]]:
    """Return (targets, response) of each row, with the separator, if any, made a line break."""
    sources = options.against == "source"
    targets = [(source,) for source in batch.sources] if sources else list(batch.references)
    rows = list(zip(targets, batch.responses, strict=True))
    mark = options.separator
    if mark is None:
        return rows
    return [(tuple(text.replace(mark, "\n") for text in many), one.replace(mark, "\n")) for many, one in rows]


def warn_of_empty(rows: list[tuple[tuple[str, ...], str]], empty: Callable[[str], bool], options: Options) -> None:
    """Warn, with a count, of rows in which a text that is not blank has no token."""
    count = sum(bool(targets) and any(map(empty, (response, *targets))) for targets, response in rows)
    if count:
        own = "rouge-score knows a-z and 0-9 only: option tokenizer has zh, ja-mecab, ko-mecab, words for other scripts"
        why = own if options.tokenizer == OWN else f"by the option tokenizer = {options.tokenizer!r}"
        warnings.warn(
            f"rouge: {count} of {len(rows)} rows tokenise to nothing ({why}): "
            "a text without tokens scores 0.0, even against itself",
            stacklevel=3,
        )


def needs(against: str = "references", **_others: Any) -> frozenset[str]:
    """Return the columns that a ROUGE reward reads: no references when it scores against the source."""
    return frozenset() if against == "source" else frozenset({"references"})


def rouge_1(
    *,
    stemmer: bool = False,
    part: Part = "f",
    references: Several = "max",
    against: Against = "references",
    lowercase: bool = True,
    tokenizer: Tokenizer = "rouge-score",
) -> Score:
    """Overlap of words with the references: ROUGE-1, in [0, 1], higher is better (Lin, 2004).

    Args:
        stemmer: compare Porter stems.
        part: ``f`` (2PR / (P + R)), ``precision`` (share of the response's words) or ``recall``.
        references: over several references, the part of the one with the highest F ("max", rouge-score's
            ``score_multi``), or the mean of the parts.
        against: score against the references, or against the source.
        lowercase: False keeps case (not a choice of rouge-score: the same tokenisation on unlowered text).
        tokenizer: ``rouge-score``'s own; ``words`` (runs of letters, digits and marks in any script); or one of
            sacrebleu's, where signs are tokens too: ``zh`` (each Chinese character by itself), ``char``, ``13a``,
            ``intl``, and with their packages ``ja-mecab`` and ``ko-mecab`` (``pip install "sacrebleu[ja,ko]"``).
    """
    return build("rouge-1", Options(stemmer, part, references, against, lowercase, tokenizer))


def rouge_2(
    *,
    stemmer: bool = False,
    part: Part = "f",
    references: Several = "max",
    against: Against = "references",
    lowercase: bool = True,
    tokenizer: Tokenizer = "rouge-score",
) -> Score:
    """Overlap of word pairs with the references: ROUGE-2, in [0, 1], higher is better (Lin, 2004).

    Texts of fewer than two words score 0.0, as in rouge-score. The options are those of rouge-1.
    """
    return build("rouge-2", Options(stemmer, part, references, against, lowercase, tokenizer))


def rouge_l(
    *,
    stemmer: bool = False,
    part: Part = "f",
    references: Several = "max",
    against: Against = "references",
    lowercase: bool = True,
    tokenizer: Tokenizer = "rouge-score",
) -> Score:
    """Longest common subsequence of words with the references: ROUGE-L, in [0, 1], higher is better (Lin, 2004).

    The options are those of rouge-1.
    """
    return build("rouge-l", Options(stemmer, part, references, against, lowercase, tokenizer))


def rouge_lsum(
    *,
    stemmer: bool = False,
    part: Part = "f",
    references: Several = "max",
    against: Against = "references",
    lowercase: bool = True,
    tokenizer: Tokenizer = "rouge-score",
    separator: str | None = None,
) -> Score:
    """Union of longest common subsequences, sentence by sentence: ROUGE-Lsum, in [0, 1], higher is better (Lin, 2004).

    Sentences are lines, as in rouge-score. With ``separator`` a text is also split there and the separator dropped,
    so `` . `` suits texts with spaces around their full stops (punctuation is no token, nothing is lost) and ``<q>``
    leaves no ``q`` behind. The other options are those of rouge-1.
    """
    return build("rouge-lsum", Options(stemmer, part, references, against, lowercase, tokenizer, separator))


REWARDS = tuple(
    Reward(name=name, version=1, build=factory, needs=needs, backends=("rouge-score",), facts=tokens.facts)
    for name, factory in (
        ("rouge-1", rouge_1),
        ("rouge-2", rouge_2),
        ("rouge-l", rouge_l),
        ("rouge-lsum", rouge_lsum),
    )
)
