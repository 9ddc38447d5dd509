"""What trained policies write, without a reward: length, diversity, KL to the start, corpus scores."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.studies.clusters import exact_mean
from rmbench.studies.corpus import corpus
from rmbench.studies.entries import Sheet
from rmbench.studies.figures import finite, read_lines
from rmbench.studies.optimise_means import NO_OUTPUT, OPTIMISE, about, mean_of, numbers

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field, Mean
    from rmbench.studies.rows import Rows

TOLD = {"kl": "kl", "finished": "finished", "tokens": "tokens"}  # metric: field of outputs.jsonl
DISTINCT = "distinct-2"
CORPUS = ("bleu", "chrf", "rouge-1", "rouge-2", "rouge-l")


def texts(field: Field) -> list[Result]:
    """Return, of each entry: ``length`` in words, ``kl`` (nats, mean exact KL of a sampled response to the start),
    ``tokens``, ``finished`` (share that came to its end), ``distinct-2`` and the corpus scores.

    ``distinct-2`` is the number of distinct bigrams of words over that of all, over all outputs of a seed (Li et al.
    2016), and over seeds the mean. Corpus scores over seeds are the mean of those of the seeds, without an interval.
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
            yield mean_of(field, entry, metric, sheet)


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
    yield replace(row, value=exact_mean(known), n=max((size for _, _, size in values), default=0), reason=why)


def _corpus(field: Field) -> Iterator[Result]:
    """Yield the corpus scores of each entry and seed, and their means over seeds."""
    labels = [(found.entry, seed, place) for found in field.outputs.values()
              for seed, place in zip(found.seeds, found.place, strict=True)]  # fmt: skip
    names = {f"{at:06d}": (entry, seed) for at, (entry, seed, _) in enumerate(labels)}
    results = corpus(_narrowed(field.rows, names, [place for _, _, place in labels])) if names else []
    by_entry: dict[str, dict[str, list[Result]]] = {}
    for result in results:
        entry, seed = names[result.system or ""]
        row = about(field, entry, result.metric)
        signature = "|".join((result.signature or "", entry.signature))
        own = replace(
            result, study=OPTIMISE, system=row.system, policy=row.policy, trainer=row.trainer, seed=seed,
            signature=signature,
        )  # fmt: skip
        by_entry.setdefault(entry.name, {}).setdefault(result.metric, []).append(own)
        if seed is not None:
            yield own
    for its in by_entry.values():
        for rows in its.values():
            yield _over_seeds(rows)


def _over_seeds(rows: Sequence[Result]) -> Result:
    """Return the only seed's number, or the mean of several, without an interval."""
    if len(rows) == 1:
        return replace(rows[0], seed=None)
    known = np.array([row.value for row in rows if row.value is not None])
    total = sum(row.rows or 0 for row in rows)
    return replace(rows[0], seed=None, value=exact_mean(known), ci=None, resamples=None, rows=total)


def _narrowed(rows: Rows, names: Mapping[str, Any], places: Sequence[np.ndarray]) -> Rows:
    """Return the outputs alone, each entry and seed as a system of its own."""
    taken = [(row, at) for at, place in enumerate(places) for row in place[place >= 0].tolist()]
    taken.sort()
    kept = np.array([row for row, _ in taken], dtype=np.int64)
    return replace(
        rows, sample=rows.sample[kept], candidate=rows.candidate[kept], systems=tuple(names),
        system=np.array([at for _, at in taken], dtype=np.int64), texts=tuple(rows.texts[row] for row in kept.tolist()),
        human={}, rewards={}, written=(),
    )  # fmt: skip
