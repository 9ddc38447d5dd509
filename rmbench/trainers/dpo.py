"""Direct preference optimisation: Rafailov et al. 2023, "Your language model is secretly a reward model".

A step takes pairs of responses y+, y- to one prompt and follows the gradient of the mean over pairs of

    -log sigmoid(beta d),    d = log p(y+)/start(y+) - log p(y-)/start(y-),

or of another loss of d (Azar et al. 2024). The pairs are the task's own (``pairs = "task"``), or of ``group`` responses
to each prompt the best and the worst by the reward, drawn from the start (as in the paper) or from the policy as it is
(Guo et al. 2024). Prompts whose scored responses all have one reward, or of which fewer than two are scored, give no
pair. Probabilities are those at temperature 1, whatever the responses were drawn at. Left out on purpose: more than one
pair of a prompt's responses, which would share their noise.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, cast

import torch
from torch.nn import functional

from rmbench.errors import InputError
from rmbench.models.training import order
from rmbench.trainers import estimators, updates
from rmbench.trainers.loop import Course, run

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Response, Session, Trained
    from rmbench.trainers.pair_options import Dpo, PairKind


@dataclass(frozen=True, slots=True)
class Chosen:
    """Two responses to a prompt, the better one first."""

    sample: Sample
    better: Response
    worse: Response


def train(agent: Agent, judgements: Judgements, options: Dpo, session: Session) -> Trained:
    """Train a policy on pairs (see ``rmbench.policy.Trainer``)."""
    if options.pairs == "task" and not of_task(judgements):
        raise InputError(
            "has no pairs of responses to a prompt to learn from", where=f"task {judgements.task.name!r}, train",
            help='state preferences or ratings that differ there, or set pairs = "reward"',
        )  # fmt: skip
    return run(agent, judgements, options, session, step, reference=True)


def step(course: Course, number: int) -> dict[str, Any]:
    """Take the step's pairs, follow the gradient of their loss, and return a row of the log."""
    options = cast("Dpo", course.options)
    pairs, told = by_task(course, number) if options.pairs == "task" else by_reward(course, number)
    loss = norm = None
    ahead = torch.zeros(len(pairs), device=course.device)
    if pairs:
        with course.clock("update"):
            start = torch.cat(updates.in_parts(course, range(len(pairs)), lambda some: frozen(course, pairs, some)))

            def part_loss(some: Sequence[int]) -> Tensor:
                ratios = log_probabilities(course.agent, [pairs[row] for row in some]) - start[list(some)]
                ahead[list(some)] = (ratios[:, 0] - ratios[:, 1]).detach()
                if options.loss == "ipo":
                    ratios = ratios / lengths([pairs[row] for row in some], course.device)
                losses = pair_losses(
                    ratios[:, 0], ratios[:, 1], beta=options.beta, kind=options.loss, smoothing=options.label_smoothing
                )
                return losses.sum() / len(pairs)

            tokens = sum(len(pair.better.ids) + len(pair.worse.ids) for pair in pairs)
            loss, norm = course.minimise(range(len(pairs)), part_loss, tokens=tokens)
    return {"loss": loss, "grad_norm": norm} | told | {
        "pairs": len(pairs),
        "accuracy": float((ahead > 0).double().mean()) if pairs else None,
        "margin": options.beta * float(ahead.double().mean()) if pairs else None,
    }  # fmt: skip


def pair_losses(better: Tensor, worse: Tensor, *, beta: float, kind: PairKind, smoothing: float = 0.0) -> Tensor:
    """Return the loss of each pair, (pairs,), from the log-ratios log p(y) - log start(y) of its two texts.

    With d = better - worse:

    - ``sigmoid``: -(1 - smoothing) log sigmoid(beta d) - smoothing log sigmoid(-beta d). Rafailov et al. 2023,
      equation 7; ``smoothing`` is the share of pairs that are taken to be the wrong way round (Mitchell 2023).
    - ``ipo``: (d - 1 / (2 beta))^2, Azar et al. 2024, equation 17, beta being their tau. The log-ratios are then means
      over tokens, as in TRL (its authors say that the paper's results are of that form).
    """
    ahead = better - worse
    if kind == "ipo":
        return (ahead - 1 / (2 * beta)) ** 2
    right, wrong = functional.logsigmoid(beta * ahead), functional.logsigmoid(-beta * ahead)
    return -(1 - smoothing) * right - smoothing * wrong


