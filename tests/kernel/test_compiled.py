"""When compiled code is used, and where it is kept."""

import errno
import math
import os
import subprocess
import sys
import warnings

import numpy as np
import pytest

from rmbench.kernel import compiled


@pytest.fixture
def fresh(monkeypatch):
    """A process that has compiled nothing."""
    monkeypatch.delenv("RMBENCH_COMPILED", raising=False)
    monkeypatch.setattr(compiled, "_loaded", set())
    monkeypatch.setattr(compiled, "_spent", {})
    monkeypatch.setattr(compiled, "cached", lambda kernel: kernel.startswith("warm"))
    monkeypatch.delitem(sys.modules, "numba", raising=False)


@pytest.mark.usefixtures("fresh")
def test_work_must_be_worth_the_start():
    assert compiled.cost(["cold.one", "cold.two"]) == compiled.IMPORT + 2 * compiled.COLD
    assert compiled.cost(["warm.one", "cold.two"]) == compiled.IMPORT + compiled.WARM + compiled.COLD
    assert not compiled.ready(compiled.COLD, ["cold.one"])
    assert compiled.ready(compiled.IMPORT + compiled.WARM, ["warm.one"])
    assert compiled.cost(["warm.one"]) == 0.0
    assert compiled.ready(0.0, ["warm.one"])  # it is loaded now
    assert not compiled.ready(0.0, ["warm.one", "cold.one"])


@pytest.mark.usefixtures("fresh")
def test_many_small_calls_are_worth_it_together():
    calls = [compiled.ready(0.25, ["cold.one"]) for _ in range(20)]
    assert calls.index(True) == math.ceil((compiled.IMPORT + compiled.COLD) / 0.25) - 1
    assert all(calls[calls.index(True) :])


@pytest.mark.usefixtures("fresh")
def test_the_environment_decides_first(monkeypatch):
    monkeypatch.setenv("RMBENCH_COMPILED", "1")
    assert compiled.ready(0.0, ["cold.one"])
    assert compiled.cost(["cold.two"]) == 0.0
    monkeypatch.setenv("RMBENCH_COMPILED", "0")
    assert not compiled.ready(1e9, ["cold.one"])
    monkeypatch.setenv("RMBENCH_COMPILED", "yes")
    with pytest.raises(ValueError, match="RMBENCH_COMPILED is 'yes', expected 0 or 1"):
        compiled.ready(1.0)


def test_finds_what_is_in_a_cache_folder(monkeypatch, tmp_path):
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path))
    assert not compiled.cached("module.function")
    folder = compiled.folder()
    assert folder.parent == tmp_path
    folder.mkdir()
    version = f"py{sys.version_info.major}{sys.version_info.minor}"
    (folder / f"module.function-12.{version}.nbi").touch()
    assert compiled.cached("module.function")
    assert compiled.cached("module")
    assert not compiled.cached("module.func")
    assert not compiled.cached("mod")


def test_compiles_without_a_folder_to_keep_it_in(monkeypatch):
    from numba.core.caching import CacheImpl

    monkeypatch.setattr(CacheImpl, "_locator_classes", [])
    assert compiled.compiled(lambda number: number + 1)(2) == 3


COLD = """
import sys
from rmbench.kernel import compiled, score_texts
assert not compiled.cached("ngrams.count_words")
print(score_texts(["rouge-1"], ["a b"], ["a c"])["rouge-1"][0], compiled.cached("ngrams.count_words"))
"""


def test_a_new_cache_folder_is_filled_where_numba_looks(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path), "RMBENCH_COMPILED": "1"}
    done = subprocess.run([sys.executable, "-c", COLD], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["0.5", "True"]


def test_read_only_package_folders_use_the_users_cache(monkeypatch, tmp_path):
    from numba.core.caching import InTreeCacheLocator

    from rmbench.kernel.ngrams import count_words

    package = str(compiled.folder())
    writable = os.access
    monkeypatch.setattr(InTreeCacheLocator, "ensure_cache_path", _refuse)
    monkeypatch.setattr(os, "access", lambda path, mode: str(path) != package and writable(path, mode))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    function = compiled.compiled(count_words.py_func)
    assert function._cache.cache_path == str(compiled.folder())
    assert compiled.folder().parent == tmp_path / "numba"
    monkeypatch.setattr(os, "access", lambda path, mode: False)
    assert compiled.folder() is None
    assert not compiled.cached("ngrams.count_words")


def _refuse(self):
    raise OSError("read-only")


def _damages():
    yield "empty index", "nbi", lambda data: b""
    yield "text index", "nbi", lambda data: b"not a pickle"
    yield "empty code", "nbc", lambda data: b""
    yield "zeros", "nbc", lambda data: bytes(len(data))
    yield "a flipped byte", "nbc", lambda data: data[: len(data) // 2] + b"\xff\xfe\xfd" + data[len(data) // 2 + 3 :]
    yield "half", "nbc", lambda data: data[: len(data) // 2]


@pytest.fixture
def counted(monkeypatch, tmp_path):
    """Count words as a new process does: read the function from a cache folder, else compile it; return what is told."""
    import numba

    from rmbench.kernel import cache
    from rmbench.kernel.ngrams import count_words

    monkeypatch.setattr(numba.config, "CACHE_DIR", str(tmp_path))
    words = np.array([1, 1], np.int32), np.array([0, 1, 2]), 2, np.array([[0, 1, 1, 2, 0]]), 1

    def count():
        monkeypatch.setattr(cache, "_warned", set())
        function = compiled.compiled(count_words.py_func)
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            assert function(*words).tolist() == [1]
        assert all(each.category is RuntimeWarning for each in told)
        return [str(each.message) for each in told], sum(function.stats.cache_hits.values())

    return count


def test_a_damaged_cache_is_compiled_anew(counted, tmp_path):
    assert counted() == ([], 0)
    assert counted() == ([], 1)
    for what, ending, damage in _damages():
        files = [*tmp_path.rglob(f"*.{ending}")]
        assert files
        for file in files:
            file.write_bytes(damage(file.read_bytes()))
        (told,), hits = counted()
        assert told.startswith("the cache of compiled functions is damaged"), what
        assert str(tmp_path) in told
        assert hits == 0, what
        assert counted() == ([], 1), what  # it was written anew


def test_a_cache_that_cannot_be_written_stops_nothing(counted, monkeypatch):
    from numba.core.caching import IndexDataCacheFile

    def full(*_):
        raise OSError(errno.ENOSPC, "disk full")

    monkeypatch.setattr(IndexDataCacheFile, "_open_for_write", full)
    (told,), _ = counted()
    assert told.startswith("the cache of compiled functions cannot be written")
