"""Trainings that kill themselves with SIGKILL and are called again until one ends; run as a program, prints JSON.

One process imports torch and forks a child for every attempt, so that a kill costs milliseconds.
"""

import hashlib
import json
import os
import random
import signal
import sys
import warnings
from pathlib import Path

import torch
from spelling import Speller, bits, copies, session, share_of_a

from rmbench.models import state
from rmbench.trainers import grpo, logs, loop, reinforce, sft
from rmbench.trainers.options import Grpo, Reinforce, Sft

DATA = copies(20, 6)
COMMON = {"batch": 4, "learning_rate": 0.02, "evaluation_prompts": 4, "schedule": "cosine"}
TRAININGS = {
    "sft": (sft, Sft(steps=30, evaluations=6, patience=3, **COMMON)),
    "reinforce": (reinforce, Reinforce(steps=20, evaluations=4, mix=0.3, mix_schedule="linear", **COMMON)),
    "grpo": (grpo, Grpo(steps=12, evaluations=12, group=3, updates=2, micro_batch=5, **COMMON)),
}
PLACES = ("fsync", "rename", "score", "judge", "update", "line")


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function, at):
    """The function, and death instead of its call number ``at``."""
    calls = iter(range(1, 10**9))

    def call(*args, **options):
        return die() if next(calls) == at else function(*args, **options)

    return call


def cut_line(at):
    """``Rows.add`` that dies in the middle of line number ``at``."""
    calls, whole = iter(range(1, 10**9)), logs.Rows.add

    def add(self, row):
        if next(calls) == at:
            self.file.write(logs.line(row)[:9])
            self.file.flush()
            die()
        whole(self, row)

    return add


def attempt(folder, name, kill):
    """Train, and die where ``kill`` says so; what came out goes into out.json."""
    loop.LEAST_SECONDS = loop.LEAST_SHARE = 0.0
    warnings.simplefilter("error", state.StateWarning)
    warnings.filterwarnings("ignore", ".*not written to its end.*", state.StateWarning)  # died between the two files
    what, at = kill
    os.fsync = counted(lambda _: None, at if what == "fsync" else 0)  # a disk takes longer than the training
    if what == "rename":
        Path.rename = counted(Path.rename, at)
    if what == "update":
        torch.optim.AdamW.step = counted(torch.optim.AdamW.step, at)
    if what == "line":
        logs.Rows.add = cut_line(at)
    given = session(folder, counted(share_of_a, at) if what == "score" else share_of_a)
    if what == "judge":
        given = session(folder, judge=counted(given.judge, at))
    module, options = TRAININGS[name]
    agent = Speller(dropout=0.2)
    trained = module.train(agent, DATA, options, given)
    (folder / "out.json").write_text(json.dumps({
        "weights": hashlib.sha256(bits(agent)).hexdigest(), "log": (folder / "log.jsonl").read_text(),
        "curve": (folder / "curve.jsonl").read_text(), "trained": [trained.steps, trained.stopped, list(trained.notes)],
        "timed": len((folder / ".timings.jsonl").read_text().splitlines()),
    }))  # fmt: skip


def train(folder, name, kills):
    """Call a training until it ends; how often it died, and what came out."""
    folder.mkdir()
    deaths = 0
    for kill in [*kills, ("none", 0)]:
        child = os.fork()
        if not child:
            attempt(folder, name, kill)
            os._exit(0)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            deaths += 1
        elif status:
            raise SystemExit(f"{name} failed after {deaths} deaths")
        else:
            break
    return deaths, json.loads((folder / "out.json").read_text())


def main():
    folder, out = Path(sys.argv[1]), {}
    torch.set_num_threads(1)
    grpo.train(Speller(), DATA, Grpo(steps=1, batch=1, group=2), session(folder / "warm"))  # imports, once for all
    for name in TRAININGS:
        draw = random.Random(name)
        kills = [(PLACES[at % len(PLACES)], draw.randint(1, 9)) for at in range(16)]
        out[name] = [train(folder / f"{name}-whole", name, []), train(folder / f"{name}-killed", name, kills)]
    sys.stdout.write(json.dumps(out))


if __name__ == "__main__":
    main()
