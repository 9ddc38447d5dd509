"""The main aspect of a task: the card's; else the only one; else the first of the data, said aloud."""

import json

import pytest
from fakes import jsonl

import rmbench as rm
from rmbench import source, tasks


def row(name, *given):
    """A sample whose texts have these ratings, each by two raters who agree."""
    return {
        "id": name,
        "prompt": name,
        "candidates": [
            {"text": f"{name} {i}", "human": human, "raters": {aspect: [score] * 2 for aspect, score in human.items()}}
            for i, human in enumerate(given)
        ],
    }


TWO = [row("a", {"fluency": 3, "style": 1}, {"fluency": 1, "style": 2}), row("b", {"style": 2}, {"style": 4})]
ONE = [row("a", {"style": 1}, {"style": 2})]


def card(folder, content, human=""):
    folder.mkdir()
    jsonl(folder / "data.jsonl", content)
    head = (
        'name = "carded"\nversion = 1\nkind = "qa"\ndescription = "d"\nlicence = "MIT"\nsource = "s"\ncitation = "c"\n'
    )
    (folder / "task.toml").write_text(head + 'languages = ["en"]\n[data]\ntest = "data.jsonl"\n' + human)
    return tasks.load_task(folder)


def opened(task, limit=None):
    return source.open_source(task, limit=limit, seed=1)


def test_the_cards_main_stands(tmp_path):
    found = opened(card(tmp_path / "t", TWO, '[human]\naspects = ["fluency", "style"]\nmain = "style"\n'))
    assert (found.task.main, found.main_from, found.warnings) == ("style", "card", ())


def test_a_card_without_human_and_a_bare_file_take_the_first_of_the_data(tmp_path):
    for task in (card(tmp_path / "t", TWO), tasks.bare_task(jsonl(tmp_path / "two.jsonl", TWO))):
        found = opened(task)
        assert (found.task.aspects, found.task.main) == (("fluency", "style"), "fluency")
        assert found.main_from == "first aspect of the data"
        assert "'fluency', the first in the data" in found.warnings[0]


def test_the_only_aspect_needs_no_warning(tmp_path):
    found = opened(tasks.bare_task(jsonl(tmp_path / "one.jsonl", ONE)))
    assert (found.task.main, found.main_from, found.warnings) == ("style", "only aspect", ())


def test_no_ratings_have_no_main_aspect(tmp_path):
    found = opened(tasks.bare_task(jsonl(tmp_path / "none.jsonl", [row("a", {}, {})])))
    assert (found.task.aspects, found.task.main, found.main_from) == ((), None, None)


def test_a_limit_does_not_change_it(tmp_path):
    content = [
        row("first", {"fluency": 3}, {"fluency": 1}),
        *(row(f"r{i}", {"style": 1}, {"style": 2}) for i in range(30)),
    ]
    task = tasks.bare_task(jsonl(tmp_path / "many.jsonl", content))
    found = opened(task, limit=2)
    assert "first" not in {sample.id for sample in found.read()}
    assert found.task.main == "fluency"


@pytest.mark.parametrize(("content", "main"), [(TWO, "fluency"), (ONE, "style")])
def test_headline_label_and_manifest_agree_on_it(tmp_path, content, main):
    given = {"tasks": [str(jsonl(tmp_path / "rated.jsonl", content))], "rewards": ["human"], "timeout": 0}
    made = rm.run(given, out=tmp_path / "run")
    (entry,) = made.manifest["resolved"]["tasks"]
    assert entry["main"] == main
    assert any("is taken for it" in warning for warning in made.manifest["warnings"]) == (content is TWO)
    headline = next(
        r for r in made.rows if r.metric == "pairwise-accuracy" and r.reward == "human" and r.subset is None
    )
    # one rater agrees with the other on the one pair of sample a
    assert (headline.aspect, headline.value, headline.pairs) == (main, 1.0, 1)
    scores = rm_scores(made)
    assert scores[:2] == ([3.0, 1.0] if content is TWO else [1.0, 2.0])
    assert scores[2:] == ([None, None] if content is TWO else [])
    assert json.loads((made.folder / "manifest.json").read_text())["resolved"]["tasks"][0]["main_from"]


def rm_scores(made):
    import pyarrow.parquet as pq

    (part,) = made.folder.glob("scores/rated/human/part-*.parquet")
    return pq.read_table(part)["score"].to_pylist()
