"""The policies of a run as the optimise study sees them: who wrote which texts, with which seed, for what score."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.parts import brief
from rmbench.store import folder_name

NO_ROW = -1

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.studies.rows import Rows, Scored


@dataclass(frozen=True, slots=True)
class Entry:
    """One [[policy]] or [[train]] of a suite, as ``manifest["resolved"]["training"]`` has it.

    Attributes:
        name: the ``system`` of its outputs.
        use: the policy it is made with.
        trainer: name of its trainer, None where it is not trained.
        policy: name of its start, None where it has none.
        task: whose prompts it answers.
        reward: what it is optimised for, None where nothing is (not trained, or by supervision only).
        judges: rewards that judge it and are not optimised.
        seeds: of its trainings; (None,) where it stands once for all seeds.
        signature: what its weights are a function of.
        chooser: name of the reward by which it chooses among several responses, None where it does not.
        failure: why it could not be trained, None where nothing is known of that.
    """

    name: str
    use: str
    trainer: str | None
    policy: str | None
    task: str
    reward: str | None
    judges: tuple[str, ...]
    seeds: tuple[int | None, ...]
    signature: str
    chooser: str | None = None
    failure: str | None = None

    @property
    def supervised(self) -> bool:
        """Whether it is trained, and on no reward."""
        return self.trainer is not None and self.reward is None

    def folder(self, run: Path, seed: int | None) -> Path:
        """Return where its weights and outputs stand."""
        place = run / "training" / folder_name(self.name)
        return place if seed is None else place / f"seed-{seed}"


def entries(manifest: Mapping[str, Any], task: str) -> list[Entry]:
    """Return the entries of a task in the order of the manifest."""
    judges = [r["name"] for r in manifest["resolved"]["rewards"] if not r["null"] and not r["oracle"]]
    given = manifest["resolved"].get("training", ())
    return [_entry(one, judges, manifest.get("failures", {})) for one in given if one["task"] == task]


def _entry(given: Mapping[str, Any], rewards: Sequence[str], failures: Mapping[str, str]) -> Entry:
    reward = given.get("reward")
    named = given.get("judges") or ()
    judges = [name for name in named if name != reward] if reward else list(dict.fromkeys((*named, *rewards)))
    options = given.get("options") or {}
    return Entry(
        name=given["name"], use=given["use"], trainer=given.get("trainer"), policy=given.get("policy"),
        task=given["task"], reward=reward, judges=tuple(judges),
        seeds=tuple(given.get("seeds") or (None,)), signature=given.get("signature") or given["name"],
        chooser=options.get("best_by") or reward, failure=brief(failures.get(given["name"])),
    )  # fmt: skip


@dataclass(frozen=True, slots=True)
class Outputs:
    """The test outputs of one entry.

    Attributes:
        entry: whose.
        seeds: of the trainings that gave outputs.
        place: row of the task that each seed wrote for each sample, int64 (seeds, m), -1 where there is none.
    """

    entry: Entry
    seeds: tuple[int | None, ...]
    place: np.ndarray

    @property
    def missing(self) -> tuple[int | None, ...]:
        """The seeds of the entry without any output."""
        return tuple(seed for seed in self.entry.seeds if seed not in self.seeds)


def outputs(rows: Rows, entry: Entry) -> Outputs:
    """Find the rows of an entry: those of its name and seed (of its name alone, where it stands once for all)."""
    known = {name: at for at, name in enumerate(rows.systems)}
    seeds = np.array([NO_ROW if seed is None else seed for seed in rows.written], dtype=np.int64)
    mine = rows.system == known[entry.name] if entry.name in known else np.zeros(len(rows.system), dtype=bool)
    found, places = [], []
    for seed in entry.seeds:
        own = np.flatnonzero(mine if seed is None or not len(seeds) else mine & (seeds == seed))
        if len(own):
            place = np.full(len(rows.ids), NO_ROW, dtype=np.int64)
            place[rows.sample[own[::-1]]] = own[::-1]  # of several the first
            found.append(seed)
            places.append(place)
    return Outputs(entry, tuple(found), np.array(places, dtype=np.int64).reshape(len(found), len(rows.ids)))


def beside(start: Outputs, seeds: Sequence[int | None]) -> np.ndarray:
    """Return the rows of a start that belong to these seeds, int64 (seeds, m): of the same seed, or its only ones.

    A seed that the start does not have, where it has several, has -1 everywhere.
    """
    none = np.full(start.place.shape[1], NO_ROW, dtype=np.int64)
    only = start.place[0] if len(start.entry.seeds) == 1 and len(start.seeds) == 1 else none
    own = dict(zip(start.seeds, start.place, strict=True))
    return np.array([own.get(seed, only) for seed in seeds], dtype=np.int64).reshape(len(seeds), len(none))


@dataclass(frozen=True, slots=True)
class Sheet:
    """Numbers of each seed and sample: float64 and bool (seeds, m), 0.0 where not ``ok``."""

    values: np.ndarray
    ok: np.ndarray


def scores(scored: Scored, place: np.ndarray) -> Sheet:
    """Return the scores of a reward at these rows (-1: none); a reward that has no column has none."""
    if scored.column is None or not len(scored.column.values):
        return Sheet(np.zeros(place.shape), np.zeros(place.shape, dtype=bool))
    ok = (place >= 0) & np.asarray(scored.column.ok)[place]
    return Sheet(np.where(ok, np.asarray(scored.column.values)[place], 0.0), ok)


def less(left: Sheet, right: Sheet) -> Sheet:
    """Return the differences where both sides have a number."""
    ok = left.ok & right.ok
    return Sheet(np.where(ok, left.values - right.values, 0.0), ok)
