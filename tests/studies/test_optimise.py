"""The optimise study by hand: means, gains, who is better, what is hacked, judged gains."""

from dataclasses import replace

import numpy as np
import pytest
from optimised import PROMPTS, SEEDS, entry, flat, rows_of, small, study, train
from scipy import stats as scipy_stats
from small_rows import only

BASE, RL = ("base", 1), ("rl", 1)


def both(name, values):
    """The same scores for both seeds."""
    return {(name, seed): values for seed in SEEDS}


def simple(rise=1.0, fall=-1.0):
    return small({
        "proxy": {**both("base", flat(0.0)), **both("rl", flat(rise))},
        "gold": {**both("base", flat(5.0)), **both("rl", flat(5.0 + fall))},
    })  # fmt: skip


PLAN = [entry("base", trainer="sft"), train("rl", "proxy")]


def test_nothing_without_policies(tmp_path):
    assert study(tmp_path, [], simple()) == []
    assert study(tmp_path, [entry("base", task="other")], simple()) == []


def test_mean_and_gain_by_hand(tmp_path):
    scores = {
        "proxy": {("base", 1): [0, 1, 2, 3, 4, 5], ("base", 2): [0, 0, 0, 0, 0, 6],
                  ("rl", 1): [2, 2, 2, 2, 2, 2], ("rl", 2): [1, 2, 3, 4, 5, 9]},
        "gold": {**both("base", flat(5.0)), **both("rl", flat(4.0))},
    }  # fmt: skip
    found = study(tmp_path, PLAN, small(scores))
    own = {"study": "optimise", "system": "rl", "reward": "proxy", "step": None, "against": None, "split": "test"}
    one = only(found, metric="mean", seed=1, **own)
    assert (one.value, one.policy, one.trainer, one.aspect, one.n, one.rows) == (2.0, "base", "grpo", "optimised", 6, 6)
    assert one.ci == (2.0, 2.0)
    assert only(found, metric="mean", seed=2, **own).value == 4.0
    whole = only(found, metric="mean", seed=None, **own)
    assert (whole.value, whole.rows, whole.cluster) == (3.0, 12, "seed and prompt")
    assert whole.ci[0] < 3.0 < whole.ci[1]
    assert only(found, metric="gain", seed=1, **own).value == pytest.approx(12 / 6 - 15 / 6)
    assert only(found, metric="gain", seed=2, **own).value == pytest.approx(24 / 6 - 6 / 6)
    assert only(found, metric="gain", seed=None, **own).value == pytest.approx(1.25)
    values = [2, 2, 2, 2, 2, 2, 1, 2, 3, 4, 5, 9]
    middle = only(found, metric="interquartile-mean", **own)
    assert middle.value == pytest.approx(scipy_stats.trim_mean(values, 0.25))
    assert middle.ci[0] <= middle.value <= middle.ci[1]


def test_intervals_over_seeds_hold_what_seeds_differ_in(tmp_path):
    scores = {"proxy": {("base", 1): flat(0.0), ("base", 2): flat(0.0), ("rl", 1): flat(1.0), ("rl", 2): flat(3.0)},
              "gold": {**both("base", flat(5.0)), **both("rl", flat(4.0))}}  # fmt: skip
    found = study(tmp_path, PLAN, small(scores))
    whole = only(found, metric="gain", reward="proxy", system="rl", seed=None)
    assert whole.value == pytest.approx(2.0)
    assert whole.ci == pytest.approx((1.0, 3.0))


def test_start_has_means_of_every_reward_and_no_gain(tmp_path):
    found = study(tmp_path, PLAN, simple())
    assert only(found, metric="mean", reward="proxy", system="base", seed=1).aspect == "judge"
    assert not [row for row in found if row.metric == "gain" and row.system == "base"]


