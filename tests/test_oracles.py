"""What reads the labels is an oracle, and so is what uses one, however far away."""

import json

import pytest
from fakes import jsonl, rmbench, rows

import rmbench as rm
from rmbench import Reward, interop, plugins, rewards, suite
from rmbench.overrides import Overrides

MIX = {"use": "composite", "name": "mix", "options": {"weights": {"human": 0.5, "length": 0.5}}}
FAR = {"use": "composite", "name": "far", "options": {"weights": {"mix": 1.0, "token-f1": 1.0}}}
CLEAN = {"use": "composite", "name": "clean", "options": {"weights": {"length": 1.0}}}


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run of an oracle, composites of it near and far, and a composite of none."""
    folder = tmp_path_factory.mktemp("oracles")
    task = jsonl(folder / "cats.jsonl", rows())
    given = {"tasks": [str(task)], "rewards": ["length", FAR, MIX, CLEAN], "timeout": 0}
    return rm.run(given, out=folder / "run")


def test_the_manifest_marks_what_uses_an_oracle(made):
    found = {r["name"]: r["oracle"] for r in made.manifest["resolved"]["rewards"] if not r["null"]}
    assert found == {"length": False, "far": True, "mix": True, "clean": False, "human": True, "token-f1": False}


def test_a_composite_of_an_oracle_sees_scores_and_no_labels(tmp_path):
    catalog = plugins.load()
    task = str(jsonl(tmp_path / "cats.jsonl", rows()))
    plan = suite.plan({"tasks": [task], "rewards": [MIX]}, catalog, Overrides(), base=tmp_path, where="")
    labelled = {c.name: (c.labelled, c.oracle) for c in plan.rewards if not c.null}
    assert labelled == {"mix": (False, True), "human": (True, True), "length": (False, False)}


def test_no_table_ranks_it(made, tmp_path):
    shown = rmbench("leaderboard", made.folder, "--json")
    standings = {s["reward"]: s for s in json.loads(shown.stdout)["boards"][0]["standings"]}
    for name in ("human", "mix", "far"):
        assert standings[name]["rank"] is None
        assert "oracle" in standings[name]["marks"]
    assert {name for name, s in standings.items() if s["rank"] is not None} == {"length", "token-f1", "clean"}
    text = made.report(tmp_path, formats=("md",)).read_text()
    told = next(line for line in text.splitlines() if "never ranked: " in line).partition("never ranked: ")[2]
    assert sorted(told.rstrip(".").replace(" and ", ", ").split(", ")) == ["far", "human", "mix"]
    table = text[text.index("**Margin over the best null reward.**") :].split("\n\n")[1]
    marked = [line for line in table.splitlines() if "(oracle)" in line]
    assert sorted(line.split()[1] for line in marked) == ["far", "human", "mix"]
    for bold in (line for line in text.splitlines() if "**0." in line or "**1." in line):
        assert not bold.startswith(("| far", "| mix", "| human"))


def test_show_says_so():
    assert "reads the labels. Shown, never ranked" in rmbench("show", "human").stdout
    assert "An oracle where its options" in rmbench("show", "composite").stdout
    assert "oracle" not in rmbench("show", "length").stdout.lower()


def test_it_is_known_before_any_option_where_names_are_fixed():
    catalog = plugins.load()
    near = Reward("near", 1, lambda: None, uses=("human",))
    assert rewards.is_oracle(catalog, near) is True
    assert rewards.is_oracle(catalog, Reward("two", 1, lambda: None, uses=("length", "token-f1"))) is False
    assert rewards.is_oracle(catalog, Reward("mixed", 1, lambda: None, uses=("composite",))) is None
    assert rewards.is_oracle(catalog, Reward("own", 1, lambda: None, needs=lambda: ("labels",))) is None
    assert rewards.is_oracle(catalog, Reward("self", 1, lambda: None, uses=("self",))) is False


def test_nothing_is_trained_on_it():
    near = Reward("near", 1, lambda: None, uses=("human",))
    for reward in (near, plugins.load().find("reward", "human").value):
        with pytest.raises(ValueError, match=reward.name):
            interop.to_trl(reward)
