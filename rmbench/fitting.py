"""Fit the reward models of a plan: each once, in a process of its own, into ``RUN/training/NAME``."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rmbench import content, fitter, judgements, rewards
from rmbench.errors import EnvironmentFault, InputError, InputErrors, PluginError, RunFolderError
from rmbench.process import Broken, Failed, Stopped, Worker
from rmbench.source import Part, batch, batches
from rmbench.store import canonical, faults, folder_name, write_whole
from rmbench.stream import Scorer

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Runtime
    from rmbench.judged import Judged, Judgements
    from rmbench.judgements import Columns
    from rmbench.rewards import Chosen
    from rmbench.source import Source
    from rmbench.suite import Plan

DONE = ".done.json"  # hidden: what was fitted and what came of it, for --resume
SAVING = 30.0  # seconds that an interrupted fit has to save its state


@dataclass(frozen=True, slots=True)
class Fit:
    """A reward of the plan that is fitted, and its data."""

    chosen: Chosen
    data: Judgements

    @property
    def recipe(self) -> Any:
        """How it is fitted."""
        return self.chosen.recipe

    @property
    def rows(self) -> int:
        """Rows of train and dev together."""
        return len(self.data.train.batch) + len(self.data.dev.batch)


def prepare(plan: Plan, sources: Sequence[Source]) -> tuple[dict[str, Fit], list[str]]:
    """Read the data of every reward model of a plan and check that it can be fitted, before anything is written.

    Returns:
        The fits by name, in an order in which each finds the rewards it uses; and warnings.

    Raises:
        InputError: a wrong row, no pairs or ratings where the loss needs them, or a reward that the data cannot feed.
    """
    fits: dict[str, Fit] = {}
    warnings: list[str] = []
    by_name = {chosen.name: chosen for chosen in plan.rewards}
    read: dict[object, Judgements] = {}
    tested: dict[str, set[str]] = {}
    for chosen in (one for wave in plan.waves for one in wave if one.recipe is not None):
        fit = fits[chosen.name] = Fit(chosen, _data(chosen, read, warnings))
        judgements.check_loss(fit.data, fit.recipe.loss, f"[[reward_model]] {chosen.name}")
        _check_fed(chosen, by_name, fit.data)
        tested = tested or {source.task.name: {sample.prompt for sample in source.read()} for source in sources}
        warnings += _meeting(fit, tested)
    return fits, list(dict.fromkeys(warnings))


def _data(chosen: Chosen, read: dict[object, Judgements], warnings: list[str]) -> Judgements:
    """Return the judgements of a fit; models of one task share them."""
    recipe: Any = chosen.recipe
    key = judgements.same(recipe.task, recipe.seed)
    if key not in read:
        odd: list[str] = []
        read[key] = judgements.read(recipe.task, seed=recipe.seed, warn=odd.append)
        warnings += [f"task {recipe.task.name}, which is fitted on: {one}" for one in odd]
    return read[key]


def _check_fed(chosen: Chosen, by_name: Mapping[str, Chosen], data: Judgements) -> None:
    """Raise where a reward that the model learns from needs what the train rows have not."""
    batch = data.train.batch
    there = {"references": any(batch.references), "contexts": any(one is not None for one in batch.contexts)}
    for name in _closure(chosen, by_name):
        lacking = sorted(column for column in by_name[name].needs if not there.get(column, True))
        if lacking:
            raise InputError(
                f"the reward {name!r} needs {' and '.join(lacking)}, which the train rows of {data.task.name} have not",
                where=f"[[reward_model]] {chosen.name}", help="leave it out of the features",
            )  # fmt: skip


def _closure(chosen: Chosen, by_name: Mapping[str, Chosen]) -> list[str]:
    """Return the names of the rewards that this one uses, and that these use."""
    found: dict[str, None] = {}
    waiting = list(chosen.uses)
    while waiting:
        name = waiting.pop(0)
        if name not in found:
            found[name] = None
            waiting += by_name[name].uses
    return list(found)


def _meeting(fit: Fit, tested: Mapping[str, set[str]]) -> Iterator[str]:
    """Warn of prompts that a fit learns from and is judged by: of its own dev part, and of the tasks ``tested``."""
    dev = {sample.prompt for sample in fit.data.dev.samples}
    if shared := len(dev & {sample.prompt for sample in fit.data.train.samples}):
        yield f"reward model {fit.chosen.name}: {shared} of {len(dev)} dev prompts are in train too: dev flatters it"
    known = {sample.prompt for part in (fit.data.train, fit.data.dev) for sample in part.samples}
    for task, prompts in tested.items():
        if both := len(prompts & known):
            yield (
                f"reward model {fit.chosen.name}: {both} of {len(prompts)} test prompts of {task} "
                "are among those it is fitted on: its numbers there flatter it"
            )


def place(plan: Plan, run: Path) -> Plan:
    """Return the plan with the checkpoint folder of each fitted reward as its option ``path``."""
    waves = tuple(
        tuple(
            replace(one, options={"path": str(folder_of(run, one.name))}) if one.recipe is not None else one
            for one in wave
        )
        for wave in plan.waves
    )
    return replace(plan, waves=waves)


def folder_of(run: Path, name: str) -> Path:
    """Return where the checkpoint of a reward model of this run stands."""
    return run / "training" / folder_name(name)


def stage(
    plan: Plan, fits: Mapping[str, Fit], run: Path, runtime: Runtime, *, workers: int, told: tuple[threading.Event, Any]
) -> tuple[Plan, Fits]:
    """Fit every reward model of a plan into its run folder.

    Args:
        plan: the plan.
        fits: of ``prepare``.
        run: the run folder.
        runtime: device, dtype and seed.
        workers: how many are fitted at once.
        told: the event that a signal sets, and who is told how far it is.

    Returns:
        The plan with the checkpoints as the options of their rewards, and what came of the fits.

    Raises:
        Stopped: the user interrupted; the state of what was being fitted is kept.
    """
    placed = place(plan, run)
    stop, progress = told
    every = Fits(placed, fits, run, runtime, stop=stop, progress=progress)
    every.all(workers)
    for note in every.notes:
        progress.warn(note)
    return placed, every


class Fits:
    """Fits the reward models of a plan into a run folder.

    ``failures`` holds, by name, why a model could not be fitted; ``notes`` what the user should know of the others.
    """

    def __init__(
        self, plan: Plan, fits: Mapping[str, Fit], run: Path, runtime: Runtime, *, stop: threading.Event, progress: Any
    ) -> None:
        self.plan = plan
        self.fits = fits
        self.run = run
        self.runtime = runtime
        self.stop = stop
        self.progress = progress
        self.failures: dict[str, str] = {}
        self.notes: list[str] = []
        self.by_name = {chosen.name: chosen for chosen in plan.rewards}

    def all(self, workers: int) -> None:
        """Fit every model, wave by wave, several at a time.

        Raises:
            Stopped: the user interrupted; the state of what was being fitted is kept.
        """
        for wave in self.plan.waves:
            mine = [self.fits[chosen.name] for chosen in wave if chosen.recipe is not None]
            with ThreadPoolExecutor(max(1, workers)) as pool:
                try:
                    jobs = [pool.submit(self.one, fit) for fit in mine]
                    for job in jobs:
                        job.result()
                except BaseException:
                    self.stop.set()
                    raise

    def one(self, fit: Fit) -> None:
        """Fit one model, or find it fitted."""
        name = fit.chosen.name
        used = _closure(fit.chosen, self.by_name)
        if broken := [one for one in used if one in self.failures]:
            self.failures[name] = f"it uses {', '.join(broken)}, which could not be fitted"
            return
        mine = [self.by_name[one] for one in fit.chosen.uses]
        entries = {one.name: entry for one in mine if (entry := rewards.entry_of(one)) is not None}
        recipe = fit.recipe.record({one.name: rewards.meaning(one, self.by_name) for one in mine}, entries)
        folder = folder_of(self.run, name)
        if self._done(folder, recipe):
            return
        how = "interrupted"
        try:
            columns = self._columns(fit, used)
            self._fit(fit, folder, recipe, columns)
            how = "fitted"
        except (Broken, Failed, PluginError) as error:
            self.failures[name], how = str(error), "gave up on"
            return
        finally:
            self.progress.fitted(name, how)
        write_whole(folder / DONE, canonical({"recipe": recipe, "sha256": content.digest(folder)}))

    def _done(self, folder: Path, recipe: Mapping[str, Any]) -> bool:
        """Whether the folder holds this fit, complete and as it was written."""
        if not (folder / DONE).is_file():
            return False
        done = self._noted(folder / DONE)
        if done["recipe"] != json.loads(canonical(recipe)):
            raise RunFolderError("holds another fit", where=str(folder), help="choose another --out")
        if done["sha256"] != content.digest(folder):
            raise RunFolderError(
                "was changed since it was fitted", where=str(folder),
                help="put it back, or move the folder away and it is fitted again",
            )  # fmt: skip
        return True

    @staticmethod
    def _noted(path: Path) -> dict[str, Any]:
        """Return what was fitted and what came of it, as it was noted."""
        try:
            done = json.loads(path.read_bytes())
            return {"recipe": done["recipe"], "sha256": done["sha256"]}
        except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
            raise RunFolderError(
                f"is damaged ({type(error).__name__})", where=str(path), help="remove it, and the model is fitted again"
            ) from error

    def _columns(self, fit: Fit, used: Sequence[str]) -> tuple[Columns, Columns]:
        """Score the rows of a fit with the rewards that it learns from."""
        if not used:
            return {}, {}
        order = [one for wave in self.plan.waves for one in wave if one.name in used]
        scorer = Scorer(order, timeout=self.plan.timeout, runtime=self.runtime, stop=self.stop)
        try:
            train, dev = (self._scored(scorer, fit, part) for part in (fit.data.train, fit.data.dev))
        finally:
            scorer.close()
        for name, ledger in scorer.ledgers.items():
            if ledger.lost:
                self.notes.append(
                    f"reward model {fit.chosen.name}: {name} failed on {ledger.lost} of the rows it is fitted on"
                )
        return train, dev

    def _scored(self, scorer: Scorer, fit: Fit, judged: Judged) -> Columns:
        columns: dict[str, list[float | None]] = {name: [] for name in fit.chosen.uses}
        samples = tuple(sample for sample in judged.samples if sample.candidates)
        for some in batches(Part(0, 0, samples)):
            rows = batch(some, fit.data.task, labels=False)
            found = scorer.columns(rows)
            self.progress.fitting(fit.chosen.name, {"scored": len(rows), "rows": fit.rows})
            for name in columns:
                columns[name] += found[name]
        return {name: tuple(column) for name, column in columns.items()}

    def _fit(self, fit: Fit, folder: Path, recipe: Mapping[str, Any], columns: tuple[Columns, Columns]) -> None:
        with faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
        log = self.run / "logs" / f"fit-{folder.name}.log"
        with faults(log):
            log.parent.mkdir(exist_ok=True)
        worker = Worker("rmbench.fitter", timeout=0, stop=self.stop, log=log)
        try:
            found = {"folder": str(folder), "recipe": dict(recipe), "runtime": asdict(self.runtime)}
            scores = {"train": columns[0], "dev": columns[1]}
            worker.send({**_message(fit.chosen), **found, "scores": scores})
            while "step" in (reply := worker.receive()):
                self.progress.fitting(fit.chosen.name, reply["step"])
        except Stopped:
            worker.end(SAVING)
            raise
        finally:
            worker.kill()
        if not reply["ok"]:
            _raise(reply, fit.chosen.name)
        self.notes += [f"reward model {fit.chosen.name}: {note}" for note in reply["notes"]]


def _message(chosen: Chosen) -> dict[str, Any]:
    """Return what the fitter needs to know of a reward model and its data."""
    recipe: Any = chosen.recipe
    return {
        "name": chosen.name, "distribution": recipe.plugin.distribution, "plugin": recipe.plugin.name,
        "model": recipe.model.name, "task": fitter.packed(recipe.task), "seed": recipe.seed, "loss": recipe.loss,
        "options": dict(recipe.options),
    }  # fmt: skip


def check(fits: Mapping[str, Fit], *, timeout: float, stop: threading.Event) -> None:
    """Let the models check their data and options, in a process of their own, before anything is written.

    Raises:
        InputError, InputErrors: what a model refuses.
    """
    asked = [_message(fit.chosen) for fit in fits.values() if fit.recipe.model.check is not None]
    if not asked:
        return
    worker = Worker("rmbench.fitter", timeout=timeout, stop=stop, log=None)
    try:
        problems = worker.ask({"check": asked})["problems"]
    except Failed:  # met again when it is fitted
        return
    finally:
        worker.kill()
    found = [
        InputError(f"{one['where']}: {one['what']}" if one["where"] else one["what"],
                   where=f"[[reward_model]] {one['name']}", help=one["help"])
        for one in problems
    ]  # fmt: skip
    if len(found) == 1:
        raise found[0]
    if found:
        raise InputErrors(found)


def _raise(reply: Mapping[str, Any], name: str) -> None:
    """Raise what the fitter says went wrong."""
    if reply["error"] == "interrupted":
        raise Stopped
    if reply["error"] == "environment":  # of no use to the other models either
        raise EnvironmentFault(reply["message"], where=reply["where"], help=reply["help"])
    if reply["error"] == "refused":
        place = reply["where"] or f"[[reward_model]] {name}"
        raise Broken(f"{place}: {reply['message']}" + (f" ({reply['help']})" if reply["help"] else ""))
    raise Broken(f"its fit raised {reply['message']}", reply["traceback"])
