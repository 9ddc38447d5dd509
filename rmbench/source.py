"""A task's samples as the engine reads them: validated once, limited, cut into fixed parts of rows."""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import TYPE_CHECKING

from rmbench import tasks
from rmbench.api import Batch, Candidate, Label
from rmbench.errors import InputError
from rmbench.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.api import Sample, Task

PART_ROWS = 2048
BATCH_ROWS = 256


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
    ``columns`` are the batch columns that at least one row fills; ``spool`` has the samples themselves, those that
    are taken under a limit. ``awaited``: how many candidates policies are to add to each sample (``rows`` counts them
    already), ``written`` what they have added.
    """

    task: Task
    kind: str | None
    sha256: str
    samples: int
    rows: int
    columns: frozenset[str]
    spool: Spool
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
        for sample in self.spool:
            yield self._with_written(sample) if self.written else sample

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
    aspects: dict[str, None] = {}
    spool, tally = Spool(), Tally(awaited)
    for sample in tasks.read(task, "test", warn=warnings.append):
        if sample.candidates or awaited:
            subsets += [] if limit is None else [(sample.id, sample.subset)]
            spool.add(sample)
            tally.add(sample)
            aspects.update(dict.fromkeys(aspect for candidate in sample.candidates for aspect in candidate.human))
    if not tally.samples:
        raise InputError(
            f"task {task.name!r} has no candidates to score", where=str(task.data["test"]),
            help="rows need candidates (outputs of systems), or chosen and rejected",
        )  # fmt: skip
    if limit is not None and limit < tally.samples:
        spool, tally = _only(spool, _take(subsets, limit, seed), awaited)
    task, main_from = settled(task, list(aspects), warnings)
    columns = tally.columns | ({"languages"} if task.languages else set())
    return Source(
        task, tasks.kind_of(task), tasks.digest(task.data["test"]), tally.samples, tally.rows, frozenset(columns),
        spool, tuple(warnings), main_from, awaited,
    )  # fmt: skip


class Tally:
    """What the samples of a task come to: how many, their rows, and the batch columns that they fill."""

    def __init__(self, awaited: int) -> None:
        """Take how many rows policies are to add to each sample."""
        self.awaited = awaited
        self.samples = self.rows = 0
        self.columns = {"messages", "prompts", "responses"}

    def add(self, sample: Sample) -> None:
        """Take one more."""
        self.samples += 1
        self.rows += len(sample.candidates) + self.awaited
        if sample.references:
            self.columns.add("references")
        if sample.context is not None:
            self.columns.add("contexts")
        if sample.meta:
            self.columns.add("meta")
        for candidate in sample.candidates:
            if candidate.human or candidate.raters:
                self.columns.add("labels")
            if candidate.model_scores:
                self.columns.add("scores")


def _only(spool: Spool, taken: frozenset[str], awaited: int) -> tuple[Spool, Tally]:
    """Return the samples of these ids, and what they come to."""
    kept, tally = Spool(), Tally(awaited)
    for sample in spool:
        if sample.id in taken:
            kept.add(sample)
            tally.add(sample)
    return kept, tally


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
