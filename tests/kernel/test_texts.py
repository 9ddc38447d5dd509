"""What ``score_texts`` takes and gives: names, options, shapes, order, errors."""

import math
import os
import random
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from rmbench import kernel
from rmbench.kernel import texts
from rmbench.kernel.families import RULES, resolve
from rmbench.kernel.texts import CHARACTERS, ROWS, chunks, score_texts

CALLS = {
    "one text": (["rouge-1"], "a text", ["b"]),
    "one reference text": (["rouge-1"], ["a"], "b"),
    "one name": ("rouge-1", ["a"], ["b"]),
    "lengths": (["rouge-1"], ["a", "b"], ["b"]),
}


@pytest.fixture(params=["0", "1"])
def path(request, monkeypatch):
    """Both paths: rouge-score, and compiled code."""
    monkeypatch.setenv("RMBENCH_COMPILED", request.param)


def words(draw, count):
    return " ".join(draw.choices(["a", "b", "c", "the", "cat", "running", "runs", "\n"], k=count))


@pytest.mark.usefixtures("path")
def test_by_hand():
    columns = kernel.score_texts(
        ["rouge-1", "rouge-1.precision", "rouge-1.recall", "rouge-2.recall", "rouge-l", "rouge-lsum.recall"],
        ["the cat sat", "police kill the gunman", "c d\na b"],
        ["the cat ran off", ["police killed the gunman"], ("a b\nc d",)],
    )
    assert {name: (column.dtype, column.shape) for name, column in columns.items()} == dict.fromkeys(
        columns, (np.dtype(np.float64), (3,))
    )
    assert columns["rouge-1.precision"].tolist() == [2 / 3, 0.75, 1.0]
    assert columns["rouge-1.recall"].tolist() == [2 / 4, 0.75, 1.0]
    assert columns["rouge-1"][0] == pytest.approx(4 / 7)
    assert columns["rouge-2.recall"].tolist() == [1 / 3, 1 / 3, 2 / 3]
    assert columns["rouge-l"].tolist() == [pytest.approx(4 / 7), 0.75, 0.5]
    assert columns["rouge-lsum.recall"][2] == 1.0


@pytest.mark.usefixtures("path")
def test_options_flat_and_by_reward():
    names, response, reference = ["rouge-1", "rouge-2", "rouge-2.recall", "rouge-l"], ["It Runs"], ["it running"]

    def of(**options):
        return {name: column[0] for name, column in score_texts(names, response, reference, options=options).items()}

    assert of() == {"rouge-1": 0.5, "rouge-2": 0.0, "rouge-2.recall": 0.0, "rouge-l": 0.5}
    assert of(stemmer=True) == dict.fromkeys(names, 1.0)
    assert of(stemmer=True, lowercase=False) == dict.fromkeys(names, 0.0)
    assert of(**{"rouge-2": {"stemmer": True}}) == of() | {"rouge-2": 1.0, "rouge-2.recall": 1.0}
    only = of(stemmer=False, **{"rouge-2": {"stemmer": True}, "rouge-2.recall": {"stemmer": False}})
    assert only == of() | {"rouge-2": 1.0}


@pytest.mark.usefixtures("path")
def test_several_references():
    response, references = ["a b"], [["a b c d e f g h", "a"]]  # F: 0.4 and 2/3
    best = score_texts(["rouge-1", "rouge-1.precision"], response, references)
    assert [best["rouge-1"][0], best["rouge-1.precision"][0]] == [pytest.approx(2 / 3), 0.5]
    mean = score_texts(["rouge-1.precision"], response, references, options={"references": "mean"})
    assert mean["rouge-1.precision"].tolist() == [0.75]
    both = score_texts(["rouge-1", "rouge-1.recall"], response, references, options={"rouge-1.recall": {"references": "mean"}})  # fmt: skip
    assert both["rouge-1.recall"].tolist() == [math.fsum([2 / 8, 1.0]) / 2]


@pytest.mark.usefixtures("path")
def test_no_rows_and_no_names():
    assert {name: column.shape for name, column in score_texts(["rouge-1", "rouge-l"], [], []).items()} == {
        "rouge-1": (0,),
        "rouge-l": (0,),
    }
    assert score_texts([], ["a"], ["b"]) == {}


