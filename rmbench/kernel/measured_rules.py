"""Rule rewards against the plain loop with the peer's package: which texts, which rewards, which loop."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.kernel.measured import ROUNDS, Side, clock_of, interleaved, rate, times
from rmbench.kernel.measured_texts import pairs
from rmbench.kernel.texts import score_texts

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Columns = Mapping[str, Sequence[float] | np.ndarray]
    Loop = Callable[[Sequence[str], Sequence[str]], Columns]

ROUGE = ("rouge-1", "rouge-2", "rouge-l")
KINDS = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL", "rouge-lsum": "rougeLsum"}
CLOSE = 1e-9  # for all that is not ROUGE, which is equal in every bit


class Unequal(AssertionError):
    """Two sides of a comparison give different scores: their speeds are not worth comparing."""


@dataclass(frozen=True, slots=True)
class Family:
    """Rewards that are scored in one call.

    Attributes:
        names: the rewards.
        words: of each text.
        rows: pairs of ours a call; ``few``: pairs of the peer's loop, which is so much slower.
        options: of the rewards.
        peer: whose loop scores the same, empty where no dependency does.
    """

    names: tuple[str, ...]
    words: int = 60
    rows: int = 2000
    few: int = 40
    options: Mapping[str, Any] = field(default_factory=dict)
    peer: str = ""

    @property
    def title(self) -> str:
        """Return what is measured, in a few words."""
        stated = "".join(f", {key}={value}" for key, value in self.options.items())
        return f"{', '.join(self.names)}{stated}"


FAMILIES = (
    Family(ROUGE, options={"stemmer": False}, peer="rouge-score", rows=4000),
    Family(ROUGE, options={"stemmer": True}, peer="rouge-score", rows=4000),
    Family(("rouge-lsum",), peer="rouge-score", rows=4000),
    Family(("bleu",), peer="sacrebleu"),
    Family(("chrf",), peer="sacrebleu", rows=1000),
    Family(("chrf",), options={"word_order": 2}, peer="sacrebleu", rows=1000),
    Family(("ter",), words=100, rows=4, few=4, peer="sacrebleu"),
    Family(("token-f1", "exact-match")),
    Family(("length", "diversity", "repetition")),
    Family(("coverage", "density")),
)  # fmt: skip


def rouge_loop(names: Sequence[str], *, stemmer: bool) -> Loop:
    """Return the loop with rouge-score: F of each name, pair by pair."""
    from rouge_score.rouge_scorer import RougeScorer

    scorer = RougeScorer([KINDS[name] for name in names], use_stemmer=stemmer)

    def loop(responses: Sequence[str], references: Sequence[str]) -> Columns:
        found = [scorer.score(reference, response) for response, reference in zip(responses, references, strict=True)]
        return {name: [one[KINDS[name]].fmeasure for one in found] for name in names}

    return loop


def sacrebleu_loop(name: str, **options: Any) -> Loop:
    """Return the loop with sacrebleu's own object, sentence by sentence, in the scale of our reward."""
    from sacrebleu.metrics.bleu import BLEU
    from sacrebleu.metrics.chrf import CHRF
    from sacrebleu.metrics.ter import TER

    metric: Any = {"bleu": BLEU, "chrf": CHRF, "ter": TER}[name](
        **({"effective_order": True} if name == "bleu" else {}), **options
    )

    def loop(responses: Sequence[str], references: Sequence[str]) -> Columns:
        forget()
        columns = zip(responses, references, strict=True)
        scores = [metric.sentence_score(response, [reference]).score for response, reference in columns]
        return {name: [0.0 - score for score in scores] if name == "ter" else scores}

    return loop


def forget() -> None:
    """Empty sacrebleu's caches of tokenised texts: each round tokenises, as ours does."""
    from sacrebleu.tokenizers import tokenizer_13a, tokenizer_re, tokenizer_ter

    for one in (tokenizer_13a.Tokenizer13a, tokenizer_re.TokenizerRegexp, tokenizer_ter.TercomTokenizer):
        one.__call__.cache_clear()


def loop_of(family: Family) -> Loop | None:
    """Return the plain loop of a family, where a dependency has one."""
    if family.peer == "rouge-score":
        return rouge_loop(family.names, stemmer=bool(family.options.get("stemmer", False)))
    return sacrebleu_loop(family.names[0], **family.options) if family.peer else None


def check_equal(ours: Columns, other: Columns) -> None:
    """Raise ``Unequal`` where the scores of two sides differ: ROUGE in any bit, the rest by more than 1e-9."""
    for name, values in other.items():
        mine, theirs = np.asarray(ours[name])[: len(values)], np.asarray(values)
        limit = 0.0 if name.startswith("rouge") else CLOSE
        difference = float(np.max(np.abs(mine - theirs), initial=0.0))
        if difference > limit:
            raise Unequal(f"{name}: scores differ by up to {difference:.3g}, so there is nothing to compare")


def measure(family: Family, threads: int = 1, *, rounds: int = ROUNDS, small: bool = False) -> dict[str, Any]:
    """Measure a family: pairs a second, and how many times as fast as the peer's loop on one thread.

    Raises:
        Unequal: the peer's scores are others.
    """
    rows, few = (min(family.rows, 20), min(family.few, 2)) if small else (family.rows, family.few)
    responses, references = pairs(rows, family.words)

    def ours() -> Columns:
        options: dict[str, Any] = dict(family.options)
        return score_texts(
            family.names, responses, references, sources=references, options=options, threads=threads
        )  # fmt: skip

    first = ours()  # compiles, where it must
    sides = {"ours": Side(ours, rows)}
    loop = loop_of(family)
    if loop is not None:
        check_equal(first, loop(responses[:few], references[:few]))
        sides["other"] = Side(lambda: loop(responses[:few], references[:few]), few)
    seconds = interleaved(sides, clock_of(threads), rounds)
    ratio = times(seconds["ours"], seconds["other"]) if "other" in seconds else None
    return {
        "work": family.title, "words": family.words, "pairs": rows, "pairs_per_second": asdict(rate(seconds["ours"])),
        "against": family.peer or None, "ratio": None if ratio is None else asdict(ratio),
    }  # fmt: skip
