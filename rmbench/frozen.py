"""Values of JSON that nobody can change: what one reward is handed, the next one is handed too."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any


def freeze(value: Any) -> Any:
    """Return the value with every list as a tuple and every object as a read-only mapping, at any depth."""
    if isinstance(value, dict):
        return MappingProxyType({key: freeze(each) for key, each in value.items()})
    if isinstance(value, list):
        return tuple(freeze(each) for each in value)
    return value


def thaw(value: Any) -> Any:
    """Return a copy with lists and dicts in the place of tuples and mappings, as JSON is read."""
    if isinstance(value, Mapping):
        return {key: thaw(each) for key, each in value.items()}
    if isinstance(value, tuple | list):
        return [thaw(each) for each in value]
    return value
