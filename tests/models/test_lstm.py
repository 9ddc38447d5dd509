"""The LSTM: its network against torch's own packed sequences, and a fit from texts to a scorer."""

import dataclasses
import hashlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from judgements import ratings, words
from neural import agreement, change_weights, edit, fit, lstm_options, scores

from rmbench.api import Runtime
from rmbench.errors import InputError
from rmbench.judged import Fitting, Interrupted
from rmbench.models import lstm, memory, training
from rmbench.models.network import Network, forward, parameters


def network(**options):
    torch.manual_seed(0)
    made = Network(lstm_options(**options), 50).eval()
    with torch.no_grad():
        for weights in made.parameters():
            weights.add_(torch.randn_like(weights) * 0.3)
    return made


def rows(count=9):
    draw = np.random.default_rng(0)
    return [draw.integers(0, 50, length) for length in [1, 2, 40, *draw.integers(1, 40, count - 3)]]


def by_torch(made, row, options):
    """The score of a row by torch's own LSTM of both directions, on the row alone, without padding."""
    states = made.embedding(torch.from_numpy(row))[None]
    for layer in made.layers:
        directions = list(layer.children())
        both = torch.nn.LSTM(states.shape[2], options.hidden, batch_first=True, bidirectional=len(directions) == 2)
        own = {}
        for suffix, direction in zip(("", "_reverse"), directions, strict=False):
            own |= {f"{name}{suffix}": weights for name, weights in direction.state_dict().items()}
        both.load_state_dict(own)
        states, (last, _) = both(states)
    pooled = {"last": last.flatten()[None], "mean": states.mean(1), "max": states.amax(1)}[options.pooling]
    return float(made.head(pooled))


@pytest.mark.parametrize("pooling", ["last", "mean", "max"])
@pytest.mark.parametrize("more", [{"layers": 1, "bidirectional": False}, {"layers": 2, "bidirectional": True}])
def test_scores_are_torchs_own_of_each_row_alone(pooling, more):
    options = lstm_options(pooling=pooling, **more)
    made = network(pooling=pooling, **more)
    with torch.no_grad():
        expected = [by_torch(made, row, options) for row in rows()]
        together = forward(made, rows()).numpy()
    assert together == pytest.approx(expected, abs=2e-6)
    learning = forward(made, rows()).detach().numpy()
    assert learning == pytest.approx(expected, abs=2e-6)


def test_nothing_flows_through_padding():
    made = network(layers=2)
    short, long = np.arange(3), np.arange(40)
    forward(made, [short, long])[0].backward()
    seen = made.embedding.weight.grad.abs().sum(1) > 0
    assert seen.nonzero().flatten().tolist() == [0, 1, 2]


def test_rows_are_computed_in_parts_of_like_lengths(monkeypatch):
    made = network()
    with torch.no_grad():
        whole = forward(made, rows()).numpy()
        monkeypatch.setattr("rmbench.models.network.TOKENS", 64)
        assert forward(made, rows()).numpy() == pytest.approx(whole, abs=1e-6)


@pytest.mark.parametrize("more", [{}, {"layers": 3, "bidirectional": False, "embedding": 5, "hidden": 7}])
def test_weights_are_counted_without_a_network(more):
    made = Network(lstm_options(**more), 123)
    assert parameters(lstm_options(**more), 123) == sum(weights.numel() for weights in made.parameters())


@pytest.fixture(scope="module")
def data():
    return words(60, 24)


@pytest.fixture(scope="module")
def fitted(data, tmp_path_factory):
    return fit(lstm, data, lstm_options(), tmp_path_factory.mktemp("lstm") / "rm")


@pytest.fixture
def copy(fitted, tmp_path):
    for file in fitted.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    return tmp_path


def digest(folder):
    return {file.name: hashlib.sha256(file.read_bytes()).hexdigest() for file in Path(folder).glob("[!.]*")}


def test_it_learns_words_that_it_was_not_shown(fitted, data):
    config = json.loads((fitted / "config.json").read_text())
    found = scores(lstm, fitted, data.dev.batch)
    assert agreement(found, data.dev.pairs) >= 0.9
    assert agreement(found, data.dev.pairs) == pytest.approx(config["training"]["accuracy"])


def test_a_row_alone_and_among_others_has_the_same_score(fitted, data):
    found = scores(lstm, fitted, data.dev.batch)
    alone = [scores(lstm, fitted, data.dev.batch.take([row]))[0] for row in (0, 5, 7)]
    assert alone == pytest.approx(found[[0, 5, 7]], abs=1e-5 * found.std())


