"""Parquet parts of a run folder: how samples and scores are written, and read back as columns."""

from __future__ import annotations

import hashlib
import io
import json
import re
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rmbench.api import Column
from rmbench.errors import RunFolderError
from rmbench.store import folder_name
from rmbench.studies.rows import Rows, Scored

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Sample
    from rmbench.scoring import Scores
    from rmbench.source import Part
    from rmbench.store import RunFolder


def sample_folder(task: str) -> str:
    """Return the folder of a task's samples, relative to the run."""
    return f"samples/{folder_name(task)}"


def scores_folder(task: str) -> str:
    """Return the folder of all scores on a task, relative to the run."""
    return f"scores/{folder_name(task)}"


def score_folder(task: str, reward: str) -> str:
    """Return the folder of a reward's scores on a task, relative to the run."""
    return f"{scores_folder(task)}/{folder_name(reward)}"


def part_name(folder: str, index: int) -> str:
    """Return the name of a part, relative to the run."""
    return f"{folder}/part-{index:05d}.parquet"


def _bytes(columns: Mapping[str, tuple[Any, pa.DataType]]) -> bytes:
    arrays = {name: pa.array(values, type=kind) for name, (values, kind) in columns.items()}
    buffer = io.BytesIO()
    pq.write_table(pa.table(arrays), buffer, compression="zstd")
    return buffer.getvalue()


def _keys(part: Part) -> dict[str, tuple[Any, pa.DataType]]:
    rows = [(sample, index, c) for sample in part.samples for index, c in enumerate(sample.candidates)]
    return {
        "row": (range(part.start, part.start + len(rows)), pa.int64()),
        "id": ([sample.id for sample, _, _ in rows], pa.string()),
        "candidate": ([index for _, index, _ in rows], pa.int32()),
        "system": ([c.system for _, _, c in rows], pa.string()),
    }


def prompt_key(sample: Sample) -> str:
    """Return a hash of what was asked: samples with the same one are resampled together."""
    asked = [[(turn.role, turn.content) for turn in sample.messages], sample.context]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest()[:16]


def samples_bytes(part: Part, aspects: Sequence[str]) -> bytes:
    """Return a part of samples as Parquet: one row per candidate; a sample's preferences on its first."""
    rows = [(sample, index, c) for sample in part.samples for index, c in enumerate(sample.candidates)]
    first = [index == 0 for _, index, _ in rows]
    stated = [[[p.better, p.worse, p.subset] for p in sample.preferences] for sample, _, _ in rows]
    columns = _keys(part)
    columns["seed"] = ([c.seed for _, _, c in rows], pa.uint64())
    columns["text"] = ([c.text for _, _, c in rows], pa.string())
    columns["prompt"] = ([sample.prompt for sample, _, _ in rows], pa.string())
    columns["cluster"] = ([prompt_key(sample) for sample, _, _ in rows], pa.string())
    columns["subset"] = ([sample.subset for sample, _, _ in rows], pa.string())
    columns["references"] = (
        [list(s.references) if one else None for (s, _, _), one in zip(rows, first, strict=True)],
        pa.list_(pa.string()),
    )
    columns["preferences"] = (
        [json.dumps(p) if p and one else None for p, one in zip(stated, first, strict=True)],
        pa.string(),
    )
    for aspect in aspects:
        columns[f"human.{aspect}"] = ([c.human.get(aspect) for _, _, c in rows], pa.float64())
    return _bytes(columns)


def scores_bytes(part: Part, scores: Scores) -> bytes:
    """Return a part of scores as Parquet: score or null with its reason, and the parts of the reward."""
    columns = _keys(part)
    columns["score"] = (scores.values, pa.float64())
    columns["reason"] = (scores.reasons, pa.string())
    for name in sorted(scores.parts):
        columns[f"part.{name}"] = (scores.parts[name], pa.float64())
    return _bytes(columns)


