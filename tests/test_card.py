"""task.toml: what loads, what is refused, and how the refusal is said."""

import contextlib
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench import tasks
from rmbench.api import Task
from rmbench.errors import InputError, InputErrors

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


def load_error(folder, card):
    (folder / "task.toml").write_text(card)
    with pytest.raises(InputError) as caught:
        tasks.load_task(folder)
    return caught.value


def test_a_card_becomes_a_task(folder):
    assert tasks.load_task(folder) == Task(
        name="mini", version=1, kind="dialogue", data={"test": folder / "data.jsonl"}, description="a test",
        languages=("en",), aspects=("coherence", "fluency"), main="coherence", good=4.0,
    )  # fmt: skip


def test_a_card_with_a_byte_order_mark_loads(folder):
    (folder / "task.toml").write_text("\ufeff" + CARD)
    assert tasks.load_task(folder).name == "mini"


BAD_CARDS = {
    "unknown key": ("languages =", "langauges =", 'task.toml:5: the key "langauges" is not known', "did you mean languages?"),
    "unknown split": ("test =", "tets =", 'task.toml:8: the key "data.tets" is not known', "test"),
    "unknown human": ("good =", "god =", 'task.toml:13: the key "human.god" is not known', "did you mean good?"),
    "no name": ('name = "mini"\n', "", 'task.toml: "name" is missing', "every card needs it"),
    "no data": ('[data]\ntest = "data.jsonl"\n', "", 'task.toml: "data" is missing', "every card needs it"),
    "empty data": ('test = "data.jsonl"\n', "", "task.toml:7: [data] names no file", "data.jsonl"),
    "data a string": ('[data]\ntest = "data.jsonl"\n', 'data = "x"\n', 'task.toml:7: "data" is a string ("x")', ""),
    "upper name": ('"mini"', '"Mini"', 'task.toml:1: "name" is "Mini", expected lower-kebab', "news-mini"),
    "double dash": ('"mini"', '"mi--ni"', 'task.toml:1: "name" is "mi--ni", expected lower-kebab', "news-mini"),
    "name a number": ('"mini"', "3", 'task.toml:1: "name" is a number (3), expected a string', "quote it"),
    "version 0": ("version = 1", "version = 0", 'task.toml:2: "version" is 0, expected a whole number from 1', "= 1"),
    "version true": ("version = 1", "version = true", '"version" is a boolean (true), expected a whole number', "= 1"),
    "version float": ("version = 1", "version = 1.0", '"version" is a number (1.0), expected a whole number', "= 1"),
    "version 2^63": ("version = 1", f"version = {2**63}", '"version" is 9223372036854775808', "= 1"),
    "kind": ('"dialogue"', '"dialog"', 'task.toml:3: "kind" is "dialog", expected a kind', "did you mean dialogue?"),
    "description": ('"a test"', "1979-05-27", '"description" is a date ("1979-05-27"), expected a string', ""),
    "languages": ('["en"]', '"en"', 'task.toml:5: "languages" is a string ("en"), expected a list', ""),
    "language empty": ('["en"]', '[""]', 'task.toml:5: "languages" has an empty entry', "leave the key out"),
    "main": ('main = "coherence"', 'main = "coherense"', 'task.toml:12: "human.main" is "coherense"', "coherence?"),
    "good nan": ("good = 4", "good = nan", 'task.toml:13: "human.good" is a number (NaN), expected a finite number', ""),
    "good inf": ("good = 4", "good = 1e999", "expected a finite number", ""),
    "good bool": ("good = 4", "good = true", '"human.good" is a boolean (true), expected a finite number', ""),
    "good quoted": ("good = 4", 'good = "4"', '"human.good" is a string ("4")', "without quotes"),
    "aspects twice": ('["coherence", "fluency"]', '["coherence", "coherence"]', '"human.aspects" is empty or names', "once"),
    "no aspects": ('aspects = ["coherence", "fluency"]\n', "", 'task.toml:10: "human.aspects" is missing', "needs it"),
    "absolute": ('"data.jsonl"', '"/etc/data.jsonl"', 'task.toml:8: "data.test" is "/etc/data.jsonl", which leaves', "links"),
    "parent": ('"data.jsonl"', '"x/../../data.jsonl"', "which leaves the task's folder", "links"),
    "type": ('"data.jsonl"', '"data.json"', 'task.toml:8: "data.test" is "data.json", expected a file of type .jsonl', ""),
    "nul": ('"data.jsonl"', r'"\u0000.jsonl"', r'"data.test" is "\u0000.jsonl", expected a file', ""),
    "duplicate": ("version = 1", "version = 1\nversion = 2", "task.toml:3: not valid TOML: cannot overwrite a value", "mend"),
    "syntax": ("version = 1", "version 1", "task.toml:2: not valid TOML: expected '='", "mend"),
    "deep": ("version = 1", "version = " + "[" * 5000, "task.toml: not valid TOML", ""),
    "sha unknown": ("[human]", f'[sha256]\n"dada.jsonl" = "{"0" * 64}"\n[human]', '[sha256] names "dada.jsonl"', "data.jsonl?"),
    "sha short": ("[human]", '[sha256]\n"data.jsonl" = "00"\n[human]', 'task.toml:11: "sha256.data.jsonl" is no sha256', "64"),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD_CARDS)
