"""What the studies read: the rows of one task as columns, with the scores of every reward beside them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

    from rmbench.api import Column, Unscored

PROTOCOL = 1


@dataclass(frozen=True, slots=True)
class Scored:
    """One reward of a run on one task.

    Attributes:
        name: the reward's name in the suite.
        signature: what stands beside every number of it.
        column: its scores (None where the reward could not run on this task; then ``reason`` says why).
        unscored: how rows without a score count: ``"wrong"`` or ``"exclude"``.
        null: one of the null rewards (random, constant, longest, shortest, copy, lead).
        oracle: it reads the labels: marked, unranked.
    """

    name: str
    signature: str
    column: Column | None
    unscored: Unscored = "wrong"
    null: bool = False
    oracle: bool = False
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Rows:
    """One task of a run: ``n`` rows (candidates) of ``m`` samples, in file order.

    Attributes:
        task, version, kind, split, languages: of the card; ``label`` is ``summeval@1#b3335a80``.
        aspects, main, good: of the card's [human] (empty, None, None where there are no ratings).
        ids: sample id of each sample, shape (m,).
        sample: index of the sample of each row, int64 (n,), non-decreasing.
        candidate: index of the candidate within its sample, int64 (n,).
        systems: distinct system names, sorted; ``system``: index into it of each row, int64 (n,).
        cluster: index of the prompt of each sample, int64 (m,): samples with the same prompt share it.
        subset: subset of each sample or None, shape (m,).
        texts: text of each row; ``prompts`` and tuples of ``references``: of each sample. Like ``ids``, those of a run
            folder are read part by part, in order best (``parts.Stored``).
        human: aspect -> Column of the mean human score of each row.
        better, worse: row indices of each stated preference, int64 (p,); ``preference_subset`` (p,): the
            preference's own subset, else its sample's, else None.
        rewards: by name, in suite order, null rewards last.
        seed, limit: of the run (seed of every resampling).
        written: seed of the policy of the suite that wrote each row, None for a text of the data, shape (n,).
    """

    task: str
    version: int
    kind: str | None
    split: str
    label: str
    languages: tuple[str, ...]
    aspects: tuple[str, ...]
    main: str | None
    good: float | None
    ids: Sequence[str]
    sample: np.ndarray
    candidate: np.ndarray
    systems: tuple[str, ...]
    system: np.ndarray
    cluster: np.ndarray
    subset: tuple[str | None, ...]
    texts: Sequence[str]
    references: Sequence[tuple[str, ...]]
    human: Mapping[str, Column]
    better: np.ndarray
    worse: np.ndarray
    preference_subset: tuple[str | None, ...]
    rewards: Mapping[str, Scored]
    seed: int = 1
    limit: int | None = None
    prompts: Sequence[str] = ()
    written: tuple[int | None, ...] = ()