def read_part(path: Path, columns: Sequence[str] | None = None) -> pa.Table:
    """Read one part, or some of its columns: those that it has.

    Raises:
        RunFolderError: it is damaged.
    """
    try:
        return pq.read_table(
            pa.BufferReader(path.read_bytes()), columns=columns
        )  # no path: its bytes may be no UTF-8; no open file: pyarrow aborts at exit, at times
    except (pa.ArrowException, OSError) as error:
        raise RunFolderError(
            f"is damaged: {error}", where=str(path), help="rmbench run --resume redoes damaged parts"
        ) from error


SAMPLES: dict[str, pa.DataType] = {
    "id": pa.string(), "candidate": pa.int32(), "system": pa.string(), "text": pa.string(), "prompt": pa.string(),
    "cluster": pa.string(), "subset": pa.string(), "references": pa.list_(pa.string()), "preferences": pa.string(),
}  # fmt: skip
SCORES: dict[str, pa.DataType] = {"score": pa.float64(), "reason": pa.string()}


def hold(table: pa.Table, kinds: Mapping[str, pa.DataType], where: Path) -> pa.Table:
    """Return the table where its columns are those that rmbench writes.

    Raises:
        RunFolderError: one is missing or of another type; a run folder is not trusted.
    """
    numbers = {name: pa.float64() for name in table.column_names if name.startswith(("human.", "part."))}
    for name, kind in {**kinds, **numbers}.items():
        if name not in table.column_names or table.schema.field(name).type != kind:
            raise RunFolderError(
                f"has no column {name} of {kind}", where=str(where), help="run again into a new folder"
            )
    return table


def row_numbers(path: Path) -> list[int]:
    """Return the numbers of the rows that a part holds.

    Raises:
        RunFolderError: it is damaged, or no part of rmbench.
    """
    table = read_part(path, ["row"])
    if "row" not in table.column_names:
        raise RunFolderError("has no column row: it is no part of rmbench", where=str(path), help="remove it")
    found: list[int] = table["row"].to_pylist()
    return found


def _table(run: RunFolder, folder: str) -> pa.Table | None:
    tables = [read_part(run.path / name) for name in run.names(folder)]
    return pa.concat_tables(tables, promote_options="default") if tables else None


def _column(array: pa.ChunkedArray) -> Column:
    ok = np.asarray(array.is_valid())
    return Column(np.asarray(array.fill_null(0.0), dtype=np.float64), ok)


def read_column(run: RunFolder, task: str, reward: str, rows: int) -> Column | None:
    """Read the scores of a reward on a task; None where it has none.

    Raises:
        RunFolderError: some rows are missing.
    """
    table = _table(run, score_folder(task, reward))
    if table is None:
        return None
    if table.num_rows != rows:
        where = str(run.path / score_folder(task, reward))
        raise RunFolderError(
            f"{table.num_rows} of {rows} rows are there", where=where, help="finish it with rmbench run --resume"
        )
    hold(table, SCORES, run.path / score_folder(task, reward))
    score = _column(table["score"])
    told = table["reason"].to_pylist()
    reasons = {i: str(told[i]) for i in np.flatnonzero(~score.ok).tolist()}
    parts = {n.removeprefix("part."): _column(table[n]) for n in table.column_names if n.startswith("part.")}
    return Column(score.values, score.ok, reasons, parts)


def _preferences(table: pa.Table, subsets: Sequence[str | None]) -> tuple[list[int], list[int], list[str | None]]:
    better, worse, named = [], [], []
    for row, text in enumerate(table["preferences"].to_pylist()):
        for a, b, subset in json.loads(text) if text else ():
            better.append(row + a)
            worse.append(row + b)
            named.append(subset if subset is not None else subsets[row])
    return better, worse, named


