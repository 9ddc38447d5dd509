"""`rmbench tune`: ranges of a suite, searched on dev, interrupted, gone on with."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import tomllib
from pathlib import Path

import pytest
from fakes import distribution, jsonl, rmbench, rows
from tune_plugin import CODE

from rmbench import InputError, plugins, suite, tuning
from rmbench.cli.main import invoke
from rmbench.errors import InputErrors, RunFolderError
from rmbench.fragment import fragment
from rmbench.overrides import Overrides
from rmbench.ranges import Range
from rmbench.search_folder import Settings, open_folder
from rmbench.search_journal import open_study

CARD = """name = "cats"
version = 1
kind = "qa"
[data]
test = "test.jsonl"
train = "train.jsonl"
[human]
aspects = ["quality"]
main = "quality"
"""
RANGES = (
    'tune = { rate = { low = 1e-4, high = 1.0, log = true }, size = { low = 2, high = 8, step = 2 }, way = ["a", "b"] }'
)
MODEL = '[[reward_model]]\nname = "rm"\nuse = "peak"\ntask = "cats"\n'


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    """A task whose test split is no JSON: what reads it fails."""
    folder = tmp_path_factory.mktemp("tune")
    (folder / "plugins").mkdir()
    distribution(folder / "plugins", "peaks", CODE)
    (folder / "cats").mkdir()
    (folder / "cats" / "task.toml").write_text(CARD, encoding="utf-8")
    jsonl(folder / "cats" / "train.jsonl", rows(12))
    (folder / "cats" / "test.jsonl").write_text("the test split was read\n", encoding="utf-8")
    return folder


def written(home, name, *lines, tune="trials = 4\nstartup = 2"):
    text = f'name = "s"\ntasks = ["cats"]\nrewards = ["length"]\n[tune]\n{tune}\n'
    (home / name).write_text(text + MODEL + "\n".join(lines) + "\n", encoding="utf-8")
    return home / name


def run(home, *words):
    return rmbench(*words, path=home / "plugins", cwd=home)


def table(folder):
    return list(csv.DictReader((folder / "trials.csv").open(encoding="utf-8")))


@pytest.fixture(scope="module")
def done(home):
    path = written(home, "s.toml", RANGES, "options = { steps = 4, wait = 0.05 }")
    result = run(home, "tune", path, "--out", "one")
    assert result.returncode == 0, result.stderr
    return home / "one", result


def test_a_search_prints_the_best_options_as_a_fragment_of_the_suite(home, done):
    folder, result = done
    best = tomllib.loads(result.stdout[result.stdout.index("[[reward_model]]") :])["reward_model"][0]
    assert best == tomllib.loads((folder / "best.toml").read_text())["reward_model"][0]
    top = max(table(folder), key=lambda row: float(row["accuracy"] or 0) * (row["state"] == "complete"))
    assert best["options"]["rate"] == float(top["rate"])
    assert best["options"]["steps"] == 4
    assert best["name"] == "rm"
    assert "tune" not in best
    assert result.stdout.split()[:5] == ["trial", "accuracy", "rate", "size", "way"]
    assert "4 trials" in result.stderr


def test_the_first_trial_is_the_suite_as_it_stands(done):
    first = table(done[0])[0]
    assert (first["rate"], first["way"]) == ("0.1", "a")  # defaults; that of size lies outside its range
    assert float(first["accuracy"]) == pytest.approx(0.75)
    assert {row["size"] for row in table(done[0])} <= {"2", "4", "6", "8"}


def test_the_plot_shows_every_trial_and_runs_nothing(done):
    drawn = (done[0] / "search.svg").read_text()
    assert drawn.startswith("<svg")
    assert "<script" not in drawn
    for word in ("rate", "size", "way", "trial"):
        assert f">{word}<" in drawn


def test_only_the_best_trial_keeps_its_weights(done):
    folder = done[0]
    kept = [path.parts[-4] for path in sorted(folder.rglob("*.safetensors"))]
    best = tomllib.loads((folder / "best.toml").read_text())["reward_model"][0]["options"]["rate"]
    assert [table(folder)[int(place)]["rate"] for place in kept] == [repr(best)]
    assert (folder / "trials" / "0000" / "training" / "rm" / "card.md").exists()


def start(home, *words):
    env = {**os.environ, "PYTHONPATH": os.pathsep.join([str(home / "plugins"), os.environ.get("PYTHONPATH", "")])}
    command = [sys.executable, "-m", "rmbench.cli.main", *map(str, words)]
    return subprocess.Popen(command, cwd=home, env=env, stderr=subprocess.PIPE, text=True)


def wait_for(path, child):
    deadline = time.monotonic() + 60
    while not path.exists():
        assert time.monotonic() < deadline
        assert child.poll() is None
        time.sleep(0.02)


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_an_interrupted_search_goes_on_to_what_an_unbroken_one_finds(home, done, number):
    name = f"stopped-{number.name.lower()}"
    child = start(home, "tune", home / "s.toml", "--out", name)
    wait_for(home / name / "trials" / "0002" / "training" / "rm" / ".state.json", child)
    child.send_signal(number)
    told = child.communicate(timeout=60)[1]
    if number == signal.SIGINT:
        assert child.returncode == 130
        assert f"rmbench tune --resume --out {name}" in told
    with (home / name / ".search.jsonl").open("ab") as journal:
        journal.write(b'{"op_code": 5, "cut')  # as a kill in the middle of a line leaves it
    result = run(home, "tune", "--resume", "--out", name)
    assert result.returncode == 0, result.stderr
    for file in ("trials.csv", "best.toml", "search.svg"):
        assert (home / name / file).read_bytes() == (done[0] / file).read_bytes(), file
    starts = (home / name / "trials" / "0002" / "training" / "rm" / ".starts").read_text().split()
    assert starts[0] == "0"
    assert len(starts) == 2
    assert int(starts[1]) > 0


def test_more_trials_may_follow_and_another_search_may_not(home, done):
    copy = shutil.copytree(done[0], home / "more")
    result = run(home, "tune", "--resume", "--out", "more", "--trials", "5", "--json")
    assert result.returncode == 0, result.stderr
    found = json.loads(result.stdout)
    assert [one["trial"] for one in found["trials"]] == list(range(5))
    assert table(copy)[:4] == table(done[0])
    assert found["best"]["value"] == max(one["value"] for one in found["trials"] if one["state"] == "complete")
    other = written(home, "other.toml", RANGES.replace("1e-4", "1e-3"), "options = { steps = 4, wait = 0.05 }")
    refused = run(home, "tune", other, "--resume", "--out", "more")
    assert refused.returncode == 5
    assert "belongs to another search; what differs: ranges\n" in refused.stderr
    filled = run(home, "tune", home / "s.toml", "--out", "more")
    assert filled.returncode == 2
    assert "--resume to go on with it" in filled.stderr


def test_trials_that_are_worse_than_others_by_then_are_pruned(home):
    path = written(
        home, "pruned.toml", "tune = { rate = [0.01, 1e-9, 1e-8, 1e-7, 1e-6, 1e-5] }",
        "options = { rate = 0.01, way = 'b', wait = 0.02 }", tune="trials = 4\nstartup = 1",
    )  # fmt: skip
    result = run(home, "tune", path, "--out", "pruned")
    assert result.returncode == 0, result.stderr
    first, *others = table(home / "pruned")
    assert (first["state"], first["rate"], first["evaluations"]) == ("complete", "0.01", "4")
    worse = [row for row in others if float(row["rate"]) < 0.01]
    assert worse
    assert all((row["state"], row["evaluations"]) == ("pruned", "2") for row in worse)
    assert f"{len(worse)} pruned" in result.stderr


def test_trials_that_fail_are_counted_and_say_why(home):
    path = written(home, "failing.toml", "tune = { size = [1, 2] }", "options = { way = 'broken' }", tune="trials = 2")
    result = run(home, "tune", path, "--out", "failing")
    assert result.returncode == 3
    assert result.stdout == ""
    assert "2 trials: 2 failed (its fit raised RuntimeError: no luck with this)" in result.stderr
    assert {(row["state"], row["accuracy"]) for row in table(home / "failing")} == {("failed", "")}
    assert not (home / "failing" / "best.toml").exists()


def test_a_training_is_searched_by_what_its_judges_see_on_dev(home):
    text = """name = "t"
