"""What a run tells of itself: seconds, rates, memory and batch invariance, as rows of measurements.json."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench.api import Result
from rmbench.store import folder_name

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rmbench.engine import Outcome
    from rmbench.suite import Plan


OWN = "own:"  # before the name of a measure that a reward tells of itself
MEASURES = ".measures.json"  # of a checkpoint
FIT = "fit:"  # before that of a measure of a fit
TRAINED = ("accuracy", "steps", "best_step")  # of config.json's "training", where the model writes that


def measured(folder: Path, outcome: Outcome, plan: Plan) -> list[Result]:
    """Return the rows of this run, and those of an earlier one in the same folder that it has not measured again."""
    from rmbench.results import from_json

    path = folder / "measurements.json"
    old = from_json(path.read_bytes())[1] if path.is_file() else []
    new = [*_fits(folder, plan), *_trainings(folder), *_speed(outcome, plan), *_invariance(outcome, plan)]
    known = {_place(row) for row in new}
    return sorted([*new, *(row for row in old if _place(row) not in known)], key=_place)


def _place(row: Result) -> tuple[str, ...]:
    seed = "" if row.seed is None else f"{row.seed:020d}"
    return row.study, row.metric, row.reward or "", row.task or "", row.probe or "", row.system or "", seed


def _trainings(folder: Path) -> Iterator[Result]:
    """Yield what the trainings of a run took."""
    from rmbench.studies.training import training

    path = folder / "manifest.json"
    yield from training(folder, json.loads(path.read_bytes())) if path.is_file() else ()


def _fits(folder: Path, plan: Plan) -> Iterator[Result]:
    """Yield what the fits of a run took and came to: seconds, parameters, dev accuracy, steps."""
    for chosen in plan.rewards:
        place = folder / "training" / folder_name(chosen.name)
        if chosen.recipe is None or not (place / MEASURES).is_file():
            continue
        told = {**_numbers(place / MEASURES), **_numbers(place / "config.json", "training", TRAINED)}
        for metric, value in sorted(told.items()):
            yield Result("fit", f"{FIT}{metric}", reward=chosen.name, value=value)


def _numbers(path: Path, key: str | None = None, names: tuple[str, ...] | None = None) -> dict[str, float]:
    """Return the finite numbers of a JSON object, or of the object under a key of it."""
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    found = read.get(key) if key and isinstance(read, dict) else read
    pairs = found.items() if isinstance(found, dict) else ()
    return {
        str(name): float(value) for name, value in pairs
        if type(value) in (int, float) and math.isfinite(value) and (names is None or name in names)
    }  # fmt: skip


def _speed(outcome: Outcome, plan: Plan) -> Iterator[Result]:
    kinds = {task.name: task.kind for task in plan.tasks}
    for (reward, task), (seconds, rows) in sorted(outcome.seconds.items()):
        for metric, value in (("seconds", seconds), ("rows-per-second", rows / max(seconds, 1e-9))):
            one = Result("speed", metric, task=task, kind=kinds[task], split="test", reward=reward)
            yield replace(one, value=value, rows=rows)
    for reward, peak in sorted(outcome.peaks.items()):
        yield Result(study="speed", metric="peak-memory", reward=reward, value=float(peak))
    for reward, measures in sorted(outcome.measures.items()):
        for metric, value in measures.items():
            yield Result(study="speed", metric=f"{OWN}{metric}", reward=reward, value=value)


def _invariance(outcome: Outcome, plan: Plan) -> Iterator[Result]:
    kinds = {task.name: task.kind for task in plan.tasks}
    for (reward, task), found in sorted(outcome.invariance.items()):
        one = Result("invariance", "largest-difference", task=task, kind=kinds[task], split="test", reward=reward)
        one = replace(one, rows=found.rows)
        for way, value in found.worst.items():
            yield replace(one, probe=way, value=value, reason=found.wrong.get(way))
        yield replace(one, metric="flipped-pairs", value=float(found.flipped), pairs=found.pairs)
        yield replace(one, metric="tolerance", value=found.tolerance)


def varying(outcome: Outcome) -> Iterator[str]:
    """Yield a sentence for every reward whose scores depend on what is scored beside them."""
    for (reward, task), found in sorted(outcome.invariance.items()):
        if found.wrong:
            words = "; ".join(f"{way}: {told}" for way, told in found.wrong.items())
            yield f"reward {reward} is not batch-invariant on {task}: {words}"
