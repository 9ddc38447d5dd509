"""The shipped suite reward-models names what there is."""

import json
import tomllib

import pytest
from fakes import rmbench

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


@pytest.fixture(scope="module")
def ran(tmp_path_factory):
    out = tmp_path_factory.mktemp("suite") / "out"
    done = rmbench("run", "reward-models", "--out", out)
    assert done.returncode == 0, done.stderr
    return out


def test_the_suite_fits_scores_and_reports(ran):
    numbers = json.loads((ran / "results.json").read_bytes())["results"]
    found = {
        n["reward"]: n["value"] for n in numbers
        if n["metric"] == "pairwise-accuracy" and n["against"] is None and n["subset"] is None and n["aspect"] == "grade"
    }  # fmt: skip
    assert {"fluency", "learnt", "words", "classic", "rouge-l"} <= found.keys()
    assert found["words"] > max(found["longest"], found["shortest"])
    report = (ran / "report" / "report.md").read_text(encoding="utf-8")
    assert "Fitted reward models" in report
    assert "Calibration" in report


def test_a_checkpoint_that_uses_another_scores_a_file(ran, tmp_path):
    row = {
        "id": "a",
        "prompt": "Summarise.",
        "context": "It rained.",
        "response": "Rain fell.",
        "references": ["It rained."],
    }
    (tmp_path / "rows.jsonl").write_text(json.dumps(row) + "\n", encoding="utf-8")
    done = rmbench("score", "-r", ran / "training" / "learnt", tmp_path / "rows.jsonl")
    assert done.returncode == 0, done.stderr
    scored = json.loads(done.stdout)
    assert isinstance(scored["score"], float)
    assert {"rouge-l", "fluency", "diversity"} <= {name.rpartition(".")[2] for name in scored["parts"]}


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
