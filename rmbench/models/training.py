"""Fit a learner to judgements: AdamW, a schedule, clipping, early stopping on dev, the best weights kept.

Left out on purpose: gradient accumulation (the batch is what a step sees), mixed precision, several devices. On a CPU
one seed gives the same weights bit for bit, also where the fit was killed at any step and called again.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import time
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Literal, Protocol

import numpy as np
import torch

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.models.balance import accuracy as pairwise_accuracy
from rmbench.models.losses import LOSSES, MARGINS, PairLoss
from rmbench.models.schedules import scheduler
from rmbench.models.state import Parts, Progress, copied, put, restore, save
from rmbench.models.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from torch import Tensor

    from rmbench.api import Runtime
    from rmbench.judged import Fitting, Judged, Judgements
    from rmbench.models.options import Training

__all__ = ["Learner", "Split", "Trained", "order", "reproducible", "train"]

Split = Literal["train", "dev"]
SAVES = 10  # states over the steps; one more where the last is SAVE_SECONDS ago
SAVE_SECONDS, TELL_SECONDS = 30.0, 0.5
LEAST_SECONDS, LEAST_SHARE = 1.0, 20.0  # no state sooner after the last, nor sooner than so many times what it took


class Learner(Protocol):
    """A model that is trained: its module, and its scores of rows of the judgements that it was made with.

    Whatever is random in it (dropout) draws from torch's own generator, whose state is saved.
    """

    @property
    def module(self) -> torch.nn.Module:
        """What is trained: every parameter that requires a gradient."""
        ...

    def scores(self, split: Split, rows: Sequence[int]) -> Tensor:
        """Return the scores of rows, by their index in the split's batch: floating point, shape (len(rows),).

        Called in train mode with gradients to learn, in eval mode without them to evaluate.
        """
        ...


@dataclass(frozen=True, slots=True)
class Examples:
    """What a loss sees of a split: rows to score, and a number of each example.

    Attributes:
        rows: of each example: (better, worse) of a pair, (row,) of a point.
        values: margin of each pair; target of each point, standardised for ``squared``.
        shift, scale: target = (rating - shift) / scale.
    """

    rows: tuple[tuple[int, ...], ...]
    values: tuple[float, ...]
    shift: float = 0.0
    scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Course:
    """All that stays as it is while a fit runs."""

    learner: Learner
    loss: str
    training: Training
    fitting: Fitting
    dev: Judged
    train_examples: Examples
    dev_examples: Examples
    parts: Parts
    key: str


def train(learner: Learner, judgements: Judgements, loss: str, training: Training, fitting: Fitting) -> Trained:
    """Train a learner; afterwards its module holds the best weights.

    Ratings are standardised for ``squared`` (mean 0, deviation 1 over train), so that a rate suits any scale: the
    scorer gives ``trained.shift + trained.scale * score`` to be on the raters' scale.

    Weights are best where the pairwise accuracy on dev is highest, among equals where the loss on dev is lowest (it
    alone decides without dev pairs), and without anything on dev at the last step. An interrupted fit in
    ``fitting.folder`` is gone on with.

    Args:
        learner: the model; its module is on ``fitting.runtime.device``.
        judgements: the data.
        loss: a name of ``LOSSES``.
        training: the options.
        fitting: folder, seed, device, and whom to tell.

    Raises:
        InputError: train has nothing for the loss; the loss, a gradient or a score is NaN or infinite (with the step).
        Interrupted: ``fitting.stop()`` said so; the state is saved.
    """
    with reproducible(fitting.runtime):
        course = _course(learner, judgements, loss, training, fitting)
        progress = restore(fitting.folder, course.key, course.parts) or Progress()
        if progress.stopped is None:
            _run(course, progress)
        if course.parts.best:
            put(learner.module, course.parts.best)
    learner.module.eval()
    examples = course.train_examples
    best = next((row for row in progress.curve if row["step"] == progress.best_step), {})
    return Trained(
        steps=progress.step, best_step=progress.best_step, accuracy=best.get("accuracy"), curve=tuple(progress.curve),
        stopped=progress.stopped or "steps", shift=examples.shift, scale=examples.scale,
        seconds_budget=training.seconds is not None,
    )  # fmt: skip


@contextmanager
def reproducible(runtime: Runtime) -> Iterator[None]:
    """Seed torch's generators and, on a CPU, take one thread and exact algorithms only; all is put back afterwards.

    A module is made within this too, so that its first weights are a function of the seed.
    """
    cuda = runtime.device.startswith("cuda")
    threads, strict = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    only_warn = torch.is_deterministic_algorithms_warn_only_enabled()
    with torch.random.fork_rng(devices=[torch.device(runtime.device)] if cuda else []):
        torch.manual_seed(runtime.seed)
        if not cuda:
            torch.set_num_threads(1)
            torch.use_deterministic_algorithms(True)
        try:
            yield
        finally:
            torch.use_deterministic_algorithms(strict, warn_only=only_warn)
            torch.set_num_threads(threads)


def order(examples: int, seed: int, epoch: int) -> list[int]:
    """Return the order of the examples in an epoch: a function of its arguments, on every machine."""
    places = list(range(examples))
    random.Random(f"{seed}/{epoch}").shuffle(places)  # noqa: S311 - an order, not a secret
    return places


def _course(learner: Learner, judgements: Judgements, loss: str, training: Training, fitting: Fitting) -> Course:
    examples = _examples(judgements.train, loss, training)
    if not examples.rows:
        what = "pairs" if isinstance(LOSSES[loss], PairLoss) else "good" if loss == "cross-entropy" else "ratings"
        where = f"task {judgements.task.name!r}, train"
        raise InputError(f"has nothing for the loss {loss!r}: no {what}", where=where, help="choose another loss")
    dev = _examples(judgements.dev, loss, training, like=examples)
    module, device = learner.module, fitting.runtime.device
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    groups = [  # biases and norms are not drawn to 0
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": training.weight_decay},
        {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=training.learning_rate)
    parts = Parts(module, optimizer, scheduler(optimizer, training), device)
    key = _key(loss, training, fitting, examples)
    return Course(learner, loss, training, fitting, judgements.dev, examples, dev, parts, key)


def _key(loss: str, training: Training, fitting: Fitting, examples: Examples) -> str:
    """Return the digest of what a state belongs to."""
    whole = {
        "recipe": fitting.recipe, "loss": loss, "training": asdict(training), "seed": fitting.runtime.seed,
        "device": fitting.runtime.device, "examples": [examples.rows, examples.values], "torch": torch.__version__,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def _examples(judged: Judged, loss: str, training: Training, *, like: Examples | None = None) -> Examples:
    """Return what a loss sees of a split; ``like`` are those of train, whose scale dev takes."""
    if isinstance(LOSSES[loss], PairLoss):
        least = MARGINS[loss] if training.margin is None else training.margin
        margins = tuple(least + training.rating_margin * pair.margin for pair in judged.pairs)
        return Examples(tuple((pair.better, pair.worse) for pair in judged.pairs), margins)
    column = judged.good if loss == "cross-entropy" else judged.targets
    found = [(row, float(value)) for row, value in enumerate(column) if value is not None]
    values = [value for _, value in found]
    shift, scale = (like.shift, like.scale) if like else _scale(values) if loss == "squared" else (0.0, 1.0)
    return Examples(tuple((row,) for row, _ in found), tuple((one - shift) / scale for one in values), shift, scale)


def _scale(values: Sequence[float]) -> tuple[float, float]:
    """Return mean and deviation of ratings; 0 and 1 where there are none, 1 where all are the same."""
    if not values:
        return 0.0, 1.0
    mean = math.fsum(values) / len(values)
    return mean, math.sqrt(math.fsum((value - mean) ** 2 for value in values) / len(values)) or 1.0


def _run(course: Course, progress: Progress) -> None:
    """Make the steps that are left."""
    training, fitting = course.training, course.fitting
    batches = _batches(course, progress.step)
    due = {max(1, round(at * training.steps / training.evaluations)) for at in range(1, training.evaluations + 1)}
    before, started = progress.seconds, time.monotonic()
    told, saved, cost = started, started, 0.0
    while progress.stopped is None:
        if fitting.stop():
            save(fitting.folder, course.key, progress, course.parts)
            raise Interrupted(f"stopped at step {progress.step} of {training.steps}; its state is kept")
        rate = course.parts.optimizer.param_groups[0]["lr"]
        progress.losses.append(_step(course, next(batches), progress.step + 1))
        progress.step += 1
        progress.seconds = before + time.monotonic() - started
        if training.seconds is not None and progress.seconds >= training.seconds:
            progress.stopped = "seconds"
        if progress.step == training.steps:
            progress.stopped = "steps"
        evaluated = progress.step in due or progress.stopped is not None
        if evaluated:
            _evaluate(course, progress, rate)
        now = time.monotonic()
        if _is_due(course, progress, since=now - saved, cost=cost):
            save(fitting.folder, course.key, progress, course.parts)
            saved = time.monotonic()
            cost = saved - now
        if evaluated or now - told > TELL_SECONDS:
            _tell(course, progress)
            told = now


def _is_due(course: Course, progress: Progress, *, since: float, cost: float) -> bool:
    """Whether the state is to be saved: seconds since the last time, and those that it took."""
    mark = progress.step % max(1, course.training.steps // SAVES) == 0 or progress.stopped is not None
    return (mark or since > SAVE_SECONDS) and since > max(LEAST_SECONDS, LEAST_SHARE * cost)


def _batches(course: Course, step: int) -> Iterator[list[int]]:
    """Yield the examples of each step from ``step`` on: each epoch has its own order, its last batch may be short."""
    count, size = len(course.train_examples.rows), course.training.batch
    epoch, place = divmod(step, -(-count // size))
    while True:
        places = order(count, course.fitting.runtime.seed, epoch)
        for first in range(place * size, count, size):
            yield places[first : first + size]
        epoch, place = epoch + 1, 0


def _step(course: Course, places: list[int], step: int) -> float:
    """Make one optimizer step and return the loss before it."""
    parts, clip = course.parts, course.training.clip
    parts.module.train()
    parts.optimizer.zero_grad(set_to_none=True)
    examples = course.train_examples
    columns = list(zip(*(examples.rows[place] for place in places), strict=True))
    scores = _scores(course.learner, "train", [row for column in columns for row in column])
    values = torch.tensor([examples.values[place] for place in places], dtype=scores.dtype, device=scores.device)
    loss = _loss(course.loss, scores.reshape(len(columns), -1), values)
    value = loss.item()
    _check(course, value, "loss", step)
    loss.backward()
    norm = torch.nn.utils.clip_grad_norm_(parts.module.parameters(), clip or math.inf)
    _check(course, float(norm), "norm of the gradient", step)
    parts.optimizer.step()
    parts.schedule.step()
    return value


def _check(course: Course, value: float, what: str, step: int) -> None:
    """Raise an ``InputError`` where a number is NaN or infinite."""
    if not math.isfinite(value):
        where = str(course.fitting.recipe.get("reward_model", "fit"))
        advice = f"lower learning_rate (now {course.training.learning_rate:g}) or clip, or look at the features"
        raise InputError(f"the {what} is {value} at step {step}", where=where, help=advice)


def _loss(name: str, scores: Tensor, values: Tensor) -> Tensor:
    """Return a loss of scores, a row of them per column of examples."""
    loss = LOSSES[name]
    return loss(scores[0], scores[1], values) if isinstance(loss, PairLoss) else loss(scores[0], values)


def _scores(learner: Learner, split: Split, rows: Sequence[int]) -> Tensor:
    scores = learner.scores(split, rows)
    if scores.shape != (len(rows),) or not scores.is_floating_point():
        found = f"{scores.dtype} of shape {tuple(scores.shape)}"
        raise ValueError(f"the learner gave {found} for {len(rows)} rows, expected floating point of ({len(rows)},)")
    return scores


def _evaluate(course: Course, progress: Progress, rate: float) -> None:
    """Score dev, add a row to the curve, keep the weights where they are the best, and stop where patience ends."""
    scores = _dev_scores(course, progress.step)
    accuracy = pairwise_accuracy(scores, course.dev.pairs)
    loss = _dev_loss(course, scores)
    mean = math.fsum(progress.losses) / len(progress.losses)
    row = {"step": progress.step, "loss": mean, "lr": rate, "accuracy": accuracy, "dev_loss": loss}
    progress.curve.append(row)
    progress.losses.clear()
    value = [one for one in (accuracy, None if loss is None else -loss) if one is not None]
    if not value or not progress.best or value > progress.best:
        progress.best, progress.best_step, progress.waited = value, progress.step, 0
        course.parts.best.clear()
        course.parts.best.update(copied(course.parts.module))
        return
    progress.waited += 1
    if progress.stopped is None and progress.waited == course.training.patience:
        progress.stopped = "patience"


def _dev_scores(course: Course, step: int) -> np.ndarray:
    """Return the scores of dev's rows, float64; 0 where neither a pair nor the loss asks for one."""
    asked = {row for rows in course.dev_examples.rows for row in rows}
    rows = sorted(asked | {row for pair in course.dev.pairs for row in (pair.better, pair.worse)})
    scores = np.zeros(len(course.dev.batch), dtype=np.float64)
    course.parts.module.eval()
    with torch.no_grad():
        for first in range(0, len(rows), 2 * course.training.batch):
            some = rows[first : first + 2 * course.training.batch]
            scores[some] = _scores(course.learner, "dev", some).double().cpu().numpy()
    unfit = scores[~np.isfinite(scores)]
    if unfit.size:
        _check(course, float(unfit[0]), "score of a dev text", step)
    return scores


def _dev_loss(course: Course, scores: np.ndarray) -> float | None:
    examples = course.dev_examples
    if not examples.rows:
        return None
    columns = torch.from_numpy(scores[np.array(examples.rows).T])
    return float(_loss(course.loss, columns, torch.tensor(examples.values, dtype=torch.float64)))


def _tell(course: Course, progress: Progress) -> None:
    """Say how it goes: the mean loss since the last evaluation, what dev gave then, and at those before."""
    last = progress.curve[-1] if progress.curve else {"loss": None, "accuracy": None}
    loss = math.fsum(progress.losses) / len(progress.losses) if progress.losses else last["loss"]
    steps = course.training.steps
    curve = [{"accuracy": row["accuracy"], "dev_loss": row["dev_loss"]} for row in progress.curve]
    told = {"step": progress.step, "steps": steps, "loss": loss, "accuracy": last["accuracy"]}
    course.fitting.tell({**told, "curve": curve})
