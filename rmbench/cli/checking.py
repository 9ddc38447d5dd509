"""``rmbench verify``, ``reproduce`` and ``doctor``: is the run whole, does it come out again, is all in place."""

from __future__ import annotations

import shlex
import sys
import time
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Annotated

import typer

from rmbench.checks import MOST_PROBLEMS
from rmbench.cli.terminal import print_columns, print_json, say
from rmbench.guard import plain

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rmbench.reproduce import Comparison
    from rmbench.verify import Checked

AFTER = 1.0  # seconds without a bar
Json = Annotated[bool, typer.Option("--json", help="One object.")]


@contextmanager
def bar() -> Iterator[Callable[[str, int, int], None]]:
    """Give what shows how far a check is: a bar on a terminal, where it takes over a second."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    columns = TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn()
    shown = Progress(*columns, console=Console(stderr=True), transient=True, disable=not sys.stderr.isatty())
    job = shown.add_task("")
    begun = time.monotonic()

    def tell(what: str, done: int, total: int) -> None:
        shown.update(job, description=plain(what), completed=done, total=total)
        if time.monotonic() - begun > AFTER:
            shown.start()

    try:
        yield tell
    finally:
        shown.stop()


def verify(run: Annotated[Path, typer.Argument(metavar="RUN", help="A run folder.")], as_json: Json = False) -> None:
    """Check that a run is whole: parts and checkpoints by their hashes, results against the rows.

    Nothing is scored, and no reward's plugin is needed. Exit 0 where nothing is damaged, also for an unfinished run
    (it says so, and how to go on); 5 where something is.
    """
    from rmbench import aside
    from rmbench.cli.catalog import load
    from rmbench.suite_values import DEFAULT_TIMEOUT
    from rmbench.verify import verify as look

    @contextmanager
    def statistics() -> Iterator[aside.Statistics]:
        with TemporaryDirectory() as logs, aside.statistics(load(), timeout=DEFAULT_TIMEOUT, logs=Path(logs)) as own:
            yield own

    with bar() as tell:
        checked = look(run, statistics=statistics, tell=tell)
    if as_json:
        print_json({"run": str(run), "ok": not checked.damages, **asdict(checked)}, indent=1)
    else:
        _tell(run, checked)
    if checked.damages:
        raise typer.Exit(5)


def _tell(run: Path, checked: Checked) -> None:
    """Print one line that says what was checked, or one for each damage and what to do on stderr."""
    place = shlex.quote(str(run))
    for damage in checked.damages[:MOST_PROBLEMS]:
        sys.stdout.write(plain(f"{run / damage.file}: {damage.what}") + "\n")
    if more := len(checked.damages) - MOST_PROBLEMS:
        sys.stdout.write(f"and {more} more\n" if more > 0 else "")
    for advice in dict.fromkeys(damage.help for damage in checked.damages):
        say(f"  help: {advice.replace('RUN', place)}")
    for note in checked.notes:
        say(f"note: {note.replace('RUN', place)}")
    sys.stdout.write(plain(f"{run}: {_summary(checked)}") + "\n")
    if not checked.finished:
        say(f"  go on with: rmbench run --resume --out {place}")


def _summary(checked: Checked) -> str:
    state = f"{len(checked.damages)} damaged" if checked.damages else "all is well"
    words = [f"{checked.parts:,} parts", f"{checked.rows:,} rows"]
    words += [f"{checked.numbers:,} numbers computed again"] if checked.numbers is not None else []
    words += [f"{checked.checkpoints} checkpoints"] if checked.checkpoints else []
    unfinished = "" if checked.finished else f" (unfinished: {checked.status})"
    return f"{state}{unfinished}; checked {', '.join(words)} in {checked.seconds:.1f} s"


def reproduce(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="A finished run folder.")],
    out: Annotated[Path | None, typer.Option(help="The new run [default: runs/<name>-reproduced-<UTC time>].")] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="Rewards scored at once [default: processors].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of further tasks [default: the run's].")] = None,
    as_json: Json = False,
) -> None:
    """Run the suite of a run again, fits and trainings too, and compare the results to the byte.

    Exit 0 where they are equal; 1 where they are not, with what differs and what has changed; 2 where a file of data
    is another than it was: then nothing is run.
    """
    from rmbench import reproduce as again
    from rmbench import runs, suite
    from rmbench.cli.catalog import load
    from rmbench.cli.running import watched
    from rmbench.overrides import Overrides

    first = runs.Run(run)
    manifest = again.original(first)
    words = plain(shlex.join(["rmbench", *sys.argv[1:]]))
    given, base, over = runs.from_manifest(run, Overrides(data_dir=data_dir))
    catalog = load()
    plan = suite.plan(given, catalog, over, base=base, where=str(run / "manifest.json"))
    settings = runs.settled(again.settings_of(manifest, out, workers=workers, command=words), plan)
    again.check_data(manifest, plan, settings, str(run))
    second = watched(plan, catalog, settings, lenient=True)
    found = again.compare(first, second)
    if as_json:
        print_json({"run": str(run), "again": str(second.folder), **asdict(found)}, indent=1)
    else:
        _compared(run, second.folder, found)
    if not found.equal:
        raise typer.Exit(1)


def _compared(run: Path, second: Path, found: Comparison) -> None:
    """Print one line where all came out again, else what differs on stdout and what has changed on stderr."""
    if found.equal:
        sys.stdout.write(plain(f"{run}: all {found.results:,} results came out again, to the byte, in {second}") + "\n")
        return
    for one in found.differences[:MOST_PROBLEMS]:
        sys.stdout.write(plain(one.words("before", "again")) + "\n")
    if (more := len(found.differences) - MOST_PROBLEMS) > 0:
        sys.stdout.write(f"and {more:,} more\n")
    count = f"{len(found.differences):,} of {found.results:,} results differ"
    same = f"all {found.results:,} results are equal, but not what results.json says of the run"
    sys.stdout.write(plain(f"{run}: {count if found.differences else same}; the new run is {second}") + "\n")
    for change in found.changes:
        say(f"changed: {change}")
    if not found.changes:
        say("the manifests differ in nothing that may change a number: is a reward random, or the old run edited?")
        say(f"  help: rmbench verify {shlex.quote(str(run))}")


def doctor(as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False) -> None:
    """Look whether all is in place: packages, plugins, devices, folders, locks, and work without a network.

    Exit 0 where it is, 1 where there are problems, each with what to do. The values of secrets are never shown.
    """
    from rmbench import plugins
    from rmbench.doctor import PROBLEM, examine
    from rmbench.errors import PluginError

    try:
        catalog = plugins.load()
    except PluginError as error:  # RMBENCH_STRICT=1
        catalog = plugins.Catalog(warnings=[f"{error.what}; {error.help}"])
    with bar() as tell:
        found = examine(catalog, tell)
    problems = [one for one in found if one.state == PROBLEM]
    if as_json:
        print_json([asdict(one) for one in found], indent=1)
    else:
        print_columns(("state", "what", "found"), [(one.state, one.what, one.found) for one in found])
        for one in found:
            if one.help:
                say(f"{one.state}: {one.what}: {one.help}")
        sys.stdout.write(f"{len(problems)} problems\n" if problems else "all is in place\n")
    if problems:
        raise typer.Exit(1)