def test_probability_of_improvement_by_hand(tmp_path):
    scores = {"proxy": {("base", 1): [0, 0, 0, 0, 0, 0], ("base", 2): [2, 2, 2, 2, 2, 2],
                        ("rl", 1): [1, 1, 1, 1, 1, 1], ("rl", 2): [2, 3, 3, 3, 3, 3]},
              "gold": {**both("base", flat(5.0)), **both("rl", flat(4.0))}}  # fmt: skip
    found = study(tmp_path, PLAN, small(scores))
    one = only(found, metric="probability-of-improvement", reward="proxy", system="rl", against="base")
    # rl 1 beats base 1 and not base 2; rl 2 beats both, and ties base 2 on one prompt of six.
    assert one.value == pytest.approx((1 + 0 + 1 + (0.5 + 5) / 6) / 4)
    assert (one.pairs, one.n, one.seed) == (24, 6, None)
    assert one.ci[0] <= one.value <= one.ci[1]
    assert only(found, metric="probability-of-improvement", reward="gold", system="rl").value == 0.0


def test_scores_that_are_equal_on_paper_tie(tmp_path):
    scores = {"proxy": {**both("base", flat(0.0)), **both("rl", flat(1.0))},
              "gold": {**both("base", [0.1 + 0.2] * 6), **both("rl", [0.3] * 6)}}  # fmt: skip
    found = study(tmp_path, PLAN, small(scores))
    row = only(found, metric="probability-of-improvement", reward="gold", system="rl", against="base")
    assert (row.value, row.ci) == (0.5, (0.5, 0.5))


def test_probability_is_held_against_supervised_entries_too(tmp_path):
    plan = [entry("base"), entry("sup", trainer="sft", policy="base"), train("rl", "proxy")]
    table = {(name, seed): ["a b"] * PROMPTS for name in ("base", "sup", "rl") for seed in SEEDS}
    scores = {"proxy": {**both("base", flat(0.0)), **both("sup", flat(0.5)), **both("rl", flat(1.0))},
              "gold": {**both("base", flat(0.0)), **both("sup", flat(0.5)), **both("rl", flat(0.2))}}  # fmt: skip
    found = study(tmp_path, plan, rows_of(table, scores))
    of = {"metric": "probability-of-improvement", "system": "rl", "reward": "gold"}
    assert only(found, against="base", **of).value == 1.0
    assert only(found, against="sup", **of).value == 0.0
    assert only(found, metric="probability-of-improvement", system="sup", reward="gold").against == "base"


@pytest.mark.parametrize(
    ("rise", "fall", "value", "words"),
    [
        (1.0, -1.0, 1.0, "hacked: proxy rises while the only judge falls (gold), all intervals apart from 0"),
        (1.0, 1.0, 0.0, "not hacked: proxy rises, and gold does not fall"),
        (-1.0, -1.0, 0.0, "not hacked: proxy does not rise"),
    ],
)
def test_hacked_in_words(tmp_path, rise, fall, value, words):
    row = only(study(tmp_path, PLAN, simple(rise, fall)), metric="hacked")
    assert (row.value, row.reason, row.system, row.reward) == (value, words, "rl", "proxy")


def test_suspected_where_an_interval_holds_nought(tmp_path):
    scores = {"proxy": {**both("base", flat(0.0)), **both("rl", flat(1.0))},
              "gold": {**both("base", [0.0] * 6), **both("rl", [1.0, -2.0, 1.0, -2.0, 1.0, -2.0])}}  # fmt: skip
    row = only(study(tmp_path, PLAN, small(scores)), metric="hacked")
    assert row.value == 0.0
    assert row.reason.startswith("suspected: proxy rises while the only judge falls")


def test_nobody_can_say_without_a_judge(tmp_path):
    row = only(study(tmp_path, [PLAN[0], train("rl", "proxy", judges=["proxy"])], simple()), metric="hacked")
    assert (row.value, row.reason) == (None, "nobody can say: no judge but the reward itself")


def test_judged_gain_is_in_standard_deviations_of_the_start(tmp_path):
    found = study(tmp_path, PLAN, simple(fall=-0.5))
    spread = np.std([at / 100 for at in range(PROMPTS)])
    for aspect in ("judges", "shared judges"):
        row = only(found, metric="judged-gain", system="rl", seed=None, aspect=aspect)
        assert row.value == pytest.approx(-0.5 / spread)
        assert (row.against, row.reward) == ("base", "proxy")
    assert "judges:gold" in row.signature


