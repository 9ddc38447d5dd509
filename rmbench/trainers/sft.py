"""Maximum likelihood: supervised fine-tuning on references, and pre-training on raw text.

The loss is the mean over a batch's tokens of -log p(token | what is before it), of the references alone (each reference
an example, given its prompt), of prompts and references, or of raw texts. ``smoothing`` gives every other token a share
of the target (Szegedy et al. 2016). Batches hold about equal numbers of tokens, of examples of like length, so that
little is padding; their order is drawn anew in each epoch. The weights with the least loss on dev are kept.

Left out on purpose: packing of several texts into one row, which would let them see each other or need a block mask.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from rmbench.errors import InputError
from rmbench.models.training import order
from rmbench.policy import Response
from rmbench.trainers import updates
from rmbench.trainers.evaluation import chosen
from rmbench.trainers.evaluation import evaluate as on_prompts
from rmbench.trainers.loop import Course, run

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from torch import Tensor

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.options import Sft

POOL = 64  # batches' worth of examples that are sorted by length together
WINDOW = 256  # tokens of a raw text where nothing else is said
DEV = 4  # examples of dev for each of evaluation_prompts: a pass costs less than a response


@dataclass(frozen=True, slots=True)
class Example:
    """A text to learn, after its prompt's sample or alone (None); ``length`` is in tokens, the prompt's among them."""

    sample: Sample | None
    text: Response
    length: int


def train(agent: Agent, judgements: Judgements, options: Sft, session: Session) -> Trained:
    """Train a policy on texts (see ``rmbench.policy.Trainer``)."""
    most = options.max_tokens or (WINDOW if options.learn == "texts" else session.decoding.max_tokens)
    learnt = examples(agent, judgements.train.samples, options.learn, most)
    if not learnt:
        what = "texts" if options.learn == "texts" else "references"
        raise InputError(f"has no {what} to learn", where=f"task {judgements.task.name!r}, train")
    batches = Batches(learnt, options.batch, session.runtime.seed)

    def step(course: Course, number: int) -> dict[str, Any]:
        some = batches.of(number)
        tokens = sum(len(one.text.ids) for one in some)
        agent.module.train()
        with course.clock("update"):
            loss, norm = course.minimise(
                range(len(some)),
                lambda rows: cross_entropy(agent, [some[row] for row in rows], options.smoothing) / tokens,
                tokens=tokens,
            )
        agent.module.eval()
        return {"loss": loss, "grad_norm": norm, "tokens": tokens}

    def evaluate(course: Course) -> dict[str, Any]:
        if not held:
            held.extend(examples(agent, chosen(course, DEV * options.evaluation_prompts), options.learn, most))
        row = {} if options.learn == "texts" else on_prompts(course)  # raw text teaches no responses to prompts
        return {"dev_loss": dev_loss(course, held, options.batch), **row}

    held: list[Example] = []
    return run(agent, judgements, options, session, step, evaluate=evaluate, best="dev_loss")


def examples(agent: Agent, samples: Iterable[Sample], learn: str, most: int) -> list[Example]:
    """Return what is learnt of samples, in their order (see ``Sft.learn``); texts that are empty are left out.

    Args:
        agent: the policy, whose tokens they are cut into.
        samples: with references, but for raw texts.
        learn: ``responses``, ``sequences`` or ``texts``.
        most: tokens of a text. A raw text goes on in further windows, another is cut.
    """
    found: list[Example] = []
    seen: set[str] = set()
    for sample in samples:
        if learn == "texts":
            texts = [one for one in (sample.prompt, sample.context or "", *sample.references) if one.strip()]
            for text in texts:
                if text not in seen:
                    found += [Example(None, window, len(window.ids)) for window in windows(agent.encode(text), most)]
            seen.update(texts)
            continue
        references = [one for one in sample.references if one.strip()]
        if not references or not sample.prompt.strip():
            continue
        prompt = agent.encode(sample.prompt)
        if learn == "sequences" and sample.prompt not in seen:
            found += [Example(None, window, len(window.ids)) for window in windows(unended(prompt), WINDOW)]
            seen.add(sample.prompt)
        for reference in references:
            answer = agent.encode(reference, most)
            found.append(Example(sample, answer, len(prompt.ids) + len(answer.ids)))
    return found


def unended(text: Response) -> Response:
    """Return a text without its end token: a prompt goes on with the response."""
    return Response(text.text, text.ids[:-1], finished=False) if text.finished else text


def windows(text: Response, most: int) -> list[Response]:
    """Return a text's tokens in pieces of at most so many; the last one ends as the text does."""
    places = range(0, len(text.ids), most)
    return [
        Response(text.text if len(places) == 1 else "", text.ids[at : at + most], text.finished and at == places[-1])
        for at in places
    ]


