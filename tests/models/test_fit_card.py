"""card.md: what it says, in words, of balance and length; that data cannot write into it; no time, host or path."""

import re
import socket
from dataclasses import replace
from pathlib import Path

import pytest
from judgements import judgements, preferred, rated, sample_rated, words

from rmbench.api import Runtime
from rmbench.judged import Fitting
from rmbench.models.balance import LengthBaseline, balance, length_baseline
from rmbench.models.card import card, escaped, length_warning
from rmbench.models.trained import Trained

CURVE = tuple(
    {"step": 10 * n, "loss": 1 / n, "lr": 0.001, "accuracy": 0.5 + n / 100, "dev_loss": 0.7} for n in range(1, 31)
)
TRAINED = Trained(steps=300, best_step=170, accuracy=0.67, curve=CURVE)
RECIPE = {
    "reward_model": "mlp", "version": 2, "plugin": "builtin", "distribution": "rmbench-x", "distribution_version": "1.2",
    "task": "hh@1#b3335a80", "loss": "hinge", "seed": 7, "uses": {"rouge-l": "rouge-l@1|stemmer:no"},
    "options": {"hidden": 16, "encoder": "/home/somebody/models/mini", "path": Path("/home/somebody/x"), "seconds": None},
}  # fmt: skip


def made(given, trained=TRAINED, *, recipe=RECIPE, notes=()):
    return card(given, Fitting(Path("/nowhere"), recipe, Runtime(seed=7)), trained, parameters=12345, notes=notes)


def pairs_by_length(longer, shorter, same=0):
    """Pairs of which so many have the longer text as the better one, the shorter one, and neither."""
    return [("long", "s")] * longer + [("s", "long")] * shorter + [("same", "size")] * same


def test_balance_by_hand():
    given = rated([[("aaa", 1.0), ("b", 3.0), ("cc", None)], [("dd", 2.0), ("ee", 5.0)]], good=3.0)
    found = balance(given.train)
    assert (found.samples, found.rows, found.pairs, found.rated) == (2, 5, 2, 4)
    assert (found.mean, found.deviation) == (2.75, pytest.approx((8.75 / 4) ** 0.5))
    assert (found.judged, found.good) == (4, 0.5)
    assert (found.better_longer, found.equally_long) == (0.0, 0.5)
    assert found.by_length == {"longest": 0.25, "shortest": 0.75}
    none = balance(given.dev)
    assert (none.rows, none.mean, none.good, none.better_longer, dict(none.by_length)) == (0, None, None, None, {})


def test_the_length_baseline_is_the_better_one_on_dev_or_on_train_where_dev_is_small():
    dev = preferred(pairs_by_length(30, 10), pairs_by_length(5, 14, 1))
    assert length_baseline(dev) == LengthBaseline("shortest", (14 + 0.5) / 20, "dev", 20)
    small = preferred(pairs_by_length(30, 10), pairs_by_length(5, 14))
    assert length_baseline(small) == LengthBaseline("longest", 0.75, "train", 40)
    assert length_baseline(rated([[("a", 1.0)]])) is None


@pytest.mark.parametrize(("accuracy", "warned"), [(0.70, True), (0.75, True), (0.7501, False), (None, False)])
def test_a_warning_in_words_where_length_alone_does_as_well(accuracy, warned):
    given = preferred([("a", "b")], pairs_by_length(15, 5))
    trained = replace(TRAINED, accuracy=accuracy)
    text = made(given, trained)
    words_of_it = (
        "A reward that looks at the length alone does as well as this model: longest has 0.750 on dev (20 pairs)"
    )
    assert (words_of_it in text) == warned
    assert (length_warning(given, trained.accuracy) is not None) == warned
    if accuracy == 0.7501:
        assert "Length alone: longest has 0.750 on dev (20 pairs); the model has 0.750 on dev." in text
    if accuracy is None:
        assert "Dev has no pairs" in text


