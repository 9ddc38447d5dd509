"""What the judgements look like before anything is learnt: classes, lengths, and what length alone would get right."""

from __future__ import annotations

import math
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.ties import round12

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import ArrayLike

    from rmbench.judged import Judged, Judgements, Pair

FEWEST = 20  # pairs of dev on which the length baseline is taken; below, it is taken on train
TIE = 0.5


@dataclass(frozen=True, slots=True)
class Balance:
    """Counts and shares of one split.

    Attributes:
        samples, rows, pairs: how many.
        rated: rows with a main rating.
        mean, deviation: of these ratings, on the raters' scale; None without any.
        good: share of high-quality texts among the rows that are judged good or not, in [0, 1]; None without any.
        judged: how many such rows.
        better_longer, equally_long: share of the pairs whose better text has more characters, as many; None without
            pairs.
    """

    samples: int
    rows: int
    pairs: int
    rated: int
    mean: float | None
    deviation: float | None
    judged: int
    good: float | None
    better_longer: float | None
    equally_long: float | None

    @property
    def by_length(self) -> Mapping[str, float]:
        """Pairwise accuracy of ``longest`` and ``shortest`` (a tie counts one half); empty without pairs."""
        if self.better_longer is None or self.equally_long is None:
            return MappingProxyType({})
        longest = self.better_longer + TIE * self.equally_long
        return MappingProxyType({"longest": longest, "shortest": 1.0 - longest})


@dataclass(frozen=True, slots=True)
class LengthBaseline:
    """The better of the two length-only rewards: its name, its pairwise accuracy, on which split and how many pairs."""

    reward: str
    accuracy: float
    split: str
    pairs: int


def balance(judged: Judged) -> Balance:
    """Return the counts and shares of a split."""
    targets = [target for target in judged.targets if target is not None]
    classes = [good for good in judged.good if good is not None]
    mean = math.fsum(targets) / len(targets) if targets else None
    spread = None if mean is None else math.sqrt(math.fsum((one - mean) ** 2 for one in targets) / len(targets))
    lengths = [len(text) for text in judged.batch.responses]
    ahead = [lengths[pair.better] - lengths[pair.worse] for pair in judged.pairs]
    return Balance(
        samples=len(judged.samples), rows=len(judged.batch), pairs=len(judged.pairs), rated=len(targets), mean=mean,
        deviation=spread, judged=len(classes), good=_share(classes), better_longer=_share([by > 0 for by in ahead]),
        equally_long=_share([by == 0 for by in ahead]),
    )  # fmt: skip


def _share(flags: Sequence[bool]) -> float | None:
    return sum(flags) / len(flags) if flags else None


def accuracy(scores: ArrayLike, pairs: Sequence[Pair]) -> float | None:
    """Return the share of pairs whose better row has the higher score, in [0, 1]; a tie counts one half.

    Args:
        scores: one number per row of the batch, rounded here to 12 significant digits; NaN, no score, never wins.
        pairs: indices into them.

    Returns:
        None without pairs.
    """
    if not pairs:
        return None
    rounded = round12(scores)
    ahead = rounded[[pair.better for pair in pairs]] - rounded[[pair.worse for pair in pairs]]
    return (int(np.count_nonzero(ahead > 0)) + TIE * int(np.count_nonzero(ahead == 0))) / len(pairs)


def length_baseline(judgements: Judgements) -> LengthBaseline | None:
    """Return the better of ``longest`` and ``shortest`` on dev, or on train where dev has fewer than 20 pairs.

    None where that split has no pairs.
    """
    few = len(judgements.dev.pairs) < FEWEST
    split, name = (judgements.train, "train") if few else (judgements.dev, "dev")
    by_length = balance(split).by_length
    if not by_length:
        return None
    reward = "shortest" if by_length["shortest"] > by_length["longest"] else "longest"
    return LengthBaseline(reward, by_length[reward], name, len(split.pairs))
