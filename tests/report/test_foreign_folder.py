"""A run folder of somebody else: inert, or exit 5 with one message, and nothing is written beside it."""

from __future__ import annotations

import json
import shutil
from hashlib import sha256

import inert
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import HOSTILE
from fakes import jsonl, rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rmbench
from rmbench import shape
from rmbench.cli.main import guarded
from rmbench.errors import RMBenchError, RunFolderError
from rmbench.report import run_tables, write_run
from rmbench.runs import Run
from rmbench.store import folder_name

DELETED = object()
VALUES = (DELETED, None, 5, -1.5, 10**400, True, "../../x", HOSTILE, "a" * 5000, [], [5], [[]], [{}], {}, {"a": 5})


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    base = tmp_path_factory.mktemp("whole")
    task = jsonl(base / "cats.jsonl", rows(3))
    made = rmbench.run(
        [str(task)], rewards=[lambda batch: [float(len(text)) for text in batch.responses]], out=base / "run"
    )
    shutil.rmtree(base / "run" / "report")
    results = json.loads((made.folder / "results.json").read_text())
    results["results"] = results["results"][:12]
    (made.folder / "results.json").write_text(json.dumps(results))
    return made.folder


@pytest.fixture
def folder(whole, tmp_path):
    return shutil.copytree(whole, tmp_path / "run")


def places(value, at=()):
    """Yield where something stands in JSON, the first of each list."""
    yield at
    inside = value.items() if isinstance(value, dict) else enumerate(value[:1]) if isinstance(value, list) else ()
    for key, one in inside:
        yield from places(one, (*at, key))


def changed(value, at, new):
    """Return a copy with another value, or none, in one place."""
    copy = json.loads(json.dumps(value))
    inner = copy
    for key in at[:-1]:
        inner = inner[key]
    if new is DELETED:
        del inner[at[-1]]
    else:
        inner[at[-1]] = new
    return copy


def test_whatever_stands_in_a_manifest_is_read_or_refused(whole):
    manifest = Run(whole).manifest
    shape.check(manifest, "here")
    tried = [
        at
        for at in places(manifest)
        if at[:1] in (("resolved",), ("failures",), ("problems",), ("name",), ("warnings",))
    ]
    assert len(tried) > 40
    said = [what for at in tried for value in VALUES if (what := refusal(changed(manifest, at, value)))]
    assert 200 < len(said) < len(tried) * len(VALUES)
    assert all(what.startswith("is damaged: ") and len(what) < 400 for what in said)


def refusal(manifest):
    """Return why a manifest is refused, nothing where it is taken."""
    try:
        shape.check(manifest, "here")
    except RunFolderError as error:
        return error.what
    return ""


class Given(Run):
    """A run with a manifest of its own."""

    __slots__ = ("other",)

    @property
    def manifest(self):
        return self.other


@given(st.data())
@settings(max_examples=12, deadline=None, suppress_health_check=list(HealthCheck))
def test_a_report_of_any_manifest_that_is_whole_is_inert(whole, tmp_path_factory, data):
    manifest = Run(whole).manifest
    tried = [at for at in places(manifest) if at and at[0] not in ("suite", "schema")]
    for _ in range(3):
        at = data.draw(st.sampled_from(tried))
        new = data.draw(st.sampled_from(VALUES[1:]) | st.text(max_size=20))
        try:
            manifest = changed(manifest, at, new)
        except (KeyError, IndexError, TypeError):  # what held it is gone
            continue
    if refusal(manifest):
        return
    given_run, out = Given(whole), tmp_path_factory.mktemp("out")
    object.__setattr__(given_run, "other", manifest)
    try:
        write_run([given_run], out, ["md", "tex", "csv"])
        run_tables(given_run)
    except RMBenchError as error:
        assert error.exit_code in (2, 5)  # noqa: PT017 - one of many
        return
    assert inert.markdown((out / "report.md").read_bytes().decode()) == []
    assert inert.latex((out / "results.tex").read_bytes().decode()) == []


