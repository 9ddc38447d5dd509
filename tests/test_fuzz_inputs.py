"""Valid files with bytes changed, cut, spliced and swapped: each reader gives its rows or an ``InputError`` that names
the file, and nothing else. tests/corpus holds what is replayed every time."""

from __future__ import annotations

import gzip
import json
from pathlib import Path

import pytest
from fakes import rows
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rmbench import plugins, suite, tasks
from rmbench.card import load_card
from rmbench.errors import InputError
from rmbench.overrides import Overrides

CORPUS = Path(__file__).parent / "corpus"
LINES = "".join(json.dumps({"kind": "qa"} | row) + "\n" for row in rows(2)).encode()
CARD = b'name = "rows"\nversion = 1\nkind = "qa"\n[data]\ntest = "d.jsonl"\n[human]\naspects = ["q"]\nmain = "q"\ngood = 0.5\n'
SUITE = (
    b'name = "mine"\ntasks = ["news-mini"]\nrewards = ["length", { use = "rouge-l", options = { stemmer = true } }]\n'
    b'metrics = ["accuracy"]\nseeds = [1, 2]\nlimit = 3\nunscored = "wrong"\ntimeout = 1.5\nstudies = ["score"]\n'
)
ODD = [b"null", b"nan", b"-inf", b"1e999", b"[]", b"{}", b'""', b"true", b"9" * 30, b'"\\ud800"', b"\xff", b"\0", b"\r", b"[" * 200,
       b"-1", b'"../x.jsonl"', b"\xef\xbb\xbf", b"1979-05-27", b"\n\n", b"="]  # fmt: skip
FOUND = plugins.load()


def read_lines(path: Path) -> None:
    list(tasks.read(tasks.open_task(path), warn=lambda _: None))


def read_suite(path: Path) -> None:
    suite.plan(suite.read(path), FOUND, Overrides(), base=path.parent, where=str(path))


READERS = {
    "lines": ("rows.jsonl", LINES, read_lines),
    "gzip": ("rows.jsonl.gz", gzip.compress(LINES, mtime=0), read_lines),
    "card": ("task.toml", CARD, load_card),
    "suite": ("suite.toml", SUITE, read_suite),
}


@st.composite
def changed(draw: st.DrawFn, body: bytes) -> bytes:
    """Return a valid file with one to three changes."""
    for _ in range(draw(st.integers(1, 3))):
        start = draw(st.integers(0, len(body)))
        end = min(len(body), start + draw(st.integers(0, 12)))
        what = draw(st.sampled_from(["put", "cut", "end", "splice"]))
        middle = {"put": draw(st.sampled_from(ODD) | st.binary(max_size=3)), "splice": body[: draw(st.integers(0, 40))]}
        body = body[:start] if what == "end" else body[:start] + middle.get(what, b"") + body[end:]
    return body


def outcome(reader: str, body: bytes, folder: Path) -> None:
    """Read a file; an error must be of the input, and name the file unless it is about a name in it."""
    name, _, read = READERS[reader]
    path = folder / name
    path.write_bytes(body)
    try:
        read(path)
    except InputError as error:
        code, said = error.exit_code, str(error)
    else:
        return
    assert code == 2
    assert reader == "suite" or str(path.parent) in said


@pytest.mark.parametrize("reader", READERS)
def test_a_changed_file_is_read_or_refused(reader, tmp_path):
    @settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
    @given(changed(READERS[reader][1]))
    def check(body):
        outcome(reader, body, tmp_path)

    check()


@pytest.mark.parametrize(
    "path",
    sorted(path for name in READERS for path in CORPUS.glob(f"{name}/*")),
    ids=lambda path: f"{path.parent.name}-{path.name}",
)
def test_the_corpus_is_read_or_refused(path, tmp_path):
    outcome(path.parent.name, path.read_bytes(), tmp_path)
