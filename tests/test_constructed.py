"""Pairs made of references: what each way does to a text, and that a suite may ask for them."""

import json
from collections import Counter
from dataclasses import replace

import pytest
from fakes import rmbench
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench import judgements, tasks
from rmbench.api import Sample
from rmbench.constructed import DAMAGED, WAYS, damaged

WORDS = "one two three four five six seven eight nine ten".split()  # noqa: SIM905 - a line


def sample(number, *references):
    return Sample(f"s{number}", f"prompt {number}", (), references=references)


def references(count=60):
    return [sample(n, " ".join(WORDS[: 4 + n % 6]) + f" {n}.") for n in range(count)]


def test_every_way_occurs_and_does_what_its_name_says():
    made = [one for one in damaged(references(), 1) if one.candidates]
    assert len(made) > 50  # a word may have been replaced by itself
    assert {one.candidates[1].system for one in made} == set(WAYS)
    texts = {one.references[0] for one in made}
    for one in made:
        good, bad = (candidate.text for candidate in one.candidates)
        before, after = good.rstrip(".").split(), bad.rstrip(".").split()
        assert good == one.references[0]
        assert bad.endswith(".")
        assert [(p.better, p.worse) for p in one.preferences] == [(0, 1)]
        way = one.candidates[1].system
        if way == "dropped":
            assert len(after) == len(before) - max(1, len(before) // 4)
            assert not Counter(after) - Counter(before)
        elif way == "repeated":
            assert len(after) == len(before) + max(1, len(before) // 4)
            assert set(after) == set(before)
        elif way == "moved":
            assert Counter(after) == Counter(before)
            assert after != before
        elif way == "replaced":
            assert len(after) == len(before)
            assert sum(a != b for a, b in zip(after, before, strict=True)) <= max(1, len(before) // 4)
        else:
            assert bad in texts - {good}


def test_the_same_seed_makes_the_same_pairs_and_another_makes_others():
    assert damaged(references(), 3) == damaged(references(), 3)
    assert damaged(references(), 3) != damaged(references(), 4)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.lists(st.text(max_size=40), max_size=2), max_size=6), st.integers(0, 9))
def test_any_texts_give_pairs_of_different_texts_or_none(many, seed):
    for one in damaged([sample(n, *texts) for n, texts in enumerate(many)], seed):
        assert len(one.candidates) == 2 * len(one.preferences)
        if one.candidates:
            assert one.candidates[0].text == one.references[0]
            assert one.candidates[1].text.split() != one.candidates[0].text.split()


@pytest.fixture
def folder(tmp_path):
    folder = tmp_path / "captions"
    folder.mkdir()
    (folder / "task.toml").write_text(
        'name = "captions"\nversion = 1\nkind = "translation"\ndescription = "d"\nlicence = "CC0-1.0"\nsource = "s"\n'
        'languages = ["en", "en"]\n[data]\ntrain = "rows.jsonl"\ntest = "test.jsonl"\n', encoding="utf-8",
    )  # fmt: skip
    for file, first in (("rows.jsonl", 0), ("test.jsonl", 500)):
        rows = [
            {"id": one.id, "kind": "translation", "prompt": one.prompt, "references": list(one.references)}
            for one in references(first + 40)[first:]
        ]
        (folder / file).write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    return folder


def test_a_fit_reads_them_where_its_task_says_so(folder):
    plain = tasks.load_task(folder)
    assert not judgements.read(plain, seed=1).train.pairs
    made = judgements.read(replace(plain, pairs=DAMAGED), seed=1)
    assert len(made.train.pairs) > 30
    assert made.dev.pairs
    assert f"pairs:{DAMAGED}" in judgements.card_words(replace(plain, pairs=DAMAGED))


def test_without_references_the_error_speaks_of_them(folder):
    rows = (folder / "rows.jsonl").read_text(encoding="utf-8").replace('"references"', '"meta_references"')
    (folder / "rows.jsonl").write_text(rows, encoding="utf-8")
    file = folder.parent / "suite.toml"
    file.write_text(SUITE.format(DAMAGED), encoding="utf-8")
    refused = rmbench("fit", file, "--out", folder.parent / "no")
    assert refused.returncode == 2
    assert "no reference of the train split gives a pair (pairs = damaged-references)" in refused.stderr
    assert not (folder.parent / "no").exists()


SUITE = """
name = "s"
tasks = ["ende-mini"]
rewards = ["rm"]
[[reward_model]]
name = "rm"
use = "linear"
task = "captions"
loss = "bradley-terry"
pairs = "{}"
options = {{ steps = 30, evaluations = 1 }}
"""


def test_a_suite_fits_a_reward_on_them(folder):
    file = folder.parent / "suite.toml"
    file.write_text(SUITE.format("references"), encoding="utf-8")
    wrong = rmbench("run", file, "--out", folder.parent / "no")
    assert wrong.returncode == 2
    assert "pairs is 'references'" in wrong.stderr
    file.write_text(SUITE.format(DAMAGED), encoding="utf-8")
    done = rmbench("fit", file, "--out", folder.parent / "out")
    assert done.returncode == 0, done.stderr
    told = json.loads((folder.parent / "out" / "training" / "rm" / "config.json").read_text(encoding="utf-8"))
    assert DAMAGED in json.dumps(told)
