"""Judgements made by hand from short texts, for the tests of everything that is fitted."""

import random
from collections.abc import Mapping, Sequence
from dataclasses import replace

from rmbench.api import Batch, Candidate, Preference, Sample, Task, Turn
from rmbench.judged import Judged, Judgements, Pair

MAIN = "overall"
SHA256 = {"train.jsonl": "0" * 64}


def judgements(train, dev, *, good=None, name="toy", sha256=SHA256, dev_from="dev"):
    """Judgements of two lists of samples (see ``sample_rated``, ``sample_preferred``)."""
    task = Task(name=name, version=1, kind="generation", data={}, aspects=(MAIN,), main=MAIN, good=good)
    return Judgements(task, judged(train, good=good), judged(dev, good=good), sha256, dev_from)


def rated(train, dev=(), *, good=None, scores: Mapping[str, Sequence[float | None]] | None = None):
    """Judgements of rated texts: each sample is a list of ``(text, rating or None)``.

    ``scores`` are columns of other rewards for all rows, train before dev.
    """
    made = judgements(_samples(sample_rated, train, "t"), _samples(sample_rated, dev, "d"), good=good)
    return with_scores(made, scores) if scores else made


def preferred(train, dev=(), *, scores: Mapping[str, Sequence[float | None]] | None = None):
    """Judgements of stated preferences: each sample is ``(better, worse)`` or ``(prompt, better, worse)``."""
    made = judgements(_samples(sample_preferred, train, "t"), _samples(sample_preferred, dev, "d"))
    return with_scores(made, scores) if scores else made


def words(pairs=60, dev=20, *, seed=1, longer=0.5):
    """Preferences that a bag of words can learn: the better text holds more of the good words than the worse one.

    ``longer`` is the share of pairs whose better text is the longer one.
    """
    draw = random.Random(seed)

    def text(kind, length):
        own = ["clear", "kind", "true", "apt"] if kind else ["vague", "rude", "false", "odd"]
        other = ["the", "a", "of", "cat", "dog", "tree", "river", "stone", "walks", "sees"]
        return " ".join(draw.choice(own if draw.random() < 0.4 else other) for _ in range(length))

    def pair(number):
        short, long = draw.randint(4, 6), draw.randint(7, 10)
        best, worst = (long, short) if draw.random() < longer else (short, long)
        return f"prompt {number}", text(True, best), text(False, worst)

    drawn = [pair(number) for number in range(pairs + dev)]
    return preferred(drawn[:pairs], drawn[pairs:])


def ratings(samples=30, dev=10, *, seed=1, good=3.0):
    """Ratings from 1 to 5 that a bag of words can learn: two texts of each prompt, rated by their good words."""
    draw = random.Random(seed)

    def text(rating):
        return " ".join(["good"] * rating + ["bad"] * (5 - rating) + draw.choices(["the", "cat", "dog"], k=3))

    def sample():
        return [(text(rating), float(rating)) for rating in draw.sample(range(1, 6), 2)]

    drawn = [sample() for _ in range(samples + dev)]
    return rated(drawn[:samples], drawn[samples:], good=good)


def sample_rated(texts, name):
    """A sample of ``(text, rating or None)``."""
    return _sample(name, f"prompt {name}", [(text, {} if rating is None else {MAIN: rating}) for text, rating in texts])


def sample_preferred(texts, name):
    """A sample of ``(better, worse)`` or ``(prompt, better, worse)``."""
    prompt = texts[0] if len(texts) == 3 else f"prompt {name}"
    return _sample(name, prompt, [(text, {}) for text in texts[-2:]], (Preference(0, 1),))


def judged(samples, *, good=None):
    """The rows of samples with their pairs: stated preferences where any sample has them, else ratings that differ."""
    rows = [(sample, place) for sample in samples for place in range(len(sample.candidates))]
    targets = tuple(sample.candidates[place].human.get(MAIN) for sample, place in rows)
    stated = any(sample.preferences for sample in samples)
    pairs, first = [], 0
    for sample in samples:
        pairs += _stated(sample, first) if stated else _rated(sample, first)
        first += len(sample.candidates)
    highs = tuple(None if good is None or target is None else target >= good for target in targets)
    return Judged(tuple(samples), batch_of(rows), tuple(pairs), targets, highs)


def batch_of(rows):
    """The batch of ``(sample, index of a candidate)`` rows."""
    return Batch(
        ids=tuple(f"{sample.id}#{place}" for sample, place in rows),
        groups=tuple(sample.id for sample, _ in rows),
        messages=tuple(sample.messages for sample, _ in rows),
        prompts=tuple(sample.prompt for sample, _ in rows),
        contexts=tuple(sample.context for sample, _ in rows),
        responses=tuple(sample.candidates[place].text for sample, place in rows),
        references=tuple(sample.references for sample, _ in rows),
        languages=tuple(("en",) for _ in rows),
        meta=tuple({} for _ in rows),
    )


def with_scores(made, scores):
    """The same judgements with columns of other rewards' scores, train's rows before dev's."""
    cut = len(made.train.batch)
    parts = []
    for split, part in ((made.train, slice(None, cut)), (made.dev, slice(cut, None))):
        columns = {name: tuple(column[part]) for name, column in scores.items()}
        parts.append(replace(split, batch=replace(split.batch, scores=columns)))
    return replace(made, train=parts[0], dev=parts[1])


def _samples(make, given, letter):
    return [make(texts, f"{letter}{number}") for number, texts in enumerate(given)]


def _sample(name, prompt, texts, preferences=()):
    candidates = tuple(Candidate(f"s{place}", text, human) for place, (text, human) in enumerate(texts))
    return Sample(name, prompt, (Turn("user", prompt),), candidates=candidates, preferences=preferences)


def _stated(sample, first):
    return [Pair(first + one.better, first + one.worse) for one in sample.preferences]


def _rated(sample, first):
    ratings = [one.human.get(MAIN) for one in sample.candidates]
    return [
        Pair(first + better, first + worse, ratings[better] - ratings[worse])
        for better in range(len(ratings))
        for worse in range(len(ratings))
        if ratings[better] is not None and ratings[worse] is not None and ratings[better] > ratings[worse]
    ]
