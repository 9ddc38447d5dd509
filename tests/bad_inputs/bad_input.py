"""A bad input that somebody may give, and what must come of it: the tests and reports/robustness read the same cases."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

# Stands between who asks and the command, and prints its peak in KiB: a process begins with the peak of the one that
# it is forked from.
WATCHED = """
import resource, subprocess, sys
code = subprocess.call([sys.executable, "-m", "rmbench.cli.main", *sys.argv[1:]], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(code)
"""


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


def command(name: str) -> list[str]:
    """Return the words that run a reward on a bare file."""
    return ["run", "--task", name, "--kind", "dialogue", "--reward", "length", "--out", "out"]
