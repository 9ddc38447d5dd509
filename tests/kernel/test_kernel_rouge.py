"""ROUGE compiled against rouge-score, bit for bit: every name, with and without stemming, one and several references."""

import itertools
import math
import os
import random
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from nltk.stem.porter import PorterStemmer
from rouge_score.rouge_scorer import RougeScorer

from rmbench.kernel.porter import RULES, stems
from rmbench.kernel.rouge import KINDS, NAMES, kernels, laid_out, scores, seconds
from rmbench.kernel.splits import edges
from rmbench.kernel.words import joined, tokens_of

THEIRS = {"": "fmeasure", "f": "fmeasure", "precision": "precision", "recall": "recall"}
AWKWARD = (
    "", " ", "\n", "\n\n \n", "\t\x0b\u2028", "\x00", "a\x00b", "the", "The cat sat.", "the the the", "İstanbul İI ıi",
    "\u212a \u212aelvin kelvin", "e\u0301clair éclair e\u0301 e", "猫坐在垫子上。", "고양이가 앉았다", "naïve café", "x" * 40, "x" * 41,
    "x" * 39 + "y", "1,000.5 % $3", "don't won't", "line one\nline two\nline one", "line two\nline one", "🙂👩\u200d🚀 a🙂b",
    "٣ ³ ½ ᴬ", "ß ẞ SS ﬁ", "ǅ Ω Å ΑΣ", "\ud800 a\udfffb", "one . two . three .", "generalizations oscillators ied sses",
    "abcdefgh abcdefg abcdefghi abcdefghj", "a " * 130, "b a " * 64, "a b\n" * 70, "\n".join("abcabdbcaab"),
    " ".join(f"w{i}" for i in range(200)), " ".join(f"w{i}" for i in range(199, -1, -1)), "\r\na b\r\nb a",
)  # fmt: skip
WORDS = (
    "a", "b", "c", "d", "the", "The", "cat", "cats", "running", "runs", "generalization", "generalizations", "generalizing",
    "happily", "happy", "\n", "\n", ".", "İ", "\u212a", "é", "猫", "\x00", "a\nb", "x,y", "12345678", "123456789", "news",
)  # fmt: skip
TEXTS = st.one_of(
    st.lists(st.sampled_from(WORDS), max_size=24).map(" ".join),
    st.lists(st.sampled_from("abc\n"), max_size=40).map(" ".join),
    st.text(max_size=20),
    st.sampled_from(AWKWARD),
)
ROWS = st.lists(st.tuples(TEXTS, st.lists(TEXTS, min_size=1, max_size=3)), min_size=8, max_size=10)
BATCHES = 700  # of at least 8 rows of at least one pair


def expected(rows, stemmer, several):
    theirs = RougeScorer(list(KINDS.values()), use_stemmer=stemmer)
    columns = {name: [] for name in NAMES}
    for response, references in rows:
        if several == "max":
            every = [theirs.score_multi(references, response)]
        else:
            every = [theirs.score(text, response) for text in references]
        for name in NAMES:
            kind, _, part = name.partition(".")
            parts = [getattr(one[KINDS[kind]], THEIRS[part]) for one in every]
            columns[name].append(parts[0] if several == "max" else math.fsum(parts) / len(parts))
    return columns


def found(rows, *, use_compiled=True, several="max", **options):
    responses, references = [one for one, _ in rows], [many for _, many in rows]
    names = dict.fromkeys(NAMES, several)
    columns = scores(responses, references, names=names, use_compiled=use_compiled, **options)
    assert all(column.dtype == np.float64 for column in columns.values())
    return {name: column.tolist() for name, column in columns.items()}


@settings(max_examples=BATCHES, deadline=None)
@given(rows=ROWS, stemmer=st.booleans(), several=st.sampled_from(["max", "mean"]))
@example([("İstanbul \u212aelvin", ["i\u0307stanbul kelvin"])], False, "max")
@example([("", [""]), ("a", ["", "a"]), ("a", ["", "a"])], True, "mean")
def test_compiled_equals_rouge_score_bit_for_bit(rows, stemmer, several):
    assert found(rows, stemmer=stemmer, several=several) == expected(rows, stemmer, several)


@pytest.mark.parametrize("stemmer", [False, True])
def test_compiled_equals_rouge_score_on_all_pairs_of_awkward_texts(stemmer):
    rows = [(one, (other,)) for one, other in itertools.product(AWKWARD, AWKWARD)]
    assert found(rows, stemmer=stemmer) == expected(rows, stemmer, "max")


