"""In what two lists of results differ: row by row, field by field."""

from __future__ import annotations

from collections import Counter
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmbench.api import Result

PLACE = (
    "study", "task", "subset", "split", "reward", "against", "system", "policy", "trainer", "seed", "step", "probe",
    "metric", "aspect", "level",
)  # fmt: skip
SHOWN = ("study", "metric", "task", "reward", "system", "aspect", "level", "subset")


@dataclass(frozen=True, slots=True)
class Difference:
    """A result that two runs do not have alike.

    Attributes:
        place: what is measured, as the fields of a result.
        changed: by field, the two values; empty where only one run has the result.
        only: ``"first"`` or ``"second"`` where only that run has it.
    """

    place: dict[str, Any]
    changed: dict[str, tuple[Any, Any]]
    only: str | None = None

    def words(self, first: str, second: str) -> str:
        """Return the difference in one line; the two runs are called as given."""
        place = ", ".join(f"{key} {self.place[key]}" for key in SHOWN if self.place[key] is not None)
        if self.only:
            return f"{place}: only {first if self.only == 'first' else second}"
        told = [f"{key} {a!r} {first}, {b!r} {second}" for key, (a, b) in self.changed.items()]
        return f"{place}: {'; '.join(told)}"


def differences(first: Iterable[Result], second: Iterable[Result]) -> list[Difference]:
    """Return what is not alike in two lists of results, in the order of the first, then what only the second has."""
    before, after = _by_place(first), _by_place(second)
    found = []
    for key, row in before.items():
        other = after.get(key)
        changed = {} if other is None else {name: (row[name], other[name]) for name in row if row[name] != other[name]}
        if other is None or changed:
            found.append(Difference(_place(row), changed, "first" if other is None else None))
    return found + [Difference(_place(row), {}, "second") for key, row in after.items() if key not in before]


def _place(row: dict[str, Any]) -> dict[str, Any]:
    return {name: row[name] for name in PLACE}


def _by_place(results: Iterable[Result]) -> dict[tuple[Any, ...], dict[str, Any]]:
    """Return the rows by what they measure; the n-th of several that measure the same stays the n-th."""
    seen: Counter[tuple[Any, ...]] = Counter()
    found = {}
    for row in map(asdict, results):
        key = tuple(row[name] for name in PLACE)
        found[*key, seen[key]] = row
        seen[key] += 1
    return found
