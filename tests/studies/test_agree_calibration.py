"""Calibration in the agree study, by hand: what is given for which pairs, and what is said where there is nothing."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from agree_rows import find, make, scored, with_mode

from rmbench.builtin.metrics import DOCS
from rmbench.studies import calibration
from rmbench.studies.agree import agree

LN3 = math.log(3.0)
ALL = calibration.METRICS


def prefer(margins, *, count=None):
    """Samples of two texts each, of which people prefer the first; the reward gives it this much more."""
    samples = [{"texts": ["good", "bad"], "prefs": [(0, 1, None)]} for _ in margins[:count]]
    return samples, [value for margin in margins[:count] for value in (margin, None if margin is None else 0.0)]


def rows_of(margins, **fields):
    samples, values = prefer(margins)
    return make(samples, [scored("r", values, **fields)])


def of_calibration(results):
    return [r for r in results if r.metric in ALL]


# three of four right, 3/4 sure of each: 60 pairs
SURE = [LN3, LN3, LN3, -LN3] * 15


def test_errors_by_hand():
    results = agree(rows_of(SURE), None)
    brier, error = find(results, "brier"), find(results, "calibration-error")
    assert brier.value == pytest.approx((3 * 1 / 16 + 9 / 16) / 4)
    assert error.value == pytest.approx(0.0, abs=1e-12)
    assert (brier.level, brier.aspect, brier.n, brier.rows, brier.pairs, brier.unscored) == (
        "pair",
        None,
        60,
        120,
        60,
        0,
    )
    assert brier.ci[0] < brier.value < brier.ci[1]
    assert error.ci[0] >= error.value  # the statistic is biased upwards, and more so in a resample
    assert brier.resamples == error.resamples == 1000
    assert "seed" not in brier.signature


def test_a_reward_that_says_too_much_is_scaled():
    rows = rows_of([10 * margin for margin in SURE])
    results = agree(rows, None)
    temperature = find(results, "temperature")
    clusters = rows.cluster[rows.sample[rows.better]]
    half = {int(c) for c in calibration.first_half(clusters, 1)}
    share = sum(SURE[c] > 0 for c in half) / len(half)
    assert temperature.value == pytest.approx(10 * LN3 / math.log(share / (1 - share)), rel=1e-9)
    assert (temperature.n, temperature.pairs, temperature.ci) == (30, 30, None)
    rest = [SURE[c] > 0 for c in range(60) if c not in half]
    brier = find(results, "brier-scaled")
    assert brier.value == pytest.approx(sum((1 - share) ** 2 if hit else share**2 for hit in rest) / 30)
    assert (brier.n, brier.pairs) == (30, 30)
    assert find(results, "calibration-error-scaled").value == pytest.approx(abs(sum(rest) / 30 - share))
    assert all(find(results, name).signature.endswith("|seed:1") for name in ("temperature", *calibration.SCALED))


def test_half_is_seeded():
    one, two = (find(agree(replace(rows_of(SURE), seed=seed), ("temperature",)), "temperature") for seed in (1, 2))
    assert one.value != two.value
    assert two.signature.endswith("|seed:2")


def test_accuracy_by_margin():
    margins = [0.1, -0.1] * 5 + [0.2] * 10 + [0.4, 0.4, 0.4, -0.4] * 2 + [0.5, 0.5] + [1.0] * 10 + [2.0] * 10
    results = agree(rows_of(margins), None)
    found = [find(results, "margin-accuracy", subset=f"margin:{k}/5") for k in range(1, 6)]
    assert [r.value for r in found] == [0.5, 1.0, 0.8, 1.0, 1.0]
    assert [(r.n, r.rows, r.pairs, r.unscored) for r in found] == [(10, 20, 10, 0)] * 5
    assert found[0].ci[0] < 0.5 < found[0].ci[1]
    assert found[1].ci == (1.0, 1.0)
    edges = [find(results, "margin-edge", subset=f"margin:{k}/5").value for k in range(1, 6)]
    assert edges == [0.1, 0.2, 0.5, 1.0, 2.0]
    sure = find(results, "margin-confidence", subset="margin:3/5")
    assert sure.value == pytest.approx((8 / (1 + math.exp(-0.4)) + 2 / (1 + math.exp(-0.5))) / 10)
    temperature = find(results, "temperature").value
    scaled = find(results, "margin-confidence-scaled", subset="margin:5/5")
    assert scaled.value == pytest.approx(1 / (1 + math.exp(-2.0 / temperature)))


def test_equal_margins_share_a_bin_and_an_empty_bin_has_no_row():
    results = agree(rows_of([0.0] * 30 + [1.0] * 10 + [2.0] * 10), ("margin-accuracy",))
    found = {r.subset: (r.value, r.pairs) for r in results}
    assert found == {"margin:2/5": (0.5, 30), "margin:4/5": (1.0, 10), "margin:5/5": (1.0, 10)}


@pytest.mark.parametrize("mode", ["wrong", "exclude"])
def test_unscored_pairs_have_no_probability(mode):
    rows = with_mode(rows_of([*SURE, None, None]), mode)
    results = agree(rows, None)
    brier = find(results, "brier")
    assert (brier.value, brier.pairs, brier.n) == (pytest.approx(3 / 16), 60, 62)
    assert brier.unscored == 4
    assert (
        sum(find(results, "margin-accuracy", subset=r.subset).pairs for r in results if r.metric == "margin-edge") == 60
    )


# ---- where there is nothing to say


def test_below_forty_pairs_nothing_unless_it_is_asked_for():
    rows = rows_of(SURE[:39])
    assert of_calibration(agree(rows, None)) == []
    results = agree(rows, ("brier", "temperature", "margin-accuracy"))
    assert {(r.metric, r.value, r.reason) for r in results} == {
        ("brier", None, calibration.FEW), ("temperature", None, calibration.FEW),
    }  # fmt: skip
    assert of_calibration(agree(rows_of(SURE[:40]), None))


def test_a_reward_with_too_few_scored_pairs_gets_its_reason():
    results = of_calibration(agree(rows_of(SURE[:39] + [None] * 20), None))
    assert {r.metric for r in results} == {*calibration.ERRORS, "temperature", *calibration.SCALED}
    assert {(r.value, r.ci, r.reason) for r in results} == {(None, None, calibration.FEW)}


def test_a_reward_that_ties_every_pair_gets_its_reason():
    results = of_calibration(agree(rows_of([0.0] * 50), None))
    assert {(r.value, r.reason) for r in results} == {(None, calibration.TIED)}


def test_null_rewards_and_oracles_are_left_out():
    for kind in ("null", "oracle"):
        assert of_calibration(agree(rows_of(SURE, **{kind: True}), None)) == []


def test_one_prompt_cannot_be_split():
    samples, values = prefer(SURE)
    rows = make([{**sample, "prompt": "same"} for sample in samples], [scored("r", values)])
    results = agree(rows, None)
    assert find(results, "brier").value is not None
    assert find(results, "brier").ci is None
    for name in ("temperature", *calibration.SCALED):
        assert find(results, name).reason == calibration.FEW_IN_HALF
    assert not [r for r in results if r.metric == "margin-confidence-scaled"]
    assert [r for r in results if r.metric == "margin-confidence"]


def test_margins_that_point_to_the_worse_text_lose_all_confidence():
    results = agree(rows_of([-1.0, -2.0] * 30), None)
    temperature = find(results, "temperature")
    assert (temperature.value, temperature.reason) == (None, calibration.NO_CONFIDENCE)
    assert (find(results, "brier-scaled").value, find(results, "calibration-error-scaled").value) == (0.25, 0.5)


def test_margins_that_never_err_gain_all_confidence():
    results = agree(rows_of([1.0, 2.0] * 30), None)
    temperature = find(results, "temperature")
    assert (temperature.value, temperature.reason) == (0.0, calibration.ALL_CONFIDENCE)
    assert (find(results, "brier-scaled").value, find(results, "calibration-error-scaled").value) == (0.0, 0.0)


def test_scores_at_the_ends_of_floats():
    samples, _ = prefer(SURE)
    rows = make(samples, [scored("r", [value for _ in SURE for value in (1.7e308, -1.7e308)])])
    assert find(agree(rows, None), "brier").value == 0.0


# ---- which pairs


def rated(margins, aspects=("main",)):
    samples = [
        {"texts": ["good", "bad"], "human": {aspect: [2, 1] for aspect in aspects}, "subset": "ab"[k % 2]}
        for k in range(len(margins))
    ]
    return make(samples, [scored("r", [value for margin in margins for value in (margin, 0.0)])])


def test_ratings_of_the_main_aspect_only_and_no_subset():
    results = of_calibration(agree(rated(SURE, ("main", "other")), None))
    assert {r.aspect for r in results} == {"main"}
    assert {r.subset for r in results if not r.metric.startswith("margin-")} == {None}
    assert find(results, "brier", aspect="main").value == pytest.approx(3 / 16)


def test_only_the_metrics_that_are_named():
    rows = rows_of(SURE)
    assert {r.metric for r in agree(rows, ("brier-scaled",))} == {"brier-scaled"}
    assert {r.metric for r in agree(rows, ("kendall", "calibration-error"))} == {"calibration-error"}


def test_every_metric_is_documented():
    assert set(ALL) < set(DOCS)


def test_other_numbers_are_the_same_without_calibration():
    rows = rated(SURE)
    whole = agree(rows, None)
    others = {r.metric for r in whole} - set(ALL)
    assert agree(rows, others) == [r for r in whole if r.metric not in ALL]
