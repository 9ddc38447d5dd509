"""Pairs to learn a reward from where nobody judged: each reference against a worse text made of it.

What is made is a function of seed, sample and the other references. A text is made worse in one of five ways, drawn
evenly: words left out, words said twice, words in another order, words of other references in their place, or another
sample's reference of like length. The first four spoil how it reads or what it says; the last reads well and is wrong.
Kryscinski et al. 2020, "Evaluating the factual consistency of abstractive text summarization", train on such texts.
"""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench.api import Candidate, Preference

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rmbench.api import Sample

DAMAGED = "damaged-references"
WAYS = ("dropped", "repeated", "moved", "replaced", "another")
SHARE = 4  # of the words, one in so many is touched, and one at least
DRAWN = 16  # references of which the one nearest in length is another's
ENDS = ".!?。！？"  # noqa: RUF001 - full-width ones too
LEAST = 3  # words that a text needs to be made worse within


def damaged(samples: Sequence[Sample], seed: int) -> list[Sample]:
    """Return samples whose candidates are their first reference and a worse text, the preference stated.

    A sample without references, or whose texts come out alike, is returned as it is, without candidates.
    """
    texts = [sample.references[0] for sample in samples if sample.references and sample.references[0].strip()]
    words = [word for text in texts for word in _body(text).split()]
    return [_judged(sample, texts, words, seed) for sample in samples]


def _judged(sample: Sample, texts: Sequence[str], words: Sequence[str], seed: int) -> Sample:
    bare = replace(sample, candidates=(), preferences=(), ties=())
    if not sample.references or not sample.references[0].strip():
        return bare
    draw = random.Random(f"{seed}/{sample.id}")  # noqa: S311 - a choice, not a secret
    good = sample.references[0]
    own = _body(good).split()
    way = draw.choice(WAYS) if len(own) >= LEAST else "another"
    end = good.rstrip()[len(_body(good)) :]
    bad = _another(good, texts, draw) if way == "another" else " ".join(_WITHIN[way](own, words, draw)) + end
    if bad.split() == good.split():
        return bare
    pair = (Candidate("reference", good), Candidate(way, bad))
    return replace(bare, candidates=pair, preferences=(Preference(0, 1, way),))


def _body(text: str) -> str:
    """Return a text without what ends it: a stop within would tell a worse text from afar."""
    return text.rstrip().rstrip(ENDS)


def _run(own: Sequence[str], draw: random.Random) -> tuple[int, int]:
    """Return the bounds of a run of words: a quarter of them."""
    size = max(1, len(own) // SHARE)
    first = draw.randrange(len(own) - size + 1)
    return first, first + size


def _dropped(own: Sequence[str], _: Sequence[str], draw: random.Random) -> list[str]:
    first, last = _run(own, draw)
    return [*own[:first], *own[last:]]


def _repeated(own: Sequence[str], _: Sequence[str], draw: random.Random) -> list[str]:
    first, last = _run(own, draw)
    return [*own[:last], *own[first:]]


def _moved(own: Sequence[str], _: Sequence[str], draw: random.Random) -> list[str]:
    first, last = _run(own, draw)
    rest = [*own[:first], *own[last:]]
    to = draw.choice([place for place in range(len(rest) + 1) if place != first])
    return [*rest[:to], *own[first:last], *rest[to:]]


def _replaced(own: Sequence[str], words: Sequence[str], draw: random.Random) -> list[str]:
    places = set(draw.sample(range(len(own)), max(1, len(own) // SHARE)))
    return [draw.choice(words) if place in places else word for place, word in enumerate(own)]


def _another(good: str, texts: Sequence[str], draw: random.Random) -> str:
    """Return, of some other texts, the one nearest in length."""
    drawn = [draw.choice(texts) for _ in range(DRAWN)]
    others = [text for text in drawn if text != good] or [good]
    return min(others, key=lambda text: abs(len(text) - len(good)))


_WITHIN: dict[str, Callable[[Sequence[str], Sequence[str], random.Random], list[str]]] = {
    "dropped": _dropped, "repeated": _repeated, "moved": _moved, "replaced": _replaced,
}  # fmt: skip
