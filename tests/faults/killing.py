"""Kill runs with SIGKILL at random moments, resume them, kill the resumes, and compare with an unbroken run.

    python tests/faults/killing.py --kills 1000 [--suite full] [--seed N] [--jobs 2]

The moment is uniform over the wall time of an unbroken run, its start and the writing of its report included. Every run
is killed up to four times (its start and three resumes), then ends by itself. Prints JSON; exits 1 where a run did not
end as the unbroken one did.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import sys
import tempfile
import time
import traceback
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import stage

if TYPE_CHECKING:
    from collections.abc import Callable

NESTED = 3  # kills of the resumes of one run


class Killer:
    """Kills runs of one suite in one folder."""

    def __init__(self, folder: Path, kind: str, seed: int) -> None:
        self.draw = random.Random(seed)
        self.home = stage.home(folder, kind)
        self.real = kind == "real"
        run, self.seconds = stage.whole(self.home, real=self.real)
        self.expected = stage.content(run)
        self.found = {"kills": 0, "runs": 0, "identical": 0, "resumes killed": 0, "parts kept": 0, "wrong": []}
        self.moments: Counter[str] = Counter()

    def chain(self) -> None:
        """Start a run, kill it and its resumes, let it end, compare."""
        out = self.home / f"runs-{self.found['runs']}" / "run"
        out.parent.mkdir()
        kept: dict[str, tuple[int, int]] = {}
        wrong: list[str] = []
        deaths = 0
        for limit in (*(self.draw.uniform(0, self.seconds) for _ in range(1 + NESTED)), 300):
            more = ["--resume"] if deaths else []
            attempt = stage.Attempt(stage.words_of(out, *more), self.home, real=self.real)
            code = attempt.ended(limit)
            kept, changed = self._kept(out, kept)
            wrong += changed
            if code is not None:
                wrong += [] if code == 0 else [f"it ended with {code}: {attempt.words()[-500:]}"]
                break
            attempt.kill()
            deaths += 1
            self.moments[moment(out)] += 1
        kept, changed = self._kept(out, kept)
        self._count(out, deaths, [*wrong, *changed])
        shutil.rmtree(out.parent)

    def _kept(self, out: Path, before: dict[str, tuple[int, int]]) -> tuple[dict[str, tuple[int, int]], list[str]]:
        """Return what is committed now, and which of the parts that were committed before was written again."""
        now = stage.committed(out)
        again = [f"{name} was written again" for name, stat in before.items() if now.get(name) != stat]
        self.found["parts kept"] += len(before)
        return now, again

    def _count(self, out: Path, deaths: int, wrong: list[str]) -> None:
        wrong = wrong or stage.problems(out, self.expected)
        self.found["runs"] += 1
        self.found["kills"] += deaths
        self.found["resumes killed"] += max(0, deaths - 1)
        self.found["identical"] += not wrong
        self.found["wrong"] += [f"run {self.found['runs']}, {deaths} kills: {what}" for what in wrong]


def moment(out: Path) -> str:
    """Return how far a run was when it was killed, as its folder tells."""
    if not (out / "manifest.json").exists():
        return "before the folder"
    status = json.loads((out / "manifest.json").read_bytes())["status"]
    if status == "complete":
        return "report"
    if (out / "results.json").exists():
        return "results"
    scored = any((out / "scores").rglob("*.parquet"))
    return "scoring" if scored else "samples, fits and trainings"


def one(folder: Path, kind: str, kills: int, seed: int) -> dict:
    """Kill so often in one folder; return what was found."""
    killer = Killer(folder, kind, seed)
    while killer.found["kills"] < kills:
        killer.chain()
    return {**killer.found, "moments": dict(killer.moments), "seconds of a run": round(killer.seconds, 2)}


def merged(every: list[dict]) -> dict:
    """Return what several processes found as one."""
    whole: dict = {
        key: every[0][key] for key in ("kills", "runs", "identical", "resumes killed", "parts kept", "wrong")
    }
    for other in every[1:]:
        for key in whole:
            whole[key] += other[key]
    moments: Counter[str] = Counter()
    for each in every:
        moments.update(each["moments"])
    return {**whole, "moments": dict(moments), "seconds of a run": max(each["seconds of a run"] for each in every)}


def kill(kind: str, kills: int, *, seed: int = 1, jobs: int = 2) -> dict:
    """Kill so often, in several processes at once; return what was found."""
    begun = time.monotonic()
    stage.load(kind)
    shares = [kills // jobs + (job < kills % jobs) for job in range(jobs)]
    found = merged(side_by_side(jobs, lambda job, folder: one(folder, kind, shares[job], seed * 1000 + job)))
    return {"suite": kind, "seed": seed, **found, "seconds": round(time.monotonic() - begun, 1)}


def side_by_side(jobs: int, work: Callable[[int, Path], Any]) -> list[Any]:
    """Call ``work(job, folder)`` in forks of this process, which has one thread; return what each gave, as JSON has it."""
    with tempfile.TemporaryDirectory(prefix="rmbench-faults-", dir=quick()) as place:
        children = []
        for job in range(jobs):
            folder = Path(place) / str(job)
            folder.mkdir()
            child = os.fork()
            if child == 0:
                code = 1
                try:
                    (folder / "found.json").write_text(json.dumps(work(job, folder / "home")), encoding="utf-8")
                    code = 0
                except BaseException:
                    traceback.print_exc()
                os._exit(code)
            children.append(child)
        if sum(os.waitpid(child, 0)[1] != 0 for child in children):
            raise SystemExit("one of the processes failed")
        return [json.loads((Path(place) / str(job) / "found.json").read_bytes()) for job in range(jobs)]


def quick() -> str | None:
    """Return a folder in memory, where a sync costs nothing, None where there is none."""
    shared = Path("/dev/shm")  # noqa: S108 - a place, no file
    return str(shared) if os.access(shared, os.W_OK) else None


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--kills", type=int, default=1000)
    parser.add_argument("--suite", choices=sorted(stage.KINDS), default="full")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, default=2)
    given = parser.parse_args()
    found = kill(given.suite, given.kills, seed=given.seed, jobs=given.jobs)
    print(json.dumps(found, indent=1))
    sys.exit(1 if found["wrong"] else 0)


if __name__ == "__main__":
    main()
