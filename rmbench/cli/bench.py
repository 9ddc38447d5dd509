"""``rmbench bench``: how fast rewards are scored on this machine, beside the plain loops."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from typing import IO, TYPE_CHECKING, Annotated, Any

import typer

from rmbench.cli.measuring import Steps, tables, words
from rmbench.cli.terminal import print_json, say
from rmbench.guard import plain

if TYPE_CHECKING:
    from collections.abc import Generator, Mapping

GRACE = 5.0  # seconds that the measuring process has to end
TAIL = 2000  # characters of what it said last


def bench(
    threads: Annotated[int, typer.Option(min=1, help="Threads that score.")] = 1,
    device: Annotated[str, typer.Option(help="Where models run.")] = "cpu",
    quick: Annotated[bool, typer.Option("--quick", help="Small inputs: to see that it runs.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON instead of tables.")] = False,
) -> None:
    """Measure how fast rewards are scored here, beside the plain loops: about a minute.

    One thread is measured in processor seconds, more of them and other devices by the clock on the wall.
    """
    found: dict[str, Any] = {"schema": 1, "complete": False, "rules": [], "models": [], "failures": {}}
    code = 0
    bar = Steps()
    try:
        with contextlib.closing(_events(threads, device, quick=quick)) as events:
            for event in events:
                take(event, found, bar)
    except KeyboardInterrupt:
        code = 130
    finally:
        bar.close()
    if code:
        done, every = len(found.get("done", ())), len(found.get("steps", ()))
        say("", f"rmbench: interrupted: {done} of {every} steps measured" + (", as follows" if done else ""))
    tell({key: value for key, value in found.items() if key not in {"steps", "done"}}, as_json=as_json)
    for step, reason in found["failures"].items():
        say(f"rmbench: {step} could not be measured: {reason}")
    if code or found["failures"]:
        raise typer.Exit(code or 1)


def take(event: Mapping[str, Any], found: dict[str, Any], bar: Steps) -> None:
    """Take one event of the measuring process: into what was found, and onto the bar."""
    if event["event"] == "plan":
        found |= {**event["about"], "steps": event["steps"], "done": [], "peak_bytes": {}}
        bar.begin(dict(event["steps"]))
    elif event["event"] == "begin":
        bar.stage(event["step"])
    elif event["event"] == "found":
        found["done"].append(event["step"])
        found["rules"] += event.get("rules", [])
        found["models"] += event.get("models", [])
        found |= {"product": event["product"]} if "product" in event else {}
        found["peak_bytes"] |= event.get("peak_bytes", {})
        found["failures"] |= {event["step"]: event["failed"]} if "failed" in event else {}
        bar.advance(event["step"])
    else:
        found |= {"complete": not found["failures"], "seconds": event["seconds"]}


def _events(threads: int, device: str, *, quick: bool) -> Generator[dict[str, Any], None, None]:
    """Yield what the measuring process says; it ends with this generator.

    Raises:
        RMBenchError: it ended before it was done.
    """
    from rmbench.errors import EnvironmentFault
    from rmbench.kernel.measured import THREAD_VARIABLES

    command = ["-m", "rmbench.kernel.measure", "--threads", str(threads), "--device", device]
    environment = {**os.environ, **dict.fromkeys(THREAD_VARIABLES, str(threads))}
    complete = False
    with tempfile.TemporaryFile() as log:
        child = subprocess.Popen(  # noqa: S603 - this Python, our module
            [sys.executable, *command, *(["--quick"] if quick else [])],
            stdout=subprocess.PIPE, stderr=log, start_new_session=True, env=environment,
        )  # fmt: skip
        try:
            for line in child.stdout or ():
                event = json.loads(line)
                complete = event["event"] == "end"
                yield event
            if child.wait() or not complete:
                raise EnvironmentFault(f"the measuring process ended with {child.returncode}: {_tail(log)}")
        finally:
            _end(child)


def _end(child: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, signal.SIGTERM)
    try:
        child.wait(GRACE)
    except subprocess.TimeoutExpired:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    if child.stdout is not None:
        child.stdout.close()


def _tail(log: IO[bytes]) -> str:
    """Return the last lines that the process wrote to stderr."""
    log.seek(0)
    return plain(log.read().decode("utf-8", "replace").strip()[-TAIL:].rpartition("\n")[2]) or "it said nothing"


def tell(found: Mapping[str, Any], *, as_json: bool) -> None:
    """Print what was measured to stdout."""
    if as_json:
        print_json(found, indent=1)
        return
    from rich.console import Console

    console = Console(width=None if sys.stdout.isatty() else 160)
    for table in tables(found):
        console.print(table)
    for line in words(found):
        console.print(line, markup=False, highlight=False)
