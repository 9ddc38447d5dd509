"""Files of rows: what is read, what is refused, and the data of the project."""

import hashlib
import json
import os
import re
import subprocess
import sys
from collections import Counter

import pytest

from rmbench import tasks
from rmbench.api import KINDS
from rmbench.errors import InputError, InputErrors
from rmbench.samples import render

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


def read(path, lines, warn=None):
    path.write_text("".join(line if isinstance(line, str) else json.dumps(line) + "\n" for line in lines))
    warnings = [] if warn is None else warn
    found = list(tasks.read(tasks.bare_task(path), warn=warnings.append))
    assert warn is not None or warnings == []
    return found


def test_reads_the_rows_and_the_digest(folder):
    task = tasks.load_task(folder)
    assert [each.id for each in tasks.read(task)] == ["a"]
    expected = hashlib.sha256((folder / "data.jsonl").read_bytes()).hexdigest()
    assert tasks.content_sha(task) == tasks.digest(folder / "data.jsonl") == expected


def test_the_sha256_of_the_card_is_checked_first(folder):
    good = tasks.digest(folder / "data.jsonl")
    (folder / "task.toml").write_text(CARD + f'[sha256]\n"data.jsonl" = "{good.upper()}"\n')
    task = tasks.load_task(folder)
    assert len(list(tasks.read(task))) == 1
    (folder / "data.jsonl").write_text("not even JSON\n")
    with pytest.raises(InputError, match=f"data.jsonl: the file's sha256 is [0-9a-f]{{64}}, the card says {good}"):
        next(tasks.read(task))


def test_a_missing_split_or_file(folder):
    task = tasks.load_task(folder)
    with pytest.raises(InputError, match=r'task mini has no split "train"(.|\n)*known: test'):
        next(tasks.read(task, "train"))
    (folder / "data.jsonl").unlink()
    with pytest.raises(InputError, match=r"data\.jsonl: no such file or folder"):
        next(tasks.read(task))


def test_only_regular_files_are_read(tmp_path):
    (tmp_path / "dir.jsonl").mkdir()
    os.mkfifo(tmp_path / "pipe.jsonl")
    (tmp_path / "null.jsonl").symlink_to("/dev/zero")
    (tmp_path / "loop.jsonl").symlink_to("loop.jsonl")
    for name, what in (
        ("dir", "a folder"),
        ("pipe", "a named pipe"),
        ("null", "a device"),
        ("loop", "a loop of symbolic links"),
    ):
        with pytest.raises(InputError, match=what):
            next(tasks.read(tasks.bare_task(tmp_path / f"{name}.jsonl")))


def test_an_empty_file_has_0_rows(tmp_path):
    with pytest.raises(InputError, match="0 rows, expected at least one"):
        read(tmp_path / "a.jsonl", ["\n\n"])


def test_a_file_that_grows_while_read_is_refused(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "prompt": "x"}\n')
    rows = tasks.read(tasks.bare_task(path))
    next(rows)
    with path.open("a") as stream:
        stream.write('{"id": "b", "prompt": "x"}\n')
    with pytest.raises(InputError, match=r"a\.jsonl: the file changed while it was read"):
        list(rows)


def test_ids_are_unique_and_both_lines_are_named(tmp_path):
    rows = [{"id": "a", "prompt": "x"}, "\n", {"id": "b", "prompt": "x"}, {"id": "a", "prompt": "y"}]
    with pytest.raises(InputError, match=r'a\.jsonl:4: the id "a" stands in line 1 too(.|\n)*an id of its own'):
        read(tmp_path / "a.jsonl", rows)


def test_rows_without_ids_are_named_by_their_line(tmp_path):
    warnings = []
    found = read(tmp_path / "a b.jsonl", ["\n", {"prompt": "x"}, {"prompt": "x"}], warn=warnings)
    assert [each.id for each in found] == ["a b-2", "a b-3"]
    assert [each.partition(": ")[2] for each in warnings] == ["blank lines are left out: 1"]


def test_problems_of_syntax_and_of_fields_are_listed_together(tmp_path):
    rows = [
        {"id": "a", "prompt": "x"},
        '{"id": NaN}\n',
        {"id": 3, "prompt": "x"},
        {"id": "d", "prompt": "x"},
        {"id": "e"},
    ]
    path = tmp_path / "a.jsonl"
    with pytest.raises(InputErrors) as caught:
        read(path, rows)
    assert [error.where for error in caught.value.errors] == [f"{path}:2", f"{path}:3", f"{path}:5"]


