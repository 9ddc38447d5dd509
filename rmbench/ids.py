"""Ids that were seen: millions in 16 bytes each, so that one given twice is found in a file of any length."""

from __future__ import annotations

from array import array
from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

RECENT = 2**18  # ids that are kept as they are


class Ids:
    """Ids with the line of each: the last ones as they are, earlier ones as sorted hashes of 64 bits.

    Args:
        at: reads again which id stands in a line. It is asked where hashes are equal: most likely the id is.
    """

    def __init__(self, at: Callable[[int], str]) -> None:
        self.at = at
        self.recent: dict[str, int] = {}
        self.hashes, self.lines = array("Q"), array("Q")

    def __len__(self) -> int:
        """Return how many there are."""
        return len(self.recent) + len(self.hashes)

    def add(self, name: str, line: int) -> int | None:
        """Take an id; where it was seen before, return the line in which it stood instead."""
        earlier = self.recent.get(name)
        if earlier is None and self.hashes:
            earlier = self._earlier(name)
        if earlier is None:
            self.recent[name] = line
            if len(self.recent) >= RECENT:
                self._settle()
        return earlier

    def _earlier(self, name: str) -> int | None:
        wanted = digest(name)
        place = bisect_left(self.hashes, wanted)
        while place < len(self.hashes) and self.hashes[place] == wanted:
            if self.at(self.lines[place]) == name:
                return self.lines[place]
            place += 1
        return None

    def _settle(self) -> None:
        """Put the recent ids among the hashes."""
        import numpy as np  # slow to import, and not needed for most files

        new = np.array([digest(name) for name in self.recent], dtype=np.uint64)
        lines = np.array(list(self.recent.values()), dtype=np.uint64)
        order = np.argsort(new, kind="stable")
        places = np.searchsorted(np.frombuffer(self.hashes, np.uint64), new[order], side="right")
        for held, more in ((self.hashes, new), (self.lines, lines)):
            merged = np.insert(np.frombuffer(held, np.uint64), places, more[order]).tobytes()
            del held[:]
            held.frombytes(merged)
        self.recent = {}


def digest(name: str) -> int:
    """Return 64 bits that depend on the id, and on nothing that a file could foresee."""
    return hash(name) & 0xFFFF_FFFF_FFFF_FFFF
