"""What each reward costs on the `human` suite, before the kernel and now: python reports/performance/human.py.

Runs the suite from two trees in turn, one worker at a time, and writes human.json: processor seconds that each reward's
worker spent scoring. Start-up and the imports of a worker are not among them, a compiler's time is.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
BEFORE = "24b4a6e"  # the last commit without the kernel
TURNS = 2
LOG = "RMBENCH_CPU_LOG"
HOOK = f"""
import json, os, sys, time

if "rmbench.worker" in sys.orig_argv:
    from rmbench import scoring

    build, score, names = scoring.build, scoring.score, []

    def built(reward, options, runtime):
        given = ", ".join(f"{{key}}={{value}}" for key, value in sorted(options.items()))
        names.append(f'{{reward.name}} ({{given}})' if given else reward.name)
        return build(reward, options, runtime)

    def timed(scorer, batch):
        begun = time.process_time()
        try:
            return score(scorer, batch)
        finally:
            with open(os.environ["{LOG}"], "a", encoding="utf-8") as log:
                log.write(json.dumps([names[0], time.process_time() - begun]) + "\\n")

    scoring.build, scoring.score = built, timed
"""


def seconds_of(tree: Path, folder: Path, data: Path) -> dict[str, float]:
    """Return processor seconds by reward of one run of the suite by the package in a tree.

    Raises:
        SystemExit: the run ended with an error.
    """
    folder.mkdir()
    (folder / "sitecustomize.py").write_text(HOOK, encoding="utf-8")
    log = folder / "log.jsonl"
    words = ["run", "human", "--workers", "1", "--out", str(folder / "run"), "--data-dir", str(data)]
    environment = {**os.environ, "PYTHONPATH": f"{folder}{os.pathsep}{tree}", LOG: str(log)}
    command = [sys.executable, "-m", "rmbench.cli.main", *words]
    done = subprocess.run(command, env=environment, cwd=folder, capture_output=True, text=True, check=False)  # noqa: S603 - this Python, our module
    if done.returncode:
        sys.exit(f"{tree}: the run ended with {done.returncode}: {done.stderr[-2000:]}")
    found: dict[str, float] = defaultdict(float)
    for line in log.read_text(encoding="utf-8").splitlines():
        name, seconds = json.loads(line)
        found[name] += seconds
    return dict(found)


def git(*words: str) -> None:
    """Run git in this repository."""
    subprocess.run(["git", "-C", str(REPO), *words], check=True)  # noqa: S603, S607 - the user's git


def main() -> None:
    """Run both trees in turn and write human.json."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", default=BEFORE, help="the commit to compare with")
    parser.add_argument("--data-dir", default=os.environ.get("RMBENCH_DATA", REPO.parent / "shared" / "data"))
    given = parser.parse_args()
    runs: dict[str, list[dict[str, float]]] = {"before": [], "now": []}
    with TemporaryDirectory() as place:
        old = Path(place) / "before"
        git("worktree", "add", "--quiet", "--detach", str(old), given.before)
        try:
            for turn in range(TURNS):
                for side, tree in (("before", old), ("now", REPO)):
                    runs[side].append(seconds_of(tree, Path(place) / f"{side}-{turn}", Path(given.data_dir).resolve()))
                    print(side, turn + 1, f"{sum(runs[side][-1].values()):.1f} processor seconds")
        finally:
            git("worktree", "remove", "--force", str(old))
    names = sorted(set(runs["before"][0]) | set(runs["now"][0]))
    seconds = {
        name: {side: round(statistics.mean(run.get(name, 0.0) for run in found), 3) for side, found in runs.items()}
        for name in names
    }
    text = json.dumps({"before": given.before, "turns": TURNS, "seconds": seconds}, indent=1)
    (HERE / "human.json").write_text(text + "\n", encoding="utf-8")
    print(f"wrote {HERE / 'human.json'}")


if __name__ == "__main__":
    main()
