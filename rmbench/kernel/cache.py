"""numba's cache of one function, which never fails a call: what cannot be read is compiled, what cannot be kept is not.

numba reads its files without a check: an empty index raises, and damaged machine code can end the process. Here each
data file ends with a digest of what stands before it. One warning a process names the folder.
"""

import contextlib
import warnings
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

DIGEST = 32  # bytes
_warned: set[str] = set()


class Cache:
    """What numba's dispatcher asks of a cache, with the files of ``numba.core.caching.FunctionCache``.

    Raises:
        RuntimeError: there is no folder that may be written.
    """

    def __init__(self, function: Callable[..., Any]) -> None:
        from numba.core.caching import FunctionCache

        self.inner = FunctionCache(function)
        files: Any = self.inner._cache_file  # noqa: SLF001 - numba has no public way to check what it reads
        files._load_data, files._dump, dump = self._load, self._dump, files._dump  # noqa: SLF001
        self.dump, self.index = dump, Path(files._index_path)  # noqa: SLF001

    @property
    def cache_path(self) -> str:
        """The folder."""
        return str(self.inner.cache_path)

    def enable(self) -> None:
        """Use the files."""
        self.inner.enable()

    def disable(self) -> None:
        """Neither read nor write."""
        self.inner.disable()

    def flush(self) -> None:
        """Forget what is kept."""
        self.inner.flush()

    def load_overload(self, signature: Any, target: Any) -> Any:
        """Return the compiled function, None where it is not kept or is damaged; then its index is removed."""
        try:
            return self.inner.load_overload(signature, target)
        except Exception as error:  # noqa: BLE001 - damaged pickles raise anything
            self._warn("is damaged", error)
            with contextlib.suppress(OSError):
                self.index.unlink()
            return None

    def save_overload(self, signature: Any, result: Any) -> None:
        """Keep a compiled function where that is possible."""
        try:
            self.inner.save_overload(signature, result)
        except Exception as error:  # noqa: BLE001 - the function is compiled: no failure to keep it matters now
            self._warn("cannot be written", error)

    def _warn(self, what: str, error: Exception) -> None:
        if what in _warned:
            return
        _warned.add(what)
        problem = f"the cache of compiled functions {what} ({type(error).__name__}: {error}); they are compiled again"
        warnings.warn(f"{problem}. If this comes back, delete or free {self.cache_path}", RuntimeWarning, stacklevel=2)

    def _dump(self, value: Any) -> bytes:
        data: bytes = self.dump(value)
        return data + sha256(data).digest()  # pickle stops before it

    def _load(self, name: str) -> Any:
        import pickle

        data = Path(self.cache_path, name).read_bytes()
        if sha256(data[:-DIGEST]).digest() != data[-DIGEST:]:
            raise ValueError(f"{name} is not what was written")
        return pickle.loads(data)  # noqa: S301 - our own file, as numba reads it
