"""``rmbench.run``: a suite, or tasks and rewards, to a run folder with results and report."""

from __future__ import annotations

import contextlib
import os
import sys
import threading
import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import aside, fitting, optimising, plugins, suite, training_checks
from rmbench.api import Result, Runtime
from rmbench.datafile import stem
from rmbench.errors import RMBenchError, RunFolderError
from rmbench.manifest import about, after_training, feedable, make_manifest, skips
from rmbench.measurements import measured, varying
from rmbench.opening import open_folder
from rmbench.overrides import Overrides
from rmbench.preflight import check_options
from rmbench.source import Source, open_source
from rmbench.store import RunFolder, folder_name, now, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

    from rmbench.engine import Outcome
    from rmbench.fitting import Fit
    from rmbench.plugins import Catalog
    from rmbench.suite import Plan

MAX_UNSCORED = 0.001


@dataclass(frozen=True, slots=True)
class Settings:
    """How to run, as opposed to what: none of it changes a number."""

    out: Path | None = None
    resume: bool = False
    force: bool = False
    device: str = "cpu"
    workers: int | None = None
    max_unscored: float = MAX_UNSCORED
    check_invariance: int | None = None
    command: str = ""
    only_fit: bool = False

    @property
    def dtype(self) -> str:
        """What models compute in unless their own option says otherwise: bfloat16 on an accelerator."""
        return "float32" if self.device == "cpu" else "bfloat16"


class Quiet:
    """Progress that nobody watches."""

    def begin(self, rows: int) -> None:
        """Take the number of rows to come."""

    def advance(self, reward: str, task: str, rows: int) -> None:
        """Take that rows are done."""

    def stage(self, what: str) -> None:
        """Take what is being done now."""

    def fitting(self, name: str, step: Mapping[str, Any]) -> None:
        """Take how far the fit of a reward model is."""

    def fitted(self, name: str, how: str = "fitted") -> None:
        """Take that a fit or a training has ended, and how."""

    def warn(self, message: str) -> None:
        """Take a warning."""


