"""Responses that a policy draws for a step's prompts, with their rewards and log-probabilities."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from rmbench.errors import InputError
from rmbench.policy import Decoding
from rmbench.trainers import estimators, updates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.api import Sample
    from rmbench.policy import Agent, Response, Scored
    from rmbench.trainers.course import Course

PATIENCE = 3  # steps without a single score after which training is given up


@dataclass(frozen=True, slots=True)
class Rollout:
    """Responses of a step: rows are prompts times group, those of a prompt adjacent.

    Attributes:
        samples: of each row.
        responses: of each row.
        rewards: float32 (rows,), 0 where unscored.
        scored: bool (rows,); an unscored row enters no mean, no baseline and no gradient.
        ids: int64 (rows, T), 0 beyond a response.
        mask: bool (rows, T), True on a response's tokens.
        logp: float32 (rows, T), of the policy that drew, 0 beyond; None where nobody asked.
        ref_logp: of the start; None where there is no reference or ``kl`` is 0.
        group: rows of a prompt.
        greedy: float32 (prompts,), rewards of greedy responses, NaN where unscored; None where nobody asked.
    """

    samples: tuple[Sample, ...]
    responses: tuple[Response, ...]
    rewards: Tensor
    scored: Tensor
    ids: Tensor
    mask: Tensor
    logp: Tensor | None
    ref_logp: Tensor | None
    group: int = 1
    greedy: Tensor | None = None


def drawn(course: Course, step: int, *, old: bool, greedy: bool = False) -> Rollout:
    """Draw, score and look back (see ``Course.rollout``); ``greedy`` draws the likeliest response of each prompt too.

    Raises:
        InputError: nothing was scored in the first steps.
    """
    options = course.options
    prompts = course.prompts(step)
    with course.clock("rollout"):
        decoding = _decoding(course, options.temperature)
        drawn = course.agent.sample(prompts, options.group, decoding, seed=course.seed("rollout", step))
        samples = tuple(sample for sample in prompts for _ in range(options.group))
        responses = tuple(one for several in drawn for one in several)
        asked = [*responses]
        if greedy:
            best = course.agent.sample(prompts, 1, _decoding(course, 0.0), seed=course.seed("greedy", step))
            asked += [one for several in best for one in several]
        course.clock.tokens += sum(len(one.ids) for one in asked)
    with course.clock("scoring"):
        scored = course.session.score([*samples, *prompts][: len(asked)], [one.text for one in asked])
    rewards, known = values(scored, len(asked), course.device)
    rows = len(responses)
    _watch(course, rewards[:rows], known[:rows], scored)
    ids, mask = padded(responses, course.device)
    logp = ref_logp = None
    with course.clock("update"):
        if old:
            logp = likelihood(course, course.agent, samples, responses)
        if course.reference is not None and options.kl:
            ref_logp = likelihood(course, course.reference, samples, responses)
    wished = torch.where(known, rewards, math.nan)[rows:] if greedy else None
    return Rollout(
        samples, responses, rewards[:rows], known[:rows], ids, mask, logp, ref_logp, options.group, wished,
    )  # fmt: skip


def _decoding(course: Course, temperature: float) -> Decoding:
    wished = course.session.decoding
    return Decoding(max_tokens=wished.max_tokens, stop=wished.stop, temperature=temperature)


def values(scored: Scored, rows: int, device: str) -> tuple[Tensor, Tensor]:
    """Return rewards float32 (rows,), 0 where there is none, and which there are; what is not finite there is none."""
    if len(scored.values) != rows:
        raise ValueError(f"the reward gave {len(scored.values)} values for {rows} responses")
    found = [math.nan if one is None else float(one) for one in scored.values]
    rewards = torch.tensor(found, dtype=torch.float64, device=device).float()  # what is too large for it is infinite
    known = rewards.isfinite()
    return torch.where(known, rewards, 0.0), known


def padded(responses: Sequence[Response], device: str) -> tuple[Tensor, Tensor]:
    """Return ids and mask of responses, (rows, T), as ``Forward`` has them."""
    longest = max(1, *(len(one.ids) for one in responses)) if responses else 1
    ids = [[*one.ids] + [0] * (longest - len(one.ids)) for one in responses]
    lengths = torch.tensor([len(one.ids) for one in responses], device=device)
    mask = torch.arange(longest, device=device)[None, :] < lengths[:, None]
    return torch.tensor(ids, dtype=torch.int64, device=device), mask


def likelihood(course: Course, agent: Agent, samples: Sequence[Sample], responses: Sequence[Response]) -> Tensor:
    """Return log-probabilities (rows, T) of the responses' tokens, 0 beyond, at the training's temperature."""
    temperature = course.options.temperature

    def part(rows: Sequence[int]) -> Tensor:
        with torch.no_grad():
            seen = agent.forward([samples[row] for row in rows], [responses[row] for row in rows])
            return torch.where(seen.mask, estimators.logprobs(seen.logits, seen.ids, temperature), 0.0)

    parts = updates.in_parts(course, range(len(responses)), part)
    longest = max(one.shape[1] for one in parts)
    return torch.cat([torch.nn.functional.pad(one, (0, longest - one.shape[1])) for one in parts])


def _watch(course: Course, rewards: Tensor, known: Tensor, scored: Scored) -> None:
    """Count steps without differences and rows without scores; give up where nothing was ever scored."""
    course.count("rows", len(known))
    course.count("unscored_rows", int((~known).sum()))
    course.count("drawn_steps")
    if not known.any():
        course.count("unscored_steps")
    elif bool((rewards[known] == rewards[known][0]).all()):
        course.count("constant_steps")
    never = course.numbers["unscored_rows"] == course.numbers["rows"]
    if never and course.numbers["drawn_steps"] >= min(PATIENCE, course.options.steps):
        reason = next(iter(scored.reasons.values()), "no reason given")
        raise InputError(
            f"reward {course.session.reward!r} scored none of {course.numbers['rows']:.0f} responses: {reason}",
            where=updates.where(course), help="look at the reward on this task with: rmbench score",
        )  # fmt: skip
