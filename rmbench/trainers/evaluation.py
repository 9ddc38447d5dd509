"""How far a policy is: what it draws for prompts of dev, as the reward and the judges see it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from rmbench.models.training import order
from rmbench.policy import Decoding
from rmbench.trainers import estimators, updates

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.api import Sample
    from rmbench.policy import Response, Scored
    from rmbench.trainers.course import Course

ROWS = 16  # of a forward pass with logits of policy and start


def evaluate(course: Course) -> dict[str, Any]:
    """Return a row of the curve: one response, drawn at temperature 1, for each of a fixed choice of dev's prompts.

    Returns:
        reward (mean of the scored), judges (name to mean), unscored, kl (nats a response, exact at each token of it,
        to the start), kl_per_token, entropy (nats a token), length (words), distinct-2,
        finished (share); None where undefined.
    """
    samples = chosen(course, course.options.evaluation_prompts)
    wished = course.session.decoding
    decoding = Decoding(max_tokens=wished.max_tokens, stop=wished.stop, temperature=1.0)
    drawn = course.agent.sample(samples, 1, decoding, seed=course.seed("evaluation", 0)) if samples else []
    responses = [one for one, *_ in drawn]
    texts = [one.text for one in responses]
    judged = course.session.judge(samples, texts) if samples else {}
    mine = judged.get(course.session.reward or "")
    judges = {name: mean(scored) for name, scored in judged.items() if name != course.session.reward}
    unscored = None if mine is None else sum(one is None for one in mine.values)
    words = [len(text.split()) for text in texts]
    return {
        "reward": None if mine is None else mean(mine), "judges": judges, "unscored": unscored,
        **divergence(course, samples, responses), "length": _average(words), "distinct-2": distinct(texts, 2),
        "finished": _average([one.finished for one in responses]),
    }  # fmt: skip


def chosen(course: Course, most: int) -> list[Sample]:
    """Return samples of dev with a prompt, the same in every evaluation of every seed."""
    samples = [sample for sample in course.judgements.dev.samples if sample.prompt.strip()]
    places = sorted(order(len(samples), 0, 0)[:most])
    return [samples[place] for place in places]


def divergence(course: Course, samples: Sequence[Sample], responses: Sequence[Response]) -> dict[str, float | None]:
    """Return KL to the start and entropy of responses."""
    reference = course.reference
    kl: list[float] = []
    entropies: list[float] = []
    tokens = 0

    def part(rows: Sequence[int]) -> tuple[list[float], list[float], int]:
        given = [samples[row] for row in rows], [responses[row] for row in rows]
        with torch.no_grad():
            seen = course.agent.forward(*given)
            entropy = estimators.masked_sum(estimators.entropy(seen.logits), seen.mask).double().tolist()
            if reference is None:
                return [], entropy, int(seen.mask.sum())
            away = estimators.exact_kl(seen.logits, reference.forward(*given).logits, seen.mask).double().tolist()
        return away, entropy, int(seen.mask.sum())

    for first in range(0, len(responses), ROWS):
        for away, entropy, count in updates.in_parts(course, range(first, min(first + ROWS, len(responses))), part):
            kl += away
            entropies += entropy
            tokens += count
    return {
        "kl": _average(kl),
        "kl_per_token": math.fsum(kl) / tokens if kl and tokens else None,
        "entropy": math.fsum(entropies) / tokens if tokens else None,
    }


def mean(scored: Scored) -> float | None:
    """Return the mean of the values that there are; None where there are none."""
    return _average([value for value in scored.values if value is not None and math.isfinite(value)])


def _average(values: Sequence[float]) -> float | None:
    return math.fsum(values) / len(values) if values else None


def distinct(texts: Sequence[str], n: int) -> float | None:
    """Return the share of distinct n-grams of words among all of the texts' (Li et al. 2016); None without any."""
    grams = [gram for words in map(str.split, texts) for gram in zip(*(words[at:] for at in range(n)), strict=False)]
    return len(set(grams)) / len(grams) if grams else None
