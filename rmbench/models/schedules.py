"""Learning-rate schedules by name, each one of torch's own, with a warm-up before it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from torch.optim import lr_scheduler

if TYPE_CHECKING:
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from rmbench.models.options import Schedule

THIRDS = 3  # how often the step schedule has a level


class Scheduled(Protocol):
    """What a schedule depends on: fields of the options of whatever is trained."""

    @property
    def steps(self) -> int:
        """Of the schedule, warm-up among them."""
        ...

    @property
    def schedule(self) -> Schedule:
        """Its name."""
        ...

    @property
    def decay(self) -> float:
        """Factor of ``step`` and ``exponential``."""
        ...

    @property
    def warmup(self) -> float:
        """Share of the steps."""
        ...


def scheduler(optimizer: Optimizer, training: Scheduled) -> LRScheduler:
    """Return the scheduler of an optimizer, to be stepped once after each of its steps.

    With W = round(warmup * steps) steps of warm-up and N the steps after them, step k = 0, 1, ... has the rate

    - in warm-up, k < W: peak * (k + 1) / (W + 1), so that no step has the rate 0;
    - ``constant``: peak;
    - ``linear``: peak * (1 - j / N), j = k - W counted from the end of the warm-up;
    - ``cosine``: peak * (1 + cos(pi * j / N)) / 2 (Loshchilov and Hutter 2017, without restarts);
    - ``step``: peak * decay ** (j // ceil(N / 3));
    - ``exponential``: peak * decay ** (j / N).
    """
    warm = round(training.warmup * training.steps)
    after = _after(optimizer, training, max(1, training.steps - warm))
    if not warm:
        return after
    rise = lr_scheduler.LinearLR(optimizer, start_factor=1 / (warm + 1), end_factor=1.0, total_iters=warm)
    return lr_scheduler.SequentialLR(optimizer, [rise, after], milestones=[warm])


def _after(optimizer: Optimizer, training: Scheduled, steps: int) -> LRScheduler:
    if training.schedule == "constant":
        return lr_scheduler.ConstantLR(optimizer, factor=1.0, total_iters=0)
    if training.schedule == "linear":
        return lr_scheduler.LinearLR(optimizer, start_factor=1.0, end_factor=0.0, total_iters=steps)
    if training.schedule == "cosine":
        return lr_scheduler.CosineAnnealingLR(optimizer, T_max=steps)
    if training.schedule == "step":
        return lr_scheduler.StepLR(optimizer, step_size=-(-steps // THIRDS), gamma=training.decay)
    return lr_scheduler.ExponentialLR(optimizer, gamma=training.decay ** (1 / steps))
