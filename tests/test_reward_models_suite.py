"""The shipped suite reward-models names what there is."""

import tomllib

from rmbench.builtin import rmbench_rewards
from rmbench.models.ngram_options import NgramLm
from rmbench.suite import shipped


def test_the_suite_of_reward_models_names_what_there_is():
    suite = tomllib.loads(shipped()["reward-models"].read_text(encoding="utf-8"))
    fitted = {entry["name"]: entry for entry in suite["reward_model"]}
    known = {reward.name for reward in rmbench_rewards()} | fitted.keys()
    plain = [one for one in suite["rewards"] if isinstance(one, str)]
    (classic,) = [one for one in suite["rewards"] if not isinstance(one, str)]
    used = [*plain, *classic["options"]["weights"], *fitted["learnt"]["options"]["rewards"]]
    assert set(used) <= known
    assert fitted.keys() <= set(plain)
    assert NgramLm(**fitted["fluency"]["options"]).split == "train"
    assert {entry["task"] for entry in fitted.values()} == {"news-mini"}
