"""``trl-grpo`` and ``trl-rloo``: TRL's trainers that draw responses and have a reward of rmbench score them.

GRPO: Shao et al. 2024, DeepSeekMath. RLOO: Ahmadian et al. 2024, Back to Basics.
"""

from __future__ import annotations

import tempfile
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from datasets import Dataset
from trl import GRPOConfig, GRPOTrainer, RLOOConfig, RLOOTrainer

from rmbench.errors import InputError
from rmbench.trainers import rollouts, updates
from rmbench_trl.prompts import fitting, prompt_of, text_of
from rmbench_trl.running import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rmbench.api import Sample
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.course import Course
    from rmbench_trl.options import TrlGrpo, TrlOnPolicy, TrlRloo
    from rmbench_trl.watch import Watch

PATIENCE = 3  # steps without a single score after which training is given up


def grpo(agent: Agent, judgements: Judgements, options: TrlGrpo, session: Session) -> Trained:
    """Train with TRL's GRPOTrainer."""
    own = {
        "scale_rewards": options.scale, "loss_type": options.normalisation,
        "epsilon_high": options.epsilon_high or options.epsilon,
    }  # fmt: skip
    return run(agent, judgements, options, session, partial(_made, (GRPOTrainer, GRPOConfig), own))


def rloo(agent: Agent, judgements: Judgements, options: TrlRloo, session: Session) -> Trained:
    """Train with TRL's RLOOTrainer."""
    own = {"normalize_advantages": options.standardise, "epsilon_high": options.epsilon_high or options.epsilon}
    return run(agent, judgements, options, session, partial(_made, (RLOOTrainer, RLOOConfig), own))


def _made(kind: tuple[Any, Any], own: dict[str, Any], course: Course, watch: Watch, given: dict[str, Any]) -> Any:
    """Return a trainer of TRL on the prompts of train; its reference is made of the policy as it stands."""
    options: Any = course.options
    agent, tokenizer = course.agent, course.agent.tokenizer
    samples = fitting(course, course.samples)
    if len(samples) < options.batch:
        raise InputError(
            f"train has {len(samples)} prompts, a step takes {options.batch}", where=updates.where(course),
            help=f"batch = {len(samples)}",
        )  # fmt: skip
    rows = options.batch * options.group
    size = options.micro_batch or rows
    trainer, config = kind
    _timed(course)
    with _start(course):
        return trainer(
            model=agent.model, processing_class=tokenizer, callbacks=[watch],
            reward_funcs=[_reward(course, samples, watch)],
            train_dataset=Dataset.from_list([
                {"prompt": prompt_of(tokenizer, sample), "row": row} for row, sample in enumerate(samples)
            ]),
            args=config(
                **given, **own, per_device_train_batch_size=size, gradient_accumulation_steps=rows // size,
                num_generations=options.group, max_completion_length=course.session.decoding.max_tokens,
                temperature=options.temperature, beta=options.kl, num_iterations=options.updates,
                epsilon=options.epsilon, mask_truncated_completions=options.mask_unfinished, disable_dropout=True,
            ),
            optimizers=(course.parts.optimizer, course.parts.schedule),
        )  # fmt: skip


@contextmanager
def _start(course: Course) -> Iterator[None]:
    """Let TRL, which loads the reference by the model's name, find the policy as it stands."""
    config, options = course.agent.model.config, cast("TrlOnPolicy", course.options)
    name = config._name_or_path  # noqa: SLF001 - TRL asks for it
    with tempfile.TemporaryDirectory() as folder:
        if options.kl:
            course.agent.save(Path(folder))
        config._name_or_path = folder  # noqa: SLF001 - as above
        try:
            yield
        finally:
            config._name_or_path = name  # noqa: SLF001 - as above


def _timed(course: Course) -> None:
    """Count the time that the model draws in; the model's own method comes back with ``settings.as_it_was``."""
    model = course.agent.model
    generate = model.generate

    def timed(*given: Any, **named: Any) -> Any:
        with course.clock("rollout"):
            return generate(*given, **named)

    model.generate = timed


def _reward(course: Course, samples: Sequence[Sample], watch: Watch) -> Callable[..., list[float | None]]:
    """Return the session's reward as a reward function of TRL: None where a row has no score."""

    def reward(
        prompts: Sequence[Any], completions: Sequence[Any], completion_ids: Sequence[Sequence[int]], row: Sequence[int],
        **_: Any,
    ) -> list[float | None]:  # fmt: skip
        with course.clock("scoring"):
            scored = course.session.score([samples[one] for one in row], [text_of(one) for one in completions])
        values, known = rollouts.values(scored, len(prompts), "cpu")
        tokens = sum(map(len, completion_ids))
        course.clock.tokens += tokens
        course.numbers["drawn_tokens"] = tokens
        watch.rewards = {
            "reward": float(values[known].double().mean()) if known.any() else None, "unscored": int((~known).sum()),
        }  # fmt: skip
        _watch(course, known.tolist(), scored.reasons.values())
        return [value if there else None for value, there in zip(values.tolist(), known.tolist(), strict=True)]

    reward.__name__ = course.session.reward or "reward"
    return reward


def _watch(course: Course, known: Sequence[bool], reasons: Any) -> None:
    """Give up where nothing was ever scored."""
    course.count("scored_rows", sum(known))
    course.count("drawn_steps")
    steps: int = course.options.steps
    if not course.numbers["scored_rows"] and course.numbers["drawn_steps"] >= min(PATIENCE, steps):
        raise InputError(
            f"reward {course.session.reward!r} scored no response: {next(iter(reasons), 'no reason given')}",
            where=updates.where(course), help="look at the reward on this task with: rmbench score",
        )  # fmt: skip
