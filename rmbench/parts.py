"""Parquet parts of a run folder: how samples and scores are written, and read back as columns."""

from __future__ import annotations

import hashlib
import io
import json
import re
from bisect import bisect_right
from collections.abc import Sequence
from operator import eq
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rmbench.api import Column
from rmbench.errors import RunFolderError
from rmbench.store import folder_name
from rmbench.studies.rows import Rows, Scored

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
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
    keys = [[prompt_key(sample)] * len(sample.candidates) for sample in part.samples]
    columns["cluster"] = ([key for of_sample in keys for key in of_sample], pa.string())
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


READ = ("id", "candidate", "system", "cluster", "subset", "preferences")  # of SAMPLES: what all statistics need
T = TypeVar("T")


class Stored(Sequence[T]):
    """A column of the samples of a run, in order, of which one part is held at a time: texts may be larger than memory.

    Args:
        paths: the parts.
        ends: where the entries of each part end.
        column: its name.
        make: what an entry becomes.
        first: take one entry of each sample, that of its first row.
    """

    def __init__(
        self, paths: Sequence[Path], ends: Sequence[int], column: str, make: Callable[[Any], T], *, first: bool
    ) -> None:
        self.paths, self.ends, self.column, self.make, self.first = paths, ends, column, make, first
        self._held: tuple[int, list[T]] = (-1, [])

    def _part(self, index: int) -> list[T]:
        if self._held[0] != index:
            table = read_part(self.paths[index], [self.column, "candidate"])
            hold(table, {self.column: SAMPLES[self.column]}, self.paths[index])
            column = table[self.column].filter(pc.equal(table["candidate"], 0)) if self.first else table[self.column]
            self._held = index, [self.make(each) for each in column.to_pylist()]
        return self._held[1]

    def __len__(self) -> int:
        """Return the number of entries."""
        return self.ends[-1] if self.ends else 0

    @overload
    def __getitem__(self, at: int) -> T: ...
    @overload
    def __getitem__(self, at: slice) -> list[T]: ...
    def __getitem__(self, at: int | slice) -> T | list[T]:
        """Return one entry, or several; those of one part cost one reading as long as no other part is asked for."""
        if isinstance(at, slice):
            return [self[each] for each in range(*at.indices(len(self)))]
        index = bisect_right(self.ends, at)
        return self._part(index)[at - (self.ends[index - 1] if index else 0)]

    def __iter__(self) -> Iterator[T]:
        """Yield all of them, part by part."""
        for index in range(len(self.paths)):
            yield from self._part(index)

    def __eq__(self, other: object) -> bool:
        """Say whether another sequence holds the same."""
        return isinstance(other, Sequence) and len(self) == len(other) and all(map(eq, self, other))

    __hash__ = None  # type: ignore[assignment] # as a list


def _column(array: pa.ChunkedArray) -> Column:
    ok = np.asarray(array.is_valid())
    return Column(np.asarray(array.fill_null(0.0), dtype=np.float64), ok)


def _joined(columns: Sequence[Column]) -> Column:
    if not columns:
        return Column(np.zeros(0), np.zeros(0, dtype=bool))
    return Column(np.concatenate([each.values for each in columns]), np.concatenate([each.ok for each in columns]))


def read_column(run: RunFolder, task: str, reward: str, rows: int) -> Column | None:
    """Read the scores of a reward on a task, part by part; None where it has none.

    Raises:
        RunFolderError: some rows are missing, or a column is.
    """
    folder = score_folder(task, reward)
    reasons: dict[int, str] = {}
    scores: list[Column] = []
    parts: dict[str, list[Column]] = {}
    at = 0
    for name in run.names(folder):
        table = read_part(run.path / name)
        columns = [each for each in table.column_names if each in SCORES or each.startswith("part.")]
        table = hold(table.select(columns), SCORES, run.path / name)
        scores.append(_column(table["score"]))
        missing = np.flatnonzero(~scores[-1].ok)
        reasons.update(zip((missing + at).tolist(), map(str, table["reason"].take(missing).to_pylist()), strict=True))
        for each in columns[len(SCORES) :]:
            earlier = [_nothing(at)] if at and each not in parts else []
            parts.setdefault(each, earlier).append(_column(table[each]))
        at += table.num_rows
        for lacking in parts.keys() - set(columns):
            parts[lacking].append(_nothing(table.num_rows))
    if not scores:
        return None
    if at != rows:
        where = str(run.path / folder)
        raise RunFolderError(f"{at} of {rows} rows are there", where=where, help="finish it with rmbench run --resume")
    score = _joined(scores)
    return Column(
        score.values, score.ok, reasons, {name.removeprefix("part."): _joined(each) for name, each in parts.items()}
    )


def _nothing(rows: int) -> Column:
    return Column(np.zeros(rows), np.zeros(rows, dtype=bool))


