"""Numbers of a text that linear models and perceptrons learn from, in named blocks, standardised on train.

Every feature of a row depends on that row only. Each block has a mean squared length of about 1 whatever its number of
features, so that a penalty on the weights weighs blocks alike.
"""

from __future__ import annotations

import math
import zlib
from collections import Counter
from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from scipy import sparse

from rmbench.api import Runtime
from rmbench.errors import InputError
from rmbench.kernel.models.load import free_memory
from rmbench.kernel.models.sentence import inspect_encoder
from rmbench.models.surface import NAMES, TOKENS, surface

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.api import Batch
    from rmbench.models.feature_options import FeatureTraining

DENSE = ("surface", "embeddings", "rewards")
SIGN = 1 << 31  # of a crc32
DOUBLE = 8  # bytes


@dataclass(frozen=True, slots=True)
class Raw:
    """Features as they are read.

    Attributes:
        dense: float64 (n, columns), the blocks of ``DENSE`` one beside the other; 0 where a reward has no score.
        counts: n-grams, CSR float64 (n, buckets): signed 1 + log(count).
        missing: why a row has no features, by its index.
    """

    dense: np.ndarray
    counts: Any
    missing: Mapping[int, str]


@dataclass(frozen=True, slots=True)
class Table:
    """Standardised features.

    Attributes:
        dense: float64 (n, columns).
        grams: n-grams that train holds, CSR float64 (n, kept), rows of length 1 or 0.
        missing: why a row has no features, by its index.
    """

    dense: np.ndarray
    grams: Any
    missing: Mapping[int, str]

    @property
    def width(self) -> int:
        """Number of features."""
        return int(self.dense.shape[1] + self.grams.shape[1])

    def rows(self, places: Sequence[int]) -> np.ndarray:
        """Return rows as they are multiplied with weights, float64 (len(places), width): dense ones, then n-grams."""
        return np.hstack([self.dense[places], self.grams[places].toarray()])


@dataclass(frozen=True, slots=True)
class Standard:
    """What is fitted on train.

    Attributes:
        mean, factor: of the dense features, float64 (columns,): they become (x - mean) * factor.
        weights: of the buckets, float64 (buckets,): log((1 + n) / (1 + rows with it)) + 1, and 0 where an n-gram is
            too rare.
    """

    mean: np.ndarray
    factor: np.ndarray
    weights: np.ndarray

    @property
    def kept(self) -> np.ndarray:
        """Buckets that are features, int64."""
        return np.flatnonzero(self.weights)

    def __call__(self, raw: Raw) -> Table:
        """Standardise features."""
        grams = raw.counts[:, self.kept] @ sparse.diags_array(self.weights[self.kept])
        grams = sparse.csr_array(grams)
        grams.sort_indices()
        squares = np.array([float((row**2).sum()) for row in _rows(grams)])
        lengths = np.sqrt(np.where(squares > 0, squares, 1.0))
        grams.data = grams.data / np.repeat(lengths, np.diff(grams.indptr))
        return Table((raw.dense - self.mean) * self.factor, grams, raw.missing)


def _rows(matrix: Any) -> Iterator[np.ndarray]:
    for start, stop in zip(matrix.indptr[:-1], matrix.indptr[1:], strict=True):
        yield matrix.data[start:stop]


class Reader:
    """Reads features of batches. Sentence vectors come from the encoder or from ``runtime.cache``.

    Args:
        options: which features.
        runtime: device, dtype and cache of the encoder.

    Raises:
        InputError: the encoder's folder cannot be used.
    """

    def __init__(self, options: FeatureTraining, runtime: Runtime | None = None) -> None:
        self.options = options
        self.runtime = runtime or Runtime()
        self.embedder: Any = None
        width = 0
        if options.encoder is not None:
            width = inspect_encoder(options.encoder).width or 0
        sizes = {"surface": len(NAMES), "embeddings": 4 * width + 1, "rewards": len(options.rewards)}
        used = {name: sizes[name] for name in DENSE if name in options.features}
        ends = np.cumsum([0, *used.values()]).tolist()
        self.blocks: dict[str, slice] = {
            name: slice(start, stop) for name, start, stop in zip(used, ends[:-1], ends[1:], strict=True)
        }
        self.columns: int = ends[-1]

    def __call__(self, batch: Batch) -> Raw:
        """Read the features of a batch.

        Raises:
            InputError: the batch lacks the scores of a reward.
        """
        made = {"surface": self._surface, "embeddings": self._embeddings, "rewards": self._rewards}
        parts = [made[name](batch) for name in self.blocks]
        dense = np.hstack(parts) if parts else np.zeros((len(batch), 0))
        with_grams = "ngrams" in self.options.features
        buckets = self.options.buckets if with_grams else 0
        texts = batch.responses if with_grams else ("",) * len(batch)
        return Raw(dense, counted(texts, self.options.orders, buckets), self._missing(batch))

    def close(self) -> None:
        """Write sentence vectors that are not in the cache yet."""
        if self.embedder is not None:
            self.embedder.close()

    def _surface(self, batch: Batch) -> np.ndarray:
        return surface(batch.responses, batch.sources)

    def _embeddings(self, batch: Batch) -> np.ndarray:
        """Return response, prompt, their product, absolute difference and cosine: float64 (n, 4 width + 1)."""
        if self.embedder is None:
            from rmbench.kernel.models.embed import Embedder

            runtime, folder = self.runtime, self.options.encoder
            if folder is None:
                raise ValueError("encoder is None, expected a folder")
            self.embedder = Embedder(folder, device=runtime.device, dtype=runtime.dtype, cache=runtime.cache)
        vectors = self.embedder([*batch.responses, *map(said, batch.messages, batch.prompts)]).astype(np.float64)
        text, prompt = vectors[: len(batch)], vectors[len(batch) :]
        return np.hstack([text, prompt, text * prompt, np.abs(text - prompt), cosine(text, prompt)[:, None]])

    def _rewards(self, batch: Batch) -> np.ndarray:
        for name in self.options.rewards:
            if name not in batch.scores:
                raise InputError(f"the batch has no scores of {name!r}", help="score that reward too, under this name")
        columns = [[0.0 if one is None else one for one in batch.scores[name]] for name in self.options.rewards]
        return np.array(columns, np.float64).reshape(len(columns), len(batch)).T

    def _missing(self, batch: Batch) -> Mapping[int, str]:
        found: dict[int, str] = {}
        for name in self.options.rewards:
            for row, one in enumerate(batch.scores[name]):
                if one is None:
                    found.setdefault(row, f"{name} gave no score")
        return MappingProxyType(found)


