"""Rows -> samples: every field arrives, every wrong one is named."""

import contextlib
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench import tasks
from rmbench.api import Candidate, Preference, Sample, Turn
from rmbench.checks import LARGEST, distance, near
from rmbench.errors import InputError
from rmbench.samples import CANDIDATE, ROW, render, sample_from

CARD = """\
name = "mini"
version = 1
kind = "dialogue"
description = "a test"
languages = ["en"]

[data]
test = "data.jsonl"

[human]
aspects = ["coherence", "fluency"]
main = "coherence"
good = 4
"""


@pytest.fixture
def folder(tmp_path):
    made = tmp_path / "mini"
    made.mkdir()
    (made / "task.toml").write_text(CARD)
    (made / "data.jsonl").write_text('{"id": "a", "prompt": "Hi", "candidates": [{"text": "yes"}]}\n')
    return made


def sample(record, task=None, warn=None):
    warnings = []
    found = sample_from({"id": "a", "prompt": "Hi"} | record, where="f.jsonl:3", task=task, warn=warnings.append)
    assert (warnings if warn is None else []) == []
    if warn is not None:
        warn.extend(warnings)
    return found


def row_error(record, task=None):
    with pytest.raises(InputError) as caught:
        sample(record, task)
    assert caught.value.where == "f.jsonl:3"
    return str(caught.value)


def test_a_prompt_alone_is_one_user_turn():
    assert sample({}) == Sample("a", "Hi", (Turn("user", "Hi"),))


def test_messages_alone_give_their_rendering():
    turns = [{"role": "user", "content": "Hi"}]
    found = sample_from({"id": "a", "messages": turns}, where="f:1", task=None, warn=pytest.fail)
    assert (found.prompt, found.messages) == ("Hi", (Turn("user", "Hi"),))
    several = [Turn("system", "Be kind."), Turn("user", "Hi"), Turn("assistant", "Yes?"), Turn("tool", "3")]
    assert render(several) == "System: Be kind.\n\nHuman: Hi\n\nAssistant: Yes?\n\nTool: 3"


def test_where_both_stand_both_are_kept():
    found = sample({"messages": [{"role": "user", "content": "long"}]})
    assert (found.prompt, found.messages) == ("Hi", (Turn("user", "long"),))


def test_every_field_arrives():
    found = sample({
        "task": "qa", "context": "c", "references": ["r", ""], "subset": "s", "meta": {"m": [1, None]},
        "candidates": [
            {"system": "A", "text": "x", "human": {"coherence": 3}, "raters": {"coherence": [2, 4.0]},
             "rater_ids": {"coherence": ["r1", "r2"]}, "errors": [{"category": "c"}], "model_scores": {"rm": -1.5}},
            {"text": "", "meta": {"k": 1}},
            {"text": "z"},
        ],
        "preferences": [{"better": 0, "worse": 1, "subset": "hard"}, {"better": 2, "worse": 1}],
        "ties": [[2, 0]],
    })  # fmt: skip
    assert found == Sample(
        "a", "Hi", (Turn("user", "Hi"),), context="c", references=("r", ""), subset="s", meta={"m": (1, None)},
        candidates=(
            Candidate("A", "x", {"coherence": 3.0}, {"coherence": (2.0, 4.0)}, {"rm": -1.5},
                      {"rater_ids": {"coherence": ("r1", "r2")}, "errors": ({"category": "c"},)}),
            Candidate("candidate-1", "", meta={"k": 1}),
            Candidate("candidate-2", "z"),
        ),
        preferences=(Preference(0, 1, "hard"), Preference(2, 1)),
        ties=((2, 0),),
    )  # fmt: skip


