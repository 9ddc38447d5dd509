"""Our training beside TRL's RewardTrainer: python reports/reward-models/trl_pair.py [--out trl_pair.json].

The same small transformer with the same first weights, the same pairs in the same order, the same steps, AdamW and
learning rate, no dropout, one thread each. TRL gets the conversations and the tokenizer with its chat template and
tokenises itself. Printed and written: the losses of the first steps of both (they must agree to 1e-4, else exit 1), and
rows a second of both, by the clock and by the processor's, medians of interleaved rounds after a first one that does
not count. Pairs of which a text is longer than max_length are left out for both: TRL drops them, we would cut them.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import platform
import statistics
import sys
import tempfile
import time
import warnings
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.judged import Fitting, Judged
from rmbench.models.neural_options import Transformer

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.judged import Judgements

REPO = Path(__file__).resolve().parent.parent.parent
COMMAND = "python reports/reward-models/trl_pair.py"
TOLERANCE = 1e-4
PACKAGES = ("rmbench", "torch", "transformers", "trl", "accelerate", "tokenizers", "numpy")
OPTIONS = Transformer(
    steps=20, batch=16, evaluations=20, patience=0, dropout=0.0, schedule="constant", warmup=0.0, learning_rate=1e-3,
    weight_decay=0.01, clip=1.0,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Setting:
    """What both train: pairs in the order of their steps, the first weights, the tokenizer."""

    judgements: Judgements
    pairs: tuple[tuple[int, int], ...]
    rows: list[Any]
    tokenizer: Any
    model: Any
    options: Transformer


@dataclass(slots=True)
class Course:
    """What training gave and took: the loss of each step, seconds by the clock and by the processor's."""

    losses: list[float] = field(default_factory=list)
    wall: float = 0.0
    processor: float = 0.0


def prepare(judgements: Judgements, options: Transformer) -> Setting:
    """Return pairs that fit into ``max_length``, a tokenizer learnt from their texts, and a new model."""
    import torch

    from rmbench.models import pretrained, tokenizers, training
    from rmbench.models.reading import Reader, texts_of

    files = tokenizers.train(texts_of(judgements), vocabulary=options.vocabulary, max_length=options.max_length)
    tokenizer = tokenizers.made_of(files)
    rows = Reader(tokenizer, max_length=options.max_length, truncation="both")(judgements.train.batch)
    train = judgements.train
    fits = tuple(pair for pair in train.pairs if not rows[pair.better].cut and not rows[pair.worse].cut)
    nothing = Judged((), train.batch.take([]), (), (), ())
    torch.manual_seed(1)
    model = pretrained.new(options, tokenizer)
    made = replace(judgements, train=replace(train, pairs=fits), dev=nothing)
    return Setting(made, _ordered(fits, options, training.order), rows, tokenizer, model, options)


