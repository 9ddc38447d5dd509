from __future__ import annotations

from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from agree_rows import column, find, make, scored, with_mode

from rmbench.stats.resampling import holm
from rmbench.studies.agree import Headline, agree, headline, headline_sums
from rmbench.studies.difference import compare


def paired_difference(first, second):
    return compare([(first, second)], tests=1)[0]


def pairs_task(scores, *, prompts=None, **fields):
    """One stated preference per sample, the first text better."""
    size = len(next(iter(scores.values()))) // 2
    samples = [
        {"texts": ["x", "yy"], "prefs": [(0, 1, None)], "prompt": f"p{prompts[i] if prompts else i}"}
        for i in range(size)
    ]
    rewards = [scored(name, values, null=name.startswith("null")) for name, values in scores.items()]
    return make(samples, rewards, **fields)


def winner(*right):
    """Scores that are right (1), tied (0.5) or wrong (0) on each pair."""
    return [value for mark in right for value in ((1.0, 0.0) if mark == 1 else (0.0, 0.0) if mark else (0.0, 1.0))]


def test_difference_and_test():
    rows = pairs_task({"a": winner(1, 1, 1, 1, 0.5), "b": winner(0, 0, 1, 0, 1)})
    result = find(agree(rows, None), "pairwise-accuracy", reward="a", against="b")
    differences = [1, 1, 0, 1, -0.5]
    assert result.value == pytest.approx(sum(differences) / 5)
    sums = [abs(sum(s * d for s, d in zip(signs, differences, strict=True))) for signs in product([-1, 1], repeat=5)]
    assert result.p == pytest.approx(sum(s >= 2.5 for s in sums) / 32, abs=0.05)
    assert result.p_holm == result.p
    assert (result.n, result.rows, result.pairs, result.resamples, result.level) == (5, 10, 5, 1000, "pair")
    assert result.ci[0] <= result.value <= result.ci[1]


def test_all_pairs_in_order_with_one_correction():
    rows = pairs_task({"a": winner(*[1] * 9), "b": winner(*[0] * 9), "c": winner(1, 0, 1, 0, 1, 0, 1, 1, 1)})
    results = [r for r in agree(rows, None) if r.against]
    assert [(r.reward, r.against) for r in results] == [("a", "b"), ("a", "c"), ("b", "c")]
    assert [r.p_holm for r in results] == pytest.approx(holm([r.p for r in results]))


def test_equal_rewards_do_not_differ():
    rows = pairs_task({"a": winner(1, 0, 1), "b": winner(1, 0, 1)})
    result = find(agree(rows, None), "pairwise-accuracy", reward="a", against="b")
    assert (result.value, result.ci, result.p) == (0.0, (0.0, 0.0), 1.0)


def test_prompts_move_together():
    rows = pairs_task({"a": winner(1, 1, 1, 1), "b": winner(0, 0, 0, 0)}, prompts=[0, 0, 1, 1])
    result = find(agree(rows, None), "pairwise-accuracy", reward="a", against="b")
    assert result.cluster == "prompt"
    assert result.p == pytest.approx(0.5, abs=0.06)  # two prompts: half of all signs are as far out


def test_unscored_pairs_are_wrong_or_leave_the_difference():
    scores = {"a": [None, *winner(1, 1, 0)[1:]], "b": winner(1, 0, 0)}
    rows = pairs_task(scores)
    wrong = find(agree(rows, None), "pairwise-accuracy", reward="a", against="b")
    assert (wrong.value, wrong.pairs, wrong.unscored) == (0.0, 3, 1)
    left = find(agree(with_mode(rows, "exclude"), None), "pairwise-accuracy", reward="a", against="b")
    assert (left.value, left.pairs, left.n, left.unscored) == (0.5, 2, 2, 0)


def test_no_common_unit():
    scores = {"a": [None, None, 1.0, 0.0], "b": [1.0, 0.0, None, None]}
    result = find(agree(with_mode(pairs_task(scores), "exclude"), None), "pairwise-accuracy", reward="a", against="b")
    assert (result.value, result.p, result.p_holm, result.n) == (None, None, None, 0)
    assert result.reason == "undefined on the units that both have"


def test_margin_over_the_best_null():
    rows = pairs_task({"a": winner(1, 1, 1, 0), "null1": winner(0, 0, 0, 0), "null2": winner(1, 0, 0, 1)})
    results = [r for r in agree(rows, None) if r.metric == "margin-over-null"]
    (margin,) = results
    assert (margin.reward, margin.against, margin.value) == ("a", "null2", 0.25)
    assert (margin.p, margin.p_holm, margin.level) == (None, None, "pair")
    assert margin.ci == find(agree(rows, None), "pairwise-accuracy", reward="a", against="null2").ci


def test_margin_stands_even_where_the_null_comes_first():
    rows = pairs_task({"null1": winner(1, 0, 0), "a": winner(1, 1, 0)})
    margin = find(agree(rows, None), "margin-over-null", reward="a", against="null1")
    assert margin.value == pytest.approx(1 / 3)
    assert margin.ci[0] <= margin.value <= margin.ci[1]


def test_margin_can_be_asked_for_alone():
    rows = pairs_task({"a": winner(1, 1, 0), "null1": winner(1, 0, 0)})
    assert [r.metric for r in agree(rows, ["margin-over-null"])] == ["margin-over-null"]
    assert not [r for r in agree(rows, ["top1-accuracy"]) if r.against]


