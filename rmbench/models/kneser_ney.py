"""Interpolated modified Kneser-Ney smoothing (Chen & Goodman, 1998): counts of n-grams and the probabilities they give.

A token w after the context h of k - 1 tokens has, with the counts c and the discounts D of order k,

    p(w | h) = max(c(hw) - D(c(hw)), 0) / sum_v c(hv) + g(h) p(w | h without its first token)
    g(h) = (D1 N1(h) + D2 N2(h) + D3 N3+(h)) / sum_v c(hv)

where Ni(h) is how many different tokens follow h with a count of i (3+: of 3 or more). A context that was never seen
hands over to the shorter one. Below order 1 stands the uniform distribution over the vocabulary, the unknown token and
the end of the text, so that nothing has probability 0 and the probabilities after any context sum to 1.

Counts of the highest order are the corpus's. Of a lower order, c(g) is in how many different ways g is preceded, since
it is only asked where a longer n-gram was discounted; what begins a text has the text's beginning before it and nothing
before that, and keeps the corpus's count (as SRILM and KenLM do). A text has one beginning, not order - 1.

The discounts come from the counts of counts n1 to n4 of the order: Y = n1 / (n1 + 2 n2), D1 = 1 - 2 Y n2 / n1,
D2 = 2 - 3 Y n3 / n2, D3+ = 3 - 4 Y n4 / n3. Where one of n1 to n4 is 0, or a discount below 0 comes out, the formulas
do not hold, and the order's discounts are 0.5, 1 and 1.5 (KenLM's fallback).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from collections.abc import Sequence

UNKNOWN, END, BEGIN = 0, 1, 2  # ids; the words are counted from 3
SPECIAL = 3
FALLBACK = (0.5, 1.0, 1.5)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]
Discounts = tuple[float, float, float]


@dataclass(frozen=True, slots=True)
class Order:
    """The n-grams of one order k, sorted by prefix, then by word.

    Attributes:
        prefix: int64, of each n-gram the index of its first k - 1 tokens among those of order k - 1; empty for order 1,
            whose n-grams are all ids of the vocabulary.
        word: int64, the id of its last token; empty for order 1.
        count: int64, at least 1 (order 1: at least 0), adjusted where the order is not the highest.
    """

    prefix: Ints
    word: Ints
    count: Ints


@dataclass(frozen=True, slots=True)
class Counts:
    """What a model is made of: the size of the vocabulary (special ids included) and the orders from 1 up."""

    size: int
    orders: tuple[Order, ...]


@dataclass(frozen=True, slots=True)
class _Smoothed:
    """An order with its shares: ``share`` of each n-gram after its discount, ``rest`` of each context, 1 if unseen."""

    keys: Ints
    share: Floats
    rest: Floats


@dataclass(frozen=True, slots=True)
class Model:
    """Counts ready to give probabilities."""

    size: int
    first: Floats
    orders: tuple[_Smoothed, ...]
    discounts: tuple[Discounts, ...]


def count(texts: Sequence[Sequence[int]], *, size: int, order: int) -> Counts:
    """Return the counts of texts of ids (each from 0 to size - 1, without beginning and end)."""
    ids, begins = _stream(texts)
    nodes = ids
    found: list[tuple[Ints, Ints, Ints, Ints]] = [(ids[:0], ids[:0], np.bincount(ids, minlength=size), ids)]
    places = np.arange(len(ids)) - begins
    for k in range(2, order + 1):
        valid = np.flatnonzero(places >= k - 1)
        keys = nodes[valid - 1] * size + ids[valid]
        kinds, which, raw = np.unique(keys, return_inverse=True, return_counts=True)
        nodes = np.full(len(ids), -1, np.int64)
        nodes[valid] = which
        found.append((kinds // size, kinds % size, raw.astype(np.int64), nodes))
    return Counts(size, tuple(_adjusted(found, k, places) for k in range(1, order + 1)))


def _stream(texts: Sequence[Sequence[int]]) -> tuple[Ints, Ints]:
    """Return the ids of all texts, each between its beginning and its end, and where each id's text begins."""
    lengths = np.fromiter((len(text) + 2 for text in texts), np.int64, len(texts))
    ids = np.fromiter((one for text in texts for one in (BEGIN, *text, END)), np.int64, int(lengths.sum()))
    return ids, np.repeat(np.cumsum(lengths) - lengths, lengths)


