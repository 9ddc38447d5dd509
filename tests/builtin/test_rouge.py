import math
import warnings

import pytest
from builtin_texts import AWKWARD, REFERENCES, TEXTS, batch_of, built
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from rmbench.builtin.rouge import REWARDS, needs
from rmbench.kernel.rouge import Cased

KINDS = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL", "rouge-lsum": "rougeLsum"}
PARTS = {"f": "fmeasure", "precision": "precision", "recall": "recall"}
NAMES = st.sampled_from(sorted(KINDS))
pytestmark = pytest.mark.filterwarnings("ignore:rouge. ")


@settings(max_examples=400, deadline=None)
@given(name=NAMES, stemmer=st.booleans(), part=st.sampled_from(sorted(PARTS)), references=REFERENCES, response=TEXTS)
@example("rouge-1", False, "f", ("İstanbul \u212aelvin",), "i\u0307stanbul kelvin")
@example("rouge-lsum", True, "f", ("one\n\ntwo\nthree",), "three\ntwo one\n")
@example("rouge-l", False, "f", ("",), "")
def test_equals_rouge_score_bit_for_bit(name, stemmer, part, references, response):
    theirs = RougeScorer([KINDS[name]], use_stemmer=stemmer)
    best = theirs.score_multi(references, response)[KINDS[name]]
    scores = built(name, stemmer=stemmer, part=part)(batch_of([response], [references]))
    assert scores == [getattr(best, PARTS[part])]
    each = [getattr(theirs.score(text, response)[KINDS[name]], PARTS[part]) for text in references]
    if part == "f":
        assert scores == [max(each)]
    mean = built(name, stemmer=stemmer, part=part, references="mean")(batch_of([response], [references]))
    assert mean == [math.fsum(each) / len(each)]


@pytest.mark.parametrize("name", sorted(KINDS))
def test_equals_rouge_score_on_awkward_texts(name):
    theirs = RougeScorer([KINDS[name]])
    pairs = [(one, other) for one in AWKWARD for other in AWKWARD]
    expected = [theirs.score(target, response)[KINDS[name]].fmeasure for target, response in pairs]
    batch = batch_of([response for _, response in pairs], [(target,) for target, _ in pairs])
    assert built(name)(batch) == expected


@settings(max_examples=200, deadline=None)
@given(name=NAMES, stemmer=st.booleans(), source=TEXTS, response=TEXTS)
def test_against_the_source_is_rouge_score_with_the_source_as_target(name, stemmer, source, response):
    theirs = RougeScorer([KINDS[name]], use_stemmer=stemmer).score(source, response)[KINDS[name]]
    scorer = built(name, stemmer=stemmer, against="source", part="precision")
    assert scorer(batch_of([response], contexts=[source])) == [theirs.precision]
    assert scorer(batch_of([response], prompts=[source])) == [theirs.precision]


@settings(max_examples=200, deadline=None)
@given(stemmer=st.booleans(), text=TEXTS)
def test_cased_tokens_of_lower_case_texts_are_rouge_scores(stemmer, text):
    theirs = RougeScorer(["rouge1"], use_stemmer=stemmer)._tokenizer.tokenize(text)
    assert Cased(stemmer=stemmer).tokenize(text.lower()) == theirs


def test_by_hand():
    batch = batch_of(["the cat sat", "police kill the gunman"], [("the cat ran off",), ("police killed the gunman",)])
    assert built("rouge-1", part="precision")(batch)[0] == 2 / 3
    assert built("rouge-1", part="recall")(batch)[0] == 2 / 4
    assert built("rouge-1")(batch)[0] == pytest.approx(4 / 7)  # 2 * 2/3 * 2/4 / (2/3 + 2/4)
    assert built("rouge-2", part="recall")(batch)[0] == 1 / 3
    assert built("rouge-l")(batch)[1] == 0.75
    assert built("rouge-l", stemmer=True)(batch)[1] == 1.0


def test_maximum_takes_the_reference_with_the_highest_f():
    batch = batch_of(["a b"], [("a b c d e f g h", "a")])  # f: 0.4 and 2/3; precision: 1 and 1/2
    assert built("rouge-1", part="precision")(batch) == [0.5]
    assert built("rouge-1", part="precision", references="mean")(batch) == [0.75]


def test_case():
    batch = batch_of(["the Cat"], [("The Cat",)])
    assert built("rouge-1")(batch) == [1.0]
    assert built("rouge-1", lowercase=False)(batch) == [0.5]
    assert Cased(stemmer=True).tokenize("Running RUNNING it's") == ["Run", "RUNNING", "it", "s"]


def test_separator_makes_sentences():
    target, response = "a b . c d .", "c d . a b ."
    whole = built("rouge-lsum")(batch_of([response], [(target,)]))
    split = built("rouge-lsum", separator=" . ")(batch_of([response], [(target,)]))
    assert whole == [0.5]
    assert split == [1.0]
    assert built("rouge-lsum", separator="<q>")(batch_of(["a<q>b"], [("a\nb",)])) == [1.0]


def test_rows_without_references_have_no_score():
    assert built("rouge-l")(batch_of(["a", "a"], [(), ("a",)])) == [None, 1.0]
    assert built("rouge-l", references="mean")(batch_of(["a"], [()])) == [None]


@pytest.mark.filterwarnings("default:rouge")
def test_warns_with_a_count_of_rows_that_tokenise_to_nothing():
    batch = batch_of(["猫坐在垫子上。", "猫", "cat", "", "cat"], [("猫坐在垫子上。",), (), ("猫",), (" ",), ("cat",)])
    with pytest.warns(UserWarning, match=r"^rouge: 2 of 5 rows tokenise to nothing") as caught:
        assert built("rouge-1")(batch) == [0.0, None, 0.0, 0.0, 1.0]
    assert len(caught) == 1


def test_does_not_warn_without_cause():
    batch = batch_of(["cat", "\u212a", ""], [("cat",), ("k",), ("cat",)])
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert built("rouge-1")(batch) == [1.0, 1.0, 0.0]
        assert built("rouge-1", lowercase=False)(batch_of(["CAT"], [("CAT",)])) == [1.0]
    with pytest.warns(UserWarning, match="1 of 3 rows"):
        assert built("rouge-1", lowercase=False)(batch) == [1.0, 0.0, 0.0]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stemmer": 1}, "stemmer is 1, expected true or false"),
        ({"part": "F"}, "part is 'F', expected one of: f, precision, recall"),
        ({"references": "min"}, "references is 'min', expected one of: max, mean"),
        ({"against": "prompt"}, "against is 'prompt', expected one of: references, source"),
        ({"lowercase": "no"}, "lowercase is 'no', expected true or false"),
        ({"separator": ""}, "separator is '', expected a non-empty text"),
        ({"separator": 1}, "separator is 1, expected a non-empty text"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        built("rouge-lsum", **options)


def test_needs_references_unless_it_scores_against_the_source():
    assert needs() == needs(against="references", stemmer=True) == frozenset({"references"})
    assert needs(against="source") == frozenset()
    assert [(reward.name, reward.backends, reward.needs) for reward in REWARDS] == [
        (name, ("rouge-score",), needs) for name in KINDS
    ]
