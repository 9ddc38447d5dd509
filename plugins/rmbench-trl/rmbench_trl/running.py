"""A trainer of TRL run as one of ours: the same optimizer, schedule, files, budget, and resuming."""

from __future__ import annotations

import json
import random
import shutil
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import PrinterCallback

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.models.checkpoint import STATE
from rmbench.models.schedules import scheduler
from rmbench.models.state import Parts
from rmbench.models.training import reproducible
from rmbench.policy import Trained
from rmbench.trainers.course import Course
from rmbench_trl.settings import adamw, as_it_was, quiet, shared
from rmbench_trl.watch import Watch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session
    from rmbench_trl.options import TrlOnPolicy, TrlOptions

    Make = Callable[[Course, Watch, dict[str, Any]], Any]


def run(
    agent: Agent, judgements: Judgements, options: TrlOptions | TrlOnPolicy, session: Session, make: Make
) -> Trained:  # fmt: skip
    """Train with what ``make`` makes: a trainer of TRL, of a course, a callback and the common arguments.

    State is TRL's own checkpoint in ``.state/trl``, which a later call goes on from.

    Raises:
        InputError: a policy that TRL cannot train, a gradient that is NaN or infinite, memory that does not suffice.
        Interrupted: ``session.stop()`` said so; the state is saved.
    """
    refuse(agent, session)
    updates = getattr(options, "updates", 1)
    place = session.folder / STATE / "trl"
    with _alone(options, session), as_it_was(agent.model):
        course = _course(agent, judgements, options, session)
        watch = Watch(course, updates=updates, rollouts=hasattr(options, "group") and hasattr(options, "updates"))
        given = {**shared(options, session.runtime, str(place)), "max_steps": options.steps * updates}
        trainer = make(course, watch, given)
        trainer.remove_callback(PrinterCallback)
        found = newest(place)
        watch.begin(0 if found is None else int(found.name.rpartition("-")[2]) // updates)
        try:
            trainer.train(resume_from_checkpoint=None if found is None else str(found))
        except torch.OutOfMemoryError as error:
            advice = f"lower micro_batch (now {options.micro_batch or 'all rows'})"
            raise InputError(f"memory ran out at step {course.step}", where=_name(session), help=advice) from error
        finally:
            watch.end()
    if watch.interrupted and watch.stopped is None:
        raise Interrupted(f"stopped at step {course.step} of {options.steps}; its state is kept")
    shutil.rmtree(place, ignore_errors=True)
    agent.module.eval()
    stopped: Any = watch.stopped or "steps"
    return Trained(steps=course.step, stopped=stopped, notes=tuple(course.notes))


def refuse(agent: Agent, session: Session) -> None:
    """Raise an ``InputError`` for a policy that TRL cannot train."""
    name = _name(session)
    if agent.model is None or agent.tokenizer is None:
        raise InputError(
            "TRL trains a transformers model with its tokenizer; this policy has none", where=name,
            help="take a policy tiny or hf, or one of rmbench's own trainers (reinforce, grpo, ...)",
        )  # fmt: skip
    if agent.model.config.is_encoder_decoder:
        raise InputError(
            "TRL trains causal models; this policy is an encoder with a decoder", where=name,
            help="take one of rmbench's own trainers (reinforce, grpo, ...)",
        )  # fmt: skip
    if session.decoding.stop:
        raise InputError(
            f"TRL draws responses without stop texts; this policy has {list(session.decoding.stop)}", where=name,
            help="leave stop out, or take one of rmbench's own trainers",
        )  # fmt: skip


def newest(place: Path) -> Path | None:
    """Return the newest checkpoint of TRL that was written to its end: its state is written last."""
    found = sorted(place.glob("checkpoint-*"), key=lambda one: int(one.name.rpartition("-")[2]), reverse=True)
    for one in found:
        try:
            json.loads((one / "trainer_state.json").read_bytes())
        except (OSError, ValueError):
            shutil.rmtree(one)
        else:
            return one
    return None


def _name(session: Session) -> str:
    return str(session.recipe.get("name") or session.recipe.get("trainer") or "training")


def _course(agent: Agent, judgements: Judgements, options: Any, session: Session) -> Course:
    """Return the training as our own trainers have it, for evaluations and files."""
    optimizer = adamw(agent.module, options)
    parts = Parts(agent.module, optimizer, scheduler(optimizer, _stretched(options)), session.runtime.device)
    reference = None if session.start is None else session.start()
    if reference is not None:
        reference.module.requires_grad_(False).eval()
    samples = tuple(sample for sample in judgements.train.samples if sample.prompt.strip())
    course = Course(agent, judgements, options, session, reference, None, parts, samples)
    empty = len(judgements.train.samples) - len(samples)
    if empty:
        course.note(f"{empty:,} of {len(judgements.train.samples):,} samples of train have an empty prompt: left out")
    return course


def _stretched(options: Any) -> Any:
    """Return the options with the optimizer's steps as steps, for the schedule."""
    return replace(options, steps=options.steps * getattr(options, "updates", 1))


@contextmanager
def _alone(options: Any, session: Session) -> Iterator[None]:
    """Seed, threads and silence for a training; the generators of Python and numpy are put back, as torch's are.

    Exact algorithms are asked for as everywhere, but not that new memory is filled: TRL asks for a lot of it.
    """
    python, numbers = random.getstate(), np.random.get_state()  # noqa: NPY002 - what transformers seeds
    memory: Any = torch.utils.deterministic
    filled = memory.fill_uninitialized_memory
    with reproducible(session.runtime), quiet():
        torch.set_num_threads(options.threads)
        memory.fill_uninitialized_memory = False
        try:
            yield
        finally:
            memory.fill_uninitialized_memory = filled
            random.setstate(python)
            np.random.set_state(numbers)  # noqa: NPY002 - as above
