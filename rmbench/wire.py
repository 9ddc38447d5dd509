"""Messages between the driver and a worker: a length, then JSON. Names, options and rows only, no code."""

from __future__ import annotations

import json
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench.api import EMPTY, Batch, Label, Turn
from rmbench.frozen import freeze, thaw

if TYPE_CHECKING:
    from collections.abc import Callable

HEADER = struct.Struct(">Q")
LIMIT = 2**32


def encode(message: Any) -> bytes:
    """Return the frame of a message. Non-finite numbers never travel."""
    body = json.dumps(message, allow_nan=False, separators=(",", ":")).encode()
    return HEADER.pack(len(body)) + body


def decode(read: Callable[[int], bytes]) -> Any:
    """Read one message with ``read(n) -> exactly n bytes``."""
    (size,) = HEADER.unpack(read(HEADER.size))
    if size > LIMIT:
        raise ValueError(f"a message of {size} bytes")
    return json.loads(read(size))


def pack(batch: Batch) -> dict[str, Any]:
    """Return a batch as JSON values; what most rows lack, or say twice, is None: a column, or a row of it."""
    alone = [turns == (Turn("user", said),) for turns, said in zip(batch.messages, batch.prompts, strict=True)]
    messages = [None if one else list(map(_pair, turns)) for one, turns in zip(alone, batch.messages, strict=True)]
    same = len(set(batch.languages)) == 1
    return {
        "ids": batch.ids,
        "groups": batch.groups,
        "messages": None if all(alone) else messages,
        "prompts": batch.prompts,
        "contexts": batch.contexts if any(text is not None for text in batch.contexts) else None,
        "responses": batch.responses,
        "references": batch.references if any(batch.references) else None,
        "languages": batch.languages[:1] if same else batch.languages,
        "scores": dict(batch.scores),
        "labels": [(dict(lab.human), dict(lab.raters), lab.main) for lab in batch.labels],
        "meta": [thaw(meta) if meta else None for meta in batch.meta] if any(batch.meta) else len(batch.meta),
    }


def _pair(turn: Turn) -> tuple[str, str]:
    return turn.role, turn.content


def unpack(packed: dict[str, Any]) -> Batch:
    """Return the batch of ``pack``; every column is a tuple, so that a write raises."""
    rows, prompts = len(packed["ids"]), packed["prompts"]
    messages, languages, meta = packed["messages"] or [None] * rows, packed["languages"], packed["meta"]
    languages = tuple(tuple(codes) for codes in languages)
    return Batch(
        ids=tuple(packed["ids"]),
        groups=tuple(packed["groups"]),
        messages=tuple(
            (Turn("user", prompt),) if turns is None else tuple(Turn(role, content) for role, content in turns)
            for turns, prompt in zip(messages, prompts, strict=True)
        ),
        prompts=tuple(prompts),
        contexts=(None,) * rows if packed["contexts"] is None else tuple(packed["contexts"]),
        responses=tuple(packed["responses"]),
        references=((),) * rows if packed["references"] is None else tuple(map(tuple, packed["references"])),
        languages=languages * rows if len(languages) == 1 else languages,
        scores=MappingProxyType({name: tuple(column) for name, column in packed["scores"].items()}),
        labels=tuple(
            Label(MappingProxyType(human), MappingProxyType({k: tuple(v) for k, v in raters.items()}), main)
            for human, raters, main in packed["labels"]
        ),
        meta=(EMPTY,) * meta if isinstance(meta, int) else tuple(freeze(each) if each else EMPTY for each in meta),
    )
