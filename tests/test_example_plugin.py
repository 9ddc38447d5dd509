"""plugins/rmbench-example as a stranger's package: installed beside rmbench, found by its entry point."""

import json
import subprocess
import sys
import tomllib

import pytest
from fakes import REPO, jsonl, rmbench, rows

from rmbench.testing import check_reward

EXAMPLE = REPO / "plugins" / "rmbench-example"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the package was built and installed, as pip does it."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(folder), str(EXAMPLE)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_is_listed_with_its_distribution_and_options(site):
    done = rmbench("list", "rewards", "--json", path=site)
    row = next(row for row in json.loads(done.stdout) if row["name"] == "brevity")
    assert (row["plugin"], row["distribution"], row["version"]) == ("example", "rmbench-example", 1)
    assert row["options"] == [{"name": "limit", "type": "int", "default": 50, "required": False}]


def test_it_scores_as_its_docstring_says(site):
    texts = ["", "word " * 25, "word " * 50, "word " * 80]
    lines = "".join(json.dumps({"prompt": "p", "response": text}) + "\n" for text in texts)
    done = rmbench("score", "-r", "brevity", path=site, stdin=lines)
    assert [json.loads(line)["score"] for line in done.stdout.splitlines()] == [1.0, 0.5, 0.0, 0.0]


def test_it_stands_in_a_run_with_its_provenance(site, tmp_path):
    optional = {"use": "brevity", "optional": True}
    assert optional in tomllib.loads((REPO / "tasks" / "suites" / "quickstart.toml").read_text())["rewards"]
    jsonl(tmp_path / "cats.jsonl", rows())
    suite = tmp_path / "suite.toml"
    suite.write_text('tasks = ["cats.jsonl"]\nrewards = ["length", { use = "brevity", optional = true }]\n')
    done = rmbench("run", suite, "--out", tmp_path / "run", path=site)
    assert done.returncode == 0, done.stderr
    assert "brevity" in done.stdout
    manifest = json.loads((tmp_path / "run" / "manifest.json").read_text())
    entry = next(r for r in manifest["resolved"]["rewards"] if r["name"] == "brevity")
    assert (entry["distribution"], entry["distribution_version"]) == ("rmbench-example", "0.1.0")


def test_it_conforms(site, monkeypatch):
    monkeypatch.syspath_prepend(str(site))
    from rmbench_example import rmbench_rewards

    for reward in rmbench_rewards():
        assert check_reward(reward) == []


def test_its_module_is_as_short_as_promised():
    lines = (EXAMPLE / "rmbench_example.py").read_text().splitlines()
    assert len([line for line in lines if line.strip() and not line.strip().startswith('"""')]) <= 14
