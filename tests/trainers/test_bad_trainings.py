"""What goes wrong in a training: clear words, nothing lost, and no row poisons another."""

import json
import math
from dataclasses import replace

import pytest
import torch
from spelling import Speller, bits, copies, data, sample, session, share_of_a

from rmbench.errors import InputError
from rmbench.policy import Scored
from rmbench.trainers import grpo, reinforce, sft
from rmbench.trainers.options import Grpo, OnPolicy, Reinforce, Sft, TrainerOptions

COMMON = {"batch": 4, "evaluations": 1, "evaluation_prompts": 4, "learning_rate": 0.01}


def log(folder):
    return [json.loads(one) for one in (folder / "log.jsonl").read_text().splitlines()]


def scoring(value):
    """A reward: ``value(place, text)`` of each text."""
    return lambda _, texts: Scored(
        tuple(value(place, text) for place, text in enumerate(texts)), {0: "no oracle today"}
    )


def weights(agent):
    return torch.cat([one.detach().reshape(-1) for one in agent.module.parameters()])


@pytest.mark.parametrize("value", [None, math.nan, math.inf, -1e300])
def test_a_reward_that_scores_nothing_is_refused_after_a_few_steps(tmp_path, value):
    agent = Speller()
    with pytest.raises(InputError) as caught:
        grpo.train(agent, copies(), Grpo(group=2, **COMMON), session(tmp_path, scoring(lambda *_: value)))
    assert str(caught.value) == (
        "test: reward 'share' scored none of 24 responses: no oracle today\n"
        "  help: look at the reward on this task with: rmbench score"
    )
    assert bits(agent) == bits(Speller())
    assert [(row["loss"], row["reward"], row["unscored"]) for row in log(tmp_path)] == [(None, None, 8)] * 2


def test_a_constant_reward_is_a_note_and_no_error(tmp_path):
    given = session(tmp_path, scoring(lambda *_: 0.5))
    trained = grpo.train(Speller(), copies(), Grpo(steps=3, group=2, **COMMON), given)
    assert trained.notes == ("the reward gave the same value to every response of 3 of 3 steps: nothing to learn",)
    assert [row["flat"] for row in log(tmp_path)] == [1.0] * 3


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (grpo, Grpo(steps=2, group=3, kl=0.0, **COMMON)),
        (reinforce, Reinforce(steps=2, group=3, kl=0.0, baseline="leave-one-out", **COMMON)),
        (reinforce, Reinforce(steps=2, kl=0.0, **COMMON)),
    ],
)
def test_a_constant_reward_of_any_size_moves_nothing(tmp_path, module, options):
    agent = Speller()
    module.train(agent, copies(), options, session(tmp_path, scoring(lambda *_: 1000.1)))
    assert bits(agent) == bits(Speller())


@pytest.mark.parametrize(
    ("module", "options"),
    [
        (reinforce, Reinforce(steps=3, baseline="none", group=2, **COMMON)),
        (reinforce, Reinforce(steps=3, baseline="leave-one-out", group=3, **COMMON)),
        (reinforce, Reinforce(steps=3, baseline="greedy", **COMMON)),
        (grpo, Grpo(steps=3, group=3, **COMMON)),
    ],
)
def test_unscored_rows_are_left_out_whatever_stands_in_them(tmp_path, module, options):
    found = []
    for value in (None, math.nan, -math.inf):
        reward = scoring(
            lambda place, text, value=value: value if place % 3 == 0 else share_of_a(None, [text]).values[0]
        )
        agent = Speller()
        trained = module.train(agent, copies(), options, session(tmp_path / str(value), reward))
        assert any("were unscored and not learnt from" in note for note in trained.notes)
        assert all(math.isfinite(row["loss"]) and row["unscored"] > 0 for row in log(tmp_path / str(value)))
        found.append(bits(agent))
    assert len(set(found)) == 1
    assert found[0] != bits(Speller())


def test_a_step_without_scores_changes_nothing_and_is_counted(tmp_path):
    calls = iter(range(100))

    def reward(samples, texts):
        return Scored((None,) * len(texts), {0: "busy"}) if next(calls) == 2 else scoring(lambda at, _: at)(0, texts)

    seen = []
    given = session(tmp_path, reward, stop=lambda: bool(seen.append(bits(agent))))
    agent = Speller()
    trained = grpo.train(agent, copies(), Grpo(steps=3, group=2, weight_decay=0.1, **COMMON), given)
    assert seen[0] != seen[1] == seen[2] != bits(agent)
    assert "1 of 3 steps had no scored response: they changed nothing" in trained.notes
    assert log(tmp_path)[1]["loss"] is None


