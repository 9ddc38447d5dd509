"""Files of a model folder as untrusted data: JSON without duplicate keys, short texts, names inside the folder."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath
from typing import Any

from rmbench.errors import InputError

MOST_JSON = 64 * 2**20  # bytes; tokenizer.json of large vocabularies is 35 MB
HELP = "give a local folder with config.json, model.safetensors and the tokenizer's files"


def wrong(what: str, where: Path, advice: str) -> InputError:
    """Return an error of a file."""
    return InputError(what, where=str(where), help=advice)


def read_json(path: Path) -> Any:
    """Read a JSON file without duplicate keys.

    Raises:
        InputError: it is too large, no JSON, or has a key twice.
    """
    try:
        if path.stat().st_size > MOST_JSON:
            raise wrong(f"is larger than {MOST_JSON:,} bytes", path, HELP)
        return json.loads(path.read_bytes(), object_pairs_hook=once)
    except (OSError, ValueError, RecursionError) as error:
        raise wrong(f"cannot be read: {error}", path, HELP) from error


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Return a JSON object; a ``ValueError`` where a key stands twice."""
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def object_of(path: Path, what: str) -> dict[str, Any]:
    """Return the object that a JSON file holds; an ``InputError`` where there is none (``what`` it should be)."""
    if not path.is_file():
        raise wrong(f"is missing: {what}", path, HELP)
    found = read_json(path)
    if not isinstance(found, dict):
        raise wrong("is no JSON object", path, HELP)
    return found


def inside(folder: Path, name: str, where: Path) -> Path:
    """Return a file of a folder by its name.

    Raises:
        InputError: a name or a link that leaves the folder; a hidden name or one below a linked folder, neither of
            which is part of the folder's digest (``content.digest``); no such file.
    """
    parts = PurePosixPath(name)
    advice = "names of a checkpoint stay inside its folder (a folder of links: copy it with cp -rL)"
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise wrong(f"names {name!r}, which is outside the folder", where, advice)
    if any(part.startswith(".") for part in parts.parts):
        raise wrong(f"names {name!r}, which is hidden", where, "hidden files are no part of a model: rename it")
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise wrong("is a link to outside the folder", path, advice)
    if any((folder / above).is_symlink() for above in parts.parents if above != PurePosixPath()):
        raise wrong(f"names {name!r}, which is in a linked folder", where, advice)
    if not path.is_file():
        raise wrong("is missing", path, f"{where.name} names it")
    return path


def read_text(path: Path) -> str:
    """Read a text file of at most a megabyte; an ``InputError`` otherwise."""
    try:
        if path.stat().st_size > 2**20:
            raise wrong("is larger than a megabyte", path, "a chat template is a few kilobytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise wrong(f"cannot be read: {error}", path, "give a text file in UTF-8") from error


def short_hash(text: str) -> str:
    """Return the first 8 hexadecimal digits of the text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]
