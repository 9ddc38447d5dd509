"""A fit that is killed, interrupted or whose state is damaged ends with the same weights, bit for bit."""

import json
import os
import random
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from bag import bits, made
from judgements import words
from safetensors.torch import load_file

from rmbench.judged import Fitting, Interrupted
from rmbench.models import training
from rmbench.models.options import Training
from rmbench.models.state import StateWarning
from rmbench.models.training import train
from rmbench.store import canonical

HERE = Path(__file__).resolve().parent
DATA = words(30, 10)
OPTIONS = Training(steps=20, batch=8, learning_rate=0.02, evaluations=5, patience=0)
NAMES = ["state-000000010.json", "state-000000010.safetensors", "state-000000012.json", "state-000000012.safetensors"]


@pytest.fixture(autouse=True)
def _state_each_time_it_may_be(monkeypatch):
    monkeypatch.setattr(training, "LEAST_SECONDS", 0.0)
    monkeypatch.setattr(training, "LEAST_SHARE", 0.0)
    monkeypatch.setattr(os, "fsync", lambda _: None)  # a disk takes longer than the fit


def after(calls):
    """A ``stop`` that says so from this call on."""
    count = iter(range(10**6))
    return lambda: next(count) >= calls


def fit(folder, *, stop=lambda: False, options=OPTIONS, recipe=None, data=DATA, hidden=8):
    fitting = Fitting(folder, recipe or {"reward_model": "bag"}, stop=stop)
    learner = made(data, fitting, dropout=0.3, hidden=hidden)
    return bits(learner.module), train(learner, data, "bradley-terry", options, fitting), bits(learner.module)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    return fit(tmp_path_factory.mktemp("whole"))


@pytest.fixture
def halted(tmp_path):
    """A folder whose fit was interrupted after 12 of 20 steps, with states of steps 10 and 12."""
    with pytest.raises(Interrupted, match="stopped at step 12 of 20"):
        fit(tmp_path, stop=after(12))
    assert sorted(file.name for file in (tmp_path / ".state").iterdir()) == NAMES
    return tmp_path


