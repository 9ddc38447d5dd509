"""Options: the keyword arguments of a reward's ``build``, read from its signature and checked against it."""

from __future__ import annotations

import inspect
import json
import math
import types
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin, get_type_hints

from rmbench import guard
from rmbench.errors import InputError, did_you_mean

RUNTIME = "runtime"
REQUIRED = inspect.Parameter.empty


@dataclass(frozen=True, slots=True)
class Option:
    """One option: its name, its type as written, and its default (``REQUIRED`` where there is none)."""

    name: str
    type: str
    default: Any
    hint: Any

    @property
    def required(self) -> bool:
        """Whether it must be given."""
        return self.default is REQUIRED


def _hints(build: Callable[..., Any]) -> Mapping[str, Any]:
    try:
        hints: Mapping[str, Any] = guard.call(get_type_hints, build)
    except guard.Foreign:  # a name that only a type checker imports: then types go unchecked
        return {}
    return hints


def options_of(build: Callable[..., Any]) -> dict[str, Option]:
    """Return the options of a builder by name, in order; ``runtime`` is filled by the engine and is none."""
    hints = _hints(build)
    options = {}
    for name, parameter in inspect.signature(build).parameters.items():
        if name == RUNTIME or parameter.kind in (parameter.VAR_KEYWORD, parameter.VAR_POSITIONAL):
            continue
        written = "any" if parameter.annotation is REQUIRED else _type_name(hints.get(name, parameter.annotation))
        options[name] = Option(name, written, parameter.default, hints.get(name, Any))
    return options


def takes_runtime(build: Callable[..., Any]) -> bool:
    """Whether the builder asks for the engine's ``runtime``."""
    return RUNTIME in inspect.signature(build).parameters


def _type_name(hint: Any) -> str:
    if isinstance(hint, str):
        return hint
    if get_origin(hint) is Literal:
        return " | ".join(json.dumps(choice) for choice in get_args(hint))
    if get_origin(hint) in (Union, types.UnionType):
        return " | ".join(_type_name(choice) for choice in get_args(hint))
    if hint in (Path, type(None)):
        return "path" if hint is Path else "None"
    if isinstance(hint, type) and not get_args(hint):
        return hint.__name__
    return str(hint).replace("typing.", "").replace("collections.abc.", "")


def fits(value: Any, hint: Any) -> bool:
    """Whether a TOML value fits a type hint; hints that are not understood accept everything."""
    origin, args = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return any(fits(value, arg) for arg in args)
    if origin is Literal:
        return any(value == choice and type(value) is type(choice) for choice in args)
    if hint is float:
        return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
    if hint is int:
        return isinstance(value, int) and not isinstance(value, bool)
    if hint is Path:
        return isinstance(value, str) and value != ""
    if hint in (str, bool, type(None)):
        return isinstance(value, types.NoneType if hint is type(None) else hint)
    if isinstance(origin, type) and issubclass(origin, Mapping):
        return isinstance(value, dict) and all(fits(k, args[0]) and fits(v, args[1]) for k, v in value.items())
    if origin in (list, tuple) and args:
        return isinstance(value, list) and all(fits(item, args[0]) for item in value)
    return True


def is_path(value: Any, hint: Any) -> bool:
    """Whether an option's value names a file or folder: the hint says ``Path``, and it is no word of a ``Literal``."""
    if not isinstance(value, str):
        return False
    choices = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return Path in choices and not any(fits(value, choice) for choice in choices if choice is not Path)


def paths(build: Callable[..., Any], given: Mapping[str, Any]) -> list[str]:
    """Return the names of the given options that are files or folders."""
    known = options_of(build)
    return [name for name, value in given.items() if name in known and is_path(value, known[name].hint)]


def typed(build: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options as the builder wants them: a path as ``Path``."""
    named = paths(build, given)
    return {name: Path(value) if name in named else value for name, value in given.items()}


def _plain(value: Any) -> bool:
    """Whether a value can be written as JSON: no date, no NaN."""
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        return False
    return True


def check(
    reward: str, build: Callable[..., Any], given: Mapping[str, Any], *, where: str, what: str = "reward"
) -> dict[str, Any]:
    """Check the given options against the builder's signature and return them in its order; ``what`` names its kind.

    Raises:
        InputError: an unknown option (with the nearest), a wrong type, or a missing one.
    """
    known = options_of(build)
    check_names(reward, build, given, where=where, what=what)
    for name, value in given.items():
        if name in known and not fits(value, known[name].hint):
            found = f"option {reward}.{name} is {json.dumps(value, default=str)}, expected {known[name].type}"
            raise InputError(found, where=where, help=f"see `rmbench show {reward}`")
        if not _plain(value):
            raise InputError(
                f"option {reward}.{name} is {value!r}, which no suite can hold", where=where, help="a string?"
            )
    for name, option in known.items():
        if option.required and name not in given:
            raise InputError(
                f"the {what} {reward!r} needs the option {name!r} ({option.type})",
                where=where,
                help=f"give it as -o {reward}.{name}=VALUE or options = {{ {name} = ... }}",
            )
    return {name: given[name] for name in [*known, *given] if name in given}


def check_names(
    reward: str, build: Callable[..., Any], given: Mapping[str, Any], *, where: str, what: str = "reward"
) -> None:
    """Raise an ``InputError`` at an option that the builder does not have, with the nearest that it has."""
    known = options_of(build)
    if any(p.kind is p.VAR_KEYWORD for p in inspect.signature(build).parameters.values()):
        return
    for name in given:
        if name not in known:
            raise InputError(
                f"the {what} {reward!r} has no option {name!r}", where=where, help=did_you_mean(name, known)
            )


def changed(build: Callable[..., Any], given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given options that differ from their default."""
    known = options_of(build)
    return {
        k: v for k, v in given.items()
        if k not in known or known[k].required or _listed(known[k].default) != _listed(v)
    }  # fmt: skip


def _listed(value: Any) -> Any:
    """Return a tuple as the list that a suite writes for it."""
    return [_listed(one) for one in value] if isinstance(value, list | tuple) else value


def word(value: Any) -> str:
    """Write an option's value for a signature: short, unambiguous, without ``|``."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if value is None:
        return "none"
    if isinstance(value, dict):
        return "{" + ",".join(f"{k}={word(v)}" for k, v in value.items()) + "}"
    if isinstance(value, str) and value and not set(value) & set("|:,{}= \n\t\"'"):
        return value
    return json.dumps(value, ensure_ascii=True).replace("|", "\\u007c")
