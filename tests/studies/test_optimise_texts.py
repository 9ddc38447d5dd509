"""The optimise study's numbers that need no reward: length, diversity, KL, corpus scores; and its curves and fits."""

import json
import math

import numpy as np
import pytest
from optimised import PROMPTS, SEEDS, entry, flat, rows_of, small, study, train
from small_rows import only

from rmbench.errors import RunFolderError
from rmbench.stats.aggregate import crossed_intervals
from rmbench.stats.scaling import best_of_n_kl
from rmbench.studies.optimise_predict import predictions
from rmbench.studies.optimise_texts import distinct
from rmbench.toy import ROWS, best_of, mean, optimum, policy
from rmbench.toy_world import FREE, VOCABULARY, WORLD

PLAN = [entry("base", trainer="sft"), train("rl", "proxy")]
KEYS = [(name, seed) for name in ("base", "rl") for seed in SEEDS]
SCORES = {name: {key: flat(0.0) for key in KEYS} for name in ("proxy", "gold")}


def files(entry_name, name, lines):
    return {f"{entry_name}/seed-{seed}/{name}.jsonl": lines for seed in SEEDS}


def test_distinct_bigrams_by_hand():
    # a b, b a, a b | a b: four bigrams, two distinct.
    assert distinct(["a b a b", "a b", "c", ""]) == 2 / 4
    assert distinct(["a", ""]) is None


def test_length_and_diversity_of_each_seed(tmp_path):
    texts = {("rl", 1): ["a b c d"] * PROMPTS, ("rl", 2): [f"a {at}" for at in range(PROMPTS)]}
    found = study(tmp_path, PLAN, small(SCORES, texts=texts))
    assert only(found, metric="length", system="rl", seed=1).value == 4.0
    assert only(found, metric="length", system="rl", seed=2).value == 2.0
    whole = only(found, metric="length", system="rl", seed=None)
    assert (whole.value, whole.rows) == (3.0, 12)
    assert only(found, metric="distinct-2", system="rl", seed=1).value == 3 / 18
    assert only(found, metric="distinct-2", system="rl", seed=2).value == 1.0
    assert only(found, metric="distinct-2", system="rl", seed=None).value == pytest.approx((3 / 18 + 1) / 2)


def test_kl_of_the_outputs(tmp_path):
    lines = [{"id": f"s{at}", "text": "a", "tokens": 4, "finished": at > 0, "kl": float(at)} for at in range(PROMPTS)]
    found = study(tmp_path, PLAN, small(SCORES), files("rl", "outputs", lines))
    row = only(found, metric="kl", system="rl", seed=1)
    assert (row.value, row.n, row.reward) == (2.5, 6, None)
    assert row.ci[0] < 2.5 < row.ci[1]
    assert only(found, metric="finished", system="rl", seed=None).value == pytest.approx(5 / 6)
    assert only(found, metric="tokens", system="rl", seed=None).value == 4.0
    assert not [row for row in found if row.metric == "kl" and row.system == "base"]


def test_kl_of_best_of_n_is_that_of_the_choice(tmp_path):
    lines = [{"id": f"s{at}", "kl": 0.0} for at in range(PROMPTS)]
    told = {**files("rl", "outputs", lines), **files("rl", "pool", [{"id": "s0", "scores": {"proxy": [1.0] * 8}}])}
    row = only(study(tmp_path, PLAN, small(SCORES), told), metric="kl", system="rl", seed=None)
    assert row.value == pytest.approx(best_of_n_kl(8))


def test_corpus_scores_of_each_seed_and_their_mean(tmp_path):
    texts = {("rl", 1): ["a b c d"] * PROMPTS, ("rl", 2): ["x y z w"] * PROMPTS}
    found = study(tmp_path, PLAN, small(SCORES, texts=texts))
    for metric, best in (("bleu", 100.0), ("chrf", 100.0), ("rouge-1", 1.0), ("rouge-2", 1.0), ("rouge-l", 1.0)):
        one, two = (only(found, metric=metric, system="rl", seed=seed) for seed in SEEDS)
        assert (one.value, one.policy, one.trainer, one.level) == (pytest.approx(best), "base", "grpo", "corpus")
        assert two.value == pytest.approx(0.0)
        whole = only(found, metric=metric, system="rl", seed=None)
        assert (whole.value, whole.ci) == (pytest.approx(best / 2), (0.0, best))  # a resample of one seed twice
        assert (whole.resamples, whole.cluster) == (1000, "seed and prompt")


