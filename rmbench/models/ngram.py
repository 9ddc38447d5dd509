"""The reward model ``ngram-lm``: how fluent a text is, as the n-gram language model of the named texts sees it.

The score is the mean natural-log probability of a text's tokens and its end, below 0, higher is better; the model is
``rmbench.models.kneser_ney``'s. The checkpoint holds counts and the vocabulary, and is loaded without torch.
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.kernel.models.files import inside, read_json
from rmbench.models import checkpoint
from rmbench.models.kneser_ney import BEGIN, SPECIAL, UNKNOWN, Counts, Order, count, estimated, model, probabilities
from rmbench.models.ngram_options import NgramLm

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from rmbench.api import Batch, Runtime, Scorer, Scores
    from rmbench.judged import Fitting, Judged, Judgements
    from rmbench.models.kneser_ney import Model

WORD = re.compile(r"\w+(?:['\u2019]\w+)*|[^\w\s]")
NAME = "ngram-lm"
CONFIG, WEIGHTS, VOCABULARY = "config.json", "model.safetensors", "vocabulary.json"
MOST_COUNT = 2**40  # sums of as many n-grams as fit into memory stay exact
EMPTY = "the text has no token"


@dataclass(frozen=True, slots=True)
class Vocabulary:
    """How texts become ids: the words in order of their code points, from ``SPECIAL`` up."""

    words: tuple[str, ...]
    options: NgramLm
    ids: Mapping[str, int]

    def __call__(self, text: str) -> list[int]:
        """Return the ids of a text's tokens; what is unknown is ``UNKNOWN``."""
        return [self.ids.get(token, UNKNOWN) for token in tokens(text, self.options)]


def vocabulary(words: Iterable[str], options: NgramLm) -> Vocabulary:
    """Return the vocabulary of these words."""
    known = tuple(words)
    return Vocabulary(known, options, {word: number for number, word in enumerate(known, SPECIAL)})


def tokens(text: str, options: NgramLm) -> list[str]:
    """Return a text's tokens; see ``NgramLm``."""
    text = text.lower() if options.lowercase else text
    return WORD.findall(text) if options.tokens == "words" else list(" ".join(text.split()))


def texts_of(judged: Judged, options: NgramLm) -> list[str]:
    """Return the texts of a split that the options name, in file order."""
    if options.texts == "references":
        return [text for sample in judged.samples for text in sample.references]
    rows = range(len(judged.batch)) if options.texts == "responses" else sorted({pair.better for pair in judged.pairs})
    return [judged.batch.responses[row] for row in rows]


def fit(judgements: Judgements, _: str, options: NgramLm, fitting: Fitting) -> Path:
    """Count the n-grams of the named texts and write the checkpoint.

    Raises:
        InputError: there is no such text, or none of them has a token.
    """
    if fitting.stop():
        raise Interrupted
    texts = texts_of(judgements.train if options.split == "train" else judgements.dev, options)
    seen = [found for text in texts if (found := tokens(text, options))]
    if not seen:
        what = f"task {judgements.task.name} has no text for {options.texts!r} in {options.split!r}"
        raise InputError(what, help='another of texts = "references", "responses", "better" or split = "train", "dev"?')
    often = Counter(token for text in seen for token in text)
    words = vocabulary(sorted(word for word, times in often.items() if times >= options.min_count), options)
    texts_of_ids = [[words.ids.get(token, UNKNOWN) for token in text] for text in seen]
    counts = count(texts_of_ids, size=SPECIAL + len(words.words), order=options.order)
    return _write(judgements, fitting, words, counts, texts_of_ids)


def _write(judgements: Judgements, fitting: Fitting, words: Vocabulary, counts: Counts, texts: list[list[int]]) -> Path:
    from rmbench.models.card import card
    from rmbench.models.training import Trained

    options, fitted = words.options, model(counts)
    sizes = [len(order.count) for order in counts.orders]
    loss = -_mean(probabilities(fitted, texts))
    accuracy = accuracy_of(scorer(fitted, words), judgements.dev)
    log = [{"step": 1, "loss": loss, "lr": None, "accuracy": accuracy}]
    fitting.tell({"step": 1, "steps": 1, "loss": loss, "accuracy": accuracy})
    trained = Trained(steps=1, best_step=1, accuracy=accuracy, curve=tuple(log), stopped="steps")
    notes = (
        f"Fitted on {len(texts):,} texts ({options.texts} of {options.split}), {sum(map(len, texts)):,} tokens, "
        f"{len(words.words):,} of them different; the loss is the mean negative log-probability of a token of these texts.",
        f"n-grams by order: {', '.join(f'{size:,}' for size in sizes)}.",
        "Discounts by order (" + ", ".join(_origin(order.count) for order in counts.orders) + "): "
        + "; ".join(", ".join(f"{one:.4f}" for one in each) for each in fitted.discounts) + ".",
    )  # fmt: skip
    return checkpoint.write(
        fitting.folder,
        tensors=_tensors(counts),
        config={"model_type": NAME, "options": asdict(options), "grams": sizes},
        files={VOCABULARY: (json.dumps(words.words, ensure_ascii=True, indent=0) + "\n").encode()},
        card=card(judgements, fitting, trained, parameters=sum(sizes), notes=notes),
        log=log,
        measures={"parameters": sum(sizes)},
    )


def _origin(counts: Any) -> str:
    return "fallback" if estimated(counts) is None else "estimated"


def _mean(found: Sequence[Any]) -> float:
    """Return the mean natural logarithm of probabilities."""
    return math.fsum(math.log(one) for text in found for one in text.tolist()) / sum(map(len, found))


