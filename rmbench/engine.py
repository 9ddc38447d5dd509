"""Run a plan: validate the data, score every reward in its worker, commit parts, resume where it stopped."""

from __future__ import annotations

import hashlib
import threading
import time
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from rmbench import canary, invariance, parts
from rmbench.halving import Ledger, join, score_rows, with_scores, within_memory
from rmbench.process import Broken, Inline, Process, Stopped
from rmbench.source import batch, batches
from rmbench.store import append, folder_name

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rmbench.api import Batch, Runtime
    from rmbench.process import Seat
    from rmbench.rewards import Chosen
    from rmbench.scoring import Scores
    from rmbench.source import Part, Source
    from rmbench.store import RunFolder


class Progress(Protocol):
    """Where the engine tells how far it is."""

    def advance(self, reward: str, task: str, rows: int) -> None:
        """So many more rows of this reward on this task are done."""
        ...

    def warn(self, message: str) -> None:
        """Something the user should know."""
        ...


@dataclass(slots=True)
class Outcome:
    """What a run came to, beside its rows: rewards that could not be used, seconds and bytes taken, warnings."""

    failures: dict[str, str] = field(default_factory=dict)
    seconds: dict[tuple[str, str], tuple[float, int]] = field(default_factory=dict)
    peaks: dict[str, int] = field(default_factory=dict)
    measures: dict[str, dict[str, float]] = field(default_factory=dict)
    invariance: dict[tuple[str, str], invariance.Found] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)


class Engine:
    """Scores the rewards of a plan into a run folder."""

    def __init__(
        self,
        run: RunFolder,
        sources: Sequence[Source],
        *,
        runtime: Runtime,
        timeout: float,
        progress: Progress,
        stop: threading.Event,
        again: int | None = None,
    ) -> None:
        """Take where to score and how; ``again`` rows of each task are scored in other company afterwards."""
        self.run = run
        self.sources = sources
        self.runtime = runtime
        self.timeout = timeout
        self.progress = progress
        self.stop = stop
        self.again = again
        self.commits = threading.Lock()
        self.outcome = Outcome()

    def write_samples(self, aspects: dict[str, Sequence[str]]) -> None:
        """Write the samples of every task, where they are not there yet.

        What policies wrote may be more than before (a training that had failed did not, this time): then the parts of
        that task, and its scores, are made anew.
        """
        for source in self.sources:
            folder = parts.sample_folder(source.task.name)
            if source.awaited and self._changed(source, folder, aspects[source.task.name]):
                self.run.forget(folder, parts.scores_folder(source.task.name))
            for part in source.parts():
                self._commit(
                    parts.part_name(folder, part.index),
                    lambda p=part, s=source: parts.samples_bytes(p, aspects[s.task.name]),
                    part.rows,
                )

    def _changed(self, source: Source, folder: str, aspects: Sequence[str]) -> bool:
        """Whether a part of the samples that stands in the folder is none of those of the source."""
        old = {name: entry.sha256 for name, entry in self.run.parts.items() if name.startswith(f"{folder}/")}
        for part in source.parts() if old else ():
            digest = old.pop(parts.part_name(folder, part.index), None)
            if digest is not None and digest != hashlib.sha256(parts.samples_bytes(part, aspects)).hexdigest():
                return True
        return bool(old)

    def _commit(self, name: str, make: Any, rows: int) -> None:
        if name not in self.run.parts:
            data = make()
            with self.commits:
                self.run.commit(name, data, rows=rows)

    def score(self, waves: Sequence[Sequence[Chosen]], skips: dict[str, dict[str, str]], workers: int) -> None:
        """Score every reward, wave by wave, several at a time.

        Raises:
            Stopped: the user interrupted; every committed part is kept.
        """
        for wave in waves:
            for chosen in wave:
                if chosen.source == "inline":
                    self._reward(chosen, skips[chosen.name])
            named = [chosen for chosen in wave if chosen.source != "inline"]
            with ThreadPoolExecutor(max(1, workers)) as pool:
                jobs = [pool.submit(self._reward, chosen, skips[chosen.name]) for chosen in named]
                try:
                    done, _ = wait(jobs, return_when=FIRST_EXCEPTION)
                except BaseException:  # Ctrl-C: the workers must not be waited for
                    self.stop.set()
                    raise
                if any(job.exception() for job in done):
                    self.stop.set()
            errors = [error for job in jobs if (error := job.exception()) is not None]
            if errors:
                raise min(errors, key=lambda error: isinstance(error, Stopped))

    def _reward(self, chosen: Chosen, skips: dict[str, str]) -> None:
        """Score one reward on every task that can feed it."""
        if chosen.name in self.outcome.failures:  # it could not be fitted
            return
        if broken := [name for name in chosen.uses if name in self.outcome.failures]:
            self.outcome.failures[chosen.name] = f"it uses {', '.join(broken)}, which could not be used"
            return
        ledger = Ledger()
        chair = Chair(self, chosen)
        try:
            for source in self.sources:
                if source.task.name not in skips:
                    self._task(chair, source, ledger)
        except Broken as error:
            self.outcome.failures[chosen.name] = str(error)
            ledger.tracebacks.append(error.traceback)
        finally:
            if peak := chair.peak:
                self.outcome.peaks[chosen.name] = peak
            self.outcome.measures[chosen.name] = chair.measures
            chair.notes.update(chair.close())
            self._report(chosen, ledger, chair.notes)

    def _report(self, chosen: Chosen, ledger: Ledger, notes: set[str]) -> None:
        who = f"reward {chosen.name}" + (
            f" ({chosen.distribution} {chosen.distribution_version})" if chosen.distribution else ""
        )
        for note in sorted(ledger.notes | notes):
            self.outcome.warnings.append(f"{who}: {note}")
            self.progress.warn(f"{who}: {note}")
        if text := "\n".join(filter(None, ledger.tracebacks)):
            append(self.log(chosen.name), text.encode(errors="replace"))

    def log(self, reward: str) -> Path:
        """Return the file that keeps what a reward prints and raises."""
        path = self.run.path / "logs" / f"{folder_name(reward)}.log"
        path.parent.mkdir(exist_ok=True)
        return path

    def _task(self, chair: Chair, source: Source, ledger: Ledger) -> None:
        chosen, task = chair.chosen, source.task.name
        folder = parts.score_folder(task, chosen.name)
        begun, fresh = time.monotonic(), 0
        for part in source.parts():
            if self.stop.is_set():
                raise Stopped
            name = parts.part_name(folder, part.index)
            if name not in self.run.parts:
                scores = self._part(chair, source, part, ledger)
                self._commit(name, lambda p=part, s=scores: parts.scores_bytes(p, s), part.rows)
                fresh += part.rows
            else:
                self.progress.advance(chosen.name, task, part.rows)
        if fresh:
            self.outcome.seconds[chosen.name, task] = (time.monotonic() - begun, fresh)
        self._canary(chair, source, f"{folder}/canary.json")
        if self.again is not None and source.rows:
            self._invariance(chair, source, self.again)

    def _part(self, chair: Chair, source: Source, part: Part, ledger: Ledger) -> Scores:
        used = self._used(chair.chosen, source, part)
        pieces, at = [], 0
        for samples in batches(part):
            rows = batch(samples, source.task, labels=chair.chosen.labelled)
            rows = with_scores(rows, {name: column[at : at + len(rows)] for name, column in used.items()})
            pieces.append(score_rows(chair.seat(), rows, ledger, whole=chair.chosen.reward.scope == "sample"))
            at += len(rows)
            self.progress.advance(chair.chosen.name, source.task.name, len(rows))
        return join(pieces)

    def _used(self, chosen: Chosen, source: Source, part: Part) -> dict[str, tuple[float | None, ...]]:
        """Return the scores of the rewards that this one uses, for the rows of a part."""
        used = {}
        for name in chosen.uses:
            used[name] = tuple(self._stored(parts.score_folder(source.task.name, name), part.index))
        return used

    def _canary(self, chair: Chair, source: Source, name: str) -> None:
        if name in self.run.parts:
            return
        whole = chair.chosen.reward.scope == "sample"
        first = next(iter(source.parts()))
        rows = canary.few(first, source.task, labels=chair.chosen.labelled, whole=whole)
        rows = with_scores(rows, {n: c[: len(rows)] for n, c in self._used(chair.chosen, source, first).items()})
        half = invariance.precision(chair.chosen, self.runtime) in invariance.HALVES
        allowed = canary.HALF if half else canary.TOLERANCE
        data = canary.to_bytes(canary.run(chair.score, rows, whole=whole, allowed=allowed))
        self._commit(name, lambda: data, 0)

    def _invariance(self, chair: Chair, source: Source, count: int) -> None:
        """Score rows of the task's first part again, and hold them against the scores of the run."""
        chosen, task = chair.chosen, source.task.name
        folder = parts.score_folder(task, chosen.name)
        first = next(iter(source.parts()))
        rows = batch(first.samples, source.task, labels=chosen.labelled)
        rows = with_scores(rows, self._used(chosen, source, first))
        stored = self._stored(folder, first.index)
        taken = invariance.selected(rows.groups, count, self.runtime.seed)
        every = [s for p in source.parts() for s in self._stored(folder, p.index)]
        self.outcome.invariance[chosen.name, task] = invariance.check(
            chair.score, rows.take(taken), [stored[row] for row in taken], invariance.spread(every),
            whole=chosen.reward.scope == "sample",
            allowed=invariance.tolerance(invariance.precision(chosen, self.runtime), every),
        )  # fmt: skip

    def _stored(self, folder: str, index: int) -> list[float | None]:
        """Return the scores of a part that is committed."""
        found: list[float | None] = parts.read_part(self.run.path / parts.part_name(folder, index))["score"].to_pylist()
        return found


