"""The reward model ngram-lm: what it is fitted on, its scores, its checkpoint, and checkpoints that are wrong."""

import json
import math
import struct
from dataclasses import replace

import judgements as made
import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

from rmbench.api import NoScore, Runtime
from rmbench.builtin.ngram_model import REWARD_MODELS
from rmbench.errors import InputError
from rmbench.judged import Fitting, Interrupted
from rmbench.models.ngram import tokens
from rmbench.models.ngram_options import NgramLm

(NGRAM,) = REWARD_MODELS
# a better and a worse text of each prompt
PAIRS = [("a b", "b b"), ("a b", "c a"), ("a c", "c b"), ("b c", "a a"), ("c", "b")]


def fit(folder, options=None, judged=None, **fitting):
    data = made.preferred(PAIRS, [("a c", "x x")]) if judged is None else judged
    return NGRAM.fit(data, "likelihood", options or NgramLm(texts="better"), Fitting(folder, **fitting))


def score(folder, *texts):
    batch = made.preferred([(text, text) for text in texts]).train.batch.take(range(0, 2 * len(texts), 2))
    return NGRAM.load(folder, Runtime())(batch)


def test_scores_by_hand_of_five_texts(tmp_path):
    # the bigram model of tests/models/test_kneser_ney.py, worked out there
    fit(tmp_path, NgramLm(texts="better", order=2))
    a, b, c, end, unknown = 0.5 / 8 + 0.1, 1 / 8 + 0.1, 1.5 / 8 + 0.1, 1 / 8 + 0.1, 0.1
    found = score(tmp_path, "a b", "A  b\n", "c", "x", "")
    first_a, b_after_a, end_after_b = 1.5 / 5 + a / 2, 1 / 3 + b / 2, 1 / 3 + end / 2
    a_b = (math.log(first_a) + math.log(b_after_a) + math.log(end_after_b)) / 3
    # c ends three times and is followed by nothing else: (3 - 1.5) / 3, and half is taken
    only_c = (math.log(0.5 / 5 + c / 2) + math.log(0.5 + end / 2)) / 2
    only_x = (math.log(unknown / 2) + math.log(end)) / 2
    assert found["score"][:4] == pytest.approx([a_b, a_b, only_c, only_x], rel=1e-14)
    assert found["score"][4] == NoScore("the text has no token")
    assert found["tokens"] == [3.0, 3.0, 2.0, 2.0, 0.0]
    assert found["oov"] == [0.0, 0.0, 0.0, 1.0, 0.0]


@pytest.mark.parametrize(
    ("options", "text", "expected"),
    [
        ({}, "Don't go, 3.5 km!", ["don't", "go", ",", "3", ".", "5", "km", "!"]),
        ({"lowercase": False}, "Don't", ["Don't"]),
        ({}, "\u4eca\u65e5\u306f\u3002 \U0001f600", ["\u4eca\u65e5\u306f", "\u3002", "\U0001f600"]),
        ({"tokens": "characters"}, " Ab\n\tc ", ["a", "b", " ", "c"]),
        ({}, " \n\u3000", []),
        ({}, "a\0b", ["a", "\0", "b"]),
    ],
)
def test_tokens(options, text, expected):
    assert tokens(text, NgramLm(**options)) == expected


def test_it_is_fitted_on_the_texts_it_is_told_and_on_no_others(tmp_path):
    data = made.preferred([("alpha", "beta")], [("gamma", "delta")])
    referenced = tuple(replace(sample, references=("epsilon zeta",)) for sample in data.train.samples)
    data = replace(data, train=replace(data.train, samples=referenced))
    for options, known in (
        (NgramLm(), ["epsilon", "zeta"]),
        (NgramLm(texts="responses"), ["alpha", "beta"]),
        (NgramLm(texts="better"), ["alpha"]),
        (NgramLm(texts="responses", split="dev"), ["delta", "gamma"]),
    ):
        fit(tmp_path, options, data)
        assert json.loads((tmp_path / "vocabulary.json").read_text()) == known


def test_a_better_text_of_two_pairs_counts_once(tmp_path):
    data = made.rated([[("one two", 3.0), ("three", 2.0), ("four", 1.0)]])
    fit(tmp_path, NgramLm(texts="better", order=1), data)
    # ids: unknown, end, beginning, one, three, two
    assert load_file(tmp_path / "model.safetensors")["count.1"].tolist() == [0, 2, 0, 1, 1, 1]


