"""REINFORCE: Williams 1992, "Simple statistical gradient-following algorithms for connectionist RL".

A step draws ``group`` responses y for each prompt x, scores them and follows the gradient of

    J = E[r(x, y)],    grad J = E[ sum_t (G_t - b) grad log p(y_t | x, y_<t) ],

G_t the return from token t on and b a baseline: the mean return of earlier steps (Williams), the reward of the greedy
response (Rennie et al. 2017) or the mean return of the prompt's other responses (Kool et al. 2019; Ahmadian et al.
2024). The loss is the mean over responses of sums over their tokens: dividing by lengths would be another gradient.

KL to the start is taken from each token's reward (its share comes back in the returns) or added to the loss. A
cross-entropy on references can be mixed in (Ranzato et al. 2016; Wu et al. 2016). With ``updates`` above 1 the later
ones see samples of an earlier policy, weighted by ``importance``.
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
    from rmbench.trainers.options import Reinforce

AVERAGE = "moving_average"


def train(agent: Agent, judgements: Judgements, options: Reinforce, session: Session) -> Trained:
    """Train a policy with REINFORCE (see ``rmbench.policy.Trainer``)."""
    return run(agent, judgements, options, session, step, reference=True)


def step(course: Course, number: int) -> dict[str, Any]:
    """Draw responses, follow the gradient of their rewards ``updates`` times, and return a row of the log."""
    options: Reinforce = course.options
    rollout = rollouts.drawn(course, number, old=False, greedy=options.baseline == "greedy")
    known = rollout.scored
    if rollout.greedy is not None:  # without the greedy response's reward there is no baseline
        known = known & rollout.greedy.isfinite().repeat_interleave(rollout.group)
    looker = Looker(course, rollout, known.nonzero()[:, 0].tolist())
    found: list[Tensor] = []  # the advantages, once the first look has found the drawing policy's KL

    def loss(some: Sequence[int]) -> Tensor:
        seen = looker.see(some)
        if not found:
            found.append(advantages(course, looker, known))
        return policy_loss(course, seen, looker, found[0])

    value = norm = None
    for _ in range(options.updates):
        value, norm = learn(course, looker, number, loss)
    return summary(looker, value, norm)


def policy_loss(course: Course, seen: Seen, looker: Looker, found: Tensor) -> Tensor:
    """Return the loss of some rows, divided by how many rows are learnt from: a scalar."""
    options: Reinforce = course.options
    old = seen.of(looker.old)
    if options.importance_level == "sequence":
        logp, before = estimators.masked_sum(seen.logp, seen.mask), estimators.masked_sum(old, seen.mask)
        weights = estimators.importance_weights(logp, before, options.importance, options.importance_cap)[:, None]
    else:
        weights = estimators.importance_weights(seen.logp, old, options.importance, options.importance_cap)
    terms = -weights * seen.of(found) * seen.logp - options.entropy * seen.entropy
    if options.kl and options.kl_in == "loss":
        terms = terms + options.kl * looker.away(seen)
    return estimators.masked_sum(terms, seen.mask).sum() / len(looker.rows)


def advantages(course: Course, looker: Looker, known: Tensor) -> Tensor:
    """Return G_t - b of each token, 0 beyond a response and in rows that are not known: (rows, T)."""
    options: Reinforce = course.options
    rollout = looker.rollout
    rewards = estimators.at_end(rollout.rewards, rollout.mask)
    if options.kl and options.kl_in == "reward":
        rewards = rewards - options.kl * looker.away()
    later = estimators.returns(torch.where(rollout.mask, rewards, 0.0), options.gamma)
    whole = later[:, 0]
    if options.baseline == "leave-one-out":
        base = whole - estimators.leave_one_out(whole, rollout.group, known)
        alone = known.reshape(-1, rollout.group).sum(1).repeat_interleave(rollout.group) < 2  # noqa: PLR2004 - a pair
        known = known & ~alone
    elif rollout.greedy is not None:
        base = rollout.greedy.nan_to_num(0.0).repeat_interleave(rollout.group)
    elif options.baseline == "moving-average":
        base = _average(course, whole, known)
    else:
        base = torch.zeros_like(whole)
    return torch.where(known[:, None] & rollout.mask, later - base[:, None], 0.0)


def _average(course: Course, whole: Tensor, known: Tensor) -> Tensor:
    """Return the mean return of earlier steps, of the step's other responses in the first, and bring it up to date."""
    average, mean = course.numbers.get(AVERAGE), float(whole[known].double().mean())
    course.numbers[AVERAGE] = estimators.moving_average(average, mean, course.options.baseline_decay)
    if average is None:
        return whole - estimators.leave_one_out(whole, len(whole), known)
    return torch.full_like(whole, average)
