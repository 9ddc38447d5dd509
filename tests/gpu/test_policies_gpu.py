"""Policies and their trainers on a CUDA device: `python -m pytest tests/gpu -m gpu`. Without a device they fail."""

import json
import sys
from pathlib import Path

import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "policies"))

from policy_data import judgements

from rmbench.api import Runtime
from rmbench.judged import Interrupted
from rmbench.policies import hf, tiny
from rmbench.policies.options import Hf, Tiny
from rmbench.policy import Decoding, Scored, Session
from rmbench.trainers import actor_critic, grpo, ppo, reinforce, sft
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.options import Grpo, Reinforce, Sft

pytestmark = pytest.mark.gpu
SIZES = {"layers": 2, "width": 64, "heads": 4, "vocabulary": 400, "max_prompt": 32, "max_tokens": 12}
CUDA, CPU = Runtime("cuda", "bfloat16"), Runtime()
COMMON = {"steps": 6, "batch": 4, "evaluations": 2, "evaluation_prompts": 4}


@pytest.fixture(autouse=True)
def _cuda():
    if not torch.cuda.is_available():
        pytest.fail("these tests need a CUDA device")


@pytest.fixture(scope="module")
def data():
    return judgements()


@pytest.fixture(scope="module")
def saved(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("gpu-policy")
    tiny.build(data, Tiny(**SIZES), CPU).save(folder)
    return folder


def loaded(saved, runtime, options=None):
    return tiny.load(saved, options or Tiny(**SIZES), runtime)


def session(folder, saved, stop=lambda: False):
    def score(samples, texts):
        return Scored(tuple(float(len(text.split())) if i % 5 else None for i, text in enumerate(texts)))

    return Session(
        folder, runtime=CUDA, decoding=Decoding(max_tokens=12), start=lambda: loaded(saved, CUDA), score=score,
        judge=lambda s, t: {"words": score(s, t)}, reward="words", stop=stop,
    )  # fmt: skip


def test_logits_and_greedy_responses_are_those_of_the_cpu(saved, data):
    here, there = loaded(saved, CPU), loaded(saved, CUDA)
    samples = data.train.samples[:6]
    responses = [one[0] for one in here.sample(samples, 1, Decoding(max_tokens=12, temperature=1.0), seed=3)]
    with torch.no_grad():
        a, b = here.forward(samples, responses), there.forward(samples, responses)
    mask = a.mask
    assert b.logits.device.type == "cuda"
    assert float((a.logits - b.logits.float().cpu())[mask].abs().max()) < 5e-3
    for decoding in (
        Decoding(max_tokens=12),
        Decoding(max_tokens=12, beams=3),
        Decoding(max_tokens=12, temperature=0.7, top_p=0.9),
    ):
        drawn = there.sample(samples, 2 if decoding.temperature else 1, decoding, seed=5)
        again = there.sample(samples, 2 if decoding.temperature else 1, decoding, seed=5)
        assert drawn == again
        assert all(one.ids for some in drawn for one in some)


@pytest.mark.parametrize(
    ("trainer", "options"),
    [
        (sft, Sft(**COMMON)),
        (reinforce, Reinforce(**COMMON, group=4)),
        (grpo, Grpo(**COMMON, group=4)),
        (actor_critic, ActorCritic(**COMMON, group=4)),
        (ppo, Ppo(**COMMON, group=4)),
    ],
    ids=["sft", "reinforce", "grpo", "actor-critic", "ppo"],
)
def test_trainers_train_stop_and_go_on(trainer, options, saved, data, tmp_path):
    agent = loaded(saved, CUDA)
    before = {name: weight.detach().clone() for name, weight in agent.module.named_parameters()}
    calls = [0]

    def stop():
        calls[0] += 1
        return calls[0] == 4

    with pytest.raises(Interrupted):
        trainer.train(agent, data, options, session(tmp_path, saved, stop))
    again = loaded(saved, CUDA)
    done = trainer.train(again, data, options, session(tmp_path, saved))
    assert done.steps == 6
    assert any(not torch.equal(before[name], weight) for name, weight in again.module.named_parameters())
    rows = [json.loads(line) for line in (tmp_path / "log.jsonl").read_bytes().splitlines()]
    assert [row["step"] for row in rows] == list(range(1, 7)) or [row["step"] for row in rows] == list(range(6))
    again.save(tmp_path)
    assert loaded(tmp_path, CPU).sample(data.train.samples[:2], 1, Decoding(max_tokens=12), seed=1)


def test_a_saved_policy_is_an_ordinary_folder_that_hf_loads_on_the_device(saved, data):
    agent = hf.build(data, Hf(path=saved, max_prompt=32, max_tokens=12), CUDA)
    assert len(agent.sample(data.train.samples[:3], 2, Decoding(max_tokens=12, temperature=1.0), seed=1)) == 3
