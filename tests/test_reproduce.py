"""``rmbench reproduce``: a run comes out again, or what differs and what has changed is said."""

import json
import os
import shutil

import pytest
from damaged_run import copy, replace, scoring_here, small_run, small_suite
from fakes import distribution, jsonl, rows
from fit_plugin import CODE
from policy_plugin import CODE as LADDER
from test_fit_changes import CARD

import rmbench
from rmbench import InputError, RunFolderError
from rmbench.cli.main import invoke
from rmbench.differences import differences
from rmbench.reproduce import changes, original
from rmbench.results import from_json
from rmbench.runs import Run
from rmbench.store import RunFolder
from rmbench.verify import verify

FITTED = """name = "fits"
tasks = ["cats"]
rewards = ["length"]
[[reward_model]]
name = "rm"
use = "slope"
task = "cats"
[[policy]]
name = "base"
use = "ladder"
task = "cats"
[[train]]
name = "up"
trainer = "climb"
policy = "base"
reward = "length"
judges = ["rm"]
"""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Run a suite with a fit and a training, and score in this process until the last test of the module."""
    home = tmp_path_factory.mktemp("reproduce")
    (home / "plugins").mkdir()
    distribution(home / "plugins", "sloping", CODE)
    distribution(home / "plugins", "laddered", LADDER)
    for part, some in (("train", rows(9)), ("dev", rows(3)), ("test", rows(4))):
        (home / "cats" / part).mkdir(parents=True)
        jsonl(home / "cats" / part / "rows.jsonl", some)
    (home / "cats" / "task.toml").write_text(CARD, encoding="utf-8")
    (home / "s.toml").write_text(FITTED, encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch, scoring_here():
        patch.syspath_prepend(str(home / "plugins"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(home / "plugins"), os.environ.get("PYTHONPATH", "")]))
        rmbench.run(home / "s.toml", out=home / "run")
        yield home


def test_a_run_with_a_fit_and_a_training_comes_out_again_elsewhere(fitted, monkeypatch, capsys):
    monkeypatch.chdir(fitted)
    assert invoke(["reproduce", "run"]) == 0
    (second,) = (fitted / "runs").iterdir()
    assert second.name.startswith("fits-reproduced-")
    count = len(Run(fitted / "run").rows)
    assert capsys.readouterr().out == f"run: all {count} results came out again, to the byte, in {second}\n"
    assert {path.name for path in (second / "training").iterdir()} == {"rm", "base", "up"}
    found = verify(second)
    assert (found.damages, found.checkpoints) == ([], 3)


def test_a_reward_that_changed_is_named_with_what_it_changed(tmp_path, monkeypatch, capsys):
    small_suite(tmp_path)
    replace(tmp_path / "suite.toml", '"length"', '"reward.py:mine"')
    (tmp_path / "reward.py").write_text("def mine(batch):\n    return [1.0] * len(batch)\n", encoding="utf-8")
    monkeypatch.chdir(tmp_path)
    with scoring_here():
        rmbench.run("suite.toml", out="run")
        replace(tmp_path / "reward.py", "1.0", "0.5")
        assert invoke(["reproduce", "run", "--out", "other", "--json"]) == 1
        found = json.loads(capsys.readouterr().out)
        assert invoke(["reproduce", "run", "--out", "third"]) == 1
    assert not found["equal"]
    means = (
        one for one in found["differences"] if (one["place"]["reward"], one["place"]["metric"]) == ("mine", "mean")
    )
    assert next(means)["changed"]["value"] == [1.0, 0.5]
    (change,) = [change for change in found["changes"] if change.startswith("reward mine: ")]
    told = capsys.readouterr()
    assert f"changed: {change}" in told.err
    assert "reward mine, system half, level system: value 1.0 before, 0.5 again" in told.out
    assert "results differ; the new run is" in told.out


def test_a_checkpoint_that_changed_is_found_and_resume_says_what_to_do(fitted, tmp_path, capsys):
    run = copy(fitted / "run", tmp_path)
    assert verify(run).checkpoints == 3
    (run / "training" / "rm" / "weights.txt").write_text("other", encoding="utf-8")
    (damage,) = verify(run).damages
    assert (damage.file, damage.what) == ("training/rm", "was changed since it was fitted or trained")
    assert invoke(["run", "--resume", "--out", str(run)]) == 5
    assert "move the folder away and it is fitted again" in capsys.readouterr().err
    shutil.rmtree(run / "training" / "rm")
    assert (verify(run).finished, verify(run).damages) == (False, [])
    assert invoke(["run", "--resume", "--out", str(run)]) == 0
    assert verify(run).damages == []
    assert (run / "results.json").read_bytes() == (fitted / "run" / "results.json").read_bytes()
    shutil.rmtree(run / "training" / "rm")
    assert ".done.json" in verify(run).damages[0].what


@pytest.mark.parametrize(
    ("part", "what"), [("test", "task cats: rows.jsonl"), ("train", "reward model rm: train/rows.jsonl")]
)
def test_data_that_changed_is_named_and_nothing_is_run(fitted, tmp_path, capsys, part, what):
    home = shutil.copytree(fitted, tmp_path / "home")
    text = (home / "run" / "manifest.json").read_text(encoding="utf-8")
    (home / "run" / "manifest.json").write_text(text.replace(str(fitted), str(home)), encoding="utf-8")
    replace(home / "cats" / part / "rows.jsonl", "sat", "lay")
    assert invoke(["reproduce", str(home / "run"), "--out", str(home / "other")]) == 2
    assert f"{what} has the sha256" in capsys.readouterr().err
    assert not (home / "other").exists()


def test_what_cannot_be_made_again_is_said(tmp_path):
    run = copy(small_run(), tmp_path)
    folder = RunFolder(run)
    folder.write_manifest({**folder.manifest(), "status": "interrupted"})
    with pytest.raises(RunFolderError, match="unfinished"):
        original(Run(run))
    suite = {"rewards": [{"use": "<python object mine>"}]}
    folder.write_manifest({**folder.manifest(), "status": "complete", "suite": suite})
    with pytest.raises(InputError, match="object of a Python program"):
        original(Run(run))
    assert invoke(["reproduce", str(tmp_path)]) == 2


def test_changes_between_manifests():
    first = {"versions": {"torch": "1", "numpy": "2"}, "device": "cpu", "identity": {"seeds": [1]}, "failures": {}}
    second = {
        "versions": {"torch": "2", "numpy": "2"},
        "device": "cuda",
        "identity": {"seeds": [1]},
        "failures": {"x": "no"},
    }
    assert list(changes(first, first)) == []
    assert list(changes(first, second)) == [
        "device: cpu before, cuda again", "torch: 1 before, 2 again", "x: could be used before, no again"
    ]  # fmt: skip


def test_differences_of_results():
    results = from_json((small_run() / "results.json").read_bytes())[1]
    assert differences(results, results) == []
    found = differences(results, results[1:])
    assert [one.only for one in found] == ["first"]
    assert "only before" in found[0].words("before", "again")
    assert [one.only for one in differences(results[:-1], results)] == ["second"]
