"""Strict JSON lines: what is read, what is refused, and how the refusal is said."""

import contextlib
import io
import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench import jsonl
from rmbench.errors import InputError, InputErrors
from rmbench.jsonl import read_objects


def rows(data: bytes):
    return list(read_objects(io.BytesIO(data), "f.jsonl"))


def refused(data: bytes) -> InputError:
    with pytest.raises(InputError) as caught:
        rows(data)
    return caught.value


def test_reads_objects_with_line_numbers():
    assert rows(b'{"a": 1}\n\n  \t\n{"a": [1.5, null, true]}\n') == [(1, {"a": 1}), (4, {"a": [1.5, None, True]})]


@pytest.mark.parametrize(
    "data", [b'\xef\xbb\xbf{"a": 1}\n', b'{"a": 1}\r\n', b'{"a": 1}', b' \t{"a": 1} \n\r\n', b'{"a": 1}\n\n\n']
)
def test_accepts_bom_crlf_blank_lines_and_no_last_newline(data):
    assert rows(data) == [(1, {"a": 1})]


def test_no_bytes_are_no_rows():
    assert rows(b"") == rows(b"\n\n") == []


@pytest.mark.parametrize("separator", ["\u2028", "\u2029", "\u0085", "\x7f", "\u001c"])
def test_unicode_line_separators_do_not_cut_a_row(separator):
    text = f"one{separator}two"
    raw = json.dumps({"a": text}, ensure_ascii=ord(separator) < 0x20)
    assert rows(raw.encode() + b"\n") == [(1, {"a": text})]


def test_the_64_bit_range_is_accepted():
    assert rows(b'{"a": -9223372036854775808, "b": 18446744073709551615}')[0][1] == {"a": -(2**63), "b": 2**64 - 1}


def test_a_surrogate_pair_is_a_character():
    assert rows(rb'{"a": "\ud83d\ude00", "b": "\\ud800"}')[0][1] == {"a": "\U0001f600", "b": "\\ud800"}


CASES = {
    "nan": (b'{"a": NaN}', "f.jsonl:1: NaN is not JSON", "leave out"),
    "infinity": (b'{"a": [-Infinity]}', "f.jsonl:1: -Infinity is not JSON", "leave out"),
    "1e999": (b'\n{"a": 1e999}', "f.jsonl:2: the number 1e999 is out of range", "finite"),
    "2^64": (
        b'{"a": 18446744073709551616}',
        "f.jsonl:1: the number 18446744073709551616 does not fit 64 bits",
        "string",
    ),
    "-2^63-1": (b'{"a": -9223372036854775809}', "does not fit 64 bits", "string"),
    "5000 digits": (b'{"a": ' + b"9" * 5000 + b"}", f"the number {'9' * 40}... does not fit 64 bits", "string"),
    "twice": (b'{"a": {"k": 1, "k": 2}}', 'f.jsonl:1: the key "k" stands twice in an object', "keep one"),
    "surrogate value": (rb'{"a": {"b": ["\ud800"]}}', "f.jsonl:1: the lone surrogate \\ud800", "pair"),
    "surrogate key": (rb'{"\uDFFF": 1}', "f.jsonl:1: the lone surrogate \\udfff", "pair"),
    "raw surrogate": (b'{"a": "\xed\xa0\x80"}', "f.jsonl:1:8: byte 0xed at offset 7 of the file is not UTF-8", "UTF-8"),
    "bad utf-8": (
        b'{"a": 1}\n{"a": "\xff"}\n',
        "f.jsonl:2:8: byte 0xff at offset 16 of the file is not UTF-8",
        "UTF-8",
    ),
    "nul": (b'{"a": "\0"}', "f.jsonl:1:8: a NUL byte", "UTF-8"),
    "lone cr": (b'{"a": 1}\r{"a": 2}\r', "f.jsonl:1:9: a carriage return stands alone", r"\n"),
    "control": (b'{"a": "\x01"}\n', "f.jsonl:1:8: not valid JSON: invalid control character", "one whole JSON object"),
    "two": (b'{"a": 1} {"a": 2}\n', "f.jsonl:1:10: not valid JSON: extra data", "one whole JSON object on each line"),
    "cut": (b'{"a": 1}\n{"a": "tex', "f.jsonl:2:7: not valid JSON: unterminated string", "the file seems cut"),
    "array": (b'[\n{"a": 1}\n]\n', "f.jsonl:1: a list at the top, expected an object", "JSON array"),
    "array later": (b'{"a": 1}\n[1]\n', "f.jsonl:2: a list at the top, expected an object", "JSON array"),
    "scalar": (b"3\n", "f.jsonl:1: a number at the top, expected an object", "one whole JSON object"),
    "null": (b"null\n", "f.jsonl:1: null at the top, expected an object", "one whole JSON object"),
    "deep list": (b'{"a": ' + b"[" * 100_000, "f.jsonl:1: nested deeper than 64 levels", "flatten"),
    "deep object": (b'{"a":' * 65 + b"1" + b"}" * 65, "f.jsonl:1: nested deeper than 64 levels", "flatten"),
    "100k brackets": (b"[" * 100_000, "f.jsonl:1: a list at the top", "JSON array"),
    "utf-16": (
        ("{}\n" * 30).encode("utf-16"),
        "f.jsonl:1: the file looks like UTF-16 text, expected JSON lines",
        "convert",
    ),
    "gzip": (b"\x1f\x8b\x08\n\n", "f.jsonl:1: the file looks like gzip data", "gunzip"),
    "parquet": (b"PAR1\n\n", "f.jsonl:1: the file looks like a Parquet file", "convert"),
}


