"""What happens between the steps of a trainer of TRL: rows are written, dev is looked at, state is saved."""

from __future__ import annotations

import json
import math
import time
from typing import TYPE_CHECKING, Any

import torch
from transformers import TrainerCallback

from rmbench.store import canonical, write_whole
from rmbench.trainers import logs, updates
from rmbench.trainers.evaluation import evaluate

if TYPE_CHECKING:
    from rmbench.trainers.course import Course

SAVES, SAVE_SECONDS = 10, 30.0  # states over the steps, and seconds after which there is one more
LEAST_SECONDS, LEAST_SHARE = 1.0, 20.0  # no state sooner after the last, nor sooner than so many times what it took
OURS = {
    "kl": "kl", "entropy": "entropy", "completions/mean_length": "length", "clip_ratio/region_mean": "clip_share",
    "completions/clipped_ratio": "unfinished", "frac_reward_zero_std": "constant_groups",
    "mean_token_accuracy": "accuracy", "rewards/accuracies": "accuracy", "rewards/margins": "margin",
}  # fmt: skip


class Watch(TrainerCallback):
    """Beside a training of TRL.

    Args:
        course: the training, as our own trainers have it.
        updates: optimizer steps of a step.
        rollouts: whether TRL draws responses, so that tokens are those of the responses.
    """

    def __init__(self, course: Course, *, updates: int = 1, rollouts: bool = False) -> None:
        self.course, self.updates, self.rollouts = course, updates, rollouts
        steps, times = course.options.steps, course.options.evaluations
        self.due = {max(1, round(at * steps / times)) for at in range(1, times + 1)}
        self.stopped: str | None = None
        self.interrupted = False
        self.rewards: dict[str, float | None] = {}
        self.logged: list[dict[str, Any]] = []
        self.curve: list[dict[str, Any]] = []
        self.seconds, self.began, self.saved, self.seen = 0.0, time.monotonic(), time.monotonic(), 0
        self.cost, self.logged_at = 0.0, time.monotonic()
        self.files: dict[str, logs.Rows] = {}

    def begin(self, step: int) -> None:
        """Open the files, cut back to the step that is gone on from (0: none)."""
        folder = self.course.session.folder
        self.files = {name: logs.Rows.reopen(folder / name, step) for name in (logs.LOG, logs.TIMINGS)}
        self.course.step = step
        self.curve = [row for row in _read(folder / logs.CURVE) if row["step"] <= step] if step else []
        spent = [sum(row.get(stage, 0.0) for stage in ("rollout", "scoring", "update", "overhead"))
                 for row in _read(folder / logs.TIMINGS)]  # fmt: skip
        self.seconds = math.fsum(spent)
        self.began = self.saved = time.monotonic()

    def end(self) -> None:
        """Close the files, and write what the training took."""
        for file in self.files.values():
            file.close()
        folder = self.course.session.folder
        rows = _read(folder / logs.TIMINGS)
        seconds = math.fsum(row[stage] for row in rows for stage in ("rollout", "scoring", "update", "overhead"))
        tokens = sum(row["tokens"] + row["trained"] for row in rows)
        body = {
            "seconds": self.seconds + time.monotonic() - self.began,
            "tokens_per_second": tokens / seconds if seconds else None,
            "parameters": sum(weight.numel() for weight in self.course.agent.module.parameters()),
        }  # fmt: skip
        write_whole(folder / logs.MEASURES, canonical(body))

    def on_train_begin(self, *_: Any, **__: Any) -> None:
        """Look at dev before the first step."""
        if not self.curve:
            self._evaluate()
        self.course.clock.restart()

    def on_step_begin(self, _: Any, state: Any, __: Any, **___: Any) -> None:  # type: ignore[override]
        """Note which step it is, for errors."""
        self.course.step = state.global_step // self.updates + 1

    def on_pre_optimizer_step(self, *_: Any, model: Any, **__: Any) -> None:  # type: ignore[override]
        """Refuse a gradient that is NaN or infinite: the weights are still those of the step before."""
        grads = [weight.grad for weight in model.parameters() if weight.grad is not None]
        total = torch.stack([grad.abs().max() for grad in grads]).max().item() if grads else 0.0
        updates.check(self.course, total, "gradient")

    def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:  # type: ignore[override]
        """Stop where the user, the budget or the last step says so; save what is due."""
        if state.global_step % self.updates:
            return
        options, now = self.course.options, time.monotonic()
        self.interrupted = self.course.session.stop()
        if options.seconds is not None and self.seconds + now - self.began >= options.seconds:
            self.stopped = "seconds"
        if self.course.step == options.steps:
            self.stopped = "steps"
        control.should_save = self.interrupted or (self.stopped is None and self._is_due(now - self.saved))
        control.should_training_stop |= self.interrupted or self.stopped is not None

    def _is_due(self, since: float) -> bool:
        """Whether the state is to be saved, so many seconds after the last time."""
        mark = self.course.step % max(1, self.course.options.steps // SAVES) == 0
        return (mark or since > SAVE_SECONDS) and since > max(LEAST_SECONDS, LEAST_SHARE * self.cost)

    def on_save(self, *_: Any, **__: Any) -> None:
        """Note when a state was saved, and what that took."""
        self.cost, self.saved = time.monotonic() - self.logged_at, time.monotonic()

    def on_log(self, _: Any, state: Any, __: Any, logs: Any, **___: Any) -> None:  # type: ignore[override]
        """Write a step's rows; look at dev where it is due."""
        if "loss" not in logs:
            return
        self.logged.append(dict(logs))
        if state.global_step % self.updates:
            return
        self._timing()
        row = self._row()
        self.files["log.jsonl"].add(row)
        if self.course.step in self.due or self.stopped is not None:
            self._evaluate()
        told = {"step": self.course.step, "steps": self.course.options.steps, "loss": row["loss"]}
        self.course.session.tell({**told, "reward": row.get("reward")})
        self.course.clock.restart()
        self.logged_at = time.monotonic()

    def _row(self) -> dict[str, Any]:
        """Return the step's row of log.jsonl, a mean over its optimizer steps."""
        held = self.logged
        self.logged = []
        names = {"loss": "loss", "learning_rate": "lr", "grad_norm": "grad_norm"}
        found: dict[str, Any] = {"step": self.course.step}
        for theirs, ours in {**names, **OURS}.items():
            values = [float(row[theirs]) for row in held if row.get(theirs) is not None]
            values = [value for value in values if math.isfinite(value)]
            if values:
                found[ours] = math.fsum(values) / len(values)
            elif theirs in names or theirs in held[0]:
                found[ours] = None
        return {**found, **self.rewards}

    def _timing(self) -> None:
        """Write how long the step took: what is neither drawing nor scoring is the update."""
        clock = self.course.clock
        if self.rollouts:
            clock.trained = clock.trained or int(self.course.numbers.get("drawn_tokens", 0)) * self.updates
        else:
            tokens = int(self.logged[-1].get("num_tokens") or 0)
            clock.trained, self.seen = tokens - self.seen, tokens
        spent = sum(clock.seconds.values())
        clock.seconds["update"] = max(0.0, time.perf_counter() - clock.began - spent)
        self.files[".timings.jsonl"].add(clock.row(self.course.step))

    def _evaluate(self) -> None:
        """Add a row to the curve; random numbers and the model's mode are left as they are."""
        model = self.course.agent.module
        training = model.training
        model.eval()
        with torch.random.fork_rng(devices=[]):
            self.curve.append({"step": self.course.step, **evaluate(self.course)})
        model.train(training)
        write_whole(self.course.session.folder / logs.CURVE, b"".join(map(logs.line, self.curve)))


def _read(path: Any) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()] if path.is_file() else []
