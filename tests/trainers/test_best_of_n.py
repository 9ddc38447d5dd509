"""Best-of-n: its KL and its expected reward against enumeration."""

import itertools
import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from practice import Recorded, picky, rows
from spelling import Speller, bits, data, sample, session, share_of_a

from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.policy import Decoding, Scored
from rmbench.trainers import best_of_n
from rmbench.trainers.best_of_n import best_weights, expected_best, kl_bound
from rmbench.trainers.pair_options import BestOfN


def exact_kl(chances, n):
    """KL of the best of n (rewards rise with the index) from a policy of known chances, by the distribution of maxima."""
    upto = list(itertools.accumulate(chances))
    below = [0.0, *upto[:-1]]
    best = [a**n - b**n for a, b in zip(upto, below, strict=True)]
    return sum(q * math.log(q / p) for q, p in zip(best, chances, strict=True) if q > 0)


def test_kl_by_hand():
    assert kl_bound(1) == 0.0
    assert kl_bound(2) == pytest.approx(math.log(2) - 0.5)
    assert kl_bound(256) == pytest.approx(4.549, abs=1e-3)


@settings(max_examples=200, deadline=None)
@given(st.lists(st.floats(0.01, 1), min_size=1, max_size=6), st.integers(1, 64))
def test_the_analytic_kl_is_an_upper_bound(weights, n):
    chances = [weight / sum(weights) for weight in weights]
    assert exact_kl(chances, n) <= kl_bound(n) + 1e-9


def test_the_bound_is_reached_where_no_two_responses_are_alike():
    assert exact_kl([1e-4] * 10_000, 16) == pytest.approx(kl_bound(16), rel=1e-2)


def test_weights_by_hand():
    assert best_weights(4, 1) == [0.25] * 4
    assert best_weights(4, 2) == pytest.approx([0, 1 / 6, 2 / 6, 3 / 6])
    assert best_weights(4, 4) == [0, 0, 0, 1]
    with pytest.raises(ValueError, match="n is 5, expected 1 to 4"):
        best_weights(4, 5)


@settings(max_examples=500, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 4), st.floats(-9, 9)), min_size=1, max_size=7), st.data())
def test_it_is_the_mean_over_all_subsets(pool, data):
    """Ties are broken evenly: the chosen one's value is the mean over those of the greatest reward."""
    n = data.draw(st.integers(1, len(pool)))
    rewards, values = [float(reward) for reward, _ in pool], [value for _, value in pool]
    subsets = list(itertools.combinations(pool, n))
    best = [max(reward for reward, _ in subset) for subset in subsets]
    assert expected_best(rewards, n) == pytest.approx(sum(best) / len(best))
    if len(set(rewards)) == len(rewards):
        chosen = [max(subset)[1] for subset in subsets]
        assert expected_best(rewards, n, values) == pytest.approx(sum(chosen) / len(chosen), abs=1e-9)


def test_ties_are_chosen_equally_often():
    assert expected_best([1.0, 1.0, 0.0], 2, [4.0, 8.0, 99.0]) == pytest.approx(6.0)


def test_unscored_responses_are_never_chosen():
    assert expected_best([None, 2.0, 4.0], 1) == pytest.approx(3.0)
    # of the three pairs two hold the 4, one the 2 and the unscored one
    assert expected_best([None, 2.0, 4.0], 2) == pytest.approx((4 + 4 + 2) / 3)
    assert expected_best([1.0, 2.0, 4.0], 2, [9.0, 3.0, None]) == pytest.approx(3.0)
    assert expected_best([None, None], 2) is None
    assert expected_best([1.0, None], 1, [None, 5.0]) is None


def test_it_has_no_bias():
    """Over all pools of 3 of a policy with known chances, the estimate's mean is the true value of best of 2."""
    rewards, chances = [0.0, 1.0, 5.0], [0.5, 0.3, 0.2]
    pairs = itertools.product(range(3), repeat=2)
    true = sum(chances[a] * chances[b] * max(rewards[a], rewards[b]) for a, b in pairs)
    pools = itertools.product(range(3), repeat=3)
    found = sum(math.prod(chances[i] for i in pool) * expected_best([rewards[i] for i in pool], 2) for pool in pools)
    assert found == pytest.approx(true)


def many(count=8):
    return data(
        [], [sample(at, prompt) for at, prompt in enumerate(["ab", "cd", "ef", "gh", "", "ba", "dc", "fe"][:count])]
    )


def chosen(folder, options, *, agent=None, data=None, **fields):
    agent = agent or Recorded()
    return agent, best_of_n.train(agent, data or many(), options, session(folder, **fields))


