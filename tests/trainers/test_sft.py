"""Supervised training: what is learnt, how it is batched, and that it learns."""

import json
import math

import pytest
import torch
from spelling import Speller, copies, data, sample, session

from rmbench.errors import InputError
from rmbench.policy import Decoding
from rmbench.trainers import sft
from rmbench.trainers.options import Sft

OPTIONS = {"steps": 150, "batch": 12, "learning_rate": 0.02, "evaluations": 3, "evaluation_prompts": 8}


def curve(folder):
    return [json.loads(one) for one in (folder / "curve.jsonl").read_text().splitlines()]


def test_it_learns_to_copy(tmp_path):
    agent, task = Speller(), copies()
    trained = sft.train(agent, task, Sft(**OPTIONS), session(tmp_path))
    written = agent.sample(task.train.samples, 1, Decoding(max_tokens=4), seed=1)
    right = [one.text == sample.references[0] for (one,), sample in zip(written, task.train.samples, strict=True)]
    assert sum(right) >= 22
    assert trained.steps == 150
    losses = [row["dev_loss"] for row in curve(tmp_path)]
    assert min(losses) < losses[0] / 3
    held = sft.examples(agent, task.dev.samples, "responses", 4)
    tokens = sum(len(one.text.ids) for one in held)
    assert sft.cross_entropy(agent, held).item() / tokens == pytest.approx(min(losses), rel=1e-5)  # the best weights


@pytest.mark.parametrize("learn", ["sequences", "texts"])
def test_it_learns_raw_text(tmp_path, learn):
    sft.train(Speller(), copies(), Sft(learn=learn, smoothing=0.1, **{**OPTIONS, "steps": 40}), session(tmp_path))
    losses = [row["dev_loss"] for row in curve(tmp_path)]
    assert losses[-1] < losses[0] - 0.3
    assert ("reward" in curve(tmp_path)[0]) is (learn == "sequences")


def test_examples_are_what_the_option_says():
    agent = Speller()
    one, two = sample(1, "ab", "c", "de", context="fgh"), sample(2, "ab", "c")
    said = {
        learn: [(found.sample and found.sample.id, found.text.text, found.length) for found in sft.examples(agent, [one, two], learn, 3)]
        for learn in ("responses", "sequences", "texts")
    }  # fmt: skip
    assert said["responses"] == [("s1", "c", 5), ("s1", "de", 6), ("s2", "c", 5)]
    assert said["sequences"] == [(None, "ab", 2), *said["responses"]]
    assert said["texts"] == [(None, "ab", 3), (None, "", 3), (None, "", 1), (None, "c", 2), (None, "de", 3)]


def test_smoothing_gives_each_other_token_a_share():
    agent, example = Speller(), sft.Example(None, Speller().encode("ab"), 3)
    seen = agent.forward(None, [example.text])
    log_p = torch.log_softmax(seen.logits, -1)
    nll, uniform = -log_p.gather(-1, seen.ids[..., None]).sum(), -log_p.mean(-1).sum()
    assert sft.cross_entropy(agent, [example], 0.2).item() == pytest.approx(
        (0.8 * nll + 0.2 * uniform).item(), rel=1e-5
    )


def test_batches_hold_about_equal_tokens_and_every_example_once_an_epoch():
    text = Speller().encode("a")
    lengths = [3 + at * 7919 % 60 for at in range(500)]
    batches = sft.Batches([sft.Example(None, text, length) for length in lengths], 10, 1)
    batches.of(1)
    count = len(batches.batches)
    assert sorted(place for batch in batches.batches for place in batch) == list(range(500))
    budget = 10 * math.fsum(lengths) / 500
    assert all(max(lengths[at] for at in batch) * len(batch) <= budget for batch in batches.batches if len(batch) > 1)
    assert sum(max(lengths[at] for at in batch) * len(batch) for batch in batches.batches) < 1.15 * sum(lengths)
    first = batches.batches
    assert batches.of(count + 1)
    assert batches.batches != first
    later = sft.Batches(batches.examples, 10, 1)
    assert later.of(count + 1) == batches.of(count + 1)


def test_no_references_are_refused(tmp_path):
    with pytest.raises(InputError, match="task 'letters', train: has no references to learn"):
        sft.train(Speller(), data([sample(1, "ab")]), Sft(), session(tmp_path))


def test_patience_ends_a_training(tmp_path):
    options = Sft(**{**OPTIONS, "evaluations": 50, "learning_rate": 0.3, "clip": 0.0}, patience=2)
    trained = sft.train(Speller(), copies(), options, session(tmp_path))
    assert trained.stopped == "patience"
    assert trained.steps < 150


def test_a_budget_of_seconds_ends_a_training_and_brings_the_rate_down(tmp_path):
    options = Sft(**{**OPTIONS, "steps": 10**6}, seconds=1.5)
    trained = sft.train(Speller(), copies(), options, session(tmp_path))
    log = [json.loads(one) for one in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert trained.stopped == "seconds"
    assert len(curve(tmp_path)) == 4
    assert log[-1]["lr"] < 0.1 * max(row["lr"] for row in log)
    assert "another machine gives other weights" in trained.notes[-1]
