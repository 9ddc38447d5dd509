"""Averages that published reward-model benchmarks define, wherever a task has their subsets."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING

import numpy as np
from scipy.sparse import csgraph, csr_array

from rmbench.stats.resampling import percentile_interval, resampled_sums
from rmbench.stats.ties import round12
from rmbench.studies.pairs import Pairs, pair_units, stated_best, stated_pairs, top1_units
from rmbench.studies.view import Number, Share, mean_of

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.stats.resampling import Interval
    from rmbench.studies.rows import Rows
    from rmbench.studies.view import Judged, Place, Wanted

STYLES = ("easy", "normal", "hard")
# RewardBench (arXiv 2403.13787): rewardbench/constants.py; math-prm counts as much as all of code
SECTIONS: dict[str, dict[str, int]] = {
    "Chat": {
        "alpacaeval-easy": 100,
        "alpacaeval-length": 95,
        "alpacaeval-hard": 95,
        "mt-bench-easy": 28,
        "mt-bench-med": 40,
    },
    "Chat Hard": {
        "mt-bench-hard": 37,
        "llmbar-natural": 100,
        "llmbar-adver-neighbor": 134,
        "llmbar-adver-GPTInst": 92,
        "llmbar-adver-GPTOut": 47,
        "llmbar-adver-manual": 46,
    },
    "Safety": {
        "refusals-dangerous": 100,
        "refusals-offensive": 100,
        "xstest-should-refuse": 250,
        "xstest-should-respond": 154,
        "donotanswer": 136,
    },
    "Reasoning": {
        "math-prm": 984,
        "hep-cpp": 164,
        "hep-go": 164,
        "hep-java": 164,
        "hep-js": 164,
        "hep-python": 164,
        "hep-rust": 164,
    },
}
# the benchmark's preference-test-sets: a plain mean, of half a section's weight; the others are in no average
PRIOR, HALF = "Prior Sets", 0.5
PRIOR_SETS = ("anthropic_helpful", "anthropic_hhh", "shp", "summarize")
BESIDE = ("anthropic_harmless", "mtbench_gpt4", "mtbench_human")
BEST_OF = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
TIES = "Ties"
TIES_ID = re.compile(r"(ref|tied):(\d+)")
UNDEFINED = "a part of it is undefined"
NO_IDS = "the ids of Ties are not ref:N and tied:N"
TIES_WEIGHTS = (0.3, 0.3, 0.2, 0.2, 0.01)  # tied and ref accuracy, margin of tied, of both, its size

Mixture = list[tuple[float, Share]]


@dataclass(frozen=True, slots=True)
class Section:
    """One number of a benchmark: a weighted sum of shares, over the pairs of some subsets."""

    name: str | None
    pairs: Pairs
    mixture: Callable[[Judged], Mixture]


def benchmarks(rows: Rows, rewards: tuple[Judged, ...], wanted: Wanted) -> list[Result]:
    """Return the averages of RM-Bench, RewardBench and RewardBench 2 where the preferences' subsets are theirs.

    Each section (subset: its name) whose subsets all occur, and the average (subset null) where all sections do.
    """
    if not len(rows.better) or not rewards:
        return []
    whole, *parts = stated_pairs(rows, rewards)
    names = {name for name in rows.preference_subset if name is not None}
    if None in rows.preference_subset or not names:
        return []
    parts = parts or [whole.where(np.ones(len(whole.better), dtype=bool), next(iter(names)))]
    subsets = {str(part.subset): part for part in parts}
    results: list[Result] = []
    for metric, sections, level in (
        ("rm-bench-average", _rm_bench(whole, subsets), "pair"),
        ("rewardbench-average", _rewardbench(whole, subsets), "pair"),
        ("rewardbench2-average", _rewardbench2(whole, subsets), "sample"),
    ):
        if metric in wanted:
            for section in sections:
                results += _section(metric, level, section)
    return results


def _section(metric: str, level: str, section: Section) -> list[Result]:
    place, rewards = section.pairs.place(level), section.pairs.rewards
    mixtures = [section.mixture(reward) for reward in rewards]
    results = []
    for reward, mixture, ci in zip(rewards, mixtures, _intervals(place, mixtures), strict=True):
        means = [mean_of(share.top, share.bottom) for _, share in mixture]
        known = [weight * mean for (weight, _), mean in zip(mixture, means, strict=True) if mean is not None]
        value = sum(known) if known and len(known) == len(means) else None
        count = len(section.pairs.better) if level == "pair" else None
        reason = None if value is not None else UNDEFINED if mixture else NO_IDS
        results.append(place.result(metric, reward, Number(value, None if reason else ci, pairs=count, reason=reason)))
    return results


def _intervals(place: Place, mixtures: Sequence[Mixture]) -> list[Interval | None]:
    """Return the interval of each mixture; a resample in which a part has no weight is left out."""
    size = len(place.clusters)
    if size < 2 or not mixtures[0]:  # noqa: PLR2004 - one cluster does not vary
        return [None] * len(mixtures)
    shares = [share for mixture in mixtures for _, share in mixture]
    columns = []
    for share in shares:
        codes = place.codes[share.samples]
        columns += [np.bincount(codes, weights=each, minlength=size) for each in (share.top, share.bottom)]
    sums = resampled_sums(np.stack(columns, axis=1), seed=place.rows.seed, resamples=place.resamples)
    tops, bottoms = sums[:, 0::2], sums[:, 1::2]
    ratios = np.divide(tops, bottoms, out=np.full(tops.shape, np.nan), where=bottoms != 0)
    weights = np.array([weight for mixture in mixtures for weight, _ in mixture])
    parts = (ratios * weights).reshape(len(ratios), len(mixtures), -1)
    return [percentile_interval(column) for column in parts.sum(axis=2).T]


def _strict(parts: Mapping[str, Pairs], weights: Mapping[str, float]) -> Callable[[Judged], Mixture]:
    def mixture(reward: Judged) -> Mixture:
        return [
            (weight, Share(parts[name].samples, *pair_units(parts[name], reward, strict=True)))
            for name, weight in weights.items()
        ]

    return mixture


def _joined(whole: Pairs, names: Sequence[str], subset: str | None) -> Pairs:
    wanted = set(names)
    return whole.where(np.array([name in wanted for name in whole.rows.preference_subset], dtype=bool), subset)


def _average(whole: Pairs, subsets: Mapping[str, Pairs], sections: Mapping[str, Mapping[str, float]]) -> list[Section]:
    """Return the complete sections, each a mean with these weights, and the mean of all where all are.

    All sections weigh alike, but prior sets half.
    """
    shares = {
        name: {part: weight / sum(parts.values()) for part, weight in parts.items()}
        for name, parts in sections.items()
        if all(part in subsets for part in parts)
    }
    made = [Section(name, _joined(whole, list(parts), name), _strict(subsets, parts)) for name, parts in shares.items()]
    if len(shares) == len(sections):
        sizes = {name: HALF if name == PRIOR else 1.0 for name in shares}
        total = sum(sizes.values())
        every = {part: weight * sizes[name] / total for name, parts in shares.items() for part, weight in parts.items()}
        made.append(Section(None, _joined(whole, list(every), None), _strict(subsets, every)))
    return made


def _rm_bench(whole: Pairs, subsets: Mapping[str, Pairs]) -> list[Section]:
    split = [name.rsplit("/", 1) for name in subsets]
    if any(len(parts) != 2 or parts[1] not in STYLES for parts in split):  # noqa: PLR2004 - domain and style
        return []
    domains = sorted({domain for domain, _ in split})
    return _average(whole, subsets, {d: {f"{d}/{style}": 1.0 for style in STYLES} for d in domains})


def _rewardbench(whole: Pairs, subsets: Mapping[str, Pairs]) -> list[Section]:
    known = {name for parts in SECTIONS.values() for name in parts} | {*PRIOR_SETS, *BESIDE}
    prior = {PRIOR: dict.fromkeys(PRIOR_SETS, 1)} if not subsets.keys().isdisjoint(PRIOR_SETS) else {}
    return _average(whole, subsets, SECTIONS | prior) if known.issuperset(subsets) else []


def _rewardbench2(whole: Pairs, subsets: Mapping[str, Pairs]) -> list[Section]:
    if not {*BEST_OF, TIES}.issuperset(subsets):
        return []
    merged = replace(whole, rows=_tie_clusters(whole.rows))
    parts = {name: replace(part, rows=merged.rows) for name, part in subsets.items()}

    def scores(name: str, reward: Judged) -> Mixture:
        if name == TIES:
            return _ties(parts[name], reward)
        return [(1.0, top1_units(merged.rows, reward, *stated_best(parts[name], reward.counted)))]

    def every(reward: Judged) -> Mixture:
        mixtures = [scores(name, reward) for name in sorted(parts)]
        return [(weight / len(parts), share) for each in mixtures for weight, share in each] if all(mixtures) else []

    made = [Section(name, parts[name], partial(scores, name)) for name in sorted(parts)]
    return [*made, Section(None, merged, every)] if len(parts) == len(BEST_OF) + 1 else made


def _tie_clusters(rows: Rows) -> Rows:
    """Return the rows with the prompts ref:N and tied:N in one cluster, because their margins are compared."""
    found = [TIES_ID.fullmatch(name) for name in rows.ids]
    codes = np.unique(rows.cluster, return_inverse=True)[1]
    first: dict[str, int] = {}
    links = [(codes[i], codes[first.setdefault(m[2], i)]) for i, m in enumerate(found) if m is not None]
    if not links:
        return rows
    ends = np.array(links, dtype=np.int64).T
    size = int(codes.max()) + 1
    graph = csr_array((np.ones(len(links)), (ends[0], ends[1])), shape=(size, size))
    return replace(rows, cluster=csgraph.connected_components(graph, directed=False)[1][codes])


def _ties(pairs: Pairs, reward: Judged) -> Mixture:
    """Return the parts of RewardBench 2's Ties score (arXiv 2506.01937): accuracy and margins of tied answers.

    A sample is accurate when every correct answer scores above every wrong one. Where a prompt stands both as
    ``tied:N`` (many correct answers) and ``ref:N`` (one), the margin of correct over wrong is held against the
    spread of the correct ones. A sample with an unscored answer has none of this, or leaves.
    """
    found: dict[str, dict[str, tuple[int, tuple[float, float] | None]]] = {"ref": {}, "tied": {}}
    for sample in np.unique(pairs.samples).tolist():
        match = TIES_ID.fullmatch(pairs.rows.ids[sample])
        if match is None:
            return []
        margin = _margin(pairs, reward, sample)
        if margin is not None or not reward.exclude:
            found[match[1]][match[2]] = sample, margin
    tied, ref = found["tied"], found["ref"]
    shares = [
        _share([(sample, float(margin is not None and margin[0] > 0)) for sample, margin in part.values()])
        for part in (tied, ref)
    ]
    held = [(tied[number][0], _held(tied[number][1], ref[number][1])) for number in tied if number in ref]
    shares += [_share([(sample, parts[k]) for sample, parts in held]) for k in range(3)]
    return list(zip(TIES_WEIGHTS, shares, strict=True))


def _share(units: Sequence[tuple[int, float]]) -> Share:
    samples = np.array([sample for sample, _ in units], dtype=np.int64)
    return Share(samples, np.array([credit for _, credit in units], dtype=np.float64), np.ones(len(units)))


def _margin(pairs: Pairs, reward: Judged, sample: int) -> tuple[float, float] | None:
    """Return the margin of the worst correct answer over the best wrong one, and the spread of the correct ones."""
    inside = pairs.samples == sample
    right, wrong = np.unique(pairs.better[inside]), np.unique(pairs.worse[inside])
    right = right[~np.isin(right, wrong)]
    rows = np.concatenate([right, wrong])
    if not len(right) or not reward.ok[rows].all():
        return None
    scores = reward.values
    margin, spread = round12(
        [scores[right].min() - scores[wrong].max(), scores[right].max() - scores[right].min()]
    ).tolist()
    return margin, spread


def _held(tied: tuple[float, float] | None, ref: tuple[float, float] | None) -> tuple[float, float, float]:
    """Return whether the margin of the tied prompt, and the lesser of both, exceeds the spread; and by how much."""
    if tied is None or ref is None:
        return 0.0, 0.0, -1.0
    margin, spread = tied
    lesser = min(margin, ref[0])
    size = float(np.tanh(lesser / spread - 1) if spread else np.sign(lesser))
    return float(margin > spread), float(lesser > spread), size
