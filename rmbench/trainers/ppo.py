"""PPO: Schulman et al. 2017, "Proximal policy optimization algorithms", of texts as in Ziegler et al. 2019.

A step draws ``group`` responses for each prompt and scores them. A token's reward is its response's where it is the
last one, less ``kl`` times the KL estimate to the start (where ``kl_in`` is ``reward``); advantages A are generalised
estimates from a value head (Schulman et al. 2016), whitened. Then ``epochs`` passes over the rollout, in
``minibatches``, maximise the mean over tokens of

    min(ratio A, clip(ratio, 1 - epsilon, 1 + epsilon) A),    ratio = p(token) / p_drawn(token),

less ``value_weight`` times the value loss (clipped as in the authors' own implementation) and ``kl`` times the KL
estimate (where ``kl_in`` is ``loss``), plus ``entropy`` times the entropy. Rows without a score enter nothing. The
epochs end early where the policy is ``target_kl`` nats a token from the one that drew. Left out on purpose: a second
network for the values (the head reads the policy's last hidden state), and rewards over their running deviation.
"""

from __future__ import annotations

import random
from itertools import pairwise
from typing import TYPE_CHECKING, Any, cast

import torch

from rmbench.trainers import estimators, values
from rmbench.trainers.critic import ValueHead, value_head, valued
from rmbench.trainers.loop import Course, run
from rmbench.trainers.steps import Looker, learn, summary

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.critic_options import Ppo

COEFFICIENT = "kl_coefficient"  # of the course's numbers
MOST = 0.2  # of the KL's relative error that one step answers to (Ziegler et al. 2019)


def train(agent: Agent, judgements: Judgements, options: Ppo, session: Session) -> Trained:
    """Train a policy with PPO (see ``rmbench.policy.Trainer``)."""
    head = value_head(agent, judgements, options, session)
    return run(agent, judgements, options, session, step, extra=head, reference=True)


def step(course: Course, number: int) -> dict[str, Any]:
    """Draw responses, learn from them by epochs and minibatches, and return a row of the log."""
    options, head = cast("Ppo", course.options), cast("ValueHead", course.extra)
    kl = course.numbers.get(COEFFICIENT, options.kl)
    seen = valued(course, course.rollout(number, old=False), kl=kl)
    advantages = values.gae(seen.rewards, seen.values, seen.mask, gamma=options.gamma, lam=options.lam)
    returns = advantages + seen.values
    if options.whiten:
        advantages = values.whitened(advantages, seen.mask)
    whole = Looker(course, seen.rollout, seen.rows, old=seen.logp)
    told = {name: torch.zeros_like(seen.rollout.rewards) for name in ("clipped", "away", "value_loss")}
    loss = norm = None
    epochs = 0
    while epochs < options.epochs and seen.rows:
        for part in minibatches(seen.rows, options.minibatches, course.seed(f"epoch {epochs}", number)):
            looker = Looker(course, seen.rollout, part, old=seen.logp)
            tokens = int(seen.mask[part].sum())

            def part_loss(some: Sequence[int], looker: Looker = looker, tokens: int = tokens) -> Tensor:
                now = looker.see(some)
                log_ratio = now.logp - now.of(seen.logp)
                gain = estimators.clipped_surrogate(
                    log_ratio.exp(), now.of(advantages), options.epsilon, options.epsilon
                )
                guess, before, wanted = (
                    one / head.scale for one in (head(now.hidden), now.of(seen.values), now.of(returns))
                )
                error = values.value_losses(guess, before, wanted, clip=options.value_clip)
                terms = -gain + options.value_weight * error - options.entropy * now.entropy
                if kl and options.kl_in == "loss" and seen.ref_logp is not None:
                    terms = terms + kl * estimators.KL[options.kl_estimator](now.logp, now.of(seen.ref_logp))
                beyond = ((log_ratio.exp() - 1).abs() > options.epsilon).float()
                away = estimators.kl_k3(now.of(seen.logp), now.logp)
                for name, what in (("clipped", beyond), ("away", away), ("value_loss", error)):
                    told[name][now.rows] = estimators.masked_sum(what.detach(), now.mask)
                return estimators.masked_sum(terms, now.mask).sum() / tokens

            loss, norm = learn(course, looker, number, part_loss)
            whole.entropy[part] = looker.entropy[part]
        epochs += 1
        away = per_token(told["away"], seen.mask)
        if options.target_kl and away is not None and away > options.target_kl:
            break
    row = summary(whole, loss, norm)
    if options.kl_control == "adaptive" and row["kl"] is not None:
        course.numbers[COEFFICIENT] = adapted(kl, row["kl"], options.kl_target, options.kl_rate)
    return row | {
        "kl_coefficient": kl, "epochs": epochs, "clip_share": per_token(told["clipped"], seen.mask),
        "kl_drawn": per_token(told["away"], seen.mask), "value_loss": per_token(told["value_loss"], seen.mask),
        "explained_variance": values.explained_variance(seen.values, returns, seen.mask),
    }  # fmt: skip


def minibatches(rows: Sequence[int], count: int, seed: int) -> list[list[int]]:
    """Return the rows in a seeded order, in as many parts of about equal size, none of them empty."""
    order = list(rows)
    if count > 1:
        random.Random(seed).shuffle(order)  # noqa: S311 - an order, not a secret
    ends = [len(order) * part // count for part in range(count + 1)]
    return [order[first:last] for first, last in pairwise(ends) if first < last]


def adapted(coefficient: float, kl: float, target: float, rate: float) -> float:
    """Return the KL coefficient after a step whose responses were ``kl`` nats from the start.

    Ziegler et al. 2019, section 2.2: coefficient * (1 + rate * clip(kl / target - 1, -0.2, 0.2)); their rate is 0.1.
    """
    return coefficient * (1 + rate * min(MOST, max(-MOST, kl / target - 1)))


def per_token(sums: Tensor, mask: Tensor) -> float | None:
    """Return the mean over tokens of sums by row; None where there are no tokens."""
    tokens = int(mask.sum())
    return float(sums.double().sum()) / tokens if tokens else None