@dataclass(slots=True)
class Batches:
    """Batches of examples of like length, about equal in tokens: a function of the examples, the seed and the step.

    Attributes:
        examples: all.
        size: examples of a batch on average.
        seed: of their order.
        epoch, batches: the newest epoch, and its batches.
        before: steps before that epoch.
    """

    examples: Sequence[Example]
    size: int
    seed: int
    epoch: int = -1
    before: int = 0
    batches: list[list[int]] = field(default_factory=list)

    def of(self, step: int) -> list[Example]:
        """Return the examples of a step, from 1; steps are asked for in ascending order."""
        while self.before + len(self.batches) < step:
            self.before += len(self.batches)
            self.epoch += 1
            self.batches = list(self._drawn(self.epoch))
        return [self.examples[place] for place in self.batches[step - 1 - self.before]]

    def _drawn(self, epoch: int) -> Iterator[list[int]]:
        """Yield the batches of an epoch."""
        places = order(len(self.examples), self.seed, epoch)
        lengths = [one.length for one in self.examples]
        budget = self.size * math.fsum(lengths) / len(lengths)
        pool = POOL * self.size
        drawn: list[list[int]] = []
        for first in range(0, len(places), pool):
            some: list[int] = []
            for place in sorted(places[first : first + pool], key=lambda at: lengths[at]):
                if some and lengths[place] * (len(some) + 1) > budget:  # the longest is the last: padding counts
                    drawn.append(some)
                    some = []
                some.append(place)
            drawn.append(some)
        for at in order(len(drawn), self.seed, -1 - epoch):
            yield drawn[at]


def cross_entropy(agent: Agent, some: Sequence[Example], smoothing: float = 0.0) -> Tensor:
    """Return the sum over the texts' tokens of -log p(token), in nats: a scalar."""
    total: Tensor | None = None
    for alone in (False, True):
        those = [one for one in some if (one.sample is None) is alone]
        if not those:
            continue
        samples = None if alone else [one.sample for one in those if one.sample is not None]
        seen = agent.forward(samples, [one.text for one in those])
        targets = torch.where(seen.mask, seen.ids, -100).reshape(-1)
        logits = seen.logits.reshape(-1, seen.logits.shape[-1])
        part = functional.cross_entropy(logits, targets, reduction="sum", label_smoothing=smoothing)
        total = part if total is None else total + part
    if total is None:
        raise ValueError("no examples")
    return total


def dev_loss(course: Course, held: Sequence[Example], batch: int) -> float | None:
    """Return the mean over tokens of dev of -log p(token), without smoothing; None where dev has nothing."""
    tokens = sum(len(one.text.ids) for one in held)
    if not tokens:
        return None
    places = sorted(range(len(held)), key=lambda at: held[at].length)

    def part(rows: Sequence[int]) -> float:
        with torch.no_grad():
            return cross_entropy(course.agent, [held[places[row]] for row in rows]).item()

    parts = (
        updates.in_parts(course, range(first, min(first + batch, len(held))), part)
        for first in range(0, len(held), batch)
    )
    return math.fsum(value for some in parts for value in some) / tokens
