"""Bad inputs 51 to 70: CSV and Parquet files as a task's rows."""

from __future__ import annotations

import json
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from bad_input import BadInput, command

ROW = {"prompt": "a question", "chosen": "a long answer", "rejected": "an answer"}
HEAD = b"prompt,chosen,rejected\n"


def text(content: bytes) -> Callable[[Path], list[str]]:
    """Return what writes a CSV file and names it."""

    def make(folder: Path) -> list[str]:
        (folder / "rows.csv").write_bytes(content)
        return command("rows.csv")

    return make


def table(columns: dict[str, object], **options: object) -> Callable[[Path], list[str]]:
    """Return what writes a Parquet file of columns beside those of a right preference, and names it."""

    def make(folder: Path) -> list[str]:
        whole = {key: [value] for key, value in ROW.items()} | columns
        pq.write_table(pa.table(whole), folder / "rows.parquet", **options)
        return command("rows.parquet")

    return make


def changed(change: Callable[[bytes], bytes]) -> Callable[[Path], list[str]]:
    """Return what writes a right Parquet file, then changes its bytes."""

    def make(folder: Path) -> list[str]:
        words = table({"prompt": ["a question, and more of it"]})(folder)
        path = folder / "rows.parquet"
        path.write_bytes(change(path.read_bytes()))
        return words

    return make


def flipped(data: bytes) -> bytes:
    """Return the bytes with one bit of the first page turned over."""
    return data[:12] + bytes([data[12] ^ 0x40]) + data[13:]


def doubled(folder: Path) -> list[str]:
    """Write two columns of one name, which a dictionary cannot hold."""
    names = [*ROW, "chosen"]
    pq.write_table(pa.table([pa.array(["x"])] * len(names), names=names), folder / "rows.parquet")
    return command("rows.parquet")


def empty(folder: Path) -> list[str]:
    """Write a Parquet file without row groups."""
    pq.ParquetWriter(folder / "rows.parquet", pa.schema([(name, pa.string()) for name in ROW])).close()
    return command("rows.parquet")


def many(folder: Path) -> list[str]:
    """Write twenty million rows in a few kilobytes."""
    column = pa.DictionaryArray.from_arrays(
        pa.array(np.zeros(1_000_000, np.int32)), pa.array(["a text of some length"])
    )
    group = pa.table(dict.fromkeys(ROW, column))
    with pq.ParquetWriter(folder / "rows.parquet", group.schema) as writer:
        for _ in range(20):
            writer.write_table(group)
    return command("rows.parquet")


def locked(folder: Path) -> list[str]:
    """Write a file as an encrypted footer marks it."""
    table({})(folder)
    data = (folder / "rows.parquet").read_bytes()
    (folder / "rows.parquet").write_bytes(b"PARE" + data[4:-4] + b"PARE")
    return command("rows.parquet")