TWO = {"candidates": [{"text": "x"}, {"text": "y"}]}
BAD_ROWS = {
    "misspelt": ({"promt": "x"}, 'the field "promt" is not known', 'did you mean "prompt"?'),
    "misspelt candidate": ({"candidates": [{"txt": "x"}]}, 'the field "candidates[0].txt" is not known', 'mean "text"?'),
    "misspelt message": ({"messages": [{"rol": "user", "content": ""}]}, '"messages[0].rol" is not known', 'mean "role"?'),
    "misspelt preference": (TWO | {"preferences": [{"beter": 0, "worse": 1}]}, '"preferences[0].beter"', '"better"?'),
    "prompt null": ({"prompt": None}, '"prompt" is null, expected a string', "leave the field out"),
    "prompt number": ({"prompt": 3}, '"prompt" is a number (3), expected a string', "quote it"),
    "id number": ({"id": 7}, '"id" is a number (7), expected a string', "quote it"),
    "id empty": ({"id": ""}, '"id" is empty', "an id of its own"),
    "kind": ({"kind": "dialog"}, '"kind" is "dialog", expected a kind', "did you mean dialogue?"),
    "kind number": ({"task": 1}, '"task" is a number (1), expected a string', "quote it"),
    "kinds": ({"kind": "qa", "task": "dialogue"}, '"kind" is "qa", but "task" is "dialogue"', "keep one"),
    "context": ({"context": ["x"]}, '"context" is a list, expected a string', ""),
    "context null": ({"context": None}, '"context" is null, expected a string', "leave the field out"),
    "subset": ({"subset": True}, '"subset" is a boolean (true), expected a string', "quote it"),
    "references": ({"references": "r"}, '"references" is a string ("r"), expected a list', 'write "references": ["..."]'),
    "reference": ({"references": ["r", 2]}, '"references[1]" is a number (2), expected a string', "quote it"),
    "messages empty": ({"messages": []}, '"messages" is an empty list, expected messages', "at least one"),
    "messages": ({"messages": {"role": "user"}}, '"messages" is an object, expected a list', ""),
    "message": ({"messages": ["hi"]}, '"messages[0]" is a string ("hi"), expected an object', ""),
    "content": ({"messages": [{"role": "user"}]}, '"messages[0].content" is missing', "a role and a content"),
    "content null": ({"messages": [{"role": "user", "content": None}]}, '"messages[0].content" is null', ""),
    "role": ({"messages": [{"role": "", "content": "x"}]}, '"messages[0].role" is empty', "assistant"),
    "meta": ({"meta": [1]}, '"meta" is a list, expected an object', ""),
    "candidates": ({"candidates": {}}, '"candidates" is an object, expected a list', ""),
    "candidate": ({"candidates": ["x"]}, '"candidates[0]" is a string ("x"), expected an object', ""),
    "no text": ({"candidates": [{"system": "A"}]}, '"candidates[0].text" is missing', "every candidate"),
    "text null": ({"candidates": [{"text": None}]}, '"candidates[0].text" is null, expected a string', ""),
    "system": ({"candidates": [{"text": "", "system": 1}]}, '"candidates[0].system" is a number (1)', "quote it"),
    "human bool": ({"candidates": [{"text": "", "human": {"a": True}}]}, 'human.a" is a boolean (true), expected a finite', ""),
    "human quoted": ({"candidates": [{"text": "", "human": {"a": "4"}}]}, 'human.a" is a string ("4")', "without quotes"),
    "human list": ({"candidates": [{"text": "", "human": [4]}]}, '"candidates[0].human" is a list, expected an object', ""),
    "human null": ({"candidates": [{"text": "", "human": {"a": None}}]}, 'human.a" is null, expected a finite', "leave"),
    "human nan": ({"candidates": [{"text": "", "human": {"a": float("nan")}}]}, "(NaN), expected a finite number", ""),
    "raters": ({"candidates": [{"text": "", "raters": {"a": 3}}]}, 'raters.a" is a number (3), expected a list', ""),
    "rater": ({"candidates": [{"text": "", "raters": {"a": [3, "x"]}}]}, 'raters.a[1]" is a string ("x")', ""),
    "rater ids": ({"candidates": [{"text": "", "rater_ids": 3}]}, 'rater_ids" is a number (3), expected an object or', ""),
    "errors": ({"candidates": [{"text": "", "errors": {}}]}, '"candidates[0].errors" is an object, expected a list', ""),
    "scores": ({"candidates": [{"text": "", "model_scores": {"m": "x"}}]}, 'model_scores.m" is a string ("x")', ""),
    "in meta too": ({"mood": 1, "meta": {"mood": 2}}, '"mood" stands in "meta" too', "keep one of the two"),
    "errors in meta": ({"candidates": [{"text": "", "errors": [], "meta": {"errors": 1}}]}, 'stands in "candidates[0].meta" too', ""),
    "no worse": (TWO | {"preferences": [{"better": 0}]}, '"preferences[0].worse" is missing', '"better" and "worse"'),
    "preferences": (TWO | {"preferences": [[0, 1]]}, '"preferences[0]" is a list, expected an object', ""),
    "true": (TWO | {"preferences": [{"better": True, "worse": 0}]}, "is a boolean (true), expected the index of a", ""),
    "1.0": (TWO | {"preferences": [{"better": 1.0, "worse": 0}]}, "is a number (1.0), expected the index of a candidate", ""),
    "quoted": (TWO | {"preferences": [{"better": "1", "worse": 0}]}, 'is a string ("1"), expected the index', ""),
    "range": (TWO | {"preferences": [{"better": 2, "worse": 0}]}, 'better" is 2, but there are 2 candidates', "write 0 to 1"),
    "negative": (TWO | {"preferences": [{"better": 0, "worse": -1}]}, "is -1, but there are 2 candidates", "write 0 to 1"),
    "none": ({"preferences": [{"better": 0, "worse": 1}]}, "is 0, but there are 0 candidates", "give the row candidates"),
    "itself": (TWO | {"preferences": [{"better": 1, "worse": 1}]}, "prefers candidate 1 to itself", "name two"),
    "subset null": (TWO | {"preferences": [{"better": 1, "worse": 0, "subset": None}]}, 'subset" is null', "leave"),
    "contradiction": (TWO | {"preferences": [{"better": 1, "worse": 0}, {"better": 0, "worse": 1}]}, "each better than", "tie"),
    "tie": (TWO | {"ties": [0, 1]}, '"ties[0]" is a number (0), expected a list', ""),
    "three": (TWO | {"ties": [[0, 1, 1]]}, '"ties[0]" has 3 entries', "write [i, j]"),
    "tie bool": (TWO | {"ties": [[0, True]]}, '"ties[0][1]" is a boolean (true)', ""),
    "tie range": (TWO | {"ties": [[0, 5]]}, '"ties[0][1]" is 5, but there are 2 candidates', "write 0 to 1"),
    "tie itself": (TWO | {"ties": [[1, 1]]}, '"ties[0]" ties candidate 1 with itself', "name two"),
    "both": (TWO | {"ties": [[1, 0]], "preferences": [{"better": 0, "worse": 1}]}, "both a tie and a preference", "keep"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_ROWS)
def test_refuses_the_row(name):
    record, what, advice = BAD_ROWS[name]
    error = row_error(record)
    assert what in error
    assert advice in error.partition("help: ")[2]


def test_very_many_unknown_fields_are_refused():
    assert "f.jsonl:3: 1001 fields that are not known" in row_error({f"some-{i}": i for i in range(1001)})


def test_a_row_needs_an_id_and_a_prompt():
    with pytest.raises(InputError, match='f:1: "id" is missing'):
        sample_from({"prompt": "x"}, where="f:1", task=None, warn=print)
    with pytest.raises(InputError, match='f:1: neither "prompt" nor "messages" is there'):
        sample_from({"id": "x"}, where="f:1", task=None, warn=print)


def test_shown_values_are_cut_and_escaped():
    error = row_error({"kind": "\x1b[2J" + "x" * 10_000})
    assert "\x1b" not in error
    assert len(error) < 500


def test_shown_names_are_cut_and_escaped():
    error = row_error({"candidates": [{"text": "", "human": {"\u202e\x1b" + "x" * 10_000: None}}]})
    assert error.partition("\n")[0].isprintable()
    assert len(error) < 500
    assert '"candidates[0].human.Höhe" is null' in row_error({"candidates": [{"text": "", "human": {"Höhe": None}}]})


def test_aspects_must_be_the_cards(folder):
    task = tasks.load_task(folder)
    assert sample({"candidates": [{"text": "", "human": {"fluency": 1}}]}, task)
    for field, value in (("human", 3), ("raters", [3])):
        error = row_error({"candidates": [{"text": "", field: {"fluenzy": value}}]}, task)
        assert f'"candidates[0].{field}" has the aspect "fluenzy", which the card does not name' in error
        assert "did you mean fluency?" in error


def test_another_kind_than_the_cards_is_a_warning(folder):
    warnings = []
    sample({"task": "dialogue"}, tasks.load_task(folder))
    sample({"task": "qa"}, tasks.load_task(folder), warnings)
    assert warnings == ["rows say that their kind is qa, the task is dialogue: the task's counts"]


def test_unknown_fields_without_meta_are_left_out_with_a_warning():
    warnings = []
    record = TWO | {
        "messages": [{"role": "user", "content": "x", "timestamp": 1}],
        "preferences": [{"better": 0, "worse": 1, "confidence": 2}],
    }
    sample(record, None, warnings)
    assert warnings == [
        'the field "messages[].timestamp" is not known and is left out',
        'the field "preferences[].confidence" is not known and is left out',
    ]


def test_near_names_are_within_an_edit_distance_of_2():
    assert distance("kitten", "sitting") == 3
    assert distance("", "ab") == 2
    assert near("refrences", ROW) == "references"
    assert near("refs", ROW) is None
    assert near("modelscores", CANDIDATE) == "model_scores"


@given(st.text("abc", max_size=5), st.text("abc", max_size=5))
def test_the_distance_is_a_metric(a, b):
    assert distance(a, b) == distance(b, a)
    assert (distance(a, b) == 0) == (a == b)
    assert abs(len(a) - len(b)) <= distance(a, b) <= max(len(a), len(b))


NUMBERS = st.floats(-LARGEST, LARGEST) | st.integers(-(2**53), 2**53).map(float)
KEYS = st.text(max_size=6)
META = st.dictionaries(KEYS, st.none() | st.booleans() | st.integers(-9, 9) | st.text(max_size=5), max_size=2)
CANDIDATES = st.builds(
    Candidate, system=st.text(max_size=4), text=st.text(max_size=9), human=st.dictionaries(KEYS, NUMBERS, max_size=2),
    raters=st.dictionaries(KEYS, st.lists(NUMBERS, max_size=3).map(tuple), max_size=2),
    model_scores=st.dictionaries(KEYS, NUMBERS, max_size=2), meta=META,
)  # fmt: skip
TURNS = st.lists(
    st.builds(Turn, role=st.text(min_size=1, max_size=4), content=st.text(max_size=5)), min_size=1, max_size=3
)
SUBSETS = st.none() | st.text(max_size=4)


@st.composite
def samples(draw):
    candidates = tuple(draw(st.lists(CANDIDATES, max_size=4)))
    pairs = [(i, j) for i in range(len(candidates)) for j in range(i)]
    preferences, ties = [], []
    for i, j in pairs:
        way = draw(st.sampled_from(["none", "better", "worse", "tie"]))
        if way == "tie":
            ties.append((i, j))
        elif way != "none":
            better, worse = (i, j) if way == "better" else (j, i)
            preferences.append(Preference(better, worse, draw(SUBSETS)))
    return Sample(
        id=draw(st.text(min_size=1, max_size=5)), prompt=draw(st.text(max_size=9)), messages=tuple(draw(TURNS)),
        context=draw(SUBSETS), references=tuple(draw(st.lists(st.text(max_size=4), max_size=2))), subset=draw(SUBSETS),
        candidates=candidates, preferences=tuple(preferences), ties=tuple(ties), meta=draw(META),
    )  # fmt: skip


def filled(**fields):
    return {key: value for key, value in fields.items() if value is not None}


def record_of(found):
    return filled(
        id=found.id, prompt=found.prompt, context=found.context, references=found.references, subset=found.subset,
        messages=[{"role": turn.role, "content": turn.content} for turn in found.messages],
        candidates=[
            {"system": each.system, "text": each.text, "human": dict(each.human), "raters": dict(each.raters),
             "model_scores": dict(each.model_scores), "meta": dict(each.meta)}
            for each in found.candidates
        ],
        preferences=[filled(better=each.better, worse=each.worse, subset=each.subset) for each in found.preferences],
        ties=found.ties, meta=dict(found.meta),
    )  # fmt: skip


@given(st.lists(samples(), min_size=1, max_size=3, unique_by=lambda each: each.id), st.booleans())
@settings(max_examples=60, deadline=None)
def test_samples_written_and_read_are_equal(tmp_path_factory, written, ascii_only):
    path = tmp_path_factory.mktemp("round") / "a.jsonl"
    lines = (json.dumps(record_of(each), ensure_ascii=ascii_only) + "\n" for each in written)
    path.write_bytes("".join(lines).encode())
    told = []
    assert list(tasks.read(tasks.bare_task(path), warn=told.append)) == written
    assert all(one.endswith("rows an answer is empty") for one in told)


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers(-3, 3) | st.floats() | st.sampled_from(["user", "a", "qa", ""]),
    lambda inner: (
        st.lists(inner, max_size=3)
        | st.dictionaries(
            st.sampled_from([*ROW, *CANDIDATE, "role", "content", "better", "worse", "x", "domain"]), inner, max_size=4
        )
    ),
    max_leaves=12,
)
RECORDS = st.dictionaries(
    st.sampled_from([*ROW, "chosen", "rejected", "domain", "good", "other-field"]), ANYTHING, max_size=6
)


@given(st.lists(RECORDS.map(json.dumps) | st.text(max_size=20), max_size=4))
@settings(max_examples=200, deadline=None)
def test_random_rows_give_samples_or_input_errors(tmp_path_factory, lines):
    path = tmp_path_factory.mktemp("random") / "a.jsonl"
    path.write_bytes("\n".join(lines).encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InputError):
        assert all(isinstance(each, Sample) for each in tasks.read(tasks.bare_task(path), warn=str))
