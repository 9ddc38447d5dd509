"""A task's train and dev rows as judgements: pairs within samples, targets, a dev split by prompt. Test is not read."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench import constructed, tasks
from rmbench.errors import InputError
from rmbench.judged import LOSS_NEEDS, Judged, Judgements, Pair
from rmbench.source import batch, settled

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.api import Sample, Task

Columns = dict[str, tuple[float | None, ...]]
DEV_SHARE = 0.1
DIGITS = 12  # significant: ratings that differ beyond them are equal on paper


def read(task: Task, *, seed: int, warn: Callable[[str], None] = lambda _: None) -> Judgements:
    """Read what a fit may see of a task.

    Args:
        task: a card with a train split; where it has no dev split, a seeded tenth of train is taken, by prompt.
        seed: of that choice.
        warn: told what is odd in the files.

    Raises:
        InputError: no train split, a wrong row, or too few prompts for a dev part.
    """
    check_train(task, str(min(task.data.values(), default="")))
    train = _rows(task, "train", seed, warn)
    aspects = dict.fromkeys(aspect for s in train for c in s.candidates for aspect in c.human)
    card, _ = settled(task, list(aspects), [])
    dev_from = "the dev split"
    if "dev" in task.data:
        dev = _rows(task, "dev", seed, warn)
    else:
        train, dev = _split(train, seed, task)
        dev_from = "10 % of train by prompt"
    learnt, held = (judged(part, card, stated=any(s.preferences for s in part)) for part in (train, dev))
    return Judgements(card, learnt, held, digests(task), dev_from)


def _rows(task: Task, split: str, seed: int, warn: Callable[[str], None]) -> list[Sample]:
    """Read a split, with pairs made of its references where that is asked for."""
    rows = list(tasks.read(task, split, warn=warn))
    return constructed.damaged(rows, seed) if task.pairs == constructed.DAMAGED else rows


def digests(task: Task) -> dict[str, str]:
    """Return the sha256 of each file that a fit of a task reads, by name, or ``split/name`` where names are alike."""
    files = {split: task.data[split] for split in ("train", "dev") if split in task.data}
    alike = len({path.name for path in files.values()}) < len(files)
    return {f"{split}/{path.name}" if alike else path.name: tasks.digest(path) for split, path in files.items()}


def card_words(task: Task) -> list[str]:
    """Return what of a card decides how its rows are judged: main aspect, what is good, languages."""
    given = {
        "main": task.main, "good": task.good, "languages": ",".join(task.languages) or None,
        "pairs": task.pairs or None,
    }  # fmt: skip
    return [f"{key}:{value}".replace("|", "/") for key, value in given.items() if value is not None]


def label(task: Task, files: Mapping[str, str]) -> str:
    """Return ``name@version#sha8`` of the files that a fit of this task reads (see ``digests``)."""
    return f"{task.name}@{task.version}#{'+'.join(digest[:8] for digest in files.values())}"


def check_train(task: Task, where: str) -> None:
    """Raise an ``InputError`` where a task has no train split."""
    if "train" not in task.data:
        raise InputError(
            f"the task {task.name!r} has no train split, which a fit reads", where=where,
            help='name a file under [data] train = "..." in its task.toml; the test split is never fitted on',
        )  # fmt: skip


def same(task: Task, seed: int) -> tuple[object, ...]:
    """Return what two fits have in common that read the same judgements."""
    return (seed, *(str(path) for path in task.data.values()), *card_words(task))


def _split(samples: Sequence[Sample], seed: int, task: Task) -> tuple[list[Sample], list[Sample]]:
    """Take the dev prompts: those of least hash, so that samples with one prompt (and context) stay together."""
    prompts = dict.fromkeys((sample.prompt, sample.context or "") for sample in samples)
    if len(prompts) < 2:  # noqa: PLR2004 - one for each part
        raise InputError(
            "every row has the same prompt: no dev part can be taken from it", where=str(task.data["train"]),
            help='add rows with other prompts, or name a file under [data] dev = "..."',
        )  # fmt: skip
    order = sorted(prompts, key=lambda prompt: hashlib.sha256("\0".join((str(seed), *prompt)).encode()).digest())
    taken = set(order[: max(1, round(DEV_SHARE * len(order)))])
    dev = [(sample.prompt, sample.context or "") in taken for sample in samples]
    return [s for s, one in zip(samples, dev, strict=True) if not one], [
        s for s, one in zip(samples, dev, strict=True) if one
    ]