def test_rare_words_are_the_unknown_word(tmp_path):
    fit(tmp_path, NgramLm(texts="better", min_count=3), made.preferred([("a a b", "c"), ("a", "c"), ("b d", "c")]))
    assert json.loads((tmp_path / "vocabulary.json").read_text()) == ["a"]
    assert score(tmp_path, "b")["score"] == score(tmp_path, "new")["score"]
    assert score(tmp_path, "b d a")["oov"] == [2.0]


def test_what_it_was_fitted_on_is_more_fluent_than_the_same_words_shuffled(tmp_path):
    text = "the council voted to keep the old mural on the silo"
    fit(tmp_path, judged=made.preferred([(text, "x"), ("the town may keep the silo", "x")]))
    first, second = score(tmp_path, text, " ".join(reversed(text.split())))["score"]
    assert first > second


def test_the_same_fit_writes_the_same_bytes(tmp_path):
    for name in ("one", "two"):
        fit(tmp_path / name)
    names = sorted(path.name for path in (tmp_path / "one").iterdir() if not path.name.startswith("."))
    assert names == ["card.md", "config.json", "log.jsonl", "model.safetensors", "vocabulary.json"]
    for name in names:
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()


def test_the_log_and_the_card_say_what_came_out(tmp_path):
    told = []
    fit(tmp_path, judged=made.preferred(PAIRS, [("a b", "x x"), ("x", "a"), ("a", "a ")]), tell=told.append)
    (row,) = [json.loads(line) for line in (tmp_path / "log.jsonl").read_text().splitlines()]
    assert row["accuracy"] == pytest.approx((1 + 0 + 0.5) / 3)  # a tie is one half
    assert row["loss"] > 0
    assert row["dev_loss"] > row["loss"]
    assert told == [{"step": 1, "steps": 1, "loss": row["loss"], "accuracy": row["accuracy"]}]
    card = (tmp_path / "card.md").read_text()
    assert "fitted on 5 texts (better of train) with 9 tokens; it knows 3 different ones" in card
    assert "the fallback" in card


def test_orders_longer_than_any_text_are_empty(tmp_path):
    fit(tmp_path, NgramLm(texts="better", order=6))
    deep = score(tmp_path, "a b", "c")["score"]
    fit(tmp_path, NgramLm(texts="better", order=4))  # a b between its ends
    assert score(tmp_path, "a b", "c")["score"] == deep


def test_a_row_scores_the_same_alone_and_beside_others(tmp_path):
    fit(tmp_path)
    texts = ["a b c", "", "x a", "c", "b " * 300]
    together = score(tmp_path, *texts)["score"]
    assert together == [score(tmp_path, text)["score"][0] for text in texts]


def test_it_stops_before_it_writes_where_it_is_asked_to(tmp_path):
    with pytest.raises(Interrupted):
        fit(tmp_path / "one", stop=lambda: True)
    assert not (tmp_path / "one").exists()


@pytest.mark.parametrize(
    ("options", "what"),
    [
        ({"order": 0}, "order is 0, expected an integer of at least 1"),
        ({"order": 11}, "order is 11, expected at most 10"),
        ({"order": True}, "order is True"),
        ({"tokens": "bytes"}, "tokens is 'bytes', expected one of: words, characters"),
        ({"texts": "worse"}, "texts is 'worse', expected one of: references, responses, better"),
        ({"split": "test"}, "split is 'test', which no fit reads: expected train or dev"),
        ({"split": "all"}, "split is 'all', expected one of: train, dev"),
        ({"lowercase": 1}, "lowercase is 1, expected true or false"),
        ({"min_count": 0}, "min_count is 0, expected an integer of at least 1"),
    ],
)
def test_a_wrong_option_is_named_with_what_was_expected(options, what):
    with pytest.raises(ValueError) as raised:
        NgramLm(**options)
    assert str(raised.value).startswith(what)


@pytest.mark.parametrize(
    ("options", "what"),
    [
        (NgramLm(), "task toy has no text for ngram-lm: texts = 'references', split = 'train'"),
        (NgramLm(texts="better", split="dev"), "task toy has no text for ngram-lm: texts = 'better', split = 'dev'"),
        (NgramLm(texts="better", min_count=9), "no token stands 9 times in the better of task toy, split train"),
    ],
)
def test_nothing_to_fit_on_is_an_error_that_says_what_to_change(tmp_path, options, what):
    with pytest.raises(InputError) as raised:
        fit(tmp_path / "one", options, made.preferred([("a", "b")]))
    assert raised.value.what == what
    assert raised.value.help
    assert not (tmp_path / "one").exists()


