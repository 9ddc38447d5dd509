"""Gradients as the trainers make them, response by response, beside the exact one."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import world

from rmbench import toy
from rmbench.policies.tabular import STATES, TabularAgent
from rmbench.toy_world import FREE, PREFIXES, VOCABULARY, WORLD
from rmbench.trainers import actor_critic, grpo, loop, ppo, reinforce
from rmbench.trainers.critic import ValueHead
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.options import Grpo, OnPolicy, Reinforce

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rmbench.policy import Forward, Response

    Array = NDArray[np.float64]

PARAMETERS = len(WORLD) * FREE * VOCABULARY
STEPS: Mapping[type, Callable[..., Any]] = {
    Reinforce: reinforce.step, Grpo: grpo.step, ActorCritic: actor_critic.step, Ppo: ppo.step,
}  # fmt: skip
DIRECTIONS = 20
ONE_STEP = {"steps": 1, "learning_rate": 1e-9, "clip": 0.0, "evaluations": 1, "evaluation_prompts": 1, "kl_limit": 0.0}


class Recorder(TabularAgent):
    """A table that keeps what gradients flowed through."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.looks: list[tuple[Forward, Array]] = []

    def forward(self, samples: Any, responses: Sequence[Response]) -> Forward:
        """Look, and keep the logits, whose gradient is one for each response, and the table as it is."""
        told = super().forward(samples, responses)
        if told.logits.requires_grad:
            told.logits.retain_grad()
            self.looks.append((told, world.table(self)))
        return told


@dataclass(frozen=True, slots=True)
class Measured:
    """Estimates of a gradient: float64 (n, 260), one of each group of responses, independent of one another.

    Attributes:
        estimates: of ascent.
        places: of each, (n,); every place as often, so that differences between places are no part of the variance.
        group: responses that one estimate is of.
        table: at which.
        tokens: of a response, mean.
    """

    estimates: Array
    places: NDArray[np.int64]
    group: int
    table: Array
    tokens: float
    exact: Array = field(init=False)

    def __post_init__(self) -> None:
        """Add the exact gradient of the expected reward."""
        object.__setattr__(self, "exact", toy.gradient(self.table).reshape(-1))

    @property
    def mean(self) -> Array:
        """Mean of the estimates, (260,)."""
        found: Array = self.estimates.mean(axis=0)
        return found

    @property
    def variance(self) -> float:
        """Trace of the covariance of an estimate given its place, times the group: as of one response."""
        return float(self._around(self.estimates).var(axis=0).sum() * self.group)

    def _around(self, found: Array) -> Array:
        """Return estimates less the mean of those of the same place."""
        sums = np.zeros((len(WORLD), found.shape[1]))
        np.add.at(sums, self.places, found)
        around: Array = found - (sums / np.bincount(self.places)[:, None])[self.places]
        return around

    def errors(self, wanted: Array) -> Array:
        """Return how many standard errors the mean is from what is wanted, along 20 directions of each place: (100,).

        Single entries are no measure: those of prefixes that are hardly ever drawn have no standard error yet.
        """
        along = directions()
        seen = self.estimates @ along
        off = seen.mean(axis=0) - wanted.reshape(-1) @ along
        found: Array = off / (self._around(seen).std(axis=0) / np.sqrt(len(seen)))
        return found


@cache
def directions() -> Array:
    """Return fixed random directions in the space of tables, each of one place: (260, 100)."""
    found = np.zeros((len(WORLD), FREE * VOCABULARY, len(WORLD), DIRECTIONS))
    for place in range(len(WORLD)):
        found[place, :, place] = np.random.default_rng(place).normal(size=(FREE * VOCABULARY, DIRECTIONS))
    return found.reshape(PARAMETERS, -1)


def estimates(
    options: OnPolicy, at: Array, *, start: Array | None = None, head: Array | None = None, look: int = 0,
    numbers: Mapping[str, float] | None = None, shift: float = 0.0, seed: int = 1,
) -> Measured:  # fmt: skip
    """Make one step of a trainer with a big batch and return the gradient of each group's responses.

    Args:
        options: of the trainer; they say which one it is.
        at: the table that draws.
        start: the table that KL is measured to.
        head: values (places, 40) of the critic, where there is one.
        look: 0 for the first update of the step, 1 for the second, which sees samples of an earlier policy.
        numbers: what the trainer remembers of earlier steps.
        shift: added to every reward, which leaves the exact gradient as it is.
        seed: of the draws.
    """
    agent = world.agent(at, Recorder)
    assert isinstance(agent, Recorder)  # noqa: S101 - for the type checker
    critic = None if head is None else _head(head, options)

    def step(course: Any, number: int) -> Any:
        course.numbers.update(numbers or {})
        return STEPS[type(options)](course, number)

    with tempfile.TemporaryDirectory() as folder:
        session = world.session(Path(folder), at if start is None else start, seed=seed, shift=shift)
        loop.run(agent, world.data(), options, session, step, extra=critic, reference=True)
    told, table = agent.looks[look]
    places = (told.hidden[:: options.group, 0].argmax(-1) // STATES).numpy()
    tokens = float(told.mask.sum(1).double().mean())
    return Measured(_by_group(told, options.group), places, options.group, table, tokens)


def _by_group(told: Forward, group: int) -> Array:
    """Return minus the gradient of the loss by the table, of each group, times the number of groups: (n, 260)."""
    rows = told.logits.shape[0]
    state = told.hidden.argmax(-1)
    place, prefix = state // STATES, state % STATES
    real = told.mask & (prefix < FREE)
    flat = (place * FREE + prefix.clamp(max=FREE - 1))[..., None] * VOCABULARY + torch.arange(VOCABULARY)
    found = torch.zeros(rows, PARAMETERS, dtype=torch.float64)
    gradient = torch.where(real[..., None], told.logits.grad, 0.0).double()
    found.scatter_add_(1, flat.reshape(rows, -1), gradient.reshape(rows, -1))
    return -(found * rows).reshape(-1, group, PARAMETERS).mean(1).numpy()


def _head(values: Array, options: Any) -> ValueHead:
    """Return a critic that knows these values of every state."""
    head = ValueHead(toy.ROWS * STATES, rate=options.value_rate, reach=options.value_reach)
    with torch.no_grad():
        head.weight[0, : values.size] = torch.tensor(values.reshape(-1), dtype=torch.float32) / options.value_rate
    return head


def state_values(at: Array) -> Array:
    """Return the exact expected reward from each prefix on, (places, 40)."""
    p = np.exp(toy.policy(at))
    begins = np.array([[letters[: len(prefix)] == prefix for letters in PREFIXES] for prefix in PREFIXES], dtype=float)
    found: Array = ((p * toy.rewards()) @ begins.T) / np.maximum(p @ begins.T, 1e-300)
    return found