@settings(max_examples=60, deadline=None)
@given(rows=ROWS, stemmer=st.booleans(), lowercase=st.booleans(), several=st.sampled_from(["max", "mean"]))
def test_both_paths_are_equal(rows, stemmer, lowercase, several):
    options = {"stemmer": stemmer, "lowercase": lowercase, "several": several}
    assert found(rows, **options) == found(rows, use_compiled=False, **options)


@pytest.mark.parametrize("words", [62, 63, 64, 65, 127, 128, 129, 400])
def test_texts_around_whole_machine_words(words):
    draw = random.Random(words)
    texts = [" ".join(draw.choices("abcdefghijklmnop"[:letters], k=words)) for letters in (1, 2, 4, 16)]
    texts += [text.replace("a", "a\n", 7) for text in texts]
    rows = [(one, (other,)) for one, other in itertools.product(texts, [*texts, " ".join(texts)])]
    assert found(rows[::3]) == expected(rows[::3], stemmer=False, several="max")


def test_union_of_lines_whose_vectors_are_not_all_kept():
    draw = random.Random(5)
    line, other = (" ".join(draw.choices("abcdefgh", k=3000)) for _ in range(2))
    rows = [(f"{line}\na b c", (f"a c b\n{other}",))]
    theirs = RougeScorer(["rougeLsum"]).score(rows[0][1][0], rows[0][0])["rougeLsum"]
    assert found(rows)["rouge-lsum"] == [theirs.fmeasure]
    assert 0.5 < theirs.fmeasure < 1


def test_fifty_thousand_words_are_no_special_case():
    words = [f"w{number % 977}" for number in range(50_000)]
    text, shifted = " ".join(words), " ".join(words[5000:])
    rows = [
        (text, (text,)),
        (shifted, (text,)),
        ("\n".join(words), (text.replace(" ", "\n"),)),
        ("a " * 50_000, ("a",)),
    ]
    columns = found(rows)
    assert columns["rouge-l.recall"] == [1.0, 0.9, 1.0, 1.0]
    assert columns["rouge-lsum.recall"] == [1.0, 0.9, 1.0, 1.0]
    assert columns["rouge-l.precision"] == [1.0, 1.0, 1.0, 1 / 50_000]


@settings(max_examples=30, deadline=None)
@given(rows=ROWS)
def test_a_row_does_not_depend_on_its_neighbours(rows):
    together = found(rows, stemmer=True)
    for index, row in enumerate(rows):
        assert found([row], stemmer=True) == {name: [column[index]] for name, column in together.items()}


def test_maximum_takes_the_first_reference_with_the_highest_f():
    rows = [("a b", ["a b c d e f g h", "a"]), ("a b", ["a c", "c b", "d"]), ("a", ["b", "c"])]
    columns = found(rows)
    assert columns["rouge-1.precision"] == [0.5, 0.5, 0.0]  # F: 0.4 and 2/3
    assert columns == expected(rows, stemmer=False, several="max")


def assert_stems_are_nltks(words):
    theirs = PorterStemmer()
    data, _ = joined([" ".join(words)], lowercase=False)
    ours = stems(data, edges(data), np.arange(len(words), dtype=np.int32)).tobytes().decode().split()
    assert ours == [theirs.stem(word) if len(word) > 3 else word for word in words]


def test_stems_are_nltks():
    suffixes = [rule.split()[0] for rule in RULES.split(", ")]
    suffixes += [
        "",
        "s",
        "es",
        "ies",
        "ed",
        "ied",
        "eed",
        "ing",
        "y",
        "e",
        "ll",
        "ating",
        "bled",
        "izing",
        "sses",
        "ly",
    ]
    bases = [
        "",
        "b",
        "fl",
        "tr",
        "hop",
        "fall",
        "fizz",
        "by",
        "ay",
        "yy",
        "tryy",
        "oe",
        "cwx",
        "abab",
        "xylo",
        "s1",
        "2nd",
    ]
    words = [base + one + other for base in bases for one in suffixes for other in ("", *suffixes[-16:])]
    assert_stems_are_nltks(sorted({word for word in words if word}))


