"""Reward models of a suite, end to end on the command line, with a plugin that needs no torch."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fakes import distribution, jsonl, rmbench, rows
from fit_plugin import CODE

from rmbench import InputError, load_fitted
from rmbench import run as run_suite

CARD = """name = "cats"
version = 1
kind = "qa"
[data]
test = "test.jsonl"
train = "train.jsonl"
[human]
aspects = ["quality"]
main = "quality"
good = 3.0
"""


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    (folder / "plugins").mkdir()
    distribution(folder / "plugins", "sloping", CODE)
    (folder / "cats").mkdir()
    (folder / "cats" / "task.toml").write_text(CARD, encoding="utf-8")
    every = rows(20)
    jsonl(folder / "cats" / "train.jsonl", every[:12])
    jsonl(folder / "cats" / "test.jsonl", every[12:])
    return folder


def suite(home, name="s.toml", rewards='"rouge-1"', **options):
    text = f'name = "s"\ntasks = ["cats"]\nrewards = [{rewards}]\n[[reward_model]]\nname = "rm"\nuse = "slope"\ntask = "cats"\n'
    given = ", ".join(f"{key} = {json.dumps(value)}" for key, value in options.items())
    (home / name).write_text(text + f"options = {{ {given} }}\n", encoding="utf-8")
    return home / name


def run(home, *words, **environment):
    return rmbench(*words, path=home / "plugins", cwd=home, **environment)


@pytest.fixture(scope="module")
def done(home):
    result = run(home, "run", suite(home), "--out", "one")
    assert result.returncode == 0, result.stderr
    return home / "one"


def test_a_reward_model_is_fitted_and_is_a_reward_of_the_suite(done):
    numbers = json.loads((done / "results.json").read_bytes())["results"]
    mine = [n for n in numbers if n["reward"] == "rm" and n["metric"] == "pairwise-accuracy" and n["subset"] is None]
    assert mine[0]["value"] > 0.5
    assert mine[0]["signature"].startswith("slope@1|loss:bradley-terry|task:cats@1#")
    assert mine[0]["signature"].count("seed:") == 1
    config = json.loads((done / "training" / "rm" / "config.json").read_bytes())
    assert config["sign"] == 1.0
    assert config["rmbench"]["reward_model"] == "slope"
    assert config["rmbench"]["sha256"].keys() == {"train.jsonl"}


def test_a_fit_reads_train_and_a_tenth_of_it_as_dev_and_never_test(done):
    config = json.loads((done / "training" / "rm" / "config.json").read_bytes())
    assert len(config["dev"]) == 1
    assert {*config["samples"], *config["dev"]} == {f"row-{i}" for i in range(12)}
    assert not set(config["samples"]) & set(config["dev"])


def test_the_same_suite_gives_the_same_bytes_and_leaves_no_time_in_the_checkpoint(home, done):
    again = run(home, "run", suite(home), "--out", "two")
    assert again.returncode == 0
    assert (home / "two" / "results.json").read_bytes() == (done / "results.json").read_bytes()
    for name in ("config.json", "card.md"):
        one, two = ((run_ / "training" / "rm" / name).read_bytes() for run_ in (home / "two", done))
        assert one == two


def test_resume_fits_nothing_again(home, done):
    starts = (done / "training" / "rm" / ".starts").read_text()
    result = run(home, "run", "--resume", "--out", "one")
    assert result.returncode == 0, result.stderr
    assert (done / "training" / "rm" / ".starts").read_text() == starts


def test_a_changed_checkpoint_is_named(home):
    assert run(home, "fit", suite(home), "--out", "changed").returncode == 0
    path = home / "changed" / "training" / "rm" / "config.json"
    path.write_bytes(path.read_bytes().replace(b'"sign": 1.0', b'"sign": 2.0'))
    result = run(home, "run", "--resume", "--out", "changed")
    assert result.returncode == 5
    assert "was changed since it was fitted" in result.stderr
    assert "training/rm" in result.stderr


def test_fit_alone_prints_the_folder_and_run_goes_on_from_there(home):
    result = run(home, "fit", suite(home), "--out", "alone", "-o", "rm.scale=3")
    assert result.returncode == 0, result.stderr
    assert result.stdout.strip().endswith("alone/training/rm")
    assert "fitted rm: loss 0.333, dev accuracy 0.500 after 3 steps" in result.stderr
    assert not (home / "alone" / "results.json").exists()
    assert json.loads((home / "alone" / "training" / "rm" / "config.json").read_bytes())["sign"] == 3.0
    result = run(home, "run", "--resume", "--out", "alone")
    assert result.returncode == 0, result.stderr
    assert (home / "alone" / "results.json").exists()


def test_a_folder_of_a_fit_is_a_reward_anywhere(home, done):
    line = json.dumps({"id": "a", "prompt": "p", "response": "four"}) + "\n"
    for words in (["-r", "one/training/rm"], ["-r", "fitted", "-o", "fitted.path=one/training/rm"]):
        result = rmbench("score", *words, path=home / "plugins", cwd=home, stdin=line)
        assert result.returncode == 0, result.stderr
        assert json.loads(result.stdout)["score"] == 4.0
    result = run(home, "run", "--task", "cats", "--reward", "one/training/rm", "--out", "elsewhere")
    assert result.returncode == 0, result.stderr
    numbers = json.loads((home / "elsewhere" / "results.json").read_bytes())["results"]
    mine = next(n for n in numbers if n["reward"] == "rm")
    assert "path:rm#" in mine["signature"]
    assert "model:slope@1|loss:bradley-terry|task:cats@1#" in mine["signature"]


def test_show_prints_the_card_without_its_control_characters(home, done):
    result = run(home, "show", "one/training/rm")
    assert result.returncode == 0, result.stderr
    assert "# a card" in result.stdout
    assert "\x1b" not in result.stdout
    told = json.loads(run(home, "show", "one/training/rm", "--json").stdout)
    assert told["reward_model"] == "slope"


def test_list_tells_options_and_losses(home):
    rows_ = json.loads(run(home, "list", "reward-models", "--json").stdout)
    mine = next(row for row in rows_ if row["name"] == "slope")
    assert mine["losses"] == ["bradley-terry", "squared"]
    assert {"name": "scale", "type": "float", "default": 1.0, "required": False} in mine["options"]
    assert "scale  float, default 1.0" in run(home, "show", "slope").stdout


def test_scores_of_other_rewards_reach_fit_and_scorer(home):
    result = run(home, "run", suite(home, "feature.toml", feature="rouge-1"), "--out", "feature")
    assert result.returncode == 0, result.stderr
    config = json.loads((home / "feature" / "training" / "rm" / "config.json").read_bytes())
    assert 0.3 < config["mean"] < 0.9
    assert config["rmbench"]["uses"] == {"rouge-1": "rouge-1@1"}
    line = json.dumps({"id": "a", "prompt": "p", "response": "four", "references": ["four"]}) + "\n"
    scored = rmbench("score", "-r", "feature/training/rm", path=home / "plugins", cwd=home, stdin=line)
    assert json.loads(scored.stdout)["score"] == 5.0
    named = suite(
        home, "named.toml", rewards='{ use = "rouge-1", name = "r1", options = { part = "recall" } }', feature="r1"
    )
    assert run(home, "fit", named, "--out", "named-feature").returncode == 0
    scored = rmbench("score", "-r", "named-feature/training/rm", path=home / "plugins", cwd=home, stdin=line)
    assert json.loads(scored.stdout)["score"] == 5.0, scored.stderr
    other = home / "other.toml"
    use = '{ use = "rouge-1", options = { stemmer = true } }, "feature/training/rm"'
    other.write_text(f'name = "o"\ntasks = ["cats"]\nrewards = [{use}]\n', encoding="utf-8")
    refused = run(home, "run", other, "--out", "refused")
    assert refused.returncode == 2
    assert "was fitted on the scores of rouge-1 = rouge-1@1; here rouge-1 = rouge-1@1|stemmer:yes" in refused.stderr


def test_a_model_that_learns_from_another_finds_it_beside_itself(home):
    path = suite(home, "two.toml")
    second = (
        '[[reward_model]]\nname = "second"\nuse = "slope"\ntask = "cats"\noptions = { feature = "rm", scale = 2.0 }\n'
    )
    path.write_text(path.read_text() + second, encoding="utf-8")
    result = run(home, "fit", path, "--out", "two-models")
    assert result.returncode == 0, result.stderr
    line = json.dumps({"id": "a", "prompt": "p", "response": "four"}) + "\n"
    scored = rmbench("score", "-r", "two-models/training/second", path=home / "plugins", cwd=home, stdin=line)
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["score"] == 2.0 * 4 + 4


def test_a_file_of_preferences_is_fitted_on_as_it_is(home):
    pairs = [{"prompt": f"p{i}", "chosen": "a longer answer", "rejected": f"no {i}"} for i in range(12)]
    jsonl(home / "prefs.jsonl", pairs)
    path = suite(home, "prefs.toml")
    path.write_text(path.read_text().replace('task = "cats"', 'task = "prefs.jsonl"'), encoding="utf-8")
    result = run(home, "fit", path, "--out", "prefs")
    assert result.returncode == 0, result.stderr
    config = json.loads((home / "prefs" / "training" / "rm" / "config.json").read_bytes())
    assert config["pairs"] == 11
    assert config["rmbench"]["task"].startswith("prefs@1#")


def test_where_length_alone_does_as_well_it_is_said(home, done):
    manifest = json.loads((done / "manifest.json").read_bytes())
    told = [warning for warning in manifest["warnings"] if "looks at the length alone does as well" in warning]
    assert len(told) == 1
    assert told[0].startswith("reward model rm: ")
    assert "Fitted reward models" in (done / "report" / "report.md").read_text(encoding="utf-8")


def test_names_that_are_no_rewards_are_answered(home):
    for words, told in (
        (["--reward", "slope"], "'slope' is a reward model"),
        (["--reward", "runs/nope"], "no folder 'runs/nope'"),
    ):
        result = run(home, "run", "--task", "cats", *words, "--out", "named")
        assert result.returncode == 2
        assert told in result.stderr


def test_a_fit_that_fails_costs_the_others_nothing(home, done):
    rewards = '"rouge-1", { use = "composite", name = "mix", options = { weights = { rm = 1.0, rouge-1 = 1.0 } } }'
    for way, told in (
        ("raise", "RuntimeError: no luck"),
        ("refuse", "the moon is wrong (wait)"),
        ("exit", "exited with 7"),
    ):
        result = run(home, "run", suite(home, f"{way}.toml", rewards, way=way), "--out", way)
        assert result.returncode == 3, result.stderr
        assert told in result.stderr
        assert "it uses rm, which could not be used" in result.stderr
        numbers = json.loads((home / way / "results.json").read_bytes())["results"]
        kept = [n for n in numbers if n["reward"] == "rouge-1" and n["against"] is None and n["metric"] == "kendall"]
        assert kept
        assert not (home / way / "training" / "rm" / ".done.json").exists()


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_an_interrupted_fit_goes_on_from_its_state(home, number):
    name = f"stopped-{number.name.lower()}"
    words = ["fit", suite(home, f"{name}.toml", steps=12, wait=0.1), "--out", name]
    env = {**os.environ, "PYTHONPATH": str(home / "plugins")}
    child = subprocess.Popen(
        [sys.executable, "-m", "rmbench.cli.main", *map(str, words)],
        cwd=home,
        env=env,
        stderr=subprocess.PIPE,
        text=True,
    )
    state = home / name / "training" / "rm" / ".state.json"
    deadline = time.monotonic() + 60
    while not (state.exists() and json.loads(state.read_text() or '{"step": 0}')["step"] >= 2):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    child.send_signal(number)
    told = child.communicate(timeout=60)[1]
    if number != signal.SIGKILL:
        assert child.returncode == 128 + number
        assert f"rmbench fit --resume --out {home / name}" in told
    result = run(home, "fit", "--resume", "--out", name)
    assert result.returncode == 0, result.stderr
    first, second = map(int, (home / name / "training" / "rm" / ".starts").read_text().split())
    assert first == 0
    assert second >= 2


@pytest.mark.parametrize(
    ("table", "told"),
    [
        ('use = "slope"\ntask = "cats"', "has no name"),
        ('name = "rm"\nuse = "slop"\ntask = "cats"', "did you mean slope"),
        ('name = "rm"\nuse = "slope"\ntask = "dogs"', "no task or file 'dogs'"),
        ('name = "rm"\nuse = "slope"\ntask = "chat-mini"', "no train split"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\nloss = "hinge"', "no loss 'hinge'"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\nlos = "hinge"', "did you mean loss"),
        ('name = "RM"\nuse = "slope"\ntask = "cats"', "does not match"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\noptions = { stepz = 1 }', "did you mean steps"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\noptions = { steps = 0 }', "steps is 0, expected at least 1"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\noptions = { steps = true }', "expected int"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\noptions = { lexicon = "none.txt" }', "cannot read"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\noptions = { feature = "human" }', "an oracle"),
        ('name = "rm"\nuse = "slope"\ntask = "cats"\noptions = { feature = "rm" }', "in a circle"),
        ('name = "rouge-1"\nuse = "slope"\ntask = "cats"', "two rewards are called 'rouge-1'"),
        ('name = "rm"\nuse = "slope"\ntask = "tied"', "all ratings of a sample are equal"),
        (
            'name = "rm"\nuse = "slope"\ntask = "stated"\nloss = "squared"',
            "needs ratings; the train split has preferences",
        ),
    ],
)
def test_a_wrong_reward_model_is_refused_before_anything_is_written(home, table, told, monkeypatch):
    for name, made in (("tied", tied), ("stated", stated)):
        (home / name).mkdir(exist_ok=True)
        (home / name / "task.toml").write_text(
            CARD.replace('"cats"', f'"{name}"').replace(
                '[human]\naspects = ["quality"]\nmain = "quality"\ngood = 3.0\n',
                "" if name == "stated" else '[human]\naspects = ["quality"]\nmain = "quality"\n',
            ),
            encoding="utf-8",
        )
        jsonl(home / name / "train.jsonl", made())
        jsonl(home / name / "test.jsonl", made())
    path = home / "wrong.toml"
    rewards = '{ use = "length", name = "rouge-1" }' if "rouge-1" in table else '"length"'
    path.write_text(
        f'name = "w"\ntasks = ["cats"]\nrewards = [{rewards}]\n[[reward_model]]\n{table}\n', encoding="utf-8"
    )
    monkeypatch.delenv("RMBENCH_DATA", raising=False)
    monkeypatch.syspath_prepend(str(home / "plugins"))
    with pytest.raises(InputError) as refused:
        run_suite(str(path), out=home / "wrong")
    assert told in str(refused.value)
    assert not (home / "wrong").exists()


def tied():
    made = rows(4)
    for row in made:
        for candidate in row["candidates"]:
            candidate["human"] = {"quality": 2.0}
            candidate["raters"] = {"quality": [2, 2]}
    return made


def stated():
    made = rows(4)
    for row in made:
        row["preferences"] = [{"better": 0, "worse": 1}]
        for candidate in row["candidates"]:
            del candidate["human"], candidate["raters"]
    return made


def test_prompts_that_are_fitted_on_and_measured_on_are_a_warning(home):
    (home / "same").mkdir()
    (home / "same" / "task.toml").write_text(CARD.replace('"cats"', '"same"'), encoding="utf-8")
    jsonl(home / "same" / "train.jsonl", rows(6))
    jsonl(home / "same" / "test.jsonl", rows(4))
    path = suite(home, "same.toml")
    path.write_text(path.read_text().replace('"cats"', '"same"'))
    result = run(home, "run", path, "--out", "same-run")
    assert result.returncode == 0, result.stderr
    assert "4 of 4 test prompts of same are among those it is fitted on" in result.stderr


def test_what_is_no_checkpoint_is_said(home, done, tmp_path, monkeypatch):
    with pytest.raises(InputError, match="no such folder"):
        load_fitted(tmp_path / "none")
    with pytest.raises(InputError, match=r"holds no config.json"):
        load_fitted(tmp_path)
    (tmp_path / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(InputError, match="is no checkpoint of rmbench"):
        load_fitted(tmp_path)
    sound = json.loads((done / "training" / "rm" / "config.json").read_bytes())["rmbench"]
    for change, told in (
        ({"version": 2}, "slope@2"),
        ({"seed": "x"}, "seed is 'x', expected int"),
        ({"uses": {"../x": "y"}}, "no reward"),
    ):
        (tmp_path / "config.json").write_text(json.dumps({"rmbench": {**sound, **change}}))
        monkeypatch.syspath_prepend(str(home / "plugins"))
        with pytest.raises(InputError, match=told):
            load_fitted(tmp_path)
    result = run(home, "score", "-r", str(tmp_path / "none" / "x"))
    assert result.returncode == 2
