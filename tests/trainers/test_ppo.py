"""PPO: its gradient by hand, clipping, epochs, KL control, learning, resuming."""

from itertools import pairwise

import pytest
import torch
from practice import SHORT, Recorded, check_resumed, gradients, known_rows, picky, rows, trained, weights
from spelling import Speller, bits, share_of_a

from rmbench.policy import Scored
from rmbench.trainers import actor_critic, ppo, reinforce
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.options import Reinforce
from rmbench.trainers.ppo import adapted, minibatches

ONCE = {"epochs": 1, "kl": 0.0, "value_weight": 0.0, "whiten": False, "lam": 1.0, "clip": 0.0, "steps": 1} | SHORT


def test_one_pass_without_values_is_reinforce(tmp_path):
    """Nothing is clipped before the first step: the gradient of the ratio is that of log p."""
    agent, _ = trained(ppo, Ppo(**ONCE), tmp_path / "a")
    keys = {"kl": 0.0, "clip": 0.0, "steps": 1} | SHORT
    other, _ = trained(reinforce, Reinforce(baseline="none", **keys), tmp_path / "b")
    row = rows(tmp_path / "a")[0]
    assert torch.allclose(gradients(agent), gradients(other) / row["length"], atol=1e-6)
    assert row["clip_share"] == 0.0
    assert row["kl_drawn"] == pytest.approx(0.0, abs=1e-6)


def test_the_gradient_by_hand_with_unscored_rows(tmp_path):
    """Advantages are rewards less the first step's mean (what the head begins at), whitened over scored tokens."""
    options = Ppo(**(ONCE | {"value_weight": 0.5, "value_reach": False, "whiten": True, "group": 3}))
    agent, _ = trained(ppo, options, tmp_path, agent=Recorded(), score=picky)
    samples, responses, n = next(one for one in agent.drawn if one[2] == 3)
    every = [sample for sample in samples for _ in range(n)]
    scores = picky(every, [one.text for one in responses]).values
    known = known_rows(scores)
    assert 0 < len(known) < len(scores)
    fresh = Speller()
    seen = fresh.forward([every[row] for row in known], [responses[row] for row in known])
    logp = torch.log_softmax(seen.logits, -1).gather(-1, seen.ids[..., None])[..., 0]
    reward = torch.tensor([scores[row] for row in known])
    ahead = (reward - reward.mean())[:, None].expand_as(logp)[seen.mask]  # lam = gamma = 1: all the reward is to come
    ahead = (ahead - ahead.mean()) / ahead.std(correction=0)
    (-(ahead * logp[seen.mask]).mean()).backward()
    assert torch.allclose(gradients(agent), gradients(fresh), atol=1e-5)


def test_the_ratio_is_clipped(tmp_path):
    trained(ppo, Ppo(steps=2, epochs=8, epsilon=0.05, **SHORT), tmp_path)
    assert rows(tmp_path)[0]["clip_share"] > 0
    assert rows(tmp_path)[0]["epochs"] == 8


def test_epochs_end_where_the_policy_is_far_from_the_one_that_drew(tmp_path):
    trained(ppo, Ppo(steps=2, epochs=8, target_kl=1e-4, **SHORT), tmp_path)
    assert rows(tmp_path)[0]["epochs"] < 8
    assert rows(tmp_path)[0]["kl_drawn"] > 1e-4


def test_the_coefficient_by_hand():
    assert adapted(0.1, 6.0, 6.0, 0.1) == pytest.approx(0.1)
    assert adapted(0.1, 6.6, 6.0, 0.1) == pytest.approx(0.101)
    assert adapted(0.1, 60.0, 6.0, 0.1) == pytest.approx(0.102)
    assert adapted(0.1, 0.0, 6.0, 0.1) == pytest.approx(0.098)


def test_an_adaptive_coefficient_follows_the_kl(tmp_path):
    trained(ppo, Ppo(steps=4, kl_control="adaptive", kl_target=0.2, kl_rate=1.0, kl=0.1, **SHORT), tmp_path)
    log = rows(tmp_path)
    assert log[0]["kl_coefficient"] == 0.1
    for row, after in pairwise(log):
        assert after["kl_coefficient"] == pytest.approx(adapted(row["kl_coefficient"], row["kl"], 0.2, 1.0))


