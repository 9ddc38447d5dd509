"""A task's samples as the engine reads them: validated once, limited, cut into fixed parts of rows."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rmbench import shards, tasks
from rmbench.api import Batch, Candidate, Label
from rmbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.api import Sample, Task

PART_ROWS = 2048
BATCH_ROWS = 256
KEEP_BYTES = 256 * 2**20


@dataclass(frozen=True, slots=True)
class Part:
    """A fixed range of rows: whole samples, starting at row ``start``; ``index`` counts from 0."""

    index: int
    start: int
    samples: tuple[Sample, ...]

    @property
    def rows(self) -> int:
        """Number of candidates."""
        return sum(len(sample.candidates) for sample in self.samples)


@dataclass(frozen=True, slots=True)
class Written:
    """What a policy of the suite wrote with one seed: a text by sample id; ``system`` is its entry's name."""

    system: str
    seed: int
    texts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Source:
    """A validated task: what its rows hold, and which samples of it are taken.

    ``task`` has its aspects and its main one settled (``main_from`` says how: ``card``, ``only aspect``,
    ``first aspect of the data``, or None where there are no ratings).
    ``columns`` are the batch columns that at least one row fills; ``taken`` the ids under a limit (None:
    all); ``kept`` the samples themselves where the file is small enough to keep. ``awaited``: how many candidates
    policies are to add to each sample (``rows`` counts them already), ``written`` what they have added.
    """

    task: Task
    kind: str | None
    sha256: str
    samples: int
    rows: int
    columns: frozenset[str]
    taken: frozenset[str] | None
    kept: tuple[Sample, ...] | None
    warnings: tuple[str, ...]
    main_from: str | None = None
    awaited: int = 0
    written: tuple[Written, ...] = ()

    @property
    def label(self) -> str:
        """``name@version#sha8``: the task as it stands in a signature."""
        return f"{self.task.name}@{self.task.version}#{self.sha256[:8]}"

    def read(self) -> Iterator[Sample]:
        """Yield the samples taken, in file order."""
        for sample in self.kept if self.kept is not None else self._taken():
            yield self._with_written(sample) if self.written else sample

    def _taken(self) -> Iterator[Sample]:
        for sample in tasks.read(self.task, "test", warn=_ignore):
            if (sample.candidates or self.awaited) and (self.taken is None or sample.id in self.taken):
                yield sample

    def _with_written(self, sample: Sample) -> Sample:
        new = (Candidate(one.system, one.texts[sample.id], seed=one.seed) for one in self.written)
        return replace(sample, candidates=(*sample.candidates, *new))

    def with_written(self, written: Sequence[Written]) -> Source:
        """Return the source with what policies wrote as candidates of its samples."""
        own = self.rows - self.awaited * self.samples
        return replace(self, written=tuple(written), rows=own + len(written) * self.samples)

    def parts(self) -> Iterator[Part]:
        """Yield the parts: whole samples, up to PART_ROWS rows, a function of the rows alone."""
        held: list[Sample] = []
        index, start, rows = 0, 0, 0
        for sample in self.read():
            if held and rows + len(sample.candidates) > PART_ROWS:
                yield Part(index, start, tuple(held))
                index, start, held, rows = index + 1, start + rows, [], 0
            held.append(sample)
            rows += len(sample.candidates)
        if held:
            yield Part(index, start, tuple(held))


def _ignore(_: str) -> None:
    """Take a warning that was already given when the task was opened."""


def _columns(sample: Sample) -> set[str]:
    filled = {"messages", "prompts", "responses"}
    filled |= {"references"} if sample.references else set()
    filled |= {"contexts"} if sample.context is not None else set()
    filled |= {"meta"} if sample.meta else set()
    for candidate in sample.candidates:
        filled |= {"labels"} if candidate.human or candidate.raters else set()
        filled |= {"scores"} if candidate.model_scores else set()
    return filled


def _take(subsets: Sequence[tuple[str, str | None]], limit: int, seed: int) -> frozenset[str]:
    """Choose ``limit`` sample ids, each subset in proportion (largest remainders), by a seeded hash."""
    sizes = Counter(subset for _, subset in subsets)
    exact = {subset: limit * size / len(subsets) for subset, size in sizes.items()}
    quota = {subset: math.floor(share) for subset, share in exact.items()}
    by_remainder = sorted(exact, key=lambda s: (quota[s] - exact[s], str(s)))
    for subset in by_remainder[: limit - sum(quota.values())]:
        quota[subset] += 1
    order = sorted(subsets, key=lambda pair: hashlib.sha256(f"{seed}\0{pair[0]}".encode()).digest())
    taken = []
    for name, subset in order:
        if quota[subset]:
            quota[subset] -= 1
            taken.append(name)
    return frozenset(taken)


