"""Messages between the driver and a worker: a length, then JSON. Names, options and rows only, no code."""

from __future__ import annotations

import json
import struct
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench.api import Batch, Label, Turn
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
    """Return a batch as JSON values."""
    return {
        "ids": batch.ids,
        "groups": batch.groups,
        "messages": [[(turn.role, turn.content) for turn in turns] for turns in batch.messages],
        "prompts": batch.prompts,
        "contexts": batch.contexts,
        "responses": batch.responses,
        "references": batch.references,
        "languages": batch.languages,
        "scores": dict(batch.scores),
        "labels": [(dict(lab.human), dict(lab.raters), lab.main) for lab in batch.labels],
        "meta": [thaw(meta) for meta in batch.meta],
    }


def unpack(packed: dict[str, Any]) -> Batch:
    """Return the batch of ``pack``; every column is a tuple, so that a write raises."""
    return Batch(
        ids=tuple(packed["ids"]),
        groups=tuple(packed["groups"]),
        messages=tuple(tuple(Turn(role, content) for role, content in turns) for turns in packed["messages"]),
        prompts=tuple(packed["prompts"]),
        contexts=tuple(packed["contexts"]),
        responses=tuple(packed["responses"]),
        references=tuple(tuple(texts) for texts in packed["references"]),
        languages=tuple(tuple(codes) for codes in packed["languages"]),
        scores=MappingProxyType({name: tuple(column) for name, column in packed["scores"].items()}),
        labels=tuple(
            Label(MappingProxyType(human), MappingProxyType({k: tuple(v) for k, v in raters.items()}), main)
            for human, raters, main in packed["labels"]
        ),
        meta=tuple(freeze(meta) for meta in packed["meta"]),
    )
