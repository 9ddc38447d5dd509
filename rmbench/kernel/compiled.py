"""When compiled code is worth its start, and how it is compiled: numba, cached on disk, without the interpreter lock.

A compiled function costs seconds where it was never compiled on this machine, and a fraction of one where its cache is
read. Small inputs never wait for that: the plain path, which is the peers' own package, scores them. The time that the
plain path is estimated to take is added up over the calls, so a trainer that scores small batches thousands of times
gets the compiled path once it would have paid for itself, and no user waits more than twice the best.

``RMBENCH_COMPILED=0`` never compiles, ``RMBENCH_COMPILED=1`` always does. Scores are the same either way.
"""

import os
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterable
from functools import cache
from hashlib import sha1
from pathlib import Path
from typing import Any

IMPORT = 1.0  # seconds: numba itself
COLD = 2.5  # a function that was never compiled here
WARM = 0.1  # one that is read from the cache
VARIABLE = "RMBENCH_COMPILED"

_lock = threading.Lock()
_loaded: set[str] = set()
_spent: Counter[tuple[str, ...]] = Counter()


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function where it is first called (decorator): cached on disk, running without the interpreter lock.

    The cache lies beside the package where that may be written, else in the user's cache folder (``NUMBA_CACHE_DIR``
    goes before both), else there is none and every process compiles. A function is compiled again when its own file
    changes: it must call compiled functions of the same file only.
    """
    import numba

    try:
        return numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # numba found no folder that may be written
        return numba.njit(nogil=True)(function)


def ready(estimate_seconds: float, kernels: Iterable[str] = ()) -> bool:
    """Return whether to use compiled code for work that the plain path would take ``estimate_seconds`` for.

    Args:
        estimate_seconds: the plain path's time for this call, estimated.
        kernels: the compiled functions that the work needs, as ``module.function`` (``words.tokenise``).
    """
    forced = os.environ.get(VARIABLE, "")
    if forced not in {"", "0", "1"}:
        raise ValueError(f"{VARIABLE} is {forced!r}, expected 0 or 1")
    names = tuple(sorted(kernels))
    with _lock:
        if forced:
            use = forced == "1"
        else:
            _spent[names] += estimate_seconds  # type: ignore[assignment]
            use = _spent[names] >= _cost(names)
        if use:
            _loaded.update(names)
    return use


def _cost(names: tuple[str, ...]) -> float:
    """Return the seconds until these functions can run in this process."""
    missing = [name for name in names if name not in _loaded]
    if not missing and names:
        return 0.0
    start = 0.0 if "numba" in sys.modules else IMPORT
    return start + sum(WARM if cached(name) else COLD for name in missing or ("",))


@cache
def folders() -> tuple[Path, ...]:
    """Return the folders in which numba may keep what it compiled of this package, the first one first."""
    here = Path(__file__).resolve().parent
    unique = f"{here.name}_{sha1(str(here).encode(), usedforsecurity=False).hexdigest()}"
    own = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return ((Path(own) / unique,) if own else ()) + (here / "__pycache__", home / "numba" / unique)


def cached(kernel: str) -> bool:
    """Return whether a function (``module.function``) lies compiled in a cache folder, for this Python."""
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    return any(any(folder.glob(f"{kernel}-*.{version}.nbi")) for folder in folders())
