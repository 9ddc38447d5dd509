from builtin_texts import TEXTS, batch_of, built
from hypothesis import given, settings

SOURCE = "The cat sat on the mat in the house"


def test_copied_pieces_by_hand():
    # "the cat sat" (3) and "the house" (2) are copied, "and left" is not: 7 words
    batch = batch_of(["The cat sat and left the house", "dogs ran", "", SOURCE], contexts=[SOURCE] * 4)
    assert built("coverage")(batch) == [5 / 7, 0.0, 0.0, 1.0]
    assert built("density")(batch) == [13 / 7, 0.0, 0.0, 9.0]


def test_novel_bigrams_by_hand():
    # the cat, cat sat, the house are in the source; sat and, and left, left the are not
    batch = batch_of(["The cat sat and left the house", "dogs", "", SOURCE, "dogs ran"], contexts=[SOURCE] * 5)
    assert built("novelty")(batch) == [3 / 6, None, None, 0.0, 1.0]
    assert built("novelty", n=1)(batch) == [2 / 7, 1.0, None, 0.0, 1.0]


@settings(max_examples=200, deadline=None)
@given(TEXTS, TEXTS)
def test_what_is_not_copied_is_new(response, source):
    batch = batch_of([response], contexts=[source])
    (share,), (new,) = built("coverage")(batch), built("novelty", n=1)(batch)
    if new is None:
        assert share == 0.0
    else:
        assert abs(share + new - 1.0) < 1e-12  # of single words, the two are the same question