@pytest.mark.parametrize(("loss", "pooling"), [("squared", "mean"), ("cross-entropy", "last"), ("hinge", "max")])
def test_the_checkpoint_scores_what_was_trained(loss, pooling, tmp_path, monkeypatch):
    learners = []

    def train(learner, *given):
        learners.append(learner)
        return training.train(learner, *given)

    monkeypatch.setattr(lstm, "train", train)
    made = ratings()
    folder = fit(lstm, made, lstm_options(pooling=pooling, steps=60), tmp_path, loss)
    with torch.no_grad():
        expected = learners[0].scores("dev", range(len(made.dev.batch))).numpy()
    found = scores(lstm, folder, made.dev.batch)
    assert found == pytest.approx(expected, abs=1e-5 * found.std())
    assert agreement(found, made.dev.pairs) >= 0.8
    if loss == "squared":  # on the raters' scale
        assert np.abs(found - np.array(made.dev.targets)).mean() < 1.0


def test_a_fit_that_was_killed_goes_on_to_the_same_bytes(data, tmp_path):
    options = lstm_options(dropout=0.3, steps=12)
    whole = fit(lstm, data, options, tmp_path / "whole")
    steps = iter(range(100))
    with pytest.raises(Interrupted):
        fit(lstm, data, options, tmp_path / "stopped", stop=lambda: next(steps) == 7)
    assert (tmp_path / "stopped" / ".state").is_dir()
    assert digest(fit(lstm, data, options, tmp_path / "stopped")) == digest(whole)
    assert not (tmp_path / "stopped" / ".state").exists()


KILLED = """
import os, signal, sys
from pathlib import Path
from judgements import words
from neural import lstm_options
from rmbench.judged import Fitting
from rmbench.models import lstm, training
training.SAVE_SECONDS = training.LEAST_SECONDS = training.LEAST_SHARE = 0.0
place = Path(sys.argv[1])

def tell(row):
    if row["step"] >= 8:
        os.kill(os.getpid(), signal.SIGKILL)

lstm.fit(words(60, 24), "bradley-terry", lstm_options(dropout=0.3, steps=12), Fitting(place, tell=tell))
"""


def test_kill_9_changes_nothing(data, tmp_path):
    known = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    done = subprocess.run([sys.executable, "-c", KILLED, tmp_path / "a"], env=known, check=False)
    assert done.returncode == -signal.SIGKILL
    assert list((tmp_path / "a" / ".state").glob("state-*.json"))
    options = lstm_options(dropout=0.3, steps=12)
    assert digest(fit(lstm, data, options, tmp_path / "a")) == digest(fit(lstm, data, options, tmp_path / "b"))


def test_more_memory_than_there_is_is_an_error_before_anything_is_read(data, tmp_path, monkeypatch):
    monkeypatch.setattr(memory, "free_memory", lambda: 10**6)
    monkeypatch.setattr(lstm, "texts_of", None)
    with pytest.raises(InputError, match=r"102,338,561 weights, .* take 1\.6 GB .* 0\.0 GB are free"):
        fit(lstm, data, lstm_options(hidden=2048, embedding=4096), tmp_path)


def drop(name):
    return lambda tensors: tensors.pop(name)


def put(name, value):
    return lambda tensors: tensors.update({name: value})


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (drop("head.bias"), "1 layers have 11 tensors, model.safetensors has 10"),
        (put("more", torch.zeros(1)), "has 12"),
        (lambda tensors: tensors.update(other=tensors.pop("head.bias")), "'head.bias' is missing"),
        (put("head.weight", torch.zeros(1, 7)), r"'head.weight' has the shape \(1, 7\)"),
        (put("head.bias", torch.tensor([float("nan")])), "'head.bias' hold NaN"),
    ],
)
def test_weights_that_are_not_of_the_configuration_are_named(copy, change, words):
    change_weights(copy, change)
    with pytest.raises(InputError, match=words):
        lstm.load(copy, Runtime())


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"model_type": "llama"}, "model_type is 'llama', expected rmbench-lstm"),
        ({"hidden": -1}, "hidden is -1"),
        ({"hidden": None}, "has no 'hidden'"),
        ({"layers": 1000}, "1,000 layers have 8,003 tensors"),
        ({"vocabulary": 100}, "the tokenizer has ids up to .*, the model embeds 100"),
        ({"vocabulary": 4000}, "'embedding.weight' has the shape"),
        ({"pooling": "first"}, "pooling is 'first'"),
    ],
)
def test_a_configuration_that_lies_is_an_error(copy, changes, words):
    edit(copy / "config.json", **changes)
    with pytest.raises(InputError, match=words):
        lstm.load(copy, Runtime())


def test_a_long_response_has_a_score(fitted, data):
    batch = dataclasses.replace(data.dev.batch.take([0]), responses=(" ".join(["clear"] * 500),))
    made = lstm.load(fitted, Runtime())(batch)
    assert made["tokens"] == [64.0]
    assert made["cut"][0] > 400
    assert np.isfinite(made["score"][0])


def test_the_folder_says_nothing_of_this_machine(fitted, tmp_path):
    for file in fitted.glob("[!.]*"):
        assert str(fitted).encode() not in file.read_bytes()
    assert Fitting(tmp_path).folder == tmp_path
