"""JSON lines packed by gzip: the same rows, ids and numbers as unpacked; damage and bombs in words."""

import gzip
import json
import tracemalloc

import pytest
from fakes import rows
from hypothesis import given, settings
from hypothesis import strategies as st

import rmbench
from rmbench import datafile, tasks
from rmbench.errors import InputError

ROWS = [{"kind": "qa"} | {key: value for key, value in row.items() if key != "id"} for row in rows(6)]
TEXT = "".join(json.dumps(row) + "\n" for row in ROWS).encode()


def packed(folder, content=TEXT, name="mine.jsonl.gz"):
    path = folder / name
    path.write_bytes(gzip.compress(content, mtime=0))
    return path


def read(path):
    task = tasks.open_task(path)
    return task, list(tasks.read(task))


def test_rows_ids_and_the_name_are_those_of_the_plain_file(tmp_path):
    (tmp_path / "mine.jsonl").write_bytes(TEXT)
    plain, packed_one = read(tmp_path / "mine.jsonl"), read(packed(tmp_path))
    assert packed_one[1] == plain[1]
    assert (packed_one[0].name, packed_one[1][0].id) == ("mine", "mine-1")


def test_numbers_are_those_of_the_plain_file(tmp_path):
    numbers = []
    for name, content in (("mine.jsonl", TEXT), ("mine.jsonl.gz", gzip.compress(TEXT))):
        (tmp_path / name).write_bytes(content)
        run = rmbench.run([str(tmp_path / name)], rewards=["rouge-l"], out=tmp_path / name.replace(".", "-"))
        numbers.append([(row.metric, row.system, row.reward, row.value, row.ci) for row in run.rows])
    assert numbers[0] == numbers[1]
    assert len(numbers[0]) > 10


def test_a_wrong_row_is_named_by_its_line(tmp_path):
    with pytest.raises(InputError, match=r"mine\.jsonl\.gz:7"):
        read(packed(tmp_path, TEXT + b'{"prompt": "p", "references": 3}\n'))


@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda body: body[:-9], "the gzip file ends too early"),
        (lambda body: body[:12], "the gzip file ends too early"),
        (lambda body: body[:-8] + b"\0\0\0\0" + body[-4:], "not a whole gzip file .*CRC"),
        (lambda body: body + b"more", "not a whole gzip file"),
        (lambda _: TEXT, "not gzip data"),
        (lambda _: b"", "0 rows"),
        (lambda _: gzip.compress(b""), "0 rows"),
    ],
)
def test_damage_is_said(tmp_path, change, what):
    path = packed(tmp_path)
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(InputError, match=what):
        read(path)


def test_two_members_are_one_file(tmp_path):
    path = packed(tmp_path, TEXT)
    path.write_bytes(path.read_bytes() + gzip.compress(TEXT))
    assert len(read(path)[1]) == 2 * len(ROWS)


def test_a_bomb_is_refused_in_little_memory(tmp_path, monkeypatch):
    monkeypatch.setattr(datafile, "FREE", 2**20)
    path = packed(tmp_path, (b" " * 2**12 + b"\n") * 2**12)
    tracemalloc.start()
    with pytest.raises(InputError, match=r"unpacks to more than 200 times its size"):
        read(path)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 8 * 2**20


def test_a_packed_line_without_an_end_is_refused(tmp_path):
    with pytest.raises(InputError, match="longer than 16 MiB"):
        read(packed(tmp_path, b'{"prompt": "' + b"a" * (17 * 2**20) + b'"}\n'))


@settings(max_examples=200, deadline=None)
@given(st.data())
def test_flipped_bytes_are_an_error_or_the_same_rows(tmp_path_factory, data):
    path = packed(tmp_path_factory.mktemp("flipped"))
    body = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        body[data.draw(st.integers(0, len(body) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(bytes(body))
    try:
        found = read(path)[1]
    except InputError:
        return
    assert [sample.prompt for sample in found] == [row["prompt"] for row in ROWS]
