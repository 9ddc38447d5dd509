from __future__ import annotations

import math
from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.stats import resampling
from rmbench.stats.resampling import (
    counts,
    difference_intervals,
    exact_sum,
    holm,
    percentile_interval,
    permutations,
    ratio_intervals,
    resampled_sums,
    sign_flip_couples,
    sign_flip_test,
    statistic_interval,
)
from rmbench.stats.ties import round12


def draws(clusters: int, seed: int, resamples: int) -> np.ndarray:
    return np.concatenate(list(counts(clusters, seed=seed, resamples=resamples)))


def test_each_resample_holds_as_many_clusters_as_there_are():
    table = draws(7, 3, 50)
    assert table.shape == (50, 7)
    assert (table.sum(axis=1) == 7).all()


def test_the_size_of_a_chunk_changes_nothing(monkeypatch):
    whole = draws(11, 4, 100)
    resampling._kept.cache_clear()
    monkeypatch.setattr(resampling, "CHUNK", 25)
    assert (draws(11, 4, 100) == whole).all()


def test_draws_that_are_kept_are_those_that_are_not(monkeypatch):
    kept = draws(13, 5, 60)
    monkeypatch.setattr(resampling, "KEPT", 0)
    assert (draws(13, 5, 60) == kept).all()


def test_a_count_too_great_for_a_byte_is_not_kept(monkeypatch):
    monkeypatch.setattr(resampling, "_drawn", lambda *_: iter([np.array([[256, 0]])]))
    resampling._kept.cache_clear()
    assert draws(2, 1, 1).tolist() == [[256.0, 0.0]]
    resampling._kept.cache_clear()


def test_ratio_interval_by_plain_loops():
    rng = np.random.default_rng(0)
    top, bottom = rng.integers(0, 5, size=(2, 9, 3)).astype(float)
    table = draws(9, 6, 200)
    for column, interval in enumerate(ratio_intervals(top, bottom, seed=6, resamples=200)):
        ratios = []
        for times in table:
            under = sum(t * b for t, b in zip(times, bottom[:, column], strict=True))
            if under:
                ratios.append(sum(t * b for t, b in zip(times, top[:, column], strict=True)) / under)
        assert interval == pytest.approx(tuple(np.percentile(ratios, [2.5, 97.5])), abs=1e-11)


def test_ratio_interval_of_a_constant_is_a_point():
    assert ratio_intervals(np.full((5, 1), 2.0), np.full((5, 1), 4.0), seed=1) == [(0.5, 0.5)]


@pytest.mark.parametrize("bottom", [[0.0, 0.0, 0.0], [0.0, 3.0, 0.0]])
def test_no_interval_without_two_clusters_that_have_a_denominator(bottom):
    assert ratio_intervals(np.ones((3, 1)), np.array([bottom]).T, seed=1) == [None]


def test_resamples_without_denominator_are_left_out():
    top, bottom = np.array([[1.0], [1.0], [0.0], [0.0]]), np.array([[1.0], [1.0], [0.0], [0.0]])
    assert (draws(4, 2, 1000)[:, :2].sum(axis=1) == 0).any()
    assert ratio_intervals(top, bottom, seed=2) == [(1.0, 1.0)]


def test_no_columns_and_no_clusters():
    assert ratio_intervals(np.zeros((3, 0)), np.zeros((3, 0)), seed=1) == []
    assert ratio_intervals(np.zeros((0, 2)), np.zeros((0, 2)), seed=1) == [None, None]


def test_shapes_must_agree():
    with pytest.raises(ValueError, match="one shape"):
        ratio_intervals(np.zeros((3, 1)), np.zeros((3, 2)), seed=1)


def test_columns_share_their_resamples_and_a_seed_repeats_them():
    rng = np.random.default_rng(1)
    top, bottom = rng.random((2, 20, 2))
    top[:, 1], bottom[:, 1] = top[:, 0], bottom[:, 0]
    first = ratio_intervals(top, bottom, seed=9)
    assert first[0] == first[1]
    assert first == ratio_intervals(top, bottom, seed=9)
    assert first != ratio_intervals(top, bottom, seed=10)


def test_interval_covers_the_mean_of_a_normal_sample():
    values = np.random.default_rng(3).normal(5.0, 2.0, size=(400, 1))
    ((low, high),) = ratio_intervals(values, np.ones_like(values), seed=1)
    half = 1.96 * values.std() / math.sqrt(400)
    assert (low + high) / 2 == pytest.approx(values.mean(), abs=0.1 * half)
    assert (high - low) / 2 == pytest.approx(half, rel=0.1)


def test_resampled_sums_keep_zero_resamples_and_rows():
    assert resampled_sums(np.zeros((0, 3)), seed=1).shape == (0, 3)
    assert resampled_sums(np.ones((4, 3)), seed=1, resamples=0).shape == (0, 3)
    assert (resampled_sums(np.ones((4, 3)), seed=1, resamples=5) == 4).all()


def test_statistic_interval_equals_the_ratio_interval():
    values = round12(np.random.default_rng(4).random(60))
    clusters = np.repeat(np.arange(12) * 7 % 12, 5)  # any codes, in any order
    sums = np.array([[values[clusters == c].sum()] for c in range(12)])
    expected = ratio_intervals(sums, np.full((12, 1), 5.0), seed=8, resamples=200)[0]
    found = statistic_interval(lambda rows: values[rows].mean(), clusters, seed=8, resamples=200)
    assert found == pytest.approx(expected, abs=1e-11)


