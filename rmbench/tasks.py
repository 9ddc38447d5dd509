"""Task folders and bare files -> ``Task``, and their rows -> ``Sample``: streamed, strict, nothing repaired."""

from __future__ import annotations

import hashlib
import os
import re
import warnings
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from rmbench.api import KINDS, Sample, Task
from rmbench.card import CARD, load_card
from rmbench.checks import HopelessError, Once, Place, Problems, show, silent, suggest
from rmbench.datafile import check_format, digest_of, is_folder, open_regular, state, stem
from rmbench.errors import InputError
from rmbench.ids import Ids
from rmbench.preferences import Shape, row_from, shape_of
from rmbench.records import records
from rmbench.responses import read_responses
from rmbench.samples import kind_in, sample_from
from rmbench.shards import digest, files, is_saved, splits

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from io import BufferedReader

    Warn = Callable[[str], None]

__all__ = [
    "bare_task",
    "content_sha",
    "digest",
    "kind_of",
    "load_task",
    "load_tasks",
    "open_task",
    "read",
    "read_responses",
]


def load_task(folder: Path) -> Task:
    """Return the task whose card, ``task.toml``, lies in this folder.

    Raises:
        InputError: the card is missing or wrong; ``InputErrors`` for several problems.
    """
    card = Path(folder) / CARD
    if is_folder(Path(folder)) and not os.path.lexists(card):
        what = f"a folder without {CARD}, expected a task folder or a data file"
        raise InputError(what, where=str(folder), help="name the file of rows, or write a card beside it")
    return load_card(card)


def load_tasks(folder: Path) -> list[Task]:
    """Return the tasks of every sub-folder that has a ``task.toml``, sorted by name.

    Raises:
        InputError: there is no such folder, a card is wrong, or two tasks have one name.
    """
    if not is_folder(Path(folder)):
        raise InputError("a file, expected a folder of task folders", where=str(folder), help="name a folder")
    problems = Problems()
    found: dict[str, tuple[Task, Path]] = {}
    for card in sorted(Path(folder).glob(f"*/{CARD}")):
        try:
            task = load_card(card)
        except InputError as error:
            problems.add(error)
            continue
        if task.name in found:
            what = f"the name {show(task.name)} is that of {found[task.name][1]} too"
            problems.add(InputError(what, where=str(card), help="give every task a name of its own"))
        found[task.name] = (task, card)
    problems.raise_any()
    return [found[name][0] for name in sorted(found)]


def bare_task(path: Path, kind: str | None = None) -> Task:
    """Return a file without a card as a task: named like the file, its rows all of split ``test``.

    Args:
        path: a file of rows, or of preferences as TRL, RewardBench or RM-Bench write them.
        kind: the kind, where the rows do not say it (see ``kind_of``).

    Raises:
        InputError: no such kind, or a file type that cannot be read.
    """
    path = Path(path)
    _check_given(kind)
    check_format(path)
    return Task(
        name=legal_name(_stem(path), os.fsencode(path.name)), version=1, kind=kind, data={"test": path}, bare=True
    )


def saved_task(folder: Path, kind: str | None = None) -> Task:
    """Return a folder that ``datasets`` saved or exported as Parquet as a task, named like the folder.

    Raises:
        InputError: no such kind, no split ``test``, or the folder is damaged.
    """
    _check_given(kind)
    return Task(
        name=legal_name(_stem(folder), os.fsencode(folder.name)), version=1, kind=kind, data=splits(folder), bare=True
    )


def _check_given(kind: str | None) -> None:
    if kind is not None and kind not in KINDS:
        raise InputError(f"no kind {show(kind)}", help=suggest(kind, KINDS))


def open_task(path: Path, kind: str | None = None) -> Task:
    """Return the task of a folder (its card, or as ``datasets`` saves one) or of a bare file.

    ``kind`` is meant for tasks without a card.
    """
    path = Path(path)
    if is_folder(path):
        return saved_task(path, kind) if not (path / CARD).exists() and is_saved(path) else load_task(path)
    return load_card(path) if path.name == CARD else bare_task(path, kind)


def kind_of(task: Task, split: str = "test") -> str | None:
    """Return the task's kind: its own, else that which all rows of the split state, else None."""
    if task.kind is not None:
        return task.kind
    problems, kinds = Problems(), set()
    for path in files(_split(task, split)):
        with open_regular(path) as stream:
            for line, record in records(stream, path, problems):
                kinds.add(kind_in(record, Place(f"{path}:{line}")))
    problems.raise_any()
    return kinds.pop() if len(kinds) == 1 else None


def content_sha(task: Task, split: str = "test") -> str:
    """Return the sha256 of the split's file, of several: that of theirs."""
    return digest(_split(task, split))


def _warn(message: str) -> None:
    warnings.warn(message, stacklevel=2)


