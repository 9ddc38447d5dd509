"""Is a run folder whole? Parts against the journal, checkpoints against their notes, numbers against the rows."""

from __future__ import annotations

import itertools
import json
import time
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from rmbench import content
from rmbench.differences import differences
from rmbench.errors import RMBenchError, RunFolderError
from rmbench.journal import digest
from rmbench.manifest import about, identity, installed
from rmbench.rewards import fingerprint
from rmbench.store import JOURNAL, MANIFEST, TEMPORARY, RunFolder, folder_name

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path

    from rmbench.api import Metric, Result
    from rmbench.aside import Statistics
    from rmbench.journal import Entry, Journal

    Settle = Callable[[Sequence[Result]], tuple[list[Result], list[str]]]

COMPLETE, FITTED = "complete", "fitted"
MOST_ROWS = 5  # results that differ, by name
DONE = ".done.json"
RESULTS, MEASUREMENTS = "results.json", "measurements.json"
REPAIR = "rmbench run --resume --out RUN recomputes it from the data"
ANEW = "rmbench run --resume --out RUN computes it again from the rows"
RENEW = "rmbench run SUITE --resume --out RUN writes it again where suite and data are those of the run"
FOREIGN = (ValueError, TypeError, KeyError, IndexError, AttributeError, ArithmeticError, RecursionError)


@dataclass(frozen=True, slots=True)
class Damage:
    """What is wrong with a file of a run: its name relative to the run, what, and what to do."""

    file: str
    what: str
    help: str


@dataclass(slots=True)
class Checked:
    """What was looked at, and what is wrong.

    Attributes:
        status: of the manifest: complete, fitted, running or interrupted.
        parts, rows: journalled files whose hash was computed, and the rows that they hold.
        numbers: results that were computed again and compared, None where they could not be.
        checkpoints: folders of fits and trainings whose hash was computed.
        seconds: that it took.
    """

    status: str
    parts: int = 0
    rows: int = 0
    numbers: int | None = None
    checkpoints: int = 0
    seconds: float = 0.0
    damages: list[Damage] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    @property
    def finished(self) -> bool:
        """Whether the run has come to its end."""
        return self.status in (COMPLETE, FITTED)

    def add(self, file: str, what: str, help: str = REPAIR) -> None:  # noqa: A002 - the word the message prints
        """Note a damage."""
        self.damages.append(Damage(file, what, help))


def verify(
    folder: Path,
    *,
    statistics: Callable[[], AbstractContextManager[Statistics]] | None = None,
    numbers: bool = True,
    tell: Callable[[str, int, int], None] = lambda *_: None,
) -> Checked:
    """Check a run folder; nothing of it is changed, run, unpickled or followed out of it.

    An unfinished run has no numbers yet: its parts are checked, and it is no damage that some are missing.

    Args:
        folder: the run.
        statistics: opens the statistics of plugins (``aside.statistics``); called only where the run has such a metric.
        numbers: compute the numbers again and compare; else only hashes are checked.
        tell: called with what is being checked, how many files are done, and of how many.

    Raises:
        InputError: no run folder.
        RunFolderError: another process writes there, or the manifest cannot be read or is of a newer schema.
    """
    begun = time.monotonic()
    run = RunFolder(folder)
    manifest = run.manifest()
    if writer := run.writer():
        raise RunFolderError(f"another process writes here ({writer})", where=str(folder), help="wait for it to end")
    checked = Checked(str(manifest.get("status")))
    for link in run.links():
        checked.add(link, "is a symbolic link, which rmbench never makes and does not follow", "run again elsewhere")
    if not checked.damages:
        _Check(run, manifest, checked, statistics, tell).all(numbers=numbers)
    checked.seconds = time.monotonic() - begun
    return checked


