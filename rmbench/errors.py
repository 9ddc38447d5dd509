"""The exception tree. Every error says what is wrong, where, and what to do.

RMBenchError            exit 70 unless a subclass says otherwise
|- InputError           exit 2: the user's input is wrong; nothing was run
|- PluginError          exit 3: a plugin that the suite names cannot be used
|- EnvironmentFault     exit 4: disk, permission, memory, network
|- RunFolderError       exit 5: the run folder is busy, damaged or another suite's
"""

from __future__ import annotations

from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable


class RMBenchError(Exception):
    """Base of all errors of rmbench: a message, a place and a help line.

    Args:
        what: one sentence that says what was found and what was expected.
        where: the place, such as ``"data.jsonl:17"`` or ``"plugin toxicity 1.2"``.
        help: what to do about it.
    """

    exit_code = 70

    def __init__(self, what: str, *, where: str = "", help: str = "") -> None:  # noqa: A002 - the word the message prints
        super().__init__(what)
        self.what = what
        self.where = where
        self.help = help

    def __str__(self) -> str:
        """Return ``where: what`` and, on a second line, the help."""
        place = f"{self.where}: " if self.where else ""
        advice = f"\n  help: {self.help}" if self.help else ""
        return f"{place}{self.what}{advice}"


class InputError(RMBenchError):
    """The user's input is wrong: a file, an option, a name. Nothing was run."""

    exit_code = 2


class InputErrors(InputError):
    """Several input errors found in one pass (at most 20 are listed)."""

    def __init__(self, errors: Iterable[InputError]) -> None:
        self.errors = tuple(errors)
        super().__init__(f"{len(self.errors)} problems found")

    def __str__(self) -> str:
        """Return the problems, one below the other."""
        return "\n".join(str(error) for error in self.errors[:20])


class PluginError(RMBenchError):
    """A plugin that the suite names could not be used: import, clash, wrong type or length."""

    exit_code = 3


class EnvironmentFault(RMBenchError):
    """The environment failed: disk, permission, memory or network."""

    exit_code = 4


class RunFolderError(RMBenchError):
    """The run folder is busy, damaged, or belongs to another suite."""

    exit_code = 5


def reply(error: RMBenchError) -> dict[str, Any]:
    """Return an error as the message of a process of ours; what the system refused (a full disk) is told apart."""
    refused = isinstance(error, EnvironmentFault) and isinstance(error.__cause__, OSError)
    kind = "environment" if refused else "refused"
    return {"ok": False, "error": kind, "message": error.what, "where": error.where, "help": error.help}


def did_you_mean(name: str, known: Iterable[str]) -> str:
    """Return a help sentence with the nearest known names, or all of them when none is near."""
    names = sorted(set(known))
    near = get_close_matches(name, names, n=3, cutoff=0.6)
    if near:
        return "did you mean " + " or ".join(near) + "?"
    return "known: " + ", ".join(names) if names else "none are known"
