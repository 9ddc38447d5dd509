"""Bad inputs 1 to 36: JSON lines, plain and packed by gzip, as a task's rows and as the rows of `rmbench score`."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable
from pathlib import Path

from bad_input import BadInput, command

GOOD = {"prompt": "a question", "chosen": "a long answer", "rejected": "an answer"}
DEEP = 100_000
GIB = 2**30


def row(**changes: object) -> bytes:
    """Return a right preference as a line, with changes; a field that becomes ... is left out."""
    return json.dumps({key: value for key, value in (GOOD | changes).items() if value is not ...}).encode() + b"\n"


def answer(**changes: object) -> bytes:
    """Return a right row for `rmbench score` as a line, with changes."""
    return json.dumps({"prompt": "a question", "response": "an answer"} | changes).encode() + b"\n"


ROW, ANSWER = row(), answer()


def bare(content: bytes, name: str = "rows.jsonl") -> Callable[[Path], list[str]]:
    """Return what writes a bare file and names it."""

    def make(folder: Path) -> list[str]:
        (folder / name).write_bytes(content)
        return command(name)

    return make


def scored(content: bytes) -> Callable[[Path], list[str]]:
    """Return what writes the input of `rmbench score` and names it."""

    def make(folder: Path) -> list[str]:
        (folder / "answers.jsonl").write_bytes(content)
        return ["score", "answers.jsonl", "-r", "length"]

    return make


def case(number: str, name: str, content: bytes, says: str, code: int = 2) -> BadInput:
    """Return a case of one bare file."""
    return BadInput(number, name, bare(content), says, code)


def accepted(number: str, name: str, content: bytes, says: str = "") -> BadInput:
    """Return a case of rows that are odd but right: `rmbench score` reads them as a run does, and is sooner done."""
    return BadInput(number, name, scored(content), says, 0)


def run_through(number: str, name: str, content: bytes, says: str) -> BadInput:
    """Return a case of a bare file that a run takes to its end."""
    return BadInput(number, name, bare(content), says, 0)


def raw(field: bytes) -> bytes:
    """Return a right preference with further text of JSON as the value of ``meta.x``."""
    return ROW[:-2] + b', "meta": {"x": ' + field + b"}}\n"


def pipe(folder: Path) -> list[str]:
    os.mkfifo(folder / "rows.jsonl")
    return command("rows.jsonl")


def inner_folder(folder: Path) -> list[str]:
    (folder / "rows.jsonl").mkdir()
    return command("rows.jsonl")


def loop(folder: Path) -> list[str]:
    (folder / "rows.jsonl").symlink_to("rows.jsonl")
    return command("rows.jsonl")


def device(folder: Path) -> list[str]:
    (folder / "rows.jsonl").symlink_to("/dev/zero")
    return command("rows.jsonl")


def sparse(folder: Path) -> list[str]:
    """A first row, then one line of 2 GiB that takes no room on the disk."""
    with (folder / "rows.jsonl").open("wb") as file:
        file.write(ROW + b'{"prompt": "')
        file.truncate(2 * GIB)
    return command("rows.jsonl")


def bomb(unit: bytes) -> Callable[[Path], list[str]]:
    """Return what writes 10 GiB of a repeated text as gzip, 10 MB long, made of one compressed piece."""

    def make(folder: Path) -> list[str]:
        piece = unit * (2**24 // len(unit))
        packer = zlib.compressobj(9, zlib.DEFLATED, -15)
        body = packer.compress(piece) + packer.flush(zlib.Z_FULL_FLUSH)
        with (folder / "rows.jsonl.gz").open("wb") as file:
            file.write(gzip.compress(b"")[:10])
            file.writelines([body] * (10 * GIB // len(piece)))
        return command("rows.jsonl.gz")

    return make


def packed(content: bytes) -> Callable[[Path], list[str]]:
    """Return what writes a file named as gzip."""
    return bare(content, "rows.jsonl.gz")


AT = r"^rmbench: error: rows\.jsonl"
SCORE = r"^rmbench: error: answers\.jsonl"
ZIPPED = gzip.compress(ROW * 40, mtime=0)
CASES = [
    accepted("1", "a byte order mark before the first row", b"\xef\xbb\xbf" + ANSWER),
    case("2a", "UTF-16 with a mark", ROW.decode().encode("utf-16"), AT + r":1: the file looks like UTF-16 text, expected"),
    case("2b", "UTF-16 without a mark", ROW.decode().encode("utf-16-le"), AT + r":1(:\d+)?: .*UTF-16"),
    case("3", "a byte that is no UTF-8", ROW + row(prompt="A").replace(b"A", b"\xff"),
         AT + r":2:\d+: byte 0xff at offset \d+ of the file is not UTF-8"),
    case("4", "the last line cut", ROW + ROW[:-20], AT + r":2:\d+: not valid JSON: .*\n  help: .*cut"),
    accepted("5", "the last line without its end", ANSWER + answer(prompt="q")[:-1]),
    case("6", "an empty file", b"", AT + r": 0 rows, expected at least one"),
    case("6b", "only blank lines", b"\n \n\t\n", AT + r": 0 rows, expected at least one"),
    accepted("7", "blank lines between the rows", ANSWER + b"\n  \n" + ANSWER, r"blank lines are left out: [12]"),
    accepted("8", "lines that end in CRLF", ANSWER.replace(b"\n", b"\r\n") * 2),
    case("9", "lines that end in a lone CR", ROW.replace(b"\n", b"\r") * 2, AT + r":1:\d+: a carriage return stands alone"),
    case("10a", "NUL bytes in a row", ROW + ROW.replace(b"long", b"l\0ng"), AT + r":2:\d+: a NUL byte, expected text"),
    case("10b", "NUL bytes after the last row, as after a crash", ROW + b"\0" * 4096, AT + r":2:1: a NUL byte"),
    *(case(f"11{letter}", f"the literal {word}", raw(word.encode()), AT + rf":1: {word} is not JSON, expected")
      for letter, word in zip("abc", ("NaN", "Infinity", "-Infinity"), strict=True)),
    case("12", "the number 1e999", raw(b"1e999"), AT + r":1: the number 1e999 is out of range"),
    case("13", "a key twice in an object", ROW[:-2] + b', "prompt": "other"}\n', AT + r':1(:\d+)?: the key "prompt" stands twice'),
    case("14", "an id twice", row(id="one") + row(id="two") + row(id="one"), AT + r':3: the id "one" stands in line 1 too'),
    case("15", "an id that is a number on one line and text on another", row(id="1") + row(id=1),
         AT + r':2: the id "1" stands in line 1 too'),
    case("16a", "a row without its prompt", ROW + row(prompt=...), AT + r':2: .*"prompt".* is missing|:2: .*prompt'),
    case("16b", "a row without the rejected answer", row(rejected=...), AT + r':1: .*"rejected"'),
    case("16c", "an empty object", b"{}\n", AT + r':1: neither "prompt" nor "messages"'),
    accepted("17a", "a field that is not known", answer(extra_thing=3), r'"extra_thing" is not known'),
    case("17b", "a misspelt field", row(promt="x"), AT + r':1: the field "promt" is not known\n  help: did you mean "prompt"'),
    *(case(f"18{letter}", f"{json.dumps(value)[:30]} as the chosen answer", ROW + row(chosen=value),
           AT + rf':2(:\d+)?: "chosen" is {what}')
      for letter, value, what in (("a", None, "null"), ("b", 3, r"a number \(3\), expected a string"),
                                  ("c", True, r"a boolean"), ("d", {"text": "x"}, "an object"))),
    case("18e", "a list of numbers as references", row(references=[1, 2]), AT + r':1: "references\[0\]" is a number \(1\)'),
    *(case(f"19{letter}", f"{text} at the top", ROW + text.encode() + b"\n", AT + rf":2(:\d+)?: {what} at the top")
      for letter, text, what in (("a", "[1, 2]", "a list"), ("b", "3", "a number"), ("c", '"x"', "a string"),
                                 ("d", "null", "null"), ("e", "true", "a boolean"))),
    case("20a", "lists nested 100,000 deep", raw(b"[" * DEEP + b"]" * DEEP), AT + r":1: nested deeper than 64 levels"),
    case("20b", "objects nested 100,000 deep", raw(b'{"a":' * DEEP + b"1" + b"}" * DEEP), AT + r":1: nested deeper than 64 levels"),
    case("20c", "lists opened 100,000 times and never closed", raw(b"[" * DEEP), AT + r":1(:\d+)?: "),
    BadInput("21", "one line of 2 GiB", sparse, AT + r":2(:\d+)?: the line is longer than 16 MiB"),
    case("21b", "a line of 17 MiB", row(chosen="a" * (17 * 2**20)), AT + r":1: the line is longer than 16 MiB"),
    case("22a", "the whole number 2^64", raw(b"18446744073709551616"), AT + r":1: the number 18446744073709551616 does not fit 64 bits"),
    case("22b", "a whole number of 5,000 digits", raw(b"9" * 5000), AT + r":1: the number 9{40}\.\.\. does not fit 64 bits"),
    case("23", "a lone surrogate", row(prompt="A").replace(b"A", b"\\ud800"), AT + r":1(:\d+)?: the lone surrogate \\ud800"),
    accepted("24", "U+2028 and U+0085 inside of strings",
             json.dumps({"response": "r"} | {"prompt": "a\u2028b\u0085c"}, ensure_ascii=False).encode() + b"\n" + ANSWER),
    run_through("25", "chosen equals rejected", ROW + row(chosen="same", rejected="same"), r"in 1 rows? chosen equals rejected: a tie"),
    run_through("26", "empty answers: told where a task's scores are ties", ROW + row(chosen="") + row(rejected=""), r"2 answers? .*empty|empty"),
    case("27a", "a human score of text", b'{"prompt": "p", "candidates": [{"text": "t", "human": {"quality": "1"}}]}\n',
         AT + r':1: "candidates\[0\]\.human\.quality" is a string \("1"\), expected a finite number\n  help: write it without quotes'),
    case("27b", "a human score of true", b'{"prompt": "p", "candidates": [{"text": "t", "human": {"quality": true}}]}\n',
         AT + r':1: "candidates\[0\]\.human\.quality" is a boolean \(true\), expected a finite number'),
    case("27c", "a human score of null", b'{"prompt": "p", "candidates": [{"text": "t", "human": {"quality": null}}]}\n',
         AT + r':1: "candidates\[0\]\.human\.quality" is null, expected a finite number'),
    case("27d", "a kind outside of the set", row(kind="dialog"), AT + r':1: "kind" is "dialog", expected a kind\n  help: did you mean dialogue'),
    *(case(f"28{letter}", f"a pair named {good} and {bad}", row(chosen=..., rejected=..., **{good: "a", bad: "b"}),
           AT + rf':1: .*"{good}".*\n  help: .*chosen')
      for letter, good, bad in (("a", "accepted", "rejected_"), ("b", "good", "bad"), ("c", "winner", "loser"))),
    case("29", "a JSON array in a file named .jsonl", json.dumps([GOOD, GOOD], indent=1).encode(), AT + r":1(:\d+)?: a list at the top, .*\n  help: this looks like a JSON array"),
    case("29b", "one object over several lines", json.dumps(GOOD, indent=1).encode(), AT + r":1(:\d+)?: not valid JSON(?s:.*)\n  help: write one whole JSON object on each line"),
    BadInput("30a", "a named pipe", pipe, AT + r": a named pipe, expected a regular file"),
    BadInput("30b", "a folder", inner_folder, AT + r": a folder without task\.toml, expected a task folder or a data file"),
    BadInput("30c", "a loop of links", loop, "no task or file .*rows.jsonl"),
    BadInput("30d", "a link to a device", device, r"/dev/zero: unknown file type"),
    BadInput("30e", "no file at all", lambda _: command("rows.jsonl"), "no task or file .*rows.jsonl"),
    BadInput("32a", "10 GiB of blank lines packed into 10 MB", bomb(b" \n"), AT + r"\.gz:100001: more than 100,000 blank lines"),
    BadInput("32c", "10 GiB of right rows packed into 10 MB", bomb(row(chosen="a" * 2**16)), AT + r"\.gz: unpacks to more than 200 times its size"),
    BadInput("32b", "10 GiB of one line packed into 10 MB", bomb(b"  "), AT + r"\.gz:1: the line is longer than 16 MiB"),
    BadInput("33a", "gzip cut in its body", packed(ZIPPED[: len(ZIPPED) // 2]), AT + r"\.gz: the gzip file ends too early"),
    BadInput("33b", "gzip cut in its header", packed(ZIPPED[:7]), AT + r"\.gz: the gzip file ends too early"),
    BadInput("33c", "gzip cut in its checksum", packed(ZIPPED[:-3]), AT + r"\.gz: the gzip file ends too early"),
    BadInput("33d", "gzip with a wrong checksum", packed(ZIPPED[:-8] + b"\0\0\0\0" + ZIPPED[-4:]), AT + r"\.gz: not a whole gzip file"),
    BadInput("34", "text behind the gzip data", packed(ZIPPED + b"more"), AT + r"\.gz: not a whole gzip file"),
    BadInput("35", "two gzip members", packed(ZIPPED + gzip.compress(ROW)), "", 0),
    BadInput("36a", "plain text named .jsonl.gz", packed(ROW), AT + r"\.gz: not gzip data\n  help: .*name it \.jsonl"),
    case("36b", "gzip named .jsonl", ZIPPED, AT + r":1: the file looks like gzip data, expected JSON lines in UTF-8\n  help: .*\.jsonl\.gz"),
    BadInput("36c", "zstd", bare(b"\x28\xb5\x2f\xfd" + ROW, "rows.jsonl.zst"), AT + r'\.zst: unknown file type "\.zst", expected'),
    case("many", "30 wrong rows: the first 20 are told", ROW + b"".join(row(chosen=i) for i in range(30)),
         r"\A(rmbench: error: rows\.jsonl:\d+: .*\n){20}  help: .*\n\Z"),
    BadInput("score-a", "score: a row without a response", scored(b'{"prompt": "p"}\n'), SCORE + r':1: "response" is missing'),
    BadInput("score-b", "score: a response of a number", scored(b'{"prompt": "p", "response": 3}\n'), SCORE + r':1: "response" is a number \(3\), expected a string'),
    BadInput("score-c", "score: a misspelt response", scored(b'{"prompt": "p", "respone": "x"}\n'), SCORE + r':1: the field "respone" is not known\n  help: did you mean "response"'),
    BadInput("score-d", "score: NaN", scored(b'{"prompt": "p", "response": "x", "meta": NaN}\n'), SCORE + r":1: NaN is not JSON"),
    BadInput("score-e", "score: an empty file", scored(b""), "", 0),
    BadInput("score-f", "score: no file", lambda _: ["score", "none.jsonl", "-r", "length"], "none.jsonl"),
    BadInput("score-g", "score: a folder", lambda _: ["score", ".", "-r", "length"], r"\.: is no file\n  help: give a file"),
    BadInput("score-h", "score: a reward that is misspelt", lambda folder: [*scored(b'{"prompt": "p", "response": "x"}\n')(folder)[:-1], "lenght"], "no reward.*lenght.*\n  help: did you mean length"),
]  # fmt: skip