def test_headlines():
    rated = [{"texts": ["a", "b"], "human": {"q": [1.0, 2.0]}}]
    single = [{"texts": ["a"], "human": {"q": [value]}} for value in (1.0, 2.0)]
    assert headline(pairs_task({"a": winner(1)})) == Headline("pairwise-accuracy", None, "pair")
    assert headline(make(rated, [])) == Headline("pairwise-accuracy", "q", "pair")
    assert headline(make(single, [], good=2.0)) == Headline("auroc", "q", "pooled")
    assert headline(make(single, [])) is None
    assert headline(make(single, [], good=9.0)) is None
    assert headline(make([{"texts": ["a"]}], [])) is None


def rated_single(scores, mode="wrong"):
    human = [1.0, 1.0, 5.0, 5.0, 1.0, 5.0]
    samples = [{"texts": ["x"], "human": {"q": [value]}} for value in human]
    return with_mode(make(samples, [scored(n, v, null=n == "null") for n, v in scores.items()], good=5.0), mode)


def test_difference_of_areas():
    rows = rated_single({"a": [0.0, 1, 2, 3, 4, 5], "b": [0.0, 0, 0, 0, 0, 0], "null": [5.0, 4, 3, 2, 1, 0]})
    result = find(agree(rows, None), "auroc", reward="a", against="b")
    assert result.value == pytest.approx((3 + 2 + 2) / 9 - 0.5)
    assert (result.p, result.p_holm, result.n, result.pairs, result.level) == (None, None, 6, None, "pooled")
    assert result.ci[0] <= result.value <= result.ci[1]
    margin = find(agree(rows, None), "margin-over-null", reward="a", against="null")
    assert margin.value == pytest.approx(7 / 9 - 2 / 9)


def test_difference_of_areas_with_unscored_rows():
    scores = {"a": [None, 1.0, 2, 3, 4, 5], "b": [0.0, 1, 2, 3, 4, None]}
    wrong = find(agree(rated_single(scores), None), "auroc", reward="a", against="b")
    assert wrong.value == pytest.approx((2 - 1 + 2 - 1 + 1) / 9 + 1 / 9 - 4 / 9)  # a: 4 of 9 pairs, b: 4 of 9
    left = find(agree(rated_single(scores, "exclude"), None), "auroc", reward="a", against="b")
    assert (left.value, left.rows) == (0.0, 4)


def test_two_runs_of_one_task():
    first = headline_sums(pairs_task({"a": winner(1, 1, 1, 0)}), "a")
    second = headline_sums(pairs_task({"a": winner(1, 0, 0, 0)}), "a")
    result = paired_difference(first, second)
    assert (result.value, result.pairs, result.reward, result.against) == (0.5, 4, "a", "a")


def test_two_runs_on_different_samples_meet_on_the_common_ones():
    samples = [
        {"id": name, "texts": ["x", "y"], "prefs": [(0, 1, None)], "prompt": name} for name in ("s1", "s2", "s3", "s4")
    ]
    first = make(samples[:3], [scored("a", winner(1, 1, 0))])
    second = make(samples[:0:-1], [scored("a", winner(1, 0, 0))])  # s4, s3, s2
    result = paired_difference(headline_sums(first, "a"), headline_sums(second, "a"))
    assert (result.pairs, result.n) == (2, 2)
    assert result.value == pytest.approx((1 - 0) / 2)  # s2: 1 - 0, s3: 0 - 0


def test_two_runs_with_nothing_in_common():
    samples = [{"id": name, "texts": ["x", "y"], "prefs": [(0, 1, None)]} for name in ("s1", "s2")]
    sums = [headline_sums(make([sample], [scored("a", winner(1))]), "a") for sample in samples]
    assert paired_difference(*sums).value is None


def test_a_pair_stated_twice_counts_twice_in_both_runs():
    samples = [
        {"id": "s1", "texts": ["x", "y"], "prefs": [(0, 1, None), (0, 1, None)]},
        {"id": "s2", "texts": ["x", "y"], "prefs": [(0, 1, None)]},
    ]
    first = headline_sums(make(samples, [scored("a", winner(1, 0))]), "a")
    second = headline_sums(make(samples[::-1], [scored("a", winner(0, 0))]), "a")
    result = paired_difference(first, second)
    assert (result.pairs, result.value) == (3, pytest.approx(2 / 3))


def test_sums_of_an_unknown_or_unscored_reward():
    rows = pairs_task({"a": winner(1), "b": [None, None]})
    assert headline_sums(rows, "b") is None
    assert headline_sums(rows, "c") is None


def test_an_oracle_meets_rewards_on_common_pairs_only():
    oracle = scored("human", [1.0] * 6)
    parts = {"q.rater": column([1, 2, 3, 1, 2, 3]), "q.others": column([1, 2, 2, 3, 2, 1])}
    oracle = replace(oracle, column=replace(oracle.column, parts=parts))
    samples = [{"texts": ["x"] * 3, "human": {"q": [1.0, 2.0, 3.0]}} for _ in range(2)]
    rows = make(samples, [scored("r", [1.0, 2, 3, 3, 2, 1]), oracle])
    result = find(agree(rows, None), "pairwise-accuracy", reward="r", against="human")
    # common pairs: (0,1), (0,2) of sample 0, all three of sample 1; reward: 1 1 0 0 0; rater: 1 1 0 0 0
    assert (result.pairs, result.value) == (5, 0.0)


def test_blocks_of_couples_change_nothing(monkeypatch):
    from rmbench.studies import difference

    rng = np.random.default_rng(0)
    rows = pairs_task({name: winner(*rng.choice([0, 0.5, 1], 12)) for name in "abcd"})
    whole = agree(rows, None)
    monkeypatch.setattr(difference, "CELLS", 24)
    assert agree(rows, None) == whole
