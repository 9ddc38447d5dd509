"""Null rewards: what no reward should lose to. They stand in every table without being asked for."""

import re
from collections.abc import Callable
from hashlib import blake2b

from rmbench import Batch, Reward, Runtime
from rmbench.builtin.options import whole
from rmbench.kernel.bags import f1, normalise

Score = Callable[[Batch], list[float | None]]
NULL_REWARDS = ("random", "constant", "longest", "shortest", "copy", "lead")
SENTENCE_END = re.compile(r"(?<=[.!?])\s+|\s*\n\s*")


def random(*, runtime: Runtime) -> Score:
    """A uniform number in [0, 1) that depends on the seed and the row's id only."""

    def row(name: str) -> float:
        digest = blake2b(f"{runtime.seed}\0random\0{name}".encode("utf-8", "surrogatepass"), digest_size=8).digest()
        return (int.from_bytes(digest, "big") >> 11) / 2**53

    def score(batch: Batch) -> list[float | None]:
        return [row(name) for name in batch.ids]

    return score


def constant() -> Score:
    """The same number, 0.0, for every response."""

    def score(batch: Batch) -> list[float | None]:
        return [0.0] * len(batch)

    return score


def longest() -> Score:
    """The number of characters of the response, 0 up: the longest is best."""

    def score(batch: Batch) -> list[float | None]:
        return [float(len(response)) for response in batch.responses]

    return score


def shortest() -> Score:
    """The number of characters of the response, negated, at most 0: the shortest is best."""

    def score(batch: Batch) -> list[float | None]:
        return [float(-len(response)) for response in batch.responses]

    return score


def copy() -> Score:
    """Word overlap (token F1) with the whole source, in [0, 1], highest for a copy of it.

    The source is the context, else the prompt; words as in token-f1, so a text without spaces is one word.
    """

    def score(batch: Batch) -> list[float | None]:
        return [f1(normalise(text), normalise(source)) for text, source in _pairs(batch)]

    return score


def lead(*, sentences: int = 3) -> Score:
    """Word overlap (token F1) with the first sentences of the source, in [0, 1], highest for a copy of them.

    A sentence ends at ``.``, ``!`` or ``?`` before a space, or at a line break; abbreviations end one too.
    """
    whole("sentences", sentences, 1)

    def first(source: str) -> str:
        return " ".join([part for part in SENTENCE_END.split(source) if part.strip()][:sentences])

    def score(batch: Batch) -> list[float | None]:
        return [f1(normalise(text), normalise(first(source))) for text, source in _pairs(batch)]

    return score


def _pairs(batch: Batch) -> list[tuple[str, str]]:
    return list(zip(batch.responses, batch.sources, strict=True))


REWARDS = (
    Reward(name="random", version=1, build=random),
    Reward(name="constant", version=1, build=constant),
    Reward(name="longest", version=1, build=longest),
    Reward(name="shortest", version=1, build=shortest),
    Reward(name="copy", version=1, build=copy),
    Reward(name="lead", version=1, build=lead),
)