def judged(samples: Sequence[Sample], task: Task, *, stated: bool) -> Judged:
    """Return the rows of these samples with their pairs and targets.

    Args:
        samples: in file order.
        task: the card, its main aspect settled.
        stated: pairs are the stated preferences; else ratings of one sample that differ.
    """
    pairs: list[Pair] = []
    targets: list[float | None] = []
    for sample in samples:
        first = len(targets)
        ratings = [candidate.human.get(task.main) if task.main else None for candidate in sample.candidates]
        targets += ratings
        found = _stated(sample) if stated else _rated(ratings)
        pairs += [Pair(first + better, first + worse, margin) for better, worse, margin in found]
    good = tuple(None if one is None or task.good is None else one >= task.good for one in targets)
    return Judged(tuple(samples), batch(samples, task, labels=False), tuple(pairs), tuple(targets), good)


def _stated(sample: Sample) -> list[tuple[int, int, float]]:
    return [(one.better, one.worse, 0.0) for one in sample.preferences]


def _rated(ratings: Sequence[float | None]) -> list[tuple[int, int, float]]:
    found = []
    for one, left in enumerate(ratings):
        for other in range(one + 1, len(ratings)):
            right = ratings[other]
            if left is None or right is None or _paper(left) == _paper(right):
                continue
            better, worse = (one, other) if left > right else (other, one)
            found.append((better, worse, abs(left - right)))
    return found


def _paper(value: float) -> float:
    return float(f"{value:.{DIGITS - 1}e}")


def check_loss(judgements: Judgements, loss: str, where: str) -> None:
    """Raise an ``InputError`` where the data lack what a loss needs."""
    train, task = judgements.train, judgements.task
    place = f"{where}, task {task.name}"
    rated = any(target is not None for target in train.targets)
    need = LOSS_NEEDS.get(loss)
    if need == "texts" and not any(sample.references or sample.candidates for sample in train.samples):
        raise InputError(
            "the train split has neither references nor candidates: there is no text to learn from", where=place,
            help="name a task whose train rows have texts",
        )  # fmt: skip
    if need == "pairs" and not train.pairs:
        alike = "all ratings of a sample are equal, or it has one alone"
        what = alike if rated else "the train split has no preferences and no ratings"
        advice = "it needs stated preferences, or two candidates of one prompt with different ratings"
        if task.pairs:
            what = f"no reference of the train split gives a pair (pairs = {task.pairs})"
            advice = "it needs references that differ from each other, or that have three words"
        raise InputError(f"{what}: the loss {loss!r} has no pair to learn from", where=place, help=advice)
    if need in ("ratings", "good") and not rated:
        raise InputError(
            f"the loss {loss!r} needs ratings; the train split has {'preferences' if train.pairs else 'none'}",
            where=place, help="take bradley-terry or hinge, which learn from preferences",
        )  # fmt: skip
    if need == "good" and task.good is None:
        raise InputError(
            f"the loss {loss!r} needs to know which rating is good", where=place,
            help="say it in the card: [human] good = ...",
        )  # fmt: skip
    if need == "good" and len({good for good in train.good if good is not None}) == 1:
        raise InputError(
            f"every text of the train split is {'good' if any(train.good) else 'not good'}: the loss {loss!r} has "
            "nothing to tell apart", where=place, help="another [human] good in the card, or another loss",
        )  # fmt: skip


def with_scores(judgements: Judgements, train: Columns, dev: Columns) -> Judgements:
    """Return the judgements with the columns of other rewards in their batches."""
    from rmbench.halving import with_scores as put

    return replace(
        judgements,
        train=replace(judgements.train, batch=put(judgements.train.batch, train)),
        dev=replace(judgements.dev, batch=put(judgements.dev.batch, dev)),
    )
