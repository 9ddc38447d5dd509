import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from overlap_texts import AWKWARD, answers, rows

from rmbench.kernel import compiled, ter
from rmbench.kernel.families import Rows, plan

OPTIONS = st.fixed_dictionaries(
    {}, optional=dict.fromkeys(["normalized", "no_punct", "asian_support", "case_sensitive"], st.booleans())
)


def both(texts, **options):
    return (one(*texts, **options)["ter"].tolist() for one in (ter.scores, ter.plain))


@settings(max_examples=400, deadline=None)
@given(rows(), OPTIONS)
def test_equals_sacrebleu(texts, options):
    ours, theirs = both(texts, **options)
    assert ours == theirs
    assert not np.signbit(ours)[np.array(ours) == 0].any()


@settings(max_examples=300, deadline=None)
@given(
    st.lists(
        st.tuples(st.lists(st.sampled_from("abcde"), max_size=24), st.lists(st.sampled_from("abcde"), max_size=24)),
        max_size=8,
    )
)
def test_equals_sacrebleu_where_words_repeat(pairs):
    ours, theirs = both(([" ".join(one) for one, _ in pairs], [(" ".join(other),) for _, other in pairs]))
    assert ours == theirs


def test_equals_sacrebleu_on_awkward_pairs():
    texts = [response for response in AWKWARD for _ in AWKWARD], [(target,) for target in AWKWARD] * len(AWKWARD)
    ours, theirs = both(texts)
    assert ours == theirs


@pytest.mark.parametrize(("count", "words", "share"), [(1000, 12, 0.6), (100, 40, 0.8), (30, 75, 0.9), (12, 75, 0.5)])
def test_equals_sacrebleu_on_answers(count, words, share):
    ours, theirs = both(answers(count, words, share=share))
    assert ours == theirs


@pytest.mark.parametrize(
    ("words", "targets"), [(1, 300), (2, 200), (200, 2), (7, 400), (60, 130), (130, 60), (100, 100)]
)
@pytest.mark.parametrize("kinds", [2, 40])
def test_equals_sacrebleu_at_the_edges_of_the_beam(words, targets, kinds):
    rng = np.random.default_rng(words)
    texts = [" ".join(map(str, rng.integers(0, kinds, size))) for size in (words, targets)]
    ours, theirs = both(([texts[0]], [(texts[1],)]))
    assert ours == theirs


def test_the_limit_of_shifts_ends_the_search(monkeypatch):
    from sacrebleu.metrics import lib_ter

    # turned round, every word can go to many places
    block = [f"w{number % 13}" for number in range(60)]
    texts = [" ".join(block[30:] + block[:30]), " ".join(block[::-1])], [(" ".join(block),)] * 2
    ours, theirs = both(texts)
    assert ours == theirs
    monkeypatch.setattr(lib_ter, "_MAX_SHIFT_CANDIDATES", 10**9)
    assert ter.plain(*texts)["ter"].tolist() != theirs


def test_by_hand():
    found = ter.scores(
        ["a b c d", "a b", "x", "a b c", "", "", "d e f a b c"],
        [("a b c d",), ("a b c d",), ("a b c d",), ("a b d c",), ("",), ("a b",), ("a b c d e f",)],
    )["ter"]
    # nothing; two inserted; one replaced, three inserted; one inserted; nothing; two inserted; one shift of six
    assert found.tolist() == [0.0, -50.0, -100.0, -25.0, 0.0, -100.0, pytest.approx(-100 / 6)]
    assert ter.scores(["a"], [("",)])["ter"].tolist() == [-100.0]
    # the fewest edits, here none, over the mean length
    assert ter.scores(["a b"], [("a b", "c d e f")])["ter"].tolist() == [0.0]
    assert ter.scores(["a"], [("a b", "c d e f")])["ter"].tolist() == [pytest.approx(-100 / 3)]


def test_no_rows_and_no_references():
    assert ter.scores([], [])["ter"].shape == (0,)
    with pytest.raises(ValueError, match="row 0 has no reference"):
        ter.scores(["a"], [()])


def test_long_rows_are_worth_compiled_code(monkeypatch):
    monkeypatch.delenv("RMBENCH_COMPILED", raising=False)
    monkeypatch.setattr(compiled, "_loaded", set())
    monkeypatch.setattr(compiled, "_spent", {})
    monkeypatch.setattr(compiled, "cached", lambda kernel: False)
    for words, count, function in [(10, 1000, ter.plain), (600, 1, ter.scores)]:
        text = " ".join(f"w{number}" for number in range(words))
        block = Rows([text] * count, [(text,)] * count)
        (score,) = plan({"ter": {"normalized": True}}, lambda block=block: iter([block]))
        assert score.args[0].func is function
    assert ter.seconds(["a" * 500], [("b" * 500,)], asian_support=True) > 1 > ter.seconds(["a" * 500], [("b" * 500,)])