def read(task: Task, split: str = "test", warn: Warn = _warn) -> Iterator[Sample]:
    """Yield the samples of a split in file order, each checked; memory holds one row and the ids.

    After the first wrong row nothing more is yielded: the rest is only checked, and up to 20 problems are
    raised together at the end. What is odd but no error goes to ``warn``, each thing once.

    Raises:
        InputError: no such split or file, another sha256 than the card's, a wrong row, an id given
            twice, no row at all, or a file that changed while it was read.
        EnvironmentFault: the file cannot be read.
    """
    path = _split(task, split)
    problems, rows = Problems(), _Rows(task, path, Once(str(path), warn))
    for file in files(path):
        with open_regular(file) as stream:
            before = state(stream)
            _check_sha256(task, file, stream)
            for line, record in records(stream, file, problems, rows.warn):
                try:
                    sample = rows.sample(record, file, line)
                except HopelessError as error:
                    problems.add(error)
                    break
                except InputError as error:
                    problems.add(error)
                else:
                    if not problems:
                        yield sample
            if state(stream) != before:
                raise InputError(
                    "the file changed while it was read", where=str(file), help="run again when it is complete"
                )
        rows.next_file()
    problems.raise_any()
    rows.finish()


@dataclass(slots=True)
class _Rows:
    """What is remembered from row to row: ids, warnings given, and the shape of a preference file."""

    task: Task
    path: Path
    warn: Once
    ids: Ids = field(init=False)
    shape: Shape | None = None
    first: bool = True
    equal: int = 0
    promptless: int = 0
    before: int = 0  # lines of the files that were read already
    last: int = 0
    empty: int = 0
    stem: str = ""

    def __post_init__(self) -> None:
        """Work out once what rows without an id are called after."""
        self.stem = _stem(self.path)
        self.ids = Ids(self._again)

    def _again(self, line: int) -> str:
        """Return the id of a line that was read, counted over all files."""
        rows = _Rows(self.task, self.path, Once(str(self.path), silent), shape=self.shape, first=False)
        for file in files(self.path):
            with open_regular(file) as stream:
                for rows.last, record in records(stream, file, Problems()):
                    if rows.before + rows.last == line:
                        return rows.sample(record, file, rows.last).id
            rows.next_file()
        return ""  # the file is another by now, which is an error of its own

    def next_file(self) -> None:
        """Take the lines of the next file as those behind the ones that were read."""
        self.before, self.last = self.before + self.last, 0

    def sample(self, record: dict[str, Any], file: Path, line: int) -> Sample:
        """Return the sample of a record; its id must be new."""
        at = Place(f"{file}:{line}", "", self.warn)
        self.last, line = line, self.before + line
        default_id = f"{self.stem}-{line}"
        row = self._row(record, at, default_id) if self.task.bare else record
        sample = sample_from({"id": default_id} | row, where=at.where, task=self.task, warn=self.warn)
        earlier = self.ids.add(sample.id, line)
        if earlier is not None:
            place = "line" if file == self.path else "row"
            raise at.error(
                f"the id {show(sample.id)} stands in {place} {earlier} too", "give every row an id of its own"
            )
        self.empty += not all(each.text for each in sample.candidates)
        return sample

    def _row(self, record: dict[str, Any], at: Place, default_id: str) -> dict[str, Any]:
        if self.first:
            self.shape, self.first = shape_of(record, at), False
        if self.shape is None:
            return record
        row = row_from(record, at, self.shape, default_id=default_id)
        self.equal += bool(row["ties"])
        self.promptless += row.get("prompt") == ""
        return row

    def finish(self) -> None:
        """Raise where there was no row, and warn with counts of what was odd."""
        if not self.ids:
            raise InputError("0 rows, expected at least one", where=str(self.path), help="write rows into it")
        if self.equal:
            self.warn(f"in {self.equal} rows chosen equals rejected: a tie, not a preference")
        if self.promptless:
            self.warn(f"in {self.promptless} rows the prompt is empty")
        if self.empty:
            self.warn(f"in {self.empty} rows an answer is empty")


def _split(task: Task, split: str) -> Path:
    """Return the file of a split, or what stands for several (see ``shards.files``)."""
    if split not in task.data:
        raise InputError(f"task {task.name} has no split {show(split)}", help=suggest(split, task.data))
    return task.data[split]


def _check_sha256(task: Task, path: Path, stream: BufferedReader) -> None:
    stated = {
        value
        for name, value in task.sha256.items()
        if path.parts[-len(PurePosixPath(name).parts) :] == PurePosixPath(name).parts
    }
    if not stated:
        return
    found = digest_of(stream)
    if found not in stated:
        raise InputError(
            f"the file's sha256 is {found}, the card says {min(stated)}",
            where=str(path),
            help="get the file again; where the change is meant, correct [sha256] and raise the version",
        )


def _stem(path: Path) -> str:
    return stem(path).removesuffix("-*").encode("utf-8", "replace").decode("utf-8")


def legal_name(name: str, whole: bytes) -> str:
    """Return a name in lower-kebab; one without any Latin letter or digit becomes a hash of ``whole``."""
    return re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-") or "task-" + hashlib.sha256(whole).hexdigest()[:8]
