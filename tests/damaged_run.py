"""A small run that tests damage, copy by copy."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from functools import cache
from pathlib import Path

from fakes import jsonl, rmbench, rows

SUITE = 'name = "small"\ntasks = ["data.jsonl"]\nrewards = ["length", "rouge-l"]\nstudies = ["agree"]\n'
SAMPLES = "samples/data/part-00000.parquet"
LENGTH, ROUGE = (f"scores/data/{name}/part-00000.parquet" for name in ("length", "rouge-l"))


@cache
def small_run() -> Path:
    """Return a run of two rewards on one task of 12 rows: one for all tests of a process, which may only copy it."""
    folder = Path(tempfile.mkdtemp(prefix="rmbench-small-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    jsonl(folder / "data.jsonl", rows(4))
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    done = rmbench("run", "suite.toml", "--out", "run", "--kind", "qa", cwd=folder)
    assert done.returncode == 0, done.stderr
    return folder / "run"


def copy(run: Path, to: Path) -> Path:
    """Return a copy of a run that a test may spoil."""
    return Path(shutil.copytree(run, to / "run", symlinks=True))


def flip(path: Path, at: int = -20) -> None:
    """Flip a bit of a file."""
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(bytes(data))


def cut(path: Path, to: int = 100) -> None:
    """Keep the first bytes of a file."""
    path.write_bytes(path.read_bytes()[:to])


def swap(first: Path, second: Path) -> None:
    """Exchange the contents of two files."""
    one, other = first.read_bytes(), second.read_bytes()
    first.write_bytes(other)
    second.write_bytes(one)


def replace(path: Path, old: str, new: str) -> None:
    """Replace a text that stands in a file."""
    text = path.read_text(encoding="utf-8")
    assert old in text
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
