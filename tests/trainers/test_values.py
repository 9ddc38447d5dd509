"""Advantages and returns from values: by hand, and against the definitions written out."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.trainers.values import explained_variance, gae, n_step, value_losses, whitened

MASK = torch.tensor([[True, True, True], [True, False, False]])


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


@st.composite
def episodes(draw):
    """Rewards, values and mask: rows of 0 to T tokens, with rubbish beyond their ends."""
    rows, length = draw(st.integers(1, 4)), draw(st.integers(0, 7))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    lengths = rng.integers(0, length + 1, rows)
    mask = np.arange(length)[None, :] < lengths[:, None]
    return (
        torch.tensor(rng.normal(size=(rows, length))),
        torch.tensor(rng.normal(size=(rows, length))),
        torch.tensor(mask),
    )


def test_gae_by_hand():
    rewards, values = tensor([0, 0, 1], [2, 9, 9]), tensor([0.5, 0.25, 0.125], [1, 9, 9])
    # deltas at gamma 1/2: 0.125 - 0.5, 0.0625 - 0.25, 1 - 0.125; with gamma lam = 1/4 summed from the end
    last, middle, first = 0.875, -0.1875 + 0.875 / 4, -0.375 + (-0.1875 + 0.875 / 4) / 4
    assert gae(rewards, values, MASK, gamma=0.5, lam=0.5).tolist() == [[first, middle, last], [1.0, 0.0, 0.0]]


def test_n_step_by_hand():
    rewards, values = tensor([1, 2, 4], [8, 9, 9]), tensor([0.5, 0.25, 16], [1, 9, 9])
    assert n_step(rewards, values, MASK, gamma=0.5, n=1).tolist() == [[1.125, 10.0, 4.0], [8.0, 0.0, 0.0]]
    assert n_step(rewards, values, MASK, gamma=0.5, n=2).tolist() == [[1 + 1 + 4, 4.0, 4.0], [8.0, 0.0, 0.0]]
    assert n_step(rewards, values, MASK, gamma=0.5, n=9).tolist() == [[3.0, 4.0, 4.0], [8.0, 0.0, 0.0]]


@settings(max_examples=300, deadline=None)
@given(episodes(), st.floats(0, 1), st.floats(0, 1))
def test_gae_is_its_definition(episode, gamma, lam):
    rewards, values, mask = episode
    found = gae(rewards, values, mask, gamma=gamma, lam=lam)
    for row, length in enumerate(mask.sum(1).tolist()):
        r, v = rewards[row, :length].tolist(), [*values[row, :length].tolist(), 0.0]
        deltas = [r[t] + gamma * v[t + 1] - v[t] for t in range(length)]
        for t in range(length):
            wanted = sum((gamma * lam) ** (u - t) * deltas[u] for u in range(t, length))
            assert math.isclose(found[row, t].item(), wanted, abs_tol=1e-9)
        assert not found[row, length:].any()


@settings(max_examples=300, deadline=None)
@given(episodes(), st.floats(0, 1), st.integers(1, 9))
def test_n_step_is_its_definition(episode, gamma, n):
    rewards, values, mask = episode
    found = n_step(rewards, values, mask, gamma=gamma, n=n)
    for row, length in enumerate(mask.sum(1).tolist()):
        r, v = rewards[row].tolist(), values[row].tolist()
        for t in range(length):
            wanted = sum(gamma ** (u - t) * r[u] for u in range(t, min(t + n, length)))
            wanted += gamma**n * v[t + n] if t + n < length else 0.0
            assert math.isclose(found[row, t].item(), wanted, abs_tol=1e-9)
        assert not found[row, length:].any()


@settings(max_examples=200, deadline=None)
@given(episodes(), st.floats(0, 1))
def test_the_two_meet_at_their_ends(episode, gamma):
    rewards, values, mask = episode
    one = n_step(rewards, values, mask, gamma=gamma, n=1) - values * mask
    assert torch.allclose(gae(rewards, values, mask, gamma=gamma, lam=0.0), one)
    whole = n_step(rewards, values, mask, gamma=gamma, n=8) - values * mask
    assert torch.allclose(gae(rewards, values, mask, gamma=gamma, lam=1.0), whole)


def test_value_losses_by_hand():
    values, old, returns = tensor([1.0, 1.0, 0.1]), tensor([0.0, 0.0, 0.0]), tensor([0.0, 2.0, 1.0])
    assert value_losses(values, old, returns, clip=0).tolist()[0] == pytest.approx([0.5, 0.5, 0.405])
    # held at 0.2: error 0.2 is the smaller of the two, 1.8 the larger; 0.1 is within
    assert value_losses(values, old, returns, clip=0.2).tolist()[0] == pytest.approx([0.5, 1.62, 0.405])


def test_a_value_that_ran_ahead_of_the_clip_towards_its_return_is_not_pushed_on():
    values = tensor([1.0]).requires_grad_()
    value_losses(values, tensor([0.0]), tensor([2.0]), clip=0.2).sum().backward()
    assert values.grad.tolist() == [[0.0]]


def test_explained_variance_by_hand():
    mask = torch.tensor([[True, True, True, False]])
    returns = tensor([1, 2, 3, 99])
    assert explained_variance(returns, returns, mask) == 1.0
    assert explained_variance(returns * 0 + 7, returns, mask) == pytest.approx(0.0)
    assert explained_variance(tensor([1, 1, 2, 0]), returns, mask) == pytest.approx(1 - (2 / 9) / (2 / 3))
    assert explained_variance(returns, returns * 0 + 1, mask) is None
    assert explained_variance(returns, returns, torch.tensor([[True, False, False, False]])) is None


def test_whitening_sees_the_mask_alone():
    mask = torch.tensor([[True, True, False], [True, False, False]])
    found = whitened(tensor([1, 2, 1e9], [3, -1e9, math.nan]), mask)
    assert found[mask].tolist() == pytest.approx([-math.sqrt(1.5), 0.0, math.sqrt(1.5)])
    assert not found[~mask].any()
    assert whitened(tensor([5.0, 5.0]), torch.ones(1, 2)).tolist() == [[0.0, 0.0]]
    assert whitened(tensor([5.0, 5.0]), torch.zeros(1, 2)).tolist() == [[0.0, 0.0]]


def test_equal_ones_become_nothing_whatever_their_size():
    for count in range(2, 40):
        alike, mask = torch.full((count, 7), 1000.1), torch.ones(count, 7)
        assert not whitened(alike, mask).any()
        assert explained_variance(torch.zeros(count, 7), alike * 1e3, mask) is None


def test_other_shapes_are_refused():
    with pytest.raises(ValueError, match=r"shapes \(1, 2\), \(1, 3\), \(1, 2\), expected one shape"):
        gae(torch.zeros(1, 2), torch.zeros(1, 3), torch.ones(1, 2), gamma=1, lam=1)