def _adjusted(found: Sequence[tuple[Ints, Ints, Ints, Ints]], k: int, places: Ints) -> Order:
    """Return order k: in how many ways each n-gram is preceded, where a longer order is there to say it."""
    prefix, word, raw, nodes = found[k - 1]
    counts = raw
    if k < len(found):
        longer = found[k][3]
        at = np.flatnonzero(longer >= 0)
        _, once = np.unique(longer[at], return_index=True)
        counts = np.bincount(nodes[at[once]], minlength=len(raw))
        beginning = nodes[places == k - 1]
        counts[beginning] = raw[beginning]
    if k == 1:
        counts = counts.copy()
        counts[BEGIN] = 0  # it is a context and never predicted
    return Order(prefix, word, counts.astype(np.int64))


def estimated(counts: Ints) -> Discounts | None:
    """Return the discounts that an order's counts of counts give; None where the formulas do not hold."""
    n1, n2, n3, n4 = (int(np.count_nonzero(counts == times)) for times in (1, 2, 3, 4))
    if not n1 * n2 * n3 * n4:
        return None
    y = n1 / (n1 + 2 * n2)
    found = (1 - 2 * y * n2 / n1, 2 - 3 * y * n3 / n2, 3 - 4 * y * n4 / n3)
    return found if min(found) >= 0 else None


def model(counts: Counts, discounts: Sequence[Discounts] | None = None) -> Model:
    """Return the model of these counts.

    Args:
        counts: of at least one text.
        discounts: of each order from 1 up; estimated where they are not given.
    """
    every = tuple(discounts or (estimated(order.count) or FALLBACK for order in counts.orders))
    lowest = counts.orders[0]
    shares, rest = _shares(np.zeros(counts.size, np.int64), lowest.count, 1, every[0])
    first = shares + rest[0] / (counts.size - 1)
    first[BEGIN] = 0.0
    smoothed = []
    for k, order in enumerate(counts.orders[1:], 1):
        contexts = len(counts.orders[k - 1].count)
        share, rest = _shares(order.prefix, order.count, contexts, every[k])
        smoothed.append(_Smoothed(order.prefix * counts.size + order.word, share, rest))
    return Model(counts.size, first, tuple(smoothed), every)


def _shares(prefix: Ints, counts: Ints, contexts: int, discounts: Discounts) -> tuple[Floats, Floats]:
    taken = np.array((0.0, *discounts))[np.minimum(counts, len(discounts))]
    totals = np.bincount(prefix, counts, contexts)
    removed = np.bincount(prefix, np.minimum(taken, counts), contexts)
    share = np.maximum(counts - taken, 0.0) / np.where(totals, totals, 1.0)[prefix]
    return share, np.divide(removed, totals, out=np.ones(contexts), where=totals > 0)


def probabilities(model: Model, texts: Sequence[Sequence[int]]) -> list[Floats]:
    """Return, for each text of ids, the probability of each of its tokens and of its end: (len(text) + 1,) each."""
    ids, begins = _stream(texts)
    if not len(ids):
        return []
    found = model.first[ids]
    nodes, at = ids, np.arange(len(ids))
    for k, order in enumerate(model.orders, 2):
        before = np.where(at - begins >= k - 1, np.concatenate(([-1], nodes[:-1])), -1)
        known = np.flatnonzero(before >= 0)
        contexts = before[known]
        keys = contexts * model.size + ids[known]
        place = np.minimum(np.searchsorted(order.keys, keys), len(order.keys) - 1)
        hit = order.keys[place] == keys if len(order.keys) else np.zeros(len(keys), bool)
        found[known] = np.where(hit, order.share[place], 0.0) + order.rest[contexts] * found[known]
        nodes = np.full(len(ids), -1, np.int64)
        nodes[known[hit]] = place[hit]
    return [part[1:] for part in np.split(found, np.flatnonzero(at == begins)[1:])]