tasks = ["cats"]
rewards = ["length"]
[tune]
trials = 2
[[policy]]
name = "base"
use = "small"
task = "cats"
trainer = "begin"
trainer_options = { rate = 0.01 }
[[train]]
name = "up"
trainer = "climb"
policy = "base"
reward = "length"
judges = ["length"]
tune = { rate = { low = 1e-3, high = 1.0, log = true } }
tune_options = { max_tokens = [4, 64] }
"""
    (home / "train.toml").write_text(text, encoding="utf-8")
    result = run(home, "tune", home / "train.toml", "--out", "train")
    assert result.returncode == 0, result.stderr
    found = table(home / "train")
    assert (found[0]["rate"], found[0]["options.max_tokens"]) == ("0.1", "64")
    assert all(row["state"] == "complete" and row["evaluations"] == "4" for row in found)
    # the mean of both judges, as the plugin writes them: value + max_tokens, and value
    assert float(found[0]["judges"]) == pytest.approx(0.75 + 64 / 2)
    best = tomllib.loads((home / "train" / "best.toml").read_text())["train"][0]
    assert best["options"] == {"max_tokens": 64}
    assert best["trainer_options"].keys() == {"rate"}
    assert (home / "train" / "shared" / "training" / "base" / "seed-1" / ".done.json").exists()


@pytest.fixture
def read(home, monkeypatch):
    """Read a search whose entry has these lines."""
    monkeypatch.syspath_prepend(str(home / "plugins"))
    catalog = plugins.load()

    def call(*lines, tune=""):
        path = written(home, "bad.toml", *lines, tune=tune)
        return tuning.read(suite.read(path), catalog, base=home, where=path.name)

    return call


@pytest.mark.parametrize(
    ("ranges", "told"),
    [
        ("rat = [1.0]", "tune.rat: 'peak' has no option 'rat'"),
        ("rate = 0.1", "tune.rate is 0.1, expected { low, high } or a list of choices"),
        ("rate = []", "tune.rate has 0 choices"),
        ("rate = { low = 1.0 }", "tune.rate has no high"),
        ("rate = { low = 1.0, high = 2.0, lg = true }", "no key 'lg' (did you mean log?)"),
        ("rate = { low = 2.0, high = 1.0 }", "from low = 2.0 down to high = 1.0"),
        ("rate = { low = 0.0, high = 1.0, log = true }", "tune.rate.low is 0.0, expected above 0 where log is true"),
        ("rate = { low = 1.0, high = 2.0, step = 0 }", "tune.rate.step is 0, expected above 0"),
        ("rate = { low = 1.0, high = 2.0, step = 0.5, log = true }", "a step and log = true"),
        ("rate = { low = nan, high = 1.0 }", "tune.rate.low is NaN, expected a number"),
        ("rate = { low = true, high = 1.0 }", "tune.rate.low is true, expected a number"),
        ("rate = { low = 1.0, high = 2.0, log = 1 }", "tune.rate.log is 1, expected true or false"),
        ("size = { low = 1.5, high = 3 }", "tune.size.low is 1.5, expected int"),
        ("size = [1, true]", "tune.size[1] is true, expected int"),
        ("size = [2, 2]", "has the choice 2 twice"),
        ("size = [1, 1979-05-27]", "which no suite can hold"),
        ("size = { low = 0, high = 3 }", "tune.size holds 0, which is refused: size is 0, expected at least 1"),
        ("way = ['a', 'c'], size = [3, 4]", 'tune.way holds "c", which is refused: c goes with sizes to 2'),
    ],
)
def test_a_wrong_range_is_named(read, ranges, told):
    with pytest.raises(InputError) as refused:
        read(f"tune = {{ {ranges} }}")
    assert told in str(refused.value)


def test_all_problems_are_told_at_once(read):
    with pytest.raises(InputErrors) as refused:
        read(
            "tune = { rat = [1], size = { low = 3, high = 2 } }",
            tune='trials = 0\nmetric = "acuracy"\ndirection = "up"\npruner = "x"\nstartup = -1\nentri = "rm"',
        )
    told = str(refused.value)
    for words in ("'rat'", "down to high = 2", "trials is 0", "did you mean accuracy", '"up"', '"x"', "-1", "'entri'"):
        assert words in told
    assert len(refused.value.errors) == 8


@pytest.mark.parametrize(
    ("lines", "settings", "told"),
    [
        ((), "", "no entry has a `tune` table"),
        (("tune = {}",), "", "tune is {}, expected a table of ranges"),
        (("tune = 1",), "", "tune is 1, expected a table of ranges"),
        (("tune = { size = [1] }",), 'entry = "mr"', 'entry is "mr"'),
        (("tune = { size = [1] }", "tune_options = { size = [1] }"), "", "tune_options is for policies"),
        (("tune = { size = [1] }", MODEL.replace('"rm"', '"rn"') + "tune = { size = [1] }"), "", "rm, rn have `tune`"),
    ],
)
def test_what_is_no_search_is_refused(read, lines, settings, told):
    with pytest.raises(InputError, match=r"\w") as refused:
        read(*lines, tune=settings)
    assert told in str(refused.value)


def test_a_value_that_goes_with_some_of_the_others_stays_in_the_range(read):
    search = read("tune = { way = ['a', 'c'], size = [1, 4], names = [['x'], []] }")
    assert search.first == {"way": "a", "size": 1, "names": []}
    assert search.entry_with({"way": "c", "size": 4})["options"] == {"way": "c", "size": 4}


def test_a_folder_is_one_search_s_until_it_is_forced_to_be_another_s(read, tmp_path):
    search, out = read(RANGES), tmp_path / "out"
    open_folder(search, Settings(out), "as it was", out).close()
    with pytest.raises(InputError, match="--force to replace it"):
        open_folder(search, Settings(out), "as it was", out)
    with pytest.raises(RunFolderError, match="what differs: signature"):
        open_folder(search, Settings(out, resume=True), "changed", out)
    (out / "trials").mkdir()
    open_folder(search, Settings(out, resume=True), "as it was", out).close()
    assert (out / "trials").is_dir()
    open_folder(search, Settings(out, force=True), "changed", out).close()
    assert not (out / "trials").exists()
    (out / "search.json").write_text("{}")
    with pytest.raises(RunFolderError, match="is damaged"):
        open_folder(search, Settings(out, resume=True), "changed", out)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(InputError, match="holds no search"):
        open_folder(search, Settings(tmp_path / "mine", force=True), "changed", tmp_path / "mine")


def test_a_damaged_journal_is_named(read, tmp_path):
    search, path = read(RANGES), tmp_path / ".search.jsonl"
    open_study(path, search)
    path.write_bytes(b"no journal\n" + path.read_bytes())
    with pytest.raises(RunFolderError, match=r"search\.jsonl: is damaged"):
        open_study(path, search)


def test_a_run_takes_no_notice_of_ranges(home, read):
    read(RANGES)
    catalog = plugins.load()
    given = suite.read(home / "bad.toml")
    plan = suite.plan(given, catalog, Overrides(), base=home, where="bad.toml")
    assert next(one.recipe.options for one in plan.rewards if one.name == "rm") == {}


def test_wrong_ranges_end_with_2_before_anything_is_written(home, monkeypatch, capsys):
    path = written(home, "two.toml", "tune = { rat = [1], size = { low = 3, high = 2 } }")
    monkeypatch.syspath_prepend(str(home / "plugins"))
    monkeypatch.chdir(home)
    assert invoke(["tune", str(path), "--out", "never"]) == 2
    assert capsys.readouterr().err.count("rmbench: error: ") == 2
    assert not Path("never").exists()


def test_without_optuna_it_says_what_to_install(monkeypatch, capsys):
    monkeypatch.setitem(sys.modules, "optuna", None)
    assert invoke(["tune", "quickstart"]) == 2
    assert "needs Optuna, which is not installed\n  help: pip install 'rmbench[tune]'" in capsys.readouterr().err


def test_a_fragment_is_the_toml_of_its_values():
    entry = {
        "name": 'q"\\', "odd key": "\x7f\u2028\n", "options": {"a": [1, 2.5, True, []], "b.c": {"d": "é"}, "e": {}},
    }  # fmt: skip
    text = fragment("train", entry, comment="one\ntwo")
    assert tomllib.loads(text) == {"train": [entry]}
    assert text.startswith("# one\n# two\n[[train]]\n")


def test_a_range_holds_its_ends_and_the_steps_between():
    whole = Range("size", low=2, high=8, step=2)
    assert [value for value in range(10) if whole.holds(value)] == [2, 4, 6, 8]
    assert not whole.holds(True)
    assert not whole.holds(2.0)
    assert Range("rate", low=0.1, high=0.7, step=0.2).holds(0.3)
    assert not Range("rate", choices=(1, "a")).holds(1.0)