def test_the_interval_of_a_corpus_score_over_seeds_resamples_seeds_and_prompts(tmp_path):
    halves = [["a b c d" if (at + seed) % (2 + seed) else "a x y z" for at in range(PROMPTS)] for seed in range(2)]
    found = study(tmp_path, PLAN, small(SCORES, texts={("rl", 1): halves[0], ("rl", 2): halves[1]}))
    f1 = np.array([[1.0 if text == "a b c d" else 0.25 for text in texts] for texts in halves])
    (expected,) = crossed_intervals([f1], [np.ones_like(f1)], seed=1)
    whole = only(found, metric="rouge-1", system="rl", seed=None)
    assert whole.value == pytest.approx(f1.mean())
    assert whole.ci == pytest.approx(expected)
    one = only(found, metric="rouge-1", system="rl", seed=1)
    assert one.ci == pytest.approx(crossed_intervals([f1[:1]], [np.ones((1, PROMPTS))], seed=1)[0])


def test_a_task_without_references_has_no_corpus_scores(tmp_path):
    found = study(tmp_path, PLAN, small(SCORES, references=False))
    assert not [row for row in found if row.level == "corpus"]


def curve(kls, rewards, golds):
    return [
        {"step": at * 10, "reward": reward, "judges": {"gold": gold}, "unscored": 0, "kl": kl, "entropy": 1.5,
         "length": 3.0, "distinct-2": 0.5, "finished": 1.0}
        for at, (kl, reward, gold) in enumerate(zip(kls, rewards, golds, strict=True))
    ]  # fmt: skip


def test_curves_stand_by_step_and_seed(tmp_path):
    lines = curve([0.0, 1.0, 4.0], [0.1, 0.2, 0.3], [0.5, None, 0.4])
    found = study(tmp_path, PLAN, small(SCORES), files("rl", "curve", lines))
    at = {"system": "rl", "seed": 1, "split": "dev"}
    assert [only(found, metric="mean", reward="proxy", step=step, **at).value for step in (0, 10, 20)] == [
        0.1,
        0.2,
        0.3,
    ]
    assert only(found, metric="mean", reward="proxy", step=0, **at).aspect == "optimised"
    gold = only(found, metric="mean", reward="gold", step=10, **at)
    assert (gold.value, gold.reason, gold.aspect) == (None, "no row was scored", "judge")
    assert only(found, metric="kl", step=20, **at).value == 4.0
    assert only(found, metric="entropy", step=20, **at).value == 1.5


def test_the_rl_form_is_fitted_to_the_evaluations_of_all_seeds(tmp_path):
    d = np.array([0.0, 0.5, 1.0, 2.0, 3.0])
    gains = [a * d - 0.5 * d * np.log(np.maximum(d, 1e-300)) for a in (1.0, 2.0)]
    told = {
        f"rl/seed-{seed}/curve.jsonl": curve(d**2, gain + 7.0, 3.0 - gain)
        for seed, gain in zip(SEEDS, gains, strict=True)
    }
    found = study(tmp_path, PLAN, small(SCORES), told)
    alpha = only(found, metric="scaling-alpha", reward="proxy", aspect="rl")
    assert (alpha.value, alpha.ci, alpha.n, alpha.cluster) == (pytest.approx(1.5), pytest.approx((1.0, 2.0)), 8, "seed")
    assert only(found, metric="scaling-beta", reward="proxy", aspect="rl").value == pytest.approx(0.5)
    assert only(found, metric="scaling-alpha", reward="gold", aspect="rl").value == pytest.approx(-1.5)
    assert only(found, metric="scaling-peak", reward="proxy", aspect="rl").value == pytest.approx(math.exp(2.0))


