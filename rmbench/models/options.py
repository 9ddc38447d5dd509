"""Options of training that every architecture shares, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

from rmbench.kernel.checks import choice, whole

Schedule = Literal["constant", "linear", "cosine", "step", "exponential"]
JUDGED_LOSSES = ("bradley-terry", "hinge", "squared", "cross-entropy")  # of models of judgements; the first by default
SCHEDULES: tuple[Schedule, ...] = ("constant", "linear", "cosine", "step", "exponential")


@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """How a model is trained. An architecture's options are a subclass with its own fields and defaults.

    A subclass with checks of its own calls ``Training.__post_init__(self)`` by name: in a slotted dataclass
    ``super()`` without arguments does not find it.

    Attributes:
        steps: optimizer steps, from 1.
        seconds: budget of seconds; training stops where it is spent, which is not reproducible. None: no budget.
        batch: pairs (pair losses) or rows (point losses) of a step, from 1; the last step of an epoch may have fewer.
        learning_rate: peak rate of AdamW, above 0.
        weight_decay: AdamW's, decoupled, from 0; of matrices only, neither of biases nor of norms.
        schedule: of the rate after warm-up: ``constant``; ``linear`` and ``cosine`` fall to 0; ``step`` is multiplied
            by ``decay`` after each third; ``exponential`` falls by ``decay`` over all its steps.
        decay: factor of ``step`` and ``exponential``, above 0, at most 1.
        warmup: share of the steps over which the rate rises to its peak, from 0 to below 1.
        clip: greatest norm of the gradient, above 0; 0: none.
        patience: evaluations in a row without a better dev accuracy (or an equal one with a lower dev loss) after which
            training stops; 0: never.
        evaluations: how often dev is scored, evenly over the steps, from 1.
        margin: how far the better text must be ahead in a pair loss; None: 1 for hinge, 0 for bradley-terry.
        rating_margin: what a point of difference between the two ratings adds to that margin, from 0.
    """

    steps: int = 500
    seconds: float | None = None
    batch: int = 32
    learning_rate: float = 1e-3
    weight_decay: float = 0.01
    schedule: Schedule = "linear"
    decay: float = 0.1
    warmup: float = 0.1
    clip: float = 1.0
    patience: int = 5
    evaluations: int = 20
    margin: float | None = None
    rating_margin: float = 0.0

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected."""
        for name, least in (("steps", 1), ("batch", 1), ("patience", 0), ("evaluations", 1)):
            whole(name, getattr(self, name), least)
        if self.seconds is not None:
            number("seconds", self.seconds, above=0.0)
        number("learning_rate", self.learning_rate, above=0.0)
        for name in ("weight_decay", "clip", "rating_margin"):
            number(name, getattr(self, name), least=0.0)
        choice("schedule", self.schedule, SCHEDULES)
        number("decay", self.decay, above=0.0, most=1.0)
        number("warmup", self.warmup, least=0.0, below=1.0)
        if self.margin is not None:
            number("margin", self.margin, least=0.0)


def number(
    name: str, value: object, *, least: float = -math.inf, above: float = -math.inf, most: float = math.inf,
    below: float = math.inf,
) -> None:  # fmt: skip
    """Raise a ``ValueError`` unless the value is a finite number within the bounds, which the message names."""
    plain = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
    if plain and isinstance(value, int | float) and least <= value <= most and above < value < below:
        return
    bounds = (
        (f"from {least:g}", least),
        (f"above {above:g}", above),
        (f"up to {most:g}", most),
        (f"below {below:g}", below),
    )
    words = " ".join(word for word, bound in bounds if math.isfinite(bound))
    raise ValueError(f"{name} is {value!r}, expected a finite number {words}".rstrip())
