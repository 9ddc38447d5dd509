"""plugins/rmbench-trl in a suite: its reward model and trainers beside a trainer of ours, one leaderboard, resumed.

Each training has a thread of this process where a run gives it a process of its own, so that TRL is imported once:
five seconds and not thirty. Scores, messages, files and the report are a run's.
"""

import json
import os
import random
import threading
from types import SimpleNamespace

import pytest
from fakes import REPO, jsonl

from rmbench import fitter, fitting, optimising, plugins, runs, suite, trainer, training_checks, wire
from rmbench.overrides import Overrides
from rmbench.process import Stopped, Worker
from rmbench.worker import exactly

CARD = 'name = "cats"\nversion = 1\nkind = "generation"\n[data]\n' + "".join(
    f'{split} = "{split}.jsonl"\n' for split in ("train", "dev", "test")
)
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dog", "barked", "at", "user"]
SUITE = """
name = "trl"
tasks = ["cats"]
rewards = ["chrf", "length"]
seeds = [1]
[[reward_model]]
name = "rm"
use = "trl-reward"
task = "cats"
options = { steps = 4, evaluations = 1, vocabulary = 300, hidden = 16, layers = 1, heads = 2 }
[[policy]]
name = "base"
use = "tiny"
task = "cats"
trainer = "trl-sft"
options = { layers = 1, width = 16, heads = 2, vocabulary = 300, max_prompt = 32, max_tokens = 6 }
trainer_options = { steps = 2, batch = 4, evaluations = 1, evaluation_prompts = 4 }
"""
TRAIN = """
[[train]]
name = "by-{name}"
trainer = "{name}"
policy = "base"
reward = "chrf"
judges = ["length"]
trainer_options = {{ steps = {steps}, batch = 4, evaluations = 1, evaluation_prompts = 4, group = 4, learning_rate = 1e-2 }}
"""
TRAINERS = {"grpo": 2, "trl-grpo": 2, "trl-rloo": 2, "trl-dpo": 40}  # steps; the last one is interrupted among them


class Beside(Worker):
    """A worker in a thread of this process, at the other end of two pipes as ever."""

    def __init__(self, module, *, timeout, stop, **_):
        self.timeout, self.stop, self.asked = timeout, stop, threading.Event()
        self.ends = [*os.pipe(), *os.pipe()]
        theirs, out, back, replies = (
            os.fdopen(fd, mode, buffering=0) for fd, mode in zip(self.ends, ("rb", "wb", "rb", "wb"), strict=True)
        )
        self.child = SimpleNamespace(stdin=out, stdout=back, poll=lambda: None)
        self.streams = (theirs, out, back, replies)
        self.thread = threading.Thread(target=self.work, args=(module, theirs, replies), daemon=True)
        self.thread.start()

    def work(self, module, requests, replies):
        message = wire.decode(exactly(requests))
        if "check" in message:
            reply = (fitter if module == "rmbench.fitter" else trainer).checked(message)
        elif module == "rmbench.fitter":
            reply = fitter.answer(message, lambda step: fitter.write(replies, {"step": dict(step)}))
        else:
            task = fitter.unpacked(message["task"])
            reply = trainer.answer(message, trainer.Driver(requests, replies, task, self.asked.is_set))
        fitter.write(replies, reply)

    def end(self, seconds):
        self.asked.set()
        self.thread.join(seconds)

    def kill(self):
        self.thread.join(60)
        for stream in self.streams:
            stream.close()


