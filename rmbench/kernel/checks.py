"""Checks of option values: a wrong value is a ``ValueError`` that names the option."""

from collections.abc import Sequence
from numbers import Integral


def choice(option: str, value: object, choices: Sequence[str]) -> None:
    """Raise unless the value is one of the choices."""
    if not isinstance(value, str) or value not in choices:
        raise ValueError(f"{option} is {value!r}, expected one of: {', '.join(choices)}")


def flag(option: str, value: object) -> None:
    """Raise unless the value is true or false."""
    if value is not True and value is not False:
        raise ValueError(f"{option} is {value!r}, expected true or false")


def whole(option: str, value: object, least: int) -> None:
    """Raise unless the value is an integer of at least ``least``."""
    if not isinstance(value, Integral) or isinstance(value, bool) or int(value) < least:  # numpy's are integers too
        raise ValueError(f"{option} is {value!r}, expected an integer of at least {least}")
