"""The value head and actor-critic: gradients by hand, learning, and what leaves the policy alone."""

import pytest
import torch
from enumerable import Enumerable, exact_gradient, reward_of
from practice import SHORT, Recorded, check_resumed, gradients, known_rows, picky, rows, trained, weights
from spelling import Speller, bits, data, sample, session, share_of_a

from rmbench.policy import Scored
from rmbench.trainers import actor_critic, ppo, reinforce
from rmbench.trainers.critic import ValueHead
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.options import Reinforce

PLAIN = {"kl": 0.0, "value_weight": 0.0, "whiten": False, "lam": 1.0, "clip": 0.0, "steps": 1} | SHORT


def constant(samples, texts):
    return Scored((0.7,) * len(texts))


def test_a_head_learns_as_one_with_its_own_learning_rate():
    """AdamW on a head with rate 8 makes the steps that a plain one makes with 8 times the learning rate."""
    torch.manual_seed(1)
    hidden, wanted = torch.randn(5, 3, 4), torch.randn(5, 3)
    scaled, plain = ValueHead(4, rate=8.0, reach=True), ValueHead(4, rate=1.0, reach=True)
    for head, rate in ((scaled, 0.01), (plain, 0.08)):
        optimizer = torch.optim.AdamW(head.parameters(), lr=rate, weight_decay=0.0)
        for _ in range(5):
            optimizer.zero_grad()
            (head(hidden) - wanted).square().sum().backward()
            optimizer.step()
    assert torch.allclose(scaled(hidden), plain(hidden), atol=1e-6)
    assert torch.allclose(scaled.weight.grad, plain.weight.grad, rtol=1e-4, atol=1e-4)


def test_a_head_begins_at_the_first_rewards():
    head = ValueHead(2, rate=3.0, reach=True)
    head.begin(torch.tensor([1.0, 3.0]))
    assert head(torch.randn(2, 2, 2)).tolist() == [[2.0, 2.0], [2.0, 2.0]]
    assert head.scale == 1.0
    head.begin(torch.tensor([5.0, 5.0]))
    assert (head.shift, head.scale) == (5.0, 1.0)


@pytest.mark.parametrize("reach", [True, False])
def test_the_value_loss_reaches_the_policy_where_it_is_to(reach):
    head, hidden = ValueHead(2, rate=1.0, reach=reach), torch.ones(1, 1, 2, requires_grad=True)
    with torch.no_grad():
        head.weight.fill_(1.0)
    head(hidden).sum().backward()
    assert (hidden.grad is not None) == reach
    assert head.weight.grad is not None


def test_without_values_its_gradient_is_that_of_reinforce_by_hand(tmp_path):
    """Mean over tokens of r log p; rows without a score, or with one that is NaN, are as if they had not been."""
    agent, _ = trained(actor_critic, ActorCritic(group=3, **PLAIN), tmp_path / "a", agent=Recorded(), score=picky)
    samples, responses, n = next(one for one in agent.drawn if one[2] == 3)
    every = [sample for sample in samples for _ in range(n)]
    scores = picky(every, [one.text for one in responses]).values
    known = known_rows(scores)
    assert 0 < len(known) < len(scores)
    fresh = Speller()
    seen = fresh.forward([every[row] for row in known], [responses[row] for row in known])
    logp = torch.log_softmax(seen.logits, -1).gather(-1, seen.ids[..., None])[..., 0] * seen.mask
    reward = torch.tensor([scores[row] for row in known])
    (-(reward[:, None] * logp).sum() / seen.mask.sum()).backward()
    assert torch.allclose(gradients(agent), gradients(fresh), atol=1e-6)
    assert rows(tmp_path / "a")[0]["unscored"] == len(scores) - len(known)


@pytest.mark.parametrize("options", [{"advantage": "gae"}, {"advantage": "n-step", "n": 9}])
def test_without_values_it_follows_reinforce(tmp_path, options):
    agent, _ = trained(actor_critic, ActorCritic(**PLAIN, **options), tmp_path / "a")
    keys = {"kl": 0.0, "clip": 0.0, "steps": 1} | SHORT
    other, _ = trained(reinforce, Reinforce(baseline="none", **keys), tmp_path / "b")
    share = 6 / (rows(tmp_path / "a")[0]["length"] * 6)  # of rows and tokens, over which the two take means
    assert torch.allclose(gradients(agent), gradients(other) * share, atol=1e-6)


