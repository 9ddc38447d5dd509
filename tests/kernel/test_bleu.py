import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_texts import AWKWARD, answers, rows

from rmbench import corpus
from rmbench.kernel import bleu

TOKENIZERS = ["13a", "13a", "13a", "zh", "intl", "char", "none"]
OPTIONS = st.fixed_dictionaries({"tokenize": st.sampled_from(TOKENIZERS), "lowercase": st.booleans()})


def both(texts, **options):
    return (one(*texts, **options)["bleu"].tolist() for one in (bleu.scores, bleu.plain))


@settings(max_examples=400, deadline=None)
@given(rows(), OPTIONS)
def test_equals_sacrebleu(texts, options):
    ours, theirs = both(texts, **options)
    assert ours == theirs


@pytest.mark.parametrize("tokenize", TOKENIZERS[2:])
def test_equals_sacrebleu_on_awkward_pairs(tokenize):
    texts = [response for response in AWKWARD for _ in AWKWARD], [(target,) for target in AWKWARD] * len(AWKWARD)
    for lowercase in (False, True):
        ours, theirs = both(texts, tokenize=tokenize, lowercase=lowercase)
        assert ours == theirs


@pytest.mark.parametrize(("count", "words"), [(2000, 12), (500, 60), (20, 2000)])
def test_equals_sacrebleu_on_answers(count, words):
    ours, theirs = both(answers(count, words))
    assert ours == theirs
    assert len(set(ours)) > count / 3


@settings(max_examples=400, deadline=None)
@given(st.lists(st.text("a5.,-(& \n'\t/", max_size=24), min_size=1, max_size=20))
def test_words_are_those_of_13a(texts):
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    from rmbench.kernel import mteval
    from rmbench.kernel.runs import codes_of

    cleaned = bleu.cleaned(texts)
    spans, own = mteval.split(*codes_of(cleaned), bleu.kinds("13a"))
    whole = "".join(cleaned)
    ours = [
        [whole[span >> 32 :][: span & 0xFFFFFFFF] for span in spans[own[i] : own[i + 1]]] for i in range(len(texts))
    ]
    assert ours == [Tokenizer13a()(text.rstrip()).split() for text in texts]


def test_every_character_is_split_as_13a_splits_it():
    from sacrebleu.tokenizers.tokenizer_13a import Tokenizer13a

    tokenizer = Tokenizer13a()
    characters = [chr(code) for code in (*range(0x3100), *range(0xFE00, 0x10000), *range(0x1D7C0, 0x1D800))]
    texts = [f"a{one}b 5{one}5 .{one}, {one}{one}" for one in characters]
    theirs = [tokenizer(text.rstrip()).split() for text in texts]
    counts = bleu.statistics(texts, [(" ".join(words),) for words in theirs], tokenize="13a")
    assert counts[:, 0].tolist() == list(map(len, theirs))
    assert (counts[:, 2] == counts[:, 0]).all()


def test_statistics_are_those_of_the_corpus():
    responses, references = answers(200, 20)
    references = [(*references[row], responses[row - 1], "") for row in range(len(references))]
    assert bleu.statistics(responses, references).tolist() == corpus.bleu_statistics(responses, references).tolist()


def test_by_hand():
    found = bleu.scores(["a b c d", "a b", "x", "", "a b c x"], [("a b c d",)] * 5)["bleu"]
    # all n-grams match; two words of four; none; none; precisions 3/4, 2/3, 1/2, and half of 1/1 for the zero
    assert found[0] == pytest.approx(100)
    assert found[1] == pytest.approx(100 * math.exp(1 - 4 / 2))
    assert found[2:4].tolist() == [0.0, 0.0]
    assert found[4] == pytest.approx(100 * (3 / 4 * 2 / 3 * 1 / 2 * 1 / 2) ** (1 / 4))


def test_several_references_give_the_most_of_each_and_the_closest_length():
    counts = bleu.statistics(["a a b"], [("a", "a a c d e", "b b b b")])
    assert counts[0].tolist() == [3, 4, 3, 1, 0, 0, 3, 2, 1, 0]
    assert bleu.statistics(["a b c"], [("a b", "a b c d")])[0, 1] == 2  # of two equally close ones the shorter


def test_many_words_and_long_words():
    rng = np.random.default_rng(0)
    long = [" ".join(f"{'internationalisation' * (n % 3)}{n}" for n in rng.integers(0, 3000, 5000)) for _ in range(4)]
    same = ["abcdefgh", "abcdefg", "\x00", "\x00\x00", "abcdefghi", "İbcdefgh"]
    texts = long + same, [(long[0],), (long[0],), (long[3], long[1]), (long[2],)] + [(" ".join(same),)] * len(same)
    ours, theirs = both(texts)
    assert ours == theirs


def test_no_rows_and_no_references():
    assert bleu.scores([], [])["bleu"].shape == (0,)
    with pytest.raises(ValueError, match="row 0 has no reference"):
        bleu.scores(["a", "b"], [(), ("a",)])
