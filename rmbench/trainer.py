"""Train one policy with one seed for the driver in a process of its own: ``python -m rmbench.trainer``.

One message comes in: the policy, its start, trainer, task, options. Messages go out: how far it is, texts to score
(which the driver answers, with the rewards in their own workers), then how it ended. SIGTERM makes it save its state.
"""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench import errors, guard, judgements, options, plugins, wire
from rmbench.api import Batch, Candidate, Runtime
from rmbench.errors import InputError, RMBenchError
from rmbench.fitted import OF_POLICY as RECIPE
from rmbench.fitter import ONE_THREAD, Stop, unpacked, write
from rmbench.judged import Interrupted, Judged, Judgements
from rmbench.kernel.models.files import object_of
from rmbench.policy import Scored, Session, Trained
from rmbench.source import batch, open_source
from rmbench.store import canonical, write_whole
from rmbench.worker import die_with_the_driver, exactly, private_pipes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from rmbench.api import Sample, Task
    from rmbench.policy import Agent, Policy, Trainer

ROWS = 1024  # texts sent to be scored at once, whole groups of one prompt
POLL = 0.2
CONFIG, TRAINED, STATE = "config.json", ".trained.json", ".state"


@dataclass(frozen=True, slots=True)
class Driver:
    """The other end: told how far it is, asked for scores."""

    requests: BinaryIO
    replies: BinaryIO
    task: Task
    stop: Callable[[], bool]

    def tell(self, step: Mapping[str, Any]) -> None:
        """Say how far it is."""
        write(self.replies, {"step": dict(step)})

    def scores(self, samples: Sequence[Sample], texts: Sequence[str], names: Sequence[str]) -> dict[str, Scored]:
        """Return what rewards give to one text per sample, by name."""
        values: dict[str, list[float | None]] = {name: [None] * len(texts) for name in names}
        reasons: dict[str, dict[int, str]] = {name: {} for name in names}
        for places in _chunks(samples):
            rows = _batch([samples[place] for place in places], [texts[place] for place in places], self.task)
            for name, column in self._asked(rows, names).items():
                for place, value, reason in zip(places, column["values"], column["reasons"], strict=True):
                    values[name][place] = value
                    if value is None:
                        reasons[name][place] = reason or "the reward gave None"
        return {name: Scored(tuple(values[name]), MappingProxyType(reasons[name])) for name in names}

    def _asked(self, rows: Batch, names: Sequence[str]) -> dict[str, Any]:
        write(self.replies, {"score": wire.pack(rows), "names": list(names)})
        while not select.select([self.requests], [], [], POLL)[0]:
            if self.stop():
                raise Interrupted
        reply = wire.decode(exactly(self.requests))
        if reply is None:  # the driver ends
            raise Interrupted
        if "refused" in reply:
            raise InputError(reply["refused"], where=reply["where"], help=reply["help"])
        columns: dict[str, Any] = reply["columns"]
        return columns


def _chunks(samples: Sequence[Sample]) -> Iterator[list[int]]:
    """Cut rows into runs of about ROWS, all rows of one sample in one of them and beside each other."""
    groups: dict[str, list[int]] = {}
    for place, sample in enumerate(samples):
        groups.setdefault(sample.id, []).append(place)
    held: list[int] = []
    for places in groups.values():
        if held and len(held) + len(places) > ROWS:
            yield held
            held = []
        held = held + places
    if held:
        yield held


def _batch(samples: Sequence[Sample], texts: Sequence[str], task: Task) -> Batch:
    """Return the rows to score: texts of one sample, which lie beside each other, are its candidates."""
    whole: list[Sample] = []
    for sample, text in zip(samples, texts, strict=True):
        new = Candidate("policy", text)
        if whole and whole[-1].id == sample.id:
            whole[-1] = replace(whole[-1], candidates=(*whole[-1].candidates, new))
        else:
            whole.append(replace(sample, candidates=(new,)))
    return batch(whole, task, labels=False)


@dataclass(frozen=True, slots=True)
class Work:
    """What a message asks for, found and typed."""

    message: Mapping[str, Any]
    policy: Policy
    given: Any
    trainer: Trainer | None
    trainer_given: Any
    data: Judgements
    runtime: Runtime

    @property
    def folder(self) -> Path:
        """Where the policy and what it writes are to stand."""
        return Path(self.message["folder"])

    def start(self) -> Agent:
        """Return the policy that this one begins with, anew."""
        weights, policy = self.message["weights"], self.policy
        made: Agent = _called(
            (lambda: policy.build(self.data, self.given, self.runtime))
            if weights is None
            else (lambda: policy.load(Path(weights), self.given, self.runtime))
        )
        return made