@pytest.mark.parametrize(("count", "parts"), [(1, 1), (2, 2), (5, 5), (9, 7)])
def test_minibatches_share_the_rows(count, parts):
    found = minibatches([0, 1, 2, 4, 5, 7, 8], count, seed=3)
    assert sorted(row for part in found for row in part) == [0, 1, 2, 4, 5, 7, 8]
    assert len(found) == parts
    assert max(map(len, found)) - min(map(len, found)) <= 1
    assert found == minibatches([0, 1, 2, 4, 5, 7, 8], count, seed=3)


@pytest.mark.parametrize(
    "options",
    [
        {},
        {"minibatches": 2, "epochs": 2, "group": 2, "value_reach": False},
        {"kl_in": "loss", "kl_estimator": "k3", "entropy": 0.01, "mix": 0.1, "value_clip": 0.0},
    ],
)
def test_the_reward_rises(tmp_path, options):
    trained(ppo, Ppo(steps=12, **SHORT, **options), tmp_path)
    log = rows(tmp_path)
    assert sum(row["reward"] for row in log[-3:]) / 3 > log[0]["reward"] + 0.25
    assert {"kl", "entropy", "length", "value_loss", "explained_variance"} <= log[0].keys()


def test_a_constant_reward_moves_nothing(tmp_path):
    agent, ended = trained(ppo, Ppo(steps=2, kl=0.0, **SHORT), tmp_path, score=lambda s, t: Scored((0.3,) * len(t)))
    assert bits(agent) == bits(Speller())
    assert any("same value" in note for note in ended.notes)


def test_a_step_without_scores_moves_nothing(tmp_path):
    """Nor does the next one, whose scores are all alike: the value begins at the first scores there are."""

    calls = iter(range(99))

    def late(samples, texts):
        return Scored((None if next(calls) == 0 else 0.3,) * len(texts))

    agent, ended = trained(ppo, Ppo(steps=2, kl=0.0, **SHORT), tmp_path, score=late, judge=lambda s, t: {})
    assert bits(agent) == bits(Speller())
    assert [(row["unscored"], row["loss"]) for row in rows(tmp_path)] == [(6, None), (0, 0.0)]
    assert "1 of 2 steps had no scored response: they changed nothing" in ended.notes


def test_a_step_without_scores_has_no_kl(tmp_path):
    calls = iter(range(99))

    def late(samples, texts):
        return Scored((None,) * len(texts)) if next(calls) == 0 else share_of_a(samples, texts)

    for module, options in ((ppo, Ppo), (actor_critic, ActorCritic)):
        calls, folder = iter(range(99)), tmp_path / module.__name__
        trained(module, options(steps=2, kl=0.1, **SHORT), folder, score=late, judge=lambda s, t: {})
        first, second = rows(folder)
        assert (first["kl"], first["kl_per_token"], first["loss"]) == (None, None, None)
        assert second["loss"] is not None


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    """The value head and the adaptive coefficient are kept with the rest."""
    check_resumed(ppo, Ppo(steps=5, minibatches=2, kl_control="adaptive", kl_target=0.2, **SHORT), tmp_path)


def test_less_memory_gives_the_same(tmp_path):
    options = Ppo(steps=2, minibatches=2, epochs=2, **SHORT)
    whole, _ = trained(ppo, options, tmp_path / "a")
    parts, ended = trained(ppo, options, tmp_path / "b", agent=Speller(most=2))
    assert torch.allclose(weights(whole), weights(parts), atol=1e-4)
    assert rows(tmp_path / "b")[-1]["clip_share"] == pytest.approx(rows(tmp_path / "a")[-1]["clip_share"])
    assert any("memory" in note for note in ended.notes)


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"epochs": 0}, "epochs is 0, expected an integer of at least 1"),
        ({"epsilon": 1.0}, "epsilon is 1.0, expected a finite number above 0 below 1"),
        ({"value_clip": -0.1}, "value_clip is -0.1"),
        ({"target_kl": -1.0}, "target_kl is -1.0"),
        ({"kl_control": "auto"}, "kl_control is 'auto', expected one of: fixed, adaptive"),
        ({"kl_target": 0.0}, "kl_target is 0.0"),
        ({"kl_control": "adaptive", "kl": 0.0}, "no coefficient to steer"),
        ({"batch": 2, "minibatches": 3}, r"minibatches is 3, and a rollout has 2 rows \(batch 2, group 1\)"),
        ({"updates": 2}, "updates is 2 and importance 'none': ppo learns from a rollout by epochs and minibatches"),
        ({"importance": "clipped"}, "importance 'clipped'"),
    ],
)
def test_wrong_options_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        Ppo(**fields)
