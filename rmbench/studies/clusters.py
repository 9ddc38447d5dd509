"""What the score study resamples: the prompts of a task, and the counts that stand beside a number."""

from __future__ import annotations

import math
from itertools import islice
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from rmbench.stats.resampling import coded, ratio_intervals

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from rmbench.stats.resampling import Interval
    from rmbench.studies.rows import Rows

T = TypeVar("T")

CELLS = 8_000_000  # of one matrix of sums by cluster: 64 MB


def incomplete(unscored: int | None, rows: int) -> str | None:
    """Return the reason that stands beside a number with unscored rows."""
    return f"incomplete: {unscored} of {rows} rows unscored" if unscored else None


def exact_mean(values: np.ndarray) -> float | None:
    """Return the exactly summed mean of a 1-D array, None where it is empty."""
    return math.fsum(values.tolist()) / len(values) if len(values) else None


def shared_prompts(rows: Rows, samples: np.ndarray) -> str | None:
    """Return ``"prompt"`` where some of these distinct samples share one, so that not the sample is resampled."""
    return "prompt" if len(coded(rows.cluster[samples])[0]) < len(samples) else None


def cluster_codes(rows: Rows) -> tuple[np.ndarray, int]:
    """Return the cluster of each sample as an index from 0 without gaps, int64 (m,), and how many there are."""
    known, codes = coded(rows.cluster)
    return codes.astype(np.int64), len(known)


def blocked_intervals(
    columns: Iterable[tuple[np.ndarray, np.ndarray]], size: int, *, seed: int, resamples: int
) -> list[Interval | None]:
    """Return the interval of sum(top) / sum(bottom) of each column (top, bottom), some columns at a time.

    The draws depend on the seed and ``size``, the number of clusters, only: every block sees the same resamples.
    """
    found: list[Interval | None] = []
    for block in blocks(columns, size):
        top, bottom = (np.stack(side, axis=1) for side in zip(*block, strict=True))
        found += ratio_intervals(top, bottom, seed=seed, resamples=resamples)
    return found


def blocks(columns: Iterable[T], size: int) -> Iterator[list[T]]:
    """Yield lists of columns of ``size`` clusters, each list of bounded memory."""
    rest = iter(columns)
    while block := list(islice(rest, max(1, CELLS // max(1, size)))):
        yield block


def cluster_sums(codes: np.ndarray, values: np.ndarray, size: int) -> np.ndarray:
    """Return the sum of the values of each cluster, float64 (size,)."""
    return np.bincount(codes, weights=values, minlength=size)