def replaced(folder, name, table):
    """Put another table into a part, with its hash in the journal."""
    pq.write_table(table, folder / name)
    lines = [json.loads(line) for line in (folder / "journal.jsonl").read_text().splitlines()]
    for line in lines:
        if line["part"] == name:
            line["sha256"] = sha256((folder / name).read_bytes()).hexdigest()
    (folder / "journal.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))


def the_part(folder, kind):
    return next(str(path.relative_to(folder)) for path in sorted((folder / kind).rglob("*.parquet")))


def test_hostile_words_in_parts_and_names_are_inert(folder, capsys):
    name = the_part(folder, "samples")
    table = pq.read_table(pa.BufferReader((folder / name).read_bytes()))
    for column in ("id", "system", "text", "prompt"):
        at = table.column_names.index(column)
        table = table.set_column(at, column, pa.array([HOSTILE] * table.num_rows, pa.string()))
    replaced(folder, name, table)
    manifest = {**Run(folder).manifest, "name": HOSTILE, "command": HOSTILE, "warnings": [HOSTILE]}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert guarded(["report", str(folder)], debug=False) == 0
    assert inert.html((folder / "report" / "index.html").read_bytes().decode()) == []
    assert inert.markdown((folder / "report" / "report.md").read_bytes().decode()) == []
    assert guarded(["leaderboard", str(folder)], debug=False) == 0
    assert guarded(["compare", str(folder)], debug=False) in (0, 2)
    told = capsys.readouterr()
    assert inert.controls(told.out + told.err) == []


@pytest.mark.parametrize("kind", ["samples", "scores"])
@pytest.mark.parametrize("table", [{"x": [1]}, {"id": [1], "text": [2], "score": ["x"]}], ids=["other", "types"])
def test_parts_with_other_columns_are_refused(folder, capsys, kind, table):
    replaced(folder, the_part(folder, kind), pa.table(table))
    assert guarded(["report", str(folder)], debug=False) == 5
    assert "has no column" in capsys.readouterr().err


@pytest.mark.parametrize(
    "text", ["[" * 200_000, '{"schema": 1}', "[]", '"x"', "\x00", '{"schema": 1, "name": "\\ud800"}', "1" * 5000]
)
def test_a_manifest_that_is_none_is_refused(folder, capsys, text):
    (folder / "manifest.json").write_text(text)
    for words in (["report"], ["leaderboard"], ["compare"]):
        assert guarded([*words, str(folder)], debug=False) == 5
    assert inert.controls(capsys.readouterr().err) == []


def test_a_link_in_place_of_the_report_is_not_followed(folder, tmp_path, capsys):
    outside = tmp_path / "outside"
    outside.mkdir()
    (folder / "report").symlink_to(outside)
    assert guarded(["report", str(folder)], debug=False) == 5
    assert "symbolic link" in capsys.readouterr().err
    assert list(outside.iterdir()) == []


def test_a_link_in_place_of_a_page_is_replaced_not_followed(folder, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    (folder / "report").mkdir()
    (folder / "report" / "index.html").symlink_to(victim)
    assert guarded(["report", str(folder), "--format", "html"], debug=False) == 0
    assert victim.read_text() == "mine"
    assert not (folder / "report" / "index.html").is_symlink()


@pytest.mark.parametrize(
    "name", ["../x", "..", ".", "", "CON", "con", "con.txt", "com1", "lpt9.x", "aux", "a/b", "a\x00b", "a" * 300, "A", "a.", "-a", " a", "é", "\ud800"]
)  # fmt: skip
def test_names_as_folders_stay_inside_and_apart(name):
    found = folder_name(name)
    assert found not in {".", ".."}
    assert found.isascii()
    assert not set(found) & set('/\\\0:*?"<>| ')
    assert len(found) <= 100
    assert found.lower() == found
    assert found != folder_name(name.swapcase()) or name == name.swapcase()
    assert not found.startswith("-")
    assert not found.endswith(".")
    assert found.split(".")[0] not in {"con", "aux", "com1", "lpt9"}