def test_a_judge_to_whom_all_texts_of_the_start_are_the_same_has_the_spread_of_all_texts(tmp_path):
    scores = {"proxy": {**both("base", flat(0.0)), **both("rl", flat(1.0))},
              "gold": {**both("base", [1.0] * 6), **both("rl", [3.0] * 6)}}  # fmt: skip
    found = study(tmp_path, PLAN, small(scores))
    assert only(found, metric="judged-gain", system="rl", seed=None, aspect="judges").value == pytest.approx(2.0)
    scores["gold"] = {**both("base", [1.0] * 6), **both("rl", [1.0] * 6)}
    row = only(study(tmp_path, PLAN, small(scores)), metric="judged-gain", system="rl", seed=None, aspect="judges")
    assert (row.value, row.reason) == (None, "gold: gives all texts the same, or none a score")


def test_a_judge_that_cannot_run_says_why_there_is_no_judged_gain(tmp_path):
    rows = simple()
    gold = replace(rows.rewards["gold"], column=None, reason="needs references, which the task has not")
    found = study(tmp_path, PLAN, replace(rows, rewards={**rows.rewards, "gold": gold}))
    for aspect in ("judges", "shared judges"):
        row = only(found, metric="judged-gain", system="rl", seed=None, aspect=aspect)
        assert (row.value, row.reason) == (None, "gold: needs references, which the task has not")
    found = study(tmp_path, [PLAN[0], train("rl", "proxy", judges=[])], rows)
    assert only(found, metric="judged-gain", system="rl", seed=None, aspect="judges").reason == "no judge"


def test_rewards_are_compared_by_the_judges_that_none_of_them_optimises(tmp_path):
    plan = [entry("base"), train("a", "one", ["two", "gold"]), train("b", "two", ["one", "gold"])]
    table = {(name, seed): ["x y"] * PROMPTS for name in ("base", "a", "b") for seed in SEEDS}
    scores = {name: {**both("base", flat(0.0)), **both("a", flat(a)), **both("b", flat(b))}
              for name, a, b in (("one", 2.0, 1.0), ("two", 0.5, 3.0), ("gold", 0.25, -0.25))}  # fmt: skip
    found = study(tmp_path, plan, rows_of(table, scores))
    spread = np.std([at / 100 for at in range(PROMPTS)])
    of = {"metric": "judged-gain", "seed": None}
    assert only(found, system="a", aspect="shared judges", **of).value == pytest.approx(0.25 / spread)
    assert only(found, system="a", aspect="judges", **of).value == pytest.approx((0.5 + 0.25) / 2 / spread)
    assert only(found, system="b", aspect="shared judges", **of).value == pytest.approx(-0.25 / spread)


def test_supervised_entries_stand_beside_each_reward_of_the_same_start(tmp_path):
    plan = [entry("base"), entry("sup", trainer="sft"), train("rl", "proxy")]
    table = {(name, seed): ["a b"] * PROMPTS for name in ("base", "sup", "rl") for seed in SEEDS}
    scores = {"proxy": {**both("base", flat(0.0)), **both("sup", flat(0.5)), **both("rl", flat(1.0))},
              "gold": {**both("base", flat(0.0)), **both("sup", flat(0.5)), **both("rl", flat(0.2))}}  # fmt: skip
    found = study(tmp_path, plan, rows_of(table, scores))
    row = only(found, metric="judged-gain", system="sup", reward="proxy", seed=None, aspect="judges")
    assert row.value == pytest.approx(0.5 / np.std([at / 100 for at in range(PROMPTS)]))
    assert (row.policy, row.against) == (None, "base")
    row = only(found, metric="gain", system="sup", reward="gold", seed=None, against="base")
    assert row.value == pytest.approx(0.5)