def said(messages: Sequence[Any], prompt: str) -> str:
    """Return what a response answers: the last message of a conversation, else the prompt."""
    return messages[-1].content if len(messages) > 1 else prompt


def cosine(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Return the cosine of each pair of rows, float64 (n,), in [-1, 1]; 0 where one has no length."""
    dot = (one * other).sum(axis=1)
    lengths = np.sqrt((one**2).sum(axis=1) * (other**2).sum(axis=1))
    found: np.ndarray = np.clip(np.divide(dot, lengths, out=np.zeros(len(dot)), where=lengths > 0), -1.0, 1.0)
    return found


def counted(texts: Sequence[str], orders: Sequence[int], buckets: int) -> Any:
    """Return hashed n-grams of texts, CSR float64 (n, buckets): the signed sum of 1 + log(count) of those in a bucket.

    Lower-cased words and signs; the hash is crc32 of ``order:words``, its first bit the sign (Weinberger et al., 2009).
    """
    data: list[float] = []
    indices: list[int] = []
    ends = [0]
    for text in texts:
        cells: dict[int, float] = {}
        for gram, count in sorted(_grams(text, orders).items()) if buckets else ():
            hashed = zlib.crc32(gram)
            value = 1.0 + math.log(count)
            bucket = hashed % buckets
            cells[bucket] = cells.get(bucket, 0.0) + (value if hashed & SIGN else -value)
        there = sorted((bucket, value) for bucket, value in cells.items() if value)
        indices += [bucket for bucket, _ in there]
        data += [value for _, value in there]
        ends.append(len(data))
    arrays = np.array(data, np.float64), np.array(indices, np.int64), np.array(ends, np.int64)
    return sparse.csr_array(arrays, shape=(len(texts), buckets))


def _grams(text: str, orders: Sequence[int]) -> Counter[bytes]:
    tokens = [token.encode("utf-8", "surrogatepass") for token in TOKENS.findall(text.lower())]
    found: Counter[bytes] = Counter()
    for order in orders:
        head = b"%d:" % order
        found.update(head + b" ".join(tokens[at : at + order]) for at in range(len(tokens) - order + 1))
    return found


def standard(raw: Raw, reader: Reader) -> Standard:
    """Fit the standardisation on the rows of train that have all features.

    Raises:
        InputError: there is no such row.
    """
    there = np.array([row for row in range(len(raw.dense)) if row not in raw.missing], np.int64)
    if not len(there):
        reasons = ", ".join(sorted(set(raw.missing.values()))[:5])
        raise InputError(f"no row of train has all features: {reasons}", help="leave these rewards out")
    dense = raw.dense[there]
    mean, deviation = dense.mean(axis=0), dense.std(axis=0)
    flat = deviation <= np.abs(mean) * 1e-12  # the same in every row: rounding is no feature
    factor = np.divide(1.0, deviation, out=np.zeros_like(deviation), where=~flat)
    for block in reader.blocks.values():
        factor[block] /= math.sqrt(block.stop - block.start)
    rows = np.bincount(raw.counts[there].indices, minlength=raw.counts.shape[1])
    weights = np.log((1 + len(there)) / (1 + rows)) + 1
    return Standard(mean, factor, np.where(rows >= reader.options.rare, weights, 0.0))


def check_memory(options: FeatureTraining, rows: int, columns: int, *, widest: int = 1) -> None:
    """Raise where features and weights would not fit the free memory; ``widest`` is the first layer's size.

    Raises:
        InputError: with what is needed and what is free.
    """
    buckets = options.buckets if "ngrams" in options.features else 0
    table = 3 * rows * columns * DOUBLE  # read, standardised, and one to compute with
    weights = 6 * (buckets + columns) * widest * DOUBLE  # with gradients, moments, the best and a saved state
    if table + weights > (free := free_memory()):
        raise InputError(
            f"buckets = {options.buckets:,} and {rows:,} rows of {columns:,} features take "
            f"{(table + weights) / 1e9:.1f} GB, {free / 1e9:.1f} GB are free",
            help="fewer buckets, features or hidden units, or fewer rows",
        )  # fmt: skip