def test_refuses_the_card(folder, name):
    old, new, what, advice = BAD_CARDS[name]
    assert old in CARD
    error = load_error(folder, CARD.replace(old, new, 1))
    assert what in str(error)
    assert advice in error.help
    assert error.exit_code == 2


def test_all_problems_of_a_card_are_listed(folder):
    error = load_error(
        folder, CARD.replace("version = 1", "version = 0").replace('"dialogue"', '"x"').replace("good", "go")
    )
    assert isinstance(error, InputErrors)
    assert len(error.errors) == 3


def test_a_card_that_is_not_utf8_names_the_line(folder):
    (folder / "task.toml").write_bytes(CARD.encode().replace(b"a test", b"\xff"))
    with pytest.raises(InputError, match=r"task\.toml:4: byte 0xff at offset \d+ of the file is not UTF-8"):
        tasks.load_task(folder)


def test_a_card_is_at_most_1_mib(folder):
    assert "longer than 1 MiB" in str(load_error(folder, CARD + "#" * (1 << 20)))


def test_a_link_out_of_the_folder_is_refused(folder, tmp_path):
    (tmp_path / "secret.jsonl").write_text("{}\n")
    (folder / "out.jsonl").symlink_to(tmp_path / "secret.jsonl")
    assert "leaves the task's folder" in str(load_error(folder, CARD.replace('"data.jsonl"', '"out.jsonl"')))
    (folder / "loop.jsonl").symlink_to(folder / "loop.jsonl")
    assert "leaves the task's folder" in str(load_error(folder, CARD.replace('"data.jsonl"', '"loop.jsonl"')))


def test_a_link_within_the_folder_and_a_linked_folder_are_fine(folder, tmp_path):
    (folder / "in.jsonl").symlink_to("data.jsonl")
    (folder / "task.toml").write_text(CARD.replace('"data.jsonl"', '"in.jsonl"'))
    (tmp_path / "link").symlink_to(folder)
    assert [each.id for each in tasks.read(tasks.load_task(tmp_path / "link"))] == ["a"]


def test_load_tasks_sorts_by_name_and_reports_every_card(folder, tmp_path):
    for name in ("zeta", "alpha"):
        (tmp_path / f"x-{name}").mkdir()
        (tmp_path / f"x-{name}" / "task.toml").write_text(CARD.replace('"mini"', f'"{name}"'))
    (tmp_path / "no-task").mkdir()
    assert [task.name for task in tasks.load_tasks(tmp_path)] == ["alpha", "mini", "zeta"]
    for name in ("zeta", "alpha"):
        (tmp_path / f"x-{name}" / "task.toml").write_text(CARD.replace("version", "verison"))
    with pytest.raises(InputErrors) as caught:
        tasks.load_tasks(tmp_path)
    assert (
        len({error.where for error in caught.value.errors}) == 4
    )  # per card: line of the unknown key, and the missing one


