"""Train the policies of a plan: each once per seed, in a process of its own, into ``RUN/training/NAME/seed-K``."""

from __future__ import annotations

import json
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from rmbench import content, training_words, wire
from rmbench.errors import EnvironmentFault, PluginError, RMBenchError, RunFolderError
from rmbench.process import Broken, Failed, Stopped, Worker
from rmbench.source import Written
from rmbench.store import canonical, faults, folder_name, write_whole
from rmbench.stream import Scorer

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Runtime
    from rmbench.entries import Entry
    from rmbench.source import Source
    from rmbench.suite import Plan

DONE, OUTPUTS = ".done.json", "outputs.jsonl"
# glibc gives large arrays back to the system and takes them anew, page by page, at each step: a quarter of its time
KEEP = {
    "MALLOC_MMAP_THRESHOLD_": "2000000000", "MALLOC_TRIM_THRESHOLD_": "4000000000", "MALLOC_TOP_PAD_": "268435456"
}  # fmt: skip
SAVING = 30.0  # seconds that an interrupted training has to save its state


def awaited(plan: Plan) -> dict[str, int]:
    """Return how many candidates policies are to add to each sample, by task."""
    found: dict[str, int] = {}
    for entry in plan.entries.values():
        found[entry.task.name] = found.get(entry.task.name, 0) + len(plan.seeds)
    return found


def folder_of(run: Path, name: str, seed: int) -> Path:
    """Return where a policy of this run stands."""
    return run / "training" / folder_name(name) / f"seed-{seed}"


@dataclass(frozen=True, slots=True)
class Job:
    """An entry and a seed."""

    entry: Entry
    seed: int

    @property
    def name(self) -> str:
        """What it is called where its progress is shown."""
        return f"{self.entry.name} (seed {self.seed})"


