from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.kernel import bags


def copied(response, source):
    found = bags.copied([response], [source])
    return found["coverage"][0], found["density"][0]


@pytest.mark.parametrize(
    ("response", "source", "lengths"),
    [
        ("the cat sat", "Today the cat sat down", [3]),
        ("the dog sat", "the cat sat", [1, 1]),  # "the", then "sat"; "dog" is not copied
        ("a b c d e", "x a b y c d e z", [2, 3]),
        ("b c a b", "a b c", [2, 2]),
        ("a b a b a b", "a b", [2, 2, 2]),
        ("New words only", "the source", []),
        ("", "the source", []),
        ("a b", "", []),
        ("a a b", "a a a b", [2, 1]),  # the paper's search goes on after "a a" and misses "a a b" inside it
    ],
)
def test_fragments_by_hand(response, source, lengths):
    words = bags.words_of(response)
    assert list(bags.fragments(words, bags.words_of(source))) == lengths
    coverage = sum(lengths) / len(words) if words else 0.0
    density = sum(length**2 for length in lengths) / len(words) if words else 0.0
    assert copied(response, source) == (coverage, density)


def test_coverage_and_density_by_hand():
    # fragments of 2 and 3 words of 6: 5/6 and (4 + 9) / 6
    assert copied("a b NEW c d e", "x a b y C d e z") == (pytest.approx(5 / 6), pytest.approx(13 / 6))
    found = bags.copied(["a b", "b", "c"], ["a b", "a b", "c d"])
    assert found["coverage"].tolist() == [1.0, 1.0, 1.0]
    assert found["density"].tolist() == [2.0, 1.0, 1.0]


def slow_fragments(summary, article):
    """Figure 3 of the paper, word by word."""
    i = 0
    while i < len(summary):
        best, j = 0, 0
        while j < len(article):
            if summary[i] == article[j]:
                i2, j2 = i, j
                while i2 < len(summary) and j2 < len(article) and summary[i2] == article[j2]:
                    i2, j2 = i2 + 1, j2 + 1
                best, j = max(best, i2 - i), j2
            else:
                j += 1
        if best:
            yield best
        i += max(best, 1)


WORDS = st.lists(st.sampled_from("abcd"), max_size=14)


@settings(max_examples=400, deadline=None)
@given(WORDS, WORDS)
def test_fragments_are_those_of_the_papers_pseudocode(summary, article):
    assert list(bags.fragments(summary, article)) == list(slow_fragments(summary, article))


@settings(max_examples=400, deadline=None)
@given(WORDS, WORDS)
def test_compiled_fragments_are_those_of_the_papers_pseudocode(summary, article):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RMBENCH_COMPILED", "1")
        patch.setattr(bags, "MANY", 0)
        patch.setattr(bags, "fragments", None)
        assert bags._lengths(summary, article, bags.indexed(article)) == list(slow_fragments(summary, article))


def test_repeated_phrases_are_left_to_compiled_code(monkeypatch):
    monkeypatch.setenv("RMBENCH_COMPILED", "")
    monkeypatch.setattr(bags, "fragments", None)  # a minute of it
    assert copied("a b c " * 10_000, "a b d " * 10_000) == (pytest.approx(2 / 3), pytest.approx(4 / 3))


@settings(max_examples=300, deadline=None)
@given(st.lists(st.sampled_from("ab"), max_size=60), st.integers(1, 40))
def test_distinct_counts_different_grams(words, n):
    grams = Counter(tuple(words[i : i + n]) for i in range(len(words) - n + 1))
    assert bags.distinct(words, n) == (len(grams) / grams.total() if grams else None)
    column = bags.shares([" ".join(words)], [n])[n]
    assert column[0] == len(grams) / grams.total() if grams else np.isnan(column[0])


def test_long_grams_are_not_built():
    words = [f"w{number}" for number in range(40_000)]  # of 20,000 words each: gigabytes
    assert bags.distinct(words + words, 20_000) == 40_000 / 60_001
    assert bags.distinct(words, 10**9) is None


def test_scores_take_the_best_reference_and_split_a_samples_references_once(monkeypatch):
    seen = []
    plain = bags.normalise
    monkeypatch.setattr(bags, "normalise", lambda text: seen.append(text) or plain(text))
    references = [("a cat", "the dog"), ("a cat", "the dog"), ("a bird",)]
    found = bags.scores(["dog", "the cat sat", ""], references)
    assert found["token-f1"].tolist() == [1.0, pytest.approx(2 / 3), 0.0]
    assert found["exact-match"].tolist() == [1.0, 0.0, 0.0]
    assert sorted(seen) == sorted(["dog", "the cat sat", "", "a cat", "the dog", "a bird"])


def test_no_rows():
    assert all(column.shape == (0,) for column in bags.scores([], []).values())
    assert all(column.shape == (0,) for column in bags.copied([], []).values())
    assert bags.shares([], [2])[2].shape == (0,)
