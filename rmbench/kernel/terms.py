"""Counts terms and simple patterns in texts, in time linear in the text whatever the patterns are.

All entries are one automaton of bits (Baeza-Yates and Gonnet, 1992; extended patterns: Navarro and Raffinot, 2002): a
bit for each character of each entry, a fixed number of operations on whole numbers for each character of a text, and
no way back. Steps that were seen are kept, within a budget of memory, so that a character mostly costs a look-up.
"""

import re
import unicodedata
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache

STAR, ONE = "\ufdd0", "\ufdd1"  # code points that are never characters: * and ? of an entry
WILD = re.compile(r"\\(.)|([*?])")
# default-ignorable characters that are no format characters (Cf): joiners, fillers, variation selectors
UNSEEN = re.compile("[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0\U000e0100-\U000e01ef]")
# scripts without spaces between words: Thai to Myanmar, Khmer, kana and Han
UNSPACED = re.compile(
    "[\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3400-\u9fff\uf900-\ufaff\U00020000-\U0003ffff]"
)
OTHER, WORD, UNBOUND = "\n", "A", "\uf900"  # kinds of characters, each by one of them that no folded text has
ABOVE = 200  # combining classes from here on, and 1, are of marks that can be left out: accents, cedillas, overlays
MEMORY, STEP = 1 << 26, 512  # bytes of steps that are kept, and of one beside its bits


def folded(text: str, *, marks: bool = False) -> str:
    """Return a text as it is compared: case folded, of compatible forms one (NFKC), spaces joined, nothing unseen.

    Zero-width and other format characters go; so do accents and the like over, under and through letters, unless
    ``marks`` keeps them. Vowel signs of Indic scripts and Thai, and the marks of kana, stay.
    """
    text = unicodedata.normalize("NFKD", text.casefold()).casefold()  # some compatible forms are capitals
    if not text.isascii():
        gone = [unicodedata.category(char) == "Cf" or (not marks and _accent(char)) for char in text]
        text = UNSEEN.sub("", "".join(char for char, away in zip(text, gone, strict=True) if not away))
    return " ".join(unicodedata.normalize("NFKC", text).split())


def _accent(char: str) -> bool:
    return (kind := unicodedata.combining(char)) == 1 or kind >= ABOVE


def pattern(entry: str, *, marks: bool = False) -> str:
    """Return an entry folded, its ``*`` and ``?`` as ``STAR`` and ``ONE``; a backslash takes a sign as it is."""
    signs = {"*": STAR, "?": ONE}
    found = folded(WILD.sub(lambda hit: hit[1] or signs[hit[2]], entry), marks=marks)
    return re.sub(f"{STAR}+", STAR, found)


def plain(found: str) -> bool:
    """Whether a pattern has a character that is no wildcard and no space."""
    return bool(found.translate({ord(STAR): None, ord(ONE): None}).strip())


@lru_cache(maxsize=1 << 16)
def kind_of(char: str) -> str:
    """Return the kind of a character: of a word between spaces, of a script without spaces, or of neither."""
    if not (char.isalnum() or char == "_" or unicodedata.category(char)[0] == "M"):
        return OTHER
    return UNBOUND if UNSPACED.match(char) else WORD


@dataclass(frozen=True, slots=True)
class Bits:
    """What each bit of a state means; a bit is a character (or ``ONE``) of an entry that has been read.

    Attributes:
        places: the bits of each character.
        ones: where a ``ONE`` stands, the bits of every character of a word.
        firsts, lasts: of each entry; ``bound_first`` and ``bound_last`` only where a word has to begin or end there.
        loops: after which a ``STAR`` stands.
        entry: number of the entry of each bit.
        bounds: the first bit of each entry, and the one behind the last.
    """

    places: Mapping[str, Sequence[int]]
    ones: Sequence[int]
    firsts: int
    lasts: int
    bound_first: int
    bound_last: int
    loops: int
    entry: Sequence[int]
    bounds: Sequence[int]


