"""Corpus ROUGE, BLEU and chrF of each system against the references: the score study without a reward."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

import numpy as np
from sacrebleu.metrics.chrf import CHRF

from rmbench.api import Result
from rmbench.corpus import (
    bleu_from_statistics,
    bleu_metric,
    bleu_statistics,
    chrf_from_statistics,
    chrf_statistics,
    tokenizer_of,
)
from rmbench.stats.resampling import RESAMPLES, percentile_interval, resampled_sums
from rmbench.studies.clusters import blocks, exact_mean, shared_prompts
from rmbench.studies.rows import PROTOCOL

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rmbench.stats.resampling import Interval
    from rmbench.studies.rows import Rows

    References = tuple[tuple[str, ...], ...]

BLOCK = 64  # rows: sacrebleu holds all n-grams of a call at once
LANGUAGE = "en"  # of a task that names none
ROUGE = ("rouge-1", "rouge-2", "rouge-l")


def corpus(rows: Rows, groups: Mapping[str, np.ndarray] | None = None) -> list[Result]:
    """Return BLEU, chrF (0 to 100), ROUGE-1, -2 and -L (F1, 0 to 1) of each system; higher is better.

    With ``groups`` (row indices by name), of each group of rows instead.

    Only samples with a reference count; a task without any gives no rows. BLEU and chrF are sacrebleu's corpus
    statistics with its defaults and the tokenizer of the last language of the task, ROUGE is rouge-score's F1 without
    stemming, the greatest over the references, averaged over texts. Intervals resample the prompts.
    """
    return [one.result for one in drawn(rows, groups)]


@dataclass(frozen=True, slots=True)
class Drawn:
    """A number of `corpus` with its value in every resample of the prompts.

    ``values`` is float64 (RESAMPLES,), NaN where no text was drawn; empty where there is no interval. Resamples are the
    same for every number of a task.
    """

    result: Result
    values: np.ndarray


def drawn(rows: Rows, groups: Mapping[str, np.ndarray] | None = None) -> list[Drawn]:
    """Return the numbers of `corpus` with what they are in every resample."""
    known = np.array([bool(texts) for texts in rows.references], dtype=bool)
    entered = np.flatnonzero(known[rows.sample])
    if not len(entered):
        return []
    texts = _texts(rows, entered)
    language = rows.languages[-1] if rows.languages else LANGUAGE
    if groups is None:
        groups = {name: np.flatnonzero(rows.system == index) for index, name in enumerate(rows.systems)}
    systems = [_system(rows, entered, texts.place, name, its) for name, its in groups.items()]
    found = [
        _scores(rows, systems, _bleu(texts, language)),
        _scores(rows, systems, _chrf(texts)),
        *_rouge(rows, systems, texts),
    ]
    return [one for by_system in zip(*found, strict=True) for one in by_system]


@dataclass(frozen=True, slots=True)
class Texts:
    """Distinct pairs of a response and its references, in order of sample; ``place`` is that of each row."""

    responses: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    place: np.ndarray


@dataclass(frozen=True, slots=True)
class System:
    """The rows of one system with references: row indices, their texts in `Texts`, samples, and those left out."""

    name: str
    rows: np.ndarray
    texts: np.ndarray
    samples: np.ndarray
    skipped: int


@dataclass(frozen=True, slots=True)
class Statistic:
    """A corpus statistic: additive counts of each text, int64 (texts, k), the number they give, and its words.

    ``signature`` takes the number of references (-1 where samples differ). ``problem`` says why it cannot be had.
    """

    metric: str
    counts: np.ndarray
    score: Callable[[Any], float]
    signature: Callable[[int], str]
    problem: str | None = None


def _texts(rows: Rows, entered: np.ndarray) -> Texts:
    places: dict[tuple[int, str], int] = {}
    of_references: dict[tuple[str, ...], int] = {}
    place = np.empty(len(entered), dtype=np.int64)
    references: list[tuple[str, ...]] = []
    for index, row in enumerate(entered.tolist()):
        targets = rows.references[rows.sample[row]]
        key = (of_references.setdefault(targets, len(of_references)), rows.texts[row])
        place[index] = places.setdefault(key, len(places))
        if len(places) > len(references):
            references.append(targets)
    return Texts(tuple(text for _, text in places), tuple(references), place)


def _system(rows: Rows, entered: np.ndarray, place: np.ndarray, name: str, members: np.ndarray) -> System:
    mine = np.isin(entered, members)
    samples = np.unique(rows.sample[entered[mine]])
    every = np.unique(rows.sample[members])
    return System(name, entered[mine], place[mine], samples, len(every) - len(samples))


def _bleu(texts: Texts, language: str) -> Statistic:
    tokenizer = tokenizer_of(language)
    try:
        metric = bleu_metric(tokenizer)
    except RuntimeError as error:  # the tokenizer of this language is not installed
        return Statistic("bleu", np.zeros((0, 0)), bleu_from_statistics, lambda _: f"bleu|tok:{tokenizer}", str(error))
    counts = _bleu_counts(texts.responses, texts.references, language)
    return Statistic("bleu", counts, bleu_from_statistics, lambda number: _sacrebleu("bleu", metric, number))


def _chrf(texts: Texts) -> Statistic:
    counts = _chrf_counts(texts.responses, texts.references)
    return Statistic("chrf", counts, chrf_from_statistics, lambda number: _sacrebleu("chrf", CHRF(), number))


def _sacrebleu(name: str, metric: Any, references: int) -> str:
    metric.num_refs = references
    return f"{name}|{metric.get_signature().format()}"


# Two studies ask for the scores of the same texts, one after the other: the last ones are kept.


@lru_cache(maxsize=1)
def _bleu_counts(responses: tuple[str, ...], references: References, language: str) -> np.ndarray:
    return _in_blocks(responses, references, lambda some, targets: bleu_statistics(some, targets, language))


@lru_cache(maxsize=1)
def _chrf_counts(responses: tuple[str, ...], references: References) -> np.ndarray:
    return _in_blocks(responses, references, chrf_statistics)


def _in_blocks(
    responses: tuple[str, ...],
    references: References,
    statistics: Callable[[Sequence[str], Sequence[tuple[str, ...]]], np.ndarray],
) -> np.ndarray:
    starts = range(0, len(responses), BLOCK)
    return np.concatenate([statistics(responses[i : i + BLOCK], references[i : i + BLOCK]) for i in starts])


def _scores(rows: Rows, systems: Sequence[System], statistic: Statistic) -> list[Drawn]:
    every = _draws(rows, systems, statistic)
    found = []
    for system, values in zip(systems, every, strict=True):
        numbers = {len(rows.references[sample]) for sample in system.samples.tolist()}
        signature = statistic.signature(numbers.pop() if len(numbers) == 1 else -1)
        value = None
        if statistic.problem is None and len(system.rows):
            value = statistic.score(statistic.counts[system.texts].sum(axis=0))
        ci = percentile_interval(values)
        number = Number(statistic.metric, value, ci, statistic.problem, signature)
        found.append(Drawn(_result(rows, system, number), values))
    return found


def _draws(rows: Rows, systems: Sequence[System], statistic: Statistic) -> list[np.ndarray]:
    """Return a corpus statistic of each system in every resample: NaN where no text was drawn; empty of one cluster."""
    if statistic.problem is not None:
        return [np.zeros(0)] * len(systems)
    found = []
    for own in _resampled(rows, systems, statistic.counts):
        values, some = np.full(len(own), np.nan), own[:, -1] > 0
        values[some] = [statistic.score(each) for each in own[some, :-1]]
        found.append(values)
    return found


def _resampled(rows: Rows, systems: Sequence[System], counts: np.ndarray) -> Iterator[np.ndarray]:
    """Yield the summed counts of each system in every resample, the number of texts last: float64 (RESAMPLES, k + 1).

    Of shape (0, k + 1) for a system of fewer than two clusters: they say nothing of how much clusters vary.
    """
    codes, size = _clusters(rows, systems)
    width = counts.shape[1] + 1
    for block in blocks(systems, size * width):
        sums = np.hstack([_sums(rows, system, counts, codes, size) for system in block])
        every = resampled_sums(sums, seed=rows.seed, resamples=RESAMPLES)
        for index, system in enumerate(block):
            own = every[:, index * width : (index + 1) * width]
            yield own if len(np.unique(codes[system.samples])) > 1 else own[:0]


def _sums(rows: Rows, system: System, counts: np.ndarray, codes: np.ndarray, size: int) -> np.ndarray:
    """Return the summed counts of each cluster with the number of texts last, float64 (size, k + 1)."""
    sums = np.zeros((size, counts.shape[1] + 1))
    at = codes[rows.sample[system.rows]]
    np.add.at(sums[:, :-1], at, counts[system.texts])
    np.add.at(sums[:, -1], at, 1)
    return sums


def _clusters(rows: Rows, systems: Sequence[System]) -> tuple[np.ndarray, int]:
    """Return the cluster of each sample (0 where it has no reference) and the number of clusters that have one."""
    entered = np.unique(np.concatenate([system.samples for system in systems]))
    distinct, inverse = np.unique(rows.cluster[entered], return_inverse=True)
    codes = np.zeros(len(rows.ids), dtype=np.int64)
    codes[entered] = inverse
    return codes, len(distinct)


def _rouge(rows: Rows, systems: Sequence[System], texts: Texts) -> list[list[Drawn]]:
    scores, empty = _rouge_scores(texts.responses, texts.references)
    found: list[list[Drawn]] = [[] for _ in ROUGE]
    for system, own in zip(systems, _resampled(rows, systems, scores), strict=True):
        ratios = np.divide(own[:, :-1], own[:, -1:], out=np.full((len(own), len(ROUGE)), np.nan), where=own[:, -1:] > 0)
        for kind, name in enumerate(ROUGE):
            signature = f"{name}|stemmer:no|references:max|rouge-score:{version('rouge-score')}"
            value, values = exact_mean(scores[system.texts, kind]), ratios[:, kind].copy()
            number = Number(name, value, percentile_interval(values), _warning(empty[system.texts]), signature)
            found[kind].append(Drawn(_result(rows, system, number), values))
    return found


@lru_cache(maxsize=1)
def _rouge_scores(texts: tuple[str, ...], references: References) -> tuple[np.ndarray, np.ndarray]:
    """Return ROUGE of each distinct text, float64 (texts, 3), and whether it or a reference has no token."""
    from rmbench.kernel import score_texts  # slow to import
    from rmbench.kernel.rouge import tokenless

    found = score_texts(ROUGE, texts, references)
    empty = [any(map(tokenless, (text, *targets))) for text, targets in zip(texts, references, strict=True)]
    return np.column_stack([found[name] for name in ROUGE]), np.array(empty, dtype=bool)


def _warning(empty: np.ndarray) -> str | None:
    count = int(np.count_nonzero(empty))
    return f"{count} of {len(empty)} rows tokenise to nothing (rouge-score knows a-z and 0-9 only)" if count else None


@dataclass(frozen=True, slots=True)
class Number:
    """A value of a system with what is to be said of it."""

    metric: str
    value: float | None
    ci: Interval | None
    reason: str | None
    signature: str


def _result(rows: Rows, system: System, number: Number) -> Result:
    return Result(
        study="score",
        metric=number.metric,
        task=rows.task,
        kind=rows.kind,
        split=rows.split,
        system=system.name,
        level="corpus",
        value=number.value,
        ci=number.ci,
        resamples=None if number.ci is None else RESAMPLES,
        cluster=shared_prompts(rows, system.samples),
        n=len(system.samples),
        rows=len(system.rows),
        skipped=system.skipped,
        reason=number.reason or (None if len(system.rows) else "no sample has a reference"),
        signature="|".join([number.signature, *_task_words(rows)]),
    )


def _task_words(rows: Rows) -> Iterable[str]:
    limited = () if rows.limit is None else (f"seed:{rows.seed}", f"limit:{rows.limit}")
    return (rows.label, f"protocol:{PROTOCOL}", *limited)