class Halting(runs.Quiet):
    """Progress that interrupts when a training has made its first step, and counts the steps of all."""

    def __init__(self, at=None):
        self.at, self.stop, self.steps, self.warned = at, threading.Event(), {}, []

    def fitting(self, name, step):
        self.steps.setdefault(name, []).append(step.get("step"))
        if name == self.at:
            self.stop.set()

    def warn(self, message):
        self.warned.append(message)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder, draw = tmp_path_factory.mktemp("trl-suite"), random.Random(1)
    (folder / "cats").mkdir()
    (folder / "cats" / "task.toml").write_text(CARD, encoding="utf-8")

    def text(count):
        return " ".join(draw.choices(WORDS, k=count))

    for split, count in (("train", 24), ("dev", 6), ("test", 4)):
        rows = [{"id": f"{split}-{at}", "prompt": text(4), "references": [text(5)]} for at in range(count)]
        if split != "test":
            for row in rows:
                texts = (f"cat {text(2)} cat", f"dog {text(3)}")
                row |= {"candidates": [{"system": name, "text": one} for name, one in zip("ab", texts, strict=True)]}
                row |= {"preferences": [{"better": 0, "worse": 1}]}
        jsonl(folder / "cats" / f"{split}.jsonl", rows)
    (folder / "s.toml").write_text(
        SUITE + "".join(TRAIN.format(name=name, steps=steps) for name, steps in TRAINERS.items()), encoding="utf-8"
    )
    return folder


@pytest.fixture(scope="module")
def ran(folder):
    """A run of the suite that was interrupted in a training of TRL and gone on with; what was told; the state then."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(folder / "hf"))
        patch.setenv("PYTHONPATH", os.pathsep.join([str(REPO), str(REPO / "plugins" / "rmbench-trl")]))
        patch.syspath_prepend(str(REPO / "plugins" / "rmbench-trl"))
        patch.setattr(fitter, "Stop", lambda: lambda: False)
        patch.setattr(fitting, "Worker", Beside)
        patch.setattr(optimising, "Worker", Beside)
        patch.setattr(training_checks, "Worker", Beside)
        catalog = plugins.load()
        plan = suite.plan(suite.read(folder / "s.toml"), catalog, Overrides(), base=folder, where="s.toml")

        def run(told):
            settings = runs.Settings(folder / "out", resume=True, workers=1)
            return runs.execute(plan, catalog, settings, progress=told, stop=told.stop)

        first, second = Halting("by-trl-dpo (seed 1)"), Halting()
        with pytest.raises(Stopped):
            run(first)
        state = list((folder / "out" / "training" / "by-trl-dpo" / "seed-1" / ".state").rglob("trainer_state.json"))
        return SimpleNamespace(run=run(second), first=first.steps, second=second.steps, state=state)


def test_our_trainers_and_those_of_trl_stand_in_one_leaderboard(ran):
    assert ran.run.exit_code == 0
    boards = (ran.run.folder / "report" / "report.md").read_text(encoding="utf-8").split("**Trainers on chrf")
    assert len(boards) == 2
    rows = [line for line in boards[1].split("\n\n")[1].splitlines() if line.startswith("| ")]
    shown = {tuple(cell.strip() for cell in row.split("|")[1:3]) for row in rows}
    assert {(f"by-{name}", name) for name in TRAINERS} < shown
    numbers = json.loads((ran.run.folder / "results.json").read_bytes())["results"]
    gains = {n["system"]: n["trainer"] for n in numbers if n["study"] == "optimise" and n["metric"] == "gain"}
    assert gains == {f"by-{name}": name for name in TRAINERS}
    means = [n for n in numbers if (n["study"], n["metric"], n["reward"]) == ("score", "mean", "rm")]
    assert {n["system"] for n in means} == {"base", *(f"by-{name}" for name in TRAINERS), None}
    assert all(n["value"] is not None for n in means)


def test_what_was_interrupted_in_trl_goes_on_where_it_was_and_the_rest_is_kept(ran):
    cut = "by-trl-dpo (seed 1)"
    assert ran.state
    assert ran.first[cut] == [1]
    assert ran.second.keys() == {cut}
    assert ran.second[cut][0] > 1
    assert {"rm", "base (seed 1)", "by-grpo (seed 1)", "by-trl-grpo (seed 1)", "by-trl-rloo (seed 1)"} < set(ran.first)
    log = (ran.run.folder / "training" / "by-trl-dpo" / "seed-1" / "log.jsonl").read_text(encoding="utf-8")
    assert [json.loads(line)["step"] for line in log.splitlines()] == list(range(1, 41))
