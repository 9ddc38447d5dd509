"""Fits that kill themselves with SIGKILL and are called again until one ends; run as a program, prints JSON.

One process imports torch and forks a child for every attempt, so that a kill costs milliseconds.
"""

import json
import os
import random
import signal
import sys
import warnings
from pathlib import Path

import torch
from bag import bits, made
from judgements import words

from rmbench.judged import Fitting
from rmbench.models import state, training
from rmbench.models.options import Training

DATA = words(40, 12)
STEPS = 40
OPTIONS = {
    "bradley-terry": Training(steps=STEPS, batch=7, learning_rate=0.02, schedule="cosine", evaluations=8, patience=0),
    "hinge": Training(
        steps=STEPS, batch=64, learning_rate=0.015, schedule="step", warmup=0.0, evaluations=40, patience=5
    ),
}


def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)


def counted(function, at):
    """The function, and death instead of its call number ``at``."""
    calls = iter(range(1, 10**9))

    def call(*args, **options):
        return die() if next(calls) == at else function(*args, **options)

    return call


def attempt(folder, loss, kill):
    """Fit, and die at a step, a sync or a rename where ``kill`` says so; what came out goes into out.json."""
    training.LEAST_SECONDS = training.LEAST_SHARE = 0.0
    warnings.simplefilter("error", state.StateWarning)
    warnings.filterwarnings("ignore", ".*not written to its end.*", state.StateWarning)  # died between the two files
    what, at = kill
    fitting = Fitting(folder, stop=counted(lambda: False, at) if what == "step" else lambda: False)
    os.fsync = counted(lambda _: None, at if what == "fsync" else 0)  # a disk takes longer than the fit
    if what == "rename":
        Path.rename = counted(Path.rename, at)
    if what == "evaluation":
        fitting = Fitting(folder, tell=counted(lambda _: None, at))
    learner = made(DATA, fitting, dropout=0.3)
    trained = training.train(learner, DATA, loss, OPTIONS[loss], fitting)
    out = {"bits": bits(learner.module), "curve": [dict(row) for row in trained.curve], "record": trained.record()}
    (folder / "out.json").write_text(json.dumps(out))


def forked(folder, loss, kill=("never", 0)):
    """Whether a child that makes the attempt ended by itself."""
    child = os.fork()
    if not child:
        try:
            attempt(folder, loss, kill)
            os._exit(0)
        except BaseException as error:
            print(repr(error), file=sys.stderr)
            os._exit(3)
    status = os.waitpid(child, 0)[1]
    if os.WIFEXITED(status) and os.WEXITSTATUS(status):
        sys.exit(f"an attempt failed: {kill}")
    return os.WIFEXITED(status)


def reached(folder):
    steps = [int(file.stem.removeprefix("state-")) for file in (folder / ".state").glob("state-*.json")]
    return max(steps, default=0)


def main(folder, seed):
    """Kill fits at random points until one ends; print what each gave, how often it died and where it went on."""
    torch.set_num_threads(1)
    torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports half of torch: once for all children
    draw, found = random.Random(seed), {}
    for loss in OPTIONS:
        assert forked(folder / loss / "whole", loss)
        deaths, resumed = zip(
            *(one for number in range(5) for one in killed(folder / loss / f"{number}", loss, draw)), strict=True
        )
        outs = [json.loads(out.read_text()) for out in sorted((folder / loss).glob("*/out.json"))]
        found[loss] = {"outs": outs, "deaths": deaths, "resumed": resumed}
    print(json.dumps(found))


def killed(place, loss, draw):
    """Fit with up to four deaths; return how and where each attempt that died began."""
    found = []
    for _ in range(4):
        kill = draw.choice([("step", draw.randint(4, 15)), ("fsync", draw.randint(5, 12)),
                            ("rename", draw.randint(3, 6)), ("evaluation", draw.randint(1, 4))])  # fmt: skip
        step = reached(place)
        if forked(place, loss, kill):
            return found
        found.append((kill, step))
    assert forked(place, loss)
    return found


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]))
