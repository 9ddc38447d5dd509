"""Small LSTMs and transformers, and how they are fitted, for the tests of reward models that read tokens."""

from __future__ import annotations

import json

import numpy as np

from rmbench.api import Runtime
from rmbench.judged import Fitting
from rmbench.models.neural_options import Lstm, Transformer

SMALL = {"vocabulary": 400, "max_length": 64, "hidden": 16, "batch": 16, "evaluations": 3, "patience": 0}


def lstm_options(**more):
    return Lstm(**{**SMALL, "embedding": 16, "steps": 30, "learning_rate": 1e-2, **more})


def transformer_options(**more):
    return Transformer(**{**SMALL, "heads": 2, "steps": 12, "learning_rate": 5e-3, **more})


def from_folder(path, **more):
    """Options that go on from a folder."""
    given = {"init": path, "max_length": 64, "batch": 16, "evaluations": 2, "patience": 0, "steps": 4}
    return Transformer(**{**given, **more})


def fit(module, data, options, folder, loss="bradley-terry", **more):
    return module.fit(data, loss, options, Fitting(folder, **more))


def scores(module, folder, batch):
    return np.array(module.load(folder, Runtime())(batch)["score"])


def agreement(found, pairs):
    """Share of the pairs whose better text has the higher score."""
    return np.mean([found[pair.better] > found[pair.worse] for pair in pairs])


def edit(path, **changes):
    """Set keys of a JSON file; None takes one away."""
    content = json.loads(path.read_text(encoding="utf-8")) | changes
    content = {key: value for key, value in content.items() if value is not None}
    path.write_text(json.dumps(content), encoding="utf-8")


def change_weights(folder, change):
    """Write model.safetensors again after ``change(tensors)``."""
    from safetensors.torch import load_file, save_file

    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors", metadata={"format": "pt"})