def test_it_says_data_loss_options_curve_accuracy_seed_and_versions():
    text = made(words(30, 22), notes=["12 rows had no score."])
    for line in (
        "# mlp on toy", "| reward model | mlp 2 |", "| task | hh&#64;1&#35;b3335a80 |", "| loss | hinge |", "| seed | 7 |",
        "| parameters | 12,345 |", "| steps | 300, weights of step 170 kept, stopped by steps |",
        "| pairwise accuracy on dev | 0.6700 (22 pairs, a tie counts one half) |", "| reproducible | yes, on a CPU |",
        "| uses rouge-l | rouge-l&#64;1&vert;stemmer:no |", "- 12 rows had no score.", "| samples | 30 | 22 |",
        f"| train.jsonl | {'0' * 64} |", "| hidden | 16 |", "| encoder | .../mini |", "| path | .../x |", "| seconds | null |",
        "| 170 | 0.05882 | 0.001 | 0.67 | 0.7 |", "| 300 | 0.03333 | 0.001 | 0.8 | 0.7 |", "| rmbench-x | 1.2 |",
    ):  # fmt: skip
        assert line in text.splitlines(), line
    for name in ("python", "torch", "numpy", "safetensors", "rmbench"):
        assert re.search(rf"^\| {name} \| \d+\.\d+.* \|$", text, re.MULTILINE)
    assert 12 <= text.count("| 0.001 |") <= 13  # of 30 rows: a small table


def test_it_is_a_function_of_the_fit_without_time_host_or_path():
    text = made(words(30, 22))
    assert text == made(words(30, 22))
    for word in (socket.gethostname(), "/home", "/nowhere", "somebody/", str(Path.cwd())):
        assert word not in text
    assert not re.search(r"\d\d:\d\d|20\d\d-\d\d", text)


def test_notes_of_seconds_of_a_small_dev_and_of_ratings():
    given = rated([[("a", 1.0), ("bb", 2.0)]] * 5, [[("c", 1.0), ("dd", 2.0)]])
    trained = replace(TRAINED, seconds_budget=True, shift=2.5, scale=1.25)
    text = made(given, trained)
    assert "**Not reproducible**: a budget of seconds was set" in text
    assert "| reproducible | no: a budget of seconds |" in text
    assert "Dev has 1 pairs only: its accuracy says little." in text
    assert "Ratings were standardised (train's mean 2.5 and deviation 1.25); scores are on the raters' scale." in text


def test_a_model_without_steps_has_a_card_too():
    exact = Trained(steps=0, best_step=0, accuracy=None, stopped="exact")
    text = made(rated([[("a", 1.0)]]), exact, recipe={})
    assert "| steps | none: solved exactly |" in text
    assert "Solved exactly, without steps." in text
    assert "# a reward model on toy" in text
    assert "No evaluation was made." in made(rated([[("a", 1.0)]]), replace(exact, stopped="steps"))


HOSTILE = "<script>alert(1)</script> | [x](javascript:alert(1)) `code` **b** @user #1 \x1b[2J\u202e\n# head\nhttps://evil.example www.evil.example"


def test_data_cannot_write_into_the_card():
    given = judgements(
        [sample_rated([("a", 1.0)], HOSTILE)], [], name="toy", sha256={HOSTILE: HOSTILE}, dev_from=HOSTILE
    )
    given = replace(given, task=replace(given.task, name=HOSTILE))
    recipe = {"reward_model": HOSTILE, "version": HOSTILE, "plugin": HOSTILE, "distribution": HOSTILE, "distribution_version": HOSTILE,
              "task": HOSTILE, "loss": HOSTILE, "seed": HOSTILE, "uses": {HOSTILE: HOSTILE}, "options": {HOSTILE: [HOSTILE]}}  # fmt: skip
    text = made(given, recipe=recipe, notes=[HOSTILE])
    for bad in (
        "<script",
        "](javascript",
        "`code`",
        "@user",
        " #1",
        "\x1b",
        "\u202e",
        "\n# head",
        "https://",
        "www.",
        " **b** ",
    ):
        assert bad not in text, bad
    tables = [line for line in text.splitlines() if line.startswith("| ")]
    assert {line.count("|") for line in tables} <= {3, 4, 6}


def test_escaping_is_of_one_line_and_bounded():
    assert escaped("a|b*c_d") == "a&vert;b\\*c\\_d"
    assert escaped("x\ny\tz\x00") == "x y z\ufffd"
    assert len(escaped("x" * 10_000)) == 200
    assert escaped(3) == "3"
