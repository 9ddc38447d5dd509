"""Rows of a batch as token ids for the models that read tokens: the kernel's encoder, and what is done with long rows.

By default a row that is too long loses the beginning of its prompt, as in the reward ``hf``, and where the response
alone is too long, its end, so that every row has a score; ``left`` leaves such a row without one.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.kernel.models.encode import CUT, Encoded, Encoder, Format
from rmbench.prompts import prompts_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rmbench.api import Batch
    from rmbench.judged import Judgements


@dataclass(frozen=True, slots=True)
class Read:
    """Both splits as token ids; ``judgements`` without the pairs and labels of rows that cannot be read."""

    judgements: Judgements
    rows: Mapping[str, list[Encoded]]
    notes: tuple[str, ...]


class Reader:
    """Turns the rows of a batch into token ids.

    Args:
        tokenizer: a transformers tokenizer; its chat template is used where it has one.
        max_length: most tokens of a row.
        truncation: ``left`` or ``both`` (see above).
        where: the tokenizer's place, for errors.
    """

    def __init__(self, tokenizer: Any, *, max_length: int, truncation: str, where: str = "tokenizer") -> None:
        template = tokenizer.chat_template
        self.max_length, self.both = max_length, truncation == "both"
        self.cut = Encoder(tokenizer, Format(max_length, "left", template), where=where)
        self.whole = Encoder(tokenizer, Format(None, "left", template), where=where)

    def __call__(self, batch: Batch) -> list[Encoded]:
        """Return one record per row, in order; a row that cannot be read has a reason."""
        prompts = prompts_of(batch)
        rows = self.cut(prompts, batch.responses)
        long = [row for row, one in enumerate(rows) if one.reason == CUT] if self.both else []
        if long:
            full = self.whole([prompts[row] for row in long], [batch.responses[row] for row in long])
            for row, one in zip(long, full, strict=True):
                rows[row] = self._shortened(one)
        return rows

    def _shortened(self, row: Encoded) -> Encoded:
        """Return a row without its prompt and without the end of its response; what stands around both is kept."""
        ids = row.ids
        head = ids[: int(ids[0] == self.cut.bos)]
        tail = ids[len(ids) - int(ids[-1] == self.cut.eos) :]
        body = ids[max(row.prompt, len(head)) : len(ids) - len(tail)]
        kept = np.concatenate([head, body[: self.max_length - len(head) - len(tail)], tail])
        return Encoded(kept, len(head), len(ids) - len(kept))


def texts_of(judgements: Judgements) -> list[str]:
    """Return the texts of train that a tokenizer is learnt from: each turn once, and each response."""
    batch = judgements.train.batch
    turns = dict.fromkeys(turn.content for messages in batch.messages for turn in messages)
    return [*turns, *dict.fromkeys(batch.responses)]


def read(judgements: Judgements, reader: Reader) -> Read:
    """Encode both splits and leave out what cannot be read.

    Raises:
        InputError: of train's labels nothing is left.
    """
    splits = {"train": judgements.train, "dev": judgements.dev}
    rows = {name: reader(split.batch) for name, split in splits.items()}
    notes = tuple(note for name in splits for note in _notes(name, rows[name], reader.max_length))
    lost = {name: {row for row, one in enumerate(rows[name]) if one.reason is not None} for name in splits}
    left = {name: split.without(lost[name]) for name, split in splits.items()}
    if not left["train"].pairs and not any(target is not None for target in left["train"].targets):
        reasons = Counter(one.reason for one in rows["train"] if one.reason is not None)
        raise InputError(
            f"none of train's {len(rows['train']):,} rows can be read with its label: {', '.join(map(str, reasons))}",
            where=judgements.task.name, help="raise max_length, or truncation = both",
        )  # fmt: skip
    return Read(replace(judgements, train=left["train"], dev=left["dev"]), rows, notes)


def _notes(name: str, rows: Sequence[Encoded], max_length: int) -> list[str]:
    """Say in words what of a split was not read whole."""
    cut = sum(one.cut > 0 for one in rows)
    lost = sum(one.reason is not None for one in rows)
    words = [f"{name}: {cut:,} of {len(rows):,} rows are longer than {max_length:,} tokens and were cut"] if cut else []
    return [*words, f"{name}: {lost:,} rows could not be read and were left out"] if lost else words


def columns(rows: Sequence[Encoded], scores: Sequence[float]) -> dict[str, list[float | NoScore | None]]:
    """Return the columns score, tokens and cut; ``scores`` are those of the rows that can be read, in order."""
    found = iter(scores)
    return {
        "score": [float(next(found)) if one.reason is None else NoScore(one.reason) for one in rows],
        "tokens": [float(len(one.ids)) for one in rows],
        "cut": [float(one.cut) for one in rows],
    }
