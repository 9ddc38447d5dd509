"""The linear reward model, w * x + b: ridge regression solved exactly, else trained with AdamW from 0.

A pair loss sees differences of scores only. What is the same on both sides of every pair, b and the features of a
prompt, cancels in them: its weight is 0. (Left to AdamW, which divides a gradient by its size, it would be made of
rounding.)
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import linalg

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.judged import PAIR_LOSSES
from rmbench.models import checkpoint as checkpoints
from rmbench.models.balance import accuracy
from rmbench.models.featured import Made, features_of, prepare, table_of, write
from rmbench.models.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    import torch

    from rmbench.api import Batch, Runtime
    from rmbench.judged import Fitting, Judged, Judgements
    from rmbench.models.feature_options import Linear
    from rmbench.models.featured import Features, Prepared
    from rmbench.models.features import Standard, Table

ROWS = 256  # that are multiplied at once
CANCELS = (
    "A loss of pairs sees differences of scores, in which the bias cancels, and what both texts of every pair share: "
    "these weights are 0, and a score of 0 is no boundary."
)


@dataclass(frozen=True, slots=True)
class Weights:
    """A linear function of standardised features: ``weight`` float64 (width,), dense ones first, and ``bias``."""

    weight: np.ndarray
    bias: float


def ridge(dense: np.ndarray, grams: Any, target: np.ndarray, penalty: float) -> Weights:
    """Return the w and b that make mean (y - w * x - b)^2 + penalty * |w|^2 least (Hoerl and Kennard, 1970).

    Solved exactly on centred columns, as many equations as there are features or, where these are more, as rows.

    Args:
        dense: float64 (n, p).
        grams: further columns, CSR (n, q).
        target: y, float64 (n,).
        penalty: above 0; of w alone.
    """
    count = len(target)
    means = np.concatenate([dense.mean(axis=0), np.asarray(grams.mean(axis=0)).ravel()])
    centred = target - target.mean()
    if len(means) <= count:
        whole = np.hstack([dense, grams.toarray()]) - means
        gram = whole.T @ whole
        weight = _solved(gram, whole.T @ centred, penalty * count)
    else:
        gram = dense @ dense.T + (grams @ grams.T).toarray()
        gram = gram - gram.mean(axis=0) - gram.mean(axis=1)[:, None] + gram.mean()
        dual = _solved(gram, centred, penalty * count)
        dual -= dual.mean()
        weight = np.concatenate([dense.T @ dual, grams.T @ dual])
    return Weights(weight, float(target.mean() - means @ weight))


def _solved(gram: np.ndarray, right: np.ndarray, penalty: float) -> np.ndarray:
    gram[np.diag_indices_from(gram)] += penalty
    found: np.ndarray = linalg.solve(gram, right, assume_a="pos")
    return found


def products(table: Table, weights: Weights, blocks: Mapping[str, slice]) -> dict[str, np.ndarray]:
    """Return what each block adds to the score of each row, float64 (n,) by name: ``ngrams``, and those of ``blocks``.

    A row's sum has the same order of operations whatever stands beside it.
    """
    columns = table.dense.shape[1]
    found = {name: np.zeros(len(table.dense)) for name in blocks}
    for start in range(0, len(table.dense), ROWS):
        rows = slice(start, start + ROWS)
        for name, block in blocks.items():
            found[name][rows] = (table.dense[rows, block] * weights.weight[block]).sum(axis=1)
    return {"ngrams": table.grams @ weights.weight[columns:], **found}


def added(parts: Mapping[str, np.ndarray], bias: float) -> np.ndarray:
    """Return the sum of the parts and the bias, float64 (n,)."""
    total = np.full(len(next(iter(parts.values()))), bias)
    for part in parts.values():
        total = total + part
    return total


def fit(judgements: Judgements, loss: str, options: Linear, fitting: Fitting) -> Path:
    """Fit the model and write its checkpoint (see ``judged.RewardModel``).

    Raises:
        InputError: see ``featured.prepare`` and ``training.train``.
        Interrupted: ``fitting.stop()`` said so.
    """
    begun = time.perf_counter()
    prepared = prepare(judgements, options, fitting)
    if loss == "squared":
        weights, trained = _exact(prepared, options)
    else:
        weights, trained = _trained(prepared, loss, options, fitting)
    by_reward = of_rewards(prepared, weights)
    made = Made(
        tensors={"weight": weights.weight, "bias": np.array([weights.bias])},
        config={"architecture": "linear", "loss": loss, "bias": weights.bias, "weights": by_reward},
        notes=(*([CANCELS] if loss in PAIR_LOSSES else []), *_composite(by_reward)),
    )
    return write(prepared, fitting, trained, made, begun=begun)


def _exact(prepared: Prepared, options: Linear) -> tuple[Weights, Trained]:
    train, dev = prepared.judgements.train, prepared.judgements.dev
    table = prepared.tables["train"]
    places, target = rated(train)
    if not len(places):
        where = f"task {prepared.judgements.task.name!r}, train"
        raise InputError("has no ratings that the loss 'squared' could learn", where=where, help="choose another loss")
    weights = ridge(table.dense[places], table.grams[places], target, options.ridge)
    scores = {name: _scores(one, weights) for name, one in prepared.tables.items()}
    of_dev, dev_target = rated(dev)
    row = {
        "step": 0, "loss": _mean_square(scores["train"][places] - target), "lr": None,
        "accuracy": accuracy(scores["dev"], dev.pairs),
        "dev_loss": _mean_square(scores["dev"][of_dev] - dev_target) if len(of_dev) else None,
    }  # fmt: skip
    return weights, Trained(steps=0, best_step=0, accuracy=row["accuracy"], curve=(row,), stopped="exact")


def rated(judged: Judged) -> tuple[np.ndarray, np.ndarray]:
    """Return the rows that have a rating, int64, and their ratings, float64."""
    found = [(row, target) for row, target in enumerate(judged.targets) if target is not None]
    return np.array([row for row, _ in found], np.int64), np.array([target for _, target in found], np.float64)


def _mean_square(difference: np.ndarray) -> float:
    return float((difference**2).mean())


def _scores(table: Table, weights: Weights) -> np.ndarray:
    return added(products(table, weights, {"dense": slice(0, table.dense.shape[1])}), weights.bias)


@dataclass(frozen=True, slots=True)
class Learner:
    """What ``training.train`` trains: a module that takes rows of features, float32 (n, width), to (n, 1).

    ``seen``, bool (width,), says which features are not 0; None: all.
    """

    module: torch.nn.Module
    tables: Mapping[str, Table]
    device: str
    seen: np.ndarray | None = None

    def scores(self, split: str, rows: Sequence[int]) -> torch.Tensor:
        """Return the scores of rows, float32 (len(rows),)."""
        import torch

        table = self.tables[split].rows(rows)
        table = table if self.seen is None else table * self.seen
        found: torch.Tensor = self.module(torch.from_numpy(table.astype(np.float32)).to(self.device))[:, 0]
        return found


def _trained(prepared: Prepared, loss: str, options: Linear, fitting: Fitting) -> tuple[Weights, Trained]:
    import torch

    from rmbench.models.training import reproducible, train

    pairs = loss in PAIR_LOSSES
    with reproducible(fitting.runtime):  # which puts the random state back that making a layer uses up
        module = torch.nn.Linear(prepared.width, 1, bias=not pairs)
        for one in module.parameters():
            torch.nn.init.zeros_(one)
    seen = differing(prepared.tables["train"], prepared.judgements.train) if pairs else None
    learner = Learner(module.to(fitting.runtime.device), prepared.tables, fitting.runtime.device, seen)
    trained = train(learner, prepared.judgements, loss, options, fitting)
    weight = module.weight.detach().double().cpu().numpy()[0]
    bias = 0.0 if pairs else float(module.bias.detach())
    return Weights(weight * trained.scale, bias * trained.scale + trained.shift), trained


def differing(table: Table, judged: Judged) -> np.ndarray:
    """Return which features differ between the two texts of any pair, bool (width,)."""
    better, worse = ([getattr(pair, side) for pair in judged.pairs] for side in ("better", "worse"))
    dense = (table.dense[better] != table.dense[worse]).any(axis=0)
    grams = np.zeros(table.grams.shape[1], bool)
    difference = (table.grams[better] - table.grams[worse]).tocoo()
    grams[difference.coords[1][difference.data != 0]] = True
    return np.concatenate([dense, grams])


def of_rewards(prepared: Prepared, weights: Weights) -> dict[str, float]:
    """Return the weight of each reward's score as it stands, on its own scale, by name."""
    block = prepared.reader.blocks.get("rewards")
    if block is None:
        return {}
    raw = weights.weight[block] * prepared.standard.factor[block]
    return {name: float(one) for name, one in zip(prepared.reader.options.rewards, raw, strict=True)}