def by_reward(course: Course, number: int) -> tuple[list[Chosen], dict[str, Any]]:
    """Return of each prompt's drawn responses the best and the worst, and what the log says of them."""
    options = cast("Dpo", course.options)
    drawer = course.agent if options.draw == "policy" else cast("Agent", course.reference)
    rollout = replace(course, agent=drawer, reference=None).rollout(number, old=False)
    rewards, scored = rollout.rewards.double().tolist(), rollout.scored.tolist()
    pairs = []
    for first in range(0, len(rewards), options.group):
        known = [row for row in range(first, first + options.group) if scored[row]]
        if known:
            best, worst = max(known, key=rewards.__getitem__), min(known, key=rewards.__getitem__)
            if rewards[best] > rewards[worst]:
                pairs.append(Chosen(rollout.samples[best], rollout.responses[best], rollout.responses[worst]))
    there = [reward for reward, known in zip(rewards, scored, strict=True) if known]
    tokens = sum(len(response.ids) for response in rollout.responses)
    return pairs, {
        "reward": math.fsum(there) / len(there) if there else None, "unscored": len(scored) - len(there),
        "kl": None, "entropy": None, "length": tokens / len(rewards),
    }  # fmt: skip


def by_task(course: Course, number: int) -> tuple[list[Chosen], dict[str, Any]]:
    """Return the step's pairs of the task's train split, in seeded epochs, and what the log says of them."""
    every, batch, seed = of_task(course.judgements), course.options.batch, course.session.runtime.seed
    places = range((number - 1) * batch, number * batch)
    orders = {epoch: order(len(every), seed, epoch) for epoch in {at // len(every) for at in places}}
    most, texts = course.session.decoding.max_tokens, course.judgements.train.batch.responses
    pairs = []
    for sample, better, worse in (every[orders[at // len(every)][at % len(every)]] for at in places):
        two = course.agent.encode(texts[better], most), course.agent.encode(texts[worse], most)
        pairs.append(Chosen(sample, *two))
    tokens = sum(len(pair.better.ids) + len(pair.worse.ids) for pair in pairs)
    return pairs, {"reward": None, "unscored": 0, "kl": None, "entropy": None, "length": tokens / (2 * len(pairs))}


def of_task(judgements: Judgements) -> list[tuple[Sample, int, int]]:
    """Return the pairs of train whose prompt is not empty: the sample, and the rows of the better and worse text."""
    train = judgements.train
    samples = {sample.id: sample for sample in train.samples if sample.prompt.strip()}
    groups = train.batch.groups
    return [
        (samples[groups[one.better]], one.better, one.worse) for one in train.pairs if groups[one.better] in samples
    ]


def log_probabilities(agent: Agent, pairs: Sequence[Chosen]) -> Tensor:
    """Return log p(y) of both responses of each pair, (pairs, 2), better first."""
    samples = [pair.sample for pair in pairs for _ in range(2)]
    seen = agent.forward(samples, [one for pair in pairs for one in (pair.better, pair.worse)])
    return estimators.masked_sum(estimators.logprobs(seen.logits, seen.ids), seen.mask).reshape(-1, 2)


def lengths(pairs: Sequence[Chosen], device: str) -> Tensor:
    """Return the tokens of both responses, (pairs, 2), at least 1."""
    counts = [[max(1, len(pair.better.ids)), max(1, len(pair.worse.ids))] for pair in pairs]
    return torch.tensor(counts, device=device)


def frozen(course: Course, pairs: Sequence[Chosen], some: Sequence[int]) -> Tensor:
    """Return the start's log-probabilities of some of the pairs, (some, 2), without gradient."""
    with torch.no_grad():
        return log_probabilities(cast("Agent", course.reference), [pairs[row] for row in some])
