"""What trainings took, as rows of measurements.json."""

import json

import pytest
from optimised import entry, manifest, run_folder, train
from small_rows import only

from rmbench.studies.training import training

STEPS = [
    {"step": 1, "rollout": 3.0, "scoring": 1.0, "update": 4.0, "overhead": 0.0, "tokens": 100, "trained": 80},
    {"step": 2, "rollout": 1.0, "scoring": 1.0, "update": 4.0, "overhead": 2.0, "tokens": 60, "trained": 40},
]


def measured(path, plan, files):
    return list(training(run_folder(path, files).path, manifest(plan)))


def test_stage_shares_by_hand(tmp_path):
    found = measured(tmp_path, [train("rl", "proxy", seeds=[7])], {"rl/seed-7/.timings.jsonl": STEPS})
    row = only(found, metric="share:rollout")
    assert (row.study, row.value, row.system, row.reward) == ("train", 4 / 16, "rl", "proxy")
    assert (row.policy, row.trainer, row.seed, row.task) == ("base", "grpo", 7, "made")
    assert only(found, metric="share:update").value == 8 / 16
    assert sum(row.value for row in found if row.metric.startswith("share:")) == pytest.approx(1.0)
    assert only(found, metric="seconds:scoring").value == 2.0
    assert (only(found, metric="seconds").value, only(found, metric="steps").value) == (16.0, 2.0)
    assert only(found, metric="tokens-per-second").value == 10.0
    assert only(found, metric="trained").value == 120.0


def test_measures_of_the_trainer_stand_before_sums(tmp_path):
    place = run_folder(tmp_path, {"rl/seed-1/.timings.jsonl": STEPS}).path / "training/rl/seed-1"
    told = {"seconds": 20.5, "tokens_per_second": 9.5, "parameters": 1400000}
    (place / ".measures.json").write_text(json.dumps(told), encoding="utf-8")
    found = list(training(tmp_path, manifest([train("rl", "proxy", seeds=[1])])))
    assert [only(found, metric=m).value for m in ("seconds", "tokens-per-second", "parameters")] == [20.5, 9.5, 1.4e6]


def test_what_was_not_trained_has_no_rows(tmp_path):
    assert measured(tmp_path, [entry("base"), train("rl", "proxy")], {}) == []


def test_a_seedless_policy_stands_in_its_own_folder(tmp_path):
    plan = [entry("base", seeds=[], trainer="sft")]
    assert only(measured(tmp_path, plan, {"base/.timings.jsonl": STEPS}), metric="steps").seed is None
