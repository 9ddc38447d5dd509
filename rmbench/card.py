"""``task.toml`` -> ``Task``: every key known, every value of its type, every file inside the folder."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from rmbench.api import KINDS, Task
from rmbench.checks import Place, Problems, items, mapping, number, show, string, suggest
from rmbench.errors import InputError
from rmbench.toml_file import line_of, table_of, text_of

CARD = "task.toml"
TASK_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEYS = (
    "name",
    "version",
    "kind",
    "description",
    "licence",
    "source",
    "citation",
    "languages",
    "data",
    "sha256",
    "human",
)
_SPLITS = ("test", "train", "dev")
_SUFFIXES = (".jsonl", ".jsonl.gz", ".parquet", ".csv")
_SHA256 = re.compile(r"[0-9a-fA-F]{64}")


def load_card(path: Path) -> Task:
    """Return the task that a card describes; up to 20 problems of it are raised together.

    Raises:
        InputError: the card is no TOML, or a key is unknown, missing, or of the wrong type or range.
    """
    text = text_of(path)
    card = _Card(path, text, table_of(path, text))
    problems, found = Problems(), {}
    for part in (_known, _name, _version, _kind, _about, _languages, _data, _sha256, _human):
        try:
            found.update(part(card))
        except InputError as error:
            problems.add(error)
    problems.raise_any()
    return Task(**found)


@dataclass(frozen=True, slots=True)
class _Card:
    """A card as text, to find lines in, and as a table."""

    path: Path
    text: str
    table: dict[str, Any]

    def at(self, key: str, table: str = "") -> Place:
        """Return the place of a key, with its line where that can be found."""
        line = line_of(self.text, key, table) or line_of(self.text, table or key)
        return Place(f"{self.path}:{line}" if line else str(self.path), f"{table}.{key}" if table else key)

    def need(self, key: str, table: str = "") -> Any:
        """Return the value of a key that must be there."""
        values = self.table[table] if table else self.table
        if key not in values:
            name = f"{table}.{key}" if table else key
            raise InputError(f"{show(name)} is missing", where=self.at(table or key).where, help="every card needs it")
        return values[key]

    def sub(self, key: str) -> dict[str, Any] | None:
        """Return the table of this name, or None."""
        return mapping(self.table[key], self.at(key)) if key in self.table else None


def _unknown(card: _Card, known: tuple[str, ...], table: str) -> None:
    problems = Problems()
    for key in card.table[table] if table else card.table:
        if key not in known:
            at = card.at(key, table)
            problems.add(at.error(f"the key {show(at.name)} is not known", suggest(key, known)))
    problems.raise_any()


def _known(card: _Card) -> dict[str, Any]:
    _unknown(card, _KEYS, "")
    return {}


def _name(card: _Card) -> dict[str, Any]:
    name = string(card.need("name"), card.at("name"))
    if not TASK_NAME.fullmatch(name):
        raise card.at("name").error(
            f'"name" is {show(name)}, expected lower-kebab letters and digits', "like news-mini"
        )
    return {"name": name}


def _version(card: _Card) -> dict[str, Any]:
    version = card.need("version")
    if isinstance(version, bool) or not isinstance(version, int):
        raise card.at("version").wrong(version, "a whole number from 1", "write version = 1")
    if not 1 <= version < 2**63:
        raise card.at("version").error(f'"version" is {version}, expected a whole number from 1', "write version = 1")
    return {"version": version}


def _kind(card: _Card) -> dict[str, Any]:
    kind = string(card.need("kind"), card.at("kind"))
    if kind not in KINDS:
        raise card.at("kind").error(f'"kind" is {show(kind)}, expected a kind', suggest(kind, KINDS))
    return {"kind": kind}


def _about(card: _Card) -> dict[str, Any]:
    fields = ("description", "licence", "source", "citation")
    return {key: string(card.table[key], card.at(key)) for key in fields if key in card.table}


def _strings(value: object, at: Place) -> tuple[str, ...]:
    found = tuple(string(each, at.item(i)) for i, each in enumerate(items(value, at)))
    if not all(found):
        raise at.error(f"{show(at.name)} has an empty entry", "name each, or leave the key out")
    return found


def _languages(card: _Card) -> dict[str, Any]:
    if "languages" not in card.table:
        return {}
    return {"languages": _strings(card.table["languages"], card.at("languages"))}


def _data(card: _Card) -> dict[str, Any]:
    card.need("data")
    data = card.sub("data") or {}
    _unknown(card, _SPLITS, "data")
    if not data:
        raise card.at("data").error("[data] names no file", 'write test = "data.jsonl"')
    return {"data": {split: _file(card.path.parent, name, card.at(split, "data")) for split, name in data.items()}}


def _file(folder: Path, value: object, at: Place) -> Path:
    """Return the path of a data file; an ``InputError`` where it would leave the folder."""
    name = string(value, at)
    path = PurePosixPath(name)
    if not name.isprintable() or not name.endswith(_SUFFIXES):
        raise at.error(
            f"{show(at.name)} is {show(name)}, expected a file of type {', '.join(_SUFFIXES)}", "name a data file"
        )
    if path.is_absolute() or ".." in path.parts or not _inside(folder, folder / path):
        raise at.error(
            f"{show(at.name)} is {show(name)}, which leaves the task's folder",
            "put the file beside the card; no links out",
        )
    return folder / path


def _inside(folder: Path, path: Path) -> bool:
    try:
        return path.resolve().is_relative_to(folder.resolve())
    except (OSError, RuntimeError):  # a loop of symbolic links
        return False


def _sha256(card: _Card) -> dict[str, Any]:
    digests = card.sub("sha256") or {}
    data = card.table.get("data")
    files = tuple(name for name in data.values() if isinstance(name, str)) if isinstance(data, dict) else ()
    for name, value in digests.items():
        at = card.at(name, "sha256")
        if name not in files:
            raise at.error(f"[sha256] names {show(name)}, which [data] does not", suggest(name, files))
        if not _SHA256.fullmatch(string(value, at)):
            raise at.error(f"{show(at.name)} is no sha256", "write the 64 digits that sha256sum prints")
    return {"sha256": {name: value.lower() for name, value in digests.items()}} if digests else {}


def _human(card: _Card) -> dict[str, Any]:
    human = card.sub("human")
    if human is None:
        return {}
    _unknown(card, ("aspects", "main", "good"), "human")
    aspects = _strings(card.need("aspects", "human"), card.at("aspects", "human"))
    if not aspects or len(set(aspects)) < len(aspects):
        raise card.at("aspects", "human").error('"human.aspects" is empty or names one twice', "name each aspect once")
    main = string(card.need("main", "human"), card.at("main", "human"))
    if main not in aspects:
        raise card.at("main", "human").error(
            f'"human.main" is {show(main)}, which is no aspect', suggest(main, aspects)
        )
    good = number(human["good"], card.at("good", "human")) if "good" in human else None
    return {"aspects": aspects, "main": main, "good": good}