def test_a_policy_that_did_not_move_has_no_fit(tmp_path):
    lines = curve([0.0, 0.0, 0.0], [0.1, 0.2, 0.3], [0.5, 0.5, 0.5])
    found = study(tmp_path, PLAN, small(SCORES), files("rl", "curve", lines))
    row = only(found, metric="scaling-alpha", reward="proxy", aspect="rl")
    assert (row.value, row.reason) == (None, "fewer than 3 points at two distances from the start")


def pool(proxy, gold):
    return [
        {"id": f"s{at}", "scores": {"proxy": proxy, "gold": gold}, "words": [1] * len(proxy)} for at in range(PROMPTS)
    ]


def test_best_of_n_by_hand(tmp_path):
    plan = [entry("base"), train("bon", "proxy", trainer="best-of-n")]
    table = {(name, seed): ["a b"] * PROMPTS for name in ("base", "bon") for seed in SEEDS}
    scores = {name: {key: flat(0.0) for key in table} for name in ("proxy", "gold")}
    lines = pool([1.0, 2.0, 3.0, 4.0], [10.0, 20.0, 30.0, 0.0])
    found = study(tmp_path, plan, rows_of(table, scores), files("bon", "pool", lines))
    of = {"metric": "best-of-n", "system": "bon", "reward": "gold", "seed": None}
    # n = 2, of six pairs: 0 wins three, 30 two, 20 one; n = 4: always 0.
    for n, value in ((1, 15.0), (2, (0 * 3 + 30 * 2 + 20) / 6), (4, 0.0)):
        row = only(found, step=n, **of)
        assert (row.value, row.aspect, row.skipped) == (pytest.approx(value), "judge", 0)
        assert only(found, metric="best-of-n-kl", step=n).value == pytest.approx(best_of_n_kl(n))
    assert only(found, step=4, **{**of, "reward": "proxy"}).value == 4.0
    alpha, beta = (
        only(found, metric=f"scaling-{name}", reward="gold", aspect="best-of-n") for name in ("alpha", "beta")
    )
    d = np.sqrt([best_of_n_kl(n) for n in (1, 2, 4)])
    wanted, *_ = np.linalg.lstsq(np.stack([d, -d * d], axis=1), np.array([0.0, 80 / 6 - 15, -15.0]), rcond=None)
    assert [alpha.value, beta.value] == pytest.approx(wanted.tolist())
    assert alpha.ci == pytest.approx((alpha.value, alpha.value))  # all prompts are the same


def test_responses_that_score_the_same_on_paper_are_chosen_equally_often(tmp_path):
    plan = [entry("base"), train("bon", "proxy", trainer="best-of-n")]
    table = {(name, seed): ["a b"] * PROMPTS for name in ("base", "bon") for seed in SEEDS}
    scores = {name: {key: flat(0.0) for key in table} for name in ("proxy", "gold")}
    lines = pool([0.3, 0.1 + 0.2], [10.0, 20.0])
    found = study(tmp_path, plan, rows_of(table, scores), files("bon", "pool", lines))
    assert only(found, metric="best-of-n", reward="gold", step=2, seed=None).value == pytest.approx(15.0)


def test_the_curve_of_best_of_n_is_no_training_that_moves(tmp_path):
    lines = [{**line, "n": 2**at} for at, line in enumerate(curve([0.0, 1.0, 4.0], [0.1, 0.2, 0.3], [0.5, 0.5, 0.4]))]
    told = {**files("rl", "curve", lines), **files("rl", "pool", pool([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]))}
    found = study(tmp_path, PLAN, small(SCORES), told)
    assert only(found, metric="mean", reward="proxy", step=10, seed=1, split="dev").value == 0.2
    assert {row.aspect for row in found if row.metric == "scaling-alpha"} == {"best-of-n"}


def test_gains_of_a_curve_are_over_step_nought(tmp_path):
    lines = curve([0.0, 1.0, 4.0, 9.0], [0.1, 0.2, 0.3, 0.5], [None, 0.5, 0.4, 0.1])
    found = study(tmp_path, PLAN, small(SCORES), files("rl", "curve", lines))
    assert only(found, metric="scaling-alpha", reward="proxy").n == 6
    row = only(found, metric="scaling-alpha", reward="gold")
    assert (row.value, row.n, row.reason) == (None, 0, "fewer than 3 points at two distances from the start")


