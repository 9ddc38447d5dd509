"""A bad input that somebody may give, and what must come of it: the tests and reports/robustness read the same cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class BadInput:
    """One case.

    Args:
        number: its number in the list of bad inputs, with a letter where it has several forms: ``"12"``, ``"27b"``.
        name: what is given, in a few words.
        make: writes the files into an empty folder, and returns the words of the command line behind ``rmbench``
            (paths relative to that folder, which is the working directory).
        says: a regular expression that the message must match.
        code: the exit code: 0 where the input is odd but right.
    """

    number: str
    name: str
    make: Callable[[Path], list[str]]
    says: str
    code: int = 2