def test_killed_at_random_steps_and_writes_it_ends_with_the_same_bits(tmp_path):
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join([str(HERE), str(HERE.parent.parent)])}
    command = [sys.executable, str(HERE / "killed.py"), str(tmp_path), "1"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    for found in json.loads(done.stdout).values():
        assert len(found["outs"]) == 6
        assert all(out == found["outs"][0] for out in found["outs"])
        assert len(found["deaths"]) >= 10
        assert {what for what, _ in found["deaths"]} == {"step", "fsync", "rename", "evaluation"}
        assert sum(step > 0 for step in found["resumed"]) >= 8


def test_interrupted_at_every_step_it_ends_with_the_same_bits(tmp_path, whole):
    before = 0
    for step in range(1, 20):
        with pytest.raises(Interrupted):
            fit(tmp_path, stop=after(step - before))
        before = step
    assert fit(tmp_path) == whole


def test_a_fit_that_was_over_gives_the_same_again(tmp_path, whole):
    assert fit(tmp_path) == whole
    told = []
    fitting = Fitting(tmp_path, {"reward_model": "bag"}, tell=told.append)
    learner = made(DATA, fitting, dropout=0.3)
    assert train(learner, DATA, "bradley-terry", OPTIONS, fitting) == whole[1]
    assert bits(learner.module) == whole[2]
    assert told == []


def cut(path):
    path.write_bytes(path.read_bytes()[:-7])


def flip(path):
    data = bytearray(path.read_bytes())
    data[random.Random(len(data)).randrange(len(data))] ^= 1
    path.write_bytes(bytes(data))


def empty(path):
    path.write_bytes(b"")


def signed(path, change):
    """Change the state's JSON and give it a right sha256 again."""
    import hashlib

    body = json.loads(path.read_bytes())["state"]
    change(body)
    path.write_bytes(canonical({"sha256": hashlib.sha256(canonical(body)).hexdigest(), "state": body}))


def other_schema(path):
    signed(path, lambda body: body.update(schema=2))


def other_fit(path):
    signed(path, lambda body: body.update(key="0" * 64))


def other_version(path):
    signed(path, lambda body: body["progress"].pop("waited"))


def no_object(path):
    path.write_bytes(b"[1, 2]")


def deep(path):
    path.write_bytes(b"[" * 100_000)


@pytest.mark.parametrize(
    ("name", "damage", "why"),
    [
        (3, cut, "the sha256 of its tensors is another"),
        (3, flip, "the sha256 of its tensors is another"),
        (3, empty, "the sha256 of its tensors is another"),
        (3, Path.unlink, "its tensors cannot be read (FileNotFoundError)"),
        (2, Path.unlink, "it was not written to its end, state-000000012.json is missing"),
        (2, cut, "cannot be read (JSONDecodeError)"),
        (2, empty, "cannot be read (JSONDecodeError)"),
        (2, no_object, "cannot be read (TypeError)"),
        (2, deep, "cannot be read (RecursionError)"),
        (2, other_schema, "it is of another fit"),
        (2, other_fit, "it is of another fit"),
        (2, other_version, "it is of another version"),
    ],
)
def test_a_damaged_state_is_discarded_with_a_note_and_the_one_before_is_used(halted, whole, name, damage, why):
    damage(halted / ".state" / NAMES[name])
    told = []
    fitting = Fitting(halted, {"reward_model": "bag"}, tell=told.append)
    learner = made(DATA, fitting, dropout=0.3)
    with pytest.warns(StateWarning) as notes:
        trained = train(learner, DATA, "bradley-terry", OPTIONS, fitting)
    assert [str(note.message) for note in notes] == [f"{halted}/.state/state-000000012: {why}; it is discarded".replace(
        "is another;", "is another: damaged;")]  # fmt: skip
    assert (trained, bits(learner.module)) == whole[1:]
    assert min(row["step"] for row in told) == 12  # the evaluation at 12 is made again: the state of 10 was used


@pytest.mark.filterwarnings("ignore::rmbench.models.state.StateWarning")
def test_whatever_byte_of_the_json_changes_the_weights_are_the_same(halted, whole):
    kept = {name: (halted / ".state" / name).read_bytes() for name in NAMES}
    draw = random.Random(5)
    for _ in range(6):
        for name, content in kept.items():
            (halted / ".state" / name).write_bytes(content)
        data = bytearray(kept[NAMES[2]])
        data[draw.randrange(len(data))] = draw.choice(b'7}"x')
        (halted / ".state" / NAMES[2]).write_bytes(data)
        assert fit(halted) == whole


def test_with_no_state_that_verifies_it_starts_afresh(halted, whole):
    for name in (NAMES[1], NAMES[2]):
        cut(halted / ".state" / name)
    with pytest.warns(StateWarning) as notes:
        assert fit(halted) == whole
    assert len(notes) == 2


def test_what_a_killed_write_left_is_no_state_and_goes(halted, whole):
    (halted / ".state" / "state-000000014.safetensors.tmp-77").write_bytes(b"half")
    (halted / ".state" / "notes").write_bytes(b"of somebody")
    with pytest.warns(StateWarning, match="state-000000014: it was not written to its end"):
        assert fit(halted) == whole
    assert {file.suffix for file in (halted / ".state").iterdir()} == {".json", ".safetensors"}


@pytest.mark.parametrize(
    "other",
    [
        {"options": Training(steps=20, batch=8, learning_rate=0.03, evaluations=5, patience=0)},
        {"recipe": {"reward_model": "bag", "seed": 2}},
        {"data": words(31, 10)},
    ],
)
def test_the_state_of_another_fit_is_not_gone_on_with(halted, tmp_path_factory, other):
    fresh = fit(tmp_path_factory.mktemp("fresh"), **other)
    with pytest.warns(StateWarning, match="it is of another fit"):
        assert fit(halted, **other) == fresh


def test_the_state_of_another_model_is_not_gone_on_with(halted, tmp_path_factory):
    fresh = fit(tmp_path_factory.mktemp("fresh"), hidden=9)
    with pytest.warns(StateWarning, match="its weights are another model's"):
        assert fit(halted, hidden=9) == fresh


def test_state_is_safetensors_and_json_with_moments_generator_and_best_weights(halted):
    tensors = load_file(halted / ".state" / NAMES[3])
    now = {name.removeprefix("now/") for name in tensors if name.startswith("now/")}
    assert now == {name.removeprefix("best/") for name in tensors if name.startswith("best/")}
    assert {"1.weight", "1.bias", "2.running_mean", "2.num_batches_tracked", "4.weight"} <= now
    assert {name.rsplit("/", 1)[1] for name in tensors if name.startswith("adam/")} == {"step", "exp_avg", "exp_avg_sq"}
    assert tensors["rng/cpu"].dtype == torch.uint8
    body = json.loads((halted / ".state" / NAMES[2]).read_bytes())["state"]
    assert body["progress"]["step"] == 12
    assert set(body) == {"schema", "key", "tensors", "progress", "schedule", "rates"}


def test_seconds_are_counted_over_interruptions(tmp_path, monkeypatch):
    ticks = iter(range(10**6))
    monkeypatch.setattr("rmbench.models.training.time.monotonic", lambda: float(next(ticks)))
    options = Training(steps=500, seconds=60.0, evaluations=1)
    with pytest.raises(Interrupted):
        fit(tmp_path, stop=after(10), options=options)
    (saved,) = (tmp_path / ".state").glob("*.json")
    spent = json.loads(saved.read_bytes())["state"]["progress"]["seconds"]
    assert 10 < spent < 60
    _, trained, _ = fit(tmp_path, options=options)
    assert trained.stopped == "seconds"
    per_step = spent / 10
    assert trained.steps == pytest.approx(60 / per_step, abs=3)
