"""Every kind of task runs, with rewards that need a text and its source only, and the own small tasks are as they say."""

import json
import tomllib
from itertools import combinations

import pytest
from fakes import REPO, jsonl, rmbench

from rmbench.api import KINDS
from rmbench.builtin import rmbench_tasks
from rmbench.builtin.word_filter import read
from rmbench.kernel.terms import Matcher, folded
from rmbench.suite import shipped

OWN = {
    "moderation-mini": ("warm", "plain", "mocking", "abusive"),
    "story-mini": ("vivid", "plain", "unasked", "broken"),
}
QA = [
    {"id": str(n), "kind": "qa", "prompt": f"How many legs has a {one}?", "references": [str(legs)],
     "candidates": [{"system": "a", "text": f"{legs}"}, {"system": "b", "text": "muppet, count"}],
     "preferences": [{"better": 0, "worse": 1}]}
    for n, (one, legs) in enumerate([("dog", 4), ("bee", 6), ("hen", 2)])
]  # fmt: skip
CARD = """
name = "qa-mini"
version = 1
kind = "qa"
description = "legs"
licence = "CC0-1.0"
source = "this test"
languages = ["en"]
[data]
test = "data.jsonl"
"""
SUITE = """
name = "kinds"
tasks = ["news-mini", "ende-mini", "chat-mini", "moderation-mini", "story-mini", "qa-mini"]
rewards = [{ use = "word-filter", options = { path = "terms.txt" } }, { use = "novelty", options = { n = 1 } }, "mix"]
studies = ["agree"]
metrics = ["pairwise-accuracy"]
limit = 8
[[reward_model]]
name = "mix"
use = "standardised"
task = "moderation-mini"
options = { weights = { word-filter = 1.0, novelty = -0.5 }, scale = "rank" }
"""


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    (folder / "qa-mini").mkdir()
    (folder / "qa-mini" / "task.toml").write_text(CARD, encoding="utf-8")
    jsonl(folder / "qa-mini" / "data.jsonl", QA)
    (folder / "terms.txt").write_bytes((REPO / "tasks" / "moderation-mini" / "terms.txt").read_bytes())
    (folder / "suite.toml").write_text(SUITE, encoding="utf-8")
    done = rmbench("run", folder / "suite.toml", "--out", folder / "out")
    assert done.returncode == 0, done.stderr
    text = (folder / "out" / "results.json").read_text(encoding="utf-8")
    assert str(folder) not in text
    return json.loads(text)["results"]


def means(results, task):
    return {
        (one["reward"], one["system"]): one["value"] for one in results
        if one["metric"] == "mean" and one["task"] == task and one["subset"] is None and one["against"] is None
    }  # fmt: skip


def test_every_kind_runs(results):
    found = {one["kind"] for one in results if one["metric"] == "pairwise-accuracy" and one["value"] is not None}
    assert found == set(KINDS)
    signatures = [one["signature"] for one in results if one["reward"] == "word-filter"]
    assert signatures
    assert all(signature.startswith("word-filter@1|path:terms.txt#") for signature in signatures)


def test_the_filter_sees_abuse_and_no_mockery(results):
    found = means(results, "moderation-mini")
    assert found["word-filter", "abusive"] < -0.5
    assert found["word-filter", "mocking"] == found["word-filter", "warm"] == 0.0
    assert found["mix", "abusive"] < min(found["mix", system] for system in ("warm", "plain", "mocking"))


def test_words_of_the_sources_own_are_seen(results):
    found = means(results, "news-mini")
    assert found["novelty", "off-topic"] > found["novelty", "omission"]


@pytest.mark.parametrize("name", sorted(OWN))
def test_own_tasks_are_as_their_cards_say(name):
    task = next(task for task in rmbench_tasks() if task.name == name)
    rows = [json.loads(line) for line in task.data["test"].read_text(encoding="utf-8").splitlines()]
    assert len(rows) == 24
    assert len({text["text"] for row in rows for text in row["candidates"]}) == 96
    assert all({text["system"] for text in row["candidates"]} == set(OWN[name]) for row in rows)
    pairs = [
        sorted(pair, key=lambda text: text["human"][task.main])
        for row in rows
        for pair in combinations(row["candidates"], 2)
    ]
    longer = sum(len(better["text"]) > len(worse["text"]) for worse, better in pairs)
    assert f"in {longer} of {len(pairs)} pairs" in task.data["test"].with_name("README.md").read_text(encoding="utf-8")
    assert 0.45 < longer / len(pairs) < 0.55


def test_the_notes_say_what_the_list_does_not_see():
    folder = REPO / "tasks" / "moderation-mini"
    matcher = Matcher([entry.pattern for entry in read(folder / "terms.txt")])
    rows = [json.loads(line) for line in (folder / "data.jsonl").read_text(encoding="utf-8").splitlines()]
    odd = [
        text["system"] for row in rows for text in row["candidates"]
        if bool(matcher(folded(text["text"]))) != (text["system"] == "abusive")
    ]  # fmt: skip
    assert sorted(odd) == ["abusive"] * 4 + ["plain"] * 3


def test_the_shipped_suite_names_the_list_that_ships():
    suite = tomllib.loads(shipped()["moderation"].read_text(encoding="utf-8"))
    path = suite["rewards"][0]["options"]["path"]
    assert (shipped()["moderation"].parent / path).resolve() == REPO / "tasks" / "moderation-mini" / "terms.txt"