def bits_of(patterns: Sequence[str], *, whole_words: bool) -> Bits:
    """Lay out the bits of the patterns (as ``pattern`` returns them, each ``plain``)."""
    places: dict[str, list[int]] = {}
    found: dict[str, list[int]] = {name: [] for name in ("firsts", "lasts", "bound_first", "bound_last", "loops")}
    entry: list[int] = []
    bounds = [0]
    for number, text in enumerate(patterns):
        start = bounds[-1]
        for char in text.strip(STAR):
            if char == STAR:
                found["loops"].append(len(entry) - 1)
            else:
                places.setdefault(char, []).append(len(entry))
                entry.append(number)
        found["firsts"].append(start)
        found["lasts"].append(len(entry) - 1)
        found["bound_first"] += [start] if whole_words and text[0] != STAR else []
        found["bound_last"] += [len(entry) - 1] if whole_words and text[-1] != STAR else []
        bounds.append(len(entry))
    return Bits(
        places,
        places.pop(ONE, []),
        entry=entry,
        bounds=bounds,
        **{name: number_of(ones) for name, ones in found.items()},
    )


def number_of(ones: Sequence[int]) -> int:
    """Return the number whose bits these are."""
    data = bytearray(max(ones, default=0) // 8 + 1)
    for one in ones:
        data[one >> 3] |= 1 << (one & 7)
    return int.from_bytes(data, "little")


class Matcher:
    """Counts the hits of patterns in folded texts.

    A hit of an entry is an occurrence that does not overlap the hit of the same entry before it, the one that ends
    first: for a plain term ``str.count``. ``STAR`` is any number of letters, digits, marks and underscores, none too,
    ``ONE`` exactly one.

    Args:
        patterns: as ``pattern`` returns them, each ``plain``.
        whole_words: a hit begins and ends where a word does, unless ``STAR`` stands there. In scripts that are written
            without spaces (Han, kana, Thai, Lao, Khmer, Myanmar) a word may begin and end anywhere.
    """

    def __init__(self, patterns: Sequence[str], *, whole_words: bool = True) -> None:
        self.bits = bits_of(patterns, whole_words=whole_words)
        self.most = max(64, MEMORY // (STEP + len(self.bits.entry) // 8))
        self.mask = lru_cache(maxsize=512)(self._mask)
        self._forget()

    def _forget(self) -> None:
        self.kept = 0
        self.numbers: dict[tuple[int, str], int] = {}
        self.states: list[tuple[int, str]] = []
        self.next: list[dict[str, tuple[int, Sequence[int]]]] = []
        self._number(0, OTHER)

    def _number(self, state: int, before: str) -> int:
        key = state, before
        if key not in self.numbers:
            self.numbers[key] = len(self.states)
            self.states.append(key)
            self.next.append({})
        return self.numbers[key]

    def __call__(self, text: str) -> Counter[int]:
        """Return how often each pattern is hit in a folded text, by its number."""
        found: Counter[int] = Counter()
        known, at = self.bits.places, 0
        for char in [*text, OTHER]:
            symbol = char if char in known else kind_of(char)
            step = self.next[at].get(symbol)
            if step is None:
                at, hits = self._learn(at, symbol)
            else:
                at, hits = step
            if hits:
                found.update(hits)
        return found

    def _learn(self, at: int, symbol: str) -> tuple[int, Sequence[int]]:
        """Work out a step and keep it."""
        state, before = self.states[at]
        following, hits = self.step(state, before, symbol)
        if self.kept >= self.most:
            self._forget()
            return self._number(following, kind_of(symbol)), hits
        self.kept += 1
        self.next[at][symbol] = made = self._number(following, kind_of(symbol)), hits
        return made

    def step(self, state: int, before: str, symbol: str) -> tuple[int, Sequence[int]]:
        """Return the state after one more character, and the entries that are hit before it."""
        bits, kind = self.bits, kind_of(symbol)
        edge = not (before == kind == WORD)
        hits: list[int] = []
        ended = state & (bits.lasts if edge else bits.lasts & ~bits.bound_last)
        while ended:
            number = bits.entry[(ended & -ended).bit_length() - 1]
            hits.append(number)
            state &= ~((1 << bits.bounds[number + 1]) - (1 << bits.bounds[number]))
            ended &= ended - 1
        begun = bits.firsts if edge else bits.firsts & ~bits.bound_first
        moved = ((state << 1) & ~bits.firsts | begun) & self.mask(symbol)
        return moved | (state & bits.loops if kind != OTHER else 0), hits

    def _mask(self, symbol: str) -> int:
        return number_of([*self.bits.places.get(symbol, ()), *(self.bits.ones if kind_of(symbol) != OTHER else ())])
