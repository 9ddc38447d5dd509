"""What steps of on-policy trainers share: one look at the drawn responses, references mixed in, a row of the log."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch

from rmbench.trainers import estimators, rollouts
from rmbench.trainers.fused import logprobs_and_entropy

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from rmbench.api import Sample
    from rmbench.policy import Response
    from rmbench.trainers.course import Course
    from rmbench.trainers.rollouts import Rollout


@dataclass(frozen=True, slots=True)
class Seen:
    """Some rows of a rollout as the policy sees them now; t is the longest of these responses.

    Attributes:
        rows: which.
        logp: (some, t), gradients flowing, 0 beyond a response.
        entropy: (some, t) nats, gradients flowing.
        mask: bool (some, t).
        hidden: (some, t, width).
    """

    rows: list[int]
    logp: Tensor
    entropy: Tensor
    mask: Tensor
    hidden: Any

    def of(self, whole: Tensor | None) -> Tensor:
        """Return these rows of something of the whole rollout, (rows, T) or (rows,); that it is there is checked."""
        if whole is None:
            raise ValueError("nobody asked the start, or the drawing policy, about this rollout")
        return whole[self.rows, : self.mask.shape[1]] if whole.ndim > 1 else whole[self.rows]


@dataclass(slots=True)
class Looker:
    """Looks at a rollout; the first look finds what the drawing policy thought, so that no pass is made for it alone.

    Attributes:
        rows: those that are learnt from.
        entropy: (rows,) nats of each response, summed, at the last look.
        old: (rows, T) log-probabilities of the drawing policy, 0 beyond a response; None before the first look.
    """

    course: Course
    rollout: Rollout
    rows: list[int]
    old: Tensor | None = None
    entropy: Tensor = field(init=False)

    def __post_init__(self) -> None:
        """Begin with no entropy."""
        self.entropy = torch.zeros_like(self.rollout.rewards)

    def see(self, some: Sequence[int]) -> Seen:
        """Look at some rows."""
        rollout, options, rows = self.rollout, self.course.options, list(some)
        seen = self.course.agent.forward(
            [rollout.samples[row] for row in rows], [rollout.responses[row] for row in rows]
        )
        found, entropy = logprobs_and_entropy(seen.logits, seen.ids, options.temperature)
        logp = torch.where(seen.mask, found, 0.0)
        self.entropy[rows] = estimators.masked_sum(entropy.detach(), seen.mask)
        if self.old is None or self._in_parts():
            self.old = self._old(rows, logp.detach())
        return Seen(rows, logp, entropy, seen.mask, seen.hidden)

    def away(self, seen: Seen | None = None) -> Tensor:
        """Return the KL estimate at each token to the start: of what is seen, else of the drawing policy (rows, T)."""
        estimate = estimators.KL[self.course.options.kl_estimator]
        if seen is None:
            if self.old is None or self.rollout.ref_logp is None:
                raise ValueError("nothing was looked at yet, or there is no reference")
            return torch.where(self.rollout.mask, estimate(self.old, self.rollout.ref_logp), 0.0)
        return estimate(seen.logp, seen.of(self.rollout.ref_logp))

    def _in_parts(self) -> bool:
        """Whether each part's own look is what the drawing policy thought of it: it has learnt nothing in between."""
        options = self.course.options
        return options.updates == 1 and not (options.kl and options.kl_in == "reward")

    def _old(self, rows: list[int], logp: Tensor) -> Tensor:
        """Return what the drawing policy thought: this very look where it is of all rows, else a pass of its own."""
        rollout = self.rollout
        if rollout.logp is not None:
            return rollout.logp
        if len(rows) < len(self.rows) and not self._in_parts():
            rows = self.rows
            samples, responses = [rollout.samples[row] for row in rows], [rollout.responses[row] for row in rows]
            logp = rollouts.likelihood(self.course, self.course.agent, samples, responses)
        old = torch.zeros(rollout.mask.shape, dtype=logp.dtype, device=logp.device) if self.old is None else self.old
        old[rows, : logp.shape[1]] = logp
        return old


