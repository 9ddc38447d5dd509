"""REINFORCE and GRPO raise a simple reward, with every option they have."""

import json

import pytest
from spelling import Speller, copies, session

from rmbench.trainers import grpo, reinforce
from rmbench.trainers.options import Grpo, Reinforce

SHORT = {"batch": 8, "learning_rate": 0.02, "evaluations": 2, "evaluation_prompts": 8}


def rows(folder, name):
    return [json.loads(one) for one in (folder / name).read_text().splitlines()]


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (reinforce, Reinforce(steps=25, kl=0.0, **SHORT)),
        (reinforce, Reinforce(steps=25, baseline="greedy", **SHORT)),
        (reinforce, Reinforce(steps=15, baseline="leave-one-out", group=3, updates=2, importance="truncated", **SHORT)),
        (grpo, Grpo(steps=15, group=4, **SHORT)),
        (grpo, Grpo(steps=10, group=4, updates=2, normalisation="bnpo", scale="none", **SHORT)),
    ],
)
def test_the_reward_rises(tmp_path, module, options):
    agent = Speller()
    trained = module.train(agent, copies(), options, session(tmp_path))
    log, curve = rows(tmp_path, "log.jsonl"), rows(tmp_path, "curve.jsonl")
    assert [row["step"] for row in log] == list(range(1, options.steps + 1))
    assert curve[0]["step"] == 0
    assert curve[-1]["reward"] > curve[0]["reward"] + 0.15
    assert trained.steps == options.steps