def test_nothing_is_yielded_after_the_first_problem_and_20_are_listed(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"id": "a", "prompt": "x"}\n' + '{"id": 1, "prompt": "x"}\n' * 30)
    rows = tasks.read(tasks.bare_task(path))
    assert next(rows).id == "a"
    with pytest.raises(InputErrors) as caught:
        next(rows)
    assert len(caught.value.errors) == 20


def test_unknown_fields_are_kept_with_one_warning_each(tmp_path):
    row = {"prompt": "x", "mood": 1, "candidates": [{"text": "a", "length": 2}, {"text": "b", "length": 3}]}
    warnings = []
    path = tmp_path / "a.jsonl"
    first, _ = read(path, [row, row], warnings)
    assert warnings == [
        f'{path}: the field "candidates[].length" is not known and is kept in meta',
        f'{path}: the field "mood" is not known and is kept in meta',
    ]
    assert first.meta == {"mood": 1}
    assert [candidate.meta for candidate in first.candidates] == [{"length": 2}, {"length": 3}]


def test_warnings_are_bounded(tmp_path):
    warnings = []
    read(tmp_path / "a.jsonl", [{"prompt": "x", f"some-field-{i}": i} for i in range(100)], warnings)
    assert len(warnings) == 21
    assert warnings[-1].endswith("further warnings are left out")


def test_by_default_warnings_are_python_warnings(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"prompt": "x", "mood": 1}\n')
    with pytest.warns(UserWarning, match="mood"):
        list(tasks.read(tasks.bare_task(tmp_path / "a.jsonl")))


def test_line_separators_in_strings_stay_one_row(tmp_path):
    (found,) = read(tmp_path / "a.jsonl", ['{"prompt": "a\u2028b\u0085c\u2029d"}\n'])
    assert found.prompt == "a\u2028b\u0085c\u2029d"


def test_the_kind_of_a_bare_file_comes_from_its_rows(tmp_path):
    path = tmp_path / "a.jsonl"
    for kinds, expected in ((["qa", "qa"], "qa"), (["qa", "dialogue"], None), ([None, "qa"], None), ([None], None)):
        read(path, [{"prompt": "x"} | ({"task": kind} if kind else {}) for kind in kinds])
        assert tasks.kind_of(tasks.bare_task(path)) == expected
    assert tasks.kind_of(tasks.bare_task(path, "moderation")) == "moderation"


def test_starts_without_heavy_modules():
    code = (
        "import sys, rmbench.tasks; "
        "print([m for m in ('numpy', 'scipy', 'pandas', 'pyarrow', 'torch', 'sacrebleu') if m in sys.modules])"
    )
    assert (
        subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.strip() == "[]"
    )


def stated_rows(readme, name):
    found = re.search(rf"^\| `?{re.escape(name)}`? \| ([0-9,]+) \|", readme, re.MULTILINE)
    return int(found[1].replace(",", ""))


@pytest.mark.data
def test_all_shared_data_load_with_the_rows_their_readmes_state(data_dir):
    warnings = []
    counted = Counter()
    for task in tasks.load_tasks(data_dir):
        assert task.kind in KINDS
        for split, path in task.data.items():
            readme = (path.parent / "README.md").read_text()
            found = list(tasks.read(task, split, warnings.append))
            assert len(found) == stated_rows(readme, path.name)
            counted["tasks"] += split == "test"
            counted["rows"] += len(found)
            for each in found:
                rendered = [render(each.messages), "\n".join(turn.content for turn in each.messages)]
                assert each.context is not None or each.prompt in rendered
    assert warnings == []
    assert counted["tasks"] == 12
    assert counted["rows"] == 38621


@pytest.mark.data
def test_known_contents_of_the_shared_data(data_dir):
    qa = list(tasks.read(tasks.load_task(data_dir / "qa-feedback")))
    both = qa + list(tasks.read(tasks.load_task(data_dir / "qa-feedback"), "train"))
    assert sum(len(each.preferences) for each in both) == 2616
    assert sum(len(each.ties) for each in both) == 384
    judged = list(tasks.read(tasks.load_task(data_dir / "judgebench-gpt4o")))
    assert {len(candidate.model_scores) for each in judged for candidate in each.candidates} == {5}
    wmt = list(tasks.read(tasks.load_task(data_dir / "wmt21-ted-mqm-ende")))
    assert sum(len(each.candidates) for each in wmt) == 6877
    assert all({"rater_ids", "errors"} <= candidate.meta.keys() for each in wmt for candidate in each.candidates)
    bench = list(tasks.read(tasks.load_task(data_dir / "rm-bench-chat-safety")))
    levels = Counter(pair.subset for each in bench for pair in each.preferences)
    assert levels == {
        f"{d}/{v}": 3 * n for d, n in (("chat", 129), ("safety", 441)) for v in ("easy", "normal", "hard")
    }