STILL = {
    "steps": 60,
    "batch": 64,
    "group": 4,
    "learning_rate": 1e-12,
    "clip": 0.0,
    "evaluations": 1,
    "evaluation_prompts": 1,
}


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (actor_critic, ActorCritic(lam=1.0, whiten=False, value_reach=False, value_rate=1e10, kl=0.3, **STILL)),
        (actor_critic, ActorCritic(advantage="n-step", n=2, whiten=False, value_weight=0.0, kl=0.0, **STILL)),
        (ppo, Ppo(lam=1.0, whiten=False, value_reach=False, value_rate=1e10, epochs=1, kl=0.3, **STILL)),
    ],
)
def test_the_gradient_is_the_exact_one_in_expectation(tmp_path, module, options):
    """Of a policy that stands still and whose responses can be enumerated; its values learn meanwhile, and add no bias."""
    agent, found = Enumerable(1), []
    agent.module.logits.register_hook(lambda grad: found.append(grad.clone()))
    task = data([sample(at, f"prompt {at}") for at in range(4)])
    given = session(
        tmp_path, lambda _, texts: Scored(tuple(reward_of(text) for text in texts)), start=lambda: Enumerable(2),
        max_tokens=2, judge=lambda *_: {},
    )  # fmt: skip
    module.train(agent, task, options, given)
    exact = exact_gradient(agent, Enumerable(2), kl=options.kl) / 2  # the loss is a mean over two tokens
    assert torch.allclose(torch.stack(found).mean(0), exact, atol=0.01)
    assert exact.abs().max() > 0.05
    if options.value_weight:
        assert rows(tmp_path)[-1]["explained_variance"] > 0.01


@pytest.mark.parametrize("options", [{"advantage": "gae"}, {"advantage": "n-step", "n": 2}])
def test_a_constant_reward_has_no_advantage(tmp_path, options):
    options = ActorCritic(steps=3, kl=0.0, **SHORT, **options)
    agent, ended = trained(actor_critic, options, tmp_path, score=constant)
    assert bits(agent) == bits(Speller())
    assert any("same value" in note for note in ended.notes)


@pytest.mark.parametrize(
    "options",
    [
        {"kl_in": "loss", "kl_estimator": "k3", "entropy": 0.01, "mix": 0.1},
        {"advantage": "n-step", "n": 2, "updates": 2, "importance": "clipped", "importance_level": "token", "group": 2},
    ],
)
def test_the_reward_rises(tmp_path, options):
    trained(actor_critic, ActorCritic(steps=15, **SHORT, **options), tmp_path)
    log = rows(tmp_path)
    assert sum(row["reward"] for row in log[-3:]) / 3 > log[0]["reward"] + 0.2
    assert all(row["value_loss"] >= 0 for row in log)
    assert log[-1]["explained_variance"] is not None


def test_the_scale_of_the_reward_does_not_matter(tmp_path):
    def large(samples, texts):
        return Scored(tuple(None if one is None else 64 * one for one in share_of_a(samples, texts).values))

    options = ActorCritic(steps=3, kl=0.0, **SHORT)
    one, _ = trained(actor_critic, options, tmp_path / "a")
    other, _ = trained(actor_critic, options, tmp_path / "b", score=large)
    assert torch.allclose(weights(one), weights(other), atol=1e-4)


def test_it_goes_on_where_it_was_interrupted(tmp_path):
    check_resumed(actor_critic, ActorCritic(steps=5, updates=2, importance="truncated", **SHORT), tmp_path)


@pytest.mark.parametrize(
    ("record", "fields", "words"),
    [
        (ActorCritic, {"lam": 1.5}, "lam is 1.5, expected a finite number from 0 up to 1"),
        (ActorCritic, {"value_weight": -1.0}, "value_weight is -1.0"),
        (ActorCritic, {"value_rate": 0.0}, "value_rate is 0.0, expected a finite number above 0"),
        (ActorCritic, {"value_reach": 1}, "value_reach is 1, expected true or false"),
        (ActorCritic, {"advantage": "td"}, "advantage is 'td', expected one of: gae, n-step"),
        (ActorCritic, {"n": 0}, "n is 0, expected an integer of at least 1"),
        (ActorCritic, {"steps": 0}, "steps is 0"),
        (Ppo, {"whiten": "yes"}, "whiten is 'yes', expected true or false"),
    ],
)
def test_wrong_options_are_refused(record, fields, words):
    with pytest.raises(ValueError, match=words):
        record(**fields)
