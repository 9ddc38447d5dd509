"""Modified Kneser-Ney: values by hand, a slow second implementation, nltk's where it is the same model, sums to 1."""

import itertools
import math
import random
from collections import Counter, defaultdict

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.models.kneser_ney import BEGIN, END, FALLBACK, SPECIAL, UNKNOWN, count, estimated, model, probabilities

A, B, C = SPECIAL, SPECIAL + 1, SPECIAL + 2
CORPUS = [[A, B], [A, B], [A, C], [B, C], [C]]  # a b / a b / a c / b c / c


def next_tokens(fitted, context, size):
    """The probability of every token after a context that begins a text, by asking for each."""
    tokens = [token for token in range(size) if token != BEGIN]
    asked = probabilities(fitted, [[*context, token] if token != END else list(context) for token in tokens])
    return dict(zip(tokens, (each[len(context)] for each in asked), strict=True))


def test_values_by_hand_of_five_texts():
    # unigrams are preceded in 1 (a), 2 (b), 3 (c), 2 (end) ways, 8 in all; n4 is 0, so D = 0.5, 1, 1.5;
    # what is taken, (0.5 + 1 + 1.5 + 1) / 8 = 0.5, is shared by 5: a, b, c, end, unknown
    fitted = model(count(CORPUS, size=6, order=2))
    assert fitted.discounts == (FALLBACK, FALLBACK)
    one = {A: 0.5 / 8 + 0.1, B: 1 / 8 + 0.1, C: 1.5 / 8 + 0.1, END: 1 / 8 + 0.1, UNKNOWN: 0.1}
    assert math.fsum(one.values()) == pytest.approx(1)
    # after a: b twice, c once; half is taken: (1 + 0.5) / 3
    assert next_tokens(fitted, [A], 6) == pytest.approx({
        A: 0.5 * one[A], B: (2 - 1) / 3 + 0.5 * one[B], C: (1 - 0.5) / 3 + 0.5 * one[C], END: 0.5 * one[END], UNKNOWN: 0.05,
    }, abs=1e-15)  # fmt: skip
    # at the beginning: a three times, b and c once each; (1.5 + 0.5 + 0.5) / 5 is taken
    assert next_tokens(fitted, [], 6) == pytest.approx({
        A: 1.5 / 5 + 0.5 * one[A], B: 0.5 / 5 + 0.5 * one[B], C: 0.5 / 5 + 0.5 * one[C], END: 0.5 * one[END], UNKNOWN: 0.05,
    }, abs=1e-15)  # fmt: skip
    # a token never seen is no context: what follows it is a unigram
    assert next_tokens(fitted, [UNKNOWN], 6) == pytest.approx(one, abs=1e-15)


def test_discounts_by_hand_from_counts_of_counts():
    counts = np.repeat([1, 2, 3, 4, 9], [8, 3, 2, 1, 5])
    # Y = 8 / (8 + 6) = 4/7; 1 - 2 Y 3/8; 2 - 3 Y 2/3; 3 - 4 Y 1/2
    assert estimated(counts) == pytest.approx((4 / 7, 6 / 7, 13 / 7), abs=1e-15)


@pytest.mark.parametrize("times", [(0, 3, 2, 1), (8, 0, 2, 1), (8, 3, 0, 1), (8, 3, 2, 0), (8, 1, 9, 1), (8, 3, 1, 9)])
def test_where_the_formulas_do_not_hold_there_are_no_estimates(times):
    assert estimated(np.repeat([1, 2, 3, 4], times)) is None


def test_an_order_without_estimates_falls_back_by_itself():
    texts = [[SPECIAL + one] for one in (0, 1, 2, 3, 3, 4, 4, 5, 5, 5, 6, 6, 6, 6)]
    fitted = model(count(texts, size=10, order=1))
    assert fitted.discounts[0] == estimated(np.array([1, 1, 1, 2, 2, 3, 4, 14]))
    assert model(count(texts, size=10, order=2)).discounts[0] == FALLBACK  # every word has one predecessor