def test_pools_with_an_unscored_response_are_left_out(tmp_path):
    plan = [entry("bon", options={"best_by": "proxy", "best_of": 2}, seeds=[1])]
    table = {("bon", 1): ["a b"] * PROMPTS}
    lines = pool([1.0, 2.0], [10.0, 20.0])
    lines[0]["scores"] = {"proxy": [1.0, 2.0], "gold": [None, 3.0]}
    rows = rows_of(table, {name: {("bon", 1): flat(0.0)} for name in ("proxy", "gold")})
    found = study(tmp_path, plan, rows, {"bon/seed-1/pool.jsonl": lines})
    row = only(found, metric="best-of-n", reward="gold", step=2, seed=1)
    assert (row.value, row.skipped, row.n) == (20.0, 1, 5)
    row = only(found, metric="scaling-alpha", reward="gold")
    assert (row.value, row.n) == (None, 2)


def test_a_damaged_file_says_which(tmp_path):
    (tmp_path / "training/rl/seed-1").mkdir(parents=True)
    (tmp_path / "training/rl/seed-1/curve.jsonl").write_text('{"step": 1', encoding="utf-8")
    with pytest.raises(RunFolderError, match="is damaged"):
        study(tmp_path, PLAN, small(SCORES))


TOY = {"task": "toy", "use": "tabular"}


def saved(path, name, seed, table=None):
    """Save a table as a tabular policy in the folder of an entry."""
    from rmbench.policies.tabular import TabularAgent

    place = path / f"training/{name}/seed-{seed}"
    place.mkdir(parents=True, exist_ok=True)
    TabularAgent(np.zeros((ROWS, FREE, VOCABULARY), np.float32) if table is None else table).save(place)


def test_tabular_policies_are_told_exactly(tmp_path):
    table = np.zeros((ROWS, FREE, VOCABULARY), np.float32)
    table[:, 0, 0] = 2.0
    saved(tmp_path, "rl", 1, table)
    saved(tmp_path, "rl", 2)
    found = study(tmp_path, [entry("base", **TOY), train("rl", "proxy", **TOY)], small(SCORES, task="toy"))
    uniform = mean(policy(np.zeros((len(WORLD), FREE, VOCABULARY))))
    told = mean(policy(table[: len(WORLD)].astype(float)))
    value = {(row.system, row.seed): row.value for row in found if row.metric == "expected-reward"}
    assert value["base", 1] == value["base", None] == value["rl", 2] == pytest.approx(uniform)
    assert value["rl", 1] == pytest.approx(told)
    assert value["rl", None] == pytest.approx((uniform + told) / 2)
    assert only(found, metric="optimum", system="rl").value == pytest.approx(optimum())


def test_a_policy_that_chooses_by_the_toys_reward_is_told_as_it_chooses(tmp_path):
    for seed in SEEDS:
        saved(tmp_path, "rl", seed)
    scores = {name: {key: flat(0.0) for key in KEYS} for name in ("toy", "gold")}
    lines = [{"id": "s0", "scores": {"toy": [0.0, 1.0, 0.5]}, "words": [1, 1, 1]}]
    plan = [entry("base", **TOY, options={"spread": 1.0}), train("rl", "toy", **TOY)]
    found = study(tmp_path, plan, small(scores, task="toy"), files("rl", "pool", lines))
    wanted = mean(best_of(policy(np.zeros((len(WORLD), FREE, VOCABULARY))), 3))
    assert only(found, metric="expected-reward", system="rl", seed=1).value == pytest.approx(wanted)
    row = only(found, metric="expected-reward", system="base", seed=1)
    assert (row.value, row.reason) == (None, "its table is not in the run folder")


def agreed(result, values, **changed):
    """Agree rows of one metric."""
    from rmbench.api import Result

    given = {"task": "labels", "kind": "qa", "split": "test", "level": "pair", **changed}
    return [Result("agree", result, reward=name, value=value, **given) for name, value in values.items()]


