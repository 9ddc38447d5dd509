"""The state of an unfinished fit, so that one killed at any step goes on to the same weights.

A state is two files in ``.state/``: ``state-<step>.safetensors`` (weights, best weights, AdamW's moments, the random
generators) and ``state-<step>.json`` (the rest, the sha256 of the first and of itself). Both are written whole, the
second last; the two newest states are kept. What does not verify is discarded with a warning. No pickle anywhere.
"""

from __future__ import annotations

import hashlib
import json
import warnings
from dataclasses import asdict, dataclass, field, fields
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load as load_tensors
from safetensors.torch import save as save_tensors

from rmbench.models.checkpoint import STATE
from rmbench.store import canonical, write_whole

if TYPE_CHECKING:
    from pathlib import Path

    from torch import Tensor
    from torch.optim import Optimizer
    from torch.optim.lr_scheduler import LRScheduler

    from rmbench.models.trained import Stopped

SCHEMA = 1
KEPT = 2  # states: the newest and the one before it


class StateWarning(UserWarning):
    """A saved state cannot be gone on with; the message names the file and says why."""


@dataclass(slots=True)
class Progress:
    """Where a fit stands, beside its tensors: plain values.

    Attributes:
        step: optimizer steps made.
        losses: of the steps since the last evaluation.
        curve: rows of the evaluations so far.
        best, best_step: what dev gave at the best step (accuracy, loss negated; empty without dev), and that step.
        waited: evaluations since then.
        seconds: spent in all runs of this fit, until the state was saved.
        stopped: why training is over, None while it is not.
        extra: what else is to be kept, plain values.
    """

    step: int = 0
    losses: list[float] = field(default_factory=list)
    curve: list[dict[str, Any]] = field(default_factory=list)
    best: list[float] = field(default_factory=list)
    best_step: int = 0
    waited: int = 0
    seconds: float = 0.0
    stopped: Stopped | None = None
    extra: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Parts:
    """What a step changes: the module, its optimizer and schedule, and the best weights so far by name."""

    module: torch.nn.Module
    optimizer: Optimizer
    schedule: LRScheduler
    device: str
    best: dict[str, Tensor] = field(default_factory=dict)


