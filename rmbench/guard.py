"""Run other people's code without letting it take the process, its output or its state with it."""

from __future__ import annotations

import os
import re
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from rmbench import traces
from rmbench.errors import RMBenchError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MESSAGE_LIMIT = 500
NAME_LIMIT = 100
# What a terminal may act on, or nobody sees: C0, DEL, C1, bidirectional, zero-width, tags, fillers, surrogates.
ACTING = re.compile(
    "[\x00-\x1f\x7f-\x9f\xad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\u3164"
    "\ud800-\udfff\ufeff\uffa0\ufff9-\ufffb\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d173-\U0001d17a"
    "\U000e0000-\U000e0fff]"
)
MEMORY = ("MemoryError", "OutOfMemoryError")  # the second is torch's


class Foreign(Exception):
    """An exception that other people's code raised: its type, message and traceback as text."""

    def __init__(self, error: BaseException) -> None:
        import traceback

        self.kind = re.sub(r"\W+", "_", type(error).__name__)[:NAME_LIMIT]  # a class may have any text as its name
        self.message = plain(_words(error))[:MESSAGE_LIMIT]
        self.traceback = "".join(traceback.format_exception(error))
        super().__init__(f"{self.kind}: {self.message}" if self.message else self.kind)

    @property
    def memory(self) -> bool:
        """Whether there was too little memory for what it was given."""
        return self.kind in MEMORY


def _words(error: BaseException) -> str:
    """Return what an error says, in one line: the help of ours in brackets."""
    if not isinstance(error, RMBenchError):
        try:
            return str(error)
        except Exception as other:  # noqa: BLE001 - its __str__ is other people's code too
            return f"(its message cannot be read: {type(other).__name__})"
    place = f"{error.where}: " if error.where else ""
    return f"{place}{error.what}" + (f" ({error.help})" if error.help else "")


def plain(text: str) -> str:
    """Replace control characters, bidi overrides and line breaks by visible marks: safe in a message."""
    return ACTING.sub(lambda found: " " if found[0] in "\n\t" else "\ufffd", text)


def exists(path: Path) -> bool:
    """Whether a path that a user typed is there; one that cannot be (too long, a NUL) is not."""
    try:
        return path.exists()
    except OSError:
        return False


def call(function: Callable[..., Any], *args: Any, **options: Any) -> Any:
    """Call a function of a plugin; whatever it raises (SystemExit and panics too) becomes ``Foreign``."""
    try:
        return function(*args, **options)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # a Rust panic is no Exception
        raise Foreign(error) from error


@contextmanager
def stdout_to_stderr() -> Iterator[None]:
    """Send what is written to fd 1 to fd 2: results go to stdout, a plugin's noise never does."""
    sys.stdout.flush()
    saved = os.dup(1)
    os.dup2(2, 1)
    try:
        yield
    finally:
        sys.stdout.flush()
        os.dup2(saved, 1)
        os.close(saved)


@dataclass(slots=True)
class Watch:
    """What a call did beside its work: the warnings it gave, the process state it changed."""

    notes: list[str] = field(default_factory=list)


@contextmanager
def watch() -> Iterator[Watch]:
    """Undo and note what a call changes of its process, and note the warnings that it gives."""
    seen = Watch()
    with warnings.catch_warnings(record=True) as caught, traces.undone((*traces.STATE, traces.OWN_PATH)) as changed:
        warnings.simplefilter("always")
        yield seen
    seen.notes += [*changed, *sorted({plain(f"{w.category.__name__}: {w.message}")[:MESSAGE_LIMIT] for w in caught})]
