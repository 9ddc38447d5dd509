import math

import pytest
import sacrebleu
from builtin_texts import AWKWARD, REFERENCES, TEXTS, batch_of, built
from hypothesis import example, given, settings
from hypothesis import strategies as st

TOKENIZERS = ["13a", "zh", "intl", "char", "none"]


@settings(max_examples=300, deadline=None)
@given(references=REFERENCES, response=TEXTS, tokenize=st.sampled_from([None, *TOKENIZERS]), lowercase=st.booleans())
@example(("",), "", None, False)
@example(("a b c d e",), "a b c d e", None, False)
def test_bleu_equals_sacrebleu(references, response, tokenize, lowercase):
    theirs = sacrebleu.sentence_bleu(response, list(references), tokenize=tokenize or "13a", lowercase=lowercase)
    (ours,) = built("bleu", tokenize=tokenize, lowercase=lowercase)(batch_of([response], [references]))
    assert ours == theirs.score


@pytest.mark.parametrize("language", ["zh", "zh-CN", "zh_Hans", "ZH"])
def test_bleu_takes_the_tokenizer_of_the_last_language(language):
    response, reference = "猫坐在垫子上。", "猫坐在地上。"
    batch = batch_of([response], [(reference,)], languages=("en", language))
    assert built("bleu")(batch) == [sacrebleu.sentence_bleu(response, [reference], tokenize="zh").score]
    assert built("bleu")(batch) != built("bleu")(batch_of([response], [(reference,)], languages=("zh", "en")))
    assert built("bleu", tokenize="13a")(batch) == built("bleu")(batch_of([response], [(reference,)], languages=()))


@pytest.mark.parametrize(("language", "package"), [("ja", r"sacrebleu\[ja\]"), ("ko", r"sacrebleu\[ko\]")])
def test_bleu_names_the_package_that_a_tokenizer_needs(language, package, monkeypatch):
    module = __import__(f"sacrebleu.tokenizers.tokenizer_{language}_mecab", fromlist=["MeCab"])
    monkeypatch.setattr(module, "MeCab", None)
    with pytest.raises(RuntimeError, match=f"{language}-mecab needs another package: pip install '{package}'"):
        built("bleu")(batch_of(["a"], [("a",)], languages=(language,)))
    with pytest.raises(RuntimeError, match=package):
        built("bleu", tokenize=f"{language}-mecab")


@settings(max_examples=300, deadline=None)
@given(references=REFERENCES, response=TEXTS, word_order=st.sampled_from([0, 1, 2]), lowercase=st.booleans())
def test_chrf_equals_sacrebleu(references, response, word_order, lowercase):
    metric = sacrebleu.CHRF(word_order=word_order, lowercase=lowercase)
    theirs = metric.sentence_score(response, list(references)).score
    assert built("chrf", word_order=word_order, lowercase=lowercase)(batch_of([response], [references])) == [theirs]


TER_OPTIONS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["normalized", "no_punct", "asian_support", "case_sensitive"], st.booleans())
)


@settings(max_examples=300, deadline=None)
@given(references=REFERENCES, response=TEXTS, options=TER_OPTIONS)
def test_ter_is_sacrebleus_negated(references, response, options):
    theirs = sacrebleu.sentence_ter(response, list(references), **options).score
    (ours,) = built("ter", **options)(batch_of([response], [references]))
    assert ours == -theirs
    assert math.copysign(1, ours) == (1 if theirs == 0 else -1)


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_equals_sacrebleu_on_awkward_texts(name):
    theirs = {
        "bleu": lambda response, target: sacrebleu.sentence_bleu(response, [target]).score,
        "chrf": lambda response, target: sacrebleu.sentence_chrf(response, [target]).score,
        "ter": lambda response, target: -sacrebleu.sentence_ter(response, [target]).score,
    }[name]
    pairs = [(response, target) for response in AWKWARD for target in AWKWARD]
    batch = batch_of([response for response, _ in pairs], [(target,) for _, target in pairs])
    assert built(name)(batch) == [theirs(*pair) for pair in pairs]


def test_by_hand():
    batch = batch_of(["a b c d", "a b", "x", "a b c"], [("a b c d",), ("a b c d",), ("a b c d",), ("a b d c",)])
    bleu = built("bleu")(batch)
    assert bleu[0] == pytest.approx(100)
    assert bleu[1] == pytest.approx(100 * math.exp(1 - 4 / 2))  # all n-grams match; two words against four
    assert bleu[2] == 0.0
    # ter: nothing; two words inserted; one replaced, three inserted; one inserted
    assert built("ter")(batch) == [0.0, -50.0, -100.0, -25.0]
    # chrf of "ab" against "abcd": orders 1 and 2 count for P, recall 2/4 and 1/3
    recall = (2 / 4 + 1 / 3) / 2
    assert built("chrf")(batch)[1] == pytest.approx(100 * 5 * recall / (4 + recall))


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_rows_without_references_have_no_score(name):
    best = 0.0 if name == "ter" else 100.0
    assert built(name)(batch_of(["a b c d"] * 2, [(), ("a b c d",)])) == [None, pytest.approx(best)]


@pytest.mark.parametrize("name", ["bleu", "chrf", "ter"])
def test_lengths_are_checked(name):
    with pytest.raises(ValueError, match="2 hypotheses, but references for 1"):
        built(name)(batch_of(["a", "b"], [("a",)]))
    with pytest.raises(TypeError, match="row 0: expected a tuple of reference texts, got one text"):
        built(name)(batch_of(["a"], ["a"]))


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("bleu", {"tokenize": "moses"}, "tokenize is 'moses', expected one of: 13a, zh, ja-mecab"),
        ("bleu", {"lowercase": 1}, "lowercase is 1, expected true or false"),
        ("chrf", {"word_order": -1}, "word_order is -1, expected an integer of at least 0"),
        ("chrf", {"word_order": True}, "word_order is True"),
        ("chrf", {"word_order": 2.0}, "word_order is 2.0"),
        ("chrf", {"lowercase": None}, "lowercase is None"),
        ("ter", {"normalized": 1}, "normalized is 1"),
        ("ter", {"no_punct": 1}, "no_punct is 1"),
        ("ter", {"asian_support": 1}, "asian_support is 1"),
        ("ter", {"case_sensitive": 0}, "case_sensitive is 0"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        built(name, **options)