def trained(values, trainer="grpo"):
    from rmbench.api import Result

    for name, value in values.items():
        of = {"task": "made", "reward": name, "system": f"{trainer}-{name}", "policy": "base", "trainer": trainer}
        yield Result("optimise", "judged-gain", **of, against="base", aspect="shared judges", value=value)
        yield Result("optimise", "hacked", **of, value=0.0)


def test_prediction_by_hand():
    rows = [*agreed("pairwise-accuracy", {"a": 0.6, "b": 0.7, "c": 0.8, "d": 0.9}),
            *trained({"a": 0.1, "b": 0.3, "c": 0.2, "d": 0.4})]  # fmt: skip
    found = predictions(rows, seed=1)
    row = only(found, metric="predicts-gain:spearman")
    assert (row.task, row.against, row.policy, row.trainer) == ("labels", "made", "base", "grpo")
    assert (row.probe, row.level, row.n, row.cluster) == ("pairwise-accuracy", "pair", 4, "reward")
    assert row.value == pytest.approx(0.8)  # one swap of neighbours: 1 - 6 * 2 / (4 * 15)
    assert only(found, metric="predicts-gain:kendall").value == pytest.approx(4 / 6)
    assert -1.0 <= row.ci[0] <= 0.8 <= row.ci[1] <= 1.0


def test_prediction_over_trainers_is_of_the_mean_gain():
    rows = [*agreed("kendall", {"a": 0.1, "b": 0.2, "c": 0.3}), *trained({"a": 1.0, "b": 2.0, "c": 3.0}),
            *trained({"a": 9.0, "b": 2.0, "c": 3.0}, "ppo")]  # fmt: skip
    found = predictions(rows, seed=1)
    values = {row.trainer: row.value for row in found if row.metric == "predicts-gain:spearman"}
    assert values == {"grpo": pytest.approx(1.0), "ppo": pytest.approx(-0.5), None: pytest.approx(-0.5)}


def test_prediction_over_trainers_is_of_the_rewards_that_all_of_them_trained_on():
    rows = [*agreed("kendall", {"a": 0.1, "b": 0.2, "c": 0.3, "d": 0.4, "e": 0.5}),
            *trained({"a": 1.0, "b": 2.0, "c": 3.0, "d": 9.0}), *trained({"a": 1.0, "b": 2.0, "c": 3.0, "e": -9.0}, "ppo")]  # fmt: skip
    found = predictions(rows, seed=1)
    told = {row.trainer: (row.value, row.n) for row in found if row.metric == "predicts-gain:spearman"}
    assert told == {"grpo": (pytest.approx(1.0), 4), "ppo": (pytest.approx(-0.2), 4), None: (pytest.approx(1.0), 3)}


def test_two_rewards_predict_nothing():
    rows = [*agreed("kendall", {"a": 0.1, "b": 0.2, "z": 0.3}), *trained({"a": 1.0, "b": 2.0, "c": 0.0})]
    row = only(predictions(rows, seed=1), metric="predicts-gain:kendall")
    assert (row.value, row.ci, row.n, row.reason) == (None, None, 2, "fewer than 3 rewards ran both studies")
    assert predictions([*agreed("kendall", {"a": 0.1})], seed=1) == []


def test_calibration_is_no_agreement():
    rows = [*agreed("brier", {"a": 0.1, "b": 0.2, "c": 0.3}), *trained({"a": 1.0, "b": 2.0, "c": 3.0})]
    assert predictions(rows, seed=1) == []


def test_results_can_be_written(tmp_path):
    from rmbench.results import from_json, to_json

    told = {**files("rl", "curve", curve([0.0, 1.0, 4.0, 9.0], [0.1, 0.2, 0.3, 0.5], [0.5, 0.5, 0.4, 0.1])),
            **files("rl", "pool", pool([1.0, 2.0, 3.0, 4.0], [1.0, 2.0, 3.0, 4.0]))}  # fmt: skip
    found = study(tmp_path, PLAN, small(SCORES), told)
    assert len(from_json(to_json({}, found))[1]) == len(found)
    places = [
        json.dumps([row.metric, row.reward, row.system, row.seed, row.step, row.aspect, row.against]) for row in found
    ]
    assert len(set(places)) == len(places)