def accuracy_of(score: Scorer, judged: Judged) -> float | None:
    """Return the share of pairs that a scorer orders as people do: a tie is one half, an unscored row is wrong."""
    if not judged.pairs:
        return None
    columns = score(judged.batch)
    values = columns["score"] if isinstance(columns, Mapping) else columns
    wins = 0.0
    for pair in judged.pairs:
        better, worse = values[pair.better], values[pair.worse]
        if isinstance(better, float) and isinstance(worse, float):
            wins += 1.0 if better > worse else 0.5 if better == worse else 0.0
    return wins / len(judged.pairs)


def _tensors(counts: Counts) -> dict[str, Any]:
    found = {f"count.{k}": order.count for k, order in enumerate(counts.orders, 1)}
    for k, order in enumerate(counts.orders[1:], 2):
        found |= {f"prefix.{k}": order.prefix, f"word.{k}": order.word}
    return found


def scorer(fitted: Model, words: Vocabulary) -> Callable[[Batch], dict[str, Scores]]:
    """Return the scorer of a model: ``score``, and as parts ``tokens`` (the end included) and unknown ``oov`` ones."""

    def score(batch: Batch) -> dict[str, Scores]:
        ids = [words(text) for text in batch.responses]
        found = probabilities(fitted, ids)
        return {
            "score": [_mean([each]) if text else NoScore(EMPTY) for each, text in zip(found, ids, strict=True)],
            "tokens": [float(len(text) + 1) if text else 0.0 for text in ids],
            "oov": [float(text.count(UNKNOWN)) for text in ids],
        }

    return score


def load(folder: Path, _: Runtime) -> Callable[[Batch], dict[str, Scores]]:
    """Return the scorer of a checkpoint.

    Raises:
        InputError: anything in it that is not as ``fit`` writes it, naming file and entry.
    """
    found = checkpoint.read(folder)
    options, sizes = _settings(found.config, folder / CONFIG)
    words = vocabulary(_words(folder, sizes[0]), options)
    expected = {f"count.{k}": (size,) for k, size in enumerate(sizes, 1)}
    for k, size in enumerate(sizes[1:], 2):
        expected |= {f"prefix.{k}": (size,), f"word.{k}": (size,)}
    counts = _counts(checkpoint.tensors(found, expected), sizes, folder / WEIGHTS)
    return scorer(model(counts), words)


def _settings(config: Mapping[str, Any], where: Path) -> tuple[NgramLm, list[int]]:
    given, sizes = config.get("options"), config.get("grams")
    if config.get("model_type") != NAME or not isinstance(given, dict):
        raise _wrong(f"model_type is {config.get('model_type')!r}, expected {NAME!r} with its options", where)
    try:
        options = NgramLm(**given)
    except (TypeError, ValueError) as error:
        raise _wrong(f"options: {error}", where) from error
    whole = isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)
    if not whole or len(sizes) != options.order or sizes[0] <= SPECIAL:
        raise _wrong(f"grams is {sizes!r}, expected the number of n-grams of each of {options.order} orders", where)
    return options, sizes


def _words(folder: Path, size: int) -> list[str]:
    path = inside(folder, VOCABULARY, folder / CONFIG)
    words = read_json(path)
    if not isinstance(words, list) or not all(isinstance(word, str) and word for word in words):
        raise _wrong("is no list of words", path)
    if SPECIAL + len(words) != size:
        raise _wrong(f"has {len(words):,} words, {CONFIG} and its counts have {size - SPECIAL:,}", path)
    for place, (one, other) in enumerate(pairwise(words), 1):
        if one >= other:
            raise _wrong(f"entry {place}: {other!r} stands behind {one!r}, expected each word once and in order", path)
    return words


def _counts(tensors: Mapping[str, Any], sizes: Sequence[int], where: Path) -> Counts:
    for name, values in tensors.items():
        if values.dtype != np.int64:
            raise _wrong(f"{name} is {values.dtype}, expected int64", where)
    orders = []
    for k, size in enumerate(sizes, 1):
        counts = tensors[f"count.{k}"]
        _within(counts, f"count.{k}", (0 if k == 1 else 1, MOST_COUNT), where)
        none = counts[:0]
        prefix, word = (none, none) if k == 1 else (tensors[f"prefix.{k}"], tensors[f"word.{k}"])
        if k > 1:
            _within(prefix, f"prefix.{k}", (0, sizes[k - 2] - 1), where)
            _within(word, f"word.{k}", (0, sizes[0] - 1), where)
            keys = prefix * sizes[0] + word
            if size and ((keys[1:] <= keys[:-1]).any() or (word == BEGIN).any()):
                raise _wrong(f"prefix.{k} and word.{k} hold an n-gram that is out of order, twice or impossible", where)
        orders.append(Order(prefix, word, counts))
    if orders[0].count[BEGIN] or not orders[0].count.any():
        raise _wrong("count.1 counts the beginning of a text, or nothing", where)
    return Counts(sizes[0], tuple(orders))


def _within(values: Any, name: str, bounds: tuple[int, int], where: Path) -> None:
    low, high = bounds
    wrong = np.flatnonzero((values < low) | (values > high))
    if len(wrong):
        what = f"{name}[{wrong[0]}] is {values[wrong[0]]}, expected {low} to {high}"
        raise _wrong(what, where)


def _wrong(what: str, where: Path) -> InputError:
    return InputError(what, where=str(where), help="fit the model again; a checkpoint is not edited by hand")
