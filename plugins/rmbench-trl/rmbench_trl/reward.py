"""``trl-reward``: the reward model ``transformer``, trained by TRL's RewardTrainer on pairs.

Rows are read, cut and saved as those of ``transformer``, whose scorer scores them. TRL computes the model's own forward
pass on padded rows; its loss is that of Bradley and Terry (1952), with the margins of the pairs.
"""

from __future__ import annotations

import math
import tempfile
import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from datasets import Dataset
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast, TrainerCallback
from trl import RewardConfig, RewardTrainer
from trl.trainer.reward_trainer import DataCollatorForPreference

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.models import transformer
from rmbench.models.balance import accuracy
from rmbench.models.schedules import scheduler
from rmbench.models.state import copied, put
from rmbench.models.trained import Trained
from rmbench.models.training import reproducible
from rmbench_trl.settings import adamw, as_it_was, quiet, shared

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rmbench.judged import Fitting, Judgements, Pair
    from rmbench.models.trained import Stopped
    from rmbench.models.transformer import Learner
    from rmbench_trl.reward_options import TrlReward


def fit(judgements: Judgements, loss: str, options: TrlReward, fitting: Fitting) -> Path:
    """Fit a sequence classifier with TRL and write the checkpoint; a fit that was interrupted begins again.

    Raises:
        InputError: what ``transformer`` refuses; train without pairs; a loss or a gradient that is NaN or infinite.
        Interrupted: ``fitting.stop()`` said so.
    """
    return transformer.fit(judgements, loss, options, fitting, by=train)


def train(learner: Learner, judgements: Judgements, _: str, options: Any, fitting: Fitting) -> Trained:
    """Train with TRL; afterwards the learner's module holds the weights that were best on dev.

    ``options`` are a ``TrlReward``.
    """
    if not judgements.train.pairs:
        raise InputError("has no pairs", where=f"task {judgements.task.name!r}, train", help="trl-reward learns pairs")
    model = learner.module.model
    watch = Watch(learner, judgements.dev.pairs, options, fitting)
    with reproducible(fitting.runtime), quiet(), as_it_was(model), tempfile.TemporaryDirectory() as folder:
        _trainer(learner, judgements, options, watch, folder).train()
    if watch.interrupted:
        raise Interrupted(f"stopped at step {watch.step} of {options.steps}; it begins again")
    put(learner.module, watch.best)
    learner.module.eval()
    best = next((row for row in watch.curve if row["step"] == watch.best_step), {})
    return Trained(
        steps=watch.step, best_step=watch.best_step, accuracy=best.get("accuracy"), curve=tuple(watch.curve),
        stopped=watch.stopped or "steps", seconds_budget=options.seconds is not None,
    )  # fmt: skip


def _trainer(
    learner: Learner, judgements: Judgements, options: TrlReward, watch: Watch, folder: str
) -> RewardTrainer:  # fmt: skip
    """Return TRL's trainer of pairs of token ids."""
    model, rows = learner.module.model, learner.rows["train"]
    pairs = [
        {"chosen_ids": rows[pair.better].ids.tolist(), "rejected_ids": rows[pair.worse].ids.tolist(),
         "margin": (options.margin or 0.0) + options.rating_margin * pair.margin}
        for pair in judgements.train.pairs
    ]  # fmt: skip
    optimizer = adamw(model, options)
    return RewardTrainer(
        model=model, processing_class=_no_tokenizer(), train_dataset=Dataset.from_list(pairs), callbacks=[watch],
        data_collator=DataCollatorForPreference(watch.pad),
        args=RewardConfig(
            **shared(options, watch.fitting.runtime, folder), per_device_train_batch_size=options.batch,
            max_length=None, disable_dropout=False, center_rewards_coefficient=options.centre or None,
        ),
        optimizers=(optimizer, scheduler(optimizer, options)),
    )  # fmt: skip


def _no_tokenizer() -> Any:
    """Return the tokenizer that TRL asks for, though rows are tokens already."""
    words = Tokenizer(WordLevel({"<pad>": 0}, unk_token="<pad>"))  # noqa: S106 - a token of a vocabulary
    fast: Any = PreTrainedTokenizerFast
    return fast(tokenizer_object=words, pad_token="<pad>")  # noqa: S106 - as above


