"""Each fault of matrix.py, tried a few times in one Python that forks runs: what a run must survive."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import modules_of

HERE = Path(__file__).resolve().parent
OFTEN = {
    "kills": 50, "calls": 6, "order": 1, "file sizes": 1, "small disk": 2, "signals": 3, "eight at once": 1,
    "second writer": 1, "other runs": 1, "odd names": 1, "odd places": 1,
}  # fmt: skip
STRACE = ("calls", "order")
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="faults are injected with Linux's means")


def lacking(name):
    """What of the system a fault needs and is not here, else None."""
    if name in STRACE and shutil.which("strace") is None:
        return "no strace here"
    if name == "small disk":
        mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", "/mnt"]
        if shutil.which("unshare") is None or subprocess.run(mount, capture_output=True, check=False).returncode:
            return "no namespace for mounts here"
    return None


def test_a_run_survives_every_fault():
    """One test for all of them: they share a Python that forks runs, which is what takes long to start."""
    missing = {name: why for name in OFTEN if (why := lacking(name))}
    assert not (missing and os.environ.get("CI")), missing
    here = [f"{name}={often}" for name, often in OFTEN.items() if name not in missing]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    command = [sys.executable, str(HERE / "matrix.py"), *here]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment, timeout=600)
    assert done.stdout, done.stderr[-3000:]
    found = json.loads(done.stdout)
    for name in OFTEN.keys() - missing.keys():
        assert found[name]["wrong"] == [], name
        assert found[name]["tried"] >= OFTEN[name], name
        assert found[name]["survived"] == found[name]["tried"], name
    if missing:
        pytest.skip(f"tried without {missing}")


WHOLE = [
    ("write", "run/samples/a.tmp-PID"), ("fsync", "run/samples/a.tmp-PID"), ("rename", "run/samples/a.tmp-PID"),
    ("fsync", "run/samples"), ("write", "run/journal.jsonl"), ("fsync", "run/journal.jsonl"),
    ("write", "run/results.json.tmp-PID"), ("fsync", "run/results.json.tmp-PID"),
    ("rename", "run/results.json.tmp-PID"), ("fsync", "run"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("gone", "told"),
    [
        (1, "run/samples/a is renamed before it is synced"),
        (3, "run/samples/a is journalled before its folder is synced"),
        (4, "1 parts are renamed and 0 lines journalled"),
        (5, "run/results.json is renamed before the journal is synced"),
        (7, "run/results.json is renamed before it is synced"),
        (None, None),
    ],
)
def test_a_sync_that_is_missing_is_seen_in_the_order_of_calls(gone, told):
    with modules_of(HERE, ("matrix", "killing", "syscalls", "stage")) as modules:
        calls = [call for index, call in enumerate(WHOLE) if index != gone]
        assert modules.matrix.disordered(calls) == ([told] if told else [])
