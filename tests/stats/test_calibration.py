"""Margins as probabilities, by hand: Brier score, calibration error, temperature, bins."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.optimize import minimize_scalar

from rmbench.stats.calibration import (
    brier_terms,
    calibration_error,
    calibration_intervals,
    confidence,
    confidence_bins,
    fit_temperature,
    margin_bins,
    right,
    win_probability,
)

LN3 = math.log(3.0)  # sigmoid(ln 3) = 3/4


def ece(margins, temperature=1.0):
    margins = np.array(margins)
    return calibration_error(confidence(win_probability(margins, temperature)), right(margins))


def test_probability_of_a_win():
    margins = np.array([LN3, -LN3, 0.0, 2 * LN3])
    assert win_probability(margins) == pytest.approx([0.75, 0.25, 0.5, 0.9])
    assert win_probability(margins, 2.0)[3] == pytest.approx(0.75)


@pytest.mark.parametrize(("temperature", "expected"), [(0.0, [1, 0, 0.5]), (math.inf, [0.5, 0.5, 0.5])])
def test_the_limits_of_the_temperature(temperature, expected):
    assert win_probability(np.array([1e-9, -5.0, 0.0]), temperature).tolist() == expected


def test_margins_near_the_end_of_floats_are_sure():
    assert win_probability(np.array([1.7e308, -1.7e308]), 1e-300).tolist() == [1.0, 0.0]


def test_brier_score_by_hand():
    margins = np.array([LN3, LN3, -LN3, 0.0])  # p = 3/4, 3/4, 1/4, 1/2
    assert brier_terms(win_probability(margins)).mean() == pytest.approx((1 + 1 + 9 + 4) / 16 / 4)


def test_calibration_error_by_hand():
    # bin (0.7, 0.75]: confidence 3/4 thrice, two of three right: |2 - 9/4| = 1/4
    # bin (0.85, 0.9]: confidence 9/10, wrong: 9/10; the tie: confidence 1/2, half right: 0
    assert ece([LN3, LN3, -LN3, -2 * LN3, 0.0]) == pytest.approx((1 / 4 + 9 / 10) / 5)


def test_a_reward_that_is_right_as_often_as_it_says_has_no_error():
    assert ece([LN3, LN3, LN3, -LN3]) == pytest.approx(0.0, abs=1e-12)


def test_each_pair_stands_in_the_direction_that_the_reward_prefers():
    # margins 2, -1, 0.3: confidences 0.88, 0.73, 0.57, of which the first and the third are right
    assert ece([2.0, -1.0, 0.3]) == pytest.approx((0.119203 + 0.731059 + 0.425557) / 3, abs=1e-6)


def test_no_pair_has_no_error():
    assert ece([]) is None


def test_bins_of_confidence_are_closed_above():
    found = confidence_bins(np.array([0.5, 0.55, 0.5500001, 0.6, 0.95, 0.950001, 1.0]))
    assert found.tolist() == [0, 0, 1, 1, 8, 9, 9]


def test_bins_take_a_confidence_that_is_an_edge_on_paper_to_the_lower_side():
    on_edge = np.array([math.log(p / (1 - p)) for p in (0.55, 0.6, 0.65, 0.7, 0.75, 0.8, 0.85, 0.9, 0.95)])
    assert confidence_bins(confidence(win_probability(on_edge))).tolist() == list(range(9))
    assert confidence_bins(confidence(win_probability(-on_edge))).tolist() == list(range(9))


# ---- temperature


def test_temperature_by_hand():
    # three of four right at one size of margin: the most likely probability is 3/4, sigmoid(2 / T) = 3/4
    assert fit_temperature(np.array([2.0, 2.0, 2.0, -2.0])) == pytest.approx(2 / LN3, rel=1e-14)


@pytest.mark.parametrize("unit", [1e-300, 1e-6, 1.0, 1e6, 1e300])
def test_temperature_is_in_units_of_the_margin(unit):
    assert fit_temperature(unit * np.array([2.0, 2.0, 2.0, -2.0])) == pytest.approx(unit * 2 / LN3, rel=1e-13)


@pytest.mark.parametrize("margins", [[0.0, 0.0], [1.0, -1.0], [1.0, -3.0], [0.1, 0.2, -0.3], []])
def test_margins_that_point_nowhere_get_no_confidence(margins):
    assert fit_temperature(np.array(margins)) == math.inf


@pytest.mark.parametrize("margins", [[1.0, 2.0], [0.0, 3.0], [1.0] * 9 + [-1e-9, 2e-9]])
def test_margins_that_always_point_to_the_better_text_get_all_confidence(margins):
    assert fit_temperature(np.array(margins)) == 0.0


@given(st.lists(st.integers(-20, 40), min_size=2, max_size=30))
def test_temperature_is_the_most_likely_one(whole):
    margins = np.array(whole) / 8
    fitted = fit_temperature(margins)

    def cost(inverse):
        return np.logaddexp(0.0, -inverse * margins).sum()

    found = minimize_scalar(cost, bounds=(0.0, 50.0), method="bounded", options={"xatol": 1e-10})
    own = cost(min(50.0, 1 / fitted)) if fitted else cost(50.0)
    assert own <= found.fun + 1e-9 * (1 + abs(found.fun))


# ---- bins of the margin


def test_margins_fall_into_fifths():
    assert margin_bins(np.arange(10.0), 5).tolist() == [0, 0, 1, 1, 2, 2, 3, 3, 4, 4]


def test_equal_margins_share_a_bin_and_a_bin_may_stay_empty():
    # six zeros have the middle 3 of 10, in (2, 4]: bin 1; nothing is in bin 0 or 2
    assert margin_bins(np.array([0.0] * 6 + [1, 2, 3, 4]), 5).tolist() == [1] * 6 + [3, 3, 4, 4]


def test_no_margins_have_no_bins():
    assert margin_bins(np.zeros(0), 5).tolist() == []


# ---- intervals


def test_interval_of_equal_clusters_is_the_value():
    sure, rights, codes = np.full(6, 0.75), np.tile([1.0, 0.0], 3), np.repeat([0, 1, 2], 2)
    (found,) = calibration_intervals([(codes, sure, rights)], 3, seed=1, resamples=50)
    assert found == (0.25, 0.25)


def test_interval_is_that_of_recomputed_resamples():
    rng = np.random.default_rng(3)
    codes = rng.integers(0, 12, 80)
    margins = rng.normal(0.5, 1.0, 80)
    sure, rights = confidence(win_probability(margins)), right(margins)
    one, two = calibration_intervals([(codes, sure, rights)] * 2, 12, seed=7, resamples=200)
    draws = np.random.default_rng(7).integers(0, 12, size=(200, 12))
    values = []
    for drawn in draws:
        rows = np.concatenate([np.flatnonzero(codes == each) for each in drawn])
        values.append(calibration_error(sure[rows], rights[rows]))
    assert one == two == pytest.approx(tuple(np.percentile(values, [2.5, 97.5])), rel=1e-9)


def test_one_cluster_has_no_interval():
    column = (np.zeros(3, dtype=np.int64), np.full(3, 0.8), np.ones(3))
    assert calibration_intervals([column], 2, seed=1, resamples=20) == [None]


def test_a_reward_without_pairs_has_no_interval():
    none = np.zeros(0)
    whole = (np.array([0, 1]), np.array([0.6, 0.8]), np.array([1.0, 0.0]))
    empty, found = calibration_intervals([(none.astype(np.int64), none, none), whole], 2, seed=1, resamples=20)
    assert empty is None
    assert found is not None
