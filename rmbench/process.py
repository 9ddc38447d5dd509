"""The driver's end of a worker: start it, ask it, and get rid of it whatever it does."""

from __future__ import annotations

import contextlib
import fcntl
import os
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from dataclasses import asdict
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

from rmbench import guard, scoring, wire
from rmbench.errors import RMBenchError
from rmbench.scoring import Scores
from rmbench.store import append

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from rmbench.api import Batch, Runtime
    from rmbench.rewards import Chosen

LOG_LIMIT = 10 * 2**20
POLL = 0.2
GRACE = 2.0


class Failed(Exception):
    """The rows of a call could not be scored: ``kind`` is raised, timeout, or died; ``memory``: too little of it."""

    def __init__(self, kind: str, message: str, traceback: str = "", *, memory: bool = False) -> None:
        super().__init__(message)
        self.kind = kind
        self.traceback = traceback
        self.memory = memory


class Broken(Exception):
    """The reward cannot be used at all: its contract is broken or it cannot be built.

    ``refused`` is what ``build`` says of the options where it will not have them.
    """

    def __init__(self, message: str, traceback: str = "", *, refused: str = "") -> None:
        super().__init__(message)
        self.traceback = traceback
        self.refused = refused


class Stopped(Exception):
    """The user interrupted the run."""


class Seat(Protocol):
    """Where a reward scores: a process, or this one; ``notes`` are those of building it."""

    notes: list[str]

    def score(self, batch: Batch) -> Scores:
        """Score a batch, or raise Failed, Broken or Stopped."""
        ...

    def close(self) -> list[str]:
        """Give everything back; return what the user should know of that."""
        ...


class Inline:
    """Score in this process: for callables given in Python."""

    def __init__(self, chosen: Chosen, runtime: Runtime) -> None:
        self.notes: list[str] = []
        try:
            self.scorer = scoring.build(chosen.reward, chosen.options, runtime)
        except guard.Foreign as error:
            raise Broken(f"it could not be built: {error}", error.traceback, refused=scoring.refusal(error)) from error
        except scoring.Contract as error:
            raise Broken(str(error)) from error

    def score(self, batch: Batch) -> Scores:
        """Score a batch here."""
        try:
            return scoring.score(self.scorer, batch)
        except guard.Foreign as error:
            raise Failed("raised", str(error), error.traceback, memory=error.memory) from error
        except scoring.Contract as error:
            raise Broken(str(error)) from error

    def close(self) -> list[str]:
        """Close the scorer."""
        return scoring.closed(self.scorer)