def learn(
    course: Course, looker: Looker, number: int, loss: Callable[[Sequence[int]], Tensor]
) -> tuple[float | None, float | None]:
    """Make one optimizer step of a loss of the looker's rows, cross-entropy on references mixed in.

    The loss is (1 - w) times the given one plus w times the mean cross-entropy of the references' tokens.

    Returns:
        The loss before and the norm of its gradient; None where there was nothing to learn from.
    """
    options = course.options
    weight = estimators.mix_weight(options.mix, options.mix_schedule, number, options.steps)
    samples, texts = references(course, number) if weight else ([], [])
    total = sum(len(one.ids) for one in texts)
    rows = [*looker.rows, *range(-len(texts), 0)]
    if not rows:
        return None, None

    def both(some: Sequence[int]) -> Tensor:
        mine, theirs = [row for row in some if row >= 0], [row for row in some if row < 0]
        parts = [(1 - weight) * loss(mine)] if mine else []
        if theirs:
            seen = course.agent.forward([samples[row] for row in theirs], [texts[row] for row in theirs])
            logp = estimators.logprobs(seen.logits, seen.ids)
            parts.append(-weight * estimators.masked_sum(logp, seen.mask).sum() / total)
        return torch.stack(parts).sum()

    tokens = int(looker.rollout.mask[looker.rows].sum()) + total
    with course.clock("update"):
        return course.minimise(rows, both, tokens=tokens)


def references(course: Course, number: int) -> tuple[list[Sample], list[Response]]:
    """Return the prompts of a step that have a reference, blank ones aside, and one of each, drawn by seed."""
    draw = random.Random(course.seed("references", number))  # noqa: S311 - a choice, not a secret
    written = [(sample, [*filter(str.strip, sample.references)]) for sample in course.prompts(number)]
    written = [(sample, texts) for sample, texts in written if texts]
    most = course.session.decoding.max_tokens
    return [sample for sample, _ in written], [course.agent.encode(draw.choice(texts), most) for _, texts in written]


def summary(looker: Looker, loss: float | None, norm: float | None) -> dict[str, float | int | None]:
    """Return what every on-policy trainer writes into the log of a step.

    Returns:
        loss, grad_norm, reward (mean of the scored), unscored, kl (nats a response, k3, of the drawing policy to the
        start; None where it was not asked or nothing was scored), kl_per_token, entropy (nats a token),
        length (tokens), flat (share of groups whose rewards are all the same).
    """
    rollout, scored = looker.rollout, looker.rollout.scored
    tokens = int(rollout.mask[looker.rows].sum())
    kl = None
    if looker.rows and rollout.ref_logp is not None and looker.old is not None:
        away = torch.where(rollout.mask, estimators.kl_k3(looker.old, rollout.ref_logp), 0.0)[looker.rows].double()
        kl = float(away.sum()) / len(looker.rows)
    rewards = rollout.rewards[scored].double().tolist()
    return {
        "loss": loss, "grad_norm": norm, "reward": math.fsum(rewards) / len(rewards) if rewards else None,
        "unscored": int((~scored).sum()), "kl": kl,
        "kl_per_token": None if kl is None or not tokens else kl * len(looker.rows) / tokens,
        "entropy": float(looker.entropy.double().sum()) / tokens if tokens and looker.old is not None else None,
        "length": float(rollout.mask.sum()) / len(rollout.responses), "flat": flat(rollout),
    }  # fmt: skip


def flat(rollout: Rollout) -> float:
    """Return the share of groups with two scored rewards or more whose rewards are all the same; 0 without any."""
    low = torch.where(rollout.scored, rollout.rewards, math.inf).reshape(-1, rollout.group)
    high = torch.where(rollout.scored, rollout.rewards, -math.inf).reshape(-1, rollout.group)
    several = rollout.scored.reshape(-1, rollout.group).sum(1) > 1
    same = (low.amin(1) == high.amax(1)) & several
    return float(same.sum()) / max(1, int(several.sum()))
