"""What the readers of a run folder take from its manifest: a folder of somebody else may hold anything there."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rmbench.checks import show, type_name
from rmbench.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST = 2**63
NOTHING = type(None)
WORDS = {str: "a text", int: "a whole number", float: "a number", bool: "true or false", NOTHING: "null"}


class Each(NamedTuple):
    """A list of things of one shape."""

    of: Any


class Named(NamedTuple):
    """An object whose keys are names and whose values have one shape."""

    of: Any


# A shape is a tuple of types, an Each, a Named, or an object of named shapes; a name that ends in ? may be missing.
TEXT, WHOLE, MAYBE = (str,), (int,), (str, NOTHING)
TASK = {
    "name": TEXT, "version": WHOLE, "kind": MAYBE, "split": TEXT, "label": TEXT, "main": MAYBE,
    "good": (float, int, NOTHING), "aspects": Each(TEXT), "languages": Each(TEXT), "rows": WHOLE, "skips": Named(TEXT),
    "signatures": Named(TEXT),
}  # fmt: skip
REWARD = {"name": TEXT, "null": (bool,), "oracle": (bool,), "unscored": TEXT}
TRAINING = {
    "name": TEXT, "use": TEXT, "task": TEXT, "policy?": MAYBE, "trainer?": MAYBE, "reward?": MAYBE,
    "judges?": Each(TEXT), "seeds?": Each(WHOLE), "signature?": TEXT,
}  # fmt: skip
MANIFEST = {
    "name": TEXT, "failures": Named(TEXT), "problems": Each(TEXT),
    "resolved": {
        "tasks": Each(TASK), "rewards": Each(REWARD), "studies": Each(TEXT), "seeds": Each(WHOLE),
        "limit": (int, NOTHING), "training?": Each(TRAINING),
    },
}  # fmt: skip


def check(manifest: Mapping[str, Any], where: str) -> None:
    """Hold a manifest to what its readers need; ``where`` is its path.

    Raises:
        RunFolderError: something is missing, or is of another type or out of range.
    """
    problem = _wrong(manifest, MANIFEST, "") or _unsigned(manifest["resolved"])
    if problem:
        raise RunFolderError(
            f"is damaged: {problem}", where=where, help="get the folder again, or run again into a new one"
        )


def _unsigned(resolved: Mapping[str, Any]) -> str:
    """Say which task lacks the signature of a reward, and whether there is a seed."""
    names = [reward["name"] for reward in resolved["rewards"]]
    for task in resolved["tasks"]:
        if lost := [name for name in names if name not in task["signatures"]]:
            return f"task {show(task['name'])} has no signature of {show(lost[0])}"
    return "" if resolved["seeds"] else '"resolved.seeds" is empty'


def _wrong(value: object, shape: Any, name: str) -> str:
    """Say in words where a value differs from a shape first; nothing where it does not."""
    if isinstance(shape, tuple) and not isinstance(shape, Each | Named):
        return _wrong_value(value, shape, name)
    inside: list[tuple[object, Any, str]]
    if isinstance(shape, Each):
        if not isinstance(value, list):
            return f"{show(name)} is {type_name(value)}, expected a list"
        inside = [(one, shape.of, f"{name}[{at}]") for at, one in enumerate(value)]
    elif not isinstance(value, dict):
        return f"{show(name)} is {type_name(value)}, expected an object"
    elif isinstance(shape, Named):
        inside = [(one, shape.of, f"{name}.{key}") for key, one in value.items()]
    else:
        if lost := [key for key in shape if key not in value and not key.endswith("?")]:
            return f"{show(f'{name}.{lost[0]}'.strip('.'))} is missing"
        known = {key.rstrip("?"): one for key, one in shape.items()}
        inside = [(value[key], one, f"{name}.{key}".strip(".")) for key, one in known.items() if key in value]
    return next((found for one in inside if (found := _wrong(*one))), "")


def _wrong_value(value: object, kinds: tuple[type, ...], name: str) -> str:
    if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
        expected = " or ".join(WORDS[kind] for kind in kinds)
        return f"{show(name)} is {type_name(value)}, expected {expected}"
    if isinstance(value, int | float) and not -LARGEST < value < LARGEST:  # NaN and infinity fail too
        return f"{show(name)} is out of range"
    return ""