def weights(change):
    def spoil(folder):
        path = folder / "model.safetensors"
        tensors = dict(load_file(path))
        change(tensors)
        save_file(tensors, path, metadata={"format": "pt"})

    return spoil


def entry(name, place, value):
    return weights(lambda tensors: tensors[name].__setitem__(place, value))


def config(**changes):
    def spoil(folder):
        found = json.loads((folder / "config.json").read_text())
        (folder / "config.json").write_text(json.dumps({**found, **changes}))

    return spoil


def words(found):
    return lambda folder: (folder / "vocabulary.json").write_text(json.dumps(found))


def lying(folder):
    path = folder / "model.safetensors"
    data = path.read_bytes()
    (size,) = struct.unpack("<Q", data[:8])
    header = json.loads(data[8 : 8 + size])
    header["count.1"]["shape"] = [10**9]
    text = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(text)) + text + data[8 + size :])


WRONG = {
    "a negative count": (entry("count.2", 0, -1), "count.2[0] is -1, expected a whole number from 1 to"),
    "a count beyond all corpora": (entry("count.1", 3, 2**62), "count.1[3] is 4.6116860184273879e+18, expected"),
    "a prefix that is none": (entry("prefix.3", -1, 99), "is 99, expected a whole number from 0 to"),
    "a word that is none": (entry("word.2", 0, 6), "word.2[0] is 6, expected a whole number from 0 to 5"),
    "n-grams out of order": (entry("prefix.2", 0, 5), "prefix.2 and word.2 hold an n-gram that is out of order"),
    "a beginning within": (entry("word.3", -1, 2), "out of order, twice or impossible"),
    "a beginning counted": (entry("count.1", 2, 1), "count.1 counts the beginning"),
    "nothing counted": (
        weights(lambda found: found["count.1"].fill(0)),
        "count.1 counts the beginning of a text, or no",
    ),
    "half a count": (entry("count.3", 0, 1.5), "count.3[0] is 1.5, expected a whole number"),
    "another type": (
        weights(lambda found: found.update({"count.1": found["count.1"].astype(np.float32)})),
        "count.1 is float32, expected float64",
    ),
    "NaN": (weights(lambda found: found.update({"count.1": np.full(6, np.nan)})), "NaN"),
    "another shape": (weights(lambda found: found.update({"count.1": found["count.1"][:-1].copy()})), "shape"),
    "a tensor missing": (weights(lambda found: found.pop("word.3")), "word.3"),
    "a tensor too many": (weights(lambda found: found.update(extra=np.zeros(1))), "extra"),
    "a header that lies": (lying, "model.safetensors"),
    "a word too few": (words(["a", "b"]), "has 2 words, config.json and its counts have 3"),
    "a word twice": (words(["a", "b", "b"]), "entry 2: 'b' stands behind 'b', expected each word once and in order"),
    "words in another order": (words(["b", "a", "c"]), "entry 1: 'a' stands behind 'b'"),
    "a number for a word": (words(["a", "b", 3]), "is no list of words"),
    "no vocabulary": (lambda folder: (folder / "vocabulary.json").unlink(), "is missing"),
    "another model": (config(model_type="bert"), "model_type is 'bert', expected 'ngram-lm'"),
    "no options": (config(options=None), "model_type is 'ngram-lm', expected 'ngram-lm' with its options"),
    "an option that is none": (config(options={"ordre": 3}), "options: "),
    "a wrong option": (config(options={"order": 0}), "options: order is 0"),
    "another order": (config(options={"order": 2}), "expected the number of n-grams of each of 2 orders"),
    "no numbers of n-grams": (config(grams=[6, "many", 9]), "grams is [6, 'many', 9]"),
    "sizes beyond memory": (config(grams=[6, 10**15, 9]), "asks for (1000000000000000,)"),
    "code": (config(auto_map={"AutoModel": "evil.Model"}), "auto_map"),
}


@pytest.mark.parametrize("case", WRONG)
def test_a_wrong_checkpoint_is_refused_by_name(tmp_path, case):
    fit(tmp_path)
    spoil, what = WRONG[case]
    spoil(tmp_path)
    with pytest.raises(InputError) as raised:
        NGRAM.load(tmp_path, Runtime())
    assert what in str(raised.value)
    assert str(tmp_path) in raised.value.where
    assert raised.value.help


def test_an_untouched_checkpoint_is_not_refused(tmp_path):
    fit(tmp_path)
    assert score(tmp_path, "a")["score"][0] < 0