def load(run: RunFolder, manifest: Mapping[str, Any], task: Mapping[str, Any]) -> Rows:
    """Read one task of a run back as columns, with the scores of every reward.

    Args:
        run: the folder.
        manifest: its manifest.
        task: the task's entry in ``manifest["resolved"]["tasks"]``.
    """
    table = _table(run, sample_folder(task["name"]))
    if table is None or table.num_rows != task["rows"]:
        raise RunFolderError(
            f"samples of task {task['name']!r} are incomplete", where=str(run.path), help="finish it with --resume"
        )
    humans = {f"human.{aspect}": pa.float64() for aspect in task["aspects"]}
    hold(table, {**SAMPLES, **humans}, run.path / sample_folder(task["name"]))
    candidate = np.asarray(table["candidate"], dtype=np.int64)
    first = np.flatnonzero(candidate == 0)
    systems, system = np.unique(np.asarray(table["system"].to_pylist(), dtype=object), return_inverse=True)
    _, cluster = np.unique(np.asarray(table["cluster"].take(first).to_pylist()), return_inverse=True)
    subsets = table["subset"].to_pylist()
    better, worse, named = _preferences(table, subsets)
    return Rows(
        task=task["name"], version=task["version"], kind=task["kind"], split=task["split"], label=task["label"],
        languages=tuple(task["languages"]), aspects=tuple(task["aspects"]), main=task["main"], good=task["good"],
        ids=tuple(table["id"].take(first).to_pylist()),
        sample=np.cumsum(candidate == 0) - 1, candidate=candidate,
        systems=tuple(systems.tolist()), system=system.astype(np.int64), cluster=cluster.astype(np.int64),
        subset=tuple(subsets[i] for i in first.tolist()),
        texts=tuple(table["text"].to_pylist()),
        references=tuple(tuple(r or ()) for r in table["references"].take(first).to_pylist()),
        human={aspect: _column(table[f"human.{aspect}"]) for aspect in task["aspects"]},
        better=np.asarray(better, dtype=np.int64), worse=np.asarray(worse, dtype=np.int64),
        preference_subset=tuple(named),
        rewards=_rewards(run, manifest, task),
        seed=manifest["resolved"]["seeds"][0], limit=manifest["resolved"]["limit"],
        prompts=tuple(table["prompt"].take(first).to_pylist()),
        written=_seeds(table),
    )  # fmt: skip


def _seeds(table: pa.Table) -> tuple[int | None, ...]:
    """Return the seed of the policy that wrote each row; runs of earlier versions hold none."""
    return tuple(table["seed"].to_pylist()) if "seed" in table.column_names else (None,) * table.num_rows


FOREIGN = re.compile(r"((?:raised|built):? \w+): .*", re.DOTALL)  # what an exception says after its name
LAST_WORDS = re.compile(r"(the process (?:exited with \d+|was killed by \w+)) \(.*\)", re.DOTALL)
PLACE = re.compile(r"((?:^|; )(?:seed [\d, ]+: )?)/[^:]*/([^:/]+): ")  # of an error of ours, spaces and all
PATH = re.compile(r"(?<![\w.~])/(?:[^\s/:'\"]+/)+([^\s/:'\"]+)")


def brief(reason: str | None) -> str | None:
    """Return why something could not be used without what may differ from one machine or folder to the next.

    The words of an exception or of a dead process go; of an absolute path its last name stays.
    """
    if reason is None:
        return None
    told = LAST_WORDS.sub(r"\1", FOREIGN.sub(r"\1", reason))
    return PATH.sub(r"\1", PLACE.sub(r"\1\2: ", told))


def _rewards(run: RunFolder, manifest: Mapping[str, Any], task: Mapping[str, Any]) -> dict[str, Scored]:
    found = {}
    for reward in manifest["resolved"]["rewards"]:
        name = reward["name"]
        reason = task["skips"].get(name) or brief(manifest["failures"].get(name))
        column = None if reason else read_column(run, task["name"], name, task["rows"])
        found[name] = Scored(
            name, task["signatures"][name], column, reward["unscored"], reward["null"], reward["oracle"],
            reason or (None if column is not None else "it was not scored"),
        )  # fmt: skip
    return found
