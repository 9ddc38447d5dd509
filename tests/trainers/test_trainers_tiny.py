"""The trainers with a real language model: a tiny Llama with byte-pair tokens of the task."""

import json

import pytest
import torch
from spelling import data, sample, session

from rmbench.api import Runtime
from rmbench.builtin.trainers import TRAINERS
from rmbench.policies.options import Tiny
from rmbench.policies.tiny import build
from rmbench.policy import Scored
from rmbench.trainers.options import Grpo, Reinforce, Sft

OPTIONS = Tiny(layers=1, width=32, heads=2, vocabulary=300, max_tokens=6, max_prompt=12)
COMMON = {"batch": 8, "evaluations": 1, "evaluation_prompts": 4, "learning_rate": 0.01}
WORDS = ["red", "green", "blue", "old", "new", "big", "tree", "house", "river", "stone"]


@pytest.fixture(scope="module")
def task():
    rows = [
        sample(at, f"{one} {other}", f"{other} {one}")
        for at, (one, other) in enumerate(zip(WORDS * 4, WORDS[3:] * 5, strict=False))
    ]
    return data(rows[:30], rows[30:35])


def made(task):
    return build(task, OPTIONS, Runtime(seed=1))


def trained(folder, task, name, options):
    agent = made(task)
    reward = lambda _, texts: Scored(tuple(float(text.count("e")) for text in texts))  # noqa: E731
    given = session(folder, reward, max_tokens=6, start=lambda: made(task))
    next(one for one in TRAINERS if one.name == name).train(agent, task, options, given)
    log = [json.loads(one) for one in (folder / "log.jsonl").read_text().splitlines()]
    curve = [json.loads(one) for one in (folder / "curve.jsonl").read_text().splitlines()]
    return agent, log, curve


def test_supervised_training_lowers_the_loss_on_dev(tmp_path, task):
    _, log, curve = trained(tmp_path, task, "sft", Sft(steps=25, **COMMON))
    assert curve[-1]["dev_loss"] < curve[0]["dev_loss"] - 0.5
    assert log[-1]["loss"] < log[0]["loss"] - 1
    assert (tmp_path / ".measures.json").is_file()


@pytest.mark.parametrize(
    ("name", "options"),
    [
        ("grpo", Grpo(steps=8, group=4, **COMMON)),
        ("reinforce", Reinforce(steps=8, group=4, baseline="leave-one-out", **COMMON)),
    ],
)
def test_the_reward_of_a_language_model_rises(tmp_path, task, name, options):
    _, log, curve = trained(tmp_path, task, name, options)
    assert log[-1]["reward"] > log[0]["reward"] + 0.5
    assert log[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert 0 < log[-1]["kl_per_token"] < log[-1]["kl"]
    assert curve[0]["kl"] == pytest.approx(0, abs=1e-5)
    assert curve[-1]["kl"] > 0.05


def test_micro_batches_give_the_gradient_of_the_whole(tmp_path, task):
    grads = []
    for micro in (0, 5):
        options = Grpo(steps=1, group=4, micro_batch=micro, **COMMON)
        agent, *_ = trained(tmp_path / str(micro), task, "grpo", options)
        grads.append(torch.cat([one.grad.reshape(-1) for one in agent.module.parameters()]))
    assert torch.allclose(*grads, atol=1e-5)
    assert grads[0].abs().max() > 1e-3
