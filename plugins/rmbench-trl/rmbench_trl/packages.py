"""Whether TRL is there, and what to do where it is not; imports nothing heavy."""

from __future__ import annotations

from importlib.util import find_spec

from rmbench.errors import PluginError

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
            help=f"pip install {' '.join(missing)}, or pip install rmbench-trl with its dependencies",
        )  # fmt: skip
