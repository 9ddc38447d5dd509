"""The journal of a search, which Optuna writes and reads, and what the trials in it came to."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any, Literal

from rmbench import ranges
from rmbench.errors import InputError, RunFolderError
from rmbench.store import faults, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.ranges import Range
    from rmbench.tuning import Search

PLACE, LOST = "place", "lost"  # attributes of a trial of Optuna's
STUDY = "search"
WARMUP = 2  # no trial is pruned before this evaluation: the first says little


@dataclass(frozen=True, slots=True)
class Tried:
    """A trial that has ended.

    Attributes:
        place: from 0.
        state: ``complete``; ``pruned``: stopped, as others were better by then; ``failed``.
        value: of the metric; of a pruned trial its last; None where it failed.
        values: of the ranges, by name.
        evaluations: the metric at each evaluation on dev that was told, by its number.
        reason: why it failed.
    """

    place: int
    state: Literal["complete", "pruned", "failed"]
    value: float | None
    values: Mapping[str, Any]
    evaluations: Mapping[int, float] = field(default_factory=dict)
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Found:
    """What a search has come to: its trials, by place."""

    search: Search
    folder: Path
    tried: tuple[Tried, ...]

    @property
    def ranked(self) -> list[Tried]:
        """The complete trials, the best first; of equals the first."""
        sign = -1 if self.search.direction == "maximise" else 1
        complete = [one for one in self.tried if one.state == "complete" and one.value is not None]
        return sorted(complete, key=lambda one: (sign * (one.value or 0.0), one.place))

    @property
    def best(self) -> Tried | None:
        """The best trial, None where none is complete."""
        return next(iter(self.ranked), None)


def require_optuna() -> None:
    """Raise an ``InputError`` where Optuna is not installed."""
    if find_spec("optuna") is None:
        raise InputError("rmbench tune needs Optuna, which is not installed", help="pip install 'rmbench[tune]'")


def open_study(path: Path, search: Search) -> Any:
    """Open the journal of a search.

    Raises:
        RunFolderError: it cannot be read.
    """
    import optuna
    from optuna.storages.journal import JournalFileBackend

    optuna.logging.set_verbosity(optuna.logging.ERROR)
    with faults(path):
        _mend(path)
        held: Any = Held()
        backend = JournalFileBackend(str(path), lock_obj=held)
    pruners = {
        "median": optuna.pruners.MedianPruner(n_startup_trials=search.startup, n_warmup_steps=WARMUP),
        "halving": optuna.pruners.SuccessiveHalvingPruner(),
        "none": optuna.pruners.NopPruner(),
    }
    direction: Any = {"maximise": "maximize", "minimise": "minimize"}[search.direction]
    try:
        storage = optuna.storages.JournalStorage(backend)
        return optuna.create_study(
            storage=storage, study_name=STUDY, direction=direction, pruner=pruners[search.pruner], load_if_exists=True
        )
    except (ValueError, KeyError, TypeError, AssertionError) as error:
        raise RunFolderError(
            f"is damaged ({type(error).__name__})", where=str(path), help="search again into a new folder"
        ) from error


def _mend(path: Path) -> None:
    """Cut a line off that was being written when the search was killed."""
    whole = path.read_bytes() if path.exists() else b""
    if whole and not whole.endswith(b"\n"):
        write_whole(path, whole[: whole.rfind(b"\n") + 1])


class Held:
    """The journal's lock, which the lock of the folder is: Optuna's own would outlive a process that is killed."""

    def acquire(self) -> bool:
        """Return that it is held."""
        return True

    def release(self) -> None:
        """Keep it."""


def found_in(search: Search, out: Path, study: Any) -> Found:
    """Return what a study has come to: of each place the trial that ended."""
    ended = {}
    for one in study.get_trials(deepcopy=False):
        place, state = one.user_attrs.get(PLACE), one.state.name
        if place is not None and (state in ("COMPLETE", "PRUNED") or LOST in one.user_attrs):
            ended[place] = _tried(place, one, search)
    return Found(search, out, tuple(ended[place] for place in sorted(ended)))


def _tried(place: int, one: Any, search: Search) -> Tried:
    values = values_of(one.params, search.ranges)
    if LOST in one.user_attrs:
        return Tried(place, "failed", None, values, one.intermediate_values, one.user_attrs[LOST])
    state: Literal["complete", "pruned"] = "complete" if one.state.name == "COMPLETE" else "pruned"
    return Tried(place, state, one.value, values, one.intermediate_values)


def distribution(one: Range) -> Any:
    """Return a range as Optuna has it: choices by their codes."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    if one.choices:
        return CategoricalDistribution([ranges.code(choice) for choice in one.choices])
    if one.whole:
        return IntDistribution(int(one.low), int(one.high), log=one.log, step=int(one.step or 1))
    return FloatDistribution(one.low, one.high, log=one.log, step=one.step)


def coded(values: Mapping[str, Any], every: Sequence[Range]) -> dict[str, Any]:
    """Return values as Optuna has them: a choice as its code."""
    return {
        one.name: ranges.code(values[one.name]) if one.choices else values[one.name]
        for one in every if one.name in values
    }  # fmt: skip


def values_of(params: Mapping[str, Any], every: Sequence[Range]) -> dict[str, Any]:
    """Return what Optuna drew as the suite would say it, in the order of the ranges."""
    return {
        one.name: json.loads(params[one.name]) if one.choices else params[one.name]
        for one in every if one.name in params
    }  # fmt: skip
