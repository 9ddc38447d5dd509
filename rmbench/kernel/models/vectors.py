"""Vectors of texts kept on disk: a folder of Parquet parts, each there whole or not at all, which only ever grows.

A part holds the sha256 of texts and their vectors. Its pages carry checksums: a damaged part is passed over, and what
it held is computed again. Several processes may write at once; each part has a name of its own.
"""

from __future__ import annotations

import hashlib
import os
import secrets
from typing import TYPE_CHECKING

import numpy as np

from rmbench.errors import EnvironmentFault

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

MOST_HELD = 2**28  # bytes of vectors in memory; more are read again
PART = 512  # new vectors that are written as one part, sooner where ``flush`` is called
KEY, VECTOR = "text", "vector"


def key_of(text: str) -> bytes:
    """Return what a text is kept under."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).digest()


class Vectors:
    """The vectors of one encoder. Without a folder they are kept in memory only.

    Args:
        folder: where the parts lie, named by all that a vector depends on beside its text; made when first written.
    """

    def __init__(self, folder: Path | None) -> None:
        self.folder = folder
        self._held: dict[bytes, np.ndarray] = {}
        self._size = 0
        self._new: dict[bytes, np.ndarray] = {}
        self._places: dict[bytes, Path] = {}
        self._read: set[Path] = set()

    def get(self, keys: Sequence[bytes]) -> dict[bytes, np.ndarray]:
        """Return the vectors that are known, float32 (width,) each, by key."""
        self._look()
        wanted = [key for key in keys if key not in self._held]
        parts = {self._places[key] for key in wanted if key in self._places}
        found = {key: self._held[key] for key in keys if key in self._held}
        for part in sorted(parts):
            there = _table(part)
            found |= {key: there[key] for key in wanted if key in there}
        self._hold(found)
        return found

    def put(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        """Keep vectors; they are on disk after the next ``flush``, or when there are enough for a part."""
        self._hold(vectors)
        if self.folder is not None:
            self._new.update(vectors)
        if len(self._new) >= PART:
            self.flush()

    def flush(self) -> None:
        """Write what is new as one part.

        Raises:
            EnvironmentFault: the folder cannot be written.
        """
        if self.folder is None or not self._new:
            return
        try:
            part = _write(self.folder, self._new)
        except OSError as error:
            advice = "check the cache folder, its space and its permissions"
            raise EnvironmentFault(
                f"cannot be written: {error.strerror}", where=str(self.folder), help=advice
            ) from error
        self._read.add(part)
        self._places |= dict.fromkeys(self._new, part)
        self._new = {}

    def _hold(self, vectors: Mapping[bytes, np.ndarray]) -> None:
        fresh = {key: vector for key, vector in vectors.items() if key not in self._held}
        size = sum(vector.nbytes for vector in fresh.values())
        if self._size + size > MOST_HELD:
            self._held, self._size = {}, 0
        self._held.update(fresh)
        self._size += size

    def _look(self) -> None:
        """Learn which texts the parts hold that are there now."""
        if self.folder is None or not self.folder.is_dir():
            return
        for part in sorted(set(self.folder.glob("*.parquet")) - self._read):
            self._read.add(part)
            self._places |= dict.fromkeys(_keys(part), part)


def _keys(part: Path) -> list[bytes]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(part, columns=[KEY], page_checksum_verification=True)
    except (OSError, pa.ArrowException):
        return []
    return [bytes(key) for key in table.column(KEY).to_pylist()]


def _table(part: Path) -> dict[bytes, np.ndarray]:
    """Return what a part holds; nothing where it is damaged."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    try:
        table = pq.read_table(part, page_checksum_verification=True)
        keys = table.column(KEY).to_pylist()
        vectors = table.column(VECTOR).combine_chunks()
        width = vectors.type.list_size
        values = np.asarray(vectors.flatten(), np.float32).reshape(len(keys), width)
    except (OSError, pa.ArrowException, KeyError, ValueError):
        return {}
    return {bytes(key): vector for key, vector in zip(keys, values, strict=True)}


def _write(folder: Path, vectors: Mapping[bytes, np.ndarray]) -> Path:
    import pyarrow as pa
    import pyarrow.parquet as pq

    stacked = np.stack(list(vectors.values()))
    values = pa.FixedSizeListArray.from_arrays(pa.array(stacked.reshape(-1)), stacked.shape[1])
    table = pa.table({KEY: pa.array(list(vectors), pa.binary(32)), VECTOR: values})
    folder.mkdir(parents=True, exist_ok=True)
    part = folder / f"{secrets.token_hex(8)}.parquet"
    temporary = folder / f".{part.stem}.tmp-{os.getpid()}"
    try:
        with temporary.open("wb") as file:
            pq.write_table(table, file, compression="none", use_dictionary=False, write_page_checksum=True)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(part)
    finally:
        temporary.unlink(missing_ok=True)
    return part
