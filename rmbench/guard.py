"""Run other people's code without letting it take the process, its output or its state with it."""

from __future__ import annotations

import os
import random
import re
import sys
import warnings
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

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


class Foreign(Exception):
    """An exception that other people's code raised: its type, message and traceback as text."""

    def __init__(self, error: BaseException) -> None:
        import traceback

        self.kind = re.sub(r"\W+", "_", type(error).__name__)[:NAME_LIMIT]  # a class may have any text as its name
        self.message = plain(_words(error))[:MESSAGE_LIMIT]
        self.traceback = "".join(traceback.format_exception(error))
        super().__init__(f"{self.kind}: {self.message}" if self.message else self.kind)


def _words(error: BaseException) -> str:
    """Return what an error says, in one line: the help of ours in brackets."""
    if not isinstance(error, RMBenchError):
        return str(error)
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


def _numpy_state() -> Any:
    numpy = sys.modules.get("numpy")
    return None if numpy is None else numpy.random.get_state(legacy=True)


def _same_numpy(before: Any, after: Any) -> bool:
    return before is None or (before[2:] == after[2:] and bool((before[1] == after[1]).all()))


def _torch_state() -> Any:
    torch = sys.modules.get("torch")
    return None if torch is None else torch.random.get_rng_state()


@contextmanager
def watch() -> Iterator[Watch]:
    """Notice, undo and report changes of the RNGs, the working directory and the environment."""
    seen = Watch()
    rng, numpy_rng, torch_rng = random.getstate(), _numpy_state(), _torch_state()
    folder, environment = os.getcwd(), dict(os.environ)  # noqa: PTH109 - a plain string to restore
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            yield seen
        finally:
            _restore(seen, (rng, numpy_rng, torch_rng), folder, environment)
    seen.notes += sorted({plain(f"{w.category.__name__}: {w.message}")[:MESSAGE_LIMIT] for w in caught})


def _restore(seen: Watch, states: tuple[Any, Any, Any], folder: str, environment: dict[str, str]) -> None:
    """Undo and note what a call changed, whether it returned or raised."""
    rng, numpy_rng, torch_rng = states
    if random.getstate() != rng:
        random.setstate(rng)
        seen.notes.append("changed the state of Python's random module (restored)")
    if numpy_rng is not None and not _same_numpy(numpy_rng, _numpy_state()):
        sys.modules["numpy"].random.set_state(numpy_rng)
        seen.notes.append("changed the state of numpy.random (restored)")
    if torch_rng is not None and not bool((torch_rng == _torch_state()).all()):
        sys.modules["torch"].random.set_rng_state(torch_rng)
        seen.notes.append("changed the state of torch's random generator (restored)")
    if os.getcwd() != folder:  # noqa: PTH109 - as above
        os.chdir(folder)
        seen.notes.append("changed the working directory (restored)")
    if dict(os.environ) != environment:
        changed = sorted(k for k in {*environment, *os.environ} if environment.get(k) != os.environ.get(k))
        os.environ.clear()
        os.environ.update(environment)
        seen.notes.append(f"changed the environment ({', '.join(changed)[:200]}; restored)")