@dataclass(slots=True)
class Trainings:
    """Trains the policies of a plan into a run folder.

    ``lost`` holds, by entry and seed, why a policy could not be trained; ``notes`` what the user should know of the
    others; ``starts`` is the run folder in which the policies stand that others begin with, None: this one.
    """

    plan: Plan
    entries: Mapping[str, Entry]
    sources: Mapping[str, Source]
    run: Path
    runtime: Runtime
    stop: threading.Event
    progress: Any
    lost: dict[tuple[str, int], str] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    starts: Path | None = None

    @property
    def failures(self) -> dict[str, str]:
        """Why policies could not be trained, by entry: each reason with its seeds, whatever came first."""
        found = {}
        for name in self.entries:
            words: dict[str, list[str]] = {}
            for seed in self.plan.seeds:
                if (name, seed) in self.lost:
                    words.setdefault(self.lost[name, seed], []).append(str(seed))
            if words:
                found[name] = "; ".join(f"seed {', '.join(seeds)}: {why}" for why, seeds in words.items())
        return found

    def all(self, workers: int) -> None:
        """Train every policy with every seed, several at a time, each after its start.

        Raises:
            Stopped: the user interrupted; the state of what was being trained is kept.
        """
        waiting = [Job(entry, seed) for entry in self.entries.values() for seed in self.plan.seeds]
        running: dict[Future[None], Job] = {}
        done: set[tuple[str, int]] = set()
        with ThreadPoolExecutor(max(1, workers)) as pool:
            try:
                while waiting or running:
                    ready = [job for job in waiting if not job.entry.start or (job.entry.start, job.seed) in done]
                    waiting = [job for job in waiting if job not in ready]
                    running |= {pool.submit(self.one, job): job for job in ready}
                    for future in wait(running, return_when=FIRST_COMPLETED).done:
                        job = running.pop(future)
                        future.result()
                        done.add((job.entry.name, job.seed))
            except BaseException:
                self.stop.set()
                pool.shutdown(cancel_futures=True)
                raise

    def one(self, job: Job) -> None:
        """Train one policy with one seed, or find it trained."""
        entry = job.entry
        if self.stop.is_set():
            raise Stopped
        if entry.start and (entry.start, job.seed) in self.lost:
            self.lost[entry.name, job.seed] = f"it begins with {entry.start}, which could not be trained"
            return
        folder = folder_of(self.run, entry.name, job.seed)
        recipe, how = self.recipe(entry, job.seed), "interrupted"
        try:
            if not _done(folder, recipe):
                self._train(job, folder, recipe)
                write_whole(folder / DONE, canonical({"recipe": recipe, "sha256": content.digest(folder)}))
            how = "trained"
        except (Broken, Failed, PluginError) as error:
            self.lost[entry.name, job.seed], how = str(error), "gave up on"
        finally:
            self.progress.fitted(job.name, how)

    def recipe(self, entry: Entry, seed: int) -> dict[str, Any]:
        """Return what decides the weights and the outputs of an entry, in words: it stands in config.json."""
        by_name = {one.name: one for one in self.plan.rewards}
        return {**training_words.record(entry, self.entries, by_name), "seed": seed, "limit": self.plan.limit}

    def written(self, source: Source) -> list[Written]:
        """Return what the policies of a task wrote, in the order of the suite; of one that lost a seed, the others."""
        found = []
        for entry in self.entries.values():
            for seed in self.plan.seeds:
                if entry.task.name == source.task.name and (entry.name, seed) not in self.lost:
                    lines = _lines(folder_of(self.run, entry.name, seed) / OUTPUTS)
                    found.append(Written(entry.name, seed, {line["id"]: line["text"] for line in lines}))
        return found

    def _train(self, job: Job, folder: Path, recipe: Mapping[str, Any]) -> None:
        with faults(folder):
            folder.mkdir(parents=True, exist_ok=True)
        log = self.run / "logs" / f"train-{folder.parent.name}-{job.seed}.log"
        with faults(log):
            log.parent.mkdir(exist_ok=True)
        worker = Worker("rmbench.trainer", timeout=0, stop=self.stop, log=log, environment=KEEP)
        scorer: Scorer | None = None
        needed = [name for name in (job.entry.reward, job.entry.options.get("best_by")) if name]
        try:
            worker.send(self._message(job, folder, recipe))
            while "ok" not in (reply := worker.receive()):
                if "step" in reply:
                    self.progress.fitting(job.name, reply["step"])
                else:
                    scorer = scorer or self._scorer(job)
                    worker.send(_scored(scorer, reply, needed))
        except Stopped:
            worker.end(SAVING)
            raise
        finally:
            worker.kill()
            if scorer is not None:
                scorer.close()
        if not reply["ok"]:
            _raise(reply, job)
        self.notes += [f"policy {job.name}: {note}" for note in (*reply["notes"], *_lost(scorer))]

    def _message(self, job: Job, folder: Path, recipe: Mapping[str, Any]) -> dict[str, Any]:
        entry = job.entry
        asked = [*entry.judges, *filter(None, [entry.options.get("best_by")])]
        limits = {"limit": self.plan.limit, "seed": self.plan.seed}
        return {
            **training_words.named(entry, self.plan.seed), "folder": str(folder), "recipe": dict(recipe),
            "sha256": dict(entry.sha256), "weights": self._weights(entry, job.seed), "begins": entry.start is not None,
            "kept": not entry.contents,  # what a folder of the user's holds is not copied
            "reward": entry.reward, "judges": list(dict.fromkeys(asked)),
            "test": limits if entry.task.name in self.sources else None,
            "runtime": asdict(replace(self.runtime, seed=job.seed, dtype="float32")),  # bfloat16 loses small steps
        }  # fmt: skip

    def _weights(self, entry: Entry, seed: int) -> str | None:
        """Return the folder of the weights that an entry begins with, None where they are made anew."""
        start = self.entries[entry.start] if entry.start else None
        while start is not None:
            if start.trainer is not None:
                return str(folder_of(self.starts or self.run, start.name, seed))
            start = self.entries[start.start] if start.start else None
        return None

    def _scorer(self, job: Job) -> Scorer:
        entry = job.entry
        wanted = {entry.reward, *entry.judges, entry.options.get("best_by")}
        order = [one for wave in self.plan.waves for one in wave]
        for one in reversed(order):
            wanted |= set(one.uses) if one.name in wanted else set()
        mine = [one for one in order if one.name in wanted]
        return Scorer(mine, timeout=self.plan.timeout, runtime=self.runtime, stop=self.stop)


