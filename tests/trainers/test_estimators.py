"""Every estimator against numbers computed by hand, and against its definition on generated inputs."""

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmbench.trainers import estimators as est
from rmbench.trainers import fused

finite = st.floats(-20, 20, width=32)


def close(found, expected, tolerance=1e-6):
    return torch.allclose(
        torch.as_tensor(found, dtype=torch.float32), torch.tensor(expected, dtype=torch.float32), atol=tolerance
    )


def test_log_probabilities_and_entropy_by_hand():
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])
    ids = torch.tensor([[1, 0]])
    assert close(est.logprobs(logits, ids), [[math.log(0.75), math.log(0.5)]])
    assert close(est.logprobs(logits, ids, 0.5), [[math.log(0.9), math.log(0.5)]])  # odds of 3 squared
    by_hand = -(0.75 * math.log(0.75) + 0.25 * math.log(0.25))
    assert close(est.entropy(logits), [[by_hand, math.log(2)]])
    assert close(est.entropy(torch.tensor([[[0.0, -math.inf]]])), [[0.0]])


@given(st.lists(st.tuples(finite, finite, finite), min_size=2, max_size=6), st.floats(0.1, 5))
def test_log_probabilities_are_a_log_softmax(rows, temperature):
    logits, ids = torch.tensor([rows], dtype=torch.float64), torch.tensor([[at % 3 for at in range(len(rows))]])
    expected = torch.log_softmax(logits / temperature, -1)
    assert torch.allclose(est.logprobs(logits, ids, temperature), expected.gather(-1, ids[..., None])[..., 0])
    assert torch.allclose(est.entropy(logits, temperature), -(expected.exp() * expected).sum(-1))


def test_masked_mean_is_over_what_is_there():
    values, mask = torch.tensor([[1.0, math.nan], [2.0, 6.0]]), torch.tensor([[True, False], [True, True]])
    assert float(est.masked_mean(values, mask)) == 3.0
    assert float(est.masked_mean(values, torch.zeros_like(mask))) == 0.0
    assert close(est.masked_sum(values, mask), [1.0, 8.0])


def test_kl_estimators_by_hand():
    logp, ref = torch.tensor([math.log(0.5)]), torch.tensor([math.log(0.25)])
    assert close(est.kl_k1(logp, ref), [math.log(2)])
    assert close(est.kl_k2(logp, ref), [math.log(2) ** 2 / 2])
    assert close(est.kl_k3(logp, ref), [0.5 - 1 + math.log(2)])


def test_k1_and_k3_are_unbiased_and_exact_kl_is_their_mean():
    logits, other = torch.tensor([[[1.0, 0.0, -1.0]]]), torch.tensor([[[0.0, 0.5, 0.3]]])
    p, log_p, log_q = (torch.softmax(logits, -1), torch.log_softmax(logits, -1), torch.log_softmax(other, -1))
    exact = est.exact_kl(logits, other, torch.ones(1, 1, dtype=torch.bool))
    assert close(exact, [float((p * (log_p - log_q)).sum())])
    for name in ("k1", "k3"):
        assert close((p * est.KL[name](log_p, log_q)).sum(-1)[0], exact.tolist())
    assert not close((p * est.kl_k2(log_p, log_q)).sum(-1)[0], exact.tolist(), 1e-3)


def test_exact_kl_sums_over_the_mask_and_knows_what_is_impossible():
    logits = torch.tensor([[[0.0, -math.inf], [0.0, 0.0]]])
    ref = torch.tensor([[[0.0, 0.0], [0.0, 5.0]]])
    assert close(est.exact_kl(logits, ref, torch.tensor([[True, False]])), [math.log(2)])
    assert close(est.exact_kl(logits, logits, torch.tensor([[True, True]])), [0.0])


def test_returns_by_hand():
    rewards = torch.tensor([[1.0, 2.0, 4.0], [0.0, 0.0, 8.0]])
    assert close(est.returns(rewards), [[7.0, 6.0, 4.0], [8.0, 8.0, 8.0]])
    assert close(est.returns(rewards, 0.5), [[3.0, 4.0, 4.0], [2.0, 4.0, 8.0]])


def test_a_reward_stands_on_the_last_token():
    mask = torch.tensor([[True, True, False], [True, True, True], [False, False, False]])
    assert close(est.at_end(torch.tensor([3.0, 4.0, 5.0]), mask)[:2], [[0, 3.0, 0], [0, 0, 4.0]])


def test_leave_one_out_by_hand():
    rewards = torch.tensor([1.0, 2.0, 6.0, 5.0, 0.0, 9.0])
    assert close(est.leave_one_out(rewards, 3), [-3.0, -1.5, 4.5, 0.5, -7.0, 6.5])
    scored = torch.tensor([True, False, True, True, False, False])
    assert close(est.leave_one_out(rewards, 3, scored), [-5.0, 0.0, 5.0, 0.0, 0.0, 0.0])  # alone: nothing to compare


def test_group_standardised_by_hand():
    rewards = torch.tensor([1.0, 3.0, 5.0, 5.0])
    deviation = math.sqrt(2)
    expected = [-1 / (deviation + 1e-4), 1 / (deviation + 1e-4), 0.0, 0.0]
    assert close(est.group_standardised(rewards, 2), expected)
    assert close(est.group_standardised(rewards, 2, scale=False), [-1.0, 1.0, 0.0, 0.0])
    scored = torch.tensor([True, False, True, True])
    assert close(est.group_standardised(rewards, 2, scored, scale=False), [0.0, 0.0, 0.0, 0.0])


