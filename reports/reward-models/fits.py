"""Runs of this report: each is kept in the work folder under its content's hash, and not made again."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import folds
import recipes
from folds import DataSet, Parts, Row
from recipes import Effort, Table

import rmbench
from rmbench.content import digest
from rmbench.parts import load
from rmbench.store import RunFolder, canonical, folder_name

SEED = 2  # the settings were chosen on the folds of 1
COMPLETE = "complete"


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are: the data, and the folder in which work is kept; and how much is done."""

    data: Path
    work: Path
    effort: Effort


@dataclass(frozen=True, slots=True)
class Set:
    """A data set as it was read.

    Attributes:
        made: what it is.
        rows, keys: its samples, and the group of each.
        references, rated, raters: whether there are any.
    """

    made: DataSet
    rows: list[Row]
    keys: list[str]
    references: bool
    rated: bool
    raters: bool


@dataclass(frozen=True, slots=True)
class Fold:
    """One fold's run, and the models that were fitted in it."""

    run: rmbench.Run
    entries: Sequence[Table]


def read(made: DataSet, place: Place) -> Set:
    """Read a data set, or its first samples."""
    rows = made.rows(place.data)[: place.effort.samples]
    texts = [candidate for row in rows for candidate in row["candidates"]]
    return Set(
        made, rows, [made.key(row) for row in rows],
        references=all(row.get("references") for row in rows), rated=any(text.get("human") for text in texts),
        raters=any(text.get("raters") for text in texts),
    )  # fmt: skip


def run(suite: Table, task: Path, place: Place) -> rmbench.Run:
    """Run a suite on a task folder, go on with it, or find it finished.

    Raises:
        SystemExit: a row failed, a fit did, or a check.
    """
    content = canonical({**suite, "tasks": [], "reward_model": _placeless(suite)})
    name = hashlib.sha256(content + digest(task).encode()).hexdigest()[:12]
    out = place.work / "runs" / f"{folder_name(suite['name'])}-{name}"
    found = rmbench.Run(out)
    ended = RunFolder.is_run(out) and found.manifest["status"] == COMPLETE
    if not ended or found.exit_code:
        try:
            found = rmbench.run(suite, out=out, resume=not ended, force=ended)
        except rmbench.RunFolderError as error:
            if "belongs to another run" not in str(error):
                raise
            found = rmbench.run(suite, out=out, force=True)  # another version of rmbench began it
        print(f"{suite['name']}: done", flush=True)
    if found.exit_code:
        manifest = found.manifest
        failures = [f"{name}: {why}" for name, why in manifest["failures"].items()]
        raise SystemExit("\n".join([f"{out} has problems:", *manifest["problems"], *failures]))
    return found


def _placeless(suite: Table) -> list[Table]:
    """Return the reward models of a suite without where their data lie, whose content is hashed apart."""
    return [{**entry, "task": ""} for entry in suite.get("reward_model", ())]


def cut(found: Set, number: int, place: Place, share: float = 1.0) -> Parts:
    """Return what a fold learns from, at a share of its training prompts, and what it is measured on."""
    return folds.part(found.rows, found.keys, number, seed=SEED, folds=place.effort.folds, share=share)


def held_out(found: Set, numbers: Iterable[int], place: Place) -> Set:
    """Return a data set without the samples that none of these folds is measured on."""
    kept = {row["id"] for number in numbers for row in cut(found, number, place).test}
    pairs = [(row, key) for row, key in zip(found.rows, found.keys, strict=True) if row["id"] in kept]
    return replace(found, rows=[row for row, _ in pairs], keys=[key for _, key in pairs])


def fold(found: Set, number: int, place: Place, share: str = "all") -> Fold:
    """Fit every model on one fold, from a share of its training prompts, and score what is held out."""
    made, part = found.made, cut(found, number, place, recipes.SHARES[share])
    name = f"{made.name}-fold-{number + 1}" + ("" if share == "all" else f"-{share}")
    files = {"train": part.train, "dev": part.dev, "test": part.test}
    task = folds.write_task(place.work / "tasks" / name, name, made.card(place.data), files)
    entries = recipes.models(
        made.name, str(task), references=found.references, rated=found.rated, effort=place.effort
    )  # fmt: skip
    if share != "all":
        entries = recipes.of_curve(entries)
    suite = recipes.fold_suite(name, str(task), entries, references=found.references)
    return Fold(run(suite, task, place), entries)


def scores(run: rmbench.Run, names: Sequence[str]) -> dict[tuple[str, int], dict[str, float | None]]:
    """Return the scores that a run gave, by sample id and candidate, then by reward; None where it gave none."""
    manifest = run.manifest
    rows = load(RunFolder(run.folder), manifest, manifest["resolved"]["tasks"][0])
    columns = {name: rows.rewards[name].column for name in names}
    found: dict[tuple[str, int], dict[str, float | None]] = {}
    for place, (sample, candidate) in enumerate(zip(rows.sample.tolist(), rows.candidate.tolist(), strict=True)):
        found[rows.ids[sample], candidate] = {
            name: float(column.values[place]) if column is not None and column.ok[place] else None
            for name, column in columns.items()
        }
    return found


def measured(found: Set, parts: Mapping[str, Sequence[Fold]], place: Place, name: str) -> rmbench.Run:
    """Put the held-out scores of all folds together and measure them.

    Args:
        found: the data set.
        parts: the folds by what is put behind the name of their rewards (empty for the whole training part).
        place: where.
        name: of the run.
    """
    every: dict[tuple[str, int], dict[str, float | None]] = {}
    columns: list[str] = []
    for mark, each in parts.items():
        names = recipes.columns_of(each[0].entries)
        columns += [name + mark for name in names]
        for part in each:
            for key, scored in scores(part.run, names).items():
                every.setdefault(key, {}).update({name + mark: value for name, value in scored.items()})
    rows = folds.merged(found.rows, every, columns)
    task = folds.write_task(
        place.work / "tasks" / name, found.made.name, found.made.card(place.data), {"test": rows}
    )  # fmt: skip
    suite = recipes.final_suite(
        name, str(task), columns, references=found.references, raters=found.raters
    )  # fmt: skip
    return run(suite, task, place)


def costs(parts: Sequence[Fold]) -> dict[str, dict[str, float]]:
    """Return what the fits took and came to, by model: the mean over the folds of each measure."""
    told: dict[str, dict[str, list[float]]] = {}
    for part in parts:
        for row in part.run.measurements:
            if row.study == "fit" and row.reward and row.value is not None:
                told.setdefault(row.reward, {}).setdefault(row.metric.removeprefix("fit:"), []).append(row.value)
    return {name: {key: sum(x) / len(x) for key, x in found.items()} for name, found in told.items()}


def checkpoint(part: Fold, name: str) -> Path:
    """Return the checkpoint of a model of a fold."""
    return part.run.folder / "training" / folder_name(name)


def logs(parts: Sequence[Fold], name: str) -> list[list[dict[str, Any]]]:
    """Return the rows of log.jsonl of a model, by fold."""
    files = [checkpoint(part, name) / "log.jsonl" for part in parts]
    return [[json.loads(line) for line in file.read_text(encoding="utf-8").splitlines()] for file in files]


def weights(parts: Sequence[Fold], name: str) -> dict[str, float]:
    """Return the weight of each reward that a linear model learnt, on the reward's own scale, mean over the folds."""
    files = [checkpoint(part, name) / "config.json" for part in parts]
    found = [json.loads(file.read_bytes())["weights"] for file in files]
    return {key: sum(one[key] for one in found) / len(found) for key in found[0]}