@dataclass(frozen=True, slots=True)
class _Check:
    """The parts of a check, on one run."""

    run: RunFolder
    manifest: Mapping[str, Any]
    checked: Checked
    statistics: Callable[[], AbstractContextManager[Statistics]] | None
    tell: Callable[[str, int, int], None]

    def all(self, *, numbers: bool) -> None:
        """Look at everything that the run has come to."""
        self._guarded(MANIFEST, self._manifest)
        self._guarded(JOURNAL, self._parts)
        self._guarded("training", self._trainings)
        if self.checked.status != COMPLETE:
            return
        if self.checked.damages:
            self.checked.notes.append("the numbers were not computed again, since not all is as it was written")
        elif numbers:
            self._guarded(RESULTS, self._results)
        self._guarded("report", self._report)
        self._guarded(MEASUREMENTS, self._measurements)

    def _guarded(self, file: str, look: Callable[..., object], *given: object) -> None:
        """Look at something; what a file says in a way that rmbench never does is damage, and no bug."""
        try:
            look(*given)
        except RMBenchError as error:
            self.checked.add(file, error.what, error.help)
        except FOREIGN as error:
            what = f"holds what rmbench did not write ({type(error).__name__}: {error})"
            self.checked.add(file, what, "run again into a new folder")

    def _manifest(self) -> None:
        """Hold the manifest against its own seal, and its fingerprint against what it says of the run."""
        manifest = self.manifest
        if self.run.seal_broken():
            self.checked.add(MANIFEST, "was edited since rmbench wrote it", RENEW)
        elif manifest["identity"] != identity(manifest["resolved"]):
            self.checked.add(MANIFEST, "its identity is not that of the tasks and rewards that it lists", RENEW)
        elif manifest["fingerprint"] != fingerprint(manifest["identity"]):
            self.checked.add(MANIFEST, "its fingerprint is not that of its identity", RENEW)

    def _parts(self) -> None:
        """Hold every part against the journal, and the journal against the parts."""
        checked, journal = self.checked, self.run.journal()
        for odd in journal.odd:
            if checked.finished or not odd.endswith("is cut"):  # a killed run may leave half a line
                checked.add(JOURNAL, odd)
        for at, (name, entry) in enumerate(journal.entries.items()):
            self.tell(name, at, len(journal.entries))
            checked.parts += 1
            if wrong := _wrong(self.run.path / name, entry, journal):
                checked.add(name, wrong)
            elif name.endswith(".parquet"):
                self._guarded(name, self._rows, name, entry)
        for name in self.run.extra():
            left_over = TEMPORARY.search(name) or name.endswith((".parquet", "/canary.json"))
            if checked.finished or not left_over:  # a run killed between a rename and its line leaves such a file
                checked.add(name, "no line of the journal names it")

    def _rows(self, name: str, entry: Entry) -> None:
        """Hold the rows of a part against the journal: as many, one after the other."""
        from rmbench.parts import row_numbers

        rows = row_numbers(self.run.path / name)
        self.checked.rows += len(rows)
        if entry.rows is not None and entry.rows != len(rows):
            self.checked.add(JOURNAL, f"says that {name} has {entry.rows:,} rows, it has {len(rows):,}")
        elif any(b - a != 1 for a, b in pairwise(rows)):
            self.checked.add(name, "its rows are not numbered one after the other")

    def _trainings(self) -> None:
        """Hold the checkpoints of fits and trainings against the hash that was noted when they ended."""
        names = list(_expected(self.manifest))
        for at, name in enumerate(names):
            self.tell(name, at, len(names))
            folder = self.run.path / name
            if (folder / DONE).is_file():
                self.checked.checkpoints += 1
                if json.loads((folder / DONE).read_bytes())["sha256"] != content.digest(folder):
                    self.checked.add(name, "was changed since it was fitted or trained", _again(name))
            elif self.checked.finished:
                self.checked.add(name, f"has no {DONE}, so nobody knows whether it is whole", _again(name))

    def _results(self) -> None:
        """Compute the numbers again from the rows, and hold results.json against them."""
        from rmbench.results import from_json, to_json
        from rmbench.studies.compute import compute

        path = self.run.path / RESULTS
        if not path.is_file():
            self.checked.add(RESULTS, "is missing", ANEW)
            return
        stored = from_json(path.read_bytes())[1]
        tasks = len(self.manifest["resolved"]["tasks"])
        at = itertools.count()
        with self._opened(stored) as (known, lost, settled):
            results, problems = compute(
                self.run, self.manifest, known, lambda task: self.tell(f"computing {task}", next(at), tasks)
            )
            results, _ = settled(results)
        self.checked.numbers = len(results)
        data = to_json(about(self.manifest), results)
        if data != path.read_bytes():
            self._differing([row for row in stored if row.metric not in lost], from_json(data)[1], whole=not lost)
        if unsaid := [one for one in problems if one not in self.manifest["problems"]]:
            self.checked.add(MANIFEST, f"does not say what the rows show: {unsaid[0]}", RENEW)

    @contextmanager
    def _opened(self, stored: list[Result]) -> Iterator[tuple[Mapping[str, Metric], set[str], Settle]]:
        """Give the statistics of plugins that the results have, the names of those that nobody gives, and the end."""
        from rmbench.builtin.metrics import METRICS

        foreign = {row.metric for row in stored if row.study == "agree"} - {metric.name for metric in METRICS}
        with self.statistics() if foreign and self.statistics else nullcontext() as own:
            given = {} if own is None else own.metrics
            lost = foreign - given.keys()
            for name in sorted(lost):
                self.checked.notes.append(f"the metric {name} was not computed again: no plugin gives it")
            yield {name: given[name] for name in foreign - lost}, lost, _as_they_are if own is None else own.settled

    def _differing(self, stored: list[Result], computed: list[Result], *, whole: bool) -> None:
        found = differences(stored, computed)
        for one in found[:MOST_ROWS]:
            self.checked.add(RESULTS, one.words("stored", "computed from the rows"), ANEW)
        if len(found) > MOST_ROWS:
            self.checked.add(RESULTS, f"{len(found) - MOST_ROWS:,} more results differ", ANEW)
        if not found and whole:
            self.checked.add(RESULTS, "its numbers are right, but its bytes are not those that rmbench writes", ANEW)
        here, there = installed(), self.manifest["versions"]
        changed = [
            f"{name} {there[name]} then, {here.get(name)} now" for name in there if here.get(name) != there[name]
        ]
        if found and changed:
            self.checked.notes.append(f"other versions may compute other numbers: {'; '.join(changed)}")

    def _report(self) -> None:
        """Hold the report's copy of the results against them."""
        copy, own = self.run.path / "report" / RESULTS, self.run.path / RESULTS
        advice = "rmbench report RUN writes it again"
        if copy.is_file() and own.is_file() and copy.read_bytes() != own.read_bytes():
            self.checked.add(f"report/{RESULTS}", "is not the run's: the report shows other numbers", advice)
        elif not (self.run.path / "report").is_dir():
            self.checked.notes.append(f"there is no report: {advice}")

    def _measurements(self) -> None:
        from rmbench.results import from_json

        path = self.run.path / MEASUREMENTS
        try:
            if path.is_file():
                from_json(path.read_bytes())
        except RunFolderError as error:
            self.checked.add(MEASUREMENTS, error.what, "rmbench run --resume --out RUN sets it aside")