def test_two_tasks_of_one_name_are_refused(folder, tmp_path):
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "task.toml").write_text(CARD)
    with pytest.raises(InputError, match=r'other/task.toml: the name "mini" is that of .*mini/task.toml too'):
        tasks.load_tasks(tmp_path)


def test_open_task_takes_a_folder_a_card_or_a_file(folder):
    assert tasks.open_task(folder) == tasks.open_task(folder / "task.toml") == tasks.load_task(folder)
    bare = tasks.open_task(folder / "data.jsonl", "qa")
    assert (bare.name, bare.version, bare.kind, bare.bare, dict(bare.data)) == (
        "data", 1, "qa", True, {"test": folder / "data.jsonl"},
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("nothing", "no such file or folder"),
        ("x" * 300, "the name is too long"),
        ("task.toml/x", "a part of its path is no folder"),
        ("a\0b", "a file name with a NUL character"),
    ],
)
def test_open_task_names_what_is_not_there(folder, name, what):
    with pytest.raises(InputError, match=what):
        tasks.open_task(folder / name)


def test_a_folder_without_a_card_is_refused(tmp_path):
    with pytest.raises(InputError, match=r"task\.toml: no such file or folder"):
        tasks.open_task(tmp_path)
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="expected a folder of task folders"):
        tasks.load_tasks(tmp_path / "file")


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("a.csv.gz", r"a packed file of a type that cannot be read, expected \.jsonl\.gz"),
        ("a.json", r'unknown file type "\.json", expected \.jsonl, \.csv, \.jsonl\.gz or \.parquet'),
    ],
)
def test_files_of_other_formats_are_refused_by_name(tmp_path, name, what):
    (tmp_path / name).touch()
    with pytest.raises(InputError, match=what):
        tasks.open_task(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "legal"),
    [("My Prefs_v2.jsonl", "my-prefs-v2"), ("a.b.jsonl", "a-b"), ("--x--.jsonl", "x"), ("é.JSONL", None)],
)
def test_a_bare_file_gets_a_legal_name(tmp_path, name, legal):
    found = tasks.bare_task(tmp_path / name).name
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", found)
    assert found == legal if legal else found.startswith("task-")


def test_an_unknown_kind_for_a_bare_file(tmp_path):
    with pytest.raises(InputError, match=r'no kind "dialog"(.|\n)*did you mean dialogue'):
        tasks.bare_task(tmp_path / "a.jsonl", "dialog")


TOML_VALUES = st.sampled_from(
    [
        "1",
        "-1",
        "true",
        "nan",
        "inf",
        '""',
        '"a"',
        '"data.jsonl"',
        "[]",
        '["a"]',
        "[1]",
        "{}",
        '{a = "b"}',
        "1979-05-27",
    ]
)
TOML_LINES = st.one_of(
    st.builds(
        "{} = {}".format, st.sampled_from(["name", "version", "kind", "data", "human", "sha256", "x"]), TOML_VALUES
    ),
    st.builds("{} = {}".format, st.sampled_from(["test", "aspects", "main", "good", '"data.jsonl"']), TOML_VALUES),
    st.sampled_from(["[data]", "[human]", "[sha256]", "[[data]]", "data.test = 'x.jsonl'", *CARD.splitlines()]),
    st.text(max_size=8),
)


@given(st.lists(TOML_LINES, max_size=8), st.booleans())
@settings(max_examples=200, deadline=None)
def test_random_cards_give_tasks_or_input_errors(tmp_path_factory, lines, after):
    card = tmp_path_factory.mktemp("card") / "task.toml"
    text = (CARD if after else "") + "\n".join(lines)
    card.write_bytes(text.encode("utf-8", "surrogatepass"))
    with contextlib.suppress(InputError):
        assert isinstance(tasks.open_task(card), Task)
