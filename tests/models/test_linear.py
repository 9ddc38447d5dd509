"""The linear reward model: ridge by hand and by least squares, weights of rewards, scores that no neighbour changes."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pytest
import torch
from encoders import tiny_encoder
from judgements import preferred, rated, ratings, with_scores, words
from scipy import sparse

from rmbench.api import NoScore, Runtime
from rmbench.builtin.feature_models import REWARD_MODELS, fit_linear, load_linear
from rmbench.errors import InputError
from rmbench.judged import Fitting, Interrupted
from rmbench.models.balance import accuracy
from rmbench.models.feature_options import Linear
from rmbench.models.linear import ridge

FAST = {"steps": 60, "evaluations": 6, "learning_rate": 0.05, "buckets": 256}


def fitted(folder, judgements, loss="bradley-terry", runtime=None, **options):
    fitting = Fitting(folder, {"reward_model": "linear", "loss": loss}, runtime or Runtime())
    return fit_linear(judgements, loss, Linear(**{**FAST, **options}), fitting)


def scores(folder, batch, runtime=None):
    return load_linear(folder, runtime or Runtime())(batch)


def config(folder):
    return json.loads((folder / "config.json").read_text())


def test_ridge_by_hand():
    """One feature, x = -1, 0, 1 and y = 1, 2, 6: w = mean(x y') / (mean(x^2) + penalty) = (5/3) / (2/3 + 1)."""
    found = ridge(np.array([[-1.0], [0.0], [1.0]]), sparse.csr_array((3, 0)), np.array([1.0, 2.0, 6.0]), 1.0)
    assert found.weight.tolist() == pytest.approx([1.0])
    assert found.bias == pytest.approx(3.0)
    moved = ridge(np.array([[9.0], [10.0], [11.0]]), sparse.csr_array((3, 0)), np.array([1.0, 2.0, 6.0]), 1.0)
    assert moved.weight.tolist() == pytest.approx([1.0])  # where the axis begins does not matter
    assert moved.bias == pytest.approx(3.0 - 10.0)


@pytest.mark.parametrize(("rows", "dense", "grams"), [(40, 5, 3), (12, 20, 30), (30, 0, 7), (9, 9, 0), (6, 1, 4)])
@pytest.mark.parametrize("penalty", [1e-3, 0.5, 30.0])
def test_ridge_is_the_least_squares_solution_of_the_augmented_rows(rows, dense, grams, penalty):
    draw = np.random.default_rng(rows)
    left = draw.normal(2, 3, (rows, dense))
    right = sparse.random_array((rows, grams), density=0.4, rng=draw, format="csr")
    target = draw.normal(5, 2, rows)
    found = ridge(left, right, target, penalty)
    whole = np.hstack([left, right.toarray()])
    width = dense + grams
    augmented = np.vstack([
        np.hstack([whole, np.ones((rows, 1))]),
        np.hstack([np.sqrt(penalty * rows) * np.eye(width), np.zeros((width, 1))]),
    ])  # fmt: skip
    want = np.linalg.lstsq(augmented, np.concatenate([target, np.zeros(width)]), rcond=None)[0]
    np.testing.assert_allclose(found.weight, want[:-1], atol=1e-9)
    assert found.bias == pytest.approx(want[-1], abs=1e-9)


@pytest.mark.parametrize("loss", ["bradley-terry", "hinge"])
def test_pairs_are_learnt_and_the_bias_stays_0(loss, tmp_path):
    made = words()
    folder = fitted(tmp_path / "m", made, loss)
    found = scores(folder, made.dev.batch)
    assert accuracy(found["score"], made.dev.pairs) == config(folder)["training"]["accuracy"] >= 0.9
    assert set(found["bias"]) == {0.0} == {config(folder)["bias"]}
    assert "bias cancels" in (folder / "card.md").read_text()


def test_what_a_pair_shares_has_no_weight(tmp_path):
    """Rounding leaves a gradient of 1e-9, which AdamW would blow up to steps as large as any."""
    encoder = tiny_encoder(tmp_path / "encoder")
    made = words(pairs=20, dev=5)
    folder = fitted(tmp_path / "m", made, features=["embeddings"], encoder=encoder, steps=20)
    weight = load_linear(folder, Runtime()).weights.weight
    assert set(weight[16:32].tolist()) == {0.0}  # of the prompt's vector
    assert (np.delete(weight, range(16, 32)) != 0).all()


def test_ratings_are_learnt_on_their_own_scale(tmp_path):
    made = ratings()
    folder = fitted(tmp_path / "m", made, "squared", ridge=1e-3)
    found = np.array(scores(folder, made.dev.batch)["score"])
    assert np.abs(found - np.array(made.dev.targets)).mean() < 0.6
    assert config(folder)["training"]["stopped"] == "exact"
    log = [json.loads(line) for line in (folder / "log.jsonl").read_text().splitlines()]
    assert log[0]["dev_loss"] == pytest.approx(np.square(found - np.array(made.dev.targets)).mean())
    classes = fitted(tmp_path / "c", made, "cross-entropy", steps=200)
    logits = np.array(scores(classes, made.dev.batch)["score"])
    assert ((logits > 0) == np.array(made.dev.good)).mean() >= 0.9


def test_ratings_that_are_missing_are_an_error(tmp_path):
    with pytest.raises(InputError, match="no ratings that the loss 'squared' could learn"):
        fitted(tmp_path / "m", words(pairs=4, dev=2), "squared")


def columns(made, seed=3):
    """Scores of two rewards: one that says which text is better, and one that says nothing."""
    draw = np.random.default_rng(seed)
    count = len(made.train.batch) + len(made.dev.batch)
    truth = [2.0 - row % 2 + draw.normal(0, 0.8) for row in range(count)]
    return {"useful": truth, "noise": draw.normal(0, 1, count).tolist()}


def test_the_weights_of_a_composite_are_learnt_and_stand_in_the_card(tmp_path):
    made = with_scores(words(), columns(words()))
    folder = fitted(tmp_path / "m", made, features=["rewards"], rewards=["useful", "noise"], steps=150)
    weights = config(folder)["weights"]
    assert weights["useful"] > 2 * abs(weights["noise"])
    found = scores(folder, made.dev.batch)
    assert set(found) == {"score", "useful", "noise", "bias"}
    batch = made.dev.batch
    for name in ("useful", "noise"):
        slope = np.polyfit(batch.scores[name], found[name], 1)[0]
        assert slope == pytest.approx(weights[name])
    card = (folder / "card.md").read_text()
    assert "weights learnt from people" in card
    assert f"{weights['useful']:+.6g}" in card.replace("\\", "")
    other = with_scores(ratings(), columns(ratings()))
    exact = fitted(tmp_path / "r", other, "squared", features=["rewards"], rewards=["useful", "noise"])
    assert set(config(exact)["weights"]) == {"useful", "noise"}


def test_a_row_whose_reward_gave_no_score_has_none(tmp_path):
    made = words()
    given = columns(made)
    given["useful"][0] = None
    made = with_scores(made, given)
    folder = fitted(tmp_path / "m", made, features=["rewards", "surface"], rewards=["useful"])
    assert "1 of 120 rows of train were left out: useful gave no score" in (folder / "card.md").read_text()
    found = scores(folder, made.train.batch)
    assert found["score"][0] == found["surface"][0] == NoScore("useful gave no score")
    assert all(isinstance(score, float) for score in found["score"][1:])


@pytest.mark.parametrize("loss", ["bradley-terry", "squared"])
def test_parts_sum_to_the_score_and_no_neighbour_changes_it(loss, tmp_path):
    encoder = tiny_encoder(tmp_path / "encoder")
    made = ratings()
    made = with_scores(made, columns(made))
    folder = fitted(
        tmp_path / "m", made, loss, features=["ngrams", "surface", "embeddings", "rewards"], rewards=["noise", "useful"],
        encoder=encoder, steps=20,
    )  # fmt: skip
    scorer = load_linear(folder, Runtime())
    batch = made.train.batch
    found = {name: np.array(column) for name, column in scorer(batch).items()}
    assert list(found) == ["score", "ngrams", "surface", "embeddings", "noise", "useful", "bias"]
    parts = sum(column for name, column in found.items() if name != "score")
    np.testing.assert_allclose(parts, found["score"], rtol=0, atol=1e-12)
    order = np.random.default_rng(0).permutation(len(batch)).tolist()
    for rows in ([7], order, [3, 3, 3, *order], list(range(len(batch))) * 9):
        fresh = load_linear(folder, Runtime())
        again = fresh(batch.take(rows))
        np.testing.assert_allclose(again["score"], found["score"][rows], rtol=0, atol=1e-6)
        np.testing.assert_array_equal(np.array(scorer(batch.take(rows))["score"]), found["score"][rows])


def test_features_without_an_encoder_are_the_same_bit_for_bit(tmp_path):
    made = words()
    folder = fitted(tmp_path / "m", made)
    batch = made.train.batch
    found = np.array(scores(folder, batch)["score"])
    alone = [scores(folder, batch.take([row]))["score"][0] for row in range(12)]
    assert found[:12].tolist() == alone
    twice = scores(folder, batch.take([5, 4, 5]))["score"]
    assert twice == [found[5], found[4], found[5]]


def test_one_seed_gives_one_folder_byte_for_byte_and_leaves_the_random_state(tmp_path):
    made = words()
    before = torch.get_rng_state()
    one, two = (fitted(tmp_path / name, made) for name in ("a", "b"))
    assert (torch.get_rng_state() == before).all()
    for name in ("model.safetensors", "config.json", "card.md", "log.jsonl"):
        assert (one / name).read_bytes() == (two / name).read_bytes()
    other = fitted(tmp_path / "c", made, runtime=Runtime(seed=2))
    assert (other / "model.safetensors").read_bytes() != (one / "model.safetensors").read_bytes()


def test_a_stop_before_the_features_are_read_is_an_interruption(tmp_path):
    with pytest.raises(Interrupted):
        fit_linear(words(), "hinge", Linear(), Fitting(tmp_path / "m", stop=lambda: True))


def test_the_encoder_is_found_again_or_named(tmp_path):
    encoder = tiny_encoder(tmp_path / "encoder")
    made = words(pairs=12, dev=4)
    folder = fitted(tmp_path / "m", made, features=["embeddings"], encoder=encoder, steps=4)
    want = scores(folder, made.dev.batch)["score"]
    for name in ("config.json", "card.md"):
        assert str(tmp_path) not in (folder / name).read_text()
    moved = shutil.move(encoder, tmp_path / "elsewhere")
    with pytest.raises(InputError, match=r"its sentence encoder 'encoder' is not there \(it was ") as caught:
        load_linear(folder, Runtime())
    assert str(folder / ".encoder") in caught.value.help
    (folder / ".encoder").write_text(f"{moved}\n")
    assert scores(folder, made.dev.batch)["score"] == want
    (folder / ".encoder").write_text(f"{tiny_encoder(tmp_path / 'other', seed=1)}\n")
    with pytest.raises(InputError, match="was fitted with another sentence encoder"):
        load_linear(folder, Runtime())


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda c: c.pop("features"), "has no features"),
        (lambda c: c["features"].pop("orders"), "its features cannot be read"),
        (lambda c: c["features"].update(buckets=-1), "buckets is -1"),
        (lambda c: c["features"].update(columns=7), "columns = 7"),
        (lambda c: c["features"].update(kept=3), "the tensor 'weight' has the shape"),
        (lambda c: c["features"].update(buckets=300), "the tensor 'features.buckets' has the shape"),
        (lambda c: c["features"].update(features=["surface"]), "are not those of its features"),
        (lambda c: c["features"].update(encoder={"name": "x"}), "its features cannot be read"),
    ],
)
def test_a_checkpoint_of_two_fits_is_refused(change, words, tmp_path):
    folder = fitted(tmp_path / "m", globals()["words"](pairs=12, dev=4), steps=2)
    changed = config(folder)
    change(changed)
    (folder / "config.json").write_text(json.dumps(changed))
    with pytest.raises(InputError, match="features|buckets|columns|tensor") as caught:
        load_linear(folder, Runtime())
    assert words in str(caught.value)


def test_the_records_name_what_they_need():
    linear, mlp = REWARD_MODELS
    assert (linear.name, mlp.name) == ("linear", "mlp")
    assert linear.losses[0] == "bradley-terry"
    assert list(linear.uses(rewards=["bleu"])) == ["bleu"]


def test_pairs_of_texts_that_are_empty_or_equal_are_scored(tmp_path):
    made = preferred([("clear", ""), ("kind", "kind"), ("true", "odd")] * 4, [("clear", "odd")])
    folder = fitted(tmp_path / "m", made, rare=1)
    found = scores(folder, made.train.batch)["score"]
    assert found[2] == found[3]
    assert np.isfinite(found).all()
    none = scores(folder, made.train.batch.take([]))
    assert none["score"] == []
    alone = replace(rated([[("x", 1.0)]]).train.batch, scores={})
    assert len(scores(folder, alone)["score"]) == 1
