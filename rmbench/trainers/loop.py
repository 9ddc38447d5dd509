"""The loop that all trainers share: steps, schedule, state, logs, evaluations; a trainer gives what a step does.

On a CPU one seed gives the same weights and logs bit for bit, also where the training was killed at any moment and
called again. Left out on purpose: mixed precision, several devices.
"""

from __future__ import annotations

import hashlib
import json
import math
import time
import warnings
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, Literal, cast

import torch

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.models.checkpoint import STATE
from rmbench.models.schedules import scheduler
from rmbench.models.state import Parts, Progress, copied, put, restore, save
from rmbench.models.training import reproducible
from rmbench.policy import Trained
from rmbench.store import canonical, write_whole
from rmbench.trainers import logs, updates
from rmbench.trainers.course import Course
from rmbench.trainers.evaluation import evaluate as on_prompts
from rmbench.trainers.rollouts import Rollout

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rmbench.judged import Judgements
    from rmbench.policy import Agent, Session
    from rmbench.trainers.options import TrainerOptions

    Stopped = Literal["steps", "seconds", "patience"]

__all__ = ["Course", "Rollout", "run"]

SAVES = 10  # states over the steps; one more where the last is SAVE_SECONDS ago
SAVE_SECONDS, TELL_SECONDS = 30.0, 0.5
LEAST_SECONDS, LEAST_SHARE = 1.0, 20.0  # no state sooner after the last, nor sooner than so many times what it took
NOTED = 0.25  # of kl_limit, from which KL is a note
PLACES = 1000  # of the schedule where it goes by seconds


@dataclass(frozen=True, slots=True)
class Files:
    """The rows that a training leaves."""

    log: logs.Rows
    timings: logs.Rows


def run(
    agent: Agent, judgements: Judgements, options: TrainerOptions, session: Session,
    step: Callable[[Course, int], Mapping[str, Any]], *, extra: torch.nn.Module | None = None,
    reference: bool = False, evaluate: Callable[[Course], Mapping[str, Any]] = on_prompts, best: str | None = None,
) -> Trained:  # fmt: skip
    """Train a policy by steps; afterwards the agent has the last weights, or the best ones.

    An interrupted training in ``session.folder`` is gone on with.

    Args:
        agent: the policy.
        judgements: the data.
        options: of the trainer.
        session: folder, seed, device, reward, and whom to tell.
        step: makes a step, numbered from 1, and returns its row of the log, ``loss`` and ``grad_norm`` among it (None
            where there was nothing to learn from).
        extra: a further module to train, such as a value head, on the agent's device.
        reference: whether the start is needed, to measure KL to.
        evaluate: makes a row of the curve.
        best: a number of that row whose least value decides which weights are kept; ``options.patience`` evaluations
            without a lower one end the training where there is such an option. None: the last weights are kept.

    Raises:
        InputError: no prompts to train on; the loss or a gradient is NaN or infinite, or KL explodes (with the step
            and the option; the last good weights are saved); the reward scores nothing.
        Interrupted: ``session.stop()`` said so; the state is saved.
    """
    with reproducible(session.runtime):
        torch.set_num_threads(options.threads)
        course = _course(agent, judgements, options, session, extra)
        if reference:
            course.reference = _frozen(session)
        agent.module.eval()
        progress, key = _restored(course)
        with _files(session.folder, progress) as files:
            training = Training(course, progress, key, files, step, evaluate, best)
            if progress.stopped is None:
                training.run()
        if course.parts.best:
            put(course.parts.module, course.parts.best)
    agent.module.eval()
    _measures(course, progress)
    stopped = cast("Stopped", progress.stopped or "steps")
    return Trained(progress.step, stopped, notes=tuple(_notes(course, progress)))


