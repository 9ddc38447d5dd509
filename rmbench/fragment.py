"""A table of a suite as TOML: what `rmbench tune` prints, to be put in the place of the entry that was tuned."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any

from rmbench.guard import ACTING

if TYPE_CHECKING:
    from collections.abc import Mapping

BARE = re.compile(r"[A-Za-z0-9_-]+")


def fragment(table: str, entry: Mapping[str, Any], *, comment: str = "") -> str:
    """Return ``[[table]]`` with the entry's keys, tables among its values inline; TOML 1.0.

    Raises:
        ValueError: a value that TOML has no word for (None), or that no suite holds.
    """
    head = "".join(f"# {' '.join(line.split())}\n" for line in comment.splitlines())
    lines = [f"{_key(key)} = {_value(value)}\n" for key, value in entry.items()]
    return f"{head}[[{table}]]\n{''.join(lines)}"


def _key(key: str) -> str:
    return key if BARE.fullmatch(key) else _string(key)


def _string(text: str) -> str:
    return ACTING.sub(lambda found: f"\\U{ord(found[0]):08x}", json.dumps(text, ensure_ascii=False))


def _value(value: Any) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int | float):
        return repr(value)
    if isinstance(value, str):
        return _string(value)
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(_value, value))}]"
    if isinstance(value, dict):
        inside = ", ".join(f"{_key(key)} = {_value(one)}" for key, one in value.items())
        return f"{{ {inside} }}" if inside else "{}"
    raise ValueError(f"{value!r} has no form in TOML")