def settled(task: Task, aspects: Sequence[str], warnings: list[str]) -> tuple[Task, str | None]:
    """Return the task with its aspects and main one, and where that one is from.

    The card's; else the only aspect of the data; else the first one of the data, in order of the whole file, so
    that a limit does not change it. The headline and ``Label.main`` both follow.
    """
    if task.main is not None:
        return task, "card"
    if not aspects:
        return task, None
    task = replace(task, aspects=task.aspects or tuple(aspects), main=aspects[0])
    if len(task.aspects) == 1:
        return task, "only aspect"
    warnings.append(
        f"ratings of {len(task.aspects)} aspects and no card that names the main one: "
        f"{aspects[0]!r}, the first in the data, is taken for it"
    )
    return task, "first aspect of the data"


def open_source(task: Task, *, limit: int | None, seed: int, awaited: int = 0) -> Source:
    """Read a task through once: validate every row, count, and choose the samples.

    ``awaited`` candidates of each sample are to come from policies: then samples need none of their own.

    Raises:
        InputError: a row is wrong, or nothing in the task can be scored.
    """
    if "test" not in task.data:
        raise InputError(f"task {task.name!r} has no test split", help="studies measure on [data] test")
    warnings: list[str] = []
    subsets: list[tuple[str, str | None]] = []
    samples: list[Sample] = []
    aspects: dict[str, None] = {}
    path = task.data["test"]
    keep = shards.size(path) <= KEEP_BYTES
    for sample in tasks.read(task, "test", warn=warnings.append):
        if sample.candidates or awaited:
            subsets.append((sample.id, sample.subset))
            samples += [sample] if keep else []
            aspects |= dict.fromkeys(aspect for candidate in sample.candidates for aspect in candidate.human)
    if not subsets:
        raise InputError(
            f"task {task.name!r} has no candidates to score", where=str(task.data["test"]),
            help="rows need candidates (outputs of systems), or chosen and rejected",
        )  # fmt: skip
    taken = _take(subsets, limit, seed) if limit is not None and limit < len(subsets) else None
    kept = tuple(s for s in samples if taken is None or s.id in taken) if keep else None
    task, main_from = settled(task, list(aspects), warnings)
    source = Source(
        task, tasks.kind_of(task), tasks.digest(path), 0, 0, frozenset(), taken, kept, tuple(warnings), main_from,
        awaited,
    )  # fmt: skip
    columns: set[str] = {"languages"} if task.languages else set()
    rows = count = 0
    for sample in source.read():
        count, rows = count + 1, rows + len(sample.candidates) + awaited
        columns |= _columns(sample)
    return replace(source, samples=count, rows=rows, columns=frozenset(columns))


def batch(samples: Sequence[Sample], task: Task, *, labels: bool) -> Batch:
    """Make the batch of all candidates of these samples, in order."""
    rows = [(s, i, c) for s in samples for i, c in enumerate(s.candidates)]
    stored = sorted({name for _, _, c in rows for name in c.model_scores})
    return Batch(
        ids=tuple(f"{s.id}#{i}" for s, i, _ in rows),
        groups=tuple(s.id for s, _, _ in rows),
        messages=tuple(s.messages for s, _, _ in rows),
        prompts=tuple(s.prompt for s, _, _ in rows),
        contexts=tuple(s.context for s, _, _ in rows),
        responses=tuple(c.text for _, _, c in rows),
        references=tuple(s.references for s, _, _ in rows),
        languages=tuple(task.languages for _ in rows),
        scores={name: tuple(c.model_scores.get(name) for _, _, c in rows) for name in stored},
        labels=tuple(Label(c.human, c.raters, task.main) for _, _, c in rows) if labels else (),
        meta=tuple(MappingProxyType({**s.meta, **c.meta}) for s, _, c in rows),
    )


def batches(part: Part) -> Iterator[tuple[Sample, ...]]:
    """Cut a part into runs of whole samples of up to BATCH_ROWS rows."""
    held: list[Sample] = []
    rows = 0
    for sample in part.samples:
        if held and rows + len(sample.candidates) > BATCH_ROWS:
            yield tuple(held)
            held, rows = [], 0
        held.append(sample)
        rows += len(sample.candidates)
    if held:
        yield tuple(held)


def missing_needs(needs: frozenset[str], source: Source) -> str | None:
    """Say which needed columns the task lacks, or None when it has them all."""
    lacking = sorted(needs - source.columns)
    return f"needs {' and '.join(lacking)}, which the task has not" if lacking else None
