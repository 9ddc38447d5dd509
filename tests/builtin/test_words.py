import math

import pytest
from builtin_texts import TEXTS, batch_of, built
from hypothesis import given, settings

from rmbench.kernel.bags import f1, normalise


def test_normalise_as_squad():
    assert normalise("The Cat, a dog;\tan  owl's THE") == ["cat", "dog", "owls"]
    assert normalise("theatre an-d") == ["theatre", "and"]
    assert normalise("«the» 猫。") == ["«", "»", "猫。"]  # only ASCII punctuation goes, as in SQuAD
    assert normalise(" a. ") == []


@pytest.mark.parametrize(
    ("response", "references", "f", "exact"),
    [
        ("The cat sat.", ("a cat sat",), 1.0, 1.0),
        ("cat sat down", ("the cat sat on mats",), 4 / 7, 0.0),  # 2 common; P 2/3, R 2/4
        ("cat cat", ("cat",), 2 / 3, 0.0),
        ("dog", ("cat", "the dog"), 1.0, 1.0),
        ("dog", ("cat",), 0.0, 0.0),
        ("the", ("an",), 1.0, 1.0),
        ("", ("cat",), 0.0, 0.0),
        ("cat", ("",), 0.0, 0.0),
        ("cat", (), None, None),
    ],
)
def test_answers(response, references, f, exact):
    batch = batch_of([response], [references])
    assert built("token-f1")(batch) == [None if f is None else pytest.approx(f)]
    assert built("exact-match")(batch) == [exact]


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_f1_is_symmetric_and_within_its_range(one, other):
    score = f1(normalise(one), normalise(other))
    assert 0.0 <= score <= 1.0
    assert score == pytest.approx(f1(normalise(other), normalise(one)), abs=1e-12)
    assert f1(normalise(one), normalise(one)) == 1.0


def test_length():
    batch = batch_of(["one two  three", "", "猫e\u0301"])
    assert built("length")(batch) == [3.0, 0.0, 1.0]
    assert built("length", unit="chars")(batch) == [14.0, 0.0, 3.0]
    assert built("length", target=2)(batch) == [-0.5, -1.0, -0.5]
    assert built("length", unit="chars", target=14)(batch) == [0.0, -1.0, pytest.approx(-11 / 14)]
    assert math.copysign(1, built("length", target=3)(batch)[0]) == 1


def test_diversity():
    batch = batch_of(["a b a b", "A a a", "one", "", "a b c"])
    assert built("diversity")(batch) == [2 / 3, 1 / 2, None, None, 1.0]
    assert built("diversity", n=1)(batch) == [1 / 2, 1 / 3, 1.0, None, 1.0]


def test_repetition():
    batch = batch_of(["a b c a b c", "a a a a a", "x y", "", "a b c d"])
    # 4 triples, of which the last repeats; 3 triples, of which two repeat
    assert built("repetition")(batch) == [pytest.approx(1 - 1 / 4), pytest.approx(1 - 2 / 3), 1.0, 1.0, 1.0]
    assert built("repetition", n=1)(batch) == [pytest.approx(1 - 3 / 6), pytest.approx(1 - 4 / 5), 1.0, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "options", "message"),
    [
        ("length", {"unit": "tokens"}, "unit is 'tokens', expected one of: words, chars"),
        ("length", {"target": 0}, "target is 0, expected an integer of at least 1"),
        ("length", {"target": True}, "target is True"),
        ("diversity", {"n": 0}, "n is 0, expected an integer of at least 1"),
        ("repetition", {"n": 1.5}, "n is 1.5"),
    ],
)
def test_wrong_options(name, options, message):
    with pytest.raises(ValueError, match=message):
        built(name, **options)
