"""Ranges of a suite's ``tune`` tables: what an option is searched over, checked before anything is written."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench import guard, options, rewards
from rmbench.checks import show
from rmbench.errors import InputError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rmbench.checks import Problems

KEYS = ("low", "high", "step", "log")
EXAMPLE = "tune = { learning_rate = { low = 1e-4, high = 1e-2, log = true }, layers = [1, 2, 3] }"
MOST_TRIED = 256  # combinations of other ranges' ends that a value is tried with
MOST_CHOICES = 1000


@dataclass(frozen=True, slots=True)
class Range:
    """What one option is searched over: choices, or the numbers from ``low`` to ``high``, both among them.

    Attributes:
        name: of the option.
        choices: any values of a suite; () for numbers.
        low, high: ints for a range of whole numbers, else floats.
        step: between the numbers, None: all of them.
        log: whether each order of magnitude is as likely as the next.
    """

    name: str
    choices: tuple[Any, ...] = ()
    low: float = 0
    high: float = 0
    step: float | None = None
    log: bool = False

    @property
    def whole(self) -> bool:
        """Whether it is a range of whole numbers."""
        return not self.choices and isinstance(self.low, int)

    @property
    def ends(self) -> tuple[Any, ...]:
        """What is tried before a search begins: all choices, or both ends."""
        return self.choices or (self.low, self.high)

    def holds(self, value: Any) -> bool:
        """Whether a search may come to this value."""
        if self.choices:
            return any(code(value) == code(one) for one in self.choices)
        if isinstance(value, bool) or not isinstance(value, int if self.whole else int | float):
            return False
        steps = 0.0 if self.step is None else (value - self.low) / self.step
        return self.low <= value <= self.high and abs(steps - round(steps)) < 1e-9  # noqa: PLR2004 - of rounding

    def record(self) -> dict[str, Any]:
        """Return the range as JSON."""
        if self.choices:
            return {"choices": list(self.choices)}
        step = {} if self.step is None else {"step": self.step}
        return {"low": self.low, "high": self.high, **step, "log": self.log}


def code(value: Any) -> str:
    """Return a choice as text: 1, 1.0 and true are three."""
    return json.dumps(value, sort_keys=True)


def read(
    given: Any, build: Callable[..., Any], problems: Problems, *, where: str, use: str, key: str = "tune"
) -> list[Range]:
    """Return the ranges of a ``tune`` table; whatever is wrong with it goes to ``problems``.

    Args:
        given: the table: by option ``{ low, high, step, log }`` or a list of choices.
        build: what takes the options.
        problems: told of unknown options, wrong types, ends that cross, choices that are none.
        where: place for errors.
        use: name of what takes the options.
        key: what the table is called.
    """
    if not isinstance(given, dict) or not given:
        found = f"is {show(given)}, expected a table of ranges"
        problems.add(InputError(f"{key} {found}", where=where, help=EXAMPLE))
        return []
    known = options.options_of(build)
    ranges = []
    for name, value in given.items():
        if name not in known:
            what = f"{key}.{name}: {use!r} has no option {name!r}"
            problems.add(InputError(what, where=where, help=did_you_mean(name, known)))
            continue
        try:
            ranges.append(_range(name, value, known[name]))
        except ValueError as error:
            problems.add(InputError(f"{key}.{name}{error}", where=where, help=f"{EXAMPLE}; see `rmbench show {use}`"))
    return ranges


def _range(name: str, value: Any, option: options.Option) -> Range:
    """Return one range; a wrong one is a ``ValueError`` that says what follows its name."""
    if isinstance(value, list):
        return _choices(name, value, option)
    if not isinstance(value, dict):
        raise ValueError(f" is {show(value)}, expected {{ low, high }} or a list of choices")
    for key in value:
        if key not in KEYS:
            raise ValueError(f" has no key {key!r} ({did_you_mean(key, KEYS)})")
    for key in ("low", "high"):
        if key not in value:
            raise ValueError(f" has no {key}")
    numbers = {key: value[key] for key in ("low", "high", "step") if key in value}
    for key, number in numbers.items():
        if isinstance(number, bool) or not isinstance(number, int | float) or not math.isfinite(number):
            raise ValueError(f".{key} is {show(number)}, expected a number")
    if not isinstance(value.get("log", False), bool):
        raise ValueError(f".log is {show(value['log'])}, expected true or false")
    return _numbers(name, numbers, option, log=value.get("log", False))


def _numbers(name: str, numbers: Mapping[str, Any], option: options.Option, *, log: bool) -> Range:
    floats = option.hint is not Any and options.fits(0.5, option.hint)
    whole = not floats and all(isinstance(number, int) for number in numbers.values())
    for key in ("low", "high", "step"):
        if key in numbers and not options.fits(numbers[key], option.hint):
            raise ValueError(f".{key} is {show(numbers[key])}, expected {option.type}")
    low, high, step = numbers["low"], numbers["high"], numbers.get("step")
    if low > high:
        raise ValueError(f" goes from low = {low} down to high = {high}")
    if log and low <= 0:
        raise ValueError(f".low is {low}, expected above 0 where log is true")
    if step is not None and step <= 0:
        raise ValueError(f".step is {step}, expected above 0")
    if step is not None and log:
        raise ValueError(" has a step and log = true, expected one of them")
    if whole:
        return Range(
            name, low=low, high=high if step is None else low + (high - low) // step * step, step=step, log=log
        )
    if step is not None:  # the last number that the steps come to
        high = low + math.floor((high - low) / step + 1e-9) * step
    return Range(name, low=float(low), high=float(high), step=None if step is None else float(step), log=log)


def _choices(name: str, values: Sequence[Any], option: options.Option) -> Range:
    if not 0 < len(values) <= MOST_CHOICES:
        raise ValueError(f" has {len(values)} choices, expected from 1 to {MOST_CHOICES}")
    codes = []
    for place, value in enumerate(values):
        try:
            codes.append(json.dumps(value, sort_keys=True, allow_nan=False))
        except (TypeError, ValueError):
            raise ValueError(f"[{place}] is {value!r}, which no suite can hold") from None
        if not options.fits(value, option.hint):
            raise ValueError(f"[{place}] is {show(value)}, expected {option.type}")
    if twice := [text for text in codes if codes.count(text) > 1]:
        raise ValueError(f" has the choice {twice[0]} twice")
    return Range(name, choices=tuple(values))


def begin(ranges: Sequence[Range], build: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the suite, or else an option's default, says of the options that are searched, where a range has it.

    This is what the first trial tries: the suite as it stands.
    """
    known = options.options_of(build)
    found = {}
    for one in ranges:
        value = given.get(one.name, known[one.name].default)
        value = list(value) if isinstance(value, tuple) else value
        if value is not options.REQUIRED and (not one.choices or _plain(value)) and one.holds(value):
            found[one.name] = value
    return found


