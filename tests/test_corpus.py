import numpy as np
import pytest
import sacrebleu
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench import corpus

WORDS = ("the", "a", "cat", "Cat", "sat", "on", ".", "mat", "猫", "é", "İ", "\n", "\x00", "3", "x,y", "gatto!")
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=12).map(" ".join),
    st.text(st.characters(exclude_categories=("Cs",)), max_size=20),
    st.sampled_from(["", " ", "猫坐在垫子上。", "one two three four five"]),
)
ROWS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3).map(tuple)), min_size=1, max_size=5)
TARGETS = [("the cat sat on the mat",), ("a dog ran", "the dog ran home", "dogs ran"), ("x y z w", "y z")]
RESPONSES = ["the cat sat on a mat", "the dog ran", "x y z"]
# by hand what sacrebleu wants: a list per reference number, with None where a row has fewer
STREAMS = [
    ["the cat sat on the mat", "a dog ran", "x y z w"],
    [None, "the dog ran home", "y z"],
    [None, "dogs ran", None],
]


def theirs(metric, rows):
    longest = max(len(references) for _, references in rows)
    streams = [[refs[k] if k < len(refs) else None for _, refs in rows] for k in range(longest)]
    return metric.corpus_score([response for response, _ in rows], streams).score


@settings(max_examples=300, deadline=None)
@given(rows=ROWS, language=st.sampled_from([None, "en", "zh"]))
def test_bleu_and_its_statistics_equal_sacrebleu(rows, language):
    responses, references = zip(*rows, strict=True)
    expected = theirs(sacrebleu.BLEU(trg_lang=language or ""), rows)
    statistics = corpus.bleu_statistics(responses, references, language)
    assert statistics.shape == (len(rows), 10)
    assert statistics.dtype == np.int64
    assert corpus.corpus_bleu(responses, references, language) == expected
    assert corpus.bleu_from_statistics(statistics.sum(axis=0)) == expected


@settings(max_examples=300, deadline=None)
@given(rows=ROWS)
def test_chrf_and_its_statistics_equal_sacrebleu(rows):
    responses, references = zip(*rows, strict=True)
    expected = theirs(sacrebleu.CHRF(), rows)
    statistics = corpus.chrf_statistics(responses, references)
    assert statistics.shape == (len(rows), 18)
    assert corpus.corpus_chrf(responses, references) == expected
    assert corpus.chrf_from_statistics(statistics.sum(axis=0)) == expected


@settings(max_examples=200, deadline=None)
@given(rows=ROWS)
def test_ter_is_sacrebleus_negated(rows):
    responses, references = zip(*rows, strict=True)
    assert corpus.corpus_ter(responses, references) == -theirs(sacrebleu.TER(), rows)


def test_references_are_transposed():
    assert corpus.streams(RESPONSES, TARGETS) == STREAMS
    assert corpus.corpus_bleu(RESPONSES, TARGETS) == sacrebleu.corpus_bleu(RESPONSES, STREAMS).score
    assert corpus.corpus_chrf(RESPONSES, TARGETS) == sacrebleu.corpus_chrf(RESPONSES, STREAMS).score
    assert corpus.corpus_ter(RESPONSES, TARGETS) == -sacrebleu.corpus_ter(RESPONSES, STREAMS).score


def test_statistics_by_hand():
    (row,) = corpus.bleu_statistics(["a b c"], [("a b d e", "a b")])
    # 3 words, the closest length is 2 (as near as 4, and shorter); 2 of 3 words and 1 of 2 pairs match
    assert row.tolist() == [3, 2, 2, 1, 0, 0, 3, 2, 1, 0]
    (row,) = corpus.chrf_statistics(["ab"], [("abc",)])
    assert row.tolist() == [2, 3, 2, 1, 2, 1, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]


def test_a_subset_of_rows_is_the_corpus_of_those_rows():
    rows = [0, 2, 2]
    responses, references = [RESPONSES[row] for row in rows], [TARGETS[row] for row in rows]
    bleu, chrf = corpus.bleu_statistics(RESPONSES, TARGETS), corpus.chrf_statistics(RESPONSES, TARGETS)
    assert corpus.bleu_from_statistics(bleu[rows].sum(axis=0)) == corpus.corpus_bleu(responses, references)
    assert corpus.chrf_from_statistics(chrf[rows].sum(axis=0)) == corpus.corpus_chrf(responses, references)


@pytest.mark.parametrize(
    "function",
    [corpus.corpus_bleu, corpus.corpus_chrf, corpus.corpus_ter, corpus.bleu_statistics, corpus.chrf_statistics],
)
@pytest.mark.parametrize(
    ("responses", "references", "error", "message"),
    [
        (["a", "b"], [("a",)], ValueError, "2 hypotheses, but references for 1"),
        (["a"], [("a",), ("b",)], ValueError, "1 hypotheses, but references for 2"),
        (["a", "b"], [("a",), ()], ValueError, "row 1 has no reference"),
        ([], [], ValueError, "needs at least one row"),
        (["a", "b"], ["a", "b"], TypeError, "row 0: expected a tuple of reference texts, got one text"),
        ("ab", [("a",), ("b",)], TypeError, "expected a sequence of texts, got one text"),
    ],
)
def test_what_sacrebleu_would_score_wrongly_is_refused(function, responses, references, error, message):
    with pytest.raises(error, match=message):
        function(responses, references)


def test_sums_of_another_width_are_refused():
    with pytest.raises(ValueError, match="expected 10 summed statistics, got 3"):
        corpus.bleu_from_statistics([1, 2, 3])
    with pytest.raises(ValueError, match="expected 18 summed statistics, got 10"):
        corpus.chrf_from_statistics([0] * 10)


@pytest.mark.parametrize(
    ("language", "tokenizer"),
    [
        (None, "13a"), ("", "13a"), ("en", "13a"), ("zh", "zh"), ("zh-CN", "zh"), ("zh_Hans", "zh"),
        ("ja", "ja-mecab"), ("ko", "ko-mecab"), ("jav", "13a"), ("kok", "13a"),
    ],
)  # fmt: skip
def test_tokenizer_of_a_language(language, tokenizer):
    assert corpus.tokenizer_of(language) == tokenizer


def test_a_missing_package_is_named(monkeypatch):
    from sacrebleu.tokenizers import tokenizer_ja_mecab

    monkeypatch.setattr(tokenizer_ja_mecab, "MeCab", None)
    with pytest.raises(
        RuntimeError, match=r"the tokenizer ja-mecab needs another package: pip install 'sacrebleu\[ja\]'"
    ):
        corpus.corpus_bleu(["a"], [("a",)], "ja")
