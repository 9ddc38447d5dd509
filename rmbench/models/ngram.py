"""The reward model ``ngram-lm``: how fluent a text is, as the n-gram language model of the named texts sees it.

The score is the mean natural-log probability of a text's tokens and its end, below 0, higher is better; the model is
``rmbench.models.kneser_ney``'s. The checkpoint holds counts and the vocabulary, and is loaded without torch.
"""

from __future__ import annotations

import json
import math
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.kernel.models.files import inside, read_json
from rmbench.models import checkpoint
from rmbench.models.card import card
from rmbench.models.kneser_ney import BEGIN, SPECIAL, UNKNOWN, Counts, Order, count, estimated, model, probabilities
from rmbench.models.ngram_options import NgramLm
from rmbench.models.trained import Trained

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Batch, Runtime, Scores
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
        return self.numbers(tokens(text, self.options))

    def numbers(self, found: Iterable[str]) -> list[int]:
        """Return the ids of tokens."""
        return [self.ids.get(token, UNKNOWN) for token in found]


@dataclass(frozen=True, slots=True)
class Lm:
    """The scorer: ``score``, and as parts the counts of ``tokens`` (the end included) and of unknown ones, ``oov``."""

    words: Vocabulary
    model: Model

    def __call__(self, batch: Batch) -> dict[str, Scores]:
        """Score every row; None with its reason where a text has no token."""
        ids = [self.words(text) for text in batch.responses]
        found = probabilities(self.model, ids)
        return {
            "score": [_mean([each]) if text else NoScore(EMPTY) for each, text in zip(found, ids, strict=True)],
            "tokens": [float(len(text) + 1) if text else 0.0 for text in ids],
            "oov": [float(text.count(UNKNOWN)) for text in ids],
        }


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
        InputError: there is no such text, none of them has a token, or no token stands ``min_count`` times.
    """
    start = time.perf_counter()
    if fitting.stop():
        raise Interrupted
    words, seen = known(judgements, options)
    texts = [words.numbers(text) for text in seen]
    counts = count(texts, size=SPECIAL + len(words.words), order=options.order)
    lm = Lm(words, model(counts))
    trained = _trained(lm, texts, judgements)
    fitting.tell({"step": 1, "steps": 1, "loss": trained.curve[0]["loss"], "accuracy": trained.accuracy})
    sizes = [len(order.count) for order in counts.orders]
    notes = (*_about(words, texts), *_smoothing(counts, lm.model))
    return checkpoint.write(
        fitting.folder,
        tensors=_tensors(counts),
        config={"model_type": NAME, "options": asdict(options), "grams": sizes, "training": trained.record()},
        files={VOCABULARY: (json.dumps(words.words, indent=0) + "\n").encode()},
        card=card(judgements, fitting, trained, parameters=sum(sizes), notes=notes),
        log=trained.curve,
        measures={"parameters": float(sum(sizes)), "seconds": time.perf_counter() - start},
    )


def known(judgements: Judgements, options: NgramLm) -> tuple[Vocabulary, list[list[str]]]:
    """Return the words that are known and the texts as tokens.

    Raises:
        InputError: there is no such text, none of them has a token, or no token stands ``min_count`` times.
    """
    split = judgements.train if options.split == "train" else judgements.dev
    seen = [list(found) for text in texts_of(split, options) if (found := tokens(text, options))]
    return _known(seen, options, judgements.task.name), seen


def _known(texts: Sequence[Sequence[str]], options: NgramLm, task: str) -> Vocabulary:
    if not texts:
        what = f"task {task} has no text for ngram-lm: texts = {options.texts!r}, split = {options.split!r}"
        raise InputError(
            what, help='another of texts = "references", "responses", "better", or of split = "train", "dev"'
        )
    often = Counter(token for text in texts for token in text)
    known = sorted(token for token, times in often.items() if times >= options.min_count)
    if not known:
        what = (
            f"no token stands {options.min_count:,} times in the {options.texts} of task {task}, split {options.split}"
        )
        raise InputError(what, help="a smaller min_count")
    return vocabulary(known, options)


def _trained(lm: Lm, texts: Sequence[Sequence[int]], judgements: Judgements) -> Trained:
    """Return how well it fits: loss on its own texts, on the same kind of texts of dev, and accuracy on dev's pairs."""
    options = lm.words.options
    others = [] if options.split == "dev" else texts_of(judgements.dev, options)
    unseen = [found for text in others if (found := lm.words(text))]
    row = {
        "step": 1, "loss": -_mean(probabilities(lm.model, texts)), "lr": None,
        "accuracy": accuracy_of(lm, judgements.dev),
        "dev_loss": -_mean(probabilities(lm.model, unseen)) if unseen else None,
    }  # fmt: skip
    return Trained(steps=1, best_step=1, accuracy=row["accuracy"], curve=(row,), stopped="exact")