def _plain(value: Any) -> bool:
    return value is None or isinstance(value, bool | int | float | str | list | dict)


def try_ends(
    ranges: Sequence[Range],
    build: Callable[..., Any],
    given: Mapping[str, Any],
    problems: Problems,
    *,
    base: Path,
    where: str,
) -> None:
    """Tell ``problems`` of ends and choices that the options' own checks refuse, whatever the other ranges say.

    Args:
        ranges: the ranges.
        build: makes the record of options; it refuses with ``ValueError`` or ``InputError``.
        given: the other options.
        problems: told of each.
        base: folder that paths among them are relative to.
        where: place for errors.
    """
    for one in ranges:
        others = [other for other in ranges if other is not one]
        for value in one.ends:
            said = _refusal(build, rewards.placed(build, {**given, one.name: value}, base)[0], others, base)
            if said is not None:
                what = f"tune.{one.name} holds {show(value)}, which is refused: {said}"
                problems.add(InputError(what, where=where, help="take it out of the range"))


def _refusal(build: Callable[..., Any], given: Mapping[str, Any], others: Sequence[Range], base: Path) -> str | None:
    """Return what is said of options with every combination of the other ranges' ends, None where one is taken."""
    said: str | None = None
    for combination in itertools.islice(_combinations(others), MOST_TRIED):
        placed = rewards.placed(build, combination, base)[0]
        try:
            guard.call(build, **options.typed(build, {**given, **placed}))
        except guard.Foreign as error:
            said = said or error.message
        else:
            return None
    return said


def _combinations(ranges: Sequence[Range]) -> Iterator[dict[str, Any]]:
    names = [one.name for one in ranges]
    for values in itertools.product(*(one.ends for one in ranges)):
        yield dict(zip(names, values, strict=True))
