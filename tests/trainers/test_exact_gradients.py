"""In expectation every estimator's gradient is the exact one, of a policy whose responses can be enumerated."""

import pytest
import torch
from enumerable import Enumerable, exact_gradient, reward_of
from spelling import data, sample, session

from rmbench.policy import Scored
from rmbench.trainers import grpo, reinforce
from rmbench.trainers.options import Grpo, Reinforce

STILL = {"steps": 60, "batch": 64, "learning_rate": 1e-12, "clip": 0.0, "evaluations": 1, "evaluation_prompts": 1}


def mean_gradient(folder, module, options):
    """The mean over steps of the gradient of a policy that stands still, and the policy and its start."""
    agent, found = Enumerable(1), []
    agent.module.logits.register_hook(lambda grad: found.append(grad.clone()))
    task = data([sample(at, f"prompt {at}") for at in range(4)])
    score = lambda _, texts: Scored(tuple(reward_of(text) for text in texts))  # noqa: E731
    given = session(folder, score, start=lambda: Enumerable(2), max_tokens=2, judge=lambda *_: {})
    module.train(agent, task, options, given)
    return torch.stack(found).mean(0), agent


@pytest.mark.parametrize("baseline", ["none", "moving-average", "greedy", "leave-one-out"])
@pytest.mark.parametrize("kl", [0.0, 0.3])
def test_reinforce(tmp_path, baseline, kl):
    options = Reinforce(baseline=baseline, group=4, kl=kl, **STILL)
    found, agent = mean_gradient(tmp_path, reinforce, options)
    exact = exact_gradient(agent, Enumerable(2), kl=kl)
    assert torch.allclose(found, exact, atol=0.02)
    assert exact.abs().max() > 0.1


def test_k2_in_the_loss_has_the_gradient_of_kl(tmp_path):
    options = Reinforce(baseline="leave-one-out", group=4, kl=0.3, kl_in="loss", kl_estimator="k2", **STILL)
    found, agent = mean_gradient(tmp_path, reinforce, options)
    first = exact_gradient(agent, Enumerable(2), kl=0.3)[0]  # each token's own part of KL: all of it for the last token
    exact = exact_gradient(agent, Enumerable(2), kl=0.3)
    assert torch.allclose(found[1:], exact[1:], atol=0.02)
    assert not torch.allclose(found[0], first, atol=0.02)


def test_grpo_without_scaling_is_the_exact_gradient_times_what_the_own_group_takes(tmp_path):
    options = Grpo(scale="none", group=4, kl=0.0, **STILL)
    found, agent = mean_gradient(tmp_path, grpo, options)
    share = 3 / 4 / 2  # a mean over the group holds the response itself; the loss is a mean over two tokens
    assert torch.allclose(found / share, exact_gradient(agent, Enumerable(2)), atol=0.02)