class Worker:
    """A process of ours at the other end of two pipes; what it prints goes to the log.

    Args:
        module: what it runs, such as ``rmbench.worker``.
        timeout: seconds that it may take for an answer, 0 for no limit.
        stop: set when the user interrupts.
        log: file that keeps what it prints, or None.
        environment: variables that it has beside ours, and that ours go before.
    """

    def __init__(
        self, module: str, *, timeout: float, stop: threading.Event, log: Path | None,
        environment: Mapping[str, str] = MappingProxyType({}),
    ) -> None:  # fmt: skip
        self.timeout = timeout
        self.stop = stop
        self.log = log
        self.child: subprocess.Popen[bytes] | None = subprocess.Popen(  # noqa: S603 - our own module
            [sys.executable, "-m", module],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            env={**environment, **os.environ},
        )
        self.tail = b""
        self.noise = 0
        self.reading = threading.Lock()  # what is read is counted before anybody asks
        self.drain = threading.Thread(target=self._drain, args=(self.child,), daemon=True)
        self.drain.start()

    def _drain(self, child: subprocess.Popen[bytes]) -> None:
        """Keep what the worker prints: the first 10 MB in the log, the last words for the error."""
        if child.stderr is None:
            return
        written = self.log.stat().st_size if self.log is not None and self.log.is_file() else 0
        while block := self._block(child.stderr.fileno()):
            self.tail = (self.tail + block)[-2000:]
            if self.log is not None and written < LOG_LIMIT:
                with contextlib.suppress(RMBenchError):
                    append(self.log, block[: LOG_LIMIT - written])
            written += len(block)

    def _block(self, stream: int) -> bytes:
        select.select([stream], [], [])
        with self.reading:
            block = os.read(stream, 65536)
            self.noise += len(block)
        return block

    def said(self) -> int:
        """Return how many bytes the worker has printed, those that nobody has read yet included."""
        if self.child is not None and self.child.stderr is not None:
            with self.reading:
                waiting = fcntl.ioctl(self.child.stderr.fileno(), termios.FIONREAD, struct.pack("i", 0))
                return self.noise + int(struct.unpack("i", waiting)[0])
        return self.noise

    def ask(self, message: Any) -> Any:
        """Send a message and wait for its reply, a timeout, a death or an interrupt."""
        deadline = time.monotonic() + self.timeout if self.timeout else None
        self.send(message, deadline)
        return self.receive(deadline)

    def _alive(self) -> subprocess.Popen[bytes]:
        if self.child is None or self.child.stdin is None or self.child.stdout is None:
            raise Failed("died", "the worker is gone")
        return self.child

    def send(self, message: Any, deadline: float | None = None) -> None:
        """Send a message."""
        child = self._alive()
        out = child.stdin.fileno() if child.stdin else -1
        os.set_blocking(out, False)
        frame = memoryview(wire.encode(message))
        try:
            while frame:
                self._wait([], [out], deadline)
                frame = frame[os.write(out, frame) :]
        except (BrokenPipeError, EOFError) as error:
            raise Failed("died", self._obituary(child)) from error

    def receive(self, deadline: float | None = None) -> Any:
        """Wait for the next message."""
        child = self._alive()
        back = child.stdout.fileno() if child.stdout else -1
        try:
            return wire.decode(lambda size: self._exactly(back, size, deadline))
        except EOFError as error:
            raise Failed("died", self._obituary(child)) from error
        except ValueError as error:  # it wrote to a file descriptor that is not its own
            raise Failed("died", f"the process answered with what is no message ({error})") from error

    def _exactly(self, back: int, size: int, deadline: float | None) -> bytes:
        parts = []
        while size:
            self._wait([back], [], deadline)
            block = os.read(back, min(size, 2**20))
            if not block:
                raise EOFError
            parts.append(block)
            size -= len(block)
        return b"".join(parts)

    def _wait(self, reads: list[int], writes: list[int], deadline: float | None) -> None:
        while True:
            if self.stop.is_set():
                raise Stopped
            gone = self.child is not None and self.child.poll() is not None
            ready = select.select(reads, writes, [], 0 if gone else POLL)
            if ready[0] or ready[1]:
                return
            if gone:  # what it has forked may hold the pipe open
                raise EOFError
            if deadline is not None and time.monotonic() > deadline:
                raise Failed("timeout", f"no answer within {self.timeout:g} s")

    def _obituary(self, child: subprocess.Popen[bytes]) -> str:
        try:
            code = child.wait(GRACE)
        except subprocess.TimeoutExpired:
            return "the worker closed its pipe"
        self.drain.join(GRACE)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"exited with {code}"
        words = guard.plain(self.tail.decode(errors="replace").strip().rpartition("\n")[2])[:200]
        return f"the process {how}" + (f" ({words})" if words else "")

    def end(self, seconds: float) -> None:
        """Ask it to end with SIGTERM, wait so long, then kill it."""
        if self.child is not None:
            self.child.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(seconds)
        self.kill()

    def kill(self) -> None:
        """Kill the worker and everything it started."""
        child, self.child = self.child, None
        if child is None:
            return
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(child.pid, signal.SIGKILL)
        child.wait()
        for pipe in (child.stdin, child.stdout):
            if pipe is not None:
                with contextlib.suppress(OSError):
                    pipe.close()

    def close(self) -> list[str]:
        """Ask the worker to close, wait a moment, then kill what is left of its group.

        Returns:
            What close() raised, and what went on after it.
        """
        if self.child is None:
            return []
        try:
            self.send({"op": "close"}, time.monotonic() + GRACE)
            reply = self.receive(time.monotonic() + GRACE)
            return [*reply["notes"], *self._left(self.child, reply["threads"])]
        except Failed as error:
            took = f"did not return within {GRACE:g} s (killed)"
            return [f"close() {took if error.kind == 'timeout' else f'failed: {error}'}"]
        except Stopped:
            return []
        finally:
            self.kill()

    def _left(self, child: subprocess.Popen[bytes], threads: list[str]) -> list[str]:
        """Return what still runs a moment after the worker has closed; ``threads`` then ran."""
        try:
            child.wait(GRACE)
        except subprocess.TimeoutExpired:  # without threads it is torch, or a busy machine
            return [f"left threads running: {', '.join(threads)[:200]} (killed)"] if threads else []
        until = time.monotonic() + POLL
        with contextlib.suppress(ProcessLookupError, PermissionError):
            while time.monotonic() < until:
                os.killpg(child.pid, 0)
                time.sleep(POLL / 10)
            return ["left processes running (killed)"]
        return []


class Process:
    """Score in a worker process, restarted after it dies or is killed."""

    def __init__(
        self, chosen: Chosen, runtime: Runtime, *, timeout: float, stop: threading.Event, log: Path | None
    ) -> None:
        self.open_message = {
            "op": "open",
            "source": chosen.source,
            "use": chosen.use,
            "distribution": chosen.distribution,
            "plugin": chosen.plugin,
            "reward": chosen.reward.name,
            "options": dict(chosen.options),
            "runtime": asdict(runtime),
        }
        self.timeout = timeout
        self.stop = stop
        self.log = log
        self.notes: list[str] = []
        self.peak = 0  # bytes of resident memory, the most that a worker held
        self.measures: dict[str, float] = {}  # what the scorer tells of its work
        self.worker: Worker | None = None
        self._start()

    def _start(self) -> Worker:
        worker = self.worker = Worker("rmbench.worker", timeout=self.timeout, stop=self.stop, log=self.log)
        try:
            reply = worker.ask(self.open_message)
        except Failed as error:
            self._kill()
            raise Broken(f"it could not be built: {error}", error.traceback) from error
        except Stopped:
            self._kill()
            raise
        if not reply["ok"]:
            self._kill()
            raise Broken(f"it could not be built: {reply['message']}", reply["traceback"], refused=reply["refused"])
        self.notes = reply["notes"]
        return worker

    def score(self, batch: Batch) -> Scores:
        """Score a batch in the worker."""
        worker = self.worker or self._start()
        noise = worker.said()
        try:
            reply = worker.ask({"op": "score", "batch": wire.pack(batch)})
        except (Failed, Stopped):
            self._kill()
            raise
        self.peak = max(self.peak, reply.get("peak", 0))
        self.measures = reply.get("measures", {})
        if reply["ok"]:
            printed = ["printed to stdout or stderr (kept in the log)"] if worker.said() > noise else []
            return Scores(reply["values"], reply["reasons"], reply["parts"], [*reply["notes"], *printed])
        if reply["error"] == "contract":
            raise Broken(reply["message"])
        raise Failed("raised", reply["message"], reply["traceback"], memory=reply["memory"])

    def _kill(self) -> None:
        worker, self.worker = self.worker, None
        if worker is not None:
            worker.kill()

    def close(self) -> list[str]:
        """Ask the worker to close, wait a moment, then kill what is left of its group."""
        worker, self.worker = self.worker, None
        return [] if worker is None else worker.close()
