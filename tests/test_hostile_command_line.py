"""Odd bytes, odd encodings, full disks, refused options, killed drivers: an exit code and one message, never a bug."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from fakes import jsonl, rmbench, rows

import rmbench as package
from rmbench.checks import LARGEST
from rmbench.cli import faults
from rmbench.errors import InputError

PREFERENCES = [
    {"prompt": "Name a prime.", "chosen": "Eleven.", "rejected": "Twelve is a prime number above ten."},
    {"prompt": "Capital of France?", "chosen": "Paris is the capital of France.", "rejected": "Lyon."},
]
FULL = Path("/dev/full")


@pytest.fixture
def prefs(tmp_path):
    return jsonl(tmp_path / "prefs.jsonl", PREFERENCES)


def raw(*words, **options):
    """Run the command line on words that may be bytes."""
    command = [os.fsencode(sys.executable), b"-m", b"rmbench.cli.main", *map(os.fsencode, words)]
    return subprocess.run(command, capture_output=True, check=False, timeout=120, **options)


def test_a_share_that_is_no_number_is_refused(prefs, tmp_path):
    done = rmbench("run", "--task", prefs, "--reward", "length", "--max-unscored", "nan", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert "--max-unscored is nan, expected a share from 0 to 1" in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize(
    "words", [("run", "--task", b"a\xff.jsonl"), ("run", b"a\xff.toml"), ("score", "-r", "length", b"a\xff")]
)
def test_a_path_of_odd_bytes_that_is_not_there_is_a_user_error(tmp_path, words):
    done = raw(*words, cwd=tmp_path)
    assert done.returncode == 2, done.stderr
    assert b"Traceback" not in done.stderr


def test_a_run_folder_of_odd_bytes_works_and_resumes(prefs, tmp_path):
    out = os.fsencode(tmp_path) + b"/o\xff ut"
    done = raw("run", "--task", prefs, "--reward", "length", "--out", out)
    assert done.returncode == 0, done.stderr
    results = Path(os.fsdecode(out)) / "results.json"
    results.unlink()
    again = raw("run", "--resume", "--out", out)
    assert again.returncode == 0, again.stderr
    assert json.loads(results.read_bytes())["results"]


def test_an_ascii_terminal_gets_the_table_and_json(prefs, tmp_path):
    environment = {**os.environ, "PYTHONUTF8": "0", "PYTHONIOENCODING": "ascii", "LC_ALL": "C"}
    done = raw("run", "--task", prefs, "--reward", "length", "--out", tmp_path / "run", env=environment)
    assert done.returncode == 0, done.stderr
    assert b"length" in done.stdout.decode("ascii").encode()
    row = {"id": "1", "prompt": "Grüße", "response": "schön"}
    piped = raw("score", "-r", "length", env=environment, input=json.dumps(row, ensure_ascii=False).encode())
    assert piped.returncode == 0, piped.stderr
    assert json.loads(piped.stdout.decode("ascii")) == {**row, "score": 1.0}


@pytest.mark.skipif(not FULL.exists(), reason="needs Linux's /dev/full")
@pytest.mark.parametrize(
    "words", [["list", "rewards"], ["list", "rewards", "--json"], ["show", "length"], ["score", "-r", "length"]]
)
def test_a_full_disk_behind_stdout_is_exit_four(words):
    row = b'{"id": "1", "prompt": "p", "response": "r"}\n'
    with FULL.open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-m", "rmbench.cli.main", *words],
            stdout=full,
            stderr=subprocess.PIPE,
            input=row,
            check=False,
        )
    assert done.returncode == 4
    assert done.stderr.decode().strip() == "rmbench: error: standard output: No space left on device"


def test_a_closed_pipe_is_quiet(prefs, tmp_path):
    command = f"{sys.executable} -m rmbench.cli.main run --task {prefs} --reward length --json --out {tmp_path}/run | head -c 1"
    done = subprocess.run(["bash", "-c", command], capture_output=True, text=True, check=False, timeout=120)
    assert done.stdout == "{"
    assert "Error" not in done.stderr
    assert "Traceback" not in done.stderr


def test_ratings_whose_sums_overflow_are_refused_where_they_stand(tmp_path):
    candidates = [{"system": s, "text": s, "human": {"q": q}} for s, q in (("A", 1e308), ("B", LARGEST))]
    task = jsonl(tmp_path / "big.jsonl", [{"id": "1", "prompt": "x", "candidates": candidates}])
    done = rmbench("run", "--task", task, "--reward", "length", "--out", tmp_path / "run")
    assert done.returncode == 2
    assert 'big.jsonl:1: "candidates[0].human.q" is 1e+308, which is out of range: at most 1e+290' in done.stderr
    assert "candidates[1]" not in done.stderr


def test_score_replaces_what_an_earlier_pass_wrote(tmp_path):
    row = {"id": "1", "prompt": "p", "response": "two words", "score": None, "reason": "old", "parts": {"a": 1}}
    done = rmbench("score", "-r", "length", jsonl(tmp_path / "rows.jsonl", [row]))
    assert done.returncode == 0
    assert json.loads(done.stdout) == {"id": "1", "prompt": "p", "response": "two words", "score": 2.0}
    assert done.stderr.count('the field "reason" of the input is replaced by ours') == 1
    assert "not known" not in done.stderr


# ---- options that only the builder refuses


REFUSED = [
    ("length", "length.target=-5", "options of reward 'length': target is -5, expected an integer of at least 1"),
    ("diversity", "diversity.n=0", "options of reward 'diversity': n is 0, expected an integer of at least 1"),
    ("composite", "composite.weights={length=0}", "weights are all 0"),
]


@pytest.mark.parametrize(("reward", "option", "message"), REFUSED)
def test_a_value_that_build_refuses_is_the_users_error_and_nothing_is_written(prefs, tmp_path, reward, option, message):
    done = rmbench("run", "--task", prefs, "--reward", reward, "-o", option, "--out", tmp_path / "run")
    assert done.returncode == 2, done.stderr
    assert message in done.stderr
    assert f"rmbench show {reward}" in done.stderr
    assert not (tmp_path / "run").exists()


def test_score_refuses_it_too():
    with pytest.raises(InputError, match="target is -5"):
        package.score("length", [{"prompt": "p", "response": "r"}], {"target": -5})


def test_all_refused_rewards_are_told_at_once(prefs, tmp_path):
    words = ["--reward", "length", "-o", "length.target=0", "--reward", "diversity", "-o", "diversity.n=0"]
    done = rmbench("run", "--task", prefs, *words, "--out", tmp_path / "run")
    assert done.returncode == 2
    assert done.stderr.count("rmbench: error: options of reward") == 2


def test_a_builder_that_fails_otherwise_is_the_plugins_fault(prefs, tmp_path):
    code = "from rmbench import Reward\ndef build(*, depth: int = 1):\n    raise RuntimeError('no backend')\nbroken = Reward('broken', 1, build)\n"
    (tmp_path / "mine.py").write_text(code)
    entry = {"use": f"{tmp_path}/mine.py:broken", "options": {"depth": 2}}
    suite = f'tasks = ["{prefs}"]\nrewards = ["length", {{ use = "{entry["use"]}", options = {{ depth = 2 }} }}]\n'
    (tmp_path / "suite.toml").write_text(suite)
    done = rmbench("run", tmp_path / "suite.toml", "--out", tmp_path / "run")
    assert done.returncode == 3, done.stderr
    assert "RuntimeError: no backend" in done.stderr
    assert (tmp_path / "run" / "results.json").is_file()


def test_an_inline_reward_with_bad_options_is_refused(prefs, tmp_path):
    from rmbench.builtin.words import length

    entry = {"use": package.Reward("short", 1, length), "options": {"target": -1}}
    with pytest.raises(InputError, match="options of reward 'short': target is -1"):
        package.run([str(prefs)], rewards=[entry], out=tmp_path / "run")
    assert not (tmp_path / "run").exists()


# ---- bugs, and what outlives the driver


def test_a_bug_is_saved_in_the_run_folder(tmp_path, prefs, monkeypatch, capsys):
    from rmbench.cli import main
    from rmbench.studies import compute

    def boom(*_, **__):
        raise ZeroDivisionError("ours")

    monkeypatch.setattr(compute, "compute", boom)
    out = tmp_path / "run"
    assert main.guarded(["run", "--task", str(prefs), "--reward", "length", "--out", str(out)], debug=False) == 70
    (log,) = (out / "logs").glob("rmbench-*.log")
    assert "ZeroDivisionError: ours" in log.read_text()
    assert f"please report it with {log}" in capsys.readouterr().err


def test_a_bug_without_a_run_folder_is_saved_in_a_temporary_file(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(faults.tempfile, "gettempdir", lambda: str(tmp_path))
    assert faults.bug(KeyError("x")) == 70
    (log,) = tmp_path.glob("rmbench-*.log")
    assert "KeyError: 'x'" in log.read_text()
    assert str(log) in capsys.readouterr().err


HANGS = """
import os, pathlib, time
def hang(batch):
    pathlib.Path("worker.pid").write_text(str(os.getpid()))
    while True:
        time.sleep(60)
