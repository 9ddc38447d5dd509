"""``rmbench reproduce``: a run comes out again, or what differs and what has changed is said."""

import json
import shutil

import pytest
from damaged_run import copy, replace, small_run
from fakes import distribution, jsonl, reward_code, rmbench, rows
from fit_plugin import CODE
from test_fit_changes import CARD

from rmbench import InputError, RunFolderError
from rmbench.differences import differences
from rmbench.reproduce import changes, original
from rmbench.results import from_json
from rmbench.runs import Run
from rmbench.store import RunFolder

FITTED = """name = "fits"
tasks = ["cats"]
rewards = ["mine"]
[[reward_model]]
name = "rm"
use = "slope"
task = "cats"
"""


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """Run a suite with a fit and a reward of a plugin."""
    home = tmp_path_factory.mktemp("reproduce")
    (home / "plugins").mkdir()
    distribution(home / "plugins", "sloping", CODE)
    distribution(home / "plugins", "mine", reward_code("mine"))
    for part, some in (("train", rows(9)), ("dev", rows(3)), ("test", rows(4))):
        (home / "cats" / part).mkdir(parents=True)
        jsonl(home / "cats" / part / "rows.jsonl", some)
    (home / "cats" / "task.toml").write_text(CARD, encoding="utf-8")
    (home / "s.toml").write_text(FITTED, encoding="utf-8")
    done = rmbench("run", "s.toml", "--out", "run", path=home / "plugins", cwd=home)
    assert done.returncode == 0, done.stderr
    return home


def again(home, *words):
    return rmbench("reproduce", "run", *words, path=home / "plugins", cwd=home)


def test_a_run_with_a_fit_comes_out_again_elsewhere(fitted):
    done = again(fitted)
    assert done.returncode == 0, done.stdout + done.stderr
    (second,) = (fitted / "runs").iterdir()
    assert second.name.startswith("fits-reproduced-")
    count = len(Run(fitted / "run").rows)
    assert done.stdout == f"run: all {count} results came out again, to the byte, in {second}\n"
    assert (second / "training" / "rm" / "config.json").is_file()
    assert rmbench("verify", second).returncode == 0


def test_a_plugin_that_changed_is_named_with_what_it_changed(fitted, tmp_path):
    home = shutil.copytree(fitted, tmp_path / "home")
    shutil.rmtree(home / "plugins" / "mine-1.0.dist-info")
    distribution(home / "plugins", "mine", reward_code("mine", "return [0.5] * len(batch)"), version="1.1")
    replace(home / "run" / "manifest.json", str(fitted), str(home))
    done = again(home, "--out", "other", "--json")
    assert done.returncode == 1, done.stderr
    found = json.loads(done.stdout)
    assert not found["equal"]
    mean = next(
        one for one in found["differences"] if one["place"]["reward"] == "mine" and one["place"]["metric"] == "mean"
    )
    assert mean["changed"]["value"] == [1.0, 0.5]
    assert any(change.startswith("reward mine: ") and "1.1" in change for change in found["changes"])


@pytest.mark.parametrize(
    ("part", "what"), [("test", "task cats: rows.jsonl"), ("train", "reward model rm: train/rows.jsonl")]
)
def test_data_that_changed_is_named_and_nothing_is_run(fitted, tmp_path, part, what):
    home = shutil.copytree(fitted, tmp_path / "home")
    text = (home / "run" / "manifest.json").read_text(encoding="utf-8")
    (home / "run" / "manifest.json").write_text(text.replace(str(fitted), str(home)), encoding="utf-8")
    replace(home / "cats" / part / "rows.jsonl", "sat", "lay")
    done = again(home, "--out", "other")
    assert done.returncode == 2, done.stdout + done.stderr
    assert f"{what} has the sha256" in done.stderr
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
    assert rmbench("reproduce", tmp_path).returncode == 2


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
