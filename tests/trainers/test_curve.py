"""The rows that a training leaves: what an evaluation says, what a step took."""

import json
import math

import pytest
import torch
from spelling import Speller, bits, copies, data, sample, session

from rmbench.policy import Decoding, Scored
from rmbench.trainers import evaluation, grpo, reinforce
from rmbench.trainers.options import Grpo, Reinforce

OPTIONS = {"steps": 4, "batch": 4, "evaluations": 2, "evaluation_prompts": 5, "learning_rate": 0.05}


def read(folder, name):
    return [json.loads(one) for one in (folder / name).read_text().splitlines()]


def test_a_row_of_the_curve_is_what_the_policy_draws_on_dev(tmp_path):
    told, texts = [], []

    def judge(samples, drawn):
        texts.append(list(drawn))
        values = tuple(None if at == 0 else float(at) for at in range(len(drawn)))
        return {"share": Scored(values, {0: "no"}), "length": Scored(tuple(map(float, map(len, drawn))))}

    given = session(tmp_path, judge=judge, tell=told.append)
    grpo.train(Speller(), copies(), Grpo(group=2, **OPTIONS), given)
    first, middle, last = read(tmp_path, "curve.jsonl")
    assert [first["step"], middle["step"], last["step"]] == [0, 2, 4]
    assert first["reward"] == 2.5
    assert first["unscored"] == 1
    assert first["judges"] == {"length": sum(map(len, texts[0])) / 5}
    assert first["length"] == sum(len(text.split()) for text in texts[0]) / 5
    assert first["kl"] == pytest.approx(0, abs=1e-6)
    assert first["kl"] < middle["kl"] < last["kl"]
    assert 0 < last["kl_per_token"] < last["kl"]
    assert 0 < first["entropy"] < math.log(11)
    assert 0 <= first["finished"] <= 1
    assert told[-1] == {"step": 4, "steps": 4, "loss": read(tmp_path, "log.jsonl")[-1]["loss"], "reward": read(tmp_path, "log.jsonl")[-1]["reward"]}  # fmt: skip


def test_distinct_bigrams_by_hand():
    assert evaluation.distinct(["a b a b", "c"], 2) == 2 / 3
    assert evaluation.distinct(["a", ""], 2) is None


def test_a_step_says_what_it_took_and_the_log_does_not(tmp_path):
    grpo.train(Speller(), copies(), Grpo(group=2, **OPTIONS), session(tmp_path))
    timings, log = read(tmp_path, ".timings.jsonl"), read(tmp_path, "log.jsonl")
    assert [set(row) for row in timings] == [
        {"step", "rollout", "scoring", "update", "overhead", "tokens", "trained"}
    ] * 4
    assert all(row["update"] > 0 and row["rollout"] > 0 for row in timings)
    assert [row["tokens"] for row in timings] == [round(row["length"] * 8) for row in log]
    assert [row["trained"] for row in timings] == [row["tokens"] for row in timings]
    measures = json.loads((tmp_path / ".measures.json").read_text())
    assert measures["parameters"] == sum(one.numel() for one in Speller().module.parameters())
    assert measures["seconds"] > 0 < measures["tokens_per_second"]


def test_drawn_responses_are_those_of_seed_and_step(tmp_path):
    seen = []

    def score(samples, texts):
        seen.append((tuple(one.id for one in samples), tuple(texts)))
        return Scored(tuple(float(len(text)) for text in texts))

    for name, steps in (("1", 2), ("2", 4)):
        options = Grpo(group=2, **{**OPTIONS, "steps": steps})
        grpo.train(Speller(), copies(), options, session(tmp_path / name, score, judge=lambda *_: {}))
    assert seen[:2] == seen[2:4]
    assert seen[4] != seen[5]
    assert seen[0][0][::2] == seen[0][0][1::2]  # a prompt's responses are beside each other


