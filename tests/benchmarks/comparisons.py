"""What a comparison is: sides in turn, a target, a finding and its mark. Benchmarks and reports/performance share it."""

from __future__ import annotations

from dataclasses import dataclass

from rmbench.kernel.measured import ROUNDS, Side, Spread, interleaved, rate, spread, times

ENOUGH = 0.9  # of what the prototype reached, of the aim where no prototype tried
DOES_NOT_APPLY = "does not apply"


@dataclass(frozen=True, slots=True)
class Target:
    """What a row wants.

    Attributes:
        aim: how many times as fast (or another ratio).
        reached: what a prototype got, None where none tried.
        most: the ratio is to be at most the aim.
        applies: False where the machine is not one that the row is about.
    """

    aim: float
    reached: float | None = None
    most: bool = False
    applies: bool = True

    @property
    def needed(self) -> float:
        """From where on the row is met."""
        return self.aim if self.most else ENOUGH * (self.aim if self.reached is None else self.reached)


@dataclass(frozen=True, slots=True)
class Finding:
    """One row of the tables, measured; ``rate`` is ours in ``unit`` a second."""

    table: str
    work: str
    against: str
    ratio: Spread
    target: Target | None = None
    rate: Spread | None = None
    unit: str = ""
    detail: str = ""
    rounds: int = ROUNDS

    @property
    def mark(self) -> str:
        """Return met, missed, or that there is nothing to meet."""
        if self.target is None:
            return "reported"
        if not self.target.applies:
            return DOES_NOT_APPLY
        met = (self.ratio.median <= self.target.needed) if self.target.most else self.ratio.median >= self.target.needed
        return "met" if met else "missed"


def line(found: Finding) -> str:
    """Return a finding as a line of text."""
    ratio = f"{found.ratio.median:.2f}x ({found.ratio.low:.2f} to {found.ratio.high:.2f})"
    wanted = "" if found.target is None else f", aim {found.target.aim:g}, needed {found.target.needed:.2f}"
    detail = f"; {found.detail}" if found.detail else ""
    return f"{found.work} against {found.against}: {ratio}{wanted}: {found.mark}{detail}"


__all__ = [
    "DOES_NOT_APPLY",
    "ROUNDS",
    "Finding",
    "Side",
    "Spread",
    "Target",
    "interleaved",
    "line",
    "rate",
    "spread",
    "times",
]
