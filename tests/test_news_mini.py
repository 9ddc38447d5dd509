"""The splits of the shipped task news-mini: graded by construction, balanced in length, nothing in two of them."""

import itertools

import pytest

from rmbench.builtin import rmbench_tasks
from rmbench.tasks import content_sha, read

GRADES = {"faithful": 4, "omission": 3, "wrong-detail": 2, "contradiction": 1, "off-topic": 0}


@pytest.fixture(scope="module")
def task():
    return next(task for task in rmbench_tasks() if task.name == "news-mini")


@pytest.fixture(scope="module")
def splits(task):
    return {split: list(read(task, split)) for split in ("test", "train", "dev")}


def test_what_studies_measure_on_is_what_it_was(task):
    # the version is 1 as long as these bytes are
    assert task.version == 1
    assert content_sha(task) == "a1dcf5ca01d5bb72464127425f825333b01f0c0972a93814c4010e56eb366414"


def test_splits_have_the_sizes_that_the_readme_states(splits):
    assert {split: len(rows) for split, rows in splits.items()} == {"test": 44, "train": 40, "dev": 8}
    candidates = {split: sum(len(row.candidates) for row in rows) for split, rows in splits.items()}
    assert candidates == {"test": 220, "train": 160, "dev": 32}


def test_grades_follow_from_the_fault(splits):
    for row in itertools.chain(*splits.values()):
        assert "faithful" in {one.system for one in row.candidates}
        for one in row.candidates:
            assert one.human == {"grade": GRADES[one.system]}
            assert one.meta["fault"] == ("none" if one.system == "faithful" else one.system)
            assert bool(one.meta["note"]) == (one.system != "faithful")


def test_nothing_stands_in_two_splits(splits):
    for one, other in itertools.combinations(splits.values(), 2):
        for of in (
            lambda rows: {row.prompt for row in rows},
            lambda rows: {row.context for row in rows},
            lambda rows: {text for row in rows for text in row.references},
            lambda rows: {each.text for row in rows for each in row.candidates},
        ):
            assert not of(one) & of(other)


@pytest.mark.parametrize(("split", "longer", "pairs"), [("test", 222, 440), ("train", 121, 240), ("dev", 24, 48)])
def test_length_teaches_nothing(splits, split, longer, pairs):
    found = [
        len(better.text) > len(worse.text)
        for row in splits[split]
        for better, worse in itertools.permutations(row.candidates, 2)
        if better.human["grade"] > worse.human["grade"]
    ]
    assert (sum(found), len(found)) == (longer, pairs)
