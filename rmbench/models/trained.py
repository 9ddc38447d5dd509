"""What training tells about itself, a record that imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Stopped = Literal["steps", "patience", "seconds", "exact"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """How a model came to its weights.

    Attributes:
        steps: optimizer steps that were made.
        best_step: the step whose weights were kept.
        accuracy: pairwise accuracy of these weights on dev, in [0, 1], a tie counting one half; None where dev has no
            pairs.
        curve: one row per evaluation: ``step``, ``loss`` (mean over the steps since the row before, at their weights),
            ``lr`` (of the last of these steps), ``accuracy`` (dev; None without pairs), ``dev_loss`` (None where dev
            has nothing for the loss).
        stopped: by what: all steps made, patience at an end, seconds spent, or ``exact``: solved, without steps.
        shift, scale: the learner was trained on (rating - shift) / scale, so that shift + scale * its score is on the
            raters' scale. 0 and 1 for every loss but ``squared``.
        seconds_budget: whether a budget of seconds stood among the options: then the weights depend on the machine's
            speed.
    """

    steps: int
    best_step: int
    accuracy: float | None
    curve: tuple[Mapping[str, Any], ...] = ()
    stopped: Stopped = "steps"
    shift: float = 0.0
    scale: float = 1.0
    seconds_budget: bool = False

    def record(self) -> dict[str, Any]:
        """Return what config.json says of training, under the key ``training``; ``reproducible`` among it."""
        return {
            "steps": self.steps, "best_step": self.best_step, "accuracy": self.accuracy, "stopped": self.stopped,
            "shift": self.shift, "scale": self.scale, "reproducible": not self.seconds_budget,
        }  # fmt: skip
