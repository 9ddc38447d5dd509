"""What ``rmbench bench`` measures, in a process of its own: rules and models against the plain loops, on this machine.

``python -m rmbench.kernel.measure [--threads N] [--device D] [--quick]`` prints a line of JSON for each thing that it
knows: first the steps to come with about how many seconds each takes, then what each step found.
"""

from __future__ import annotations

import argparse
import json
import os
import time
import traceback
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rmbench.kernel import measured, measured_rules
from rmbench.kernel.compiled import VARIABLE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

QUICK_ROWS = 4
START = 6.0  # seconds that torch and transformers take to import and the models to be made
RULES_SECONDS = 1.5


@dataclass(frozen=True, slots=True)
class Step:
    """One thing to measure: its name, about how many seconds it takes, and what gives its records."""

    name: str
    seconds: float
    run: Callable[[], dict[str, Any]]


def rule_steps(threads: int, *, quick: bool) -> list[Step]:
    """Return a step for each family of rules."""

    def step(family: measured_rules.Family) -> Step:
        def run() -> dict[str, Any]:
            rounds = 2 if quick else measured.ROUNDS
            found = measured_rules.measure(family, threads, rounds=rounds, small=quick)
            return {"rules": [found], "peak_bytes": {"rules": measured.peak_bytes()}}

        return Step(family.title, 0.3 if quick else RULES_SECONDS, run)

    return [step(family) for family in measured_rules.FAMILIES]


def model_steps(threads: int, device: str, *, quick: bool) -> list[Step]:
    """Return the steps of the models; torch is imported by the first of them."""
    made: list[Any] = []

    def start() -> dict[str, Any]:
        from rmbench.kernel.models import bench

        setting = bench.Setting(threads, device, rows=bench.ROWS if device == "cpu" else bench.ACCELERATOR_ROWS)
        made.append(bench.Models(replace(setting, rows=QUICK_ROWS, rounds=1, small=True) if quick else setting))
        return {"product": made[0].product()}

    def decoder() -> dict[str, Any]:
        return {"models": made[0].decoder(), "peak_bytes": {"models": made[0].peak}}

    scale = 0.1 if quick else 1.0
    return [
        Step("matrix product", START, start),
        Step("decoder, skewed lengths", 22 * scale, decoder),
        Step("decoder in bfloat16", 11 * scale, lambda: {"models": made[0].bfloat16()}),
        Step("responses of one prompt", 7 * scale, lambda: {"models": made[0].shared()}),
        Step("encoder, skewed lengths", 12 * scale, lambda: {"models": made[0].encoder()}),
        Step("repeated rows", 3 * scale, lambda: {"models": made[0].repeated()}),
    ]


def events(threads: int, device: str, *, quick: bool) -> Iterator[dict[str, Any]]:
    """Yield what is known, as soon as it is: the plan, then for each step its begin and its findings.

    A step that fails says why, and the others go on.
    """
    begun = time.perf_counter()
    steps = [*rule_steps(threads, quick=quick), *model_steps(threads, device, quick=quick)]
    about = {"machine": measured.machine(), "threads": threads, "device": device, "quick": quick}
    yield {"event": "plan", "about": about, "steps": [[step.name, step.seconds] for step in steps]}
    for step in steps:
        yield {"event": "begin", "step": step.name}
        yield {"event": "found", "step": step.name, **_result(step)}
    yield {"event": "end", "seconds": time.perf_counter() - begun}


def _result(step: Step) -> dict[str, Any]:
    try:
        return step.run()
    except Exception as error:  # noqa: BLE001 - whatever it is: it is told, and what can be measured is
        traceback.print_exc()
        return {"failed": f"{type(error).__name__}: {error}"}


def main(arguments: Sequence[str] | None = None) -> None:
    """Measure and print a line of JSON for each event."""
    parser = argparse.ArgumentParser(prog="python -m rmbench.kernel.measure")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--quick", action="store_true", help="small inputs: to see that it runs")
    given = parser.parse_args(arguments)
    os.environ[VARIABLE] = "1"  # compiled code is measured, however little there is to score
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)  # what a library prints is no event
    for event in events(given.threads, given.device, quick=given.quick):
        out.write(json.dumps(event, allow_nan=False) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
