"""Samples that were checked, for the passes that follow: in memory while they are few, else in a temporary file.

A pass over the spool checks nothing again and unpacks nothing: it costs a fraction of reading the data file, whatever
its format, and holds a block of samples at a time.
"""

from __future__ import annotations

import marshal
import os
import tempfile
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench.api import EMPTY, Candidate, Preference, Sample, Turn
from rmbench.frozen import freeze, thaw
from rmbench.store import faults

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import BinaryIO

KEPT = 256 * 2**20  # bytes of samples, about, that stay in memory
BLOCK = 2**20  # bytes, about, that are written and read at a time
SAMPLE, CANDIDATE = 900, 500  # bytes that their records take beside the texts, about


class Spool:
    """Samples in order: first all are added, then any number of passes read them, several at a time too."""

    def __init__(self, kept: int = KEPT) -> None:
        """Take how many bytes may stay in memory."""
        self.most, self.held = kept, 0
        self.samples: list[Sample] = []
        self.blocks: list[tuple[int, int]] = []
        self.file: BinaryIO | None = None

    def add(self, sample: Sample) -> None:
        """Take the next sample.

        Raises:
            EnvironmentFault: the temporary file cannot be written.
        """
        self.samples.append(sample)
        self.held += size(sample)
        if self.held > (BLOCK if self.file else self.most):
            self._write()

    def _write(self) -> None:
        """Move the samples in memory to the file, a block at a time."""
        with faults(Path(tempfile.gettempdir())):
            self.file = self.file or tempfile.TemporaryFile(prefix="rmbench-", buffering=0)  # noqa: SIM115 - as long as we
            block: list[Any] = []
            held = 0
            for sample in self.samples:
                block.append(_packed(sample))
                held += size(sample)
                if held >= BLOCK:
                    self._append(marshal.dumps(block))
                    block, held = [], 0
            if block:
                self._append(marshal.dumps(block))
        self.samples, self.held = [], 0

    def _append(self, data: bytes) -> None:
        if self.file is not None:
            start = sum(self.blocks[-1]) if self.blocks else 0
            rest = memoryview(data)
            while rest:
                rest = rest[os.write(self.file.fileno(), rest) :]
            self.blocks.append((start, len(data)))

    def __iter__(self) -> Iterator[Sample]:
        """Yield the samples: those of the file, a block at a time, then those in memory."""
        if self.file is not None:
            for start, length in self.blocks:
                for each in marshal.loads(_exactly(self.file.fileno(), start, length)):  # noqa: S302 - our own, of this process
                    yield _unpacked(each)
        yield from self.samples


def size(sample: Sample) -> int:
    """Return how many bytes a sample takes in memory, about."""
    texts = len(sample.prompt) + sum(map(len, sample.references)) + len(sample.context or "")
    if len(sample.messages) > 1:
        texts += sum(len(turn.content) for turn in sample.messages)
    return SAMPLE + texts + sum(CANDIDATE + len(one.text) for one in sample.candidates)


def _exactly(file: int, start: int, length: int) -> bytes:
    parts = []
    while length:
        part = os.pread(file, length, start)
        if not part:
            raise EOFError("the temporary file of the samples was cut short")
        parts.append(part)
        start, length = start + len(part), length - len(part)
    return b"".join(parts)


def _packed(sample: Sample) -> tuple[Any, ...]:
    """Return a sample as what marshal takes; messages that are the prompt alone are left out."""
    alone = len(sample.messages) == 1 and sample.messages[0] == Turn("user", sample.prompt)
    return (
        sample.id,
        sample.prompt,
        None if alone else [(turn.role, turn.content) for turn in sample.messages],
        sample.context,
        sample.references,
        sample.subset,
        [
            (
                one.system,
                one.text,
                dict(one.human) or None,
                dict(one.raters) or None,
                dict(one.model_scores) or None,
                thaw(one.meta) or None,
                one.seed,
            )
            for one in sample.candidates
        ],
        [(each.better, each.worse, each.subset) for each in sample.preferences],
        sample.ties,
        thaw(sample.meta) or None,
    )


def _unpacked(packed: tuple[Any, ...]) -> Sample:
    name, prompt, messages, context, references, subset, candidates, preferences, ties, meta = packed
    return Sample(
        name,
        prompt,
        (Turn("user", prompt),) if messages is None else tuple(Turn(*each) for each in messages),
        context,
        references,
        subset,
        tuple(
            Candidate(system, text, _fixed(human), _fixed(raters), _fixed(scores), freeze(own) if own else EMPTY, seed)
            for system, text, human, raters, scores, own, seed in candidates
        ),
        tuple(Preference(*each) for each in preferences),
        ties,
        freeze(meta) if meta else EMPTY,
    )


def _fixed(value: dict[str, Any] | None) -> Mapping[str, Any]:
    return MappingProxyType(value) if value else EMPTY
