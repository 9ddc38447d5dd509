"""Plugins that break when they are imported, metrics and observers that misbehave: the run beside them loses nothing."""

import json
from pathlib import Path

import pytest
from fakes import distribution, jsonl, modules_of, reward_code, rmbench, rows

with modules_of(Path(__file__).parent / "bad_plugins", ("misbehaving",)) as loaded:
    TABLE = loaded.misbehaving
GROUPS = {"traces": (*TABLE.BROKEN, *TABLE.RUDE, *TABLE.OBSERVERS), "numbers": TABLE.METRICS}


def installed(folder, plugins):
    """Install distributions, and one more whose reward and numbers must not change."""
    for one in plugins:
        distribution(folder, one.name, one.source, version="1.2", entry=one.entry, requires=one.requires)
    return distribution(folder, "fair", reward_code("good"), version="1.2")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run the good reward once beside each group of plugins."""
    folder = tmp_path_factory.mktemp("plugins")
    task = jsonl(folder / "cats.jsonl", rows())
    found = {}

    def once(name, plugins):
        if name not in found:
            home = folder / name
            home.mkdir()
            installed(home, plugins)
            words = ("run", "--task", task, "--reward", "good", "--out", home / "run", "--timeout", 2)
            found[name] = rmbench(*words, path=home, cwd=home), home / "run"
        return found[name]

    return once


@pytest.fixture(scope="module")
def untouched(run):
    return of_good(run("none", ())[1])


def of_good(out):
    """Return rows and numbers of the good reward, but those that plugins' metrics give."""
    results = json.loads((out / "results.json").read_text())["results"]
    part = next(out.glob("scores/*/good/part-00000.parquet")).read_bytes()
    return part, [r for r in results if not r["metric"].startswith("metric-")]


@pytest.mark.parametrize("name", GROUPS)
def test_each_has_its_words_and_the_run_is_the_same(run, untouched, name):
    done, out = run(name, GROUPS[name])
    assert done.returncode == max(one.code for one in GROUPS[name]), done.stderr
    assert of_good(out) == untouched
    lines = done.stderr.splitlines()
    for one in GROUPS[name]:
        named = [line for line in lines if f"{one.name} 1.2)" in line]
        assert any(one.says in line for line in named) or not (one.says or named), (one.name, named)
    assert "Traceback" not in done.stderr
    assert "noise" not in done.stdout
    assert json.loads((out / "manifest.json").read_text())["status"] == "complete"


def test_a_broken_plugin_says_what_to_do_and_is_listed_with_its_reason(tmp_path):
    done = rmbench("list", "plugins", "--json", path=installed(tmp_path, TABLE.BROKEN))
    assert done.returncode == 0
    listed = {row["distribution"]: row["doc"] for row in json.loads(done.stdout)}
    for one in TABLE.BROKEN:
        assert listed[one.name].startswith("broken: ")
        assert one.says in listed[one.name]
        assert f"reinstall or remove {one.name}, or leave it out with RMBENCH_PLUGINS" in done.stderr
    assert listed["fair"] == "fair"


def test_naming_a_broken_plugin_is_exit_3_with_the_reason(tmp_path):
    installed(tmp_path, TABLE.BROKEN)
    done = rmbench("run", "--reward", "lacks-package", "--out", "run", path=tmp_path, cwd=tmp_path)
    assert done.returncode == 3
    error = done.stderr[done.stderr.index("rmbench: error") :]
    assert "reward 'lacks-package': plugin lacks-package (lacks-package 1.2) could not be loaded" in error
    assert "No module named 'no_such_package'" in error
    assert not (tmp_path / "run").exists()


def test_a_name_of_two_is_refused_and_another_plugin_is_not_imported_where_it_is_left_out(tmp_path):
    installed(tmp_path, TABLE.RUDE)
    bare = rmbench("run", "--reward", "of-two", "--out", "run", path=tmp_path, cwd=tmp_path, RMBENCH_PLUGINS="shared")
    assert bare.returncode == 3
    assert "first-of-two:of-two or second-of-two:of-two" in bare.stderr
    assert "changes-at-import" not in bare.stderr


def test_a_metric_that_fails_has_no_number_but_its_reason(run):
    _, out = run("numbers", TABLE.METRICS)
    results = json.loads((out / "results.json").read_text())["results"]
    for one in TABLE.METRICS:
        own = [r for r in results if r["metric"] == one.name]
        assert own
        if one.name != "metric-writes":
            assert all(r["value"] is None and r["ci"] is None and r["reason"] for r in own)
        if one.says:
            assert all(one.says in r["reason"] for r in own)
    own = [r for r in results if (r["metric"], r["reward"], r["subset"]) == ("metric-writes", "good", None)]
    assert {r["level"]: r["value"] for r in own} == {"sample": 0.75, "pooled": 4.5, "system": 0.75}


def test_an_observer_sees_the_finished_run_and_prints_into_its_log(run):
    _, out = run("traces", GROUPS["traces"])
    results = len(json.loads((out / "results.json").read_text())["results"])
    log = out / "logs" / "observer-observer-prints-observer-prints.log"
    assert log.read_text() == f"noise complete {results}\n"


def test_a_slow_import_is_told_by_its_seconds(tmp_path):
    slow = [one for one in TABLE.RUDE if one.name == "slow-import"]
    done = rmbench("list", "plugins", "--json", path=installed(tmp_path, slow))
    seconds = {row["distribution"]: row["seconds"] for row in json.loads(done.stdout)}
    assert seconds["slow-import"] > 0.9 > seconds["fair"]