def test_every_prompt_is_seen_once_an_epoch(tmp_path):
    seen = []

    def score(samples, texts):
        seen.extend(one.id for one in samples)
        return Scored(tuple(float(len(text)) for text in texts))

    options = Reinforce(**{**OPTIONS, "steps": 9, "evaluations": 1})
    reinforce.train(Speller(), copies(18, 2), options, session(tmp_path, score, judge=lambda *_: {}))
    assert len(seen) == 36
    assert sorted(seen[:18]) == sorted(seen[18:]) == sorted(f"s{at}" for at in range(18))
    assert seen[:18] != seen[18:]


def test_a_mix_of_one_is_supervised_training(tmp_path):
    agent = Speller()
    options = Reinforce(**{**OPTIONS, "steps": 1, "evaluations": 1, "clip": 0.0}, mix=1.0)
    reinforce.train(agent, copies(), options, session(tmp_path, judge=lambda *_: {}))
    found = [one.grad.clone() for one in agent.module.parameters()]
    row, seen = read(tmp_path, "log.jsonl")[0], []
    score = lambda samples, texts: seen.extend(samples) or Scored((1.0,) * len(texts))  # noqa: E731
    reinforce.train(Speller(), copies(), options, session(tmp_path / "2", score, judge=lambda *_: {}))
    fresh = Speller()
    texts = [fresh.encode(one.references[0]) for one in seen]
    out = fresh.forward(seen, texts)
    log_p = torch.log_softmax(out.logits, -1).gather(-1, out.ids[..., None])[..., 0]
    loss = -log_p[out.mask].mean()
    loss.backward()
    assert row["loss"] == pytest.approx(loss.item(), rel=1e-5)
    for one, weight in zip(found, fresh.module.parameters(), strict=True):
        assert torch.allclose(one, weight.grad, atol=1e-6)


def test_blank_references_are_not_mixed_in(tmp_path):
    """Supervised training leaves them out too: they would teach to write nothing."""
    found = []
    for blank in ((), ("", " ")):
        rows = [sample(at, one, one, *blank) for at, one in enumerate(("ab", "ba", "cd"))]
        agent, options = Speller(), Reinforce(**{**OPTIONS, "batch": 5}, mix=0.5, kl=0.0)
        given = data([*rows, sample(3, "bb", *blank), sample(4, "aa", "aa")])
        reinforce.train(agent, given, options, session(tmp_path / str(len(blank))))
        found.append(bits(agent))
    assert found[0] == found[1]


def test_importance_weights_count_from_the_second_update_on(tmp_path):
    losses = []
    for importance in ("none", "truncated", "clipped"):
        options = Reinforce(
            **{**OPTIONS, "steps": 2},
            updates=3,
            importance=importance,
            importance_cap=1.1,
            baseline="leave-one-out",
            group=4,
            kl=0.0,
        )
        reinforce.train(Speller(), copies(), options, session(tmp_path / importance))
        losses.append([row["loss"] for row in read(tmp_path / importance, "log.jsonl")])
    assert len({losses[at][0] for at in range(3)}) == 3
    one = []
    for importance in ("none", "truncated"):
        options = Reinforce(**{**OPTIONS, "steps": 1}, importance=importance, baseline="none", kl=0.0)
        reinforce.train(Speller(), copies(), options, session(tmp_path / f"{importance}1"))
        one.append(read(tmp_path / f"{importance}1", "log.jsonl")[0]["loss"])
    assert one[0] == one[1]


def test_stops_and_lengths_of_the_decoding_are_taken(tmp_path):
    asked = []

    class Listening(Speller):
        def sample(self, samples, n, decoding, *, seed):
            asked.append((decoding, n))
            return super().sample(samples, n, decoding, seed=seed)

    from dataclasses import replace

    given = replace(session(tmp_path), decoding=Decoding(max_tokens=3, stop=("x",)))
    options = Reinforce(**{**OPTIONS, "steps": 1}, baseline="greedy", group=2, temperature=0.7)
    reinforce.train(Listening(), copies(), options, given)
    drawn, greedy = Decoding(max_tokens=3, stop=("x",), temperature=0.7), Decoding(max_tokens=3, stop=("x",))
    assert asked[1:3] == [(drawn, 2), (greedy, 1)]
    assert asked[0] == (replace(drawn, temperature=1.0), 1)