def _composite(by_reward: Mapping[str, float]) -> list[str]:
    if not by_reward:
        return []
    words = " ".join(f"{weight:+.6g} * {name}" for name, weight in by_reward.items())
    return [f"The composite's weights learnt from people, of scores on their own scales: {words}."]


class Scorer:
    """Scores batches: the columns ``score`` and what each block adds to it; with ``bias`` they sum to the score."""

    def __init__(self, features: Features, fitted: Standard, weights: Weights) -> None:
        self.features = features
        self.fitted = fitted
        self.weights = weights
        reader = features.reader
        self.blocks = {name: block for name, block in reader.blocks.items() if name != "rewards"}
        first = reader.blocks["rewards"].start if "rewards" in reader.blocks else 0
        self.blocks |= {name: slice(first + i, first + i + 1) for i, name in enumerate(reader.options.rewards)}

    def __call__(self, batch: Batch) -> Mapping[str, Sequence[float | NoScore | None]]:
        """Return the columns; a row whose used reward gave no score has none, with the reason."""
        table = table_of(self.features, self.fitted, batch)
        parts = products(table, self.weights, self.blocks)
        if not self.features.buckets:
            parts.pop("ngrams")
        columns = {"score": added(parts, self.weights.bias).tolist()}
        columns |= {name: part.tolist() for name, part in parts.items()} | {"bias": [self.weights.bias] * len(batch)}
        return {
            name: [NoScore(table.missing[row]) if row in table.missing else one for row, one in enumerate(column)]
            for name, column in columns.items()
        }

    def close(self) -> None:
        """Write sentence vectors that are not in the cache yet."""
        self.features.reader.close()


def load(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a checkpoint.

    Raises:
        InputError: it is no sound checkpoint of this model.
    """
    found = checkpoints.read(folder)
    features = features_of(found, runtime)
    tensors = checkpoints.tensors(found, {"weight": (features.width,), "bias": (1,), **features.shapes})
    weights = Weights(tensors["weight"].astype(np.float64), float(tensors["bias"][0]))
    return Scorer(features, features.standard(tensors, found), weights)