"""


def alive(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return Path(f"/proc/{pid}/stat").read_text(encoding="utf-8").rpartition(")")[2].split()[0] != "Z"


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
@pytest.mark.parametrize("signals", [[signal.SIGKILL], [signal.SIGINT, signal.SIGINT]])
def test_a_hung_worker_dies_with_the_driver(tmp_path, signals):
    (tmp_path / "ideas.py").write_text(HANGS)
    task = jsonl(tmp_path / "cats.jsonl", rows())
    words = ["run", "--task", task, "--kind", "summarization", "--reward", "ideas.py:hang", "--out", tmp_path / "run"]
    child = subprocess.Popen(
        [sys.executable, "-m", "rmbench.cli.main", *map(str, words)], cwd=tmp_path, stderr=subprocess.DEVNULL
    )
    deadline = time.monotonic() + 60
    written = tmp_path / "worker.pid"
    while time.monotonic() < deadline and not (written.exists() and written.read_text()):
        time.sleep(0.05)
    pid = int(written.read_text())
    assert alive(pid)
    for number in signals:
        child.send_signal(number)
        time.sleep(0.1)
    child.wait(30)
    while time.monotonic() < deadline and alive(pid):
        time.sleep(0.05)
    assert not alive(pid)


def test_one_reward_cannot_change_what_another_is_handed(tmp_path):
    task = jsonl(tmp_path / "cats.jsonl", [{**row, "meta": {"tags": ["a", {"deep": [1]}]}} for row in rows()])
    seen = []

    def spoils(batch):
        for change in (lambda m: m["tags"].append("b"), lambda m: m.update(x=1), lambda m: m["tags"][1].update(deep=2)):
            with pytest.raises((AttributeError, TypeError)):
                change(batch.meta[0])
        return [0.0] * len(batch)

    def looks(batch):
        seen.extend(batch.meta)
        return [1.0] * len(batch)

    package.run([str(task)], rewards=[spoils, looks], out=tmp_path / "run")
    assert {json.dumps(meta["tags"][0]) for meta in seen} == {'"a"'}
    assert all(meta["tags"][1]["deep"] == (1,) for meta in seen)
