"""How a response uses the words of its source: copied, in long pieces, or its own (Grusky et al., 2018).

Words are lower-cased, between spaces. A description of style, not of quality: which direction is better is the user's.
"""

from collections.abc import Callable, Sequence

from rmbench import Batch, Reward
from rmbench.builtin.columns import by_source
from rmbench.builtin.options import whole

Score = Callable[[Batch], list[float | None]]


def coverage() -> Score:
    """Share of the response's words that lie in pieces copied from the source, in [0, 1], higher is more copied.

    Sum of the fragments' lengths / words (Grusky et al., 2018, equation 1); 0 for a response without words.
    """
    return by_source("coverage")


def density() -> Score:
    """Mean length of the copied piece that a word of the response lies in, in [0, words], higher is longer copies.

    Sum of the fragments' squared lengths / words (Grusky et al., 2018, equation 2); 0 for a response without words.
    """
    return by_source("density")


def novelty(*, n: int = 2) -> Score:
    """Share of the response's n-grams that are not in the source, in [0, 1], higher is more of its own words.

    Every occurrence counts (See et al., 2017, figure 6). A response of fewer than n words has none: None.
    """
    whole("n", n, 1)

    def score(batch: Batch) -> list[float | None]:
        from rmbench.kernel.bags import words_of

        values: list[float | None] = []
        last: str | None = None
        known: set[tuple[str, ...]] = set()
        for response, source in zip(batch.responses, batch.sources, strict=True):
            if source != last:
                last, known = source, set(_grams(words_of(source), n))
            own = _grams(words_of(response), n)
            values.append(sum(gram not in known for gram in own) / len(own) if own else None)
        return values

    return score


def _grams(words: Sequence[str], n: int) -> Sequence[tuple[str, ...]]:
    return list(zip(*(words[start:] for start in range(n)), strict=False))


REWARDS = (
    Reward(name="coverage", version=1, build=coverage),
    Reward(name="density", version=1, build=density),
    Reward(name="novelty", version=1, build=novelty),
)
