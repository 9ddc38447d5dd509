"""Score batches for the driver in a process of its own: ``python -m rmbench.worker``.

The driver sends names and options, then batches; nothing that this process does, prints or dies of can
reach the driver but a reply on a private pipe. Messages: ``open``, ``score``, ``close`` for a reward,
``metric`` and ``measure`` for a metric, ``observe`` for an observer.
"""

from __future__ import annotations

import ctypes
import os
import resource
import signal
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

from rmbench import guard, rewards, scoring, wire
from rmbench.api import Runtime
from rmbench.errors import RMBenchError
from rmbench.plugins import load_value, observe

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmbench.api import Metric

MAXRSS_UNIT = 1 if sys.platform == "darwin" else 1024  # bytes
PR_SET_PDEATHSIG = 1  # of <sys/prctl.h>


def private_pipes() -> tuple[BinaryIO, BinaryIO]:
    """Take the two pipes away from fd 0 and 1, so that a print goes to the log and a read finds nothing."""
    requests = os.fdopen(os.dup(0), "rb", buffering=0)
    replies = os.fdopen(os.dup(1), "wb", buffering=0)
    nothing = os.open(os.devnull, os.O_RDONLY)
    os.dup2(nothing, 0)
    os.dup2(2, 1)
    return requests, replies


def die_with_the_driver() -> None:
    """End when the driver does, however it ends: a hung reward must not outlive a ``kill -9`` of the run.

    Linux sends SIGKILL when the thread that started this process ends (the driver's threads outlive their workers);
    elsewhere a thread looks each second whether the parent is still there.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        return
    driver = os.getppid()

    def watch() -> None:
        while os.getppid() == driver:
            time.sleep(1)
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def exactly(stream: BinaryIO) -> Callable[[int], bytes]:
    """Return ``read(n) -> exactly n bytes``."""

    def read(size: int) -> bytes:
        parts = []
        while size:
            block = stream.read(min(size, 2**20))
            if not block:
                raise EOFError
            parts.append(block)
            size -= len(block)
        return b"".join(parts)

    return read


def find(message: dict[str, Any]) -> Any:
    """Return the reward that an ``open`` message names, importing only what it needs."""
    if message["source"] == "file":
        path, _, name = message["use"].rpartition(":")
        return rewards.load_file(Path(path), name)
    if message["source"] == "module":
        module, _, name = message["use"].rpartition(":")
        return rewards.load_module(module, name)
    return load_value(message["distribution"], message["plugin"], "reward", message["reward"])


def peak() -> int:
    """Return the most bytes of memory that this process has held.

    On Linux getrusage counts what the driver held when this process was started, which may be far more.
    """
    status = Path("/proc/self/status")
    for line in status.read_text().splitlines() if status.exists() else ():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * MAXRSS_UNIT


class Session:
    """The scorer or the statistic of this worker, once it is open."""

    def __init__(self) -> None:
        self.scorer: Callable[[Any], Any] | None = None
        self.statistic: Callable[[Any, Any], float | None] | None = None

    def open(self, message: dict[str, Any]) -> dict[str, Any]:
        """Build the scorer."""
        with guard.watch() as seen:
            self.scorer = scoring.build(find(message), message["options"], Runtime(**message["runtime"]))
        return {"ok": True, "notes": [note for note in seen.notes if not note.startswith("DeprecationWarning")]}

    def score(self, message: dict[str, Any]) -> dict[str, Any]:
        """Score one batch."""
        if self.scorer is None:
            raise scoring.Contract("score before open")
        scores = scoring.score(self.scorer, wire.unpack(message["batch"]))
        return {
            "ok": True,
            "values": scores.values,
            "reasons": scores.reasons,
            "parts": scores.parts,
            "notes": scores.notes,
            "measures": scoring.measures(self.scorer),
            "peak": peak(),
        }

    def close(self) -> dict[str, Any]:
        """Close the scorer; tell which threads keep this process from ending."""
        notes = scoring.closed(self.scorer)
        threads = [thread.name for thread in threading.enumerate() if not thread.daemon]
        return {"notes": notes, "threads": [guard.plain(name) for name in threads if name != "MainThread"]}

    def metric(self, message: dict[str, Any]) -> dict[str, Any]:
        """Find the statistic of a metric."""
        found: Metric = load_value(message["distribution"], message["plugin"], "metric", message["metric"])
        self.statistic = found.statistic
        return {"ok": True}

    def measure(self, message: dict[str, Any]) -> dict[str, Any]:
        """Measure two columns."""
        import numpy as np

        if self.statistic is None:
            raise scoring.Contract("measure before metric")
        columns = (np.frombuffer(bytearray.fromhex(message[name])) for name in ("scores", "human"))
        return {"ok": True, "value": scoring.measured(guard.call(self.statistic, *columns))}

    def observe(self, message: dict[str, Any]) -> dict[str, Any]:
        """Show a finished run to an observer."""
        from rmbench.runs import Run

        observe(message["distribution"], message["plugin"], Run(Path(message["run"])))
        return {"ok": True}

    def answer(self, message: dict[str, Any]) -> dict[str, Any]:
        """Answer one message; an error becomes a reply of its own."""
        answers = {
            "open": self.open, "score": self.score, "metric": self.metric, "measure": self.measure,
            "observe": self.observe,
        }  # fmt: skip
        try:
            return answers[message["op"]](message)
        except guard.Foreign as error:
            return {
                "ok": False, "error": "raised", "message": str(error), "traceback": error.traceback,
                "refused": scoring.refusal(error), "memory": error.memory,
            }  # fmt: skip
        except scoring.Contract as error:
            return {"ok": False, "error": "contract", "message": str(error), "traceback": "", "refused": ""}
        except RMBenchError as error:
            return {
                "ok": False, "error": "raised", "message": str(error), "traceback": "", "refused": "", "memory": False,
            }  # fmt: skip


def main() -> None:
    """Answer messages until the driver closes the pipe or says ``close``."""
    die_with_the_driver()
    requests, replies = private_pipes()
    read, session = exactly(requests), Session()
    while True:
        try:
            message = wire.decode(read)
        except EOFError:
            return
        last = message["op"] == "close"
        reply = wire.encode(session.close() if last else session.answer(message))
        sys.stdout.flush()
        sys.stderr.flush()
        while reply:
            reply = reply[replies.write(reply) :]
        if last:
            return


if __name__ == "__main__":
    main()