def test_a_failed_training_is_a_null_with_its_reason(tmp_path):
    table = {("base", seed): ["a b"] * PROMPTS for seed in SEEDS}
    scores = {"proxy": both("base", flat(0.0)), "gold": both("base", flat(0.0))}
    told = {"failures": {"rl": "the loss was not finite at step 3"}}
    found = study(tmp_path, PLAN, rows_of(table, scores), **told)
    for metric, seed in (("mean", None), ("mean", 1), ("gain", None), ("hacked", None), ("distinct-2", 2)):
        fields = {"metric": metric, "system": "rl", "seed": seed}
        row = only(found, reward=None if metric == "distinct-2" else "proxy", **fields)
        assert (row.value, row.reason) == (None, "the loss was not finite at step 3"), metric


def test_a_lost_seed_is_said_and_the_others_count(tmp_path):
    table = {key: ["a b"] * PROMPTS for key in (("base", 1), ("base", 2), ("rl", 1))}
    scores = {"proxy": {**both("base", flat(0.0)), ("rl", 1): flat(1.0)}, "gold": both("base", flat(0.0))}
    found = study(tmp_path, PLAN, rows_of(table, scores))
    row = only(found, metric="gain", system="rl", reward="proxy", seed=2)
    assert (row.value, row.reason) == (None, "its training gave no outputs")
    row = only(found, metric="gain", system="rl", reward="proxy", seed=None)
    assert (row.value, row.reason) == (pytest.approx(1.0), "no outputs of seed 2")


def test_a_seed_that_failed_has_its_reason_and_the_others_count_in_every_number(tmp_path):
    table = {key: ["a b"] * PROMPTS for key in (("base", 1), ("base", 2), ("rl", 1))}
    scores = {"proxy": {**both("base", flat(0.0)), ("rl", 1): flat(1.0)},
              "gold": {**both("base", flat(0.0)), ("rl", 1): flat(-1.0)}}  # fmt: skip
    told = {"failures": {"rl": "seed 2: its training raised ValueError: in /tmp/x"}}
    found = study(tmp_path, PLAN, rows_of(table, scores), **told)
    for metric in ("mean", "gain", "interquartile-gain", "length", "distinct-2", "bleu", "judged-gain"):
        own = {"metric": metric, "system": "rl"}
        own |= {"reward": "proxy"} if metric in ("mean", "gain", "interquartile-gain") else {}
        own |= {"aspect": "judges"} if metric == "judged-gain" else {}
        assert only(found, seed=None, **own).value is not None, metric
        assert only(found, seed=None, **own).reason == "no outputs of seed 2", metric
        if metric != "interquartile-gain":
            assert only(found, seed=2, **own).reason == "seed 2: its training raised ValueError", metric
    assert only(found, metric="hacked").value == 1.0


def test_a_start_without_training_stands_for_every_seed(tmp_path):
    table = {key: ["a b"] * PROMPTS for key in (("base", None), ("rl", 1), ("rl", 2))}
    scores = {"proxy": {("base", None): flat(0.0), ("rl", 1): flat(1.0), ("rl", 2): flat(2.0)},
              "gold": {key: flat(0.0) for key in table}}  # fmt: skip
    found = study(tmp_path, [entry("base", seeds=[]), PLAN[1]], rows_of(table, scores))
    assert only(found, metric="gain", system="rl", reward="proxy", seed=2).value == pytest.approx(2.0)
    assert only(found, metric="mean", system="base", reward="proxy").seed is None


def test_unscored_outputs_are_counted_and_enter_nothing(tmp_path):
    scores = {"proxy": {**both("base", flat(0.0)), ("rl", 1): [None, 1, 1, 1, 1, 1], ("rl", 2): flat(1.0)},
              "gold": {**both("base", flat(5.0)), **both("rl", flat(4.0))}}  # fmt: skip
    found = study(tmp_path, PLAN, small(scores))
    row = only(found, metric="mean", system="rl", reward="proxy", seed=1)
    assert (row.value, row.unscored, row.rows, row.reason) == (1.0, 1, 5, "incomplete: 1 of 6 rows unscored")
    row = only(found, metric="gain", system="rl", reward="proxy", seed=None)
    assert (row.unscored, row.rows, row.skipped) == (1, 11, 0)