def stage(
    plan: Plan,
    sources: Sequence[Source],
    run: Path,
    runtime: Runtime,
    *,
    workers: int,
    told: tuple[threading.Event, Any],
) -> tuple[list[Source], Trainings]:
    """Train every policy of a plan into its run folder.

    Args:
        plan: the plan, the checkpoints of its reward models in place.
        sources: its tasks.
        run: the run folder.
        runtime: device, dtype and cache.
        workers: how many are trained at once.
        told: the event that a signal sets, and who is told how far it is.

    Returns:
        The sources with what the policies wrote, and what came of the trainings.

    Raises:
        Stopped: the user interrupted; the state of what was being trained is kept.
    """
    stop, progress = told
    by_task = {source.task.name: source for source in sources}
    trained = Trainings(plan, plan.entries, by_task, run, runtime, stop, progress)
    trained.all(workers)
    for note in trained.notes:
        progress.warn(note)
    return [source.with_written(trained.written(source)) if source.awaited else source for source in sources], trained


def _lost(scorer: Scorer | None) -> Iterator[str]:
    """Say of a training which rewards were of no use to it, and which failed on rows."""
    if scorer is None:
        return
    for name, reason in scorer.broken.items():
        yield f"the judge {name} could not be used: {reason}"
    for name, ledger in scorer.ledgers.items():
        if ledger.lost and name not in scorer.broken:
            yield f"{name} failed on {ledger.lost} rows"


def _scored(scorer: Scorer, asked: Mapping[str, Any], needed: Sequence[str]) -> dict[str, Any]:
    """Answer what a training asks to be scored; it cannot go on without the rewards ``needed``."""
    try:
        found = scorer.named_scores(wire.unpack(asked["score"]), asked["names"], needed)
    except RMBenchError as error:
        return {"refused": error.what, "where": error.where, "help": error.help}
    return {"columns": {name: {"values": one.values, "reasons": one.reasons} for name, one in found.items()}}


def _done(folder: Path, recipe: Mapping[str, Any]) -> bool:
    """Whether the folder holds this training, complete and as it was written."""
    if not (folder / DONE).is_file():
        return False
    try:
        done = json.loads((folder / DONE).read_bytes())
        made, sha256 = done["recipe"], done["sha256"]
    except (OSError, ValueError, TypeError, KeyError, RecursionError) as error:
        raise RunFolderError(
            f"is damaged ({type(error).__name__})", where=str(folder / DONE), help="remove it, and it is trained again"
        ) from error
    if made != json.loads(canonical(recipe)):
        raise RunFolderError("holds another training", where=str(folder), help="choose another --out")
    if sha256 != content.digest(folder):
        raise RunFolderError(
            "was changed since it was trained", where=str(folder),
            help="put it back, or move the folder away and it is trained again",
        )  # fmt: skip
    return True


def _lines(path: Path) -> list[dict[str, Any]]:
    try:
        return [json.loads(line) for line in path.read_bytes().splitlines()]
    except (OSError, ValueError) as error:
        raise RunFolderError(
            f"cannot be read ({type(error).__name__})", where=str(path), help="move its folder away: it is made again"
        ) from error


def _raise(reply: Mapping[str, Any], job: Job) -> None:
    """Raise what the trainer process says went wrong."""
    if reply["error"] == "interrupted":
        raise Stopped
    if reply["error"] == "environment":  # of no use to the other models either
        raise EnvironmentFault(reply["message"], where=reply["where"], help=reply["help"])
    if reply["error"] == "refused":
        place = reply["where"] or job.entry.where
        raise Broken(f"{place}: {reply['message']}" + (f" ({reply['help']})" if reply["help"] else ""))
    raise Broken(f"its training raised {reply['message']}", reply["traceback"])
