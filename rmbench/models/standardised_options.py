"""Options of the standardised composite; light, so that listing and planning import nothing else."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal, get_args

from rmbench.api import NAME
from rmbench.kernel.checks import choice

Scale = Literal["z", "rank", "min-max"]
Split = Literal["train", "dev"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Standardised:
    """Weighted sum of other rewards, each standardised by its scores on a named split first; higher is better.

    The parts are the standardised scores, unweighted. A row is unscored where a part is. A reward whose scores on the
    split are all equal is an error: it has no scale.

    Attributes:
        weights: reward name to weight, such as ``{ "rouge-l" = 0.5, "length" = -0.1 }``; each other than 0.
        scale: ``z``: (s - mean) / population standard deviation; ``rank``: the share of the split's scores below s and
            half of those equal to it, in [0, 1], ties by 12 significant digits; ``min-max``: (s - min) / (max - min),
            0 to 1 on the split and not clipped beyond it.
        split: whose scores are the yardstick; where the task has no dev, ``dev`` is the 10 % of train by prompt that
            stand in for it. ``test`` is never read by a fit.
    """

    weights: dict[str, float]
    scale: Scale = "z"
    split: Split = "train"

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it and what was expected."""
        if not isinstance(self.weights, dict) or not self.weights:
            raise ValueError(f"weights is {self.weights!r}, expected reward names with their weights, at least one")
        for name, weight in self.weights.items():
            if not isinstance(name, str) or not NAME.fullmatch(name) or name == "score":
                raise ValueError(f"weights has the name {name!r}, expected the name of a reward (not 'score')")
            number = isinstance(weight, int | float) and not isinstance(weight, bool) and math.isfinite(weight)
            if not number or not weight:
                raise ValueError(f"weights[{name!r}] is {weight!r}, expected a finite number other than 0")
        choice("scale", self.scale, get_args(Scale))
        if str(self.split) == "test":
            raise ValueError("split is 'test', which no fit reads: expected train or dev")
        choice("split", self.split, get_args(Split))


def uses(*, weights: dict[str, float], **_: object) -> tuple[str, ...]:
    """Return the names of the rewards that are added up."""
    return tuple(weights)
