"""Build a scorer and hold it to its contract. The worker process and inline callables share this."""

from __future__ import annotations

import math
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from numbers import Real
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from rmbench import guard, options
from rmbench.api import NoScore
from rmbench.checks import LARGEST

if TYPE_CHECKING:
    from rmbench.api import Batch, Reward, Runtime

Values = list[float | None]
LONGEST_NAME = 100


class Contract(Exception):
    """The scorer returned something that is not one score per row."""


@dataclass(slots=True)
class Scores:
    """Scores of one call: one per row, a reason where there is none, the parts, and notes on behaviour."""

    values: Values
    reasons: list[str | None]
    parts: dict[str, Values] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


REFUSALS = ("ValueError", "TypeError", "FileNotFoundError", "NotADirectoryError", "IsADirectoryError", "InputError")


def refusal(error: guard.Foreign) -> str:
    """Return what a builder said of its options, empty where it failed otherwise (a bug, a missing package)."""
    return error.message if error.kind in REFUSALS else ""


def build(reward: Reward, given: Mapping[str, Any], runtime: Runtime) -> Callable[[Batch], Any]:
    """Call the builder; what it raises becomes ``guard.Foreign``."""
    extra = {options.RUNTIME: runtime} if options.takes_runtime(reward.build) else {}
    scorer = guard.call(reward.build, **options.typed(reward.build, given), **extra)
    if not callable(scorer):
        raise Contract(f"build() returned {type(scorer).__name__}, expected a function (batch) -> scores")
    made: Callable[[Batch], Any] = scorer
    return made


@runtime_checkable
class Closable(Protocol):
    """A scorer that holds something to give back."""

    def close(self) -> None:
        """Give it back."""


@runtime_checkable
class Measured(Protocol):
    """A scorer that tells what its work took: numbers by name, since it was built."""

    def measures(self) -> Mapping[str, float]:
        """Return them."""


def measures(scorer: object) -> dict[str, float]:
    """Return what a scorer tells of its work, nothing where it does not or tells no numbers."""
    if not isinstance(scorer, Measured):
        return {}
    try:
        told = guard.call(scorer.measures)
        return {str(name): float(value) for name, value in dict(told).items() if math.isfinite(value)}
    except (guard.Foreign, TypeError, ValueError):
        return {}


def close(scorer: object) -> None:
    """Call the scorer's ``close()`` where it has one; what it raises becomes ``guard.Foreign``."""
    if isinstance(scorer, Closable):
        guard.call(scorer.close)


def closed(scorer: object) -> list[str]:
    """Close the scorer; return what went wrong, in words."""
    try:
        close(scorer)
    except guard.Foreign as error:
        return [f"close() raised {error}"]
    return []


def _listed(output: Any, what: str) -> list[Any]:
    """Turn a list, tuple, or 1-D numpy/torch array into a list of Python numbers."""
    numpy, torch = sys.modules.get("numpy"), sys.modules.get("torch")
    if torch is not None and isinstance(output, torch.Tensor):
        if output.dim() != 1:
            raise Contract(f"{what} is a tensor of shape {tuple(output.shape)}, expected one number per row")
        if output.dtype == torch.bool:
            raise Contract(f"{what} is a tensor of booleans, expected numbers")
        if output.requires_grad:
            raise Contract(f"{what} is a tensor that requires grad, expected numbers: score under torch.no_grad()")
        values: list[Any] = output.detach().cpu().tolist()
        return values
    if numpy is not None and isinstance(output, numpy.ndarray):
        if output.ndim != 1:
            raise Contract(f"{what} is an array of shape {output.shape}, expected one number per row")
        if output.dtype.kind not in "fiuO":
            raise Contract(f"{what} is an array of {output.dtype}, expected numbers")
        items: list[Any] = output.tolist()
        return items
    if isinstance(output, (list, tuple)):
        return list(output)
    raise Contract(f"{what} is {type(output).__name__}, expected a list with one number or None per row")


def _number(value: Any, what: str) -> float | None:
    if value is None:
        return None
    if isinstance(value, Real) and not isinstance(value, bool) and type(value).__name__ not in ("bool", "bool_"):
        try:
            return float(value)
        except OverflowError:
            return math.inf
    raise Contract(f"{what} holds {guard.plain(type(value).__name__)}, expected a number or None")


def measured(value: Any) -> float | None:
    """Return what a metric gave as a finite number, None where it is undefined.

    Raises:
        Contract: it is no number.
    """
    number = _number(value, "the statistic")
    return number if number is not None and math.isfinite(number) else None


def _why_unscored(number: float | None) -> str | None:
    if number is None:
        return "the reward gave None"
    if not math.isfinite(number):
        return f"non-finite: {number}"
    return f"beyond {LARGEST:g}: {number:g}" if abs(number) > LARGEST else None


def _word_of(missing: NoScore) -> str:
    reason = missing.reason.strip() if isinstance(missing.reason, str) else ""
    return guard.plain(reason)[: guard.MESSAGE_LIMIT] or "the reward gave no reason"


def _column(output: Any, rows: int, what: str) -> tuple[Values, list[str | None]]:
    listed = _listed(output, what)
    if len(listed) != rows:
        raise Contract(f"{what} has {len(listed)} values for {rows} rows")
    values: Values = []
    reasons: list[str | None] = []
    for item in listed:
        number = None if isinstance(item, NoScore) else _number(item, what)
        reason = _word_of(item) if isinstance(item, NoScore) else _why_unscored(number)
        values.append(number if reason is None else None)
        reasons.append(reason)
    return values, reasons


def _part_name(name: object) -> str:
    if isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable():
        return name
    raise Contract(f"a column is called {repr(name)[:LONGEST_NAME]}, expected 1 to {LONGEST_NAME} printable characters")


def check(output: Any, rows: int) -> Scores:
    """Hold a scorer's output to its contract: exactly one finite number or None per row.

    Raises:
        Contract: wrong type, shape or length. Nothing is broadcast, padded or cut.
    """
    if isinstance(output, Mapping):
        if "score" not in output:
            raise Contract(f"the mapping has no column 'score' (it has {', '.join(map(str, output))})")
        values, reasons = _column(output["score"], rows, "column 'score'")
        parts = {
            _part_name(name): _column(column, rows, f"column {name!r}")[0]
            for name, column in output.items()
            if name != "score"
        }
        return Scores(values, reasons, parts)
    values, reasons = _column(output, rows, "the result")
    return Scores(values, reasons)


def score(scorer: Callable[[Batch], Any], batch: Batch) -> Scores:
    """Score a batch under watch.

    Raises:
        guard.Foreign: the scorer raised.
        Contract: it returned something else than one score per row.
    """
    with guard.watch() as seen:
        output = guard.call(scorer, batch)
        try:
            scores = check(output, len(batch))
        except Contract:
            raise
        except Exception as error:  # a list of their own making
            raise Contract(f"the result cannot be read: {guard.Foreign(error)}") from error
    scores.notes = seen.notes
    return scores
