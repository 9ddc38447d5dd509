"""Systems: does a reward's mean order them as people's mean does?"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
from scipy import sparse

from rmbench.stats.ranking import group_starts, soft_pairwise_accuracy, system_accuracy
from rmbench.stats.resampling import counts, percentile_interval
from rmbench.stats.ties import round12
from rmbench.studies.correlations import ROWS, WHOLE, checked, why_undefined
from rmbench.studies.view import Number, place_of, seeded

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rmbench.api import Result
    from rmbench.stats.resampling import Interval
    from rmbench.studies.view import Judged, Place, View, Wanted

    Statistic = Callable[[np.ndarray, np.ndarray], float | None]

LEAST_SYSTEMS = 3
TOO_FEW = "fewer than three systems"
NO_INTERVAL = "no interval: each resample would need permutations of its own"
WIDEST = 20_000_000  # cells of one table of sums, or of its resamples, held at a time


class Means(NamedTuple):
    """Means of the systems that a reward scored, and of their bootstrap resamples.

    Attributes:
        human, scores: rounded means, shape (systems,).
        humans, rewards: of each resample, shape (resamples, systems), where ``known``, bool.
    """

    human: np.ndarray
    scores: np.ndarray
    humans: np.ndarray
    rewards: np.ndarray
    known: np.ndarray


def system_level(view: View, wanted: Wanted) -> list[Result]:
    """Return everything at level system: null below three systems that have human scores and rewards."""
    plugins = {metric.name: checked(metric) for metric in wanted.plugin_metrics("system")}
    statistics: dict[str, Statistic] = {name: WHOLE[name] for name in WHOLE if name in wanted} | plugins
    if "system-accuracy" in wanted:
        statistics["system-accuracy"] = _accuracy
    if not view.rated.any() or not view.rewards:
        return []
    place = place_of(view, "system")
    results = []
    if statistics:
        for reward, means in zip(view.rewards, _means(view, place), strict=True):
            results += [
                place.result(name, reward, _number(name, statistic, means)) for name, statistic in statistics.items()
            ]
    if "soft-pairwise-accuracy" in wanted:
        results += _soft(view, place)
    return results


def _number(name: str, statistic: Statistic, means: Means) -> Number:
    if len(means.human) < LEAST_SYSTEMS:
        return Number(None, reason=TOO_FEW)
    value = statistic(means.scores, means.human)
    if value is None:
        equal = name == "system-accuracy" or (means.human == means.human[0]).all()
        return Number(None, reason="human scores are constant" if equal else why_undefined(means.scores, means.human))
    return Number(value, _interval(name, statistic, means))


def _accuracy(scores: np.ndarray, human: np.ndarray) -> float | None:
    credit, pairs = system_accuracy(human[None, :], scores[None, :])
    return float(credit[0] / pairs[0]) if pairs[0] else None


def _interval(name: str, statistic: Statistic, means: Means) -> Interval | None:
    """Return the interval over resamples; where one misses a system, the statistic is that of the others."""
    values = np.full(len(means.humans), np.nan)
    whole = means.known.all(axis=1)
    human, scores = means.humans[whole], means.rewards[whole]
    if name in ROWS:
        answer = ROWS[name](scores, human)
        values[whole] = np.where(answer.defined, answer.values, np.nan)
        part = np.flatnonzero(~whole)
    elif name == "system-accuracy":
        credit, pairs = system_accuracy(human, scores)
        values[whole] = np.divide(credit, pairs, out=np.full(len(credit), np.nan), where=pairs > 0)
        part = np.flatnonzero(~whole)
    else:
        part = np.arange(len(values))
    for row in part:
        known = means.known[row]
        if np.count_nonzero(known) >= LEAST_SYSTEMS:
            value = statistic(means.rewards[row, known], means.humans[row, known])
            values[row] = np.nan if value is None else value
    return percentile_interval(values)


@dataclass(frozen=True, slots=True)
class Table:
    """Scores of the systems of one reward: the rows that have both scores, and the system of each, from 0."""

    rows: np.ndarray
    systems: np.ndarray

    @property
    def width(self) -> int:
        """The number of systems."""
        return int(self.systems.max()) + 1 if len(self.systems) else 0


def _means(view: View, place: Place) -> list[Means]:
    """Return the means over the rows that have both scores: a system's unscored rows leave both of its means."""
    tables = []
    for reward in view.rewards:
        rows = np.flatnonzero(view.rated & reward.ok)
        tables.append(Table(rows, np.unique(view.rows.system[rows], return_inverse=True)[1]))
    step = max(1, WIDEST // (3 * place.resamples * max(1, *(table.width for table in tables))))
    means: list[Means] = []
    for start in range(0, len(tables), step):
        group = slice(start, start + step)
        sums = _resampled_systems(view, place, view.rewards[group], tables[group])
        for reward, table, (number, *totals) in zip(view.rewards[group], tables[group], sums, strict=True):
            human, scores = (_exact_means(side[table.rows], table.systems) for side in (view.human, reward.values))
            known = number > 0
            humans, rewards = (round12(np.divide(t, number, out=np.zeros_like(t), where=known)) for t in totals)
            means.append(Means(human, scores, humans, rewards, known))
    return means


def _resampled_systems(
    view: View, place: Place, rewards: Sequence[Judged], tables: Sequence[Table]
) -> list[tuple[np.ndarray, ...]]:
    """Return number of rows, human sum and reward sum of each system in each resample, for each reward.

    Three float64 arrays of shape (resamples, systems) each; no resamples with fewer than two clusters.
    """
    size = len(place.clusters)
    if size < 2:  # noqa: PLR2004 - one cluster does not vary
        return [tuple(np.zeros((3, 0, table.width))) for table in tables]
    parts: list[sparse.csr_array] = []
    known: dict[bytes, tuple[int, int]] = {}
    wanted = []
    for reward, table in zip(rewards, tables, strict=True):
        cells, shape = (place.codes[view.rows.sample[table.rows]], table.systems), (size, table.width)
        key = table.rows.tobytes()
        if key not in known:  # most rewards score the same rows
            known[key] = len(parts), len(parts) + 1
            parts += [sparse.csr_array((w, cells), shape) for w in (np.ones(len(table.rows)), view.human[table.rows])]
        wanted.append((*known[key], len(parts)))
        parts.append(sparse.csr_array((reward.values[table.rows], cells), shape))
    whole = sparse.hstack(parts, format="csr").T
    if whole.shape[0] * whole.shape[1] <= WIDEST:
        whole = whole.toarray()
    blocks = [(whole @ block.T).T for block in counts(size, seed=view.rows.seed, resamples=place.resamples)]
    ends = np.cumsum([part.shape[1] for part in parts])[:-1]
    columns = np.split(np.concatenate(blocks), ends, axis=1)
    return [tuple(columns[part] for part in three) for three in wanted]


def _exact_means(values: np.ndarray, systems: np.ndarray) -> np.ndarray:
    order = np.argsort(systems, kind="stable")
    parts = np.split(values[order], group_starts(systems[order])[1:]) if len(order) else []
    return round12([math.fsum(part.tolist()) / len(part) for part in parts])


def _soft(view: View, place: Place) -> list[Result]:
    """Return soft pairwise accuracy over the samples that all systems answered and the reward scored."""
    tables: dict[bytes, list[Judged]] = {}
    for reward in view.rewards:
        tables.setdefault((view.rated & reward.ok).tobytes(), []).append(reward)
    numbers: dict[str, Number] = {}
    for rewards in tables.values():
        grid = _common(view, np.flatnonzero(view.rated & rewards[0].ok))
        if grid.shape[1] < LEAST_SYSTEMS or not len(grid):
            reason = TOO_FEW if grid.shape[1] < LEAST_SYSTEMS else "the systems have no sample in common"
            numbers.update({reward.scored.name: Number(None, reason=reason) for reward in rewards})
            continue
        scores = np.stack([reward.values[grid] for reward in rewards])
        values = soft_pairwise_accuracy(view.human[grid], scores, seed=view.rows.seed)
        for reward, value in zip(rewards, values, strict=True):
            numbers[reward.scored.name] = Number(float(value), reason=NO_INTERVAL)
    results = [place.result("soft-pairwise-accuracy", r, numbers[r.scored.name]) for r in view.rewards]
    return [seeded(result, view.rows.seed) for result in results]


def _common(view: View, rows: np.ndarray) -> np.ndarray:
    """Return the row of each (sample, system) over the samples that every system answered, int64 (samples, systems).

    A system's first row in a sample stands for it.
    """
    _, systems = np.unique(view.rows.system[rows], return_inverse=True)
    width = int(systems.max()) + 1 if len(rows) else 0
    samples, places = np.unique(view.rows.sample[rows], return_inverse=True)
    keys, first = np.unique(places * max(1, width) + systems, return_index=True)
    per_sample = np.bincount(keys // max(1, width), minlength=len(samples))
    whole = np.flatnonzero(per_sample == width)
    inside = np.isin(keys // max(1, width), whole)
    return np.asarray(rows[first[inside]].reshape(len(whole), width))