def _ordered(pairs: Sequence[Any], options: Transformer, order: Any) -> tuple[tuple[int, int], ...]:
    """Return the pairs as our training takes them in its steps, epoch after epoch; an epoch's last batch is whole."""
    needed, found = options.steps * options.batch, []
    if len(pairs) % options.batch and len(pairs) < needed:
        raise ValueError(f"{len(pairs)} pairs in batches of {options.batch}: TRL would carry the rest over")
    for epoch in range(-(-needed // len(pairs))):
        found += [(pairs[place].better, pairs[place].worse) for place in order(len(pairs), 1, epoch)]
    return tuple(found[:needed])


def ours(setting: Setting) -> Course:
    """Train with our own training."""
    from rmbench.models.ranker import Ranker
    from rmbench.models.reading import Read
    from rmbench.models.training import train
    from rmbench.models.transformer import Learner

    ranker = Ranker(copy.deepcopy(setting.model), pooling="last", dropout=0.0)
    learner = Learner(ranker, Read(setting.judgements, {"train": setting.rows, "dev": []}, ()))
    with tempfile.TemporaryDirectory() as folder:
        begun = time.perf_counter(), time.process_time()
        made = train(learner, setting.judgements, "bradley-terry", setting.options, Fitting(Path(folder)))
        took = time.perf_counter() - begun[0], time.process_time() - begun[1]
    return Course([row["loss"] for row in made.curve], *took)


def theirs(setting: Setting) -> Course:
    """Train with TRL's RewardTrainer, which tokenises, pads and pools as it always does."""
    from datasets import Dataset
    from datasets.utils.logging import disable_progress_bar
    from transformers import PrinterCallback, TrainerCallback
    from trl import RewardConfig, RewardTrainer

    options, course, begun = setting.options, Course(), []

    class Recorded(RewardTrainer):  # type: ignore[misc]
        """The trainer as it is; each loss is written down unrounded."""

        def compute_loss(self, *given: Any, **named: Any) -> Any:
            """Return TRL's loss."""
            loss = super().compute_loss(*given, **named)
            course.losses.append(float(loss.detach()))
            return loss

    class Clock(TrainerCallback):  # type: ignore[misc]
        """The time between the first step's begin and the last one's end."""

        def on_train_begin(self, *_: Any, **__: Any) -> None:
            """Start."""
            begun[:] = time.perf_counter(), time.process_time()

        def on_train_end(self, *_: Any, **__: Any) -> None:
            """Stop."""
            course.wall, course.processor = time.perf_counter() - begun[0], time.process_time() - begun[1]

    disable_progress_bar()
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of names in transformers that will change
        settings = RewardConfig(
            output_dir=folder, use_cpu=True, bf16=False, gradient_checkpointing=False, report_to="none", seed=1,
            save_strategy="no", logging_strategy="no", disable_tqdm=True, dataloader_pin_memory=False,
            max_steps=options.steps, per_device_train_batch_size=options.batch, train_sampling_strategy="sequential",
            learning_rate=options.learning_rate, lr_scheduler_type="constant", weight_decay=options.weight_decay,
            max_grad_norm=options.clip, optim="adamw_torch", max_length=options.max_length,
        )  # fmt: skip
        trainer = Recorded(
            model=copy.deepcopy(setting.model), args=settings, processing_class=setting.tokenizer, callbacks=[Clock()],
            train_dataset=Dataset.from_list([_conversations(setting, *pair) for pair in setting.pairs]),
        )  # fmt: skip
        trainer.remove_callback(PrinterCallback)
        trainer.train()
    return course


def _conversations(setting: Setting, better: int, worse: int) -> dict[str, Any]:
    batch = setting.judgements.train.batch
    turns = {
        row: [*({"role": one.role, "content": one.content} for one in batch.messages[row]),
              {"role": "assistant", "content": batch.responses[row]}]
        for row in (better, worse)
    }  # fmt: skip
    return {"chosen": turns[better], "rejected": turns[worse]}


def compare(judgements: Judgements, options: Transformer, *, rounds: int = 0) -> dict[str, Any]:
    """Train both and return their losses, the largest difference, and rows a second where ``rounds`` says how often.

    torch computes on one thread meanwhile.
    """
    import torch

    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        setting = prepare(judgements, options)
        mine, other = ours(setting), theirs(setting)
        plain = replace(setting, options=replace(options, evaluations=1))  # no stop to evaluate after each step
        timed = [(ours(plain), theirs(plain)) for _ in range(rounds)]
    finally:
        torch.set_num_threads(threads)
    pairs = zip(mine.losses, other.losses, strict=True)
    rows = 2 * options.steps * options.batch
    return {
        "pairs": len(setting.judgements.train.pairs), "rows": rows,
        "tokens": sum(len(setting.rows[row].ids) for pair in setting.pairs for row in pair),
        "weights": sum(one.numel() for one in setting.model.parameters()),
        "losses": {"rmbench": mine.losses, "trl": other.losses},
        "largest_difference": max(abs(one - two) for one, two in pairs),
        "rows_per_second": {
            name: {kind: _rate(rows, [getattr(both[place], kind) for both in timed]) for kind in ("wall", "processor")}
            for place, name in enumerate(("rmbench", "trl"))
        } if timed else None,
    }  # fmt: skip


def _rate(rows: int, seconds: Sequence[float]) -> float:
    return round(rows / statistics.median(seconds), 1)


def main() -> int:
    """Compare on hh-harmless, print and write what was found; 1 where the losses differ."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data-dir", type=Path, default=os.environ.get("RMBENCH_DATA", REPO.parent / "shared/data"))
    parser.add_argument("--out", type=Path, default=Path(__file__).with_suffix(".json"))
    parser.add_argument("--rounds", type=int, default=3, help="how often both are timed")
    given = parser.parse_args()
    os.environ |= {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    from rmbench.judgements import read
    from rmbench.tasks import load_task

    found = compare(read(load_task(Path(given.data_dir) / "hh-harmless"), seed=1), OPTIONS, rounds=given.rounds)
    shown = ("architecture", "layers", "hidden", "heads", "vocabulary", "max_length", "steps", "batch", "learning_rate",
             "weight_decay", "clip", "schedule")  # fmt: skip
    made = {
        "command": COMMAND, "task": "hh-harmless (train)", "options": {name: getattr(OPTIONS, name) for name in shown},
        **found, "versions": {"python": platform.python_version(), **{name: version(name) for name in PACKAGES}},
    }  # fmt: skip
    given.out.write_text(json.dumps(made, indent=1) + "\n", encoding="utf-8")
    print(f"{'step':>4} {'rmbench':>10} {'TRL':>10} {'difference':>11}")
    for step, (one, two) in enumerate(zip(*found["losses"].values(), strict=True), 1):
        print(f"{step:>4} {one:>10.6f} {two:>10.6f} {abs(one - two):>11.1e}")
    print(f"largest difference {found['largest_difference']:.1e} (at most {TOLERANCE:g})")
    for name, rate in (found["rows_per_second"] or {}).items():
        print(f"{name}: {rate['wall']} rows/s by the clock, {rate['processor']} by the processor's")
    return int(found["largest_difference"] > TOLERANCE)


if __name__ == "__main__":
    sys.exit(main())
