"""Porter's stemmer with the departures that NLTK makes from it, which rouge-score stems with.

Porter (1980), "An algorithm for suffix stripping", Program 14(3). NLTK departs in step 1 (``ies``, ``ied``, ``y``), in
step 2 (``bli``, ``alli``, ``fulli``, ``logi``), in the test for a short word, and by a list of irregular forms. A test
holds the stems equal to NLTK's; nothing of NLTK is imported, whose package takes seconds to come up.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Condition = Callable[[str], bool]
    Rule = tuple[str, str, Condition]

IRREGULAR = {
    "skies": "sky", "sky": "sky", "dying": "die", "lying": "lie", "tying": "tie", "news": "news",
    "innings": "inning", "inning": "inning", "outings": "outing", "outing": "outing", "cannings": "canning",
    "canning": "canning", "howe": "howe", "proceed": "proceed", "exceed": "exceed", "succeed": "succeed",
}  # fmt: skip
VOWELS = frozenset("aeiou")
SHORT = 2  # words of so many letters are their own stem
DOUBLED_STAYS = ("l", "s", "z")


def shape(word: str) -> str:
    """Return ``c`` or ``v`` for each letter: consonant or vowel; ``y`` is a vowel behind a consonant."""
    kinds: list[str] = []
    for letter in word:
        vowel = letter in VOWELS or (letter == "y" and bool(kinds) and kinds[-1] == "c")
        kinds.append("v" if vowel else "c")
    return "".join(kinds)


def measure(stem: str) -> int:
    """Return Porter's m: how often a vowel is followed by a consonant."""
    return shape(stem).count("vc")


def _always(_: str) -> bool:
    return True


def _positive(stem: str) -> bool:
    return measure(stem) > 0


def _above_one(stem: str) -> bool:
    return measure(stem) > 1


def _has_vowel(stem: str) -> bool:
    return "v" in shape(stem)


def _short(word: str) -> bool:
    """Whether a word ends consonant, vowel, consonant other than w, x, y; or is a vowel and a consonant (NLTK)."""
    kinds = shape(word)
    return (kinds[-3:] == "cvc" and word[-1] not in "wxy") or kinds == "vc"


def _doubled(word: str) -> bool:
    return len(word) > 1 and word[-1] == word[-2] and shape(word)[-1] == "c"


def _first(word: str, rules: Sequence[Rule]) -> str:
    """Apply the first rule whose suffix the word has; where its condition fails, none."""
    for suffix, replacement, holds in rules:
        if word.endswith(suffix):
            stem = word[: len(word) - len(suffix)]
            return stem + replacement if holds(stem) else word
    return word


STEP_1A: tuple[Rule, ...] = (("sses", "ss", _always), ("ies", "i", _always), ("ss", "ss", _always), ("s", "", _always))
STEP_2: tuple[Rule, ...] = tuple(
    (suffix, replacement, _positive)
    for suffix, replacement in (
        ("ational", "ate"), ("tional", "tion"), ("enci", "ence"), ("anci", "ance"), ("izer", "ize"), ("bli", "ble"),
        ("alli", "al"), ("entli", "ent"), ("eli", "e"), ("ousli", "ous"), ("ization", "ize"), ("ation", "ate"),
        ("ator", "ate"), ("alism", "al"), ("iveness", "ive"), ("fulness", "ful"), ("ousness", "ous"), ("aliti", "al"),
        ("iviti", "ive"), ("biliti", "ble"), ("fulli", "ful"),
    )
)  # fmt: skip
STEP_3: tuple[Rule, ...] = tuple(
    (suffix, replacement, _positive)
    for suffix, replacement in (
        ("icate", "ic"), ("ative", ""), ("alize", "al"), ("iciti", "ic"), ("ical", "ic"), ("ful", ""), ("ness", ""),
    )
)  # fmt: skip
STEP_4: tuple[Rule, ...] = (
    *(
        (suffix, "", _above_one)
        for suffix in ("al", "ance", "ence", "er", "ic", "able", "ible", "ant", "ement", "ment", "ent")
    ),
    ("ion", "", lambda stem: measure(stem) > 1 and stem[-1:] in ("s", "t")),
    *((suffix, "", _above_one) for suffix in ("ou", "ism", "ate", "iti", "ous", "ive", "ize")),
)


def _step_1b(word: str) -> str:
    if word.endswith("ied"):
        return word[:-1] if len(word) == len("tied") else word[:-2]
    if word.endswith("eed"):
        return word[:-1] if _positive(word[:-3]) else word
    for suffix in ("ed", "ing"):
        stem = word[: len(word) - len(suffix)]
        if word.endswith(suffix) and _has_vowel(stem):
            return _mended(stem)
    return word


def _mended(stem: str) -> str:
    """Return a stem that lost ed or ing with its e, or without a doubled letter."""
    if stem.endswith(("at", "bl", "iz")):
        return stem + "e"
    if _doubled(stem):
        return stem if stem[-1] in DOUBLED_STAYS else stem[:-1]
    return stem + "e" if measure(stem) == 1 and _short(stem) else stem


def _step_1c(word: str) -> str:
    behind_consonant = len(word) > 2 and word[-1] == "y" and shape(word[:-1])[-1] == "c"  # noqa: PLR2004 - by, my stay
    return word[:-1] + "i" if behind_consonant else word


def _step_2(word: str) -> str:
    if word.endswith("alli") and _positive(word[:-4]):
        return _step_2(word[:-2])
    if word.endswith("logi") and not any(word.endswith(suffix) for suffix, _, _ in STEP_2):
        return word[:-1] if _positive(word[:-3]) else word
    return _first(word, STEP_2)


def _step_5(word: str) -> str:
    if word.endswith("e"):
        stem = word[:-1]
        if measure(stem) > 1 or (measure(stem) == 1 and not _short(stem)):
            word = stem
    return word[:-1] if word.endswith("ll") and _above_one(word[:-1]) else word


def stem(word: str) -> str:
    """Return the stem of a lower-case word."""
    if word in IRREGULAR:
        return IRREGULAR[word]
    if len(word) <= SHORT:
        return word
    word = word[:-1] if word.endswith("ies") and len(word) == len("ties") else _first(word, STEP_1A)
    word = _step_2(_step_1c(_step_1b(word)))
    return _step_5(_first(_first(word, STEP_3), STEP_4))
