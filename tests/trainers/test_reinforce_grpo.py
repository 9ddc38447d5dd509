"""REINFORCE and GRPO raise a simple reward, with every option they have."""

import json
from statistics import mean

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
        (reinforce, Reinforce(steps=30, kl=0.0, **SHORT)),
        (reinforce, Reinforce(steps=30, baseline="none", **SHORT)),
        (reinforce, Reinforce(steps=40, baseline="greedy", group=2, entropy=0.01, **SHORT)),
        (reinforce, Reinforce(steps=15, baseline="leave-one-out", group=3, updates=2, importance="truncated", **SHORT)),
        (reinforce, Reinforce(steps=15, kl_in="loss", kl_estimator="k2", group=3, gamma=0.9, **SHORT)),
        (grpo, Grpo(steps=15, group=4, **SHORT)),
        (grpo, Grpo(steps=12, group=4, updates=2, normalisation="bnpo", scale="none", **SHORT)),
        (grpo, Grpo(steps=12, normalisation="dr_grpo", importance_level="sequence", kl_in="reward", **SHORT)),
    ],
)
def test_the_reward_rises(tmp_path, module, options):
    trained = module.train(Speller(), copies(), options, session(tmp_path))
    log, curve = rows(tmp_path, "log.jsonl"), rows(tmp_path, "curve.jsonl")
    assert [row["step"] for row in log] == list(range(1, options.steps + 1))
    assert [row["step"] for row in curve] == [0, (options.steps + 1) // 2, options.steps]
    assert mean(row["reward"] for row in log[-4:]) > mean(row["reward"] for row in log[:3]) + 0.2
    assert trained.steps == options.steps
