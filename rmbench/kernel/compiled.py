"""When compiled code is worth its start, and how it is compiled: numba, cached on disk, without the interpreter lock.

A compiled function costs seconds where it was never compiled on this machine, and a fraction of one where its cache is
read. Small inputs never wait for that: the plain path, which is the peers' own package, scores them. The time that the
plain path is estimated to take is added up over the calls, so a trainer that scores small batches thousands of times
gets the compiled path once it would have paid for itself, and no user waits more than twice the best.

``RMBENCH_COMPILED=0`` never compiles, ``RMBENCH_COMPILED=1`` always does. Scores are the same either way.
"""

import contextlib
import os
import sys
import threading
from collections.abc import Callable, Iterable
from hashlib import sha1
from pathlib import Path
from typing import Any

IMPORT = 0.5  # seconds: numba itself, and the first function that it loads
COLD = 0.7  # a function that was never compiled here
LONG = {"lcs.union": 5.0, "porter.stems": 6.5, "mteval": 3.5, "chars": 5.5, "shifts": 9.0}  # those that take longer
WARM = 0.02  # one that is read from the cache
VARIABLE = "RMBENCH_COMPILED"

_lock = threading.Lock()
_loaded: set[str] = set()
_spent: dict[tuple[str, ...], float] = {}


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """Compile a function where it is first called (decorator): cached on disk, running without the interpreter lock.

    The cache lies beside the package where that may be written, else in the user's cache folder (``NUMBA_CACHE_DIR``
    goes before both), else there is none and every process compiles. Damaged files are compiled anew, with a warning. A
    function is compiled again when its own file changes: it must call compiled functions of the same file only.
    """
    import numba

    from rmbench.kernel.cache import Cache

    dispatcher: Any = numba.njit(nogil=True)(function)
    # numba found no folder that may be written, or is of a version whose cache is another
    with contextlib.suppress(RuntimeError, AttributeError):
        dispatcher._cache = Cache(function)  # noqa: SLF001 - where numba's own cache=True puts its cache
    return dispatcher  # type: ignore[no-any-return]


def ready(estimate_seconds: float, kernels: Iterable[str] = ()) -> bool:
    """Return whether to use compiled code for work that the plain path would take ``estimate_seconds`` for.

    Args:
        estimate_seconds: the plain path's time for this call, estimated.
        kernels: the compiled functions that the work needs, as ``module.function`` (``splits.edges``), or modules.
    """
    names = tuple(sorted(kernels))
    forced = _forced()
    with _lock:
        if forced is None:
            _spent[names] = _spent.get(names, 0.0) + estimate_seconds
        use = _spent[names] >= _cost(names) if forced is None else forced
        if use:
            _loaded.update(names)
    return use


def cost(kernels: Iterable[str]) -> float:
    """Return the seconds until compiled functions can run in this process; no estimate need be more precise.

    0 where they have run or are asked for by ``RMBENCH_COMPILED``.
    """
    return _cost(tuple(sorted(kernels))) if _forced() is None else 0.0


def _forced() -> bool | None:
    value = os.environ.get(VARIABLE, "")
    if value not in {"", "0", "1"}:
        raise ValueError(f"{VARIABLE} is {value!r}, expected 0 or 1")
    return value == "1" if value else None


def _cost(names: tuple[str, ...]) -> float:
    missing = [name for name in names if name not in _loaded]
    if names and not missing:
        return 0.0
    start = 0.0 if "numba" in sys.modules else IMPORT
    return start + sum(WARM if cached(name) else LONG.get(name, COLD) for name in missing)


def folder() -> Path | None:
    """Return the folder in which numba keeps what it compiles of this package: the first one that may be written."""
    here = Path(__file__).resolve().parent
    unique = f"{here.name}_{sha1(str(here).encode(), usedforsecurity=False).hexdigest()}"
    own = os.environ.get("NUMBA_CACHE_DIR")
    home = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    candidates = (*([Path(own) / unique] if own else []), here / "__pycache__", home / "numba" / unique)
    return next((path for path in candidates if _writable(path)), None)


def _writable(path: Path) -> bool:
    """Return whether a folder may be written, or made where it is missing."""
    there = next(ancestor for ancestor in (path, *path.parents) if ancestor.exists())
    return there.is_dir() and os.access(there, os.W_OK | os.X_OK)


def cached(kernel: str) -> bool:
    """Return whether a function (``module.function``), or any of a module, lies compiled in the cache folder."""
    place = folder()
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    pattern = f"{kernel}-*.{version}.nbi" if "." in kernel else f"{kernel}.*.{version}.nbi"
    return place is not None and any(place.glob(pattern))
