"""What ``rmbench bench`` measures, in a process of its own: rules and models against the plain loops, on this machine.

``python -m rmbench.kernel.measure [--threads N] [--device D] [--quick]`` prints JSON. Every comparison runs its sides
in turn within each round, so that what else the machine does hits both; ratios are taken within a round, and the
median stands beside the least and the greatest.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import random
import resource
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Case = Callable[[], object]

ROUNDS = 5
PAIRS, QUICK_PAIRS = 2000, 60
WORDS = 60
SECONDS_PER_LOOP = 1.5  # what a peer's loop may take in one round
STEMS = ("act", "form", "relat", "nation", "order", "play", "walk", "govern", "depend", "light", "cat", "house", "run")
ENDINGS = ("", "s", "ing", "ed", "ation", "al", "ness", "ly", "er", "ment")


@dataclass(frozen=True, slots=True)
class Measured:
    """One comparison, or one figure of ours alone.

    Attributes:
        work: what is done; ``against``: the other side, empty where there is none.
        rate: units a second of ours, the median over the rounds; ``unit``: what is counted.
        ratio, low, high: ours over the other's speed: median, least and greatest over the rounds.
    """

    work: str
    unit: str
    rate: float
    against: str = ""
    ratio: float | None = None
    low: float | None = None
    high: float | None = None


def interleaved(cases: Mapping[str, Case], rounds: int = ROUNDS) -> dict[str, list[float]]:
    """Return the seconds of each case in each round; the order turns by one from round to round."""
    seconds: dict[str, list[float]] = {name: [] for name in cases}
    names = list(cases)
    for turn in range(rounds):
        for name in names[turn % len(names) :] + names[: turn % len(names)]:
            begun = time.perf_counter()
            cases[name]()
            seconds[name].append(time.perf_counter() - begun)
    return seconds


def compared(work: str, unit: str, counts: tuple[int, int], cases: tuple[Case, Case], against: str) -> Measured:
    """Time ours and the other's work in turn; ``counts`` are the units that each does a call."""
    found = interleaved({"ours": cases[0], "other": cases[1]})
    ours, others = (
        [count / each for each in found[name]] for name, count in zip(("ours", "other"), counts, strict=True)
    )
    ratios = [a / b for a, b in zip(ours, others, strict=True)]
    return Measured(work, unit, statistics.median(ours), against, statistics.median(ratios), min(ratios), max(ratios))


def text(draw: random.Random, words: int = WORDS) -> str:
    """Return a text of so many words, some much more frequent than others, as in a language."""
    chosen = (STEMS[min(int(draw.expovariate(0.35)), len(STEMS) - 1)] + draw.choice(ENDINGS) for _ in range(words))
    return " ".join(word + ("." if draw.random() < 0.07 else "") for word in chosen).capitalize()  # noqa: S311


def pairs(count: int, words: int = WORDS) -> tuple[list[str], list[str]]:
    """Return responses and references that share about half of their words, the same ones at every call."""
    draw = random.Random(1)  # noqa: S311 - texts, no secrets
    references = [text(draw, words) for _ in range(count)]
    responses = [
        " ".join(word if draw.random() < 0.5 else text(draw, 1) for word in reference.split())
        for reference in references  # noqa: PLR2004
    ]
    return responses, references


def machine() -> dict[str, Any]:
    """Return what the figures depend on."""
    import numpy as np

    found = {"platform": platform.platform(), "python": platform.python_version(), "processors": os.cpu_count()}
    if os.path.exists("/proc/cpuinfo"):  # noqa: PTH110 - no import for one question
        with open("/proc/cpuinfo", encoding="utf-8") as lines:  # noqa: PTH123 - as above
            found["processor"] = next(
                (line.split(":")[1].strip() for line in lines if line.startswith("model name")), ""
            )
    return {**found, "numpy": np.__version__}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print JSON."""
    parser = argparse.ArgumentParser(prog="python -m rmbench.kernel.measure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small inputs: to see that it runs")
    given = parser.parse_args(arguments)
    from rmbench.kernel.measured import models, rules

    found = {
        "machine": machine(), "threads": given.threads, "device": given.device,
        "rules": [asdict(row) for row in rules(given.threads, quick=given.quick)],
        "models": models.measure(given.threads, given.device, quick=given.quick),
        "peak_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }  # fmt: skip
    json.dump(found, sys.stdout, indent=1, allow_nan=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
