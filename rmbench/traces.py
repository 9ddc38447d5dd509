"""What other people's code may change of the process that it runs in: read before, told and undone after."""

from __future__ import annotations

import locale
import os
import random
import signal
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

SEED = 7_310_215
HANDLED = sorted(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})


@dataclass(frozen=True, slots=True)
class Trace:
    """One thing that a call may leave changed.

    Args:
        words: what was changed, for the note; ``{}`` stands for ``tell(before, after)``.
        read: returns it, comparable; None where it is unknown, as is all of a package that is not imported.
        restore: puts it back; None where it is only told.
        known: what None means is known (torch's settings before its import are its defaults).
        tell: says which part was changed.
        begin: sets it where it was unknown, so that the next call that sets it always to the same is noticed.
    """

    words: str
    read: Callable[[], Any]
    restore: Callable[[Any], object] | None
    known: bool = True
    tell: Callable[[Any, Any], str] = lambda before, after: ""  # noqa: ARG005 - most have no parts
    begin: Callable[[], object] | None = None


def _numpy_state() -> Any:
    if (numpy := sys.modules.get("numpy")) is None:
        return None
    name, keys, *rest = numpy.random.get_state(legacy=True)
    return name, keys.tobytes(), *rest


def _restore_numpy(state: Any) -> None:
    numpy = sys.modules["numpy"]
    name, keys, *rest = state
    numpy.random.set_state((name, numpy.frombuffer(keys, dtype=numpy.uint32), *rest))


def _torch(read: Callable[[Any], Any]) -> Callable[[], Any]:
    """Return a reader of torch that gives None while it is not imported."""
    return lambda: None if (torch := sys.modules.get("torch")) is None else read(torch)


def _set_torch(restore: Callable[[Any, Any], object]) -> Callable[[Any], object]:
    return lambda value: restore(sys.modules["torch"], value)


def _folder() -> str | None:
    try:
        return os.getcwd()  # noqa: PTH109 - a plain string to restore
    except FileNotFoundError:  # somebody has removed it
        return None


def _umask() -> int:
    os.umask(mask := os.umask(0o077))  # nothing reads it without setting it
    return mask


def _handlers() -> dict[int, Any]:
    return {number: signal.getsignal(number) for number in HANDLED}


def _restore_handlers(before: dict[int, Any]) -> None:
    for number, handler in before.items():
        if handler is not None and signal.getsignal(number) != handler:
            signal.signal(number, handler)


def _restore_environment(before: dict[str, str]) -> None:
    os.environ.clear()
    os.environ.update(before)


def _different(before: dict[str, str], after: dict[str, str]) -> str:
    return ", ".join(sorted(k for k in {*before, *after} if before.get(k) != after.get(k)))[:200]


def _signals(before: dict[int, Any], after: dict[int, Any]) -> str:
    return ", ".join(signal.Signals(n).name for n in before if before[n] != after[n])


def _restore_path(before: list[str]) -> None:
    sys.path[:] = before


PATH = Trace("sys.path", lambda: list(sys.path), _restore_path)
OWN_PATH = Trace("sys.path", lambda: list(sys.path), None)  # what it imports later may stand there
STATE = (
    Trace("the state of Python's random module", random.getstate, random.setstate),
    Trace(
        "the state of numpy.random", _numpy_state, _restore_numpy, known=False,
        begin=lambda: sys.modules["numpy"].random.seed(SEED),
    ),
    Trace(
        "the state of torch's random generator",
        _torch(lambda torch: torch.random.get_rng_state().numpy().tobytes()),
        _set_torch(lambda torch, state: torch.set_rng_state(torch.frombuffer(bytearray(state), dtype=torch.uint8))),
        known=False,
        begin=lambda: sys.modules["torch"].default_generator.manual_seed(SEED),
    ),
    Trace("the working directory", _folder, os.chdir, known=False),
    Trace("the environment ({})", lambda: dict(os.environ), _restore_environment, tell=_different),
    Trace("the umask", _umask, os.umask),
    Trace("the locale", lambda: locale.setlocale(locale.LC_ALL), lambda name: locale.setlocale(locale.LC_ALL, name)),
    Trace("the handlers of signals ({})", _handlers, _restore_handlers, tell=_signals),
    Trace(
        "torch's default dtype",
        _torch(lambda torch: None if torch.get_default_dtype() == torch.float32 else torch.get_default_dtype()),
        _set_torch(lambda torch, dtype: torch.set_default_dtype(dtype or torch.float32)),
    ),
    Trace(
        "torch's grad mode",
        _torch(lambda torch: None if torch.is_grad_enabled() else "off"),
        _set_torch(lambda torch, off: torch.set_grad_enabled(off is None)),
    ),
    Trace(
        "torch's deterministic algorithms",
        _torch(lambda torch: "on" if torch.are_deterministic_algorithms_enabled() else None),
        _set_torch(lambda torch, on: torch.use_deterministic_algorithms(on is not None)),
    ),
    Trace(
        "torch's number of threads",
        _torch(lambda torch: torch.get_num_threads()),
        _set_torch(lambda torch, number: torch.set_num_threads(number)),
        known=False,
    ),
)  # fmt: skip


@contextmanager
def undone(traces: Sequence[Trace]) -> Iterator[list[str]]:
    """Put back what the body changes, whether it returns or raises; the list holds a note for each afterwards."""
    notes: list[str] = []
    before = [trace.read() for trace in traces]
    try:
        yield notes
    finally:
        for trace, then in zip(traces, before, strict=True):
            now = trace.read()
            if then is None and not trace.known:
                if now is not None and trace.begin is not None:
                    trace.begin()
            elif now != then:
                if trace.restore is not None:
                    trace.restore(then)
                how = "kept: the process is its own" if trace.restore is None else "restored"
                notes.append(f"changed {trace.words.format(trace.tell(then, now))} ({how})")