class Brittle(Speller):
    """Overflows where its weights have moved far, as attention does."""

    def forward(self, samples, responses):
        seen = super().forward(samples, responses)
        far = weights(self).abs().max() > 10
        return replace(seen, logits=seen.logits * math.inf) if far else seen


@pytest.mark.parametrize("steps", [1, 3])
def test_a_loss_that_is_no_number_stops_and_keeps_the_last_good_weights(tmp_path, steps):
    options = Sft(steps=9, batch=4, schedule="constant", warmup=0.0, learning_rate=9.0 / steps, clip=2.0)
    agent, seen = Brittle(), []
    given = session(tmp_path, start=Brittle, stop=lambda: bool(seen.append(bits(agent))))
    with pytest.raises(InputError) as caught:
        sft.train(agent, copies(24, 0), options, given)
    where = len(seen)  # the weights before this step gave no finite loss: those before the last one did
    words = str(caught.value)
    assert f"the loss is nan at step {where}; the weights with which it was finite last are saved" in words
    assert f"lower learning_rate (now {9 / steps:g}) or clip (now 2)" in words
    assert where > 1
    assert bits(Speller().load(tmp_path)) == bits(agent) == seen[-2]


def test_weights_that_give_no_numbers_after_the_last_step_are_not_kept(tmp_path):
    """No update follows whose loss would be NaN: it is the evaluation that sees it."""
    for module, options, what in (
        (sft, Sft(steps=2, batch=4, schedule="constant", warmup=0.0, learning_rate=50.0, evaluations=2), "dev_loss"),
        (grpo, Grpo(steps=1, group=3, **{**COMMON, "learning_rate": 50.0}), "entropy"),
    ):
        folder, agent = tmp_path / what, Brittle()
        with pytest.raises(InputError, match=f"the {what} is nan at step 1; the weights with which it was finite last"):
            module.train(agent, copies(), options, session(folder, start=Speller))
        assert bits(Speller().load(folder)) == bits(agent) == bits(Speller())


def test_a_gradient_that_is_no_number_stops_too(tmp_path):
    agent = Speller()
    agent.module.head.weight.register_hook(lambda grad: grad * math.nan)
    with pytest.raises(InputError, match="the norm of the gradient is nan at step 1"):
        grpo.train(agent, copies(), Grpo(group=2, **COMMON), session(tmp_path))
    assert bits(agent) == bits(Speller())


def test_exploding_kl_is_a_note_and_then_a_stop(tmp_path):
    options = Reinforce(steps=60, kl=1e-9, kl_limit=1.0, **{**COMMON, "learning_rate": 0.1})
    with pytest.raises(InputError) as caught:
        reinforce.train(Speller(), copies(), options, session(tmp_path))
    words = str(caught.value)
    assert "nats a token at step" in words
    assert "above kl_limit (1): the policy writes what its start never would" in words
    assert "raise kl (now 1e-09), lower learning_rate (now 0.1), or set kl_limit = 0" in words
    assert (tmp_path / "model.safetensors").is_file()
    free = replace(options, steps=15, kl_limit=4.0)
    trained = reinforce.train(Speller(), copies(), free, session(tmp_path / "free"))
    assert trained.notes[0].startswith("KL to the start came to 1")


@pytest.mark.parametrize("most", [1, 2, 4])
@pytest.mark.parametrize(
    ("module", "options"),
    [
        (grpo, Grpo(steps=1, group=4, entropy=0.01, **COMMON)),
        (reinforce, Reinforce(steps=1, group=3, baseline="leave-one-out", mix=0.25, **COMMON)),
        (sft, Sft(steps=1, **{**COMMON, "batch": 16, "smoothing": 0.1})),
    ],
)
def test_where_memory_runs_out_smaller_micro_batches_come_to_the_same(tmp_path, most, module, options):
    whole, small = Speller(dropout=0.0), Speller(dropout=0.0, most=most)
    given = session(tmp_path / "whole"), session(tmp_path / "small", start=lambda: Speller(most=most))
    notes = [
        module.train(agent, copies(), options, one).notes for agent, one in zip((whole, small), given, strict=True)
    ]
    for one, other in zip(whole.module.parameters(), small.module.parameters(), strict=True):
        assert torch.allclose(one.grad, other.grad, rtol=1e-4, atol=1e-6)
    assert whole.module.head.weight.grad.abs().max() > 1e-3
    assert not any("memory ran out" in note for note in notes[0])
    said = [note for note in notes[1] if "memory ran out: gradients were computed of " in note]
    assert 1 <= int(said[0].split("of ")[1].split()[0]) <= most


