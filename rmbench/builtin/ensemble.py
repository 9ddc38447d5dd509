"""Several rewards as one: their mean, the least of them, or a lower bound from how far they disagree."""

import math
from collections.abc import Callable, Sequence
from typing import Literal

from rmbench import Batch, Reward
from rmbench.builtin.options import choice

Column = list[float | None]
How = Literal["mean", "minimum", "lower-bound"]
LEAST = 2


def ensemble(*, rewards: list[str], how: How = "mean", k: float = 1.0) -> Callable[[Batch], dict[str, Column]]:
    """Mean, minimum, or mean minus k standard deviations of other rewards, on their scale, higher is better.

    Each reward's score is a part. A row is unscored (None) where any of them is. The rewards are taken as they are: on
    scales of different width the widest decides. After Coste et al. 2024 (arXiv:2310.02743), whose ensembles of reward
    models take the minimum, or the mean less a multiple of the variance; here it is the standard deviation.

    Args:
        rewards: names of at least two rewards, each once.
        how: "mean", "minimum", or "lower-bound": mean - k * standard deviation (of these rewards: divided by n).
        k: how many standard deviations, at least 0; for "lower-bound" only.
    """
    names = _names(rewards)
    choice("how", how, ("mean", "minimum", "lower-bound"))
    if not isinstance(k, int | float) or isinstance(k, bool) or not math.isfinite(k) or k < 0:
        raise ValueError(f"k is {k!r}, expected a number from 0")
    if how != "lower-bound" and k != 1.0:
        raise ValueError(f"k is {k!r}, but how is {how!r}: k is of 'lower-bound' only")

    def one(parts: Sequence[float]) -> float:
        if how == "minimum":
            return min(parts)
        mean = math.fsum(parts) / len(parts)
        return mean if how == "mean" else mean - k * _deviation(parts, mean)

    def score(batch: Batch) -> dict[str, Column]:
        missing = [name for name in names if name not in batch.scores]
        if missing:
            raise KeyError(f"ensemble: the batch has no scores of {', '.join(missing)}")
        columns = {name: list(batch.scores[name]) for name in names}
        scores: Column = []
        for row in zip(*columns.values(), strict=True):
            known = [part for part in row if part is not None]
            scores.append(one(known) if len(known) == len(row) else None)
        return {"score": scores, **columns}

    return score


def _deviation(parts: Sequence[float], mean: float) -> float:
    """Return the standard deviation of these numbers as a whole population: divided by n."""
    return math.sqrt(math.fsum((part - mean) ** 2 for part in parts) / len(parts))


def _names(rewards: object) -> tuple[str, ...]:
    """Return the names; a ``ValueError`` unless they are at least two different ones."""
    if not isinstance(rewards, list | tuple) or len(rewards) < LEAST:
        raise ValueError(f"rewards is {rewards!r}, expected the names of at least two rewards")
    for name in rewards:
        if not isinstance(name, str) or not name or name == "score":
            raise ValueError(f"rewards has {name!r}, expected the name of a reward (not 'score')")
        if list(rewards).count(name) > 1:
            raise ValueError(f"rewards names {name!r} twice")
    return tuple(rewards)


def ensemble_uses(*, rewards: list[str], **_: object) -> tuple[str, ...]:
    """Return the names of the rewards that an ensemble takes."""
    return _names(rewards)


REWARDS = (Reward(name="ensemble", version=1, build=ensemble, uses=ensemble_uses),)
