"""Several rewards as one, by hand."""

import re

import pytest
from builtin_texts import batch_of

from rmbench.builtin.ensemble import REWARDS, ensemble, ensemble_uses
from rmbench.testing import check_reward

SCORES = {"one": (1.0, 4.0, None, 0.1), "two": (3.0, 4.0, 2.0, 0.2), "three": (5.0, 1.0, 2.0, 0.3)}
NAMES = ["one", "two", "three"]


def scored(**options):
    batch = batch_of(["a"] * 4, scores=SCORES)
    return ensemble(rewards=NAMES, **options)(batch)


def test_mean_minimum_and_lower_bound_by_hand():
    assert scored()["score"] == [3.0, 3.0, None, pytest.approx(0.2)]
    assert scored(how="minimum")["score"] == [1.0, 1.0, None, 0.1]
    deviations = (8 / 3) ** 0.5, 2**0.5, (0.02 / 3) ** 0.5  # divided by n
    lower = scored(how="lower-bound", k=2)["score"]
    assert lower[2] is None
    assert [lower[0], lower[1], lower[3]] == pytest.approx(
        [mean - 2 * one for mean, one in zip((3.0, 3.0, 0.2), deviations, strict=True)]
    )
    assert scored(how="lower-bound", k=0)["score"] == scored()["score"]


def test_each_reward_is_a_part():
    columns = scored()
    assert {name: columns[name] for name in NAMES} == {name: list(SCORES[name]) for name in NAMES}


def test_equal_scores_leave_no_deviation():
    batch = batch_of(["a"], scores=dict.fromkeys(NAMES, (0.1,)))
    assert ensemble(rewards=NAMES, how="lower-bound", k=1e6)(batch)["score"] == [pytest.approx(0.1)]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"rewards": []}, "rewards is [], expected the names of at least two rewards"),
        ({"rewards": ["one"]}, "at least two rewards"),
        ({"rewards": "one"}, "at least two rewards"),
        ({"rewards": ["one", "one"]}, "rewards names 'one' twice"),
        ({"rewards": ["one", "score"]}, "rewards has 'score', expected the name of a reward"),
        ({"rewards": ["one", 2]}, "rewards has 2"),
        ({"rewards": NAMES, "how": "median"}, "how is 'median', expected one of: mean, minimum, lower-bound"),
        ({"rewards": NAMES, "how": "lower-bound", "k": -1}, "k is -1, expected a number from 0"),
        ({"rewards": NAMES, "how": "lower-bound", "k": float("nan")}, "k is nan"),
        ({"rewards": NAMES, "how": "lower-bound", "k": True}, "k is True"),
        ({"rewards": NAMES, "k": 2.0}, "k is of 'lower-bound' only"),
    ],
)
def test_wrong_options(options, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        ensemble(**options)


def test_a_reward_that_was_not_scored_is_named():
    with pytest.raises(KeyError, match="no scores of three"):
        ensemble(rewards=NAMES)(batch_of(["a"], scores={"one": (1.0,), "two": (1.0,)}))


def test_it_uses_what_it_names_and_conforms():
    assert ensemble_uses(rewards=["b", "a"], how="minimum") == ("b", "a")
    for options in ({}, {"how": "minimum"}, {"how": "lower-bound", "k": 0.5}):
        assert check_reward(REWARDS[0], {"rewards": NAMES, **options}, tolerance=0) == []