@dataclass(frozen=True, slots=True)
class Run:
    """A finished run: its folder, and everything that can be read from it."""

    folder: Path

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest: what was run, with which versions, and how it ended."""
        return RunFolder(self.folder).manifest()

    @property
    def rows(self) -> list[Result]:
        """Every number as a record, in the order of results.json."""
        from rmbench.results import from_json

        path = self.folder / "results.json"
        if not path.is_file():
            raise RunFolderError(
                "has no results.json yet", where=str(self.folder), help="finish it with rmbench run --resume"
            )
        return from_json(path.read_bytes())[1]

    @property
    def measurements(self) -> list[Result]:
        """Seconds, bytes and rates of the run itself: the records of measurements.json, empty before it is written."""
        from rmbench.results import from_json

        path = self.folder / "measurements.json"
        return from_json(path.read_bytes())[1] if path.is_file() else []

    @property
    def results(self) -> pd.DataFrame:
        """Every number as a table, one row each, with the columns of results.json."""
        from rmbench.results import frame

        return frame(self.rows)

    @property
    def exit_code(self) -> int:
        """What the command line would exit with: 0, 1 (a check failed) or 3 (a reward could not be used)."""
        manifest = self.manifest
        if manifest["failures"]:
            return 3
        return 1 if manifest["problems"] else 0

    def report(
        self, folder: str | Path, formats: Sequence[str] = ("html", "md", "csv", "json", "tex"), texts: str = "all"
    ) -> Path:
        """Write the report into a folder and return its main file."""
        from rmbench.report import write_run

        return write_run([self], Path(folder), formats, texts=texts)


def prepare(plan: Plan) -> list[Source]:
    """Read and validate every task of a plan, before anything is written."""
    awaited = optimising.awaited(plan)
    return [
        open_source(task, limit=plan.limit, seed=plan.seed, awaited=awaited.get(task.name, 0)) for task in plan.tasks
    ]


def processors() -> int:
    """Return how many processors this process may use."""
    return len(os.sched_getaffinity(0)) if sys.platform == "linux" else os.cpu_count() or 1


def settled(settings: Settings, plan: Plan) -> Settings:
    """Return the settings with the run folder named: ``runs/<suite>-<UTC time>`` by default."""
    return replace(settings, out=(settings.out or new_folder(folder_name(plan.name))).absolute())


def new_folder(name: str) -> Path:
    """Return where a run goes that nobody gave a folder: ``runs/<name>-<UTC time>``."""
    return Path("runs") / f"{name}-{time.strftime('%Y%m%dT%H%M%SZ', time.gmtime())}"


def from_manifest(out: Path, over: Overrides) -> tuple[dict[str, Any], Path, Overrides]:
    """Return the suite that a run folder was made from: the table, its base folder, and the overrides."""
    manifest = RunFolder(out).manifest()
    data = over.data_dir or (Path(manifest["data_dir"]) if manifest["data_dir"] else None)
    return manifest["suite"], Path(manifest["base"]), replace(over, data_dir=data, kind=over.kind or manifest["kind"])


def execute(
    plan: Plan,
    catalog: Catalog,
    settings: Settings,
    *,
    progress: Any = None,
    stop: threading.Event | None = None,
    lenient: bool = False,
) -> Run:
    """Run a plan: validate, score, compute, report.

    Args:
        plan: what to run.
        catalog: what the plugins give.
        settings: where and how.
        progress: told of rows and stages (see ``Quiet``).
        stop: set by a signal handler to interrupt; committed parts are kept.
        lenient: drop default rewards that no task can feed, instead of refusing.

    Raises:
        RMBenchError: see DESIGN section 6 for the exit codes.
    """
    progress = progress or Quiet()
    progress.stage("reading the data")
    sources = prepare(plan)
    plan = feedable(plan, sources) if lenient else plan
    stop = stop or threading.Event()
    fits, notes = fitting.prepare(plan, sources)
    entries, more = training_checks.prepare(plan, sources)
    plan = replace(plan, warnings=(*plan.warnings, *notes, *more), entries=entries)
    runtime = Runtime(device=settings.device, dtype=settings.dtype, seed=plan.seed)
    workers = settings.workers or processors()
    fitting.check(fits, timeout=plan.timeout, stop=stop)
    training_checks.check(plan, stop=stop)
    check_options(plan.rewards, runtime, timeout=plan.timeout, workers=workers, stop=stop)
    manifest = make_manifest(plan, sources, settings)
    folder, manifest = open_folder(settled(settings, plan).out or Path(), manifest, settings)
    try:
        opened = (folder, manifest, sources, fits)
        return _fit_and_score(plan, catalog, settings, opened, progress=progress, stop=stop)
    finally:
        folder.close()


def _fit_and_score(
    plan: Plan,
    catalog: Catalog,
    settings: Settings,
    opened: tuple[RunFolder, dict[str, Any], Sequence[Source], Mapping[str, Fit]],
    *,
    progress: Any,
    stop: threading.Event,
) -> Run:
    from rmbench.engine import Engine

    folder, manifest, sources, fits = opened
    manifest["warnings"] = list(dict.fromkeys((*manifest["warnings"], *plan.warnings)))
    for warning in manifest["warnings"]:
        progress.warn(warning)
    cache = os.environ.get("RMBENCH_CACHE") or str(folder.path / ".cache")
    runtime = Runtime(device=settings.device, dtype=settings.dtype, seed=plan.seed, cache=cache)
    engine = Engine(
        folder, sources, runtime=runtime, timeout=plan.timeout, progress=progress, stop=stop,
        again=settings.check_invariance,
    )  # fmt: skip
    skipped = skips(plan, sources)
    workers = settings.workers or processors()
    try:
        plan, done = fitting.stage(plan, fits, folder.path, runtime, workers=workers, told=(stop, progress))
        engine.outcome.failures |= done.failures
        manifest["warnings"] = list(dict.fromkeys((*manifest["warnings"], *done.notes)))
        if settings.only_fit:
            manifest |= {"status": "fitted", "failures": done.failures, "finished": now()}
            folder.write_manifest(manifest)
            return Run(folder.path)
        sources, trained = optimising.stage(plan, sources, folder.path, runtime, workers=workers, told=(stop, progress))
        engine.sources = sources
        manifest = after_training(manifest, sources, trained)
        folder.write_manifest(manifest)
        progress.begin(sum(s.rows for c in plan.rewards for s in sources if s.task.name not in skipped[c.name]))
        engine.write_samples({task["name"]: task["aspects"] for task in manifest["resolved"]["tasks"]})
        try:
            engine.score(plan.waves, skipped, workers)
        finally:
            manifest["warnings"] = list(dict.fromkeys([*manifest["warnings"], *engine.outcome.warnings]))
        manifest["failures"] |= engine.outcome.failures
        _finish(folder, manifest, plan, catalog, (engine.outcome, progress))
    except BaseException:
        with contextlib.suppress(RMBenchError):  # the disk may be what failed
            folder.write_manifest({**manifest, "status": "interrupted", "finished": now()})
        raise
    for warning in aside.observe(catalog, folder.path, timeout=plan.timeout, stop=stop):
        progress.warn(warning)
    return Run(folder.path)


def _finish(
    folder: RunFolder, manifest: dict[str, Any], plan: Plan, catalog: Catalog, told: tuple[Outcome, Any]
) -> None:
    """Compute the numbers from the rows, write results, measurements and report, and close the manifest."""
    from rmbench.results import to_json
    from rmbench.studies.compute import compute

    outcome, progress = told
    with aside.statistics(catalog, timeout=plan.timeout, logs=folder.path / "logs") as own:
        results, problems = compute(folder, manifest, own.metrics, lambda task: progress.stage(f"computing {task}"))
        results, failed = own.settled(results)
    manifest["problems"] = [*problems, *failed, *varying(outcome)]
    write_whole(folder.path / "results.json", to_json(about(manifest), results))
    write_whole(folder.path / "measurements.json", to_json(about(manifest), measured(folder.path, outcome, plan)))
    folder.sweep()
    manifest |= {"status": "complete", "finished": now()}
    folder.write_manifest(manifest)
    progress.stage("writing the report")
    Run(folder.path).report(folder.path / "report")


def _given(what: Any, chosen: Sequence[Any] | None) -> tuple[dict[str, Any], Path, str, bool]:
    """Return (suite table, base, place, lenient) for what a caller of ``run`` named."""
    if isinstance(what, dict):
        return what, Path.cwd(), "suite", False
    named = [what] if isinstance(what, (str, Path)) else list(what)
    if isinstance(what, (str, Path)) and (str(what).endswith(".toml") or str(what) in suite.shipped()):
        path = suite.find(str(what))
        return suite.read(path), path.parent, str(path), False
    quick = suite.read(suite.find("quickstart"))
    name = stem(Path(str(named[0]))) if len(named) == 1 else "tasks"
    given = {
        "name": name,
        "tasks": [str(task) for task in named],
        "rewards": list(chosen) if chosen else quick["rewards"],
    }
    return given, Path.cwd(), "arguments", chosen is None


def run(
    suite_or_tasks: str | Path | Mapping[str, Any] | Iterable[str | Path],
    rewards: Sequence[Any] | None = None,
    *,
    out: str | Path | None = None,
    resume: bool = False,
    force: bool = False,
    seed: int | None = None,
    limit: int | None = None,
    data_dir: str | Path | None = None,
) -> Run:
    """Score rewards on tasks, compare them with people, and write the run folder.

    Args:
        suite_or_tasks: a suite (file, shipped name or table), or one or more tasks (names, folders, files).
        rewards: names, ``{"use", "name", "options"}`` tables, ``Reward`` records or functions
            ``(batch) -> scores``; they replace those of the suite.
        out: the run folder (default ``runs/<name>-<UTC time>``).
        resume: go on with what is in ``out``.
        force: replace the run in ``out``.
        seed: of everything random.
        limit: at most so many samples a task.
        data_dir: folder of further task folders (default: the variable RMBENCH_DATA).

    Returns:
        The finished run: ``run.results`` is a DataFrame, ``run.report(folder)`` writes the report.

    Raises:
        RMBenchError: what was wrong, where, and what to do.
    """
    given, base, where, lenient = _given(suite_or_tasks, rewards)
    over = Overrides(
        rewards=tuple(rewards or ()), seed=seed, limit=limit, data_dir=Path(data_dir) if data_dir else None
    )
    catalog = plugins.load()
    plan = suite.plan(given, catalog, over, base=base, where=where)
    settings = Settings(Path(out) if out else None, resume=resume, force=force, command=" ".join(sys.argv[:1]))
    return execute(plan, catalog, settings, lenient=lenient)
