"""How something is measured: sides in turn, their rates and the ratio of them within each round.

What else the machine does hits all sides of a round alike, so a ratio is taken within a round, and its median stands
beside the least and the greatest. One thread on a processor counts processor seconds, everything else the wall clock.
"""

from __future__ import annotations

import os
import platform
import statistics
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Clock = Callable[[], float]

ROUNDS = 5
THREAD_VARIABLES = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Spread:
    """A measured number: the median of the rounds, the least and the greatest of them."""

    median: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Side:
    """One way to do the work: ``run`` does ``units`` of it; what it returns is checked, not measured."""

    run: Callable[[], Any]
    units: float


def spread(values: Sequence[float]) -> Spread:
    """Return the median, the least and the greatest."""
    return Spread(statistics.median(values), min(values), max(values))


def clock_of(threads: int, device: str = "cpu") -> Clock:
    """Return what counts seconds: of the processor for one thread of it, else of the wall clock."""
    return time.process_time if threads == 1 and device == "cpu" else time.perf_counter


def interleaved(sides: Mapping[str, Side], clock: Clock, rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return seconds a unit for each side in each round; which side begins turns from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in sides}
    names = list(sides)
    for turn in range(rounds):
        begin = turn % len(names)
        for name in names[begin:] + names[:begin]:
            start = clock()
            sides[name].run()
            seconds[name].append((clock() - start) / sides[name].units)
    return seconds


def rate(seconds: Sequence[float]) -> Spread:
    """Return units a second."""
    return spread([1 / one for one in seconds])


def times(ours: Sequence[float], other: Sequence[float]) -> Spread:
    """Return how many times as fast as the other side ours is, round by round."""
    return spread([b / a for a, b in zip(ours, other, strict=True)])


def machine() -> dict[str, Any]:
    """Return what the figures depend on: processor, system and the versions of what computes."""
    from importlib.metadata import PackageNotFoundError, version

    found: dict[str, Any] = {
        "processor": _processor() or platform.processor() or platform.machine(),
        "processors": os.cpu_count(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "python": platform.python_version(),
    }
    for package in ("numpy", "numba", "torch", "transformers", "rouge-score", "sacrebleu"):
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = None
    return found


def _processor() -> str:
    """Return the processor's name where Linux tells it."""
    path = Path("/proc/cpuinfo")
    if not path.exists():
        return ""
    lines = path.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")


def peak_bytes() -> int:
    """Return the most memory that this process held so far, in bytes."""
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most if sys.platform == "darwin" else most * 1024