@settings(max_examples=300, deadline=None)
@given(words=st.lists(st.text("aeioubcdlstyzwx1", min_size=1, max_size=9), min_size=5, max_size=40, unique=True),
       suffix=st.sampled_from(["", "s", "ed", "ing", "ied", "eed", "ational", "alli", "logi", "ement", "ion", "ly", "ll"]))  # fmt: skip
def test_stems_of_any_words_are_nltks(words, suffix):
    assert_stems_are_nltks(sorted({word + suffix for word in words}))


def test_many_different_words_need_a_larger_table():
    words = [f"{prefix}{number}" for number in range(5000) for prefix in ("w", "longerthan8")]
    tokens = tokens_of([" ".join(words), " ".join(reversed(words))])
    assert tokens.size == len(words)
    assert tokens.numbers.tolist() == [*range(len(words)), *range(len(words) - 1, -1, -1)]


def test_consecutive_equal_references_are_laid_out_once():
    layout = laid_out(["r0", "r1", "r2", "r3"], [["a", "b"], ("a", "b"), ["a", "b"], ["c"]])
    assert layout.texts == ["r0", "r1", "r2", "r3", "a", "b", "a", "b", "a", "b", "c"]  # a list is not a tuple
    layout = laid_out(["r0", "r1", "r2", "r3"], [["a", "b"], ["a", "b"], ["c"], ["a", "b"]])
    assert layout.texts == ["r0", "r1", "r2", "r3", "a", "b", "c", "a", "b"]
    assert layout.bounds.tolist() == [0, 2, 4, 5, 7]
    assert layout.own.tolist() == [0, 0, 1, 1, 2, 3, 3]
    assert layout.theirs.tolist() == [4, 5, 4, 5, 6, 7, 8]


def test_no_rows():
    assert found([]) == {name: [] for name in NAMES}


def test_the_estimate_grows_with_the_work():
    few, many = (["a b " * 10], [["a b " * 10]]), (["a b " * 100], [["a b " * 100]])
    assert seconds(*few, names=["rouge-1"]) < seconds(*few, names=["rouge-l"]) < seconds(*many, names=["rouge-l"])
    assert seconds(*few, names=["rouge-1"], stemmer=True) > seconds(*few, names=["rouge-1"])
    for short in ("a " * 1900, "a\n" * 1900, "a," * 1900):  # a table of 3.6 million cells
        assert seconds([short], [(short,)], names=["rouge-l"]) > 0.7
    long = "a " * 2100  # and one that takes more memory than is promised
    assert math.isinf(seconds([long], [(long,)], names=["rouge-lsum"]))
    assert seconds([long], [(long,)], names=["rouge-1"]) < 0.01
    assert kernels(["rouge-1.recall"]) == ["ngrams.count_words", "splits.edges", "splits.intern"]
    assert "porter.stems" in kernels(["rouge-l"], stemmer=True)


MEMORY = """
import random, resource, sys
import numpy as np
from rmbench.kernel import score_texts
names = ["rouge-1", "rouge-2", "rouge-l", "rouge-lsum"]
words = ["w" + str(number) for number in range(20_000)]
draw = random.Random(0)
def text():
    start = draw.randrange(19_900)
    return " ".join(words[start : start + 60])
def resident():
    return int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize() / 2**20
def peak():
    return int(next(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmHWM"))) / 2**10
def measure(n):
    responses, references = [text() for _ in range(n)], [text() for _ in range(n)]
    open("/proc/self/clear_refs", "w").write("5")  # the peak starts again from here
    before = resident()
    score_texts(names, responses, references, options={"stemmer": True}, threads=2)
    return peak() - before - 4 * 8 * n / 2**20
measure(2)
print(*(measure(int(n)) for n in sys.argv[1:]))
"""


def test_memory_above_inputs_and_outputs_is_small_and_flat():
    def above(rows):
        command = [sys.executable, "-c", MEMORY, str(rows)]
        return float(subprocess.check_output(command, text=True, env=os.environ | {"RMBENCH_COMPILED": "1"}))

    few, many = above(10_000), above(200_000)
    assert many < 32
    assert many < few + 4


def test_lines_are_not_compared_for_a_word_that_is_taken():
    """A minute of comparisons otherwise."""
    texts = ["\n".join(f"the {kind}{line}" for line in range(25_000)) for kind in "rs"]
    found = scores(texts[:1], [(texts[1],)], names={"rouge-lsum": "max"})
    assert found["rouge-lsum"].tolist() == [0.5]
