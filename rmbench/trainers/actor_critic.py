"""Advantage actor-critic: Mnih et al. 2016, "Asynchronous methods for deep reinforcement learning", in step (A2C).

A step draws ``group`` responses for each prompt and scores them. A token's reward is its response's where it is the
last one, less ``kl`` times the KL estimate to the start (where ``kl_in`` is ``reward``). A linear head on the policy's
last hidden state says what each state is worth, V; then the gradient is that of the mean over tokens of

    A log p(token) - value_weight (V - G)^2 / 2,

A = G - V the advantage with G the n-step return, or A generalised estimates (Schulman et al. 2016) and G = A + V. KL to
the start can be in the loss instead, entropy is added, a cross-entropy on references can be mixed in; with ``updates``
above 1 the later ones see samples of an earlier policy, weighted by ``importance``. Rows without a score enter nothing.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, cast

import torch

from rmbench.trainers import estimators, values
from rmbench.trainers.critic import Valued, ValueHead, value_head, valued
from rmbench.trainers.loop import Course, run
from rmbench.trainers.steps import Looker, Seen, learn, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.critic_options import ActorCritic


def train(agent: Agent, judgements: Judgements, options: ActorCritic, session: Session) -> Trained:
    """Train a policy with A2C (see ``rmbench.policy.Trainer``)."""
    head = value_head(agent, judgements, options, session)
    return run(agent, judgements, options, session, step, extra=head, reference=True)


def step(course: Course, number: int) -> dict[str, Any]:
    """Draw responses, follow the gradient of advantages ``updates`` times, and return a row of the log."""
    options, head = cast("ActorCritic", course.options), cast("ValueHead", course.extra)
    seen = valued(course, course.rollout(number, old=False), kl=options.kl)
    advantages = advantages_of(seen, options)
    returns = advantages + seen.values
    if options.whiten:
        advantages = values.whitened(advantages, seen.mask)
    looker = Looker(course, seen.rollout, seen.rows, old=seen.logp)
    errors, tokens = torch.zeros_like(seen.rollout.rewards), int(seen.mask.sum())

    def loss(some: Sequence[int]) -> Tensor:
        now = looker.see(some)
        guess, before, wanted = (one / head.scale for one in (head(now.hidden), now.of(seen.values), now.of(returns)))
        error = values.value_losses(guess, before, wanted, clip=0.0)
        errors[now.rows] = estimators.masked_sum(error.detach(), now.mask)
        terms = -weights(now, now.of(seen.logp), options) * now.of(advantages) * now.logp
        terms = terms + options.value_weight * error - options.entropy * now.entropy
        if options.kl and options.kl_in == "loss" and seen.ref_logp is not None:
            terms = terms + options.kl * estimators.KL[options.kl_estimator](now.logp, now.of(seen.ref_logp))
        return estimators.masked_sum(terms, now.mask).sum() / tokens

    value = norm = None
    for _ in range(options.updates):
        value, norm = learn(course, looker, number, loss)
    return summary(looker, value, norm) | {
        "value_loss": float(errors.double().sum()) / tokens if tokens else None,
        "explained_variance": values.explained_variance(seen.values, returns, seen.mask),
    }


def advantages_of(seen: Valued, options: ActorCritic) -> Tensor:
    """Return the advantage of each token, (rows, T), 0 where nothing is learnt."""
    if options.advantage == "gae":
        return values.gae(seen.rewards, seen.values, seen.mask, gamma=options.gamma, lam=options.lam)
    return values.n_step(seen.rewards, seen.values, seen.mask, gamma=options.gamma, n=options.n) - seen.values


def weights(now: Seen, old: Tensor, options: ActorCritic) -> Tensor:
    """Return the importance weight of each token, or of its whole response: (some, t) or (some, 1)."""
    logp = now.logp
    if options.importance_level == "sequence":
        logp, old = (estimators.masked_sum(one, now.mask)[:, None] for one in (logp, old))
    return estimators.importance_weights(logp, old, options.importance, options.importance_cap)