@pytest.mark.parametrize("threads", [1, 2, 3])
def test_rows_keep_their_order_over_chunks_and_threads(threads, monkeypatch):
    monkeypatch.setenv("RMBENCH_COMPILED", "1")
    draw = random.Random(2)
    sizes = [0, 1, 3, 9, 30, 200]
    responses = [words(draw, draw.choice(sizes)) for _ in range(3 * ROWS)]
    responses[700] = words(draw, CHARACTERS // 2)
    references = [words(draw, draw.choice(sizes)) for _ in range(3 * ROWS)]
    names = ["rouge-1", "rouge-2.recall", "rouge-lsum"]
    assert len(list(chunks(responses, references))) > 3
    found = score_texts(names, tuple(responses), iter(references), options={"stemmer": True}, threads=threads)
    theirs = RougeScorer(["rouge1", "rouge2", "rougeLsum"], use_stemmer=True)
    for row in [*range(0, 3 * ROWS, 37), 3 * ROWS - 1, *range(690, 710)]:
        if row != 700:
            one = theirs.score(references[row], responses[row])
            assert found["rouge-1"][row] == one["rouge1"].fmeasure
            assert found["rouge-2.recall"][row] == one["rouge2"].recall
            assert found["rouge-lsum"][row] == one["rougeLsum"].fmeasure
    alone = score_texts(names, responses[700:701], references[700:701], options={"stemmer": True})
    assert [column[700] for column in found.values()] == [column[0] for column in alone.values()]


@settings(max_examples=200, deadline=None)
@given(sizes=st.lists(st.sampled_from([0, 1, 1000, CHARACTERS // 3, CHARACTERS, 3 * CHARACTERS]), max_size=12),
       repeats=st.integers(1, 700), several=st.booleans())  # fmt: skip
def test_chunks_cover_every_row_once_and_are_small(sizes, repeats, several):
    texts = ["x" * size for size in sizes for _ in range(repeats if size < 2 else 1)]
    references = [[text, "y"] for text in texts] if several else texts
    found = list(chunks(texts, references, texts))
    assert [row for start, stop in found for row in range(start, stop)] == list(range(len(texts)))
    for start, stop in found:
        assert 1 <= stop - start <= 2 * ROWS
        unique = set(texts[start:stop])
        size = sum(map(len, texts[start:stop])) + 2 * sum(map(len, unique))
        assert stop == start + 1 or size <= 2 * CHARACTERS + 2 * len(unique)


def test_rows_with_the_same_references_share_a_chunk():
    references = [f"sample {row // 16}" for row in range(10_000)]
    assert all(start % 16 == 0 for start, _ in chunks(["a"] * 10_000, references))
    lists = [[text, "b"] for text in references]
    assert all(start % 16 == 0 for start, _ in chunks(["a"] * 10_000, lists))


@pytest.mark.parametrize(
    ("arguments", "error", "message"),
    [
        (CALLS["one text"], TypeError, r"responses is one text, expected a sequence: \['a text'\]"),
        (CALLS["one reference text"], TypeError, r"references is one text, expected a sequence: \['b'\]"),
        (CALLS["one name"], TypeError, r"names is one text, expected a sequence: \['rouge-1'\]"),
        (CALLS["lengths"], ValueError, "2 responses, but references for 1: row 1 has no match"),
        ((["rouge-1"], ["a"], ["b", "c"]), ValueError, "1 responses, but references for 2: row 1 has no match"),
        ((["rouge-1"], ["a"]), ValueError, "references are missing"),
        ((["rouge-1"], ["a", None], ["b", "c"]), TypeError, "row 1: responses holds None, expected a text"),
        ((["rouge-1"], ["a", "b"], ["b", 3]), TypeError, "row 1: references holds 3, expected a text or a list of texts"),
        ((["rouge-1"], ["a", "b"], ["b", []]), ValueError, "row 1 has no text in references, expected at least one"),
        ((["rouge-1"], ["a"], [["b", b"c"]]), TypeError, "row 0: references holds b'c', expected a text"),
        ((["rouge-1"], ["a"], [None]), TypeError, "row 0: references holds None, expected a text or a list of texts"),
        ((["rouge-3"], ["a"], ["b"]), ValueError, "unknown reward 'rouge-3': did you mean rouge-"),
        ((["rougeL"], ["a"], ["b"]), ValueError, "unknown reward 'rougeL': did you mean rouge-l"),
        ((["chrf.recall"], ["a"], ["b"]), ValueError, "unknown reward 'chrf.recall'"),
        ((["coverage"], ["a"]), ValueError, "sources are missing"),
    ],
)  # fmt: skip
def test_wrong_input(arguments, error, message):
    with pytest.raises(error, match=message):
        score_texts(*arguments)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"stem": True}, "none of rouge-1, chrf has an option 'stem': did you mean stemmer"),
        ({"stemmer": 1}, "stemmer is 1, expected true or false"),
        ({"references": "min"}, "references is 'min', expected one of: max, mean"),
        ({"word_order": -1}, "word_order is -1, expected an integer of at least 0"),
        ({"chrf": {"order": 2}}, "chrf has no option 'order': did you mean word_order"),
        ({"chrf": 2}, "options of chrf are 2, expected names and values"),
        ({"bleu": {"lowercase": True}}, "options for bleu, which is not asked for: rouge-1, chrf"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=message):
        score_texts(["rouge-1", "chrf"], ["a"], ["b"], options=options)


@pytest.mark.parametrize("threads", [0, -1, 1.5, True])
def test_wrong_threads(threads):
    with pytest.raises(ValueError, match="threads is .*, expected an integer of at least 1"):
        score_texts(["rouge-1"], ["a"], ["b"], threads=threads)


def test_sources_are_texts():
    with pytest.raises(TypeError, match=r"row 0: sources holds \['a'\], expected a text"):
        score_texts(["density"], ["a"], sources=[["a"]])
    with pytest.raises(ValueError, match="1 responses, but sources for 2"):
        score_texts(["density"], ["a"], sources=["a", "b"])


def test_flat_options_reach_the_rewards_that_have_them():
    resolved = resolve(["rouge-l", "chrf", "length"], {"stemmer": True, "lowercase": True, "length": {"unit": "chars"}})
    assert resolved == {
        "rouge-l": {"stemmer": True, "lowercase": True},
        "chrf": {"lowercase": True},
        "length": {"unit": "chars"},
    }


def test_every_rule_of_the_list_has_a_name_here():
    from rmbench.builtin import overlap, rouge, words

    listed = {reward.name for module in (overlap, rouge, words) for reward in module.REWARDS}
    assert listed <= set(RULES)


def test_a_text_is_read_once_for_all_names_that_share_its_reading(monkeypatch):
    calls = []

    def scores(responses, references):
        calls.append((list(responses), list(references)))
        return {"token-f1": np.ones(len(responses)), "exact-match": np.zeros(len(responses))}

    def shares(responses, orders):
        calls.append((list(responses), sorted(orders)))
        return {n: np.array([np.nan, 0.5])[: len(responses)] for n in orders}

    fake = SimpleNamespace(scores=scores, shares=shares, length=lambda text, unit, target: len(text))
    monkeypatch.setitem(sys.modules, "rmbench.kernel.bags", fake)
    names = ["token-f1", "exact-match", "diversity", "repetition", "length"]
    found = score_texts(names, ["a", "bc"], ["a", ["b", "c"]], options={"repetition": {"n": 4}})
    assert calls == [(["a", "bc"], [("a",), ["b", "c"]]), (["a", "bc"], [2, 4])]
    assert {name: column.tolist() for name, column in found.items() if name != "diversity"} == {
        "token-f1": [1.0, 1.0],
        "exact-match": [0.0, 0.0],
        "repetition": [1.0, 0.5],
        "length": [1.0, 2.0],
    }
    assert np.isnan(found["diversity"][0])  # too short for an n-gram: no score


@pytest.mark.usefixtures("path")
def test_sacrebleus_metrics_have_both_paths(monkeypatch):
    import os

    def column(value):
        return lambda responses, references, **options: {"chrf": np.full(len(responses), value)}

    monkeypatch.setitem(sys.modules, "rmbench.kernel.chrf", SimpleNamespace(plain=column(0.0), scores=column(1.0)))
    assert score_texts(["chrf"], ["a"], ["b"])["chrf"].tolist() == [float(os.environ["RMBENCH_COMPILED"])]


def test_a_failure_on_a_thread_is_raised(monkeypatch):
    def scores(responses, references):
        raise RuntimeError("no more")

    monkeypatch.setitem(sys.modules, "rmbench.kernel.bags", SimpleNamespace(scores=scores))
    with pytest.raises(RuntimeError, match="no more"):
        score_texts(["token-f1"], ["a"] * 5000, ["b"] * 5000, threads=2)


def test_small_inputs_load_no_compiler(tmp_path):
    code = (
        "import sys; from rmbench import kernel; assert 'numpy' not in sys.modules\n"
        "kernel.score_texts(['rouge-1', 'rouge-l'], ['a b'] * 20, ['a c'] * 20, options={'stemmer': True})\n"
        "assert not {'numba', 'torch', 'transformers'} & set(sys.modules)"
    )
    cold = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    subprocess.run([sys.executable, "-c", code], check=True, env=cold)


def test_the_public_names():
    assert "score_texts" in dir(kernel)
    with pytest.raises(AttributeError, match="module 'rmbench.kernel' has no attribute 'score_text'"):
        _ = kernel.score_text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (([None], ["a"], ["b"]), "names holds None, expected the name of a reward"),
        (([["rouge-1"]], ["a"], ["b"]), "names holds .*, expected the name of a reward"),
        ((None, ["a"], ["b"]), "names is a NoneType, expected a sequence"),
        ((["rouge-1"], None, ["b"]), "responses is a NoneType, expected a sequence"),
        ((["rouge-1"], 5, ["b"]), "responses is a int, expected a sequence"),
        ((["rouge-1"], b"a", ["b"]), "responses is one text"),
        ((["rouge-1"], np.array([["a"]]), ["b"]), "row 0: responses holds .*, expected a text"),
        ((["rouge-1"], np.array("a"), ["b"]), "responses is one value, expected a sequence"),
    ],
)
def test_what_is_no_column_is_named(arguments, message):
    with pytest.raises(TypeError, match=message):
        score_texts(*arguments)


