"""The folder of a policy in a run, ``RUN/training/NAME/seed-K``: what it says of itself. Nothing of it is loaded."""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError
from rmbench.fitted import OF_POLICY as RECIPE
from rmbench.kernel.models.files import object_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

CONFIG, DONE, OUTPUTS, CURVE = "config.json", ".done.json", "outputs.jsonl", "curve.jsonl"
HELP = "train it again: move the folder away, then rmbench run --resume --out RUN"
FIELDS: dict[str, tuple[type, ...]] = {
    "name": (str,), "seed": (int,), "policy": (str,), "options": (dict,), "trainer": (str, type(None)),
    "trainer_options": (dict,), "task": (str,), "reward": (str, type(None)), "judges": (dict,),
    "start": (dict, type(None)),
}  # fmt: skip
DEEPEST = 50  # starts of starts that are followed


def is_policy(folder: Path) -> bool:
    """Whether a folder holds a policy of a run, sound or not."""
    try:
        return (folder / CONFIG).is_file() and RECIPE in object_of(folder / CONFIG, "the policy's configuration")
    except (InputError, OSError):
        return False


def seeds_of(folder: Path) -> list[Path]:
    """Return the folders of the seeds of a policy, where this is the folder above them."""
    found = [one for one in folder.glob("seed-*") if one.is_dir() and one.name.removeprefix("seed-").isdecimal()]
    return sorted(found, key=lambda one: int(one.name.removeprefix("seed-")))


def recipe(folder: Path) -> dict[str, Any]:
    """Return what a policy is and how it was trained (see ``training_words.record``).

    Raises:
        InputError: its config.json is no configuration of a policy of ours.
    """
    path = folder / CONFIG
    found = object_of(path, "the policy's configuration").get(RECIPE)
    if not isinstance(found, dict):
        raise InputError(f"{RECIPE} is no object", where=str(path), help=HELP)
    for key, kinds in FIELDS.items():
        value = found.get(key)
        if not isinstance(value, kinds) or isinstance(value, bool):
            expected = " or ".join("null" if kind is type(None) else kind.__name__ for kind in kinds)
            raise InputError(f"{RECIPE}.{key} is {value!r}, expected {expected}", where=str(path), help=HELP)
    return found


def described(folder: Path) -> list[str]:
    """Return a policy's folder in lines of text: what it is, how it was trained, from what, what it wrote.

    Raises:
        InputError: as ``recipe``.
    """
    made = recipe(folder)
    how = "a trained policy" if made["trainer"] else "a policy that was not trained"
    rows = [("policy", _with(made["policy"], made["options"]))]
    if made["trainer"]:
        rows.append(("trainer", _with(made["trainer"], made["trainer_options"])))
    rows.append(("task", made["task"]))
    if made["reward"]:
        rows.append(("reward", made["reward"]))
    if made["judges"]:
        rows.append(("judges", ", ".join(map(str, made["judges"].values()))))
    rows += [("from", one) for one in _starts(made["start"])]
    if last := _last(folder / CURVE):
        rows.append(("dev", last))
    rows.append(("outputs", _outputs(folder)))
    if not (folder / DONE).is_file():
        rows.append(("state", "not complete; go on with: rmbench run --resume --out RUN"))
    return [f"{made['name']}, seed {made['seed']}: {how}", "", *(f"{key:<10} {text}" for key, text in rows)]


def _with(who: str, given: Mapping[str, Any]) -> str:
    """Return what made something, with the options that were not the default."""
    words = [f"{key} = {json.dumps(value, ensure_ascii=False)}" for key, value in given.items()]
    return f"{who} ({', '.join(words)})" if words else who


def _starts(start: Any) -> Iterator[str]:
    """Yield each policy that the training began with, the nearest first."""
    for _ in range(DEEPEST):
        if not isinstance(start, dict):
            return
        trainer, task = start.get("trainer"), start.get("task")
        yield f"{start.get('name')}: " + (f"{trainer} on {task}" if trainer else "not trained")
        start = start.get("start")


def _last(curve: Path) -> str:
    """Return the last look at dev, in words; empty where there was none."""
    try:
        row = json.loads(curve.read_bytes().splitlines()[-1])
    except (OSError, ValueError, IndexError, RecursionError):
        return ""
    if not isinstance(row, dict):
        return ""
    judges = row.get("judges")
    numbers = {**row, **(judges if isinstance(judges, dict) else {})}
    told = [f"{key} {value:.4g}" for key, value in numbers.items() if key != "step" and _number(value)]
    return f"at step {row.get('step')}: {', '.join(told)}" if told else ""


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _outputs(folder: Path) -> str:
    path = folder / OUTPUTS
    if not path.is_file():
        return "none: its task is not among those of the run, or it has not written yet"
    with path.open("rb") as lines:
        return f"{sum(1 for _ in lines)} on the test split, in {OUTPUTS}"
