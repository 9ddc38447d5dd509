"""One optimizer step: gradients summed over micro-batches that shrink where memory runs out, checked, clipped."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from rmbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from torch import Tensor

    from rmbench.trainers.course import Course

MEMORY = ("not enough memory", "DefaultCPUAllocator", "out of memory")
Part = TypeVar("Part")


def minimise(course: Course, rows: Sequence[int], loss: Callable[[Sequence[int]], Tensor]) -> tuple[float, float]:
    """Make one optimizer step (see ``Course.minimise``)."""
    optimizer = course.parts.optimizer
    weights = [weight for group in optimizer.param_groups for weight in group["params"]]

    def backward(some: Sequence[int]) -> float:
        part = loss(some)
        part.backward()  # type: ignore[no-untyped-call]
        return part.item()

    def anew() -> None:
        optimizer.zero_grad(set_to_none=True)

    value = math.fsum(in_parts(course, rows, backward, anew))
    check(course, value, "loss")
    norm = float(torch.nn.utils.clip_grad_norm_(weights, course.options.clip or math.inf))
    check(course, norm, "norm of the gradient")
    keep(course, weights)
    course.touched = True
    optimizer.step()
    return value, norm


def in_parts(
    course: Course, rows: Sequence[int], call: Callable[[Sequence[int]], Part], anew: Callable[[], None] | None = None
) -> list[Part]:
    """Return what a call gives for each micro-batch of the rows; all over again with half as many where memory ends.

    Args:
        course: the training; its ``micro_batch`` is lowered for good.
        rows: to go through.
        call: of some rows.
        anew: called before the first part of each attempt.

    Raises:
        InputError: memory does not suffice for one row.
    """
    begun = generators(course.device)
    while True:
        size = min(course.micro_batch or len(rows), len(rows))
        if anew is not None:
            anew()
        found = _attempt(rows, size, call)
        if found is not None:
            return found
        if size == 1:
            raise InputError(
                "memory does not suffice for one response", where=where(course),
                help="lower max_tokens or max_prompt, or take a smaller policy",
            )  # fmt: skip
        course.micro_batch = -(-size // 2)
        put_generators(begun, course.device)  # dropout is drawn as before


def _attempt(rows: Sequence[int], size: int, call: Callable[[Sequence[int]], Part]) -> list[Part] | None:
    """Return the parts' values, None where memory ran out: by then the exception's frames are gone."""
    try:
        return [call(rows[first : first + size]) for first in range(0, len(rows), max(1, size))]
    except MemoryError:
        return None
    except RuntimeError as error:  # torch.OutOfMemoryError is one
        if not any(word in str(error) for word in MEMORY):
            raise
        return None


def generators(device: str) -> list[Tensor]:
    """Return the states of torch's random generators, the device's among them."""
    return [torch.get_rng_state(), *([torch.cuda.get_rng_state(device)] if device.startswith("cuda") else [])]


def put_generators(states: Sequence[Tensor], device: str) -> None:
    """Bring the generators back to their states."""
    torch.set_rng_state(states[0])
    if len(states) > 1:
        torch.cuda.set_rng_state(states[1], device)


def keep(course: Course, weights: Sequence[Tensor]) -> None:
    """Copy the weights that have just given a finite loss."""
    with torch.no_grad():
        if not course.good:
            course.good.extend(weight.detach().clone() for weight in weights)
            return
        for copy, weight in zip(course.good, weights, strict=True):
            copy.copy_(weight)


def check(course: Course, value: float, what: str) -> None:
    """Raise an ``InputError`` where a number is NaN or infinite, once the last good weights are saved."""
    if math.isfinite(value):
        return
    back(course)
    rate = f"learning_rate (now {course.options.learning_rate:g})"
    clip = f"clip (now {course.options.clip:g})"
    raise InputError(
        f"the {what} is {value} at step {course.step}; the weights with which it was finite last are saved",
        where=where(course), help=f"lower {rate} or {clip}",
    )  # fmt: skip


def check_row(course: Course, row: Mapping[str, Any]) -> None:
    """Check the numbers of a row of log or curve: a step may leave weights that give none, and no update follows."""
    for name, value in row.items():
        if isinstance(value, float):
            check(course, value, name)


def back(course: Course) -> None:
    """Bring the policy to the last good weights and save it."""
    weights = [weight for group in course.parts.optimizer.param_groups for weight in group["params"]]
    with torch.no_grad():
        for copy, weight in zip(course.good, weights, strict=False):  # empty before the first step
            weight.copy_(copy)
    course.agent.save(course.session.folder)  # the trainer process writes into its config.json what it is


def where(course: Course) -> str:
    """Return the place that an error of this training names."""
    recipe = course.session.recipe
    return str(recipe.get("name") or recipe.get("trainer") or "training")
