"""Interquartile mean, probability of improvement and crossed bootstrap: by hand, and against scipy."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats as scipy_stats

from rmbench.stats.aggregate import (
    crossed_intervals,
    crossed_values,
    interquartile_interval,
    interquartile_mean,
    interquartile_means,
    pair_weights,
    probability_of_improvement,
    run_weights,
)

NUMBERS = st.floats(-100, 100, allow_nan=False).map(lambda value: round(value, 3))


def test_interquartile_mean_by_hand():
    # 8 values: two are left out at each end, (3 + 4 + 5 + 6) / 4.
    assert interquartile_mean(np.array([[1.0, 100.0, 3.0, 4.0], [-50.0, 5.0, 6.0, 8.0]])) == 4.5
    # 5 values: one at each end.
    assert interquartile_mean(np.array([9.0, 1.0, 2.0, 3.0, -9.0])) == 2.0
    assert interquartile_mean(np.array([2.0, 4.0, 9.0])) == 5.0  # floor(3 / 4) is none
    assert interquartile_mean(np.zeros((0, 3))) is None


@settings(max_examples=500, deadline=None)
@given(arrays(np.float64, st.tuples(st.integers(1, 5), st.integers(1, 9)), elements=NUMBERS))
def test_interquartile_mean_is_scipys_trimmed_mean(values):
    assert interquartile_mean(values) == pytest.approx(scipy_stats.trim_mean(values, 0.25, axis=None), abs=1e-9)


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_a_resample_is_its_repeated_values(data):
    values = np.sort(np.array(data.draw(st.lists(NUMBERS, min_size=1, max_size=9))))
    times = np.array(data.draw(st.lists(st.integers(0, 4), min_size=len(values), max_size=len(values))))
    (found,) = interquartile_means(values, times[None, :].astype(float))
    wanted = interquartile_mean(np.repeat(values, times))
    assert np.isnan(found) if wanted is None else found == pytest.approx(wanted, abs=1e-9)


def test_probability_of_improvement_by_hand():
    left, right = np.array([[1.0, 5.0], [3.0, 5.0]]), np.array([[2.0, 5.0]])
    wins = probability_of_improvement(left, right)
    assert wins.tolist() == [[[0.0, 0.5]], [[1.0, 0.5]]]
    assert wins.mean() == 0.5


@settings(max_examples=300, deadline=None)
@given(
    arrays(np.float64, st.tuples(st.integers(1, 6)), elements=st.integers(0, 4).map(float)),
    arrays(np.float64, st.tuples(st.integers(1, 6)), elements=st.integers(0, 4).map(float)),
)
def test_probability_of_improvement_is_mann_whitneys_u_over_the_pairs(left, right):
    u = scipy_stats.mannwhitneyu(left, right, method="asymptotic").statistic
    wins = probability_of_improvement(left[:, None], right[:, None])
    assert wins.mean() == pytest.approx(u / (len(left) * len(right)), abs=1e-12)


def test_run_weights_keep_the_number_of_runs_and_are_the_same_each_time():
    weights = run_weights(3, seed=5, resamples=200)
    assert (weights.sum(axis=1) == 3).all()
    assert weights.mean(axis=0) == pytest.approx(1.0, abs=0.2)
    assert (weights == run_weights(3, seed=5, resamples=200)).all()
    assert (run_weights(1, seed=5, resamples=4) == 1).all()


def test_pairs_of_the_same_seeds_are_drawn_together():
    own = run_weights(2, seed=4, resamples=50)
    pairs = pair_weights(2, 2, together=True, seed=4, resamples=50).reshape(50, 2, 2)
    assert (pairs == own[:, :, None] * own[:, None, :]).all()
    apart = pair_weights(2, 3, together=False, seed=4, resamples=50)
    assert apart.shape == (50, 6)
    assert (apart.sum(axis=1) == 6).all()


def test_crossed_values_draw_whole_seeds():
    # Prompts that do not differ: all that varies is which seeds are drawn.
    tops = np.array([[1.0, 1.0], [2.0, 2.0], [6.0, 6.0]])
    (values,) = crossed_values([tops], [np.ones((3, 2))], [run_weights(3, seed=1, resamples=500)], seed=1)
    sums = {1 + 1 + 1, 1 + 1 + 2, 1 + 2 + 2, 2 + 2 + 2, 1 + 1 + 6, 1 + 2 + 6, 2 + 2 + 6, 1 + 6 + 6, 2 + 6 + 6, 18}
    assert {round(float(value) * 3) for value in values} <= sums
    assert np.mean(values == 6.0) == pytest.approx(1 / 27, abs=0.02)


def test_crossed_values_of_one_seed_draw_prompts_alone():
    tops = np.array([[0.0, 1.0, 2.0, 3.0]])
    (values,) = crossed_values([tops], [np.ones((1, 4))], [run_weights(1, seed=1, resamples=4000)], seed=1)
    assert values.mean() == pytest.approx(1.5, abs=0.05)
    assert values.std() == pytest.approx(np.std([0, 1, 2, 3]) / 2, rel=0.05)


def test_a_wide_seed_widens_the_interval_that_prompts_alone_would_give():
    rng = np.random.default_rng(0)
    prompts = rng.normal(size=200)
    apart = np.stack([prompts, prompts + 1.0, prompts + 2.0])
    ones = np.ones(apart.shape)
    (crossed,) = crossed_intervals([apart], [ones], seed=1)
    (pooled,) = crossed_intervals([apart.mean(axis=0)[None]], [np.ones((1, 200))], seed=1)
    assert crossed[1] - crossed[0] > 4 * (pooled[1] - pooled[0])
    assert crossed[0] < apart.mean() < crossed[1]


def test_statistics_of_other_numbers_of_seeds_stand_side_by_side():
    one, three = np.array([[1.0, 3.0]]), np.array([[1.0, 3.0]] * 3)
    intervals = crossed_intervals([one, three], [np.ones((1, 2)), np.ones((3, 2))], seed=3)
    assert intervals[0] == intervals[1] == (1.0, 3.0)


def test_one_prompt_has_no_interval():
    top, bottom = np.array([[2.0, 0.0], [3.0, 0.0]]), np.array([[1.0, 0.0], [1.0, 0.0]])
    assert crossed_intervals([top], [bottom], seed=1) == [None]
    assert interquartile_interval(top, bottom > 0, np.array([0, 1]), seed=1) is None


def test_interquartile_interval_is_that_of_the_resampled_values():
    rng = np.random.default_rng(3)
    values, known = rng.normal(size=(3, 11)), rng.random((3, 11)) < 0.8
    codes = np.array([0, 1, 2, 3, 4, 4, 5, 6, 7, 8, 9])
    found = interquartile_interval(values, known, codes, seed=9, resamples=300)
    runs = run_weights(3, seed=9, resamples=300)
    from rmbench.stats.resampling import counts

    (prompts,) = counts(10, seed=9, resamples=300)
    means = []
    for some, block in zip(runs, prompts, strict=True):
        times = (some[:, None] * block[codes][None, :] * known).astype(int)
        means.append(interquartile_mean(np.repeat(values.ravel(), times.ravel())))
    low, high = np.percentile([mean for mean in means if mean is not None], [2.5, 97.5])
    assert found == pytest.approx((low, high), abs=1e-9)