class Chair:
    """The seat of one reward, taken when it is first needed."""

    def __init__(self, engine: Engine, chosen: Chosen) -> None:
        self.engine = engine
        self.chosen = chosen
        self.notes: set[str] = set()
        self._seat: Seat | None = None

    def seat(self) -> Seat:
        """Return the seat; build the reward on the first call."""
        if self._seat is None:
            engine = self.engine
            if self.chosen.source == "inline":
                self._seat = Inline(self.chosen, engine.runtime)
            else:
                process = Process(
                    self.chosen,
                    engine.runtime,
                    timeout=engine.timeout,
                    stop=engine.stop,
                    log=engine.log(self.chosen.name),
                )
                self.notes.update(process.notes)
                self._seat = process
        return self._seat

    @property
    def peak(self) -> int:
        """Most bytes of memory that the reward's own process held, 0 where it has none of its own."""
        return self._seat.peak if isinstance(self._seat, Process) else 0

    @property
    def measures(self) -> dict[str, float]:
        """What the reward tells of its work, nothing where it has no process of its own."""
        return self._seat.measures if isinstance(self._seat, Process) else {}

    def score(self, rows: Batch) -> Scores:
        """Score a batch at once, or as much of it at once as memory holds."""
        scores = within_memory(self.seat(), rows, whole=self.chosen.reward.scope == "sample")
        self.notes.update(scores.notes)
        return scores

    def close(self) -> list[str]:
        """Give the seat back; return what the user should know of that."""
        return [] if self._seat is None else self._seat.close()
