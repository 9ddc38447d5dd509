"""Kill a run, or let a system call fail, at every write, fsync and rename on its folder; resume and compare.

    python tests/faults/syscalls.py --every [--fault kill|EIO|ENOSPC]...
    python tests/faults/syscalls.py --sample 6 --seed 3

An unbroken run is traced first; then each call of it (which call, on which file, for the how-manieth time) is met by a
fault of its own, injected by strace. Prints JSON; exits 1 where a run did not end as it should.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import astuple, dataclass
from pathlib import Path

import stage
from killing import side_by_side

CALLS = ("write", "fsync", "rename")
FAULTS = ("kill", "EIO", "ENOSPC")
HANDLE = re.compile(r"^\d+<([^>]*)>")
QUOTED = re.compile(r'"((?:[^"\\]|\\.)*)"')


@dataclass(frozen=True, slots=True)
class Call:
    """A system call of a run: its name, the file (``PID`` for the number of the process), the how-manieth such call."""

    name: str
    file: str
    number: int = 1

    def words(self) -> str:
        """Return it as a person reads it."""
        return f"{self.name} {self.number} on {self.file}"


def traced(attempt: stage.Attempt, log: Path, *options: str) -> subprocess.Popen:
    """Attach strace to a run that holds itself, and let it go on."""
    command = ["strace", "-f", "-qq", "-y", "-s", "0", "-o", str(log), "-p", str(attempt.pid), *options]
    tracer = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    status, deadline = Path(f"/proc/{attempt.pid}/status"), time.monotonic() + 20
    while "TracerPid:\t0\n" in status.read_text(encoding="utf-8"):
        if tracer.poll() is not None or time.monotonic() > deadline:
            attempt.kill()
            raise SystemExit(f"strace could not attach: {tracer.communicate()[1]}")
        time.sleep(0.001)
    attempt.go()
    return tracer


def detached(tracer: subprocess.Popen) -> None:
    """Wait for strace, which ends with the last process of the run."""
    try:
        tracer.communicate(timeout=20)
    except subprocess.TimeoutExpired:
        tracer.kill()
        raise


def run(home: Path, out: Path, log: Path, *options: str) -> tuple[int, str]:
    """Run the suite under strace; return exit code and what it said."""
    attempt = stage.Attempt(stage.words_of(out, "--workers", "1"), home, held=True)
    tracer = traced(attempt, log, *options)
    code = attempt.ended(120)
    if code is None:
        attempt.kill()
        raise SystemExit("a traced run hung")
    detached(tracer)
    return code, attempt.words()


def calls_in(log: Path, place: Path) -> list[tuple[str, str, str]]:
    """Return (thread, call, file below ``place``) of every call in a log of strace, in order."""
    found = []
    whole = re.sub(r"^(\d+) (.*) <unfinished \.\.\.>$", r"\1 \2", log.read_text(encoding="utf-8"), flags=re.MULTILINE)
    for line in whole.splitlines():
        thread, _, rest = line.partition(" ")
        name, _, words = rest.strip().partition("(")
        handle, quoted = HANDLE.match(words), QUOTED.findall(words)
        path = handle.group(1) if handle else quoted[0] if quoted else ""
        if f"{path}/".startswith(f"{place}/") and name in CALLS:
            file = path.removeprefix(str(place)).removeprefix("/") or "."
            found.append((thread, name, re.sub(r"\.tmp-\d+", ".tmp-PID", file)))
    return found


def list_calls(home: Path) -> list[Call]:
    """Trace an unbroken run; return every write, fsync and rename of it on its folder."""
    out, log = home / "traced" / "run", home / "trace.log"
    out.parent.mkdir()
    code, said = run(home, out, log, "-e", f"trace={','.join(CALLS)}")
    if code:
        raise SystemExit(f"the traced run ended with {code}: {said}")
    most: Counter[tuple[str, str]] = Counter()
    by_thread: Counter[tuple[str, str, str]] = Counter()
    for thread, name, file in calls_in(log, out.parent):
        by_thread[thread, name, file] += 1  # strace counts for each thread
        most[name, file] = max(most[name, file], by_thread[thread, name, file])
    return [Call(name, file, number + 1) for (name, file), count in most.items() for number in range(count)]


def met(call: Call, fault: str) -> tuple[str, ...]:
    """Return the options of strace that let a call meet a fault."""
    what = "signal=SIGKILL" if fault == "kill" else f"error={fault}"
    return ("-e", f"trace={call.name}", "-e", f"inject={call.name}:{what}:when={call.number}")


def try_one(home: Path, expected: dict[str, bytes], call: Call, fault: str, index: int) -> dict:
    """Run with a fault, resume, compare; return what was found."""
    out = home / f"faulty-{index}" / "run"
    out.parent.mkdir()
    attempt = stage.Attempt(stage.words_of(out, "--workers", "1"), home, held=True)
    file = call.file.replace("PID", str(attempt.pid))
    tracer = traced(attempt, home / f"{index}.log", "-P", str(out.parent / file), *met(call, fault))
    code, said = attempt.ended(120), attempt.words()
    detached(tracer)
    wrong = after_kill(code) if fault == "kill" else after_error(code, said, out)
    before = stage.committed(out)
    part = call.file.removeprefix("run/").removesuffix(".tmp-PID")
    wrong += [f"{part} is in the journal"] if part in before else []
    again = stage.Attempt(stage.words_of(out, "--resume"), home)
    code = again.ended(120)
    wrong += [] if code == 0 else [f"the resume ended with {code}: {again.words()[-300:]}"]
    now = stage.committed(out)
    wrong += [f"{name} was written again" for name, stat in before.items() if now.get(name) != stat]
    wrong += stage.problems(out, expected) if code == 0 else []
    shutil.rmtree(out.parent)
    message = next((line for line in said.splitlines() if line.startswith("rmbench: error")), "")
    return {"call": call.words(), "fault": fault, "wrong": wrong, "message": message.replace(str(out.parent), "/data")}


def after_kill(code: int | None) -> list[str]:
    """Return what is wrong with a run that should have been killed."""
    return [] if code == -signal.SIGKILL else [f"it was not killed but ended with {code}"]


def after_error(code: int | None, said: str, out: Path) -> list[str]:
    """Return what is wrong with how a run ended that met an error."""
    wrong = [] if code == 4 else [f"it ended with {code}, expected 4"]
    wrong += [] if f"rmbench: error: {out.parent.name}/" in said else [f"its message names no path: {said[-300:]}"]
    wrong += ["a traceback was shown"] if "Traceback" in said else []
    return wrong


def listed(folder: Path) -> list[tuple[str, str, int]]:
    """Return the calls of an unbroken run in a folder of its own."""
    return [astuple(call) for call in list_calls(stage.home(folder, "small"))]


def tried_of(folder: Path, chosen: list[tuple[Call, str]]) -> list[dict]:
    """Let calls meet faults in a folder of its own; return what was found of each."""
    home = stage.home(folder, "small")
    expected = stage.content(stage.whole(home)[0])
    return [try_one(home, expected, call, fault, index) for index, (call, fault) in enumerate(chosen)]


def inject(pairs: int | None, *, faults: tuple[str, ...] = FAULTS, seed: int = 1, jobs: int = 2) -> dict:
    """Let calls meet faults, all of them (``pairs`` None) or a sample; return what was found."""
    begun = time.monotonic()
    stage.load("small")
    calls = [Call(*call) for call in side_by_side(1, lambda _, folder: listed(folder))[0]]
    every = [(call, fault) for call in calls for fault in faults]
    chosen = every if pairs is None else random.Random(seed).sample(every, min(pairs, len(every)))
    found = side_by_side(jobs, lambda job, folder: tried_of(folder, chosen[job::jobs]))
    tried = [one for share in found for one in share]
    wrong = [f"{one['fault']} at {one['call']}: {what}" for one in tried for what in one["wrong"]]
    return {
        "calls": len(calls), "tried": dict(Counter(one["fault"] for one in tried)),
        "identical": dict(Counter(one["fault"] for one in tried if not one["wrong"])), "wrong": wrong,
        "messages": sorted({one["message"] for one in tried if one["message"]}),
        "seconds": round(time.monotonic() - begun, 1),
    }  # fmt: skip


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--every", action="store_true")
    parser.add_argument("--sample", type=int, default=10)
    parser.add_argument("--fault", choices=FAULTS, action="append")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    faults = tuple(given.fault or FAULTS)
    found = inject(None if given.every else given.sample, faults=faults, seed=given.seed, jobs=given.jobs)
    print(json.dumps(found, indent=1))
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