def learnt(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return what training changes of a module, by name: parameters that require a gradient, and all buffers."""
    weights = {name: weight for name, weight in module.named_parameters() if weight.requires_grad}
    return {**weights, **dict(module.named_buffers())}


def copied(module: torch.nn.Module) -> dict[str, Tensor]:
    """Return copies of what training changes."""
    return {name: weight.detach().clone() for name, weight in learnt(module).items()}


def put(module: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    """Write weights by name into a module."""
    with torch.no_grad():
        for name, weight in learnt(module).items():
            if not torch.equal(weight, weights[name].to(weight.device)):  # a buffer that repeats memory takes no copy
                weight.copy_(weights[name])


def save(folder: Path, key: str, progress: Progress, parts: Parts) -> None:
    """Write the state of a fit, whole or not at all, and drop all but the newest two.

    Args:
        folder: of the checkpoint; the state goes into ``.state/``.
        key: digest of what is fitted; a state with another is not gone on with.
        progress: where the fit stands.
        parts: module, optimizer, schedule and best weights.
    """
    place = folder / STATE
    data = save_tensors(_tensors(parts))
    body = {
        "schema": SCHEMA, "key": key, "tensors": hashlib.sha256(data).hexdigest(), "progress": asdict(progress),
        "schedule": parts.schedule.state_dict(), "rates": [group["lr"] for group in parts.optimizer.param_groups],
    }  # fmt: skip
    whole = {"sha256": hashlib.sha256(canonical(body)).hexdigest(), "state": body}
    write_whole(place / f"state-{progress.step:09d}.safetensors", data)
    write_whole(place / f"state-{progress.step:09d}.json", canonical(whole))
    keep = {f"state-{step:09d}" for step in sorted(_steps(place), reverse=True)[:KEPT]}
    for file in place.iterdir():
        if file.name.split(".", maxsplit=1)[0] not in keep or ".tmp-" in file.name:
            file.unlink()


def restore(folder: Path, key: str, parts: Parts) -> Progress | None:
    """Bring module, optimizer, schedule and random generators to the newest state that verifies.

    Returns:
        Where the fit stands; None where it has to start afresh. Each state that does not verify is deleted, with a
        ``StateWarning`` that names it.
    """
    place = folder / STATE
    if not place.is_dir():
        return None
    for step in sorted(_steps(place), reverse=True):
        name = f"state-{step:09d}"
        try:
            body = _body(place / f"{name}.json", key)
            tensors = _verified(place / f"{name}.safetensors", body["tensors"], parts)
            return _apply(body, tensors, parts)
        except _Unusable as error:
            warnings.warn(f"{place / name}: {error}; it is discarded", StateWarning, stacklevel=2)
            for file in place.glob(f"{name}.*"):
                file.unlink()
    return None


class _Unusable(Exception):
    """A state that does not verify."""


def _steps(place: Path) -> set[int]:
    """Return the steps of which any file lies there."""
    words = [file.name.removeprefix("state-").split(".", maxsplit=1)[0] for file in place.glob("state-*")]
    return {int(word) for word in words if word.isascii() and word.isdecimal()}


def _tensors(parts: Parts) -> dict[str, Tensor]:
    found = {f"now/{name}": weight for name, weight in learnt(parts.module).items()}
    found |= {f"best/{name}": weight for name, weight in parts.best.items()}
    for index, moments in parts.optimizer.state_dict()["state"].items():
        found |= {f"adam/{index}/{name}": moment for name, moment in moments.items()}
    found["rng/cpu"] = torch.get_rng_state()
    if parts.device.startswith("cuda"):
        found["rng/cuda"] = torch.cuda.get_rng_state(parts.device)
    return {name: tensor.detach().cpu().clone().contiguous() for name, tensor in found.items()}


def _body(path: Path, key: str) -> dict[str, Any]:
    """Return what a state says beside its tensors, once its own sha256 is right."""
    try:
        whole = json.loads(path.read_bytes())
        body = whole["state"]
        right = hashlib.sha256(canonical(body)).hexdigest() == whole["sha256"]
    except FileNotFoundError as error:
        raise _Unusable(f"it was not written to its end, {path.name} is missing") from error
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise _Unusable(f"cannot be read ({type(error).__name__})") from error
    if not right:
        raise _Unusable("its sha256 is another: damaged")
    if body["schema"] != SCHEMA or body["key"] != key:
        raise _Unusable("it is of another fit")
    if set(body["progress"]) != {one.name for one in fields(Progress)}:
        raise _Unusable("it is of another version")
    return dict(body)


def _verified(path: Path, sha256: str, parts: Parts) -> dict[str, Tensor]:
    """Return the tensors of a state, once their sha256 is right and each has its place in the module."""
    try:
        data = path.read_bytes()
        if hashlib.sha256(data).hexdigest() != sha256:
            raise _Unusable("the sha256 of its tensors is another: damaged")
        tensors = load_tensors(data)
    except (OSError, SafetensorError) as error:
        raise _Unusable(f"its tensors cannot be read ({type(error).__name__})") from error
    shapes = {name: weight.shape for name, weight in learnt(parts.module).items()}
    for prefix in ("now/", "best/"):
        found = {name.removeprefix(prefix): one.shape for name, one in tensors.items() if name.startswith(prefix)}
        if found != shapes and (found or prefix == "now/"):
            raise _Unusable("its weights are another model's")
    return tensors


def _apply(body: dict[str, Any], tensors: dict[str, Tensor], parts: Parts) -> Progress:
    put(parts.module, {name: tensors[f"now/{name}"] for name in learnt(parts.module)})
    parts.best.clear()
    best = {name.removeprefix("best/"): one for name, one in tensors.items() if name.startswith("best/")}
    parts.best.update({name: one.to(parts.device) for name, one in best.items()})
    moments: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        if name.startswith("adam/"):
            _, index, what = name.split("/")
            moments.setdefault(int(index), {})[what] = tensor
    given = parts.optimizer.state_dict()
    parts.optimizer.load_state_dict({"state": moments, "param_groups": given["param_groups"]})
    for group, rate in zip(parts.optimizer.param_groups, body["rates"], strict=True):
        group["lr"] = rate
    parts.schedule.load_state_dict(body["schedule"])
    torch.set_rng_state(tensors["rng/cpu"])
    if "rng/cuda" in tensors and parts.device.startswith("cuda"):
        torch.cuda.set_rng_state(tensors["rng/cuda"], parts.device)
    return Progress(**body["progress"])
