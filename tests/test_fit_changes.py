"""A fit is known by all that it depends on, and what is damaged or misspelt beside it is said."""

import json

import pytest
from fakes import distribution, jsonl, rmbench, rows
from fit_plugin import CODE

CARD = """name = "cats"
version = 1
kind = "qa"
[data]
test = "test/rows.jsonl"
train = "train/rows.jsonl"
dev = "dev/rows.jsonl"
[human]
aspects = ["quality", "other"]
main = "quality"
good = 3.0
"""


@pytest.fixture
def home(tmp_path):
    (tmp_path / "plugins").mkdir()
    distribution(tmp_path / "plugins", "sloping", CODE)
    for part, some in (("train", rows(9)), ("dev", rows(3)), ("test", rows(4))):
        (tmp_path / "cats" / part).mkdir(parents=True)
        jsonl(tmp_path / "cats" / part / "rows.jsonl", some)
    (tmp_path / "cats" / "task.toml").write_text(CARD, encoding="utf-8")
    text = 'name = "s"\ntasks = ["news-mini"]\n[[reward_model]]\nname = "rm"\nuse = "slope"\ntask = "cats"\n'
    (tmp_path / "s.toml").write_text(text, encoding="utf-8")
    return tmp_path


def fit(home, *words):
    return rmbench("fit", "s.toml", "--out", "run", *words, path=home / "plugins", cwd=home)


def test_train_and_dev_of_one_file_name_both_count(home):
    assert fit(home).returncode == 0
    recipe = json.loads((home / "run" / "training" / "rm" / "config.json").read_bytes())["rmbench"]
    assert recipe["sha256"].keys() == {"train/rows.jsonl", "dev/rows.jsonl"}
    jsonl(home / "cats" / "train" / "rows.jsonl", rows(8))
    again = fit(home, "--resume")
    assert again.returncode == 5
    assert "belongs to another run; what differs: task news-mini (reward rm)" in again.stderr


@pytest.mark.parametrize("change", [("good = 3.0", "good = 2.0"), ('main = "quality"', 'main = "other"')])
def test_a_card_that_judges_otherwise_is_another_fit(home, change):
    every = rows(9)
    for row in every:
        for candidate in row["candidates"]:
            candidate["human"]["other"] = 6 - candidate["human"]["quality"]
            candidate.pop("raters", None)
    jsonl(home / "cats" / "train" / "rows.jsonl", every)
    assert fit(home).returncode == 0
    (home / "cats" / "task.toml").write_text(CARD.replace(*change), encoding="utf-8")
    again = fit(home, "--resume")
    assert again.returncode == 5
    assert "belongs to another run; what differs: task news-mini (reward rm)" in again.stderr


def test_a_damaged_note_of_a_fit_is_named(home):
    assert fit(home).returncode == 0
    (home / "run" / "training" / "rm" / ".done.json").write_text("{", encoding="utf-8")
    again = fit(home, "--resume")
    assert again.returncode == 5
    assert "training/rm/.done.json: is damaged" in again.stderr


def test_rewards_that_are_no_list_are_not_left_out_in_silence(home):
    text = (home / "s.toml").read_text(encoding="utf-8")
    (home / "s.toml").write_text(f'rewards = "rouge-l"\n{text}', encoding="utf-8")
    refused = fit(home)
    assert refused.returncode == 2
    assert 's.toml:1: rewards is "rouge-l", expected a list' in refused.stderr


@pytest.mark.parametrize(
    ("use", "options"),
    [
        ("mlp", "buckets = 16777216, hidden = [65536]"),
        ("lstm", "hidden = 200000, layers = 4"),
        ("transformer", "hidden = 65536, layers = 500"),
    ],
)
def test_more_memory_than_there_is_is_refused_before_anything_is_written(home, use, options):
    text = f'name = "s"\ntasks = ["news-mini"]\n[[reward_model]]\nname = "rm"\nuse = "{use}"\ntask = "cats"\n'
    (home / "s.toml").write_text(f"{text}options = {{ {options} }}\n", encoding="utf-8")
    refused = rmbench("fit", "s.toml", "--out", "run", cwd=home)
    assert refused.returncode == 2
    assert "[[reward_model]] rm" in refused.stderr
    assert "GB are free" in refused.stderr
    assert not (home / "run").exists()


def test_a_checkpoint_that_uses_a_reward_by_another_name_finds_it_or_says_which(home):
    text = 'name = "s"\ntasks = ["news-mini"]\nrewards = [{ use = "rouge-l", name = "rl" }]\n[[reward_model]]\nname = "rm"\n'
    (home / "s.toml").write_text(
        f'{text}use = "slope"\ntask = "cats"\noptions = {{ feature = "rl" }}\n', encoding="utf-8"
    )
    assert fit(home).returncode == 0
    words = ["score", "-r", "run/training/rm"]
    line = json.dumps({"prompt": "p", "response": "four", "references": ["four"]}) + "\n"
    scored = rmbench(*words, path=home / "plugins", cwd=home, stdin=line)
    assert json.loads(scored.stdout)["score"] == 5.0, scored.stderr
    path = home / "run" / "training" / "rm" / "config.json"
    config = json.loads(path.read_bytes())
    files = {"use": "embedding", "options": {"path": str(home)}}  # a checkpoint names no files of the user's
    module = {"use": "os:getcwd", "options": {}}
    for entries in ({}, {"rl": files}, {"rl": module}, {"rl": 3}):
        path.write_text(json.dumps({**config, "rmbench": {**config["rmbench"], "entries": entries}}), encoding="utf-8")
        refused = rmbench(*words, path=home / "plugins", cwd=home, stdin=line)
        assert refused.returncode == 2
    assert "run/training/rm: learnt from the scores of rl = rouge-l@" in refused.stderr