@given(
    st.integers(2, 12), st.floats(-(2.0**100), 2.0**100, width=32), st.lists(st.booleans(), min_size=24, max_size=24)
)
def test_equal_rewards_have_no_advantage_at_all(group, value, scored):
    """Not one of rounding either: AdamW would make full steps of it."""
    rewards, known = torch.full((2 * group,), value), torch.tensor(scored[: 2 * group])
    assert not est.leave_one_out(rewards, group, known).any()
    assert not est.group_standardised(rewards, group, known).any()
    assert not est.group_standardised(rewards, group, scale=False).any()


def test_large_rewards_have_the_advantages_of_small_ones():
    small = est.group_standardised(torch.tensor([1.0, 2.0, 4.0]), 3, smallest=0.0)
    assert close(est.group_standardised(torch.tensor([1e25, 2e25, 4e25]), 3), small.tolist())


@given(st.lists(st.tuples(finite, st.booleans()), min_size=6, max_size=6))
def test_unscored_rows_change_nothing_for_the_others(rows):
    rewards, scored = torch.tensor([value for value, _ in rows]), torch.tensor([known for _, known in rows])
    poisoned = torch.where(scored, rewards, math.nan)
    for baseline in (est.leave_one_out, est.group_standardised):
        found = baseline(poisoned, 6, scored)
        assert bool((found[~scored] == 0).all())
        alone = rewards[scored]
        if len(alone) > 1:
            assert torch.allclose(found[scored], baseline(alone, len(alone)), atol=1e-3)


def test_other_baselines_by_hand():
    assert close(est.self_critical(torch.tensor([1.0, 2.0, 3.0, 4.0]), torch.tensor([1.0, 5.0]), 2), [0, 1, -2, -1.0])
    assert est.moving_average(None, 4.0, 0.9) == 4.0
    assert est.moving_average(2.0, 4.0, 0.75) == 2.5


def test_importance_weights_by_hand():
    logp, old = torch.tensor([0.1, 0.8, 0.2]).log().requires_grad_(), torch.tensor([0.2, 0.1, 0.2]).log()
    assert close(est.importance_weights(logp, old, "none", 2.0), [1.0, 1.0, 1.0])
    assert close(est.importance_weights(logp, old, "truncated", 2.0), [0.5, 2.0, 1.0])
    assert close(est.importance_weights(logp, old, "clipped", 1.5), [1 / 1.5, 1.5, 1.0])
    assert not est.importance_weights(logp, old, "clipped", 1.5).requires_grad


def test_importance_weights_make_old_samples_unbiased():
    p, old, reward = torch.tensor([0.1, 0.3, 0.6]), torch.tensor([0.4, 0.4, 0.2]), torch.tensor([1.0, -2.0, 3.0])
    weights = est.importance_weights(p.log(), old.log(), "truncated", 100.0)
    assert float((old * weights * reward).sum()) == pytest.approx(float((p * reward).sum()))


def test_the_clipped_surrogate_by_hand():
    ratio, gain = torch.tensor([1.5, 1.5, 0.5, 0.5, 1.1]), torch.tensor([1.0, -1.0, 1.0, -1.0, 2.0])
    assert close(est.clipped_surrogate(ratio, gain, 0.2, 0.3), [1.3, -1.5, 0.5, -0.8, 2.2])


def test_mix_weights_by_hand():
    assert [est.mix_weight(0.4, "constant", step, 4) for step in (1, 4)] == [0.4, 0.4]
    assert [est.mix_weight(0.4, "linear", step, 4) for step in (1, 2, 3, 4)] == pytest.approx([0.4, 0.3, 0.2, 0.1])
    assert [est.mix_weight(0.4, "cosine", step, 2) for step in (1, 2)] == pytest.approx([0.4, 0.2])


@pytest.mark.parametrize("piece", [1, 7, 10**6])
@pytest.mark.parametrize("temperature", [1.0, 0.7])
def test_the_fused_gradient_is_that_of_the_definition(monkeypatch, piece, temperature):
    monkeypatch.setattr(fused, "PIECE", piece)
    drawn = torch.Generator().manual_seed(1)
    logits = (3 * torch.randn(2, 5, 4, generator=drawn, dtype=torch.float64)).requires_grad_()
    ids, weights = torch.randint(4, (2, 5), generator=drawn), torch.randn(2, 2, 5, generator=drawn, dtype=torch.float64)
    log_p = torch.log_softmax(logits / temperature, -1)
    expected = log_p.gather(-1, ids[..., None])[..., 0], -(log_p.exp() * log_p).sum(-1)
    found = fused.logprobs_and_entropy(logits, ids, temperature)
    for one, other in zip(found, expected, strict=True):
        assert torch.allclose(one, other)
    for some in ([0], [1], [0, 1]):
        grads = [
            torch.autograd.grad(sum((weights[at] * both[at]).sum() for at in some), logits, retain_graph=True)[0]
            for both in (found, expected)
        ]
        assert torch.allclose(*grads)


def test_the_fused_gradient_knows_what_is_impossible():
    logits = torch.tensor([[0.0, 1.0, -math.inf]], requires_grad=True)
    logp, entropy = fused.logprobs_and_entropy(logits, torch.tensor([1]))
    (logp + entropy).sum().backward()
    p = torch.softmax(torch.tensor([0.0, 1.0]), -1)
    h = float(-(p * p.log()).sum())
    expected = [-p[0] - p[0] * (p[0].log() + h), 1 - p[1] - p[1] * (p[1].log() + h), 0.0]
    assert close(logits.grad[0], [float(one) for one in expected])
