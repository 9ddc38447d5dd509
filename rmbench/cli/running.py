"""``rmbench run``: a suite to a run folder, with the table in the terminal."""

from __future__ import annotations

import math
import os
import shlex
import signal
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmbench.cli.arguments import option_values
from rmbench.cli.catalog import load
from rmbench.cli.faults import bugs_of
from rmbench.cli.terminal import Watched, say
from rmbench.datafile import stem
from rmbench.guard import plain
from rmbench.recipes import EXAMPLE

if TYPE_CHECKING:
    from types import FrameType

    from rmbench.overrides import Overrides
    from rmbench.plugins import Catalog
    from rmbench.runs import Run, Settings
    from rmbench.suite import Plan


class Interrupt:
    """Ctrl-C, SIGTERM and SIGHUP: the first stops after the current batch, the second at once."""

    def __init__(self) -> None:
        self.stop = threading.Event()
        self.signal: int | None = None

    def install(self) -> None:
        """Take the signals."""
        for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
            if signal.getsignal(number) is not signal.SIG_IGN:  # nohup stays nohup
                signal.signal(number, self._take)

    def _take(self, number: int, _: FrameType | None) -> None:
        if self.signal is not None:
            os._exit(128 + number)
        self.signal = number
        self.stop.set()
        raise KeyboardInterrupt


def _given(
    suite_name: str | None, out: Path | None, tasks: list[str], *, resume: bool, over: Overrides
) -> tuple[dict[str, Any], Path, str, Overrides]:
    """Return the suite's table, its folder, its place for errors, and the overrides."""
    from rmbench import runs as engine
    from rmbench import suite
    from rmbench.store import RunFolder

    if suite_name is None and resume and out is not None and RunFolder.is_run(out):
        given, base, over = engine.from_manifest(out, over)
        return given, base, str(out / "manifest.json"), over
    path = suite.find(suite_name or "quickstart")
    given = suite.read(path)
    if suite_name is None and tasks:
        given["name"] = stem(Path(tasks[0])) if len(tasks) == 1 else "tasks"
    return given, path.parent, str(path), over


def run(
    suite_name: Annotated[
        str | None, typer.Argument(metavar="[SUITE]", help="A suite file, or a name of `rmbench list suites`.")
    ] = None,
    task: Annotated[
        list[str] | None, typer.Option("--task", help="A task (name, folder or file) instead of the suite's.")
    ] = None,
    reward: Annotated[list[str] | None, typer.Option("--reward", help="A reward instead of the suite's.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", metavar="R.KEY=VALUE", help="An option of a reward.")
    ] = None,
    kind: Annotated[str | None, typer.Option(help="Kind of a bare file's rows.")] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: runs/<suite>-<UTC time>].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    limit: Annotated[int | None, typer.Option(help="At most so many samples a task.")] = None,
    device: Annotated[str, typer.Option(help="Where models run.")] = "cpu",
    workers: Annotated[int | None, typer.Option(min=1, help="Rewards scored at once [default: processors].")] = None,
    timeout: Annotated[float | None, typer.Option(help="Seconds per batch (0: none) [default: 300].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of further tasks [default: $RMBENCH_DATA].")] = None,
    max_unscored: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of unscored rows per task and reward that is no failure.")
    ] = 0.001,
    check_invariance: Annotated[
        int | None,
        typer.Option(min=1, metavar="[N]", help="Score N rows (32) of each task again in other company, and compare."),
    ] = None,
    unscored: Annotated[
        str | None, typer.Option(metavar="wrong|exclude", help="How rows without a score count.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print results.json instead of the table.")] = False,
) -> None:
    """Score rewards on tasks, compare them with people, and write a report.

    Without arguments the quickstart suite is run.
    """
    from rmbench.errors import InputError
    from rmbench.overrides import Overrides
    from rmbench.runs import Settings

    if math.isnan(max_unscored):  # no comparison of click's finds it out of range
        raise InputError("--max-unscored is nan, expected a share from 0 to 1", help="--max-unscored 0.001")
    words = plain(shlex.join(["rmbench", *sys.argv[1:]]))
    settings = Settings(
        out, resume=resume, force=force, device=device, workers=workers, max_unscored=max_unscored,
        check_invariance=check_invariance, command=words,
    )  # fmt: skip
    over = Overrides(
        tasks=tuple(task or ()), rewards=tuple(reward or ()), kind=kind,
        options=tuple(option_values(option or [], reward or [])),
        seed=seed, limit=limit, unscored=unscored, timeout=timeout, data_dir=data_dir,
    )  # fmt: skip
    done = execute(suite_name, settings, over)
    _tell(done, as_json=as_json)
    if done.exit_code:
        raise typer.Exit(done.exit_code)


