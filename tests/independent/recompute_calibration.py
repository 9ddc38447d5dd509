"""Calibration once more: Brier score, calibration error, temperature, accuracy by margin.

Left open by DESIGN and settled by what rmbench documents: the fitting half is that of the prompts with decided pairs; 1/T
is sought up to 1000 over the mean margin; confidences have 12 digits; a bin of confidence holds its upper edge; a margin
is in the fifth where the middle of its equals is.
"""

from __future__ import annotations

import numpy as np
from recompute import Number, cells_of, digits, mean, number, rated_pairs, stated_pairs
from scipy import stats as sp


def margin(data, pair):
    x, y = data.score(pair.sample, pair.better), data.score(pair.sample, pair.worse)
    return None if x is None or y is None else digits(x - y)


def probability(d, temperature):
    if temperature == 0:
        return 0.5 if d == 0 else float(d > 0)
    return float(sp.logistic.cdf(d / temperature))


def errors(data, pairs, temperature):
    """Return (Brier score, calibration error) of the scored pairs."""
    bins, squares = {}, []
    for pair in pairs:
        d = margin(data, pair)
        if d is not None:
            p = probability(d, temperature)
            sure, right = digits(max(p, 1 - p)), 0.5 if d == 0 else float(d > 0)
            edge = next(k for k in range(1, 11) if sure <= digits(0.5 + 0.05 * k))
            bins.setdefault(edge, []).append((sure, right))
            squares.append((1 - p) ** 2)
    gaps = [len(b) * abs(mean(r for _, r in b) - mean(c for c, _ in b)) for b in bins.values()]
    return mean(squares), sum(gaps) / len(squares)


def temperature_of(margins):
    d = np.array(margins)
    d = d / np.abs(d).mean()
    if d.mean() <= 1e-12:
        return np.inf

    def slope(inverse):
        return float(np.sum(d * sp.logistic.sf(inverse * d)))

    low, high = 0.0, 1000.0
    if slope(high) >= 0:
        return 0.0
    for _ in range(80):
        middle = (low + high) / 2
        low, high = (middle, high) if slope(middle) > 0 else (low, middle)
    return float(np.abs(margins).mean() / low)


def halves(data, pairs):
    known = sorted({data.prompts[pair.sample] for pair in pairs})
    order = np.random.default_rng(data.seed).permutation(len(known))
    first = {known[k] for k in order[: len(known) // 2]}
    return tuple([p for p in pairs if (data.prompts[p.sample] in first) == side] for side in (True, False))


def over(data, value, pairs):
    return number(data, value, cells_of(pairs), pairs=sum(margin(data, pair) is not None for pair in pairs))


def by_margin(data, pairs, temperature):
    known = [(pair, d) for pair in pairs if (d := margin(data, pair)) is not None]
    sizes = [abs(d) for _, d in known]
    below, upto = (np.searchsorted(sorted(sizes), sizes, side=side).tolist() for side in ("left", "right"))
    fifths = [5 * (one + other) // (2 * len(sizes)) for one, other in zip(below, upto, strict=True)]
    out = {}
    for k in sorted(set(fifths)):
        some = [item for item, fifth in zip(known, fifths, strict=True) if fifth == k]
        of = [pair for pair, _ in some]
        values = {
            "margin-accuracy": mean(0.5 if d == 0 else float(d > 0) for _, d in some),
            "margin-confidence": mean(probability(abs(d), 1.0) for _, d in some),
            "margin-edge": max(abs(d) for _, d in some),
        }
        if temperature is not None:
            values["margin-confidence-scaled"] = mean(probability(abs(d), temperature) for _, d in some)
        out |= {(name, "pair", f"margin:{k + 1}/5"): over(data, value, of) for name, value in values.items()}
    return out


def calibration(data, aspect):
    """Return (metric, level, subset) -> number; nothing below 40 pairs."""
    pairs = rated_pairs(data, aspect) if aspect else stated_pairs(data)
    if len(pairs) < 40:
        return {}
    first, rest = halves(data, pairs)
    values = dict.fromkeys(("brier", "calibration-error", "temperature", "brier-scaled", "calibration-error-scaled"))
    counts = [sum(margin(data, pair) is not None for pair in some) for some in (pairs, first, rest)]
    temperature, bins = None, {}
    if counts[0] >= 40 and any(margin(data, pair) for pair in pairs):
        values["brier"], values["calibration-error"] = errors(data, pairs, 1.0)
        if min(counts[1:]) >= 20:
            temperature = temperature_of([d for pair in first if (d := margin(data, pair)) is not None])
            values["temperature"] = None if np.isinf(temperature) else temperature
            values["brier-scaled"], values["calibration-error-scaled"] = errors(data, rest, temperature)
        bins = by_margin(data, pairs, temperature)
    where = {"temperature": first, "brier-scaled": rest, "calibration-error-scaled": rest}
    found: dict[tuple, Number] = {
        (name, "pair", None): over(data, value, where.get(name, pairs)) for name, value in values.items()
    }
    return found | bins
