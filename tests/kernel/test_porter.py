"""Stems equal NLTK's, on words of real texts, on every suffix behind every kind of stem, and on noise."""

from __future__ import annotations

import itertools
import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer

from rmbench.kernel.porter import IRREGULAR, STEP_2, STEP_3, STEP_4, measure, stem

ORACLE = PorterStemmer()
STEMS = ("", "a", "b", "y", "by", "ab", "tr", "tree", "oy", "hop", "hopp", "fil", "fall", "relat", "condit", "oat", "crys", "yes", "sayy", "abili")  # fmt: skip
SUFFIXES = tuple(dict.fromkeys([*(s for s, _, _ in (*STEP_2, *STEP_3, *STEP_4)), "logi", "ies", "ied", "eed", "ed", "ing", "y", "e", "ll", "s", "ss", "sses"]))  # fmt: skip
LETTERS = st.text("abcdeghilnorstuyz", min_size=1, max_size=9)


def test_porters_measure():
    for words, expected in (
        ("tr ee tree y by", 0),
        ("trouble oats trees ivy", 1),
        ("troubles private oaten orrery", 2),
    ):
        assert [measure(word) for word in words.split()] == [expected] * len(words.split())


@pytest.mark.parametrize(
    ("word", "expected"),
    [("caresses", "caress"), ("ponies", "poni"), ("ties", "tie"), ("hopping", "hop"), ("filing", "file"), ("happy", "happi"),
     ("relational", "relat"), ("probably", "probabl"), ("hopefulness", "hope"), ("geology", "geolog"), ("enjoy", "enjoy")],
)  # fmt: skip
def test_by_hand(word, expected):
    assert stem(word) == expected == ORACLE.stem(word)


def test_every_suffix_behind_every_stem():
    words = [a + b + c for a, b, c in itertools.product(STEMS, SUFFIXES, ("", *SUFFIXES))] + list(IRREGULAR)
    wrong = {word: (stem(word), ORACLE.stem(word)) for word in words if stem(word) != ORACLE.stem(word)}
    assert not wrong, dict(itertools.islice(wrong.items(), 10))


@settings(max_examples=3000)
@given(LETTERS, st.sampled_from(("", *SUFFIXES)), st.sampled_from(("", *SUFFIXES)))
def test_generated_words(word, first, second):
    assert stem(word + first + second) == ORACLE.stem(word + first + second)


@given(st.text("abyz0123456789", max_size=8))
def test_digits_are_consonants(word):
    assert stem(word) == ORACLE.stem(word)


@pytest.mark.data
def test_words_of_real_texts(data_dir):
    text = (data_dir / "summeval" / "data.jsonl").read_text(encoding="utf-8")
    words = {
        word
        for line in text.split("\n")
        if line
        for word in re.findall("[a-z0-9]+", json.loads(line)["prompt"].lower())
    }
    assert len(words) > 3000
    assert {word: stem(word) for word in words} == {word: ORACLE.stem(word) for word in words}
