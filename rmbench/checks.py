"""Checks of values that users wrote: types, ranges, misspelt names, and how their errors are said."""

from __future__ import annotations

import json
import math
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple

from rmbench.errors import InputError, InputErrors, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

MOST_PROBLEMS = 20
MOST_SHOWN = 200
NEAR = 2
LARGEST = 1e290  # sums of more than this overflow


class HopelessError(InputError):
    """An input error after which the rest of the file is not worth reading."""


class Problems:
    """The input errors of one file: the first 20 are raised together, a single one as it is."""

    def __init__(self) -> None:
        self._errors: list[InputError] = []

    def __bool__(self) -> bool:
        """Say whether there is any."""
        return bool(self._errors)

    def add(self, error: InputError) -> None:
        """Keep an error; the twentieth raises them all."""
        self._errors.extend(error.errors if isinstance(error, InputErrors) else [error])
        if len(self._errors) >= MOST_PROBLEMS:
            self.raise_any()

    def raise_any(self) -> None:
        """Raise what was kept: an ``InputError``, or ``InputErrors`` for several; nothing where there is none."""
        if len(self._errors) == 1:
            raise self._errors[0]
        if self._errors:
            raise InputErrors(self._errors[:MOST_PROBLEMS])


def show(value: object) -> str:
    """Return the value as JSON on one line, cut to 200 characters; what is not printable makes it all ASCII."""
    if isinstance(value, str):
        value = value[:MOST_SHOWN]
    text = json.dumps(value, default=str, ensure_ascii=False)
    if not text.isprintable():
        text = json.dumps(value, default=str)
    return text if len(text) <= MOST_SHOWN else text[: MOST_SHOWN - 3] + "..."


def type_name(value: object) -> str:
    """Return what JSON and TOML call the type of a value, with its article."""
    names = {bool: "a boolean", int: "a number", float: "a number", str: "a string", list: "a list", dict: "an object"}
    return "null" if value is None else names.get(type(value), f"a {type(value).__name__}")


class Once:
    """Passes each message on once, with the place before it, and at most 20 of them."""

    def __init__(self, where: str, warn: Callable[[str], None]) -> None:
        self._where = where
        self._warn = warn
        self._told: set[str] = set()

    def __call__(self, message: str) -> None:
        """Pass on a message that is new."""
        if message in self._told or len(self._told) > MOST_PROBLEMS:
            return
        self._told.add(message)
        last = len(self._told) > MOST_PROBLEMS
        self._warn(f"{self._where}: {'further warnings are left out' if last else message}")


def silent(_: str) -> None:
    """Take a warning that nobody asked for."""


class Place(NamedTuple):
    """Where a value stands: ``path:line``, the field's name within the row, and who is told of oddities."""

    where: str
    name: str = ""
    warn: Callable[[str], None] = silent

    def key(self, key: str) -> Place:
        """Return the place of a field of the object here."""
        return Place(self.where, f"{self.name}.{key}" if self.name else key, self.warn)

    def item(self, i: int) -> Place:
        """Return the place of an element of the list here."""
        return Place(self.where, f"{self.name}[{i}]", self.warn)

    def error(self, what: str, advice: str) -> InputError:
        """Return an error here that is not only about this field."""
        return InputError(what, where=self.where, help=advice)

    def wrong(self, value: object, expected: str, advice: str = "") -> InputError:
        """Return the error that says what the field is and what it should be."""
        if value is None:
            return self.error(f"{show(self.name)} is null, expected {expected}", advice or "leave the field out")
        shown = "" if isinstance(value, (list, dict)) else f" ({show(value)})"
        return self.error(f"{show(self.name)} is {type_name(value)}{shown}, expected {expected}", advice)


def string(value: object, at: Place) -> str:
    """Return the value, a string; an ``InputError`` otherwise."""
    if not isinstance(value, str):
        advice = "quote it" if isinstance(value, (int, float)) else "write one text in quotes"
        raise at.wrong(value, "a string", advice if value is not None else "")
    return value


def number(value: object, at: Place) -> float:
    """Return the value, a number within +-``LARGEST`` and no boolean, as a float; an ``InputError`` otherwise."""
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        numeric = isinstance(value, str) and _is_number(value)
        advice = "write it without quotes" if numeric else "write digits, like 0.5"
        raise at.wrong(value, "a finite number", advice if value is not None else "")
    if abs(value) > LARGEST:
        raise at.error(
            f"{show(at.name)} is {value:g}, which is out of range: at most {LARGEST:g} either way",
            "sums of such numbers overflow: scale the scores",
        )
    return float(value)


def items(value: object, at: Place, advice: str = "") -> list[Any]:
    """Return the value, a list; an ``InputError`` otherwise."""
    if not isinstance(value, list):
        raise at.wrong(value, "a list", advice or ("write [...]" if value is not None else ""))
    return value


def mapping(value: object, at: Place) -> dict[str, Any]:
    """Return the value, an object; an ``InputError`` otherwise."""
    if not isinstance(value, dict):
        raise at.wrong(value, "an object", "write {...}" if value is not None else "")
    return value


def near(name: str, known: Iterable[str]) -> str | None:
    """Return the known name within an edit distance of 2 (Levenshtein) of this one, the nearest first, or None."""
    return _near(name, tuple(sorted(known)))


@lru_cache(maxsize=1024)
def _near(name: str, known: tuple[str, ...]) -> str | None:
    close = [word for word in known if abs(len(word) - len(name)) <= NEAR and distance(name, word) <= NEAR]
    return min(close, key=lambda word: distance(name, word), default=None)


def suggest(name: str, known: Iterable[str]) -> str:
    """Return ``did_you_mean`` for a name of any length."""
    return did_you_mean(name[:MOST_SHOWN], known)


def distance(a: str, b: str) -> int:
    """Return the Levenshtein distance of two strings."""
    row = list(range(len(b) + 1))
    for i, left in enumerate(a, 1):
        previous, row[0] = row[0], i
        for j, right in enumerate(b, 1):
            previous, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, previous + (left != right))
    return row[-1]


def _is_number(text: str) -> bool:
    try:
        return math.isfinite(float(text))
    except ValueError:
        return False