def _called(call: Callable[[], Any]) -> Any:
    """Call a plugin; what is no error of ours becomes ``guard.Foreign``."""
    try:
        return call()
    except (Interrupted, RMBenchError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise guard.Foreign(error) from error


def _record(what: str, named: Mapping[str, Any]) -> tuple[Any, Any]:
    """Return a plugin's value and its options."""
    value = plugins.load_value(named["distribution"], named["plugin"], what, named["name"])
    return value, guard.call(value.options, **options.typed(value.options, named["options"]))


def _work(message: Mapping[str, Any]) -> Work:
    policy, given = _record("policy", message["policy"])
    trainer, trainer_given = _record("trainer", message["trainer"]) if message["trainer"] else (None, None)
    task = unpacked(message["task"])
    data = _data(task, message["data_seed"])
    if dict(data.sha256) != message["sha256"]:
        raise InputError(f"the data of task {task.name} changed while they were read", help="run again")
    return Work(message, policy, given, trainer, trainer_given, data, Runtime(**message["runtime"]))


def _data(task: Task, seed: int) -> Judgements:
    """Return what may be learnt from, nothing where the task has no train split."""
    if "train" in task.data:
        return judgements.read(task, seed=seed)
    nothing = Judged((), Batch((), (), (), (), (), (), (), ()), (), (), ())
    return Judgements(task, nothing, nothing, {}, "nothing")


def train(message: Mapping[str, Any], driver: Driver) -> list[str]:
    """Train what a message names and let it write on the test split; return what the user should know."""
    work = _work(message)
    session = _session(work, driver)
    trained = _trained(work, session)
    agent = _agent(work, trained)
    decoding = replace(work.given, **trained.decoding)
    notes = [*trained.notes]
    if message["test"] is not None:
        from rmbench.trainers.outputs import write_outputs

        source = open_source(driver.task, limit=message["test"]["limit"], seed=message["test"]["seed"], awaited=1)
        measured = work.trainer is not None and message["begins"]
        notes += write_outputs(agent, tuple(source.read()), decoding, session, measured=measured)
    shutil.rmtree(work.folder / STATE, ignore_errors=True)
    return notes


def _session(work: Work, driver: Driver) -> Session:
    message = work.message
    reward, judges = message["reward"], list(message["judges"])
    every = list(dict.fromkeys([*([reward] if reward else []), *judges]))

    def score(samples: Sequence[Sample], texts: Sequence[str]) -> Scored:
        return driver.scores(samples, texts, [reward])[reward]

    def judge(samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, Scored]:
        return driver.scores(samples, texts, every)

    given = {"score": score} if reward else {}
    return Session(
        work.folder, message["recipe"], work.runtime, work.given, work.start, judge=judge, reward=reward,
        tell=driver.tell, stop=driver.stop, **given,
    )  # fmt: skip


def _trained(work: Work, session: Session) -> Trained:
    """Train, or find it trained: the weights are in the folder then."""
    mark = work.folder / TRAINED
    if work.trainer is None:
        return Trained(0)
    if mark.is_file():
        with contextlib.suppress(OSError, ValueError, TypeError):
            told = json.loads(mark.read_bytes())
            return Trained(**{**told, "notes": tuple(told["notes"])})
    agent, trainer = work.start(), work.trainer
    try:
        trained = _called(lambda: trainer.train(agent, work.data, work.trainer_given, session))
    except InputError:
        if (work.folder / CONFIG).is_file():  # the last good weights, with the configuration of their start
            _sign(work)
        raise
    if not isinstance(trained, Trained):
        raise TypeError(f"train returned {type(trained).__name__}, expected Trained")
    _keep(work, agent)
    told = {"steps": trained.steps, "stopped": trained.stopped, "decoding": dict(trained.decoding)}
    write_whole(mark, canonical({**told, "notes": list(trained.notes)}))
    return trained


def _agent(work: Work, trained: Trained) -> Agent:
    """Return the policy as it is after its training, read from its folder."""
    if work.trainer is None:
        agent = work.start()
        if work.message["kept"]:
            _keep(work, agent)
        return agent
    given = replace(work.given, **trained.decoding)
    made: Agent = _called(lambda: work.policy.load(work.folder, given, work.runtime))
    return made


def _keep(work: Work, agent: Agent) -> None:
    """Save a policy, with what it is in its config.json."""
    _called(lambda: agent.save(work.folder))
    _sign(work)


def _sign(work: Work) -> None:
    """Write into the config.json of a policy what it is."""
    config = object_of(work.folder / CONFIG, "the configuration that save wrote")
    write_whole(work.folder / CONFIG, canonical({**config, RECIPE: dict(work.message["recipe"])}))


def checked(message: Mapping[str, Any]) -> dict[str, Any]:
    """Let each policy and trainer that a message lists check its data and options; return what they refuse."""
    problems = []
    read: dict[object, Judgements] = {}
    for one in message["check"]:
        with contextlib.suppress(Exception):  # a bug or a missing package: the training meets it again, and says so
            try:
                _check(one, read)
            except InputError as error:
                problems.append({"name": one["where"], "what": error.what, "where": error.where, "help": error.help})
    return {"ok": True, "problems": problems}


def _check(message: Mapping[str, Any], read: dict[object, Judgements]) -> None:
    task, seed = unpacked(message["task"]), message["data_seed"]
    key = judgements.same(task, seed)
    if key not in read:
        read[key] = _data(task, seed)
    for what in ("policy", "trainer"):
        if message[what] is not None:
            value, given = _record(what, message[what])
            if value.check is not None:
                value.check(read[key], given)


def answer(message: Mapping[str, Any], driver: Driver) -> dict[str, Any]:
    """Train, and return how that ended."""
    try:
        notes = train(message, driver)
    except Interrupted:
        return {"ok": False, "error": "interrupted"}
    except RMBenchError as error:
        return errors.reply(error)
    except Exception as error:  # noqa: BLE001 - the driver says it of this policy, and goes on with others
        foreign = error if isinstance(error, guard.Foreign) else guard.Foreign(error)
        return {"ok": False, "error": "raised", "message": str(foreign), "traceback": foreign.traceback}
    return {"ok": True, "notes": notes}


def main() -> None:
    """Read the one message, train, and say how it ended."""
    for name in ONE_THREAD:
        os.environ[name] = "1"
    die_with_the_driver()
    requests, replies = private_pipes()
    message = wire.decode(exactly(requests))
    if "check" in message:
        write(replies, checked(message))
        return
    reply = answer(message, Driver(requests, replies, unpacked(message["task"]), Stop()))
    sys.stdout.flush()
    sys.stderr.flush()
    write(replies, reply)


if __name__ == "__main__":
    main()