def _course(
    agent: Agent, judgements: Judgements, options: TrainerOptions, session: Session, extra: torch.nn.Module | None
) -> Course:
    whole = torch.nn.ModuleDict({"policy": agent.module} | ({} if extra is None else {"extra": extra}))
    weights = [weight for weight in whole.parameters() if weight.requires_grad]
    groups = [  # biases and norms are not drawn to 0
        {"params": [one for one in weights if one.ndim > 1], "weight_decay": options.weight_decay},
        {"params": [one for one in weights if one.ndim <= 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW([group for group in groups if group["params"]], lr=options.learning_rate)
    places = options if options.seconds is None else replace(options, steps=PLACES)
    parts = Parts(whole, optimizer, scheduler(optimizer, places), session.runtime.device)
    samples = tuple(sample for sample in judgements.train.samples if sample.prompt.strip())
    return Course(agent, judgements, options, session, None, extra, parts, samples, micro_batch=options.micro_batch)


def _frozen(session: Session) -> Agent:
    """Return the start, not to be trained."""
    if session.start is None:
        raise ValueError("this trainer measures KL to the start: the session must give ``start``")
    agent = session.start()
    agent.module.eval()
    agent.module.requires_grad_(False)
    return agent


def _key(course: Course) -> str:
    """Return the digest of what a state belongs to."""
    session, data = course.session, [(sample.id, sample.prompt, sample.references) for sample in course.samples]
    whole = {
        "recipe": dict(session.recipe), "options": asdict(course.options), "decoding": asdict(session.decoding),
        "seed": session.runtime.seed, "device": session.runtime.device, "data": data, "torch": torch.__version__,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(whole, sort_keys=True, default=str).encode()).hexdigest()


def _restored(course: Course) -> tuple[Progress, str]:
    """Return where the training stands, and the digest of what it is."""
    folder, key = course.session.folder, _key(course)
    folder.mkdir(parents=True, exist_ok=True)
    logged = logs.whole_steps(folder)
    for file in (folder / STATE).glob("state-*"):
        if int(file.name.removeprefix("state-").split(".", maxsplit=1)[0]) > logged:
            file.unlink()  # its rows of the log are lost: an earlier state has them
    progress = restore(folder, key, course.parts) or Progress()
    kept = progress.extra
    course.numbers.update(kept.get("numbers", {}))
    course.notes[:] = kept.get("notes", course.notes)
    course.micro_batch = kept.get("micro_batch", course.micro_batch)
    return progress, key


@contextmanager
def _files(folder: Any, progress: Progress) -> Iterator[Files]:
    """Open the files of rows, cut back to the step that is gone on from."""
    _write_curve(folder, progress)
    files = Files(*(logs.Rows.reopen(folder / name, progress.step) for name in (logs.LOG, logs.TIMINGS)))
    try:
        yield files
    finally:
        files.log.close()
        files.timings.close()


def _write_curve(folder: Any, progress: Progress) -> None:
    write_whole(folder / logs.CURVE, b"".join(logs.line(row) for row in progress.curve))


@dataclass(slots=True)
class Training:
    """A course, how far it is, and what its steps and evaluations do."""

    course: Course
    progress: Progress
    key: str
    files: Files
    step: Callable[[Course, int], Mapping[str, Any]]
    evaluate: Callable[[Course], Mapping[str, Any]]
    best: str | None
    began: float = 0.0
    told: float = 0.0
    saved: float = 0.0
    cost: float = 0.0
    before: tuple[list[torch.Tensor], dict[str, float], list[str]] = field(default_factory=lambda: ([], {}, []))

    def run(self) -> None:
        """Make the steps that are left, and the evaluation that is owed where one was interrupted."""
        course, progress = self.course, self.progress
        self.began = time.monotonic() - progress.seconds
        self.told = self.saved = time.monotonic()
        try:
            if not progress.curve or progress.extra.get("owed"):
                self._look()
            self._go()
        except Interrupted:  # asked to stop while the reward or a judge was at work
            if not course.touched:
                self._back()
                self._save()
            raise

    def _go(self) -> None:
        course, progress = self.course, self.progress
        while progress.stopped is None:
            if course.session.stop():
                self._begin()
                raise Interrupted(f"stopped at step {progress.step} of {course.options.steps}; its state is kept")
            row = self._step()
            progress.seconds = time.monotonic() - self.began
            due = self._is_due()
            if progress.step == course.options.steps:
                progress.stopped = "steps"
            elif course.options.seconds is not None and progress.seconds >= course.options.seconds:
                progress.stopped = "seconds"
            if due or progress.stopped is not None:
                self._look()
            self._keep()
            self._tell(row)

    def _step(self) -> Mapping[str, Any]:
        """Make a step and write its rows."""
        course, progress = self.course, self.progress
        course.step = progress.step + 1
        rate = course.parts.optimizer.param_groups[0]["lr"]
        self._begin()
        course.clock.restart()
        made = self.step(course, course.step)
        row = {"step": course.step, "loss": made.get("loss"), "lr": rate, **made}
        _watch(course, row.get("kl_per_token"), course.step)
        updates.check_row(course, row)
        self._advance()
        self.files.log.add(row)
        self.files.timings.add(course.clock.row(course.step))
        progress.step += 1
        return row

    def _begin(self) -> None:
        """Keep what is to be brought back where the next step or evaluation is interrupted."""
        course = self.course
        course.touched = False
        self.before = (updates.generators(course.device), dict(course.numbers), list(course.notes))

    def _back(self) -> None:
        course = self.course
        generators, course.numbers, course.notes = self.before
        updates.put_generators(generators, course.device)

    def _share(self) -> float:
        """Return how much of the training is done, from 0 to 1."""
        options: TrainerOptions = self.course.options
        done = self.progress.step / options.steps
        if options.seconds is not None:
            done = max(done, (time.monotonic() - self.began) / options.seconds)
        return min(1.0, done)

    def _advance(self) -> None:
        """Bring the schedule to its place after the step at hand."""
        course = self.course
        place = course.step
        if course.options.seconds is not None:
            place = min(PLACES, round(PLACES * self._share()))
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Detected call of")  # the first step may have had nothing to learn from
            for _ in range(place - course.parts.schedule.last_epoch):
                course.parts.schedule.step()

    def _is_due(self) -> bool:
        """Whether dev is to be looked at."""
        due = int(self._share() * self.course.options.evaluations + 1e-9)
        before: int = self.progress.extra.get("looked", 0)
        self.progress.extra["looked"] = max(due, before)
        return due > before

    def _look(self) -> None:
        """Evaluate, add a row to the curve, keep the weights where they are the best, stop where patience ends."""
        course, progress = self.course, self.progress
        course.agent.module.eval()
        progress.extra["owed"] = True
        self._begin()
        row = {"step": progress.step, **self.evaluate(course)}
        updates.check_row(course, row)
        progress.extra["owed"] = False
        progress.curve.append(row)
        _write_curve(course.session.folder, progress)
        _watch(course, row.get("kl_per_token"), progress.step)
        if self.best is None:
            return
        value = row.get(self.best)
        if value is None or not progress.best or -value > progress.best[0]:
            progress.best, progress.best_step, progress.waited = [] if value is None else [-value], progress.step, 0
            course.parts.best.clear()
            course.parts.best.update(copied(course.parts.module))
            return
        progress.waited += 1
        if progress.stopped is None and progress.waited == getattr(course.options, "patience", 0):
            progress.stopped = "patience"

    def _keep(self) -> None:
        """Save the state where it is due."""
        progress, now = self.progress, time.monotonic()
        mark = progress.step % max(1, self.course.options.steps // SAVES) == 0 or progress.stopped is not None
        since = now - self.saved
        if progress.stopped is not None or (
            (mark or since > SAVE_SECONDS) and since > max(LEAST_SECONDS, LEAST_SHARE * self.cost)
        ):
            self._save()
            self.saved = time.monotonic()
            self.cost = self.saved - now

    def _save(self) -> None:
        course, progress = self.course, self.progress
        progress.extra |= {
            "numbers": dict(course.numbers), "notes": list(course.notes), "micro_batch": course.micro_batch,
        }  # fmt: skip
        self.files.log.sync()
        save(course.session.folder, self.key, progress, course.parts)

    def _tell(self, row: Mapping[str, Any]) -> None:
        now = time.monotonic()
        if self.progress.stopped is None and now - self.told < TELL_SECONDS:
            return
        self.told = now
        known = {"loss": row.get("loss"), "reward": row.get("reward")}
        self.course.session.tell({"step": self.progress.step, "steps": self.course.options.steps, **known})


def _watch(course: Course, kl: float | None, step: int) -> None:
    """Stop where a policy is far beyond what its start would write."""
    limit = getattr(course.options, "kl_limit", 0.0)
    if not limit or kl is None or kl <= NOTED * limit:
        return
    if "kl_noted" not in course.numbers:
        course.numbers["kl_noted"] = step
        course.note(f"KL to the start came to {kl:.3g} nats a token at step {step}")
    if kl <= limit:
        return
    updates.back(course)
    raise InputError(
        f"KL to the start is {kl:.3g} nats a token at step {step}, above kl_limit ({limit:g}): the policy writes what "
        "its start never would; the weights before are saved", where=updates.where(course),
        help=f"raise kl (now {getattr(course.options, 'kl', 0.0):g}), lower learning_rate "
        f"(now {course.options.learning_rate:g}), or set kl_limit = 0 to go on all the same",
    )  # fmt: skip


def _notes(course: Course, progress: Progress) -> list[str]:
    """Return what the user should know."""
    found, numbers = [*course.notes], course.numbers
    steps = f"{progress.step} steps"
    if numbers.get("constant_steps"):
        count = numbers["constant_steps"]
        found.append(f"the reward gave the same value to every response of {count:.0f} of {steps}: nothing to learn")
    if numbers.get("unscored_rows"):
        count, rows = numbers["unscored_rows"], numbers["rows"]
        found.append(f"{count:.0f} of {rows:.0f} responses were unscored and not learnt from")
    if numbers.get("unscored_steps"):
        found.append(f"{numbers['unscored_steps']:.0f} of {steps} had no scored response: they changed nothing")
    given = course.options
    if getattr(given, "kl", 0) and (getattr(given, "kl_in", ""), getattr(given, "kl_estimator", "")) == ("loss", "k1"):
        found.append(
            "kl_in = loss with kl_estimator = k1 is no penalty: its gradient is 0 in expectation (take k2 or k3)"
        )
    if course.micro_batch != given.micro_batch:
        found.append(f"memory ran out: gradients were computed of {course.micro_batch} row(s) at once")
    if course.options.seconds is not None:
        found.append(f"trained by a budget of {course.options.seconds:g} seconds: another machine gives other weights")
    return found


def _measures(course: Course, progress: Progress) -> None:
    """Write what the training took; outside of what is reproducible."""
    path = course.session.folder / logs.TIMINGS
    rows = [json.loads(row) for row in path.read_bytes().splitlines()]
    seconds = math.fsum(sum(row[stage] for stage in ("rollout", "scoring", "update", "overhead")) for row in rows)
    tokens = sum(row["tokens"] + row["trained"] for row in rows)
    parameters = sum(weight.numel() for weight in course.agent.module.parameters())
    rate = tokens / seconds if seconds else None
    body = {"seconds": progress.seconds, "tokens_per_second": rate, "parameters": parameters}
    write_whole(course.session.folder / logs.MEASURES, canonical(body))
