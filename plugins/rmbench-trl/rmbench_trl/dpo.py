"""``trl-dpo``: TRL's DPOTrainer on pairs that the reward ranks, or on those of the task.

Rafailov et al. 2023, Direct Preference Optimization: Your Language Model is Secretly a Reward Model.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from rmbench.errors import InputError
from rmbench.models.training import order
from rmbench.policy import Decoding
from rmbench.trainers import updates
from rmbench_trl.prompts import answer_of, fitting, prompt_of
from rmbench_trl.running import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.course import Course
    from rmbench_trl.options import TrlDpo
    from rmbench_trl.watch import Watch

AT_ONCE = 64  # prompts that responses are drawn for


def train(agent: Agent, judgements: Judgements, options: TrlDpo, session: Session) -> Trained:
    """Train with TRL's DPOTrainer."""
    return run(agent, judgements, options, session, _made)


def _made(course: Course, watch: Watch, given: dict[str, Any]) -> DPOTrainer:
    options: Any = course.options
    agent, tokenizer = course.agent, course.agent.tokenizer
    if course.reference is None:
        raise InputError("there is no start to hold the policy to", where=updates.where(course))
    samples = fitting(course, course.samples)
    found = _drawn(course, samples) if options.pairs == "reward" else _stated(course, samples)
    rows = [
        {"prompt": prompt_of(tokenizer, sample), "chosen": answer_of(tokenizer, best),
         "rejected": answer_of(tokenizer, worst)}
        for sample, best, worst in found
    ]  # fmt: skip
    if not rows:
        raise InputError("there is no pair to learn from", where=updates.where(course), help=_help(course))
    size = options.micro_batch or options.batch
    return DPOTrainer(
        model=agent.model, ref_model=course.reference.model, processing_class=tokenizer, callbacks=[watch],
        train_dataset=Dataset.from_list(rows),
        args=DPOConfig(
            **given, per_device_train_batch_size=size, gradient_accumulation_steps=options.batch // size,
            max_length=getattr(agent.model.config.get_text_config(), "max_position_embeddings", None),
            beta=options.beta, loss_type=[options.loss], label_smoothing=options.label_smoothing,
        ),
        optimizers=(course.parts.optimizer, course.parts.schedule),
    )  # fmt: skip


def _help(course: Course) -> str:
    options: Any = course.options
    return "the task has none: pairs = reward" if options.pairs == "task" else "look at the reward with: rmbench score"


def _stated(course: Course, samples: Sequence[Sample]) -> Iterator[tuple[Sample, str, str]]:
    """Yield the task's own pairs."""
    train = course.judgements.train
    by_id = {sample.id: sample for sample in samples}
    for pair in train.pairs:
        sample = by_id.get(train.batch.groups[pair.better])
        if sample is not None:
            yield sample, train.batch.responses[pair.better], train.batch.responses[pair.worse]


def _drawn(course: Course, samples: Sequence[Sample]) -> Iterator[tuple[Sample, str, str]]:
    """Yield the best and the worst response of each prompt by the reward, where they differ."""
    options: Any = course.options
    decoding = Decoding(max_tokens=course.session.decoding.max_tokens, temperature=options.temperature)
    prompts = [samples[place] for place in order(len(samples), course.session.runtime.seed, 0)]
    prompts = prompts[: options.steps * options.batch]
    for first in range(0, len(prompts), AT_ONCE):
        some = prompts[first : first + AT_ONCE]
        drawn = course.agent.sample(some, options.group, decoding, seed=course.seed("pairs", first))
        repeated = [sample for sample in some for _ in range(options.group)]
        texts = [one.text for several in drawn for one in several]
        values = course.session.score(repeated, texts).values
        for place, sample in enumerate(some):
            rows = range(place * options.group, (place + 1) * options.group)
            known = [(value, texts[row]) for row in rows if (value := values[row]) is not None and math.isfinite(value)]
            if known and (best := max(known, key=_value))[0] > (worst := min(known, key=_value))[0]:
                yield sample, best[1], worst[1]


def _value(scored: tuple[float, str]) -> float:
    return scored[0]
