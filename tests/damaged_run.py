"""A small run that tests damage, copy by copy."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path
from typing import ClassVar
from unittest import mock

from fakes import jsonl, rows

import rmbench
from rmbench import engine, preflight, stream
from rmbench.cli.running import Interrupt
from rmbench.process import Inline

SUITE = 'name = "small"\ntasks = ["data.jsonl"]\nrewards = ["length", "rouge-l"]\nstudies = ["agree"]\n'
SAMPLES = "samples/data/part-00000.parquet"
LENGTH, ROUGE = (f"scores/data/{name}/part-00000.parquet" for name in ("length", "rouge-l"))


class Seat(Inline):
    """Stands where a reward's own process does: scores here, which is many times faster."""

    notes: tuple[str, ...] = ()
    peak = 0
    measures: ClassVar[dict[str, float]] = {}

    def __init__(self, chosen, runtime, **_):
        super().__init__(chosen, runtime)


@contextmanager
def scoring_here():
    """Score every reward in this process."""
    with ExitStack() as stack:
        for module in (engine, preflight, stream):
            stack.enter_context(mock.patch.object(module, "Process", Seat))
        stack.enter_context(mock.patch.object(Interrupt, "install"))  # the signals are pytest's
        yield


def small_suite(folder: Path) -> Path:
    """Write a suite of two rewards on one task of 12 rows."""
    jsonl(folder / "data.jsonl", rows(4))
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    return folder / "suite.toml"


@cache
def small_run() -> Path:
    """Return a run of the small suite: one for all tests of a process, which may only copy it."""
    folder = Path(tempfile.mkdtemp(prefix="rmbench-small-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    with scoring_here():
        return rmbench.run(small_suite(folder), out=folder / "run").folder


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
