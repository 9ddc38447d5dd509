"""A reward that misbehaves costs the others nothing; each way of misbehaving has its own outcome."""

import json
from collections import Counter
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import distribution, jsonl, modules_of, rmbench, rows

FOLDER = Path(__file__).parent / "bad_plugins"
with modules_of(FOLDER, ("misbehaving",)) as loaded:
    REWARDS = [one for one in loaded.misbehaving.REWARDS if not one.slow]
TOGETHER = {code: tuple(one for one in REWARDS if one.code == code and not one.alone) for code in (0, 1, 3)}
WAITING = tuple(one for one in REWARDS if one.alone and one.code != 2)
WHO = "(bad-rewards 1.2)"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run rewards, once: return what the command said, and the run's folder."""
    folder = tmp_path_factory.mktemp("bad")
    distribution(folder, "bad-rewards", (FOLDER / "rewards.py").read_text(encoding="utf-8"), version="1.2")
    task = jsonl(folder / "cats.jsonl", rows())

    @cache
    def once(*names: str, timeout: float = 60.0):
        home = folder / f"home-{len(list(folder.iterdir()))}"
        home.mkdir()
        words = [word for name in names for word in ("--reward", name)]
        done = rmbench(
            "run",
            "--task",
            task,
            *words,
            "--out",
            home / "run",
            "--timeout",
            timeout,
            "--workers",
            4,
            path=folder,
            cwd=home,
        )
        assert "Traceback" not in done.stderr
        return done, home / "run"

    return once


def together(run, cases, timeout=60.0):
    return run(*(one.name for one in cases), "good", timeout=timeout)


@pytest.fixture(scope="module")
def untouched(run):
    done, out = run("good")
    assert done.returncode == 0, done.stderr
    return good_of(out)


def good_of(out):
    """Return the good reward's rows as bytes, and its numbers."""
    part = next(out.glob("scores/*/good/part-00000.parquet")).read_bytes()
    results = json.loads((out / "results.json").read_text())["results"]
    return part, [r for r in results if r["reward"] == "good" and r["against"] is None]


def results_of(out, reward):
    results = json.loads((out / "results.json").read_text())["results"]
    return [r for r in results if (r["reward"], r["study"], r["subset"], r["against"]) == (reward, "agree", None, None)]


def manifest_of(out):
    return json.loads((out / "manifest.json").read_text())


def outcome(one, done, out):
    """Return the exit code that this reward alone would give, and hold its message."""
    manifest = manifest_of(out)
    problems = [problem for problem in manifest["problems"] if f"reward {one.name} {WHO}" in problem]
    warnings = [warning for warning in manifest["warnings"] if f"reward {one.name} {WHO}: " in warning]
    told = [manifest["failures"][one.name]] if one.name in manifest["failures"] else [*problems, *warnings]
    assert any(one.says in words for words in told) or not (one.says or told), (one.name, told)
    assert all(words in done.stderr for words in told)
    assert max(map(len, told), default=0) < 700
    return 3 if one.name in manifest["failures"] else 1 if problems else 0


@pytest.mark.parametrize("code", TOGETHER)
def test_each_has_its_exit_code_and_its_words(run, untouched, code):
    done, out = together(run, TOGETHER[code])
    assert done.returncode == code, done.stderr
    assert good_of(out) == untouched
    assert "noise" not in done.stdout
    assert f"reward good {WHO}" not in done.stderr
    assert {one.name: outcome(one, done, out) for one in TOGETHER[code]} == {o.name: code for o in TOGETHER[code]}


def test_those_that_hang_are_killed(run, untouched):
    done, out = together(run, WAITING, timeout=2)
    assert done.returncode == 3, done.stderr
    assert good_of(out) == untouched
    assert {one.name: outcome(one, done, out) for one in WAITING} == {one.name: one.code for one in WAITING}


def test_one_whose_options_lack_is_exit_2_and_nothing_is_run(run):
    for one in REWARDS:
        if one.code == 2:
            done, out = run(one.name, "good")
            assert done.returncode == 2
            assert one.says in done.stderr
            assert not out.exists()


def test_what_cannot_be_used_is_named_with_its_distribution_and_what_to_do(run):
    done, out = together(run, TOGETHER[3])
    for name, reason in manifest_of(out)["failures"].items():
        assert f"reward {name} {WHO} could not be used: {reason}" in done.stderr
        assert results_of(out, name)
        assert all(r["value"] is None and r["reason"] for r in results_of(out, name))
    assert f"help: mend it or leave it out; what it printed and raised is in {out / 'logs'}" in done.stderr
    assert manifest_of(out)["problems"] == []


@pytest.mark.parametrize("name", ["raises_on_one_row", "crashes_on_one_row", "hangs_on_one_row"])
def test_only_the_row_that_fails_is_unscored(run, name):
    _, out = together(run, WAITING, timeout=2) if name.startswith("hangs") else together(run, TOGETHER[1])
    found = [row for part in out.glob(f"scores/*/{name}/*.parquet") for row in pq.read_table(part).to_pylist()]
    lost = [(row["id"], row["candidate"], row["reason"]) for row in found if row["score"] is None]
    assert [row[:2] for row in lost] == [("row-3", 1)]
    assert lost[0][2].split(":")[0] in ("raised", "died", "timeout")
    assert len(found) == 18


def test_what_memory_does_not_hold_is_scored_in_smaller_batches(run, untouched):
    _, out = together(run, TOGETHER[0])
    assert next(out.glob("scores/*/memory_for_four/part-00000.parquet")).read_bytes() == untouched[0]


def test_what_is_not_finite_is_unscored_with_its_reason(run):
    _, out = together(run, TOGETHER[1])
    found = pq.read_table(next(out.glob("scores/*/non_finite/*.parquet"))).to_pylist()
    reasons = Counter(row["reason"] for row in found if row["score"] is None)
    assert reasons == {"non-finite: nan": 2, "non-finite: inf": 4, "non-finite: -inf": 1} or sum(reasons.values()) == 6


def test_the_log_of_one_that_floods_is_capped(run):
    _, out = together(run, TOGETHER[0])
    assert (out / "logs" / "floods.log").stat().st_size == 10 * 2**20


def test_odd_names_of_columns_are_kept_and_inert(run):
    _, out = together(run, TOGETHER[0])
    columns = pq.read_schema(next(out.glob("scores/*/odd_column/*.parquet"))).names
    assert "part.../../x" in columns
    page = (out / "report" / "index.html").read_text(encoding="utf-8")
    assert "=1+1|&lt;b&gt;" in page
    assert "=1+1|<b>" not in page
    assert not list(out.rglob("x"))


def test_a_child_that_a_reward_left_is_killed(run):
    _, out = together(run, TOGETHER[0])
    children = (out.parent / "children").read_text(encoding="utf-8").split()
    assert children
    assert not any(runs(child) for child in children)


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


GARBLED = """
import os

def garbled(batch):
    for number in range(3, 10):
        try:
            os.write(number, b"\\xff" * 64)
        except OSError:
            pass
    return [1.0] * len(batch)
"""


def test_one_that_writes_into_our_pipe_loses_its_rows_only(tmp_path):
    (tmp_path / "own.py").write_text(GARBLED, encoding="utf-8")
    line = '{"prompt": "p", "response": "r"}\n'
    done = rmbench("score", "-r", "own.py:garbled", "--timeout", 5, cwd=tmp_path, stdin=line)
    assert done.returncode == 1
    assert json.loads(done.stdout)["reason"].startswith("died: the process answered with what is no message")
