"""A training that is killed, interrupted or whose files are damaged ends with the same weights and rows, bit for bit."""

import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from spelling import Speller, bits, copies, session, share_of_a

from rmbench.judged import Interrupted
from rmbench.trainers import grpo, loop, reinforce
from rmbench.trainers.options import Grpo, Reinforce

HERE = Path(__file__).resolve().parent
OPTIONS = Reinforce(steps=10, batch=4, evaluations=5, evaluation_prompts=4, learning_rate=0.02)


@pytest.fixture(autouse=True)
def _state_each_time_it_may_be(monkeypatch):
    monkeypatch.setattr(loop, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(loop, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a disk takes longer than the training


def files(folder):
    return (folder / "log.jsonl").read_bytes(), (folder / "curve.jsonl").read_bytes()


def whole(folder, options=OPTIONS, **fields):
    agent = Speller(dropout=0.2)
    reinforce.train(agent, copies(), options, session(folder, **fields))
    return bits(agent), *files(folder)


def test_kills_at_any_moment_change_nothing(tmp_path):
    done = subprocess.run(
        [sys.executable, str(HERE / "killed_trainers.py"), str(tmp_path)], capture_output=True, text=True, check=False,
        env=os.environ | {"PYTHONPATH": f"{HERE.parent.parent}{os.pathsep}{HERE}"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-3000:]
    for name, ((none, unbroken), (deaths, killed)) in json.loads(done.stdout).items():
        assert none == 0
        assert deaths >= 8, name
        assert killed == unbroken, name


def counting(call, at, raised):
    calls = iter(range(10**6))

    def counted(*args):
        if next(calls) == at:
            raise raised
        return call(*args)

    return counted


@pytest.mark.parametrize("where", ["score", "judge", "stop"])
def test_an_interruption_keeps_the_state_of_that_very_step(tmp_path, where):
    expected = whole(tmp_path / "whole")
    broken = session(tmp_path / "broken")
    if where == "stop":
        calls = iter(range(10**6))
        broken = replace(broken, stop=lambda: next(calls) == 4)
    elif where == "score":
        broken = session(tmp_path / "broken", counting(share_of_a, 4, Interrupted()), judge=broken.judge)
    else:
        broken = replace(broken, judge=counting(broken.judge, 2, Interrupted()))
    monkey = {"stop": 4, "score": 4, "judge": 4}[where]
    with pytest.raises(Interrupted):
        reinforce.train(Speller(dropout=0.2), copies(), OPTIONS, broken)
    steps = [int(file.stem.removeprefix("state-")) for file in (tmp_path / "broken" / ".state").glob("*.json")]
    assert max(steps) == monkey
    assert whole(tmp_path / "broken") == expected


def test_a_log_that_lost_rows_is_gone_back_to(tmp_path):
    expected = whole(tmp_path / "whole")
    folder = tmp_path / "broken"
    calls = iter(range(10**6))
    with pytest.raises(Interrupted):
        reinforce.train(Speller(dropout=0.2), copies(), OPTIONS, session(folder, stop=lambda: next(calls) == 6))
    rows = (folder / "log.jsonl").read_bytes().splitlines(keepends=True)
    (folder / "log.jsonl").write_bytes(b"".join(rows[:3]) + b'{"step": 4, "lo')
    assert whole(folder) == expected


def test_a_training_that_is_over_is_not_made_again(tmp_path):
    expected = whole(tmp_path)
    assert whole(tmp_path, judge=lambda *_: 1 / 0) == expected


def test_another_seed_is_another_training(tmp_path):
    assert whole(tmp_path / "1", seed=1)[0] != whole(tmp_path / "2", seed=2)[0]


def test_states_are_saved_every_tenth_of_the_steps(tmp_path, monkeypatch):
    saved = []
    monkeypatch.setattr(loop, "save", lambda folder, key, progress, parts: saved.append(progress.step))
    options = Grpo(steps=40, batch=1, group=2, evaluations=1, evaluation_prompts=1)
    grpo.train(Speller(), copies(), options, session(tmp_path))
    assert saved == list(range(4, 41, 4))