class Watch(TrainerCallback):
    """Scores dev at its moments, keeps the best weights, and ends training where seconds or patience are spent."""

    def __init__(self, learner: Learner, dev: Sequence[Pair], options: TrlReward, fitting: Fitting) -> None:
        self.learner, self.dev, self.options, self.fitting = learner, dev, options, fitting
        steps, times = options.steps, options.evaluations
        self.due = {max(1, round(at * steps / times)) for at in range(1, times + 1)}
        self.began = time.monotonic()
        self.step, self.best_step, self.waited = 0, 0, 0
        self.value: tuple[float, ...] = ()
        self.stopped: Stopped | None = None
        self.interrupted = False
        self.losses: list[float] = []
        self.curve: list[dict[str, Any]] = []
        self.best: dict[str, torch.Tensor] = {}

    @property
    def pad(self) -> int:
        """A token that ends no row: many classifiers read the last token that is no padding."""
        ends = {int(row.ids[-1]) for row in self.learner.rows["train"] if row.reason is None}
        return next(token for token in range(len(ends) + 1) if token not in ends)

    def on_train_begin(self, *_: Any, model: Any, **__: Any) -> None:  # type: ignore[override]
        """Tell the model which token pads, after TRL has told it another."""
        model.config.get_text_config().pad_token_id = self.pad

    def on_step_end(self, _: Any, state: Any, control: Any, **__: Any) -> None:  # type: ignore[override]
        """Stop where the user, the budget or the last step says so."""
        self.step = state.global_step
        self.interrupted = self.fitting.stop()
        if self.options.seconds is not None and time.monotonic() - self.began >= self.options.seconds:
            self.stopped = "seconds"
        if self.step == self.options.steps:
            self.stopped = "steps"
        control.should_training_stop |= self.interrupted or self.stopped is not None

    def on_log(self, _: Any, __: Any, control: Any, logs: Any, **___: Any) -> None:  # type: ignore[override]
        """Take a step's loss; score dev where it is due."""
        if "loss" not in logs or self.interrupted:
            return
        for what in ("loss", "grad_norm"):
            self._check(float(logs.get(what, 0.0)), what.replace("_", " "))
        self.losses.append(float(logs["loss"]))
        if self.step in self.due or self.stopped is not None:
            self._evaluate(float(logs["learning_rate"]))
            control.should_training_stop |= self.stopped is not None
        row = self.curve[-1] if self.curve else {"accuracy": None}
        told = {"step": self.step, "steps": self.options.steps, "loss": logs["loss"], "accuracy": row["accuracy"]}
        self.fitting.tell(told)

    def _check(self, value: float, what: str) -> None:
        if not math.isfinite(value):
            where = str(self.fitting.recipe.get("reward_model", "trl-reward"))
            advice = f"lower learning_rate (now {self.options.learning_rate:g}) or clip"
            raise InputError(f"the {what} is {value} at step {self.step}", where=where, help=advice)

    def _evaluate(self, rate: float) -> None:
        """Add a row to the curve and keep the weights where they are the best so far."""
        found, loss = self._dev()
        mean = math.fsum(self.losses) / len(self.losses)
        self.losses.clear()
        row = {"step": self.step, "loss": mean, "lr": rate, "accuracy": found, "dev_loss": loss}
        self.curve.append(row)
        value = () if found is None or loss is None else (found, -loss)
        if not value or not self.value or value > self.value:
            self.value, self.best_step, self.waited = value, self.step, 0
            self.best = copied(self.learner.module)
            return
        self.waited += 1
        if self.stopped is None and self.waited == self.options.patience:
            self.stopped = "patience"

    def _dev(self) -> tuple[float | None, float | None]:
        """Return pairwise accuracy and loss on dev, None without pairs."""
        if not self.dev:
            return None, None
        asked = sorted({row for pair in self.dev for row in (pair.better, pair.worse)})
        scores = np.zeros(max(asked) + 1)
        self.learner.module.eval()
        with torch.no_grad():
            for first in range(0, len(asked), 64):
                some = asked[first : first + 64]
                scores[some] = self.learner.scores("dev", some).double().cpu().numpy()
        self.learner.module.train()
        ahead = np.array([scores[pair.better] - scores[pair.worse] for pair in self.dev])
        margins = (self.options.margin or 0.0) + self.options.rating_margin * np.array([one.margin for one in self.dev])
        return accuracy(scores, self.dev), float(np.logaddexp(0.0, margins - ahead).mean())