def execute(suite_name: str | None, settings: Settings, over: Overrides) -> Run:
    """Run a suite, or fit it alone, watched and interruptible."""
    from rmbench import runs as engine
    from rmbench import suite
    from rmbench.errors import InputError

    given, base, where, over = _given(suite_name, settings.out, list(over.tasks), resume=settings.resume, over=over)
    catalog = load()
    plan = suite.plan(given, catalog, over, base=base, where=where)
    if settings.only_fit and not any(one.recipe for one in plan.rewards):
        raise InputError("has no [[reward_model]]: there is nothing to fit", where=where, help=EXAMPLE)
    return watched(plan, catalog, engine.settled(settings, plan), lenient=suite_name is None and not over.rewards)


def watched(plan: Plan, catalog: Catalog, settings: Settings, *, lenient: bool) -> Run:
    """Run a plan into its folder, watched and interruptible."""
    from rmbench import runs as engine
    from rmbench.process import Stopped

    interrupt, progress = Interrupt(), Watched()
    interrupt.install()
    try:
        with bugs_of(settings.out or Path()):
            return engine.execute(plan, catalog, settings, progress=progress, stop=interrupt.stop, lenient=lenient)
    except (KeyboardInterrupt, Stopped):
        progress.close()
        say("", f"rmbench: interrupted; {_to_go_on(settings)}")
        raise typer.Exit(128 + (interrupt.signal or signal.SIGINT)) from None
    finally:
        progress.close()


def _to_go_on(settings: Settings) -> str:
    """Say what was kept of an interrupted run, and the command that goes on with it."""
    from rmbench.store import RunFolder

    if settings.out is None or not RunFolder.is_run(settings.out):
        return "nothing was written yet"
    again = f"rmbench {'fit' if settings.only_fit else 'run'} --resume --out {shlex.quote(str(settings.out))}"
    return f"what was done is kept. Go on with: {again}"


def _tell(done: Run, *, as_json: bool) -> None:
    """Print the table (or results.json) to stdout, and problems and the report's path to stderr."""
    if as_json:
        sys.stdout.write((done.folder / "results.json").read_text(encoding="utf-8"))
    else:
        from rich.console import Console

        from rmbench.report import run_tables

        console = Console(width=None if sys.stdout.isatty() else 140)
        for table in run_tables(done):
            console.print(table)
    manifest = done.manifest
    _tell_failures(done, manifest)
    for problem in manifest["problems"]:
        say(f"rmbench: {problem}")
    say(f"report: {(done.folder / 'report' / 'index.html').resolve()}")


def _tell_failures(done: Run, manifest: dict[str, Any]) -> None:
    """Say what could not be used and why, and what to do."""
    from rmbench.studies.compute import who

    trained = {entry["name"] for entry in manifest["resolved"].get("training", ())}
    for name, reason in manifest["failures"].items():
        what = f"policy {name} could not be trained" if name in trained else f"{who(manifest, name)} could not be used"
        say(f"rmbench: {what}: {reason}")
    if manifest["failures"]:
        say(f"  help: mend it or leave it out; what it printed and raised is in {done.folder / 'logs'}")