def _about(words: Vocabulary, texts: Sequence[Sequence[int]]) -> Iterator[str]:
    total, options = sum(map(len, texts)), words.options
    yield (
        f"A language model of {options.order}-grams of {options.tokens}, fitted on {len(texts):,} texts "
        f"({options.texts} of {options.split}) with {total:,} tokens; it knows {len(words.words):,} different ones."
    )
    yield "The loss is the mean negative log-probability of a token of these texts, on dev of texts of the same kind."
    if options.texts != "better":
        yield "What people judged is not learnt from: it only measures the accuracy on dev."


def _smoothing(counts: Counts, fitted: Model) -> Iterator[str]:
    for k, (order, discounts) in enumerate(zip(counts.orders, fitted.discounts, strict=True), 1):
        origin = "too few counts of counts: the fallback" if estimated(order.count) is None else "estimated"
        taken = ", ".join(f"{one:.4f}" for one in discounts)
        yield f"Order {k}: {len(order.count):,} n-grams, discounts {taken} ({origin})."


def _mean(found: Sequence[Any]) -> float:
    """Return the mean natural logarithm of probabilities."""
    return math.fsum(math.log(one) for text in found for one in text.tolist()) / sum(map(len, found))


def accuracy_of(lm: Lm, judged: Judged) -> float | None:
    """Return the share of pairs that the scores order as people do: a tie is one half, an unscored row is wrong."""
    if not judged.pairs:
        return None
    values = lm(judged.batch)["score"]
    wins = 0.0
    for pair in judged.pairs:
        better, worse = values[pair.better], values[pair.worse]
        if isinstance(better, float) and isinstance(worse, float):
            wins += 1.0 if better > worse else 0.5 if better == worse else 0.0
    return wins / len(judged.pairs)


def _tensors(counts: Counts) -> dict[str, Any]:
    """Return the counts by name, as float64: weights in whole numbers are refused, and these are below 2^53."""
    found = {f"count.{k}": order.count for k, order in enumerate(counts.orders, 1)}
    for k, order in enumerate(counts.orders[1:], 2):
        found |= {f"prefix.{k}": order.prefix, f"word.{k}": order.word}
    return {name: values.astype(np.float64) for name, values in found.items()}


def load(folder: Path, _: Runtime) -> Lm:
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
    return Lm(words, model(counts))


def _settings(config: Mapping[str, Any], where: Path) -> tuple[NgramLm, list[int]]:
    given, sizes = config.get("options"), config.get("grams")
    if config.get("model_type") != NAME or not isinstance(given, dict):
        raise _wrong(f"model_type is {config.get('model_type')!r}, expected {NAME!r} with its options", where)
    try:
        options = NgramLm(**given)
    except (TypeError, ValueError) as error:
        raise _wrong(f"options: {error}", where) from error
    whole = isinstance(sizes, list) and all(type(size) is int and size >= 0 for size in sizes)
    if not isinstance(sizes, list) or not whole or len(sizes) != options.order or sizes[0] <= SPECIAL:
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
    bounds = {"count.1": (0, MOST_COUNT)}
    for k in range(2, len(sizes) + 1):
        bounds |= {f"count.{k}": (1, MOST_COUNT), f"prefix.{k}": (0, sizes[k - 2] - 1), f"word.{k}": (0, sizes[0] - 1)}
    whole = {name: _whole(tensors[name], name, limits, where) for name, limits in bounds.items()}
    orders = [Order(whole["count.1"][:0], whole["count.1"][:0], whole["count.1"])]
    for k in range(2, len(sizes) + 1):
        prefix, word = whole[f"prefix.{k}"], whole[f"word.{k}"]
        keys = prefix * sizes[0] + word
        if (keys[1:] <= keys[:-1]).any() or (word == BEGIN).any():
            raise _wrong(f"prefix.{k} and word.{k} hold an n-gram that is out of order, twice or impossible", where)
        orders.append(Order(prefix, word, whole[f"count.{k}"]))
    if orders[0].count[BEGIN] or not orders[0].count.any():
        raise _wrong("count.1 counts the beginning of a text, or nothing", where)
    return Counts(sizes[0], tuple(orders))


def _whole(values: Any, name: str, limits: tuple[int, int], where: Path) -> Any:
    """Return a tensor as int64; an ``InputError`` where it holds anything but whole numbers within the limits."""
    low, high = limits
    if values.dtype != np.float64:
        raise _wrong(f"{name} is {values.dtype}, expected float64", where)
    wrong = np.flatnonzero((values < low) | (values > high) | (values != np.floor(values)))
    if len(wrong):
        what = f"{name}[{wrong[0]}] is {values[wrong[0]]:.17g}, expected a whole number from {low} to {high}"
        raise _wrong(what, where)
    return values.astype(np.int64)


def _wrong(what: str, where: Path) -> InputError:
    return InputError(what, where=str(where), help="fit the model again; a checkpoint is not edited by hand")
