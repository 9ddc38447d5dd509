"""Every bad input ends in the right exit code and a message that says where, what and what to do; nothing is written.

Most run in this process, through everything behind `rmbench`; what is large or goes on to a run gets one of its own.
"""

from __future__ import annotations

import re
import subprocess
import sys
import time
from pathlib import Path

import configs
import lines
import pytest
import tables
from bad_input import WATCHED, BadInput

from rmbench.cli.main import guarded

CASES = [*lines.CASES, *configs.CASES, *tables.CASES]
LARGE = {"21", "21b", "32a", "32b", "32c", "64a", "64b"}
PROMISED = 300 * 2**20  # bytes of memory
SECONDS = 20  # promised are 2; other tests share the machine


def placed(folder: Path) -> dict[str, int]:
    """Return what lies in a folder, with the times of change."""
    return {str(path): path.lstat().st_mtime_ns for path in folder.rglob("*")}


@pytest.mark.parametrize("case", [case for case in CASES if case.number not in LARGE], ids=lambda case: case.number)
def test_the_message_and_the_code(case: BadInput, tmp_path, monkeypatch, capfd):
    monkeypatch.delenv("RMBENCH_DATA", raising=False)
    monkeypatch.chdir(tmp_path)
    words = case.make(tmp_path)
    before, start = placed(tmp_path), time.monotonic()
    code = guarded(words, debug=False)
    out, said = capfd.readouterr()
    assert code == case.code, said
    assert re.search(case.says, said, re.MULTILINE), said
    assert "Traceback" not in out + said
    if case.code:
        assert placed(tmp_path) == before
        assert time.monotonic() - start < SECONDS


@pytest.mark.parametrize("case", [case for case in CASES if case.number in LARGE], ids=lambda case: case.number)
def test_what_is_large_is_refused_in_little_memory(case: BadInput, tmp_path):
    words = case.make(tmp_path)
    start = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", WATCHED, *words], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == case.code, done.stderr
    assert re.search(case.says, done.stderr, re.MULTILINE), done.stderr
    assert not (tmp_path / "out").exists()
    assert int(done.stdout) * 1024 < PROMISED
    assert time.monotonic() - start < SECONDS


def test_numbers_are_of_one_case_each():
    numbers = [case.number for case in CASES]
    assert len(set(numbers)) == len(numbers)
    assert {int(found[0]) for number in numbers if (found := re.match(r"\d+", number))} == set(range(1, 71)) - {
        31,
        59,
    }  # a race, and output