ODD = b"\n".join([b"id,prompt,chosen,rejected", b"001,1e5,NA,None", b"1,TRUE,null,-", b""])
LATIN = pa.Array.from_buffers(pa.string(), 1, [None, pa.py_buffer(b"\0\0\0\0\1\0\0\0"), pa.py_buffer(b"\xff")])
NESTED = json.dumps([{"text": "t", "human": {"q": 1e400}}]).replace('"', '""').encode()
CASES = [
    BadInput("51", "001, 1e5, NA, None, TRUE in CSV stay text", text(ODD), "", 0),
    BadInput("52", "a quote that is never closed", text(HEAD + b'a,b,c\n"d,e,f\ng,h,i\n'), r"rows\.csv:3: a quote is opened and never closed"),
    BadInput("53", "rows of other lengths than the header", text(HEAD + b"a,b\nc,d,e,f\n"), r"rows\.csv:2: 2 cells, expected 3(?s:.*)rows\.csv:3: 4 cells, expected 3"),
    BadInput("54a", "two columns of one name", text(b"prompt,chosen,chosen\na,b,c\n"), r'rows\.csv:1: two columns have the name "chosen"'),
    BadInput("54b", "a column without a name", text(b"prompt,chosen,\na,b,c\n"), r"rows\.csv:1: column 3 has no name"),
    BadInput("54c", "an empty first line", text(b"\nprompt,chosen,rejected\n"), r"rows\.csv:1: the first line is empty"),
    BadInput("54d", "a header without rows", text(HEAD), r"rows\.csv: 0 rows"),
    BadInput("54e", "an empty CSV file", text(b""), r"rows\.csv: 0 rows"),
    BadInput("55a", "a cell of 200,000 characters", text(HEAD + b"a,b," + b"x" * 200_000 + b"\n"), "", 0),
    BadInput("55b", "a cell of 17 MiB", text(HEAD + b'a,b,"' + b"x" * (17 * 2**20) + b'"\n'), r"rows\.csv:2: the record is longer than 16 MiB"),
    BadInput("56a", "semicolons between the cells", text(b"prompt;chosen;rejected\na;b;c\n"), r'rows\.csv:1: one column(?s:.*)end at ";": write commas'),
    BadInput("56b", "tabs between the cells", text(b"prompt\tchosen\trejected\na\tb\tc\n"), r"rows\.csv:1: one column(?s:.*)end at a tab: write commas"),
    BadInput("57", "Latin-1 in CSV", text(HEAD + "schön,b,c\n".encode("latin-1")), r"rows\.csv:2: byte 0xf6 at offset 26 of the file is not UTF-8"),
    BadInput("58a", "a NUL byte in CSV", text(HEAD + b"a\0,b,c\n"), r"rows\.csv:2: a NUL byte"),
    BadInput("58b", "a lone carriage return in CSV", text(HEAD + b"a,b\rc,d\n"), r"rows\.csv:2: a carriage return stands alone"),
    BadInput("58c", "UTF-16 in CSV", text("prompt,chosen,rejected\n".encode("utf-16")), r"rows\.csv:1: the file looks like UTF-16 text"),
    BadInput("58d", "JSON that is none in a cell of CSV", text(b'prompt,candidates\na,"[{"\n'), r'rows\.csv:2: "candidates" is "\[\{": not valid JSON'),
    BadInput("58e", "a number beyond all range in a cell of CSV", text(b'id,prompt,candidates\n1,a,"' + NESTED.replace(b"Infinity", b"1e400") + b'"\n'), r"rows\.csv:2: .*1e400 is out of range"),
    BadInput("60a", "a Parquet file cut by a byte", changed(lambda data: data[:-1]), r"rows\.parquet: not a whole Parquet file"),
    BadInput("60b", "half a Parquet file", changed(lambda data: data[: len(data) // 2]), r"rows\.parquet: not a whole Parquet file"),
    BadInput("61", "a footer of 2^31 - 1 bytes", changed(lambda data: data[:-8] + b"\xff\xff\xff\x7fPAR1"), r"rows\.parquet: not a whole Parquet file"),
    BadInput("62", "PAR1 and nothing else", changed(lambda _: b"PAR1"), r"rows\.parquet: not a whole Parquet file"),
    BadInput("63", "a bit of a page turned over", changed(flipped), r"rows\.parquet"),
    BadInput("64a", "a cell of 50 MB in a short file", table({"prompt": ["x" * 50_000_000]}), r"rows\.parquet:1: the row is longer than 16 MiB"),
    BadInput("64b", "twenty million rows in a short file", many, r"rows\.parquet: unpacks to more than"),
    BadInput("65a", "timestamps", table({"day": pa.array([0], pa.timestamp("s"))}), r'rows\.parquet: the column "day" is of type timestamp\[\w+\], which no JSON value has'),
    BadInput("65b", "decimals", table({"price": [Decimal("1.50")]}), r'the column "price" is of type decimal128\(3, 2\)(?s:.*)cast the column to double'),
    BadInput("65c", "dictionaries and long strings", table({"prompt": pa.array(["p"]).dictionary_encode(), "chosen": pa.array(["c"], pa.large_string())}), "", 0),
    BadInput("65d", "a text where a list belongs", table({"references": ["one"]}), r'rows\.parquet:1: "references" is "one": not valid JSON'),
    BadInput("65e", "NaN in a nested column", table({"meta": [{"x": float("nan")}]}), r'rows\.parquet:1: "meta\.x" is nan, expected a finite number'),
    BadInput("66a", "bytes that are no UTF-8 as text", table({"prompt": LATIN}), r'rows\.parquet: the column "prompt" holds bytes that are not UTF-8'),
    BadInput("66b", "a column of bytes", table({"prompt": [b"\xff"]}), r'rows\.parquet: the column "prompt" is of type binary'),
    BadInput("67", "two columns of one name in Parquet", doubled, r'rows\.parquet: two columns have the name "chosen"'),
    BadInput("68", "no row groups", empty, r"rows\.parquet: 0 rows"),
    BadInput("69", "a column of nulls only", table({"rejected": pa.nulls(1)}), r"rows\.parquet:1: "),
    BadInput("70", "an encrypted footer", locked, r"rows\.parquet: (the file is encrypted|not a whole Parquet file)"),
]  # fmt: skip
