"""A search: trials asked of Optuna one after the other, made, told to it; a folder in which it goes on where it was.

The journal of the search is hidden, since Optuna notes times in it. Each trial has a place, 0 to trials - 1: a trial
that was interrupted is made again in its place with its values, so that there are as many as were asked for, and what
the sampler draws for a place is a function of seed, place and the trials before.
"""

from __future__ import annotations

import hashlib
import threading
import warnings
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, Any

from rmbench.api import Runtime
from rmbench.errors import InputError
from rmbench.process import Stopped
from rmbench.search_folder import open_folder
from rmbench.search_journal import LOST, PLACE, coded, distribution, found_in, open_study, values_of
from rmbench.trials import TABLES, Ground, Halt, Lost, lighten

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from rmbench.plugins import Catalog
    from rmbench.search_folder import Settings
    from rmbench.search_journal import Found
    from rmbench.trials import ModelTrials, PolicyTrials
    from rmbench.tuning import Search

JOURNAL, TRIALS = ".search.jsonl", "trials"


def execute(search: Search, catalog: Catalog, settings: Settings, *, progress: Any, stop: threading.Event) -> Found:
    """Make the trials of a search that are left.

    Args:
        search: of ``tuning.read``.
        catalog: what the plugins give.
        settings: where and how.
        progress: told of trials and fits.
        stop: set by a signal handler: the trials at work save their state, all others are kept.

    Raises:
        InputError: what data and options rule out, or a folder that is not empty; before anything is written.
        RunFolderError: the folder holds another search.
        Stopped: the user interrupted.
    """
    dtype = "float32" if settings.device == "cpu" else "bfloat16"
    seed = int(search.given.get("seeds", [1])[0])
    out = settings.out.absolute()
    runtime = Runtime(device=settings.device, dtype=dtype, seed=seed, cache=str(out / ".cache"))
    trials = TABLES[search.table].trials(Ground(search, catalog, out, runtime))
    signature, notes = trials.check(stop)
    folder = open_folder(search, settings, signature, out)
    try:
        for note in notes:
            progress.warn(note)
        return Searcher(search, trials, out, (seed, settings.workers), (stop, progress)).all()
    finally:
        folder.close()


class Told:
    """What a trial tells of itself: to the user how far it is, to the search whether to go on."""

    def __init__(
        self, trials: ModelTrials | PolicyTrials, folder: Path, label: str, progress: Any, report: Callable[..., None]
    ) -> None:
        self.trials = trials
        self.folder = folder
        self.label = label
        self.progress = progress
        self.report = report

    def fitting(self, name: str, step: Mapping[str, Any]) -> None:
        """Take how far a fit or a training is."""
        if name in self.trials.keys:
            self.progress.fitting(self.label, step)
            self.look(step)
        else:
            self.progress.fitting(name, step)

    def look(self, step: Mapping[str, Any]) -> None:
        """Report the evaluations that there are, in a message or in the folder."""
        for at, value in self.trials.told(step, self.folder):
            self.report(at, value)

    def fitted(self, name: str, how: str = "fitted") -> None:
        """Take that one has ended, and how."""
        self.progress.fitted(self.label if name in self.trials.keys else name, how)

    def warn(self, message: str) -> None:
        """Take a warning."""
        self.progress.warn(message)


class Searcher:
    """Makes the trials that are left, several at a time."""

    def __init__(
        self, search: Search, trials: ModelTrials | PolicyTrials, out: Path, numbers: tuple[int, int], told: Any
    ) -> None:
        self.search = search
        self.trials = trials
        self.out = out
        self.seed, self.workers = numbers
        self.stop, self.progress = told
        self.lock = threading.Lock()
        self.study = open_study(out / JOURNAL, search)
        self.begun = self._begun()

    def all(self) -> Found:
        """Make the trials that are left and return all.

        Raises:
            Stopped: the user interrupted; trials at work have saved their state.
        """
        done = {one.place for one in self.found().tried}
        waiting = [place for place in range(self.search.trials) if place not in done]
        running: set[Future[None]] = set()
        self.progress.trials(self.search.trials, self.search.trials - len(waiting))
        with ThreadPoolExecutor(max(1, self.workers)) as pool:
            try:
                while waiting or running:
                    while waiting and len(running) < self.workers:
                        running.add(pool.submit(self._one, waiting.pop(0)))
                    ended, running = wait(running, return_when=FIRST_COMPLETED)
                    for future in ended:
                        future.result()
            except BaseException:
                self.stop.set()
                raise
        return self.found()

    def found(self) -> Found:
        """Return the trials that have ended."""
        return found_in(self.search, self.out, self.study)

    def _begun(self) -> dict[int, Any]:
        """Close the trials that were interrupted and return them by place: they are made again."""
        import optuna

        begun = {}
        for one in self.study.get_trials(deepcopy=False):
            if not one.state.is_finished():
                self.study.tell(one.number, state=optuna.trial.TrialState.FAIL)
            if PLACE in one.user_attrs and LOST not in one.user_attrs and one.state.name not in ("COMPLETE", "PRUNED"):
                begun[one.user_attrs[PLACE]] = one
        return begun

    def _ask(self, place: int) -> Any:
        """Return the trial of a place, its values drawn: as before where it was interrupted."""
        import optuna

        before = self.begun.get(place)
        fixed = before.params if before else coded(self.search.first, self.search.ranges) if place == 0 else {}
        drawn = int.from_bytes(hashlib.sha256(f"{self.seed}/{place}".encode()).digest()[:4], "big")
        sampler: Any = optuna.samplers.TPESampler(seed=drawn, n_startup_trials=self.search.startup)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
            self.study.sampler = optuna.samplers.PartialFixedSampler(fixed, sampler) if fixed else sampler
        trial = self.study.ask({one.name: distribution(one) for one in self.search.ranges})
        trial.set_user_attr(PLACE, place)
        for at, value in (before.intermediate_values if before else {}).items():
            trial.report(value, at)
        return trial

    def _one(self, place: int) -> None:
        """Make the trial of a place."""
        if self.stop.is_set():
            raise Stopped
        with self.lock:
            trial = self._ask(place)
        values = values_of(trial.params, self.search.ranges)
        halt, seen = Halt(self.stop), set(self.begun[place].intermediate_values if place in self.begun else ())

        def report(at: int, value: float) -> None:
            with self.lock:
                if at not in seen and not halt.pruned:
                    seen.add(at)
                    trial.report(value, at)
                    halt.pruned = trial.should_prune()
            if halt.pruned:
                halt.set()

        folder = self.out / TRIALS / f"{place:04d}"
        told = Told(self.trials, folder, f"trial {place}", self.progress, report)
        value, lost = None, ""
        try:
            value = self.trials.run(values, folder, halt, told)
        except Stopped:
            if not halt.pruned:
                raise
        except (Lost, InputError) as error:
            lost = str(error)
        with self.lock:
            self._tell(trial, None if halt.pruned else value, lost)
            found = self.found()
        self._keep_best(found)
        self.progress.tried(next(one for one in found.tried if one.place == place), found)

    def _tell(self, trial: Any, value: float | None, lost: str) -> None:
        from optuna.trial import TrialState

        if lost:
            trial.set_user_attr(LOST, lost)
            self.study.tell(trial, state=TrialState.FAIL)
        elif value is None:
            self.study.tell(trial, state=TrialState.PRUNED)
        else:
            self.study.tell(trial, value)

    def _keep_best(self, found: Found) -> None:
        """Keep the weights of the best trial alone."""
        for one in found.tried:
            if found.best is None or one.place != found.best.place:
                lighten(self.out / TRIALS / f"{one.place:04d}")
