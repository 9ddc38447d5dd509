"""The toy world: five prompts, forty responses to each, and a reward written down; imports nothing heavy.

A prompt's first word names its place in the world; the rest of it is wording, so that train, dev and test ask for the
same five things in other words. A response is at most three of the letters x, y and z. Everything that can happen can
be listed, so that ``rmbench.toy`` gives expectations, gradients and optima in closed form.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import lru_cache
from itertools import product

from rmbench.errors import InputError

LETTERS = ("x", "y", "z")
END = len(LETTERS)  # token that ends a response: after the letters, so that padding (0) is not mistaken for it
VOCABULARY = len(LETTERS) + 1
LONGEST = 3
PREFIXES: tuple[tuple[int, ...], ...] = tuple(
    letters for length in range(LONGEST + 1) for letters in product(range(len(LETTERS)), repeat=length)
)
"""All that can stand written, shortest first, as token ids: what a response is so far, or the whole of it."""
FREE = sum(len(LETTERS) ** length for length in range(LONGEST))
"""How many of ``PREFIXES`` (the first) leave a choice; after three letters comes the end."""
PLACE_CENTS = 10
FIRST_WORD = re.compile(r"\s*([A-Za-z]+)")


@dataclass(frozen=True, slots=True)
class Place:
    """A prompt of the world.

    Attributes:
        name: first word of its prompts, in lower case.
        target: the best response.
        top: its reward in hundredths.
        lure: a response that is found sooner, or that the start likes as much, and pays less.
        bait: its reward in hundredths.
    """

    name: str
    target: str
    top: int
    lure: str
    bait: int


WORLD = (
    Place("north", "x y z", 100, "z", 50),
    Place("east", "y", 90, "x x", 40),
    Place("south", "z z", 100, "x", 50),
    Place("west", "y x x", 100, "z y", 60),
    Place("centre", "z y x", 80, "y", 50),
)
NAMES = tuple(place.name for place in WORLD)


@lru_cache(1000)
def place_of(prompt: str) -> int:
    """Return which of ``WORLD`` a prompt names with its first word.

    Raises:
        InputError: it names none of them.
    """
    place = place_named(prompt)
    if place is None:
        raise InputError(
            f"the prompt {prompt[:60]!r} is none of the toy world's: it begins with none of {', '.join(NAMES)}",
            help="the policy `tabular` and the reward `toy` go with the task `toy`",
        )
    return place


def place_named(text: str) -> int | None:
    """Return which of ``WORLD`` a text names with its first word, None where it is none."""
    word = FIRST_WORD.match(text)
    name = word[1].lower() if word else ""
    return NAMES.index(name) if name in NAMES else None


def text_of(letters: tuple[int, ...]) -> str:
    """Return letters, as token ids, as a text: ``x y z``."""
    return " ".join(LETTERS[letter] for letter in letters)


@lru_cache(1000)
def letters_of(text: str) -> tuple[int, ...]:
    """Return a text's letters as token ids, however many there are.

    Raises:
        InputError: it holds something else than x, y and z between spaces.
    """
    words = text.split()
    for word in words:
        if word not in LETTERS:
            raise InputError(
                f"the text {text[:60]!r} is none of the toy world's: {word[:20]!r} is none of {', '.join(LETTERS)}",
                help="a response of the toy world is at most three of these letters with spaces between them",
            )
    return tuple(LETTERS.index(word) for word in words)


def reward(prompt: str, text: str) -> float:
    """Return the reward of a response, in [0, 1], higher is better.

    The prompt's ``top`` for its target and ``bait`` for its lure; for any other response 0.1 for each letter that
    stands where the target has it. The lure is the local optimum: from most starts it is nearer than the target.

    Raises:
        InputError: the prompt or the text is none of the toy world's.
    """
    place, letters = WORLD[place_of(prompt)], letters_of(text)
    if letters == letters_of(place.target):
        return place.top / 100
    if letters == letters_of(place.lure):
        return place.bait / 100
    same = sum(one == other for one, other in zip(letters, letters_of(place.target), strict=False))
    return same * PLACE_CENTS / 100
