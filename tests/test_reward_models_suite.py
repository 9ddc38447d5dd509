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


def test_what_data_and_options_rule_out_is_said_together_before_anything_is_written(tmp_path):
    entries = {
        "big": ("transformer", "hidden = 65536, layers = 100"),
        "rare": ("ngram-lm", "min_count = 100000"),
        "wide": ("mlp", "buckets = 16777216, hidden = [4096]"),
        "long": ("lstm", "hidden = 65536, layers = 16"),
    }
    text = 'name = "bad"\ntasks = ["news-mini"]\n'
    for name, (use, options) in entries.items():
        text += f'[[reward_model]]\nname = "{name}"\nuse = "{use}"\ntask = "news-mini"\noptions = {{ {options} }}\n'
    (tmp_path / "bad.toml").write_text(text, encoding="utf-8")
    done = rmbench("run", tmp_path / "bad.toml", "--out", tmp_path / "out")
    assert done.returncode == 2, done.stderr
    for name in entries:
        assert f"[[reward_model]] {name}: " in done.stderr
    assert done.stderr.count("are free") == 3
    assert not (tmp_path / "out").exists()
