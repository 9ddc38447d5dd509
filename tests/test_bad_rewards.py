"""One reward that misbehaves costs the others nothing; each way of misbehaving has its own outcome."""

import json
from functools import cache
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from fakes import jsonl, rmbench, rows

REWARDS = Path(__file__).parent / "bad_plugins" / "rewards.py"


def scores(out: Path, reward: str) -> list:
    folder = next((out / "scores").iterdir()) / reward
    return [row for part in sorted(folder.glob("*.parquet")) for row in pq.read_table(part).to_pylist()]


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Run a bad reward before the good one, once: return what the command said, and the run's folder."""

    @cache
    def once(*names: str):
        folder = tmp_path_factory.mktemp("-".join(names))
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


@pytest.mark.parametrize(
    ("name", "code", "told"),
    [
        ("raises_always", 3, "RuntimeError: always"),
        ("wrong_length", 3, "17 values for 18 rows"),
        ("wrong_type", 3, "str"),
        ("exits", 3, "SystemExit"),
        ("exits_hard", 3, "exited with 0"),
        ("hangs", 3, "no answer within"),
        ("interrupts", 3, "KeyboardInterrupt"),
        ("raises_on_one_row", 1, "1 rows failed"),
        ("crashes_on_one_row", 1, "1 rows failed"),
        ("hangs_on_one_row", 1, "1 rows failed"),
        ("non_finite", 1, "non-finite: nan"),
        ("depends_on_neighbours", 1, "canary alone"),
        ("prints", 0, "printed to stdout"),
        ("changes_the_process", 0, "LEFT_BEHIND"),
        ("leaves_a_child", 0, ""),
    ],
)
def test_a_bad_reward_has_its_outcome_and_the_good_one_its_rows(run, untouched, name, code, told):
    done, out = run(name, "good")
    assert done.returncode == code, done.stderr
    assert told in done.stderr + (out / "results.json").read_text()
    assert "noise" not in done.stdout
    assert next(out.glob("scores/*/good/part-00000.parquet")).read_bytes() == untouched
    results = json.loads((out / "results.json").read_text())["results"]
    good = [
        r
        for r in results
        if r["reward"] == "good" and r["metric"] == "pairwise-accuracy" and r["subset"] is None and r["against"] is None
    ]
    assert len(good) == 1
    if code == 3:
        bad = [r for r in results if r["reward"] == name and r["study"] == "agree"]
        assert bad
        assert all(r["value"] is None and r["reason"] for r in bad)


@pytest.mark.parametrize("name", ["raises_on_one_row", "crashes_on_one_row", "hangs_on_one_row"])
def test_only_the_row_that_fails_is_unscored(run, name):
    _, out = run(name, "good")
    found = scores(out, name)
    lost = [(row["id"], row["candidate"], row["reason"]) for row in found if row["score"] is None]
    assert len(lost) == 1
    assert lost[0][:2] == ("row-3", 1)
    assert lost[0][2].split(":")[0] in ("raised", "died", "timeout")
    good = [row["score"] for row in found if row["score"] is not None]
    assert len(good) == 17


def test_a_child_that_a_reward_left_is_killed(run):
    _, out = run("leaves_a_child", "good")
    children = (out.parent / "children").read_text(encoding="utf-8").split()
    assert children
    assert not any(runs(child) for child in children)


def runs(process):
    try:
        return Path(f"/proc/{process}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
