"""One reward that misbehaves costs the others nothing; each way of misbehaving has its own outcome."""

import json
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import jsonl, rmbench, rows

REWARDS = Path(__file__).parent / "bad_plugins" / "rewards.py"
UNUSABLE = {
    "raises_always": "RuntimeError: always", "wrong_length": "17 values for 18 rows", "wrong_type": "str",
    "exits": "SystemExit", "exits_hard": "exited with 0", "hangs": "no answer within", "interrupts": "KeyboardInterrupt",
}  # fmt: skip
FAULTY = {
    "raises_on_one_row": "1 rows failed", "crashes_on_one_row": "1 rows failed", "hangs_on_one_row": "1 rows failed",
    "non_finite": "non-finite: nan", "depends_on_neighbours": "canary alone",
}  # fmt: skip
HARMLESS = {"prints": "printed to stdout", "changes_the_process": "LEFT_BEHIND", "leaves_a_child": ""}


def scores(out: Path, reward: str) -> list:
    folder = next((out / "scores").iterdir()) / reward
    return [row for part in sorted(folder.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run rewards, once: return what the command said, and the run's folder."""

    @cache
    def once(*names: str):
        folder = tmp_path_factory.mktemp("bad")
        task, out = jsonl(folder / "cats.jsonl", rows()), folder / "run"
        words = [word for name in names for word in ("--reward", f"{REWARDS}:{name}")]
        done = rmbench("run", "--task", task, *words, "--out", out, "--timeout", 3, cwd=folder)
        assert "Traceback" not in done.stderr
        return done, out

    return once


@pytest.fixture(scope="module")
def untouched(run):
    done, out = run("good")
    assert done.returncode == 0, done.stderr
    return next(out.glob("scores/*/good/part-00000.parquet")).read_bytes()


def good_stands(done, out, untouched):
    """Whatever stood beside it, the good reward has its rows and its numbers, and stdout has no noise."""
    assert "noise" not in done.stdout
    assert next(out.glob("scores/*/good/part-00000.parquet")).read_bytes() == untouched
    assert len([r for r in results_of(out, "good") if r["metric"] == "pairwise-accuracy"]) == 1


def results_of(out, reward):
    results = json.loads((out / "results.json").read_text())["results"]
    return [r for r in results if (r["reward"], r["study"], r["subset"], r["against"]) == (reward, "agree", None, None)]


def manifest_of(out):
    return json.loads((out / "manifest.json").read_text())


@pytest.mark.parametrize("names", [tuple(UNUSABLE), ("raises_always",)], ids=["together", "one"])
def test_a_reward_that_cannot_be_used_is_exit_3_with_nulls_for_its_numbers(run, untouched, names):
    done, out = run(*names, "good")
    assert done.returncode == 3, done.stderr
    good_stands(done, out, untouched)
    manifest = manifest_of(out)
    assert manifest["failures"].keys() == set(names)
    assert manifest["problems"] == []
    for name in names:
        assert UNUSABLE[name] in manifest["failures"][name]
        assert f"reward {name} could not be used: {manifest['failures'][name]}" in done.stderr
        assert results_of(out, name)
        assert all(r["value"] is None and r["reason"] for r in results_of(out, name))


@pytest.mark.parametrize("names", [tuple(FAULTY), ("raises_on_one_row",)], ids=["together", "one"])
def test_a_reward_that_fails_a_check_is_exit_1_with_its_problem(run, untouched, names):
    done, out = run(*names, "good")
    assert done.returncode == 1, done.stderr
    good_stands(done, out, untouched)
    manifest = manifest_of(out)
    assert manifest["failures"] == {}
    for name in names:
        problems = [problem for problem in manifest["problems"] if f"reward {name} " in problem.replace(":", " ")]
        assert any(FAULTY[name] in problem for problem in problems), (name, manifest["problems"])
        assert all(problem in done.stderr for problem in problems)
    assert "good" not in "".join(manifest["problems"])


def test_a_reward_that_only_leaves_traces_is_exit_0(run, untouched):
    done, out = run(*HARMLESS, "good")
    assert done.returncode == 0, done.stderr
    good_stands(done, out, untouched)
    manifest = manifest_of(out)
    assert (manifest["failures"], manifest["problems"]) == ({}, [])
    for told in HARMLESS.values():
        assert told in done.stderr
    assert "reward good" not in done.stderr


@pytest.mark.parametrize("name", ["raises_on_one_row", "crashes_on_one_row", "hangs_on_one_row"])
def test_only_the_row_that_fails_is_unscored(run, name):
    _, out = run(*FAULTY, "good")
    found = scores(out, name)
    lost = [(row["id"], row["candidate"], row["reason"]) for row in found if row["score"] is None]
    assert len(lost) == 1
    assert lost[0][:2] == ("row-3", 1)
    assert lost[0][2].split(":")[0] in ("raised", "died", "timeout")
    good = [row["score"] for row in found if row["score"] is not None]
    assert len(good) == 17


def test_a_child_that_a_reward_left_is_killed(run):
    _, out = run(*HARMLESS, "good")
    children = (out.parent / "children").read_text(encoding="utf-8").split()
    assert children
    assert not any(runs(child) for child in children)


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
