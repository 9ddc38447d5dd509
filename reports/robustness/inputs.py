"""Run every bad input of tests/bad_inputs in a process of its own and write inputs.md: what was given, what was said.

Usage: ``python reports/robustness/inputs.py [folder of the page]``.
"""

from __future__ import annotations

import importlib
import os
import re
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
INPUTS = REPO / "tests" / "bad_inputs"
sys.path[:0] = [str(INPUTS), str(INPUTS.parent)]

from bad_input import WATCHED  # noqa: E402 - of the tests, which hold the same

PROMISED_MB = 300
AT_ONCE = 2  # processes


@dataclass(frozen=True)
class Outcome:
    """What came of one case: exit code, message, seconds, and the most memory of the process in MB."""

    number: str
    name: str
    code: int
    expected: int
    said: str
    seconds: float
    peak: float


def cases() -> list[Any]:
    """Return the cases of every module there that has some."""
    names = sorted(path.stem for path in INPUTS.glob("*.py") if not path.stem.startswith("test_"))
    order = sorted(names, key=lambda name: {"lines": 0, "configs": 1, "tables": 2}.get(name, 3))
    return [case for name in order for case in getattr(importlib.import_module(name), "CASES", ())]


def outcome(case: Any) -> Outcome:
    """Run one case."""
    with tempfile.TemporaryDirectory() as made, tempfile.TemporaryFile("w+") as said:
        words = case.make(Path(made))
        env = {name: value for name, value in os.environ.items() if not name.startswith("RMBENCH_")}
        env["PYTHONPATH"] = str(REPO)
        start = time.monotonic()
        done = subprocess.run(  # noqa: S603 - our own command
            [sys.executable, "-c", WATCHED, *words],
            cwd=made, env=env, stdout=subprocess.PIPE, stderr=said, stdin=subprocess.DEVNULL, check=False,
        )  # fmt: skip
        seconds = time.monotonic() - start
        said.seek(0)
        text = re.sub(re.escape(made) + "/?", "", said.read()).strip()
    return Outcome(case.number, case.name, done.returncode, case.code, text, seconds, int(done.stdout) / 1024)


def cell(text: str, most: int = 400) -> str:
    """Return a text as a cell of a Markdown table."""
    text = text if len(text) <= most else f"{text[:most]}... ({text.count('rmbench: error') or 1} messages)"
    for mark in "\\`*_[]<>|$~":
        text = text.replace(mark, f"\\{mark}")
    return text.replace("\n", "<br>")


def wrong_codes(found: list[Outcome]) -> list[str]:
    """Return the cases that ended with another exit code than expected."""
    return [one.number for one in found if one.code != one.expected]


def page(found: list[Outcome]) -> str:
    """Return the page."""
    wrong = wrong_codes(found)
    refused = [one for one in found if one.expected]
    longest = max(refused, key=lambda one: len(one.said))
    most = max(refused, key=lambda one: one.peak)
    slowest = max(refused, key=lambda one: one.seconds)
    rows = [
        f"| {one.number} | {cell(one.name)} | {one.code} | {cell(one.said)} | {one.seconds:.1f} | {one.peak:.0f} |"
        for one in found
    ]
    return "\n".join(
        [
            "# Bad inputs and what is said",
            "",
            "Written by `python reports/robustness/inputs.py`: every case in a process of its own, in an empty folder.",
            "",
            f"- {len(found)} cases; with another exit code than expected: {', '.join(wrong) or 'none'}.",
            f"- Refused with the most memory: case {most.number}, {most.peak:.0f} MB (promised {PROMISED_MB}).",
            f"- Refused the slowest: case {slowest.number}, {slowest.seconds:.1f} s, on a machine shared with others.",
            "",
            "| case | given | exit | message | s | MB |",
            "|---|---|---|---|---|---|",
            *rows,
            "",
            f"The longest message, of case {longest.number}:",
            "",
            "````text",
            longest.said,
            "````",
            "",
        ]
    )


def main() -> int:
    """Run all cases, write the page, and return 1 where one ended otherwise than expected."""
    folder = Path(sys.argv[1]) if len(sys.argv) > 1 else HERE
    with ThreadPoolExecutor(AT_ONCE) as pool:
        found = list(pool.map(outcome, cases()))
    (folder / "inputs.md").write_text(page(found), encoding="utf-8")
    return 1 if wrong_codes(found) else 0


if __name__ == "__main__":
    sys.exit(main())
