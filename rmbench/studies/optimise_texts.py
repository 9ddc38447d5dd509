"""What trained policies write, without a reward: length, diversity, KL to the start, corpus scores."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING

import numpy as np

from rmbench.stats.aggregate import over_runs, run_weights
from rmbench.stats.resampling import RESAMPLES, percentile_interval
from rmbench.stats.scaling import best_of_n_kl
from rmbench.studies.clusters import exact_mean
from rmbench.studies.corpus import Drawn, drawn
from rmbench.studies.entries import Sheet, pool_size
from rmbench.studies.figures import finite, read_lines
from rmbench.studies.optimise_means import NO_OUTPUT, OPTIMISE, SEEDS_AND_PROMPTS, about, mean_of, numbers, without

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.api import Result
    from rmbench.stats.resampling import Interval
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field, Mean

TOLD = {"kl": "kl", "finished": "finished", "tokens": "tokens"}  # metric: field of outputs.jsonl
DISTINCT = "distinct-2"
CORPUS = ("bleu", "chrf", "rouge-1", "rouge-2", "rouge-l")


def texts(field: Field) -> list[Result]:
    """Return, of each entry: ``length`` in words, ``kl`` (nats, mean exact KL of a sampled response to the start),
    ``tokens``, ``finished`` (share that came to its end), ``distinct-2`` and the corpus scores.

    ``distinct-2`` is the number of distinct bigrams of words over that of all, over all outputs of a seed (Li et al.
    2016), and over seeds the mean, without an interval. Corpus scores over seeds are the mean of those of the seeds;
    their intervals resample whole seeds and prompts, crossed.
    """  # noqa: D205 - the first sentence lists
    entries = [found.entry for found in field.outputs.values()]
    means = [mean for entry in entries for mean in (_length(field, entry), *_told(field, entry))]
    diverse = [row for entry in entries for row in _distinct(field, entry)]
    return [*numbers(field, means), *diverse, *_corpus(field)]


def _length(field: Field, entry: Entry) -> Mean:
    place = field.outputs[entry.name].place
    words = np.array([len(text.split()) for text in field.rows.texts] or [0], dtype=np.float64)
    return mean_of(field, entry, "length", Sheet(np.where(place >= 0, words[place], 0.0), place >= 0))


def _told(field: Field, entry: Entry) -> Iterator[Mean]:
    """Yield the means of what the policy tells of its outputs; nothing of what it never tells."""
    found = field.outputs[entry.name]
    at = {name: index for index, name in enumerate(field.rows.ids)}
    lines = [read_lines(entry.folder(field.run, seed) / "outputs.jsonl") for seed in found.seeds]
    for metric, key in TOLD.items():
        sheet = Sheet(np.zeros(found.place.shape), np.zeros(found.place.shape, dtype=bool))
        for row, its in enumerate(lines):
            for line in its:
                value = line.get(key)
                number = float(value) if isinstance(value, bool) else finite(value)
                if number is not None and line.get("id") in at:
                    sheet.values[row, at[line["id"]]] = number
                    sheet.ok[row, at[line["id"]]] = True
        if sheet.ok.any():
            mean = mean_of(field, entry, metric, sheet)
            yield _chosen(field, mean, entry) if metric == "kl" else mean


def _chosen(field: Field, mean: Mean, entry: Entry) -> Mean:
    """Return the KL of an entry; of one with its start's weights that takes the best of n, what that choice is worth.

    log n - (n - 1) / n nats for every prompt: exact where no two responses tie, an upper bound otherwise.
    """
    pool = pool_size(field.run, entry)
    if pool < 2 or mean.sheet.values.any():  # noqa: PLR2004 - one response is no choice
        return mean
    return replace(mean, sheet=Sheet(np.where(mean.sheet.ok, best_of_n_kl(pool), 0.0), mean.sheet.ok))


def distinct(outputs: Sequence[str]) -> float | None:
    """Return distinct bigrams of words over all bigrams, None where there is no bigram."""
    pairs = [pair for text in outputs for words in (text.split(),) for pair in pairwise(words)]
    return len(set(pairs)) / len(pairs) if pairs else None


def _distinct(field: Field, entry: Entry) -> Iterator[Result]:
    found = field.outputs[entry.name]
    row = about(field, entry, DISTINCT)
    values = []
    for seed, place in zip(found.seeds, found.place, strict=True):
        written = place[place >= 0].tolist()
        value = distinct([field.rows.texts[at] for at in written])
        values.append((seed, value, len(written)))
    for seed in found.missing:
        yield replace(row, seed=seed, reason=entry.failure or NO_OUTPUT)
    for seed, value, size in values:
        if seed is not None:
            yield replace(row, seed=seed, value=value, n=size, reason=None if value is not None else "no bigram")
    known = np.array([value for _, value, _ in values if value is not None])
    why = None if len(known) else entry.failure or (NO_OUTPUT if not values else "no bigram")
    whole = replace(row, value=exact_mean(known), n=max((size for _, _, size in values), default=0), reason=why)
    yield without(whole, found.missing)


def _corpus(field: Field) -> Iterator[Result]:
    """Yield the corpus scores of each entry and seed, and their means over seeds."""
    labels = [(found.entry, seed, place) for found in field.outputs.values()
              for seed, place in zip(found.seeds, found.place, strict=True)]  # fmt: skip
    names = {f"{at:06d}": (entry, seed) for at, (entry, seed, _) in enumerate(labels)}
    groups = {name: place[place >= 0] for name, (_, _, place) in zip(names, labels, strict=True)}
    by_entry: dict[str, dict[str, list[Drawn]]] = {}
    for one in drawn(field.rows, groups) if names else ():
        result = one.result
        entry, seed = names[result.system or ""]
        row = about(field, entry, result.metric)
        signature = "|".join((entry.signature, result.signature or ""))
        own = replace(
            result, study=OPTIMISE, system=row.system, policy=row.policy, trainer=row.trainer, seed=seed,
            signature=signature,
        )  # fmt: skip
        by_entry.setdefault(entry.name, {}).setdefault(result.metric, []).append(Drawn(own, one.values))
        if seed is not None:
            yield own
    for name, its in by_entry.items():
        found = field.outputs[name]
        for rows in its.values():
            for seed in found.missing:
                yield replace(
                    rows[0].result, seed=seed, value=None, ci=None, resamples=None, n=0, rows=0, skipped=None,
                    reason=found.entry.failure or NO_OUTPUT,
                )  # fmt: skip
            yield without(_over_seeds(rows, field.rows.seed), found.missing)


def _over_seeds(rows: Sequence[Drawn], seed: int) -> Result:
    """Return the only seed's number, or the mean of several with an interval over seeds and prompts."""
    first = rows[0].result
    if len(rows) == 1:
        return replace(first, seed=None)
    known = [row for row in rows if row.result.value is not None]
    total = sum(row.result.rows or 0 for row in rows)
    why = None if len(known) == len(rows) else next(row.result.reason for row in rows if row.result.value is None)
    value = exact_mean(np.array([row.result.value for row in known]))
    ci = _crossed([row.values for row in known], seed)
    return replace(
        first, seed=None, value=value, ci=ci, reason=why, rows=total,
        resamples=None if ci is None else RESAMPLES, cluster=SEEDS_AND_PROMPTS if ci else first.cluster,
    )  # fmt: skip


def _crossed(values: Sequence[np.ndarray], seed: int) -> Interval | None:
    """Return the interval of the mean over seeds; each has its number in every resample of the same prompts."""
    if not values or not all(map(len, values)):
        return None
    every = np.stack(values, axis=1)
    there = np.isfinite(every)
    held = run_weights(len(values), seed=seed, resamples=RESAMPLES)
    return percentile_interval(over_runs(np.where(there, every, 0.0), there, held))
