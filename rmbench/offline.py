"""What of rmbench works where no connection can be made, as JSON on stdout: ``python -m rmbench.offline``.

An audit hook refuses every connection and every look-up of a name that Python code of this process asks for, and keeps
them; code in C or Rust that opens sockets of its own is not seen.
"""

from __future__ import annotations

import errno
import json
import os
import sys
from pathlib import Path
from typing import Any

from rmbench import plugins, suite
from rmbench.api import Runtime
from rmbench.errors import RMBenchError
from rmbench.overrides import Overrides
from rmbench.process import Broken, Failed, Inline
from rmbench.source import batch, open_source

ASKED = ("socket.connect", "socket.getaddrinfo", "socket.gethostbyname", "socket.sendto")
SCORED = "quickstart"
ROWS = 2  # samples that are scored


def refuse(tried: list[str]) -> None:
    """Refuse what would leave this machine, from now on, and keep what was tried. It cannot be undone."""

    def hook(event: str, given: tuple[Any, ...]) -> None:
        if event not in ASKED:
            return
        sent = event in ("socket.connect", "socket.sendto")
        address = given[1] if sent else given[0]
        if sent and isinstance(address, str | bytes):
            return  # a Unix socket is a file of this machine
        tried.append(f"{event} {address!r}")
        raise OSError(errno.ENETUNREACH, "rmbench refuses connections here", str(address))

    sys.addaudithook(hook)


def look() -> dict[str, Any]:
    """Plan every suite that ships with rmbench, and score a few rows with the rewards of the first one.

    Returns:
        ``suites``: what is missing of each, None where it is all there; ``rewards``: the same of each that scored;
        ``tried``: the connections that were asked for.
    """
    tried: list[str] = []
    refuse(tried)
    if not Path(os.environ.get("RMBENCH_DATA", ".")).is_dir():
        del os.environ["RMBENCH_DATA"]  # the doctor has said so; it would hide what else is missing
    catalog = plugins.load()
    suites: dict[str, str | None] = {}
    rewards: dict[str, str | None] = {}
    for name, path in suite.shipped().items():
        try:
            plan = suite.plan(suite.read(path), catalog, Overrides(), base=path.parent, where=str(path))
        except RMBenchError as error:
            suites[name] = error.what
            continue
        suites[name] = None
        if name == SCORED:
            rewards = _scored(plan)
    return {"suites": suites, "rewards": rewards, "tried": tried}


def _scored(plan: suite.Plan) -> dict[str, str | None]:
    """Score a few rows in this process; return what went wrong with each reward."""
    found: dict[str, str | None] = {}
    source = open_source(plan.tasks[0], limit=None, seed=plan.seed)
    rows = batch(next(iter(source.parts())).samples[:ROWS], source.task, labels=False)
    for chosen in plan.rewards:
        if chosen.uses or chosen.labelled:
            continue
        try:
            seat = Inline(chosen, Runtime(seed=plan.seed))
            seat.score(rows)
            seat.close()
            found[chosen.name] = None
        except (Broken, Failed) as error:
            found[chosen.name] = str(error)
    return found


if __name__ == "__main__":
    sys.stdout.write(json.dumps(look()) + "\n")
