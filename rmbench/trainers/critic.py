"""The critic: a linear value of a policy's last hidden state, and a rollout as it sees it."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, cast

import torch
from torch.nn import functional

from rmbench.trainers import estimators, updates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session
    from rmbench.trainers.course import Course
    from rmbench.trainers.critic_options import Critic
    from rmbench.trainers.rollouts import Rollout

ALIKE = 1e-6  # a deviation below it is none
BEGUN = "critic_begun"  # of the course's numbers: the first step that had scores


class ValueHead(torch.nn.Module):
    """Values (rows, T) of hidden states (rows, T, width): shift + scale * rate * (weight . hidden + bias).

    Weight and bias are 0 at first. Shift and scale are what the first rewards say, so that neither their size nor their
    mean has to be learnt: a constant reward has no advantage from the first step on. AdamW's steps do not depend on the
    size of the gradient, so a head that is multiplied by ``rate`` learns as one with so many times the learning rate.
    Its own gradient is divided by it again, to count as before in the clipped norm.

    Args:
        width: of the hidden states.
        rate: multiple of the policy's learning rate.
        reach: whether gradients go on into the policy.
    """

    def __init__(self, width: int, *, rate: float, reach: bool) -> None:
        super().__init__()
        self.rate, self.reach = rate, reach
        self.weight = torch.nn.Parameter(torch.zeros(1, width))
        self.bias = torch.nn.Parameter(torch.zeros(1))
        for parameter in (self.weight, self.bias):
            parameter.register_hook(lambda gradient: gradient / rate)  # type: ignore[no-untyped-call]  # torch's has no types

        self.shift: Tensor
        self.scale: Tensor
        self.register_buffer("shift", torch.zeros(()))
        self.register_buffer("scale", torch.ones(()))

    def forward(self, hidden: Tensor) -> Tensor:
        """Return the values."""
        seen = hidden if self.reach else hidden.detach()
        linear = functional.linear(seen, self.weight, self.bias).squeeze(-1)
        values: Tensor = self.shift + self.scale * self.rate * linear
        return values

    def begin(self, rewards: Tensor) -> None:
        """Take shift and scale from the first rewards, (rows,): mean and deviation, 1 where they are all alike."""
        spread = rewards.double().std(correction=0)  # in double precision the mean of equal rewards is their value
        self.shift.copy_(rewards.double().mean())
        self.scale.copy_(spread if spread > ALIKE else torch.ones_like(spread))


def value_head(agent: Agent, judgements: Judgements, options: Critic, session: Session) -> ValueHead:
    """Return a new head; how wide the hidden states are is seen at one token."""
    sample = next((sample for sample in judgements.train.samples if sample.prompt.strip()), None)
    width = 1  # without a prompt: ``loop.run`` refuses the training
    if sample is not None:
        drawing = replace(session.decoding, max_tokens=1, beams=1, temperature=1.0, best_of=1, best_by="", stop=())
        with torch.no_grad():
            (response,) = agent.sample([sample], 1, drawing, seed=session.runtime.seed)[0]
            width = agent.forward([sample], [response]).hidden.shape[-1]
    return ValueHead(width, rate=options.value_rate, reach=options.value_reach).to(session.runtime.device)


@dataclass(frozen=True, slots=True)
class Valued:
    """A rollout as the critic sees it; tensors are (rows, T).

    Attributes:
        rollout: with the log-probabilities of the drawing policy.
        logp: these.
        ref_logp: those of the start; None where ``kl`` is 0.
        rows: those that were scored: these alone are learnt from.
        mask: True on their tokens.
        rewards: of tokens: a response's at its last one, less the KL penalty where that is in the reward.
        values: of the states before each token, as they were when the texts were drawn.
    """

    rollout: Rollout
    logp: Tensor
    ref_logp: Tensor | None
    rows: list[int]
    mask: Tensor
    rewards: Tensor
    values: Tensor


def valued(course: Course, rollout: Rollout, *, kl: float) -> Valued:
    """Return rewards and values of a rollout's tokens; one pass finds values and the drawing policy's probabilities.

    Args:
        course: the training, its ``extra`` a ``ValueHead``.
        rollout: without log-probabilities of the drawing policy.
        kl: coefficient of the penalty, by token (Ziegler et al. 2019, equation 2), where ``kl_in`` is ``reward``.
    """
    options = cast("Critic", course.options)
    if options.value_weight and BEGUN not in course.numbers and bool(rollout.scored.any()):
        cast("ValueHead", course.extra).begin(rollout.rewards[rollout.scored])
        course.numbers[BEGUN] = course.step
    old, logp = _looked(course, rollout)
    mask = rollout.mask & rollout.scored[:, None]
    rewards = estimators.at_end(rollout.rewards, rollout.mask)
    if kl and options.kl_in == "reward" and rollout.ref_logp is not None:
        rewards = rewards - kl * estimators.KL[options.kl_estimator](logp, rollout.ref_logp)
    return Valued(
        replace(rollout, logp=logp), logp, rollout.ref_logp, mask.any(1).nonzero()[:, 0].tolist(), mask,
        torch.where(mask, rewards, 0.0), torch.where(mask, old, 0.0),
    )  # fmt: skip


def _looked(course: Course, rollout: Rollout) -> tuple[Tensor, Tensor]:
    """Return values and log-probabilities of the tokens, without gradient, (rows, T)."""
    options, head = cast("Critic", course.options), cast("ValueHead", course.extra)
    length = rollout.mask.shape[1]

    def part(rows: Sequence[int]) -> tuple[Tensor, Tensor]:
        with torch.no_grad():
            seen = course.agent.forward(
                [rollout.samples[row] for row in rows], [rollout.responses[row] for row in rows]
            )
            logp = torch.where(seen.mask, estimators.logprobs(seen.logits, seen.ids, options.temperature), 0.0)
            more = (0, length - logp.shape[1])  # a part of the rows may lack the longest response
            return functional.pad(head(seen.hidden), more), functional.pad(logp, more)

    with course.clock("rollout"):
        found = updates.in_parts(course, range(len(rollout.responses)), part)
    return torch.cat([values for values, _ in found]), torch.cat([logp for _, logp in found])