class _Samples:
    """The columns of the samples of a task, gathered part by part."""

    def __init__(self, aspects: Sequence[str]) -> None:
        self.rows = 0
        self.ends: list[int] = []  # of the rows of each part
        self.sample_ends: list[int] = []
        self.candidate: list[np.ndarray] = []
        self.systems: dict[str, int] = {}
        self.system: list[np.ndarray] = []
        self.cluster: list[np.ndarray] = []
        self.subset: list[str | None] = []
        self.subsets: dict[str | None, str | None] = {}  # each name once, however many samples have it
        self.pairs: list[tuple[int, int]] = []
        self.named: list[str | None] = []
        self.human: dict[str, list[Column]] = {aspect: [] for aspect in aspects}
        self.written: list[int | None] = []

    def add(self, table: pa.Table, where: Path) -> None:
        """Take the next part."""
        candidate = np.asarray(table["candidate"], dtype=np.int64)
        first = np.flatnonzero(candidate == 0)
        system = table["system"].combine_chunks().dictionary_encode()
        codes = [self.systems.setdefault(name, len(self.systems)) for name in system.dictionary.to_pylist()]
        subsets = [self.subsets.setdefault(each, each) for each in table["subset"].to_pylist()]
        self._prefer(table["preferences"], subsets)
        self.candidate.append(candidate)
        self.system.append(np.array(codes, dtype=np.int64)[np.asarray(system.indices)])
        self.cluster.append(_hashes(table["cluster"].take(first), where))
        self.subset += [subsets[i] for i in first.tolist()]
        self.written += _seeds(table)
        for aspect, columns in self.human.items():
            columns.append(_column(table[f"human.{aspect}"]))
        self.rows += len(candidate)
        self.ends.append(self.rows)
        self.sample_ends.append(len(self.subset))

    def _prefer(self, column: pa.ChunkedArray, subsets: Sequence[str | None]) -> None:
        for row in np.flatnonzero(np.asarray(column.is_valid())).tolist():
            for a, b, subset in json.loads(column[row].as_py()):
                self.pairs.append((self.rows + row + a, self.rows + row + b))
                self.named.append(subset if subset is not None else subsets[row])

    def sorted_systems(self) -> tuple[tuple[str, ...], np.ndarray]:
        """Return the names in order, and the index of each row's system."""
        names = sorted(self.systems)
        place = np.zeros(len(names), dtype=np.int64)
        place[[self.systems[name] for name in names]] = np.arange(len(names))
        return tuple(names), place[np.concatenate(self.system)]


def _hashes(keys: pa.ChunkedArray, where: Path) -> np.ndarray:
    """Return what `prompt_key` gave as numbers, in the same order."""
    try:
        return np.array([int(key, 16) for key in keys.to_pylist()], dtype=np.uint64)
    except (TypeError, ValueError, OverflowError):
        raise RunFolderError("is damaged: a cluster is no hash", where=str(where), help="run again") from None


def load(run: RunFolder, manifest: Mapping[str, Any], task: Mapping[str, Any]) -> Rows:
    """Read one task of a run back as columns, with the scores of every reward; texts stay where they are.

    Args:
        run: the folder.
        manifest: its manifest.
        task: the task's entry in ``manifest["resolved"]["tasks"]``.
    """
    found = _Samples(task["aspects"])
    humans = {f"human.{aspect}": pa.float64() for aspect in task["aspects"]}
    kinds = {**{name: SAMPLES[name] for name in READ}, **humans}
    paths = [run.path / name for name in run.names(sample_folder(task["name"]))]
    for path in paths:
        found.add(hold(read_part(path, [*kinds, "seed"]), kinds, path), path)
    if not paths or found.rows != task["rows"]:
        raise RunFolderError(
            f"samples of task {task['name']!r} are incomplete", where=str(run.path), help="finish it with --resume"
        )
    candidate = np.concatenate(found.candidate)
    systems, system = found.sorted_systems()
    better, worse = np.array(found.pairs, dtype=np.int64).reshape(-1, 2).T.copy()
    return Rows(
        task=task["name"], version=task["version"], kind=task["kind"], split=task["split"], label=task["label"],
        languages=tuple(task["languages"]), aspects=tuple(task["aspects"]), main=task["main"], good=task["good"],
        ids=Stored(paths, found.sample_ends, "id", str, first=True),
        sample=np.cumsum(candidate == 0) - 1, candidate=candidate, systems=systems, system=system,
        cluster=np.unique(np.concatenate(found.cluster), return_inverse=True)[1].astype(np.int64),
        subset=tuple(found.subset),
        texts=Stored(paths, found.ends, "text", str, first=False),
        references=Stored(paths, found.sample_ends, "references", lambda given: tuple(given or ()), first=True),
        human={aspect: _joined(columns) for aspect, columns in found.human.items()},
        better=better, worse=worse, preference_subset=tuple(found.named),
        rewards=_rewards(run, manifest, task),
        seed=manifest["resolved"]["seeds"][0], limit=manifest["resolved"]["limit"],
        prompts=Stored(paths, found.sample_ends, "prompt", str, first=True),
        written=tuple(found.written),
    )  # fmt: skip


def _seeds(table: pa.Table) -> list[int | None]:
    """Return the seed of the policy that wrote each row; runs of earlier versions hold none."""
    return table["seed"].to_pylist() if "seed" in table.column_names else [None] * table.num_rows


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
