"""``trl-sft``: TRL's SFTTrainer on the references of train, given their prompts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from datasets import Dataset
from trl import SFTConfig, SFTTrainer

from rmbench.errors import InputError
from rmbench.trainers import updates
from rmbench_trl.prompts import answer_of, fitting, prompt_of
from rmbench_trl.running import run

if TYPE_CHECKING:
    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session, Trained
    from rmbench.trainers.course import Course
    from rmbench_trl.options import TrlSft
    from rmbench_trl.watch import Watch


def train(agent: Agent, judgements: Judgements, options: TrlSft, session: Session) -> Trained:
    """Train with TRL's SFTTrainer."""
    return run(agent, judgements, options, session, _made)


def _made(course: Course, watch: Watch, given: dict[str, Any]) -> SFTTrainer:
    options: Any = course.options
    agent, tokenizer = course.agent, course.agent.tokenizer
    rows = [
        {"prompt": prompt_of(tokenizer, sample), "completion": answer_of(tokenizer, text)}
        for sample in fitting(course, course.samples) for text in sample.references
    ]  # fmt: skip
    if not rows:
        raise InputError("train has no references", where=updates.where(course), help="trl-sft learns references")
    size = options.micro_batch or options.batch
    return SFTTrainer(
        model=agent.model, processing_class=tokenizer, callbacks=[watch], train_dataset=Dataset.from_list(rows),
        args=SFTConfig(
            **given, per_device_train_batch_size=size, gradient_accumulation_steps=options.batch // size,
            max_length=getattr(agent.model.config.get_text_config(), "max_position_embeddings", None),
            completion_only_loss=options.learn == "responses", packing=False,
        ),
        optimizers=(course.parts.optimizer, course.parts.schedule),
    )  # fmt: skip
