"""Options of the trainers that choose among responses, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rmbench.kernel.checks import choice, whole
from rmbench.models.options import number
from rmbench.trainers.options import TrainerOptions

PairSource = Literal["reward", "task"]
PAIR_SOURCES: tuple[PairSource, ...] = ("reward", "task")
PairKind = Literal["sigmoid", "ipo"]
PAIR_KINDS: tuple[PairKind, ...] = ("sigmoid", "ipo")
DrawFrom = Literal["start", "policy"]
DRAW_FROM: tuple[DrawFrom, ...] = ("start", "policy")


@dataclass(frozen=True, slots=True, kw_only=True)
class Dpo(TrainerOptions):
    """Options of ``dpo``; ``batch`` counts prompts (pairs = reward) or pairs (pairs = task).

    Attributes:
        pairs: ``reward``: of each prompt's responses the best against the worst by the reward; ``task``: those of the
            task's train split (stated preferences, else ratings that differ).
        group: responses drawn for each prompt, from 2 (pairs = reward).
        temperature: they are drawn with, above 0 (pairs = reward).
        draw: from the ``start`` (offline, as in the paper) or from the ``policy`` as it is (Guo et al. 2024).
        beta: how dear it is to leave the start, above 0.
        loss: ``sigmoid`` (Rafailov et al. 2023) or ``ipo`` (Azar et al. 2024).
        label_smoothing: share of pairs taken to be the wrong way round, 0 to below 0.5 (sigmoid; Mitchell 2023).
    """

    pairs: PairSource = "reward"
    group: int = 4
    temperature: float = 1.0
    draw: DrawFrom = "start"
    beta: float = 0.1
    loss: PairKind = "sigmoid"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Check every field and what they rule out together; a wrong one is a ``ValueError`` that names it."""
        TrainerOptions.__post_init__(self)
        choice("pairs", self.pairs, PAIR_SOURCES)
        whole("group", self.group, 2)
        number("temperature", self.temperature, above=0.0, most=100.0)
        choice("draw", self.draw, DRAW_FROM)
        number("beta", self.beta, above=0.0)
        choice("loss", self.loss, PAIR_KINDS)
        number("label_smoothing", self.label_smoothing, least=0.0, below=0.5)
        if self.loss == "ipo" and self.label_smoothing:
            raise ValueError(
                f"label_smoothing is {self.label_smoothing:g}: it goes with loss 'sigmoid' only, not 'ipo'"
            )
        if self.pairs == "task" and self.draw == "policy":
            raise ValueError("draw is 'policy' and pairs 'task': the task's own pairs are not drawn")


@dataclass(frozen=True, slots=True, kw_only=True)
class BestOfN:
    """Options of ``best-of-n``: no weight changes, so there are none of an optimizer.

    Attributes:
        n: responses drawn for each prompt, of which the reward chooses the best, from 2.
        temperature: they are drawn with, above 0.
        steps: batches of dev prompts that the curve over n is estimated on, from 1.
        batch: prompts of each, from 1.
        seconds: budget of that; the curve is made of what was drawn until then. None: no budget.
    """

    n: int = 16
    temperature: float = 1.0
    steps: int = 4
    batch: int = 16
    seconds: float | None = None

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected."""
        for name, least in (("n", 2), ("steps", 1), ("batch", 1)):
            whole(name, getattr(self, name), least)
        number("temperature", self.temperature, above=0.0, most=100.0)
        if self.seconds is not None:
            number("seconds", self.seconds, above=0.0)
