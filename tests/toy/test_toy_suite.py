"""The shipped suite toy trains a table with every trainer there is."""

import tomllib

from rmbench.builtin import rmbench_policies, rmbench_rewards, rmbench_trainers
from rmbench.suite import shipped


def test_the_suite_names_what_there_is_and_every_trainer():
    suite = tomllib.loads(shipped()["toy"].read_text(encoding="utf-8"))
    trainers = {trainer.name: trainer for trainer in rmbench_trainers()}
    assert set(suite["rewards"]) <= {reward.name for reward in rmbench_rewards()}
    assert suite["policy"][0]["use"] in {policy.name for policy in rmbench_policies()}
    used = [entry for entry in (*suite["policy"], *suite["train"]) if "trainer" in entry]
    assert {entry["trainer"] for entry in used} == trainers.keys()
    for entry in used:
        trainers[entry["trainer"]].options(**entry["trainer_options"])
    baselines = {entry["trainer_options"]["baseline"] for entry in used if entry["trainer"] == "reinforce"}
    assert baselines == {"none", "moving-average", "greedy", "leave-one-out"}
