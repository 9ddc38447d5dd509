"""Whether TRL is there, and what to do where it is not; imports nothing heavy."""

from __future__ import annotations

from importlib import import_module
from importlib.util import find_spec
from typing import TYPE_CHECKING

from rmbench.errors import PluginError

if TYPE_CHECKING:
    from types import ModuleType

NEEDED = ("trl", "accelerate", "datasets")


def require(use: str) -> None:
    """Raise a ``PluginError`` where a package that TRL's trainers need is missing.

    Args:
        use: what was asked for, such as ``trl-grpo``.
    """
    missing = [name for name in NEEDED if find_spec(name) is None]
    if missing:
        raise PluginError(
            f"needs the package {missing[0]}, which is not installed", where=use,
            help=f"pip install {' '.join(missing)}",
        )  # fmt: skip


def part(use: str, name: str) -> ModuleType:
    """Return a module of this package that imports TRL, which must not ask the network for anything.

    Raises:
        PluginError: a package is missing.
    """
    require(use)
    from rmbench.kernel.imports import undisturbed
    from rmbench.kernel.models.load import offline

    with undisturbed(), offline():
        return import_module(f"rmbench_trl.{name}")
