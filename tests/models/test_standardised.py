"""The standardised composite: its three scales by hand and against scipy, and what it refuses."""

import json
import math

import judgements as made
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.numpy import load_file, save_file
from scipy import stats

from rmbench.api import NoScore, Runtime
from rmbench.builtin.standardised_model import REWARD_MODELS
from rmbench.errors import InputError
from rmbench.judged import Fitting, Interrupted
from rmbench.models.standardised import Scorer, scale_of
from rmbench.models.standardised_options import Standardised

(MODEL,) = REWARD_MODELS
# train's four rows, then dev's two: each sample is a better and a worse text
SCORES = {"one": (1.0, 2.0, 3.0, 6.0, 9.0, 3.0), "two": (10.0, None, 30.0, 30.0, 20.0, None)}


def fit(folder, *, scores=SCORES, **options):
    data = made.preferred([("a", "b"), ("c", "d")], [("e", "f")], scores=scores)
    MODEL.fit(data, "statistics", Standardised(**options), Fitting(folder))
    return MODEL.load(folder, Runtime())(data.dev.batch)


@pytest.mark.parametrize(
    ("scale", "one", "two"),
    [
        ("z", [6 / math.sqrt(3.5), 0.0], (20 - 70 / 3) / (20 * math.sqrt(2) / 3)),  # one: mean 3, variance 14 / 4
        ("min-max", [8 / 5, 2 / 5], 0.5),
        ("rank", [1.0, 2.5 / 4], 1 / 3),
    ],
)
def test_by_hand(tmp_path, scale, one, two):
    found = fit(tmp_path, weights={"one": 2.0, "two": -1.0}, scale=scale)
    assert found["one"] == pytest.approx(one, abs=1e-15)
    assert found["two"] == [pytest.approx(two), NoScore("two gave no score")]
    assert found["score"] == [pytest.approx(2 * one[0] - two), NoScore("two gave no score")]
    card = (tmp_path / "card.md").read_text(encoding="utf-8")
    assert "0.0000 (1 pairs" in card  # a row without a score is wrong in its pair
    assert "-1 \\* two: " in card


def test_dev_can_be_the_yardstick_and_an_unscored_row_wins_no_pair(tmp_path):
    scores = {"one": (5.0, 5.0, 5.0, 5.0, None, 3.0, 1.0, 2.0)}
    data = made.preferred([("a", "b"), ("c", "d")], [("e", "f"), ("g", "h")], scores=scores)
    MODEL.fit(data, "statistics", Standardised(weights={"one": -1}, split="dev", scale="min-max"), Fitting(tmp_path))
    found = MODEL.load(tmp_path, Runtime())(data.dev.batch)
    assert found["score"] == [NoScore("one gave no score"), -1.0, 0.0, -0.5]
    told = json.loads((tmp_path / "config.json").read_text(encoding="utf-8"))
    assert told["training"]["accuracy"] == 0.5
    assert (tmp_path / "model.safetensors").read_bytes()


VALUES = st.lists(st.floats(-1e6, 1e6).map(lambda x: round(x, 3)), min_size=2, max_size=12).filter(
    lambda v: len(set(v)) > 1
)


@settings(max_examples=150, deadline=None)
@given(values=VALUES, new=st.floats(-1e6, 1e6).map(lambda x: round(x, 3)))
def test_scales_are_scipys(values, new):
    batch = made.rated([[(str(n), 1.0) for n in range(len(values) + 1)]], scores={"r": [*values, new]}).train.batch

    def placed(scale):
        return Scorer(Standardised(weights={"r": 1}, scale=scale), [scale_of(values, scale)])(batch)["r"]

    assert placed("z")[:-1] == pytest.approx(stats.zscore(values), rel=1e-9, abs=1e-9)
    ranks = [stats.percentileofscore(values, one, kind="mean") / 100 for one in [*values, new]]
    assert placed("rank") == pytest.approx(ranks, abs=1e-12)
    least, most = min(values), max(values)
    assert placed("min-max") == pytest.approx([(one - least) / (most - least) for one in [*values, new]])


def test_ties_of_a_rank_are_ties_on_paper():
    scale = scale_of([0.1 + 0.2, 0.3, 0.5], "rank")
    assert scale.tolist() == [0.3, 0.3, 0.5]
    assert scale_of([0.1 + 0.2, 0.3], "z") is None


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ((7.0, 7.0, 7.0, None, 1.0, 2.0), "one gives 7 to all 3 rows: there is no scale"),
        ((None, None, None, None, 1.0, 2.0), "one gives no row a score"),
    ],
)
def test_a_part_without_a_scale_is_an_error(tmp_path, values, message):
    with pytest.raises(InputError, match=message) as raised:
        fit(tmp_path, weights={"one": 1}, scores={"one": values})
    assert raised.value.where == "task toy, train"
    assert not (tmp_path / "config.json").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"weights": {}}, "weights is {}"),
        ({"weights": {"a": 0}}, "is 0, expected a finite number other than 0"),
        ({"weights": {"a": True}}, "is True"),
        ({"weights": {"score": 1}}, "the name 'score'"),
        ({"weights": {"a": 1}, "scale": "log"}, "scale is 'log'"),
        ({"weights": {"a": 1}, "split": "test"}, "split is 'test', which no fit reads"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        Standardised(**options)


def test_it_stops_when_asked(tmp_path):
    data = made.preferred([("a", "b")], scores={"one": (1.0, 2.0)})
    with pytest.raises(Interrupted):
        MODEL.fit(data, "statistics", Standardised(weights={"one": 1}), Fitting(tmp_path, stop=lambda: True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"model_type": "linear"}, "is no configuration of 'standardised'"),
        ({"options": {"weights": {"one": 1}, "scale": "log"}}, "options: scale is 'log'"),
        ({"sizes": [1]}, r"sizes is .1., which are not those of its weights"),
        ({"sizes": [3]}, "sizes is .3."),
    ],
)
def test_a_checkpoint_is_read_as_what_it_is(tmp_path, change, message):
    fit(tmp_path, weights={"one": 1})
    path = tmp_path / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        MODEL.load(tmp_path, Runtime())


@pytest.mark.parametrize(("scale", "wrong"), [("z", [0.0, 0.0]), ("rank", [3.0, 2.0, 1.0, 4.0])])
def test_a_scale_that_is_none_is_refused(tmp_path, scale, wrong):
    fit(tmp_path, weights={"one": 1}, scale=scale)
    weights = tmp_path / "model.safetensors"
    assert load_file(weights)["scale.0"].shape == (len(wrong),)
    save_file({"scale.0": np.array(wrong)}, weights)
    with pytest.raises(InputError, match=f"scale.0 is no scale of {scale}"):
        MODEL.load(tmp_path, Runtime())
