"""``rmbench tune``: the options of an entry of a suite, searched over the ranges that the suite gives."""

from __future__ import annotations

import shlex
import signal
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmbench.cli.catalog import load
from rmbench.cli.running import Interrupt
from rmbench.cli.terminal import Watched, print_json, print_table, say

if TYPE_CHECKING:
    from rmbench.search_journal import Found, Tried
    from rmbench.tuning import Search


class Searched(Watched):
    """Progress of a search: a bar of trials with the time left, one of each fit; off a terminal a line per trial."""

    def trials(self, total: int, done: int) -> None:
        """Start the bar."""
        if bar := self._open():
            self.job = bar.add_task("trials", total=total, completed=done, rate="", unit="trials")

    def fitted(self, name: str, how: str = "fitted") -> None:
        """Take the bar of a fit away; a trial's line says how it ended."""
        if not name.startswith("trial "):
            super().fitted(name, how)
            return
        if self.bar is not None and name in self.fits:
            self.bar.remove_task(self.fits.pop(name))
        self.last.pop(name, None)

    def tried(self, one: Tried, found: Found) -> None:
        """Move the bar and say what a trial came to."""
        best = "" if found.best is None else f"best {found.best.value:.4g}"
        if self.bar is not None and self.job is not None:
            self.bar.update(self.job, advance=1, rate=best)
        value = "" if one.value is None else f" {found.search.metric} {one.value:.4g}"
        self._line(f"trial {one.place} {one.state}:{value}{'; ' if best and value else ' '}{one.reason or best}")


def tune(
    suite_name: Annotated[
        str | None, typer.Argument(metavar="SUITE", help="A suite with `tune` tables; not with --resume.")
    ] = None,
    trials: Annotated[
        int | None, typer.Option(min=1, max=100_000, help="Trials to make in all [default: the suite's, or 20].")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="Folder [default: runs/<suite>-tune-<UTC time>].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the search in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    device: Annotated[str, typer.Option(help="Where models run.")] = "cpu",
    workers: Annotated[
        int, typer.Option(min=1, help="Trials made at once; with one the search is a function of suite and seed.")
    ] = 1,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of further tasks [default: $RMBENCH_DATA].")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the search as JSON instead of the table.")] = False,
) -> None:
    """Search the options of a reward model, a policy or a training over the ranges that a suite gives.

    Trials are judged on dev; the test split is not read.
    """
    from rmbench import search_folder
    from rmbench.search_journal import require_optuna

    require_optuna()
    search = _search(suite_name, out, resume=resume, changes=(seed, trials, data_dir))
    settings = search_folder.Settings(
        out or search_folder.default_folder(search), resume=resume, force=force, device=device, workers=workers
    )
    found = _watched(search, settings)
    _tell(found, as_json=as_json)
    if found.best is None:
        raise typer.Exit(3)


def _search(suite_name: str | None, out: Path | None, *, resume: bool, changes: tuple[Any, Any, Any]) -> Search:
    """Return the search that a suite asks for, or that a folder holds."""
    from rmbench import search_folder, suite, tuning
    from rmbench.errors import InputError
    from rmbench.overrides import Overrides

    seed, trials, data_dir = changes
    if suite_name is None:
        if not (resume and out is not None and search_folder.is_search(out)):
            raise InputError("no suite was named", help="rmbench tune SUITE.toml, or --resume --out DIR of a search")
        given, base, where, data_dir, before = search_folder.from_folder(out, Overrides(data_dir=data_dir))
        trials = trials or before
    else:
        path = suite.find(suite_name)
        given, base, where = suite.read(path), path.parent, str(path)
    return tuning.read(given, load(), base=base, where=where, seed=seed, trials=trials, data_dir=data_dir)


def _watched(search: Search, settings: Any) -> Found:
    """Search, watched and interruptible; what there is by then is written."""
    from rmbench import search_folder, searching
    from rmbench.process import Stopped

    interrupt, progress = Interrupt(), Searched()
    interrupt.install()
    try:
        found = searching.execute(search, load(), settings, progress=progress, stop=interrupt.stop)
    except (KeyboardInterrupt, Stopped):
        progress.close()
        again = f"rmbench tune --resume --out {shlex.quote(str(settings.out))}"
        kept = "; what was done is kept" if search_folder.is_search(settings.out) else ""
        say("", f"rmbench: interrupted{kept}." + (f" Go on with: {again}" if kept else ""))
        raise typer.Exit(128 + (interrupt.signal or signal.SIGINT)) from None
    finally:
        progress.close()
    from rmbench.report import search as report

    report.write(found)
    return found


def _tell(found: Found, *, as_json: bool) -> None:
    """Print the best trials and the best as a fragment of a suite to stdout, and where all is to stderr."""
    from rmbench.report import search as report

    if as_json:
        print_json(report.summary(found), indent=1)
    elif found.best is not None:
        print_table(*report.table(found))
        sys.stdout.write("\n" + report.best(found))
    say(f"rmbench: {report.counted(found)}")
    for what, path in report.paths(found.folder).items():
        if path.is_file():
            say(f"{what}: {path}")
