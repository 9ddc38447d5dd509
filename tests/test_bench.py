"""The command `rmbench bench`: the whole of it once, and what it does when it is stopped or fails."""

import json
import os
import signal
import subprocess
import sys
import time

import pytest
from fakes import rmbench
from typer.testing import CliRunner

from rmbench.cli import bench
from rmbench.cli.main import app
from rmbench.cli.measuring import Steps, ranged

KEYS = {
    "schema", "complete", "machine", "threads", "device", "quick", "rules", "models", "product", "peak_bytes", "failures",
    "seconds",
}  # fmt: skip
SPREAD = {"median": 4.0, "low": 3.0, "high": 5.0}
RULE = {"work": "bleu", "words": 60, "pairs": 9, "pairs_per_second": SPREAD, "against": "sacrebleu", "ratio": SPREAD}
ABOUT = {
    "machine": {"processor": "P", "processors": 2, "system": "S", "python": "3"},
    "threads": 1,
    "device": "cpu",
    "quick": True,
}
PLAN = {"event": "plan", "about": ABOUT, "steps": [["bleu", 1.0], ["chrf", 1.0]]}
FOUND = {"event": "found", "step": "bleu", "rules": [RULE], "peak_bytes": {"rules": 2**20}}


@pytest.fixture(scope="module")
def measured():
    done = rmbench("bench", "--quick", "--json")
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_all_of_it(measured):
    assert set(measured) == KEYS
    assert measured["complete"]
    assert not measured["failures"]
    assert measured["peak_bytes"]["models"] > measured["peak_bytes"]["rules"] > 0
    assert {row["against"] for row in measured["rules"]} == {"rouge-score", "sacrebleu", None}


def test_models_beside_every_loop(measured):
    loops = [set(row["ratios"]) for row in measured["models"]]
    assert loops[0] == {"batches of 8", "one by one", "batches of 64"}
    assert {"every row computed"} in loops
    for row in measured["models"]:
        assert sum(row["shares"].values()) == pytest.approx(1.0)
        assert row["tokens_per_second"]["median"] > 0
    half = next(row for row in measured["models"] if row["dtype"] == "bfloat16")
    assert 0 < half["difference"] < 0.5
    assert half["rank_correlation"] > 0.5


def invoke(monkeypatch, events, *words):
    def given(*_, **__):
        for event in events:
            if isinstance(event, type):
                raise event
            yield event

    monkeypatch.setattr(bench, "_events", given)
    return CliRunner().invoke(app, ["bench", *words])


def test_tables_of_what_was_found(monkeypatch):
    done = invoke(monkeypatch, [PLAN, FOUND, {"event": "end", "seconds": 1.0}])
    assert done.exit_code == 0
    assert "sacrebleu" in done.stdout
    assert "4.00 [3.00, 5.00]" in done.stdout
    assert "1 MiB with the rules" in done.stdout


def test_stopped_it_says_what_was_measured(monkeypatch):
    done = invoke(monkeypatch, [PLAN, FOUND, KeyboardInterrupt])
    assert done.exit_code == 130
    assert "interrupted: 1 of 2 steps measured, as follows" in done.stderr
    assert "sacrebleu" in done.stdout
    as_json = json.loads(invoke(monkeypatch, [PLAN, FOUND, KeyboardInterrupt], "--json").stdout)
    assert as_json["complete"] is False
    assert as_json["rules"] == [RULE]
    early = invoke(monkeypatch, [KeyboardInterrupt])
    assert "interrupted: 0 of 0 steps measured\n" in early.stderr


def test_a_step_that_fails_is_named(monkeypatch):
    events = [PLAN, {"event": "found", "step": "bleu", "failed": "ValueError: no"}, {"event": "end", "seconds": 1.0}]
    done = invoke(monkeypatch, events)
    assert done.exit_code == 1
    assert "rmbench: bleu could not be measured: ValueError: no" in done.stderr


def test_a_measuring_process_that_dies(monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    done = CliRunner().invoke(app, ["bench"])
    assert done.exit_code != 0
    assert "the measuring process ended with 1: it said nothing" in str(done.exception)


def test_ctrl_c_ends_the_measuring_process():
    child = subprocess.Popen(
        [sys.executable, "-m", "rmbench.cli.main", "bench"], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    deadline = time.monotonic() + 60
    below = []
    while not below and time.monotonic() < deadline:
        time.sleep(0.2)
        below = children(child.pid)
    child.send_signal(signal.SIGINT)
    _, said = child.communicate(timeout=60)
    assert child.returncode == 130, said
    assert "interrupted" in said
    assert below
    assert not any(os.path.exists(f"/proc/{one}") for one in below)  # noqa: PTH110


def children(pid):
    found = subprocess.run(["ps", "-o", "pid=", "--ppid", str(pid)], capture_output=True, text=True, check=False)
    return [int(word) for word in found.stdout.split()]


def test_numbers_with_their_range():
    assert ranged(None) == "\u2013"
    assert ranged({"median": 1234.5, "low": 1200.0, "high": 1300.0}) == "1,234 [1,200, 1,300]"
    assert ranged({"median": 2.0, "low": 2.0, "high": 2.0}) == "2.00"


def test_the_bar_moves_on_a_terminal_only(monkeypatch):
    bar = Steps()
    bar.begin({"a": 1.0})
    assert bar.bar is None
    monkeypatch.setattr(sys.stderr, "isatty", lambda: True)
    bar.begin({"a": 1.0, "b": 3.0})
    bar.stage("a")
    bar.advance("a")
    assert bar.bar.tasks[0].percentage == 25.0
    bar.close()
    assert bar.bar is None
