"""What results.json must hold for one reward on one task, and how it differs from what it holds."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field, replace

from recompute import (
    acc_eq,
    correlations,
    mean,
    named,
    pairwise,
    point,
    rated_pairs,
    rm_bench,
    stated_pairs,
    task_threshold,
    top1_rated,
    top1_stated,
)
from recompute_calibration import calibration
from recompute_quality import auroc, fit_threshold, halves, quality
from recompute_score import mean_differences, mean_of, means

COUNTS = ("n", "rows", "pairs", "skipped", "unscored")
TOLERANCE = 1e-9


def ratings(data, aspect):
    """Return (metric, level, subset) -> number of one rated aspect."""
    if not data.rated(aspect):
        return {}
    out = pairwise(data, aspect)
    threshold = task_threshold(data, aspect)
    fitted = None
    if aspect == data.main and data.good is not None:
        first, rest = halves(data)
        fitted = fit_threshold(data, first), rest
    for subset in (None, *named(s.get("subset") for s in data.samples)):
        cells = data.rated(aspect, subset)
        if cells:
            found = correlations(data, aspect, cells) | (quality(data, subset, fitted) if fitted else {})
            found["top1-accuracy", "sample"] = top1_rated(data, aspect, cells)
            found["acc-eq", "sample"] = eq = acc_eq(data, aspect, cells, threshold)
            if subset is None:
                found["acc-eq-threshold", "sample"] = eq._replace(value=threshold)
            out |= {(metric, level, subset): value for (metric, level), value in found.items()}
    return out


def stated(data):
    """Return (metric, level, subset) -> number of the stated preferences."""
    pairs = stated_pairs(data)
    out = pairwise(data, None) | rm_bench(data)
    for subset in (None, *named(p.subset for p in pairs)):
        some = [p for p in pairs if subset in (None, p.subset)]
        if some:
            out["top1-accuracy", "sample", subset] = top1_stated(data, some)
    return out


def with_others(data, rater, others, aspect):
    """Return the task with one rater as the reward and the mean of the others as the human score of an aspect."""
    samples = []
    for sample, values in zip(data.samples, others, strict=True):
        human = [{} if v is None else {aspect: v} for v in values]
        candidates = [{**c, "human": h} for c, h in zip(sample["candidates"], human, strict=True)]
        samples.append({**sample, "candidates": candidates})
    return replace(data, samples=samples, scores=rater)


def views(data, parts):
    """Return aspect -> the data it is measured on: a reward with parts of a rater is held against the others."""
    out = {None: data}
    for aspect in data.aspects:
        rater, others = parts.get(f"{aspect}.rater"), parts.get(f"{aspect}.others")
        out[aspect] = data if rater is None else with_others(data, rater, others, aspect)
    return out


def agree(data, parts, *, calibrated=True):
    """Return (metric, aspect, level, subset) -> number; null rewards and oracles are not ``calibrated``."""
    out = {}
    for aspect, view in views(data, parts).items():
        found = ratings(view, aspect) if aspect else stated(view)
        if calibrated and aspect in (None, data.main):
            found |= calibration(view, aspect)
        out |= {(metric, aspect, level, subset): value for (metric, level, subset), value in found.items()}
    return out


def score(data, parts, *, null=False):
    """Return (metric, system, against) -> number."""
    out = {("mean", system, None): value for system, value in means(data.samples, data.scores).items()}
    every = [(i, c) for i, row in enumerate(data.scores) for c in range(len(row))]
    out |= {(f"part-mean:{name}", None, None): mean_of(column, every) for name, column in parts.items()}
    if not null:
        differences = mean_differences(data.samples, data.scores)
        out |= {("mean-difference", *pair): value for pair, value in differences.items()}
    return out


# ---- the difference of two rewards on the headline


def units(data, aspect):
    """Return the credit of each pair, by its place among all pairs; None: left out."""
    pairs = rated_pairs(data, aspect) if aspect else stated_pairs(data)
    return {(pair.sample, k): point(data, pair, 0.5) for k, pair in enumerate(pairs)}


def headline(data):
    """Return (metric, aspect): stated preferences, else pairs of the main aspect, else its ROC area."""
    if stated_pairs(data):
        return "pairwise-accuracy", None
    if data.main is None:
        return None
    return ("pairwise-accuracy" if rated_pairs(data, data.main) else "auroc"), data.main


def difference(first, second, place):
    """Return (value, pairs) of the first reward less the second on the units that count for both."""
    metric, aspect = place
    if metric == "auroc":
        left_out = [data for data in (first, second) if data.exclude]
        cells = [c for c in first.rated(aspect) if all(data.score(*c) is not None for data in left_out)]
        areas = [auroc(data, cells) for data in (first, second)]
        return (None if None in areas else areas[0] - areas[1]), None
    one, other = units(first, aspect), units(second, aspect)
    gains = [one[k] - other[k] for k in one if one[k] is not None and other[k] is not None]
    return mean(gains), len(gains)


# ---- comparing


@dataclass
class Comparison:
    compared: Counter = field(default_factory=Counter)
    problems: dict = field(default_factory=lambda: defaultdict(list))

    def number(self, key, result, expected):
        """Hold one number against one result (None: it is not there)."""
        self.compared[key[0]] += 1
        if result is None or expected is None:
            self.problems[key[0]].append((key, result and result["value"], expected))
            return
        wrong = [name for name in COUNTS if getattr(expected, name) not in (None, result[name])]
        a, b = result["value"], expected.value
        if (a is None) != (b is None) or (a is not None and abs(a - b) > TOLERANCE * max(1.0, abs(b))):
            wrong.append("value")
        if wrong:
            self.problems[key[0]].append((key, {k: (result[k], getattr(expected, k)) for k in wrong}))

    def table(self, results, expected):
        """Hold all results, by key, against all expected numbers: neither side may have one more."""
        for key in results.keys() | expected.keys():
            self.number(key, results.get(key), expected.get(key))