def _as_they_are(results: Sequence[Result]) -> tuple[list[Result], list[str]]:
    return list(results), []


def _wrong(path: Path, entry: Entry, journal: Journal) -> str | None:
    """Return what is wrong with a file that the journal names, None where nothing is."""
    expected = "" if entry.size is None else f" of {entry.size:,}"
    if not path.is_file():
        missing = "is missing" if entry.size is None else f"is missing ({entry.size:,} bytes)"
        return "is no file" if path.exists() else missing
    size, found = path.stat().st_size, digest(path)
    if found == entry.sha256:
        return None if entry.size in (None, size) else f"has {size:,} bytes, the journal says {entry.size:,}"
    if size == 0:
        return f"is empty: 0{expected} bytes"
    if other := next((name for name, one in journal.entries.items() if one.sha256 == found), None):
        return f"holds the bytes of {other}: they were swapped, or one was copied"
    if entry.size is not None and size < entry.size:
        return f"is truncated: {size:,}{expected} bytes"
    if size == entry.size:
        return f"has its {size:,} bytes, but not those that were written (sha256 {found[:8]}, not {entry.sha256[:8]})"
    return f"was changed: {size:,}{expected} bytes (sha256 {found[:8]}, not {entry.sha256[:8]})"


def _again(name: str) -> str:
    return f"put it back, or move RUN/{name} away: rmbench run --resume --out RUN makes it again"


def _expected(manifest: Mapping[str, Any]) -> Iterator[str]:
    """Yield the folders of the fits and trainings of a run that did not fail, relative to it."""
    resolved, failures = manifest["resolved"], manifest["failures"]
    for reward in resolved["rewards"]:
        if reward["fitted"] and reward["name"] not in failures:
            yield f"training/{folder_name(reward['name'])}"
    for entry in resolved.get("training", ()):
        if manifest["status"] != FITTED and entry["name"] not in failures:
            yield from (f"training/{folder_name(entry['name'])}/seed-{int(seed)}" for seed in entry["seeds"])
