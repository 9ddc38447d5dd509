"""Try every fault that a run must survive and write faults.md: how often, how it ended, what the user sees.

    python reports/robustness/faults.py [--kills 1000] [--quick]

Each fault is one command of tests/faults, which can be run alone; --quick tries each a few times. Exits 1 where a run
did not survive.
"""

from __future__ import annotations

import argparse
import json
import platform
import shlex
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
MATRIX = "tests/faults/matrix.py"


@dataclass(frozen=True, slots=True)
class Fault:
    """A row: its name in the matrix, what happens, what must hold, and how often it is tried."""

    name: str
    what: str
    holds: str
    often: int
    quick: int


SAME = "resumed, the same bytes"
FAULTS = (
    Fault("kills, full", "`kill -9` of the group at a random moment, and of up to three resumes", SAME, 80, 12),
    Fault("kills, trained", "the same with a fit and a policy training in the suite", SAME, 40, 6),
    Fault("kills", "the same on a run of 0.3 s, so that more of them hit a write", SAME, 870, 20),
    Fault("kills, real", "the same of `python -m rmbench.cli.main`, its start included", SAME, 10, 2),
    Fault("calls", "SIGKILL, EIO and ENOSPC at each write, fsync and rename on the folder (strace)",
          "killed, or exit 4 with the path, the part not in the journal; " + SAME, 0, 30),
    Fault("order", "the order of write, fsync and rename in a whole run; sockets",
          "synced before the rename, the folder before the journal's line; no socket but AF_UNIX", 1, 1),
    Fault("file sizes", "RLIMIT_FSIZE, met by one file of the run after the other",
          "exit 4 with path and bytes free; nothing cut under a final name; " + SAME, 12, 3),
    Fault("small disk", "a file system (tmpfs) that is full after 1/n, 2/n ... of the run",
          "exit 4 with path and bytes free; nothing cut under a final name; with space again " + SAME, 12, 3),
    Fault("signals", "SIGINT, SIGTERM, SIGHUP at a random moment",
          "over within 5 s with 130, 143, 129; the command that goes on is told; " + SAME, 60, 6),
    Fault("eight at once", "eight starts of one run at once", "one ends with 0, seven with 5 or 2", 10, 2),
    Fault("second writer", "a second process on the folder; a stale lock file",
          "5, the first named by pid, host and time; a stale one is no obstacle", 1, 1),
    Fault("other runs", "`--resume` with another seed, weight of a composite, byte of a task, source of a reward",
          "5, what differs is told, no file changed", 1, 1),
    Fault("odd names", "folders with space, #, %, ', newline, bidi marks, emoji, NFD, 255 bytes, dash, odd bytes",
          "the run ends, and resumes", 1, 1),
    Fault("odd places", "read-only parent or run folder, a file in place of the folder or above it; no home, no cache, "
          "read-only suite folder", "4 or 2 with path and reason, nothing written; without a home the run ends", 1, 1),
)  # fmt: skip


def found(fault: Fault, often: int) -> tuple[str, dict]:
    """Try a fault; return the command and what was found."""
    command = ["python", MATRIX, f"{fault.name}={often}"]
    done = subprocess.run([sys.executable, *command[1:]], cwd=REPO, stdout=subprocess.PIPE, check=False)  # noqa: S603
    return shlex.join(command), json.loads(done.stdout)[fault.name]


def page(rows: list[tuple[Fault, str, dict]], seconds: float, told: str) -> str:
    """Return the page."""
    made = f"Written by `python reports/robustness/faults.py{told}` in {seconds:.0f} s on {platform.machine()}, "
    made += f"Python {platform.python_version()}, Linux {platform.release().split('-')[0]}."
    lines = [
        "# Faults tried and survived",
        "",
        made,
        "Every row is made by its command below; a run survived where all that stands under *must hold* held.",
        "*Resumed, the same bytes*: after `--resume`, results.json and all files of samples/ and scores/ are byte",
        "for byte those of an unbroken run, no part that the journal named was written again, no `*.tmp-*` is left.",
        "",
        "| fault | must hold | tried | survived | seconds |",
        "|---|---|--:|--:|--:|",
    ]
    lines += [
        f"| {one.what} | {one.holds} | {each['tried']} | {each['survived']} | {each['seconds']} |"
        for one, _, each in rows
    ]
    lines += ["", "## What the user sees", ""]
    for one, _, each in rows:
        if each["message"]:
            lines += [f"{one.what[0].upper()}{one.what[1:]}:", "", f"    {each['message']}", ""]
    lines += ["## Commands", "", *(f"- `{command}`" for _, command, _ in rows), ""]
    wrong = [f"- {one.name}: {what}" for one, _, each in rows for what in each["wrong"]]
    return "\n".join([*lines, *(["## What did not hold", "", *wrong, ""] if wrong else [])])


def main() -> None:
    """Try all of them and write the page."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000, help="SIGKILLs in all")
    parser.add_argument("--quick", action="store_true")
    given = parser.parse_args()
    begun, rows = time.monotonic(), []
    for fault in FAULTS:
        often = fault.quick if given.quick else fault.often
        if fault.name.startswith("kills") and not given.quick:
            often = max(1, often * given.kills // 1000)
        command, each = found(fault, often)
        rows.append((fault, command, each))
        print(f"{fault.name}: {each['survived']} of {each['tried']} in {each['seconds']} s", flush=True)
    text = page(rows, time.monotonic() - begun, "".join(f" {word}" for word in sys.argv[1:]))
    (HERE / "faults.md").write_text(text, encoding="utf-8")
    sys.exit(any(each["wrong"] for _, _, each in rows))


if __name__ == "__main__":
    main()