class Slow:
    """The definition, with dictionaries and recursion."""

    def __init__(self, texts, size, order):
        self.size, self.order = size, order
        padded = [(BEGIN, *text, END) for text in texts]
        raw = Counter(t[i : i + k] for t in padded for k in range(1, order + 1) for i in range(len(t) - k + 1))
        ways = defaultdict(set)
        for gram in raw:
            ways[gram[1:]].add(gram[0])
        self.counts = {
            gram: times if len(gram) == order or gram[0] == BEGIN else len(ways[gram])
            for gram, times in raw.items()
            if gram != (BEGIN,)
        }
        self.discounts = [self.estimate(k) for k in range(1, order + 1)]

    def estimate(self, k):
        n = Counter(times for gram, times in self.counts.items() if len(gram) == k)
        if not all(n[i] for i in (1, 2, 3, 4)):
            return FALLBACK
        y = n[1] / (n[1] + 2 * n[2])
        found = tuple(i - (i + 1) * y * n[i + 1] / n[i] for i in (1, 2, 3))
        return found if min(found) >= 0 else FALLBACK

    def __call__(self, history, token):
        """p(token | history), the whole text so far from its beginning."""
        context = tuple(history[max(0, len(history) - self.order + 1) :]) if self.order > 1 else ()
        return self.given(context, token)

    def given(self, context, token):
        below = self.given(context[1:], token) if context else 1 / (self.size - 1)
        after = {gram[-1]: times for gram, times in self.counts.items() if gram[:-1] == context}
        if not after:
            return below
        discount = {v: self.discounts[len(context)][min(times, 3) - 1] for v, times in after.items()}
        own = max(after.get(token, 0) - discount.get(token, 0), 0)
        return (own + sum(discount.values()) * below) / sum(after.values())


SIZE = 7
TEXTS = st.lists(st.lists(st.integers(SPECIAL, SIZE - 1), max_size=7), min_size=1, max_size=12)
ANY_TEXT = st.lists(st.sampled_from([UNKNOWN, *range(SPECIAL, SIZE)]), max_size=6)


@settings(deadline=None)
@given(TEXTS, ANY_TEXT, st.integers(1, 5))
def test_a_slow_implementation_gives_the_same(texts, asked, order):
    slow = Slow(texts, SIZE, order)
    fitted = model(count(texts, size=SIZE, order=order))
    assert np.array(fitted.discounts) == pytest.approx(np.array(slow.discounts))
    whole = [BEGIN, *asked, END]
    expected = [slow(whole[:place], whole[place]) for place in range(1, len(whole))]
    (found,) = probabilities(fitted, [asked])
    assert found.tolist() == pytest.approx(expected, rel=1e-12)


@settings(deadline=None, max_examples=50)
@given(TEXTS, ANY_TEXT, st.integers(1, 4))
def test_probabilities_after_any_context_sum_to_one(texts, context, order):
    fitted = model(count(texts, size=SIZE, order=order))
    after = next_tokens(fitted, context, SIZE)
    assert math.fsum(after.values()) == pytest.approx(1, abs=1e-9)
    assert min(after.values()) > 0


def test_after_every_pair_of_tokens_of_a_larger_corpus_they_sum_to_one():
    draw = random.Random(5)
    size = 200  # words w with a weight of 1 / w
    words, weights = range(SPECIAL, size), [1 / one for one in range(1, size - SPECIAL + 1)]
    texts = [draw.choices(words, weights, k=draw.randrange(12)) for _ in range(400)]
    fitted = model(count(texts, size=size, order=3))
    assert FALLBACK not in fitted.discounts
    for context in itertools.product([UNKNOWN, SPECIAL, SPECIAL + 1, SPECIAL + 20, size - 1], repeat=2):
        assert math.fsum(next_tokens(fitted, context, size).values()) == pytest.approx(1, abs=1e-9)


@settings(deadline=None)  # the first example imports nltk
@given(TEXTS, ANY_TEXT)
def test_nltk_gives_the_same_where_it_is_the_same_model(texts, asked):
    # theirs: order 2, one discount for bigrams, none for unigrams, no unknown word (so ask for known ones only)
    from nltk.lm import KneserNeyInterpolated
    from nltk.lm.preprocessing import pad_both_ends
    from nltk.util import bigrams

    known = [token for token in asked if any(token in text for text in texts)]
    named = [list(pad_both_ends([str(token) for token in text], n=2)) for text in texts]
    theirs = KneserNeyInterpolated(order=2, discount=0.2)
    theirs.fit([[*bigrams(text), *((word,) for word in text)] for text in named], [w for text in named for w in text])
    fitted = model(count(texts, size=SIZE, order=2), [(0.0, 0.0, 0.0), (0.2, 0.2, 0.2)])
    (found,) = probabilities(fitted, [known])
    whole = list(pad_both_ends([str(token) for token in known], n=2))
    expected = [theirs.score(word, [before]) for before, word in itertools.pairwise(whole)]
    assert found.tolist() == pytest.approx(expected, rel=1e-9)


@settings(deadline=None, max_examples=50)
@given(st.lists(ANY_TEXT, max_size=5))
def test_a_text_has_the_same_probabilities_alone_and_beside_others(asked):
    fitted = model(count(CORPUS, size=SIZE, order=3))
    together = probabilities(fitted, asked)
    assert [each.tolist() for each in together] == [probabilities(fitted, [text])[0].tolist() for text in asked]
