"""A training while it runs: what a step of any trainer works with."""

from __future__ import annotations

import random
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rmbench.models.training import order
from rmbench.trainers import rollouts, updates

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    import torch
    from torch import Tensor

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.models.state import Parts
    from rmbench.policy import Agent, Session

STAGES = ("rollout", "scoring", "update")


@dataclass(slots=True)
class Clock:
    """Seconds of the step at hand by stage, and tokens: generated, and those that gradients flowed through."""

    seconds: dict[str, float] = field(default_factory=dict)
    began: float = field(default_factory=time.perf_counter)
    tokens: int = 0
    trained: int = 0

    @contextmanager
    def __call__(self, stage: str) -> Iterator[None]:
        """Count the time within for a stage."""
        began = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - began

    def restart(self) -> None:
        """Begin a step."""
        self.seconds.clear()
        self.began, self.tokens, self.trained = time.perf_counter(), 0, 0

    def row(self, step: int) -> dict[str, Any]:
        """Return the step's row of ``.timings.jsonl``: what is in no stage is overhead."""
        stages = {stage: self.seconds.get(stage, 0.0) for stage in STAGES}
        rest = time.perf_counter() - self.began - sum(stages.values())
        timed = {stage: round(seconds, 6) for stage, seconds in {**stages, "overhead": max(0.0, rest)}.items()}
        return {"step": step, **timed, "tokens": self.tokens, "trained": self.trained}


@dataclass(slots=True)
class Course:
    """A training while it runs.

    Attributes:
        agent: the policy that is trained; in evaluation mode (no dropout) unless a step says otherwise.
        judgements: its data.
        options: of the trainer, a ``TrainerOptions``.
        session: what the engine knows.
        reference: the frozen start, None where the trainer asked for none.
        extra: a further module that is trained with the policy (a value head), None where there is none.
        parts: both as one module, its optimizer and schedule.
        samples: of train, those with a prompt.
        numbers: kept from step to step and saved with the state: whatever a trainer needs to remember.
        notes: what the user should know, saved with the state.
        micro_batch: rows that gradients are computed of at once, 0: all.
        good: the weights with which the last loss was finite.
        clock: of the step at hand.
        step: that one's number, from 1.
        touched: whether weights have changed since it began.
    """

    agent: Agent
    judgements: Judgements
    options: Any
    session: Session
    reference: Agent | None
    extra: torch.nn.Module | None
    parts: Parts
    samples: tuple[Sample, ...]
    numbers: dict[str, float] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    micro_batch: int = 0
    good: list[Tensor] = field(default_factory=list)
    clock: Clock = field(default_factory=Clock)
    step: int = 0
    touched: bool = False

    @property
    def device(self) -> str:
        """The device of the policy."""
        return self.session.runtime.device

    def note(self, sentence: str) -> None:
        """Keep a sentence for the user, once."""
        if sentence not in self.notes:
            self.notes.append(sentence)

    def count(self, name: str, by: float = 1) -> None:
        """Add to one of the numbers."""
        self.numbers[name] = self.numbers.get(name, 0) + by

    def seed(self, what: str, step: int) -> int:
        """Return the seed of something random: a function of the training's seed, its name and the step."""
        return random.Random(f"{self.session.runtime.seed}/{what}/{step}").getrandbits(48)  # noqa: S311 - no secret

    def prompts(self, step: int) -> list[Sample]:
        """Return the samples of a step, from 1: ``options.batch`` of train in seeded epochs, one after the other."""
        count, size = len(self.samples), self.options.batch
        places = range((step - 1) * size, step * size)
        orders = {epoch: order(count, self.session.runtime.seed, epoch) for epoch in {at // count for at in places}}
        return [self.samples[orders[at // count][at % count]] for at in places]

    def rollout(self, step: int, *, old: bool = True) -> rollouts.Rollout:
        """Return responses drawn for the step's prompts, ``options.group`` for each, with their rewards.

        Args:
            step: from 1.
            old: whether the log-probabilities of the drawing policy are needed, at the price of a forward pass.
        """
        return rollouts.drawn(self, step, old=old)

    def minimise(
        self, rows: Sequence[int], loss: Callable[[Sequence[int]], Tensor], *, tokens: int = 0
    ) -> tuple[float, float]:
        """Make one optimizer step and return the loss before it and the norm of its gradient.

        Args:
            rows: what the loss is of; a step may have any.
            loss: of some of the rows, as a sum that is divided by the whole batch's weight already: the losses of any
                parts of the rows add up to that of all.
            tokens: that gradients flow through, for the timings.

        Raises:
            InputError: loss or gradient is NaN or infinite; the weights before are saved.
        """
        self.clock.trained += tokens
        return updates.minimise(self, rows, loss)
