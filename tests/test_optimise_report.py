"""The suites of reports/optimise name what there is, and its page leaves no text of the data in."""

import importlib.util
import sys
import tomllib
from pathlib import Path

import pytest

from rmbench import plugins, suite
from rmbench.overrides import Overrides

FOLDER = Path(__file__).resolve().parent.parent / "reports" / "optimise"


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("optimise_make", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    sys.modules["optimise_make"] = module  # dataclasses look their module up
    before = [*sys.path]
    try:
        spec.loader.exec_module(module)
    finally:
        sys.path[:] = before
        sys.modules.pop("page", None)
        sys.modules.pop("optimise_make")
    return module


def planned(given, data_dir):
    return suite.plan(given, plugins.load(), Overrides(data_dir=data_dir), base=FOLDER, where="suite")


def given(part):
    return tomllib.loads((FOLDER / f"{part}.toml").read_text(encoding="utf-8"))


@pytest.mark.parametrize("part", ["translation", "best-of-n", "summarization", "dialogue"])
def test_every_suite_can_be_planned_and_in_small(part, data_dir, make):
    whole = planned(given(part), data_dir)
    small = planned(make.quick(given(part)), data_dir)
    assert whole.entries.keys() == small.entries.keys()
    assert all(entry.trainer_options["steps"] <= 2 for entry in small.entries.values() if entry.trainer)
    for entry in whole.entries.values():
        if entry.reward is not None:
            assert entry.reward not in entry.judges
            assert entry.judges


def test_translation_holds_rewards_and_trainers_against_each_other(data_dir):
    plan = planned(given("translation"), data_dir)
    trained = {(entry.reward, entry.trainer.value.name) for entry in plan.entries.values() if entry.reward}
    whole = {"reinforce", "grpo", "ppo"}
    assert {trainer for _, trainer in trained} == whole
    rewards = {reward for reward, _ in trained}
    assert sum({(reward, trainer) for trainer in whole} <= trained for reward in rewards) == 2
    assert len(rewards) >= 5  # enough to ask whether agreement predicts gains
    assert plan.seeds == (1, 2, 3)


def test_best_of_n_goes_to_256_for_each_reward(data_dir):
    plan = planned(given("best-of-n"), data_dir)
    pools = {e.reward for e in plan.entries.values() if e.trainer_options.get("n") == 256}
    assert pools == {e.reward for e in plan.entries.values() if e.reward}


def test_headlines_hold_every_number_of_the_tables_that_the_page_leaves_out(make):
    from rmbench.report.optimise_tables import AGGREGATES

    assert make.page.LEFT_OUT == ("Seed by seed", "Every reward over seeds")
    assert set(AGGREGATES) <= set(make.TOLD)
