"""Fit one reward model for the driver in a process of its own: ``python -m rmbench.fitter``.

One message comes in: the model's name, the task's card, loss, options and the scores of the rewards it uses. Messages
go out: how far it is, then how it ended. SIGTERM makes it save its state and end.
"""

from __future__ import annotations

import contextlib
import os
import signal
import sys
from dataclasses import asdict, replace
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench import errors, fitted, guard, judgements, options, plugins, wire
from rmbench.api import Runtime, Task
from rmbench.errors import InputError, RMBenchError
from rmbench.judged import LOSS_NEEDS, Fitting, Interrupted
from rmbench.kernel.models.files import object_of
from rmbench.store import canonical, write_whole
from rmbench.worker import die_with_the_driver, exactly, private_pipes

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import BinaryIO

    from rmbench.judged import Judgements, RewardModel

# Weights must not depend on how many processors there are. Read when numpy and torch are first imported.
ONE_THREAD = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "NUMBA_NUM_THREADS")


def packed(task: Task) -> dict[str, Any]:
    """Return a card as JSON values."""
    return {
        **asdict(replace(task, data={}, sha256={})),
        "data": {split: str(path) for split, path in task.data.items()}, "sha256": dict(task.sha256),
    }  # fmt: skip


def unpacked(card: Mapping[str, Any]) -> Task:
    """Return the card of ``packed``."""
    lists = {key: tuple(value) for key, value in card.items() if isinstance(value, list)}
    data = MappingProxyType({split: Path(path) for split, path in card["data"].items()})
    return Task(**{**card, **lists, "data": data, "sha256": MappingProxyType(card["sha256"])})


class Stop:
    """Whether SIGTERM came."""

    def __init__(self) -> None:
        self.asked = False
        signal.signal(signal.SIGTERM, self._take)
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # the driver's to answer

    def _take(self, *_: object) -> None:
        self.asked = True

    def __call__(self) -> bool:
        """Return it."""
        return self.asked


def fit(message: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None], stop: Callable[[], bool]) -> list[str]:
    """Fit what a message names, and write into its config.json what it is; return what the user should know."""
    model, given = _model(message)
    data = judgements.read(unpacked(message["task"]), seed=message["seed"])
    if dict(data.sha256) != message["recipe"]["sha256"]:
        raise InputError(f"the data of task {data.task.name} changed while they were read", help="run again")
    columns = ({name: tuple(column) for name, column in message["scores"][split].items()} for split in ("train", "dev"))
    data = judgements.with_scores(data, *columns)
    folder = Path(message["folder"])
    fitting = Fitting(folder, message["recipe"], Runtime(**message["runtime"]), tell, stop)
    made = _called(model, data, message["loss"], given, fitting)
    if Path(made) != folder:
        raise TypeError(f"fit returned {made!r}, expected the folder it was given")
    return _sign(folder, message["recipe"], data)


def checked(message: Mapping[str, Any]) -> dict[str, Any]:
    """Let each model that a message lists check its data and options; return what they refuse."""
    read: dict[object, Judgements] = {}
    problems = []
    for one in message["check"]:
        with contextlib.suppress(Exception):  # a bug or a missing package: the fit meets it again, and says so
            try:
                _check(one, read)
            except InputError as error:
                problems.append({"name": one["name"], "what": error.what, "where": error.where, "help": error.help})
    return {"ok": True, "problems": problems}


def _check(message: Mapping[str, Any], read: dict[object, Judgements]) -> None:
    model, given = _model(message)
    if model.check is None:
        return
    task, seed = unpacked(message["task"]), message["seed"]
    key = judgements.same(task, seed)
    if key not in read:
        read[key] = judgements.read(task, seed=seed)
    model.check(read[key], message["loss"], given)


def _model(message: Mapping[str, Any]) -> tuple[RewardModel, Any]:
    model: RewardModel = plugins.load_value(
        message["distribution"], message["plugin"], "reward-model", message["model"]
    )
    return model, guard.call(model.options, **options.typed(model.options, message["options"]))


def _called(model: RewardModel, data: Judgements, loss: str, given: Any, fitting: Fitting) -> Any:
    """Fit; what is no error of ours becomes ``guard.Foreign``."""
    try:
        return model.fit(data, loss, given, fitting)
    except (Interrupted, RMBenchError, KeyboardInterrupt):
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise guard.Foreign(error) from error


def _sign(folder: Path, recipe: Mapping[str, Any], data: Judgements) -> list[str]:
    """Put the recipe into config.json, which makes the folder a checkpoint of ours; return warnings."""
    from rmbench.models.card import length_warning

    path = folder / fitted.CONFIG
    config = object_of(path, "the configuration that fit wrote")
    write_whole(path, canonical({**config, fitted.RECIPE: dict(recipe)}))
    told = config.get("training")
    accuracy = told.get("accuracy") if isinstance(told, dict) else None
    judged = LOSS_NEEDS.get(recipe["loss"]) != "texts"  # a model of texts learns nothing from judgements
    warning = length_warning(data, accuracy) if judged and isinstance(accuracy, float) else None
    return [] if warning is None else [warning]


def answer(message: Mapping[str, Any], tell: Callable[[Mapping[str, Any]], None]) -> dict[str, Any]:
    """Fit, and return how that ended."""
    try:
        notes = fit(message, tell, Stop())
    except Interrupted:
        return {"ok": False, "error": "interrupted"}
    except RMBenchError as error:
        return errors.reply(error)
    except Exception as error:  # noqa: BLE001 - the driver says it of this model, and goes on with others
        foreign = error if isinstance(error, guard.Foreign) else guard.Foreign(error)
        return {"ok": False, "error": "raised", "message": str(foreign), "traceback": foreign.traceback}
    return {"ok": True, "notes": notes}


def write(stream: BinaryIO, message: Mapping[str, Any]) -> None:
    """Write a message whole."""
    frame = wire.encode(message)
    while frame:
        frame = frame[stream.write(frame) :]


def main() -> None:
    """Read the one message, fit, and say how it ended."""
    for name in ONE_THREAD:
        os.environ[name] = "1"
    die_with_the_driver()
    requests, replies = private_pipes()
    message = wire.decode(exactly(requests))
    if "check" in message:
        write(replies, checked(message))
        return
    reply = answer(message, lambda step: write(replies, {"step": dict(step)}))
    sys.stdout.flush()
    sys.stderr.flush()
    write(replies, reply)


if __name__ == "__main__":
    main()
