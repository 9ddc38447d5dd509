"""The perceptron: learns what no linear model can, scores as torch does, a row at a time."""

import json

import numpy as np
import pytest
import torch
from judgements import preferred, ratings, with_scores, words

from rmbench.api import NoScore, Runtime
from rmbench.builtin.feature_models import fit_linear, fit_mlp, load_mlp
from rmbench.errors import InputError
from rmbench.judged import Fitting, Interrupted
from rmbench.models import mlp
from rmbench.models.balance import accuracy
from rmbench.models.feature_options import Linear, Mlp

FAST = {"steps": 80, "evaluations": 8, "learning_rate": 0.01, "buckets": 256, "hidden": [16]}


def fitted(folder, judgements, loss="bradley-terry", runtime=None, **options):
    fitting = Fitting(folder, {"reward_model": "mlp", "loss": loss}, runtime or Runtime())
    return fit_mlp(judgements, loss, Mlp(**{**FAST, **options}), fitting)


def scores(folder, batch):
    return load_mlp(folder, Runtime())(batch)


@pytest.mark.parametrize("loss", ["bradley-terry", "hinge"])
def test_pairs_are_learnt(loss, tmp_path):
    made = words()
    folder = fitted(tmp_path / "m", made, loss)
    config = json.loads((folder / "config.json").read_text())
    assert accuracy(scores(folder, made.dev.batch), made.dev.pairs) == config["training"]["accuracy"] >= 0.9


def test_ratings_are_learnt_on_their_own_scale(tmp_path):
    made = ratings()
    folder = fitted(tmp_path / "m", made, "squared", steps=150)
    found = np.array(scores(folder, made.dev.batch))
    assert np.abs(found - np.array(made.dev.targets)).mean() < 0.8
    classes = fitted(tmp_path / "c", made, "cross-entropy")
    assert ((np.array(scores(classes, made.dev.batch)) > 0) == np.array(made.dev.good)).mean() >= 0.8


def middle(pairs, dev, seed=0):
    """The text whose reward is near 0 is better: no linear function of it says so."""
    draw = np.random.default_rng(seed)
    near, far = (
        draw.uniform(-0.5, 0.5, pairs + dev),
        draw.uniform(1, 2, pairs + dev) * draw.choice([-1, 1], pairs + dev),
    )
    made = preferred([("a", "b")] * pairs, [("a", "b")] * dev)
    return with_scores(made, {"odd": np.stack([near, far], axis=1).ravel().tolist()})


def test_it_learns_what_no_linear_model_can(tmp_path):
    made = middle(60, 30)
    own = {"features": ["rewards"], "rewards": ["odd"]}
    folder = fitted(tmp_path / "m", made, steps=200, **own)
    assert accuracy(scores(folder, made.dev.batch), made.dev.pairs) >= 0.9
    line = fit_linear(made, "bradley-terry", Linear(steps=200, **own), Fitting(tmp_path / "l"))
    assert json.loads((line / "config.json").read_text())["training"]["accuracy"] <= 0.75


def test_a_row_scores_as_torch_scores_it_whatever_stands_beside_it(tmp_path):
    made = words()
    folder = fitted(tmp_path / "m", made, hidden=[8, 4])
    scorer = load_mlp(folder, Runtime())
    batch = made.train.batch
    found = np.array(scorer(batch))
    module = mlp.module_of(scorer.features.width, Mlp(hidden=[8, 4]), bias=True).double().eval()
    layers = [layer for layer in module if isinstance(layer, torch.nn.Linear)]
    for layer, (weight, bias) in zip(layers, scorer.layers, strict=True):
        layer.weight.data, layer.bias.data = torch.from_numpy(weight), torch.from_numpy(bias)
    table = scorer.fitted(scorer.features.reader(batch))
    with torch.no_grad():
        want = module(torch.from_numpy(table.rows(range(len(batch)))))[:, 0].numpy()
    np.testing.assert_allclose(found, want, rtol=0, atol=1e-12)
    for rows in ([5], [9, 2, 9], list(range(len(batch)))[::-1]):
        assert scorer(batch.take(rows)) == found[rows].tolist()


def test_one_seed_gives_one_folder_byte_for_byte(tmp_path):
    made = words(pairs=20, dev=5)
    before = torch.get_rng_state()
    one, two = (fitted(tmp_path / name, made, steps=20) for name in ("a", "b"))
    assert (torch.get_rng_state() == before).all()
    for name in ("model.safetensors", "config.json", "card.md", "log.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    other = fitted(tmp_path / "c", made, steps=20, runtime=Runtime(seed=2))
    assert (other / "model.safetensors").read_bytes() != (one / "model.safetensors").read_bytes()


def test_rows_without_a_reward_and_wrong_sizes(tmp_path):
    made = middle(10, 4)
    made = with_scores(made, {"odd": [None, *range(27)]})
    folder = fitted(tmp_path / "m", made, features=["rewards"], rewards=["odd"], steps=4)
    assert scores(folder, made.train.batch)[0] == NoScore("odd gave no score")
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for hidden, what in (
        ([0], "hidden is [0], expected sizes of layers"),
        ([17], "the tensor 'layers.0."),
        (None, "hidden is None"),
    ):
        path.write_text(json.dumps({**config, "hidden": hidden}))
        with pytest.raises(InputError, match="hidden|tensor") as caught:
            load_mlp(folder, Runtime())
        assert what in str(caught.value)


@pytest.mark.parametrize("model", ["linear", "mlp"])
def test_an_interrupted_fit_goes_on_to_the_same_folder(model, tmp_path):
    made = words(pairs=30, dev=8)
    fit, options = (fit_mlp, Mlp(**{**FAST, "steps": 30})) if model == "mlp" else (fit_linear, Linear(steps=30))
    calls = []

    def stop():
        calls.append(1)
        return len(calls) == 15

    with pytest.raises(Interrupted):
        fit(made, "hinge", options, Fitting(tmp_path / "a", stop=stop))
    assert not (tmp_path / "a" / "config.json").exists()
    one = fit(made, "hinge", options, Fitting(tmp_path / "a"))
    two = fit(made, "hinge", options, Fitting(tmp_path / "b"))
    for name in ("model.safetensors", "config.json", "card.md", "log.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    assert not (one / ".state").exists()
