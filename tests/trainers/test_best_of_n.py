"""Best-of-n: its KL and its expected reward against enumeration."""

import itertools
import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.trainers.best_of_n import best_weights, expected_best, kl_bound


def exact_kl(chances, n):
    """KL of the best of n (rewards rise with the index) from a policy of known chances, by the distribution of maxima."""
    upto = list(itertools.accumulate(chances))
    below = [0.0, *upto[:-1]]
    best = [a**n - b**n for a, b in zip(upto, below, strict=True)]
    return sum(q * math.log(q / p) for q, p in zip(best, chances, strict=True) if q > 0)


def test_kl_by_hand():
    assert kl_bound(1) == 0.0
    assert kl_bound(2) == pytest.approx(math.log(2) - 0.5)
    assert kl_bound(256) == pytest.approx(4.549, abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 64))
def test_the_analytic_kl_is_an_upper_bound(weights, n):
    chances = [weight / sum(weights) for weight in weights]
    assert exact_kl(chances, n) <= kl_bound(n) + 1e-9


def test_the_bound_is_reached_where_no_two_responses_are_alike():
    assert exact_kl([1e-4] * 10_000, 16) == pytest.approx(kl_bound(16), rel=1e-2)


def test_weights_by_hand():
    assert best_weights(4, 1) == [0.25] * 4
    assert best_weights(4, 2) == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    assert best_weights(4, 4) == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="n is 5, expected 1 to 4"):
        best_weights(4, 5)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-9, 9)), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_all_subsets(pool, data):
    """Ties are broken evenly: the chosen one's value is the mean over those of the greatest reward."""
    n = data.draw(st.integers(1, len(pool)))
    rewards, values = [float(reward) for reward, _ in pool], [value for _, value in pool]
    subsets = list(itertools.combinations(pool, n))
    best = [max(reward for reward, _ in subset) for subset in subsets]
    assert expected_best(rewards, n) == pytest.approx(sum(best) / len(best))
    if len(set(rewards)) == len(rewards):
        chosen = [max(subset)[1] for subset in subsets]
        assert expected_best(rewards, n, values) == pytest.approx(sum(chosen) / len(chosen), abs=1e-9)


def test_ties_are_chosen_equally_often():
    assert expected_best([1.0, 1.0, 0.0], 2, [4.0, 8.0, 99.0]) == pytest.approx(6.0)


def test_unscored_responses_are_never_chosen():
    assert expected_best([None, 2.0, 4.0], 1) == pytest.approx(3.0)
    # of the three pairs two hold the 4, one the 2 and the unscored one
    assert expected_best([None, 2.0, 4.0], 2) == pytest.approx((4 + 4 + 2) / 3)
    assert expected_best([1.0, 2.0, 4.0], 2, [9.0, 3.0, None]) == pytest.approx(3.0)
    assert expected_best([None, None], 2) is None
    assert expected_best([1.0, None], 1, [None, 5.0]) is None


def test_it_has_no_bias():
    """Over all pools of 3 of a policy with known chances, the estimate's mean is the true value of best of 2."""
    rewards, chances = [0.0, 1.0, 5.0], [0.5, 0.3, 0.2]
    pairs = itertools.product(range(3), repeat=2)
    true = sum(chances[a] * chances[b] * max(rewards[a], rewards[b]) for a, b in pairs)
    pools = itertools.product(range(3), repeat=3)
    found = sum(math.prod(chances[i] for i in pool) * expected_best([rewards[i] for i in pool], 2) for pool in pools)
    assert found == pytest.approx(true)