@pytest.mark.parametrize("name", CASES)
def test_refuses(name):
    data, what, advice = CASES[name]
    error = refused(data)
    assert type(error) is not InputErrors
    assert what in str(error)
    assert advice in error.help
    assert error.exit_code == 2


def test_depth_64_is_accepted():
    assert len(rows(b'{"a":' * 64 + b"1" + b"}" * 64)) == 1


def test_many_brackets_are_not_depth():
    assert len(rows(json.dumps({"a": [[i] for i in range(500)], "b": "[" * 500}).encode())) == 1


def test_problems_are_listed_together_and_good_rows_still_come():
    stream = io.BytesIO(b'{"a": NaN}\n{"a": 1}\n{"a"\n')
    reader = read_objects(stream, "f.jsonl")
    assert next(reader) == (2, {"a": 1})
    with pytest.raises(InputErrors) as caught:
        next(reader)
    assert [error.where for error in caught.value.errors] == ["f.jsonl:1", "f.jsonl:3:5"]


def test_reading_stops_at_the_twentieth_problem():
    stream = io.BytesIO(b"{\n" * 1000)
    with pytest.raises(InputErrors) as caught:
        list(read_objects(stream, "f.jsonl"))
    assert len(caught.value.errors) == 20
    assert stream.tell() < 100


def test_a_line_at_the_cap_is_read_and_a_longer_one_is_refused_without_holding_it():
    class Endless(io.RawIOBase):
        given = 0

        def readable(self):
            return True

        def readinto(self, buffer):
            buffer[:] = b"x" * len(buffer)
            self.given += len(buffer)
            return len(buffer)

    fits = b'{"a": "' + b"x" * (jsonl.LINE_CAP - 9) + b'"}'
    assert len(fits) == jsonl.LINE_CAP
    assert len(rows(fits + b"\r\n")) == 1
    assert "f.jsonl:1: the line is longer than 16 MiB" in str(refused(fits + b" \n"))
    endless = Endless()
    with pytest.raises(InputError, match="longer than 16 MiB"):
        list(read_objects(io.BufferedReader(endless), "f.jsonl"))
    assert endless.given < 2 * jsonl.LINE_CAP


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=15,
)  # fmt: skip


@given(st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=4), st.booleans())
@settings(max_examples=80, deadline=None)
def test_what_json_writes_is_read_back(objects, ascii_only):
    data = "".join(json.dumps(each, ensure_ascii=ascii_only) + "\n" for each in objects).encode()
    assert [record for _, record in rows(data)] == objects


@given(st.lists(st.binary(max_size=20) | st.sampled_from([b'{"a":', b"1", b"}", b"\n", b"[", b'"\\ud800"', b"NaN"])))
@settings(max_examples=150, deadline=None)
def test_random_bytes_give_objects_or_input_errors(parts):
    with contextlib.suppress(InputError):
        assert all(isinstance(record, dict) for _, record in rows(b"".join(parts)))