@pytest.mark.parametrize("options", [["x"], "x", {3: 1}, 0])
def test_options_are_a_mapping(options):
    with pytest.raises(TypeError, match="options are .*, expected a mapping"):
        score_texts(["rouge-1"], ["a"], ["b"], options=options)


def test_misspelt_rewards_are_recognised():
    with pytest.raises(ValueError, match="unknown reward 'ROUGE-1': did you mean rouge-1"):
        score_texts(["ROUGE-1"], ["a"], ["b"])
    with pytest.raises(ValueError, match="options for rouge1, which is no reward: did you mean rouge-1"):
        score_texts(["rouge-1"], ["a"], ["b"], options={"rouge1": {"stemmer": True}})
    with pytest.raises(ValueError, match=r"references is \['max'\], expected one of"):
        score_texts(["rouge-1"], ["a"], ["b"], options={"references": ["max"]})
    with pytest.raises(ValueError, match="options x, but no reward is asked for"):
        score_texts([], ["a"], options={"x": 1})
    with pytest.raises(TypeError, match="row 0: sources holds None, expected a text$"):
        score_texts(["density"], ["a"], sources=[None])


def test_numpys_numbers_are_options():
    options = {"stemmer": np.bool_(True), "word_order": np.int64(2)}
    found = score_texts(["rouge-1", "chrf"], ["cats"], ["cat"], options=options, threads=np.int64(2))
    assert found == score_texts(["rouge-1", "chrf"], ["cats"], ["cat"], options={"stemmer": True, "word_order": 2})


def test_arrays_and_series_are_read_a_chunk_at_a_time(monkeypatch):
    draw = random.Random(4)
    responses, references = ([words(draw, 40) for _ in range(1500)] for _ in range(2))
    expected = score_texts(["token-f1", "density"], responses, references, sources=references)
    taken, taking = [], texts.Slices.__getitem__
    monkeypatch.setattr(
        texts.Slices, "__getitem__", lambda self, rows: taken.append(len(got := taking(self, rows))) or got
    )
    backwards = range(1500, 0, -1)  # labels are no places
    for kind in (np.array, lambda column: np.array(column, object), lambda column: pd.Series(column, backwards)):
        columns = [kind(column) for column in (responses, references, references)]
        found = score_texts(["token-f1", "density"], *columns[:2], sources=columns[2])
        assert all(found[name].tolist() == expected[name].tolist() for name in expected)
    assert max(taken) <= 2 * ROWS
    pairs = np.array([["a", "b"], ["c", "d"]])
    assert score_texts(["exact-match"], np.array(["b", "a"]), pairs)["exact-match"].tolist() == [1.0, 0.0]
