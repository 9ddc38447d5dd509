"""Rules on words: overlap with an answer, length, diversity, repetition."""

from collections.abc import Callable
from typing import Literal, get_args

from rmbench import Batch, Reward
from rmbench.builtin.columns import by_references, by_response
from rmbench.builtin.options import choice, whole

Score = Callable[[Batch], list[float | None]]
Unit = Literal["words", "chars"]


def token_f1() -> Score:
    """Word overlap with the best reference after SQuAD's normalisation: 2PR / (P + R), in [0, 1], higher is better.

    Lower-case, ASCII punctuation and a, an, the removed, words between spaces; 1 where both texts are empty then
    (Rajpurkar et al., 2016, 2018). A text without spaces is one word. None without references.
    """
    return by_references("token-f1")


def exact_match() -> Score:
    """1 where the response equals a reference after SQuAD's normalisation, else 0 (Rajpurkar et al., 2016).

    None without references.
    """
    return by_references("exact-match")


def length(*, unit: Unit = "words", target: int | None = None) -> Score:
    """Length of the response in words (between spaces) or characters: the count, 0 up, higher is longer.

    With ``target``: -|count - target| / target, at most 0, which is best.
    """
    choice("unit", unit, get_args(Unit))
    if target is not None:
        whole("target", target, 1)

    return by_response("length", {"unit": unit, "target": target})


def diversity(*, n: int = 2) -> Score:
    """Distinct-n: different n-grams / n-grams of the response, in (0, 1], higher is more diverse (Li et al., 2016).

    Of lower-cased words between spaces, in each response by itself. A text of fewer than n words has none: None.
    """
    whole("n", n, 1)
    return by_response("diversity", {"n": n})


def repetition(*, n: int = 3) -> Score:
    """1 - the share of n-grams that repeat an earlier one of the response, in (0, 1], higher is less repetition.

    Of lower-cased words between spaces. A text of fewer than n words repeats nothing: 1.0.
    """
    whole("n", n, 1)
    return by_response("repetition", {"n": n})


REWARDS = (
    Reward(name="token-f1", version=1, build=token_f1, needs=frozenset({"references"})),
    Reward(name="exact-match", version=1, build=exact_match, needs=frozenset({"references"})),
    Reward(name="length", version=1, build=length),
    Reward(name="diversity", version=1, build=diversity),
    Reward(name="repetition", version=1, build=repetition),
)
