import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_texts import AWKWARD, answers, rows

from rmbench.kernel import chrf, runs

OPTIONS = st.fixed_dictionaries({"word_order": st.sampled_from([0, 0, 2, 1, 3, 9]), "lowercase": st.booleans()})


@settings(max_examples=400, deadline=None)
@given(rows(), OPTIONS)
def test_equals_sacrebleu(texts, options):
    assert chrf.scores(*texts, **options)["chrf"].tolist() == chrf.plain(*texts, **options)["chrf"].tolist()


@pytest.mark.parametrize("options", [{}, {"lowercase": True}, {"word_order": 2}, {"word_order": 2, "lowercase": True}])
def test_equals_sacrebleu_on_awkward_pairs(options):
    texts = [response for response in AWKWARD for _ in AWKWARD], [(target,) for target in AWKWARD] * len(AWKWARD)
    assert chrf.scores(*texts, **options)["chrf"].tolist() == chrf.plain(*texts, **options)["chrf"].tolist()


@pytest.mark.parametrize(("count", "words"), [(1500, 12), (500, 60), (40, 800)])
@pytest.mark.parametrize("word_order", [0, 2])
def test_equals_sacrebleu_on_answers(count, words, word_order):
    texts = answers(count, words)
    ours, theirs = (one(*texts, word_order=word_order)["chrf"] for one in (chrf.scores, chrf.plain))
    assert ours.tolist() == theirs.tolist()
    assert len(set(ours)) > count / 2


def test_equals_sacrebleu_on_large_alphabets_and_long_texts():
    rng = np.random.default_rng(0)
    wide = "".join(map(chr, rng.integers(0x4E00, 0x9FFF, 3000)))
    astral = "".join(map(chr, rng.integers(0x10000, 0x10FFFF, 70_000)))
    flat = "ab " * 30_000
    texts = (
        [wide, wide[::-1], astral, flat, "a" * 50_000],
        [(wide,), (wide[100:],), (astral[5:] + "x",), (flat[1:],), ("a" * 49_000,)],
    )
    assert chrf.scores(*texts, word_order=2)["chrf"].tolist() == chrf.plain(*texts, word_order=2)["chrf"].tolist()


def test_the_first_of_equal_references_and_the_best_of_others():
    best = chrf.scores(["abcdef"], [("x", "abcdeg", "abcdef", "abcdef")])["chrf"]
    assert best.tolist() == [100.0]


def test_spaces_are_those_of_split():
    assert runs.spaces().tolist() == [code for code in range(sys.maxunicode + 1) if not chr(code).split()]


def test_by_hand():
    # "ab" against "abcd": orders 1 and 2 count; P 1 and 1, R 2/4 and 1/3
    recall = (2 / 4 + 1 / 3) / 2
    # with words: no order of words has a match; P and R of order 1 are 0
    words = 5 * (2 / 3) * (recall * 2 / 3) / (4 * (2 / 3) + recall * 2 / 3)
    assert chrf.scores(["a b"], [("abcd",)])["chrf"][0] == pytest.approx(100 * 5 * recall / (4 + recall))
    assert chrf.scores(["ab"], [("abcd",)], word_order=2)["chrf"][0] == pytest.approx(100 * words)


def test_no_rows_and_no_references():
    assert chrf.scores([], [])["chrf"].shape == (0,)
    with pytest.raises(ValueError, match="row 1 has no reference"):
        chrf.scores(["a", "b"], [("a",), ()])
    with pytest.raises(ValueError, match="2 responses, but references for 1"):
        chrf.scores(["a", "b"], [("a",)])