def test_it_changes_how_the_policy_writes_and_nothing_else(tmp_path):
    agent, trained = chosen(tmp_path, BestOfN(n=6, temperature=0.9, steps=2, batch=4))
    assert bits(agent) == bits(Speller())
    assert (trained.steps, trained.stopped) == (0, "steps")
    assert trained.decoding == {"best_of": 6, "best_by": "share", "temperature": 0.9, "beams": 1}
    Decoding(**trained.decoding)
    assert trained.notes[0] == "1 of 8 prompts of dev is empty and left out"
    assert "best of 6 lies at most 0.958 nats" in trained.notes[1]
    assert "share on 7 dev prompts: 0." in trained.notes[2]


def test_the_curve_is_over_n(tmp_path):
    agent, _ = chosen(tmp_path, BestOfN(n=6, steps=2, batch=4))
    curve, log = rows(tmp_path, "curve.jsonl"), rows(tmp_path)
    assert [(row["step"], row["n"]) for row in curve] == [(0, 1), (1, 2), (2, 4), (3, 6)]
    assert [row["kl"] for row in curve] == [kl_bound(n) for n in (1, 2, 4, 6)]
    rewards = [row["reward"] for row in curve]
    assert rewards == sorted(rewards)
    pools = [responses for _, responses, _ in agent.drawn]
    known = [
        [one for one in share_of_a(None, [response.text for response in pool[at : at + 6]]).values if one is not None]
        for pool in pools for at in range(0, len(pool), 6)
    ]  # fmt: skip
    assert curve[-1]["reward"] == pytest.approx(sum(max(pool) for pool in known) / len(known))
    assert curve[0]["reward"] == pytest.approx(sum(sum(pool) / len(pool) for pool in known) / len(known))
    assert set(curve[0]["judges"]) == {"length"}
    assert [row["step"] for row in log] == [1, 2]
    assert log[0]["best"] > log[0]["reward"]
    assert [row["tokens"] for row in rows(tmp_path, ".timings.jsonl")] == [
        sum(len(one.ids) for one in p) for p in pools
    ]


def test_it_goes_on_with_what_was_drawn(tmp_path):
    options = BestOfN(n=4, steps=3, batch=2)
    chosen(tmp_path / "whole", options)
    with pytest.raises(Interrupted, match="stopped after 1 of 3 batches"):
        chosen(tmp_path / "parted", options, stop=lambda: True)
    (kept,) = (tmp_path / "parted" / ".state").iterdir()
    agent, _ = chosen(tmp_path / "parted", options)
    assert len(agent.drawn) == 2
    for name in ("log.jsonl", "curve.jsonl"):
        assert (tmp_path / "parted" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    kept.write_text("[1, 2")  # a damaged one is drawn again
    agent, _ = chosen(tmp_path / "parted", options)
    assert len(agent.drawn) == 1


def test_a_budget_of_seconds_ends_it(tmp_path):
    _, trained = chosen(tmp_path, BestOfN(n=2, steps=3, batch=2, seconds=1e-9))
    assert trained.stopped == "seconds"
    assert len(rows(tmp_path)) == 1


def test_unscored_responses_are_told(tmp_path):
    _, trained = chosen(tmp_path, BestOfN(n=6, steps=2, batch=4), score=picky)
    assert sum(row["unscored"] for row in rows(tmp_path)) == rows(tmp_path, "curve.jsonl")[0]["unscored"] > 0
    assert any("responses were unscored: they are not chosen" in note for note in trained.notes)


def test_a_reward_that_scores_nothing_is_refused(tmp_path):
    def none(samples, texts):
        return Scored((None,) * len(texts), {0: "no references"})

    with pytest.raises(InputError, match=r"reward 'share' scored none of 14 responses: no references"):
        chosen(tmp_path, BestOfN(n=2, steps=2, batch=4), score=none)


def test_a_constant_reward_is_told(tmp_path):
    _, trained = chosen(tmp_path, BestOfN(n=2, steps=1), score=lambda s, t: Scored((0.5,) * len(t)))
    assert any("it chooses by chance" in note for note in trained.notes)


def test_without_dev_prompts_there_is_no_curve(tmp_path):
    _, trained = chosen(tmp_path, BestOfN(n=2), data=data([]))
    assert rows(tmp_path, "curve.jsonl") == []
    assert any("no prompts of dev" in note for note in trained.notes)


def test_it_needs_a_reward(tmp_path):
    with pytest.raises(InputError, match="best-of-n chooses by a reward and none is named"):
        best_of_n.train(Speller(), many(), BestOfN(), replace(session(tmp_path), reward=None))


@pytest.mark.parametrize(
    ("fields", "words"),
    [
        ({"n": 1}, "n is 1, expected an integer of at least 2"),
        ({"temperature": 0.0}, "temperature is 0.0, expected a finite number above 0"),
        ({"steps": 0}, "steps is 0"),
        ({"batch": 0}, "batch is 0"),
        ({"seconds": 0.0}, "seconds is 0.0"),
    ],
)
def test_wrong_options_are_refused(fields, words):
    with pytest.raises(ValueError, match=words):
        BestOfN(**fields)