def test_memory_that_holds_no_single_row_is_an_error_with_advice(tmp_path):
    with pytest.raises(InputError, match="memory does not suffice for one response\n.*lower max_tokens"):
        sft.train(Speller(most=0), copies(), Sft(**COMMON), session(tmp_path))


def test_other_errors_of_torch_are_not_taken_for_memory(tmp_path):
    agent = Speller()
    agent.forward = lambda *_: torch.zeros(2) @ torch.zeros(3)
    with pytest.raises(RuntimeError, match="size"):
        sft.train(agent, copies(), Sft(**COMMON), session(tmp_path))


def test_empty_prompts_are_left_out_with_a_note(tmp_path):
    rows = [sample(1, "ab", "c"), sample(2, "", "d"), sample(3, "  ", "e")]
    trained = grpo.train(Speller(), data(rows, rows), Grpo(steps=1, group=2, **COMMON), session(tmp_path))
    assert "2 of 3 prompts of train are empty and left out" in trained.notes
    with pytest.raises(InputError, match="task 'letters', train: has no prompts to train on"):
        grpo.train(Speller(), data(rows[1:]), Grpo(**COMMON), session(tmp_path / "none"))


def test_a_reward_that_gives_too_few_values_is_refused(tmp_path):
    with pytest.raises(ValueError, match="the reward gave 1 values for 8 responses"):
        grpo.train(Speller(), copies(), Grpo(group=2, **COMMON), session(tmp_path, lambda *_: Scored((1.0,))))


def test_without_dev_the_curve_has_nothing_and_the_last_weights_are_kept(tmp_path):
    trained = sft.train(Speller(), copies(24, 0), Sft(steps=4, **COMMON), session(tmp_path))
    rows = [json.loads(one) for one in (tmp_path / "curve.jsonl").read_text().splitlines()]
    assert trained.steps == 4
    assert [(row["step"], row["dev_loss"], row["reward"]) for row in rows] == [(0, None, None), (4, None, None)]


@pytest.mark.parametrize(
    ("make", "words"),
    [
        (lambda: TrainerOptions(steps=0), "steps is 0, expected an integer of at least 1"),
        (lambda: TrainerOptions(seconds=0.0), "seconds is 0.0, expected a finite number above 0"),
        (lambda: TrainerOptions(learning_rate=math.nan), "learning_rate is nan, expected a finite number above 0"),
        (lambda: TrainerOptions(schedule="none"), "schedule is 'none', expected one of: constant, linear"),
        (lambda: TrainerOptions(threads=0), "threads is 0, expected an integer of at least 1"),
        (lambda: OnPolicy(temperature=0.0), "temperature is 0.0, expected a finite number above 0 up to 100"),
        (lambda: OnPolicy(mix=1.5), "mix is 1.5, expected a finite number from 0 up to 1"),
        (lambda: OnPolicy(kl_estimator="k4"), "kl_estimator is 'k4', expected one of: k1, k2, k3"),
        (lambda: OnPolicy(importance_cap=1.0), "importance_cap is 1.0, expected a finite number above 1"),
        (lambda: OnPolicy(gamma=0.0), "gamma is 0.0, expected a finite number above 0 up to 1"),
        (lambda: Reinforce(baseline="leave-one-out"), "group is 1: the baseline leave-one-out needs 2 responses"),
        (lambda: Reinforce(baseline_decay=1.0), "baseline_decay is 1.0, expected a finite number from 0 below 1"),
        (lambda: Grpo(group=1), "group is 1, expected an integer of at least 2"),
        (lambda: Grpo(epsilon=1.0), "epsilon is 1.0, expected a finite number above 0 below 1"),
        (lambda: Grpo(importance="truncated"), "importance is 'truncated': this trainer clips the ratio itself"),
        (lambda: Sft(learn="all"), "learn is 'all', expected one of: responses, sequences, texts"),
        (lambda: Sft(smoothing=1), "smoothing is 1, expected a finite number from 0 below 1"),
    ],
)  # fmt: skip
def test_wrong_options_say_what_was_expected(make, words):
    with pytest.raises(ValueError) as caught:
        make()
    assert str(caught.value).startswith(words)


def test_a_penalty_that_is_none_is_said(tmp_path):
    options = Grpo(steps=1, group=2, kl=0.1, kl_in="loss", kl_estimator="k1", **COMMON)
    trained = grpo.train(Speller(), copies(), options, session(tmp_path, scoring(lambda place, _: float(place))))
    assert any("its gradient is 0 in expectation (take k2 or k3)" in note for note in trained.notes)
