"""A step of our GRPO beside one of TRL's: same start, prompts, reward and options, in one process, one after the other.

    pytest tests/benchmarks/test_grpo.py -n 0 --benchmark-enable --benchmark-only -s

measures and prints tokens a second of both and their ratio, by the clock and by the processor's time. With benchmarks
disabled (the default tests) the policy is a tiny one and nothing is measured.
"""

import importlib.util
import json
import random
import sys
from dataclasses import replace

import pytest
from fakes import REPO

from rmbench.judgements import read
from rmbench.tasks import load_task

PAIR = REPO / "reports" / "optimise" / "trl_pair.py"
CARD = """
name = "pseudo"
version = 1
kind = "generation"
description = "x"
licence = "MIT"
source = "x"
citation = "x"
languages = ["en"]
[data]
train = "train.jsonl"
dev = "dev.jsonl"
test = "dev.jsonl"
"""


@pytest.fixture(scope="module")
def pair(tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.syspath_prepend(str(REPO / "plugins" / "rmbench-trl"))
        spec = importlib.util.spec_from_file_location("grpo_pair", PAIR)
        module = importlib.util.module_from_spec(spec)
        patch.setitem(sys.modules, "grpo_pair", module)
        spec.loader.exec_module(module)
        yield module


@pytest.fixture(scope="module")
def judgements(tmp_path_factory):
    """Sentences of about 12 made-up words, whose references are others of the same words."""
    draw, folder = random.Random(1), tmp_path_factory.mktemp("pseudo")
    words = ["".join(draw.choices("abcdefghijklmnopqrstuvwxyz", k=draw.randint(2, 7))) for _ in range(3000)]

    def text():
        return " ".join(draw.choices(words, k=draw.randint(9, 14)))

    (folder / "task.toml").write_text(CARD)
    for split, count in (("train", 400), ("dev", 20)):
        rows = [{"id": f"{split}-{at}", "prompt": text(), "references": [text()]} for at in range(count)]
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return read(load_task(folder), seed=1)


def setting_of(pair, judgements, folder, *, small):
    sizes = {"layers": 1, "width": 16, "heads": 2, "vocabulary": 300, "max_tokens": 8} if small else {}
    steps = {"batch": 2, "group": 2, "micro_batch": 2} if small else {}
    return pair.prepare(
        judgements, folder, policy=replace(pair.POLICY, **sizes), start=replace(pair.START, steps=1 if small else 60),
        options=replace(pair.OPTIONS, **steps, threads=1 if small else 2),
    )  # fmt: skip


def test_a_step_of_grpo(benchmark, pair, judgements, tmp_path):
    small = benchmark.disabled
    setting = setting_of(pair, judgements, tmp_path, small=small)
    timed = benchmark.pedantic(
        pair.rounds, args=(setting,), kwargs={"count": 1 if small else 5, "steps": 4 if small else 8}, rounds=1
    )  # fmt: skip
    found = pair.speed(timed)
    for clock in ("wall", "processor"):
        ratio = found[clock]["ratio"]
        assert 0 < ratio["least"] <= ratio["median"] <= ratio["most"]
        rates = ", ".join(f"{kind} {found[clock][kind]['median']:,.0f} tokens/s" for kind in pair.TRAINERS)
        print(f"{clock}: {rates}, ratio {ratio['median']:.2f} ({ratio['least']:.2f} to {ratio['most']:.2f})")
    for both in timed:
        assert {len(one.rewards) for one in both.values()} == {4 if small else 8}
        assert all(sum(one.shares.values()) == pytest.approx(1.0) for one in both.values())
    benchmark.extra_info["speed"] = found
    if small:
        return
    assert all(both["rmbench"].tokens > 1000 for both in timed)


def test_the_pair_is_compared_over_seeds(pair, judgements, tmp_path):
    setting = setting_of(pair, judgements, tmp_path, small=True)
    short = replace(setting, options=replace(setting.options, steps=3, evaluation_prompts=4))
    found = json.loads(json.dumps(pair.compare(short, [1, 2], tail=2)))
    assert set(found["reached"]) == {"rmbench", "trl"}
    assert len(found["reached"]["trl"]["held_out"]) == len(found["curves"]["rmbench"]) == 2
    assert isinstance(found["difference"]["held_out"]["within_noise"], bool)
    text = pair.fragment({**found, "options": {"steps": 3, "batch": 2, "group": 2, "threads": 1}})
    assert "| rmbench `grpo` |" in text
    assert "| TRL GRPOTrainer |" in text
    assert "times TRL's" in text


def test_the_interval_of_a_difference_by_hand(pair):
    found = pair.difference([3.0, 5.0, 4.0], [2.0, 2.0, 2.0])  # 1, 3, 2: mean 2, deviation 1
    assert found["mean"] == 2.0
    half = 4.303 / 3**0.5
    assert found["interval"] == pytest.approx([2 - half, 2 + half])
    assert found["within_noise"] is True
    assert pair.difference([3.0, 3.1, 3.0], [2.0, 2.1, 2.0])["within_noise"] is False
    assert pair.difference([1.0], [2.0])["interval"] is None


def test_one_gradient_of_the_same_responses_is_the_same(pair, judgements, tmp_path, monkeypatch):
    """TRL draws; ours is given what it drew, and the logs of both agree."""
    from rmbench.policies import tiny
    from rmbench.policies.causal import Causal
    from rmbench.trainers.course import Course

    setting = setting_of(pair, judgements, tmp_path / "start", small=True)
    options = replace(
        setting.options, steps=2, batch=3, group=4, micro_batch=4, evaluation_prompts=1, learning_rate=1e-3
    )
    asked, tokens, now, logs = [], [], {"kind": "trl"}, {}
    scored, sample = pair.Meter.__call__, Causal.sample
    model = type(tiny.load(setting.start, setting.policy, pair.Runtime()).model)
    generate = model.generate

    def score(self, samples, texts):
        if now["kind"] == "trl":
            asked.append(list(samples))
        return scored(self, samples, texts)

    def drawing(self, *given, **named):
        made = generate(self, *given, **named)
        tokens.append(made[:, named["input_ids"].shape[1] :].tolist())
        return made

    def drawn(self, samples, n, decoding, *, seed):
        if n == 1:  # an evaluation
            return sample(self, samples, n, decoding, seed=seed)
        ids, eos = tokens[now["step"]], self.reader.eos
        made = [self.reader.written(one[: one.index(eos) + 1] if eos in one else one) for one in ids]
        return [tuple(made[at : at + n]) for at in range(0, len(made), n)]

    def prompts(self, step):
        now["step"] = step - 1
        return asked[step - 1][:: self.options.group]

    def read_log(folder, meter):
        logs[now["kind"]] = pair._rows(folder / "log.jsonl")

    monkeypatch.setattr(pair, "_course", read_log)
    monkeypatch.setattr(pair.Meter, "__call__", score)
    monkeypatch.setattr(model, "generate", drawing)
    pair.train(replace(setting, options=options), "trl", 1)
    now["kind"] = "rmbench"
    monkeypatch.setattr(Causal, "sample", drawn)
    monkeypatch.setattr(Course, "prompts", prompts)
    pair.train(replace(setting, options=options), "rmbench", 1)
    assert len(logs["trl"]) == len(tokens) == 2
    for ours, theirs in zip(logs["rmbench"], logs["trl"], strict=True):
        assert ours["reward"] == pytest.approx(theirs["reward"], abs=1e-6)
        assert ours["grad_norm"] == pytest.approx(theirs["grad_norm"], rel=1e-3)
        assert ours["entropy"] == pytest.approx(theirs["entropy"], rel=1e-4)
        assert ours["kl_per_token"] == pytest.approx(theirs["kl"], rel=0.1, abs=1e-7)  # theirs: a mean of parts' means
        assert ours["loss"] == pytest.approx(theirs["loss"], abs=1e-5)
