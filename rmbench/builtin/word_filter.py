"""The word filter of moderation: how often a response hits a list of terms and patterns, negated."""

import re
import unicodedata
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from rmbench import Batch, Reward
from rmbench.builtin.options import flag
from rmbench.errors import InputError
from rmbench.kernel.terms import Matcher, folded, pattern, plain

Score = Callable[[Batch], dict[str, list[float | None]]]

CATEGORY = re.compile(r"\[(.*)\]")
NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
MOST = 4_000_000  # bytes of a file
SHOWN = 20  # problems
FORM = "one term or pattern on a line, [category] above those of a category, # before a comment"


@dataclass(frozen=True, slots=True)
class Entry:
    """A line of the file: the pattern (see ``kernel.terms``), and the category that it stands in, if any."""

    pattern: str
    category: str | None


def word_filter(*, path: Path, whole_words: bool = True, marks: bool = False) -> Score:
    """Minus the number of hits of a list of terms: at most 0, higher is better, 0 is clean of them.

    The file is UTF-8, one term on a line; ``*`` is any number of letters or digits of a word, ``?`` exactly one, a
    backslash before a sign takes it as it is; ``#`` begins a comment line. Terms below a line ``[name]`` are a
    category, whose hits are a part of that name, positive. Hits of one term do not overlap; those of two terms may.
    Text and terms are compared case folded and NFKC normalised, without zero-width characters and accents; letters
    that look alike in other scripts and digits that stand for letters are not seen through: write patterns for them.
    Time is linear in the text, whatever the patterns are.

    Args:
        path: the file of terms; its content is in the signature.
        whole_words: a hit begins and ends where a word does, or at a ``*``. In scripts without spaces between words
            (Han, kana, Thai and the like) it may stand anywhere. False: anywhere in any script.
        marks: True keeps accents, so that ``résumé`` is not ``resume``.
    """
    flag("whole_words", whole_words)
    flag("marks", marks)
    entries = read(path, marks=marks)
    matcher = Matcher([entry.pattern for entry in entries], whole_words=whole_words)
    categories = [entry.category for entry in entries]
    names = list(dict.fromkeys(name for name in categories if name is not None))

    def score(batch: Batch) -> dict[str, list[float | None]]:
        columns: dict[str, list[float | None]] = {"score": [], **{name: [] for name in names}}
        for response in batch.responses:
            hits = matcher(folded(response, marks=marks))
            parts: Counter[str | None] = Counter()
            for number, count in hits.items():
                parts[categories[number]] += count
            columns["score"].append(0.0 - hits.total())
            for name in names:
                columns[name].append(float(parts[name]))
        return columns

    return score


def read(path: Path, *, marks: bool = False) -> list[Entry]:
    """Read a file of terms.

    Raises:
        InputError: it is no UTF-8 text of at most 4 MB, has no term, a line that says nothing or says what another
            line says, a wrong category. File and line are named, up to 20 lines at once.
    """
    entries: list[Entry] = []
    problems: list[tuple[int, str]] = []
    seen: dict[str, int] = {}
    category: str | None = None
    for number, line in enumerate(_text(path).split("\n"), 1):
        text = line.strip()
        if not text or text.startswith("#"):
            continue
        head = CATEGORY.fullmatch(text)
        found = pattern(text, marks=marks)
        wrong = _wrong_category(head[1]) if head else _wrong(text, found, seen)
        if wrong:
            problems.append((number, wrong))
        elif head:
            category = head[1]
        else:
            seen[found] = number
            entries.append(Entry(found, category))
    _raise(path, problems)
    if not entries:
        raise InputError("has no term", where=str(path), help=FORM)
    return entries


def _text(path: Path) -> str:
    if not path.is_file():
        raise InputError("is no file", where=str(path), help=f"name a file of terms: {FORM}")
    with path.open("rb") as file:
        data = file.read(MOST + 1)
    if len(data) > MOST:
        raise InputError(f"is larger than {MOST:,} bytes", where=str(path), help=f"is it a file of terms? {FORM}")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = data.count(b"\n", 0, error.start) + 1
        what = f"the byte 0x{data[error.start]:02x} is not UTF-8"
        raise InputError(what, where=f"{path}:{line}", help="save the file as UTF-8 text") from error


def _wrong_category(name: str) -> str:
    if not NAME.fullmatch(name) or name == "score":
        return f"category {name!r:.50} does not match {NAME.pattern} or is 'score'"
    return ""


def _wrong(text: str, found: str, seen: Mapping[str, int]) -> str:
    """Return what is wrong with a line, empty where nothing is."""
    if odd := next((char for char in text if char != "\t" and unicodedata.category(char) in ("Cc", "Cn")), None):
        return f"U+{ord(odd):04X} is no character of a text"
    if not plain(found):
        return f"{text!r:.50} has no sign but wildcards, spaces or what is not seen"
    return f"{text!r:.50} says what line {seen[found]} says" if found in seen else ""


def _raise(path: Path, problems: Sequence[tuple[int, str]]) -> None:
    """Raise one error for all wrong lines: what reads the options shows an error's first words only."""
    if problems:
        (first, what), *others = problems[:SHOWN]
        others_said = "".join(f"; line {number}: {said}" for number, said in others)
        raise InputError(what + others_said, where=f"{path}:{first}", help=f"expected {FORM}")


def _facts(*, path: Path, marks: bool = False, **_: object) -> tuple[str, ...]:
    """Read the file before anything runs; what it holds is in the signature already."""
    read(path, marks=marks)
    return ()


REWARDS = (Reward(name="word-filter", version=1, build=word_filter, facts=_facts),)
