"""GRPO: Shao et al. 2024, "DeepSeekMath: pushing the limits of mathematical reasoning in open language models", 4.1.

A step draws a group of responses y_1 ... y_G for each prompt and gives every token of y_i the advantage

    A_i = (r_i - mean(r)) / deviation(r),

that of the group (Dr. GRPO leaves the deviation out, Liu et al. 2025). It maximises the clipped surrogate
min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon_high) A), ratio = p / p_old of a token, minus ``kl`` times k3 to the
start. With one update a draw p_old is p itself: its log-probabilities are those of the same pass, without gradient.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rmbench.trainers import estimators, rollouts
from rmbench.trainers.loop import Course, run
from rmbench.trainers.steps import Looker, Seen, learn, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.options import Grpo


def train(agent: Agent, judgements: Judgements, options: Grpo, session: Session) -> Trained:
    """Train a policy with GRPO (see ``rmbench.policy.Trainer``)."""
    return run(agent, judgements, options, session, step, reference=True)


def step(course: Course, number: int) -> dict[str, Any]:
    """Draw groups of responses, make ``updates`` steps of the clipped surrogate, and return a row of the log."""
    options: Grpo = course.options
    rollout = rollouts.drawn(course, number, old=False)
    looker = Looker(course, rollout, rollout.scored.nonzero()[:, 0].tolist())
    clipped = torch.zeros_like(rollout.rewards)  # tokens of each response at the last look

    def loss(some: Sequence[int]) -> Tensor:
        seen = looker.see(some)
        terms, beyond = surrogate(course, seen, looker)
        clipped[seen.rows] = beyond
        return normalised(course, seen, looker, terms)

    value = norm = None
    for _ in range(options.updates):
        value, norm = learn(course, looker, number, loss)
    tokens = max(1, int(rollout.mask[looker.rows].sum()))
    return {**summary(looker, value, norm), "clip_share": float(clipped.sum()) / tokens}


def surrogate(course: Course, seen: Seen, looker: Looker) -> tuple[Tensor, Tensor]:
    """Return the loss of each token (some, t), and how many tokens of each response are beyond the clip (some,)."""
    options: Grpo = course.options
    rollout = looker.rollout
    base = _rewards(course, looker)
    found = seen.of(estimators.group_standardised(base, rollout.group, rollout.scored, scale=options.scale == "group"))
    away = seen.logp - seen.of(looker.old)
    if options.importance_level == "sequence":  # one ratio for a response: the geometric mean over its tokens
        away = estimators.masked_sum(away, seen.mask)[:, None] / seen.mask.sum(1, keepdim=True).clamp_min(1)
    high = options.epsilon_high or options.epsilon
    ratio = away.exp().expand_as(seen.logp)
    terms = -estimators.clipped_surrogate(ratio, found[:, None], options.epsilon, high)
    beyond = ((ratio < 1 - options.epsilon) & (found[:, None] < 0)) | ((ratio > 1 + high) & (found[:, None] > 0))
    if options.entropy:
        terms = terms - options.entropy * seen.entropy
    if options.kl and options.kl_in == "loss":
        terms = terms + options.kl * looker.away(seen)
    return terms, (beyond & seen.mask).sum(1).to(terms.dtype)


def _rewards(course: Course, looker: Looker) -> Tensor:
    """Return the rewards of the responses, KL taken from them where it belongs there: (rows,)."""
    options: Grpo = course.options
    rollout = looker.rollout
    if not options.kl or options.kl_in == "loss":
        return rollout.rewards
    return rollout.rewards - options.kl * looker.away().sum(1)


def normalised(course: Course, seen: Seen, looker: Looker, terms: Tensor) -> Tensor:
    """Return the loss of some rows as their share of the batch's: a scalar."""
    options: Grpo = course.options
    sums = estimators.masked_sum(terms, seen.mask)
    if options.normalisation == "grpo":
        return (sums / seen.mask.sum(1).clamp_min(1)).sum() / len(looker.rows)
    if options.normalisation == "bnpo":
        return sums.sum() / looker.rollout.mask[looker.rows].sum().clamp_min(1)
    return sums.sum() / (len(looker.rows) * course.session.decoding.max_tokens)
