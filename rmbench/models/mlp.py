"""The perceptron reward model: fully connected layers with ReLU over the features of ``linear``, trained with AdamW.

For a pair loss the last layer has no bias: it cancels in differences of scores.
"""

from __future__ import annotations

import math
import time
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.judged import PAIR_LOSSES
from rmbench.models import checkpoint as checkpoints
from rmbench.models.featured import Made, features_of, prepare, table_of, write
from rmbench.models.linear import Learner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import torch

    from rmbench.api import Batch, Runtime
    from rmbench.judged import Fitting, Judgements
    from rmbench.models.feature_options import Mlp
    from rmbench.models.featured import Features
    from rmbench.models.features import Standard

Layers = list[tuple[np.ndarray, np.ndarray]]


def module_of(width: int, options: Mlp, *, bias: bool) -> torch.nn.Sequential:
    """Return the layers: Kaiming's normal weights, biases of 0, in the last layer only where one is asked for.

    The squared length of a row of features is about the number of their blocks, which is what the first layer goes by.
    """
    import torch

    sizes = [width, *options.hidden]
    layers: list[torch.nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layer = torch.nn.Linear(inputs, outputs)
        torch.nn.init.normal_(layer.weight, std=math.sqrt(2 / (inputs if layers else len(options.features))))
        torch.nn.init.zeros_(layer.bias)
        layers += [layer, torch.nn.ReLU(), torch.nn.Dropout(options.dropout)]
    last = torch.nn.Linear(sizes[-1], 1, bias=bias)
    torch.nn.init.normal_(last.weight, std=1 / math.sqrt(sizes[-1]))
    if bias:
        torch.nn.init.zeros_(last.bias)
    return torch.nn.Sequential(*layers, last)


def fit(judgements: Judgements, loss: str, options: Mlp, fitting: Fitting) -> Path:
    """Fit the model and write its checkpoint (see ``judged.RewardModel``).

    Raises:
        InputError: see ``featured.prepare`` and ``training.train``.
        Interrupted: ``fitting.stop()`` said so.
    """
    from rmbench.models.training import reproducible, train

    begun = time.perf_counter()
    prepared = prepare(judgements, options, fitting)
    with reproducible(fitting.runtime):
        module = module_of(prepared.width, options, bias=loss not in PAIR_LOSSES).to(fitting.runtime.device)
    learner = Learner(module, prepared.tables, fitting.runtime.device)
    trained = train(learner, prepared.judgements, loss, options, fitting)
    layers = _layers(module)
    last_weight, last_bias = layers[-1]
    layers[-1] = last_weight * trained.scale, last_bias * trained.scale + trained.shift
    named = {f"layers.{i}.{what}": one for i, layer in enumerate(layers) for what, one in _named(layer)}
    config = {"architecture": "mlp", "loss": loss, "hidden": list(options.hidden)}
    return write(prepared, fitting, trained, Made(named, config), begun=begun)


def _layers(module: Any) -> Layers:
    """Return weight and bias of each layer, float64 (out, in) and (out,)."""
    found = [layer.state_dict() for layer in module if layer.state_dict()]
    weights = [one["weight"].double().cpu().numpy() for one in found]
    biases = [one["bias"].double().cpu().numpy() if "bias" in one else np.zeros(1) for one in found]
    return list(zip(weights, biases, strict=True))


def _named(layer: tuple[np.ndarray, np.ndarray]) -> list[tuple[str, np.ndarray]]:
    return [("weight", layer[0]), ("bias", layer[1])]


def forward(row: np.ndarray, layers: Layers) -> float:
    """Return the score of one row of features, float64 (width,): the same whatever is scored beside it."""
    for weight, bias in layers[:-1]:
        row = np.maximum(weight @ row + bias, 0.0)
    weight, bias = layers[-1]
    return float((weight @ row + bias)[0])


class Scorer:
    """Scores batches, a row at a time."""

    def __init__(self, features: Features, fitted: Standard, layers: Layers) -> None:
        self.features = features
        self.fitted = fitted
        self.layers = layers

    def __call__(self, batch: Batch) -> Sequence[float | NoScore | None]:
        """Return the scores; a row whose used reward gave no score has none, with the reason."""
        table = table_of(self.features, self.fitted, batch)
        return [
            NoScore(table.missing[row]) if row in table.missing else forward(table.rows([row])[0], self.layers)
            for row in range(len(batch))
        ]

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
    hidden = found.config.get("hidden")
    if not isinstance(hidden, list) or not hidden or not all(type(size) is int and size > 0 for size in hidden):
        where = str(found.path / checkpoints.CONFIG)
        raise InputError(f"hidden is {hidden!r}, expected sizes of layers", where=where, help=checkpoints.FIT)
    sizes = list(enumerate(pairwise([features.width, *hidden, 1])))
    shapes: dict[str, tuple[int, ...]] = {f"layers.{i}.weight": (outputs, inputs) for i, (inputs, outputs) in sizes}
    shapes |= {f"layers.{i}.bias": (outputs,) for i, (_, outputs) in sizes}
    tensors = checkpoints.tensors(found, {**shapes, **features.shapes})
    layers = [
        (tensors[f"layers.{i}.weight"].astype(np.float64), tensors[f"layers.{i}.bias"].astype(np.float64))
        for i, _ in sizes
    ]
    return Scorer(features, features.standard(tensors, found), layers)
