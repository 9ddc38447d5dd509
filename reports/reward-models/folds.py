"""Data sets cut into folds by prompt, as task folders; and the folds' scores put back beside the texts.

Samples with one group (a prompt, or the first message of a dialogue) are always in the same fold, and in the same part
of it. What goes where depends on the group's own text and the seed only.
"""

from __future__ import annotations

import hashlib
import json
import math
import tomllib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from rmbench.store import write_whole

Row = dict[str, Any]
Scores = Mapping[tuple[str, int], Mapping[str, float | None]]  # by sample id and candidate, then by reward

FOLDS = 5
DEV = 10  # every so many-th group of what is not held out decides when to stop
KEPT = ("kind", "description", "licence", "source", "languages")


@dataclass(frozen=True, slots=True)
class DataSet:
    """One data set: the files that are pooled, and what must not be in two folds.

    Attributes:
        name: of the task, as its card has it.
        folder: in the folder of the data.
        group: ``prompt``, or ``opening``: the first message, in lower case, spaces joined.
    """

    name: str
    folder: str
    group: Literal["prompt", "opening"] = "prompt"

    def card(self, data: Path) -> dict[str, Any]:
        """Return the card of the data set."""
        return tomllib.loads((data / self.folder / "task.toml").read_text(encoding="utf-8"))

    def files(self, data: Path) -> list[Path]:
        """Return the files that are pooled: train, dev and test, those there are."""
        named = self.card(data)["data"]
        return [data / self.folder / named[split] for split in ("train", "dev", "test") if split in named]

    def rows(self, data: Path) -> list[Row]:
        """Return the samples of all files, in order."""
        lines = [line for path in self.files(data) for line in path.read_bytes().split(b"\n")]
        return [json.loads(line) for line in lines if line.strip()]

    def key(self, row: Row) -> str:
        """Return the group of a sample."""
        text = row["messages"][0]["content"].lower() if self.group == "opening" else row["prompt"]
        return " ".join(text.split())


@dataclass(frozen=True, slots=True)
class Parts:
    """What one fold learns from, what decides when it stops, and what it is measured on."""

    train: list[Row]
    dev: list[Row]
    test: list[Row]


def order(keys: Iterable[str], seed: int, word: str) -> list[str]:
    """Return the distinct keys in an order that depends on each key, the seed and the word only."""
    return sorted(dict.fromkeys(keys), key=lambda key: hashlib.sha256(f"{seed}\0{word}\0{key}".encode()).digest())


def fold_of(keys: Iterable[str], seed: int, folds: int = FOLDS) -> dict[str, int]:
    """Return the fold of each group, from 0: all have as many groups, or one more."""
    return {key: place % folds for place, key in enumerate(order(keys, seed, "fold"))}


def part(
    rows: Sequence[Row], keys: Sequence[str], fold: int, *, seed: int, folds: int = FOLDS, share: float = 1.0
) -> Parts:  # fmt: skip
    """Return one fold.

    Args:
        rows: all samples.
        keys: the group of each.
        fold: which one is held out.
        seed: of the folds.
        folds: how many there are.
        share: of the training groups that are kept, above 0, at most 1. Dev and test are the same for all shares, and a
            smaller share is part of a larger one.
    """
    places = fold_of(keys, seed, folds)
    rest = [key for key in order(keys, seed, "part") if places[key] != fold]
    dev, train = set(rest[::DEV]), [key for place, key in enumerate(rest) if place % DEV]
    kept = set(train[: math.ceil(share * len(train))])
    keyed = list(zip(rows, keys, strict=True))
    return Parts(
        [row for row, key in keyed if key in kept], [row for row, key in keyed if key in dev],
        [row for row, key in keyed if places[key] == fold],
    )  # fmt: skip


def write_task(folder: Path, name: str, card: Mapping[str, Any], files: Mapping[str, Sequence[Row]]) -> Path:
    """Write a task folder: a card like another one's, with these files by split."""
    folder.mkdir(parents=True, exist_ok=True)
    for split, rows in files.items():
        text = "".join(json.dumps(row, ensure_ascii=False, allow_nan=False) + "\n" for row in rows)
        write_whole(folder / f"{split}.jsonl", text.encode())
    lines = [f"name = {json.dumps(name)}", f"version = {card['version']}"]
    lines += [f"{key} = {json.dumps(card[key])}" for key in KEPT if key in card]
    lines += ["[data]", *(f'{split} = "{split}.jsonl"' for split in files)]
    if "human" in card:
        lines += ["[human]", *(f"{key} = {json.dumps(value)}" for key, value in card["human"].items())]
    write_whole(folder / "task.toml", ("\n".join(lines) + "\n").encode())
    return folder


def merged(rows: Sequence[Row], scores: Scores, names: Sequence[str]) -> list[Row]:
    """Return the samples with the scores of these rewards as ``model_scores`` of their candidates.

    A text without a score has none. A text that no fold scored is a ``KeyError``.
    """
    return [
        {**row, "candidates": [
            {**candidate, "model_scores": _known(scores[row["id"], place], names)}
            for place, candidate in enumerate(row["candidates"])
        ]}
        for row in rows
    ]  # fmt: skip


def _known(found: Mapping[str, float | None], names: Sequence[str]) -> dict[str, float]:
    return {name: score for name in names if (score := found[name]) is not None}


SETS = (
    DataSet("hh-harmless", "hh-harmless", "opening"),
    DataSet("qa-feedback", "qa-feedback"),
    DataSet("summeval", "summeval"),
    DataSet("usr-topicalchat", "usr_topicalchat"),
    DataSet("grade", "grade"),
)