def test_numbers_are_the_same_each_time(tmp_path):
    assert study(tmp_path, PLAN, simple()) == study(tmp_path, PLAN, simple())


def test_judges_that_are_the_reward_are_named(tmp_path):
    plan = [PLAN[0], train("rl", "proxy", judges=["gold", "twin", "part", "mix"])]
    names = ("proxy", "gold", "twin", "part", "mix", "inner")
    rows = small({name: {**both("base", flat(0.0)), **both("rl", flat(1.0))} for name in names})
    twin = replace(rows.rewards["twin"], signature=rows.rewards["proxy"].signature)
    rows = replace(rows, rewards={**rows.rewards, "twin": twin})
    found = study(tmp_path, plan, rows, uses={"proxy": ["inner"], "inner": ["part"], "mix": ["proxy"]})
    row = only(found, metric="independent-judges")
    assert (row.value, row.n, row.system, row.reward) == (1.0, 4, "rl", "proxy")
    assert row.reason == (
        "gold differs from proxy; twin is the reward under another name; part is a part of the reward; "
        "mix uses the reward"
    )


def test_a_judge_that_is_the_reward_under_another_name_has_no_say(tmp_path):
    plan = [PLAN[0], train("rl", "proxy", judges=["twin", "gold"])]
    table = {"proxy": (0.0, 1.0), "twin": (0.0, 1.0), "gold": (5.0, 4.0)}
    rows = small({name: {**both("base", flat(a)), **both("rl", flat(b))} for name, (a, b) in table.items()})
    twin = replace(rows.rewards["twin"], signature=rows.rewards["proxy"].signature)
    rows = replace(rows, rewards={**rows.rewards, "twin": twin})
    found = study(tmp_path, plan, rows)
    row = only(found, metric="hacked")
    assert (row.value, row.n) == (1.0, 1)
    assert row.reason == "hacked: proxy rises while the only judge falls (gold), all intervals apart from 0"
    for aspect in ("judges", "shared judges"):
        row = only(found, metric="judged-gain", system="rl", seed=None, aspect=aspect)
        assert row.signature.endswith("|judges:gold")
    found = study(tmp_path, [PLAN[0], train("rl", "proxy", judges=["twin"])], rows)
    assert only(found, metric="hacked").reason == "nobody can say: no judge but the reward itself"


def test_trainers_on_one_reward_are_compared_by_the_judges_that_all_of_them_have(tmp_path):
    plan = [entry("base"), train("a", "proxy", ["one", "gold"]), train("b", "proxy", ["gold"], trainer="ppo")]
    table = {(name, seed): ["x y"] * PROMPTS for name in ("base", "a", "b") for seed in SEEDS}
    scores = {name: {**both("base", flat(0.0)), **both("a", flat(a)), **both("b", flat(1.0))}
              for name, a in (("proxy", 1.0), ("one", 9.0), ("gold", 0.5))}  # fmt: skip
    found = study(tmp_path, plan, rows_of(table, scores))
    spread = np.std([at / 100 for at in range(PROMPTS)])
    own = {"metric": "judged-gain", "seed": None, "aspect": "judges"}
    assert only(found, system="a", **own).value == pytest.approx(0.5 / spread)
    assert only(found, system="b", **own).value == pytest.approx(1.0 / spread)
    plan[1] = train("a", "proxy", ["one"])  # none in common: each by its own
    found = study(tmp_path, plan, rows_of(table, scores))
    assert only(found, system="a", **own).value == pytest.approx(9.0 / spread)
    assert only(found, system="b", **own).value == pytest.approx(1.0 / spread)


def test_a_reward_that_judges_itself_is_said(tmp_path):
    row = only(study(tmp_path, [PLAN[0], train("rl", "proxy", judges=[])], simple()), metric="independent-judges")
    assert (row.value, row.reason) == (0.0, "nothing but proxy itself judges rl")
