"""Best-of-n without bias, and the forms of Gao et al. 2022: by hand, by enumeration, and from noisy points."""

from itertools import combinations
from math import comb, exp, log, sqrt

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.stats.scaling import best_of_n, best_of_n_kl, features, fit, rank_weights, turning_point

SCORES = st.integers(0, 3).map(float)


def test_kl_of_best_of_n_by_hand():
    assert best_of_n_kl(1) == 0.0
    assert best_of_n_kl(2) == pytest.approx(log(2) - 0.5)
    assert best_of_n_kl(256) == pytest.approx(4.549, abs=1e-3)


def test_kl_is_that_of_the_best_of_a_uniform_draw():
    # The density of the best of n uniform numbers is n u^(n-1); its KL to the uniform is the formula.
    u = (np.arange(200_000) + 0.5) / 200_000
    density = 5 * u**4
    assert (density * np.log(density)).mean() == pytest.approx(best_of_n_kl(5), abs=1e-4)


def test_rank_weights_by_hand():
    # Of 4, the best of 2: the second worst beats one of 6 pairs, then 2, then 3.
    assert rank_weights(4, 2).tolist() == [0.0, 1 / 6, 2 / 6, 3 / 6]
    assert rank_weights(4, 1).tolist() == [0.25] * 4
    assert rank_weights(4, 4).tolist() == [0.0, 0.0, 0.0, 1.0]
    assert rank_weights(256, 128).sum() == pytest.approx(1.0, abs=1e-12)


def test_best_of_n_by_hand():
    proxy, gold = np.array([[3.0, 1.0, 2.0]]), np.array([[10.0, 20.0, 60.0]])
    found = best_of_n(proxy, gold, [1, 2, 3])
    # n = 2: {3,1} and {3,2} choose 10, {1,2} chooses 60.
    assert found[:, 0] == pytest.approx([30.0, (10 + 10 + 60) / 3, 10.0])


@settings(max_examples=300, deadline=None)
@given(st.data())
def test_best_of_n_is_the_mean_over_all_subsets(data):
    pool = data.draw(st.integers(1, 6))
    proxy, gold = (np.array([data.draw(st.lists(SCORES, min_size=pool, max_size=pool))]) for _ in range(2))
    for n in range(1, pool + 1):
        chosen = []
        for subset in combinations(range(pool), n):
            best = max(proxy[0, i] for i in subset)
            # Equal scores in the whole pool share their gold: the one drawn is any of them.
            chosen.append(gold[0, proxy[0] == best].mean())
        assert best_of_n(proxy, gold, [n])[0, 0] == pytest.approx(sum(chosen) / comb(pool, n), abs=1e-9)


def test_best_of_n_does_not_depend_on_the_order_of_the_pool():
    rng = np.random.default_rng(1)
    proxy, gold = rng.integers(0, 5, size=(7, 40)).astype(float), rng.normal(size=(7, 40))
    order = rng.permutation(40)
    assert best_of_n(proxy, gold, [1, 4, 32]) == pytest.approx(best_of_n(proxy[:, order], gold[:, order], [1, 4, 32]))


def test_a_pool_cannot_give_more_than_it_holds():
    with pytest.raises(ValueError, match=r"n is \[5\], expected 1 to 4"):
        best_of_n(np.zeros((1, 4)), np.zeros((1, 4)), [5])
    with pytest.raises(ValueError, match="not two matrices of one shape"):
        best_of_n(np.zeros((1, 4)), np.zeros((1, 5)), [1])


@pytest.mark.parametrize("form", ["best-of-n", "rl"])
def test_a_form_is_found_again_from_its_own_points(form):
    d = np.array([0.0, 0.2, 0.5, 1.0, 1.7, 2.1])
    gained = d * (1.5 - 0.4 * (d if form == "best-of-n" else np.log(np.maximum(d, 1e-300))))
    assert fit(form, d, gained) == pytest.approx((1.5, 0.4), abs=1e-9)


def test_weights_repeat_points():
    rng = np.random.default_rng(2)
    d, gained, times = rng.random(6), rng.normal(size=6), np.array([0, 1, 2, 1, 3, 1])
    repeated = fit("rl", np.repeat(d, times), np.repeat(gained, times))
    assert fit("rl", d, gained, times.astype(float)) == pytest.approx(repeated, abs=1e-9)


def test_too_few_distances_have_no_fit():
    assert fit("rl", np.array([0.0, 0.0, 1.0]), np.array([0.0, 0.0, 1.0])) is None
    assert fit("best-of-n", np.array([1.0, 1.0]), np.array([2.0, 1.0])) is None
    assert fit("rl", np.zeros(0), np.zeros(0)) is None


def test_features_by_hand():
    assert features("best-of-n", np.array([0.0, 2.0])).tolist() == [[0.0, 0.0], [2.0, -4.0]]
    assert features("rl", np.array([0.0, 2.0])) == pytest.approx(np.array([[0.0, 0.0], [2.0, -2 * log(2)]]))


def test_turning_points_by_hand():
    assert turning_point("best-of-n", (2.0, 0.5)) == 2.0
    assert turning_point("rl", (1.0, 0.5)) == pytest.approx(exp(1.0))
    d = np.linspace(0.01, 5, 5000)
    assert d[np.argmax(features("rl", d) @ [1.0, 0.5])] == pytest.approx(exp(1.0), abs=1e-2)
    assert turning_point("rl", (1.0, -0.5)) is None
    assert turning_point("rl", (1.0, 1e-5)) is None
    assert turning_point("best-of-n", (-1.0, 0.5)) is None


def test_a_gold_score_that_is_the_proxy_rises_as_order_statistics_do():
    rng = np.random.default_rng(4)
    proxy = rng.normal(size=(400, 64))
    found = best_of_n(proxy, proxy, [1, 2, 4, 16, 64]).mean(axis=1)
    # Expected greatest of n standard normal numbers (Harter 1961).
    assert found == pytest.approx([0.0, 0.5642, 1.0294, 1.7660, 2.3438], abs=0.06)
    assert sqrt(best_of_n_kl(64)) == pytest.approx(1.782, abs=1e-3)