def test_statistic_interval_leaves_out_undefined_resamples():
    clusters = np.array([0, 1, 2])
    assert statistic_interval(lambda _: None, clusters, seed=1) is None
    assert statistic_interval(lambda rows: 1.0 if 0 in rows else None, clusters, seed=1) == (1.0, 1.0)
    assert statistic_interval(lambda _: 1.0, np.array([4, 4]), seed=1) is None
    assert statistic_interval(lambda _: 1.0, np.array([], dtype=int), seed=1) is None


def test_percentile_interval_of_nothing():
    assert percentile_interval(np.array([np.nan])) is None


def test_sign_flip_test_against_all_signs():
    differences = np.array([3.0, -1.0, 2.0, 2.5, 0.5])
    observed = abs(differences.sum())
    every = [abs(np.dot(signs, differences)) for signs in product([-1, 1], repeat=5)]
    exact = sum(value >= observed for value in every) / len(every)
    (p,) = sign_flip_test(differences[:, None], seed=1, resamples=20_000)
    assert p == pytest.approx(exact, abs=0.01)


def test_sign_flip_test_counts_ties_on_paper():
    # every permuted sum is +-0.3 or +-0.1 on paper; 0.1 + 0.2 is 0.30000000000000004
    (p,) = sign_flip_test(np.array([[0.1], [0.2]]), seed=1, resamples=4000)
    assert p == pytest.approx(0.5, abs=0.03)


def test_sign_flip_test_of_no_difference_is_one():
    assert sign_flip_test(np.zeros((4, 2)), seed=1) == [1.0, 1.0]
    assert sign_flip_test(np.zeros((0, 2)), seed=1) == [1.0, 1.0]


def test_sign_flip_test_is_never_zero_and_two_sided():
    table = np.column_stack([np.ones(40), -np.ones(40)])
    assert sign_flip_test(table, seed=1, resamples=999) == [0.001, 0.001]


def test_sign_flip_test_is_level_under_the_null():
    table = np.random.default_rng(11).normal(size=(30, 400))
    ps = np.array(sign_flip_test(table, seed=1, resamples=500))
    assert (ps <= 0.05).mean() == pytest.approx(0.05, abs=0.03)


def test_holm_by_hand():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.5, 0.9]) == [1.0, 1.0]
    assert holm([]) == []


@settings(max_examples=50, deadline=None)
@given(st.lists(st.floats(0.001, 1.0), max_size=8))
def test_holm_is_monotone_and_no_smaller(ps):
    adjusted = holm(ps)
    assert all(a >= p for a, p in zip(adjusted, ps, strict=True))
    assert all(a <= 1.0 for a in adjusted)
    order = sorted(range(len(ps)), key=lambda i: ps[i])
    assert [adjusted[i] for i in order] == sorted(adjusted)


def by_enumeration(differences):
    """The exact p-value: the share of all sign patterns whose sum is at least as far from 0."""
    observed = abs(math.fsum(differences))
    sums = [
        abs(math.fsum(s * d for s, d in zip(signs, differences, strict=True)))
        for signs in product((1, -1), repeat=len(differences))
    ]
    return sum(total >= observed - 1e-9 for total in sums) / len(sums)


@pytest.mark.parametrize("scale", [1.0, 2.0**24, 0.1])  # exact in float32, in float64 only, and in neither
def test_couples_against_all_signs(scale):
    columns = np.random.default_rng(3).integers(0, 9, size=(11, 4)) * 0.5 * scale
    couples = np.array([(0, 1), (0, 2), (3, 1), (2, 2)])
    times = 40_000
    for (first, second), p in zip(couples, sign_flip_couples(columns, couples, seed=1, resamples=times), strict=True):
        exact = by_enumeration(list(columns[:, first] - columns[:, second]))
        assert p == pytest.approx(exact, abs=5 * math.sqrt(exact * (1 - exact) / times) + 2 / times)


def test_couples_are_columns_of_differences():
    columns = np.random.default_rng(4).integers(0, 9, size=(70, 5)) * 0.5
    couples = np.array([(0, 1), (4, 2), (3, 3)])
    one_by_one = sign_flip_test(columns[:, couples[:, 0]] - columns[:, couples[:, 1]], seed=7, resamples=500)
    assert sign_flip_couples(columns, couples, seed=7, resamples=500) == one_by_one


def test_intervals_of_differences_are_those_of_columns_of_differences():
    rng = np.random.default_rng(5)
    columns, weights = rng.integers(0, 9, size=(20, 4)) * 0.5, rng.integers(0, 3, size=20).astype(float)
    couples = np.array([(0, 1), (2, 3), (1, 1)])
    gains = columns[:, couples[:, 0]] - columns[:, couples[:, 1]]
    plain = ratio_intervals(gains, np.repeat(weights[:, None], 3, axis=1), seed=2, resamples=300)
    assert difference_intervals(columns, weights, couples, seed=2, resamples=300) == plain
    assert difference_intervals(columns, np.eye(20)[0], couples, seed=2) == [None] * 3


def test_permutations_keep_the_least_corrected_p_below_one_percent():
    for tests in (1, 2, 100, 136, 253, 630):
        least = 1 / (1 + permutations(tests))
        assert holm([least] * tests)[0] < 0.01
    assert permutations(3) == 10_000


@given(st.lists(st.floats(-1e200, 1e200) | st.integers(-99, 99).map(lambda n: n / 2), max_size=30))
def test_exact_sum_is_fsum(values):
    assert exact_sum(np.array(values, dtype=np.float64)) == math.fsum(values)
