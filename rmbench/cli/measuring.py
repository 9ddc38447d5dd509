"""What ``rmbench bench`` shows: a bar while it measures, tables and sentences of what it found."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

from rmbench.guard import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from rich.progress import Progress
    from rich.table import Table

MISSING = "\u2013"
MEBI, GIGA = 2**20, 1e9
SMALL = 10  # below this a number has two decimals


class Steps:
    """A bar on stderr over steps of known length, with the time left; nothing off a terminal."""

    def __init__(self) -> None:
        self.bar: Progress | None = None
        self.job: Any = None
        self.seconds: dict[str, float] = {}

    def begin(self, seconds: Mapping[str, float]) -> None:
        """Start the bar over steps that take about so many seconds each."""
        self.seconds = dict(seconds)
        if not sys.stderr.isatty():
            return
        from rich.console import Console
        from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), TaskProgressColumn(), TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.bar.start()
        self.job = self.bar.add_task("starting", total=sum(self.seconds.values()))

    def stage(self, step: str) -> None:
        """Say which step is being measured."""
        if self.bar is not None:
            self.bar.update(self.job, description=plain(step))

    def advance(self, step: str) -> None:
        """Move the bar by a step."""
        if self.bar is not None:
            self.bar.update(self.job, advance=self.seconds[step])

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def tables(found: Mapping[str, Any]) -> Iterator[Table]:
    """Yield the tables of what was measured; one that would be empty is left out."""
    head: tuple[str, ...]
    if found["rules"]:
        head = ("rules", "words", "pairs/s", "against", "times as fast")
        yield _table(head, [_rule(row) for row in found["rules"]])
    if found["models"]:
        head = ("models", "rows", "tokens", "computed", "tokens/s", "against", "times as fast")
        yield _table(head, [cells for row in found["models"] for cells in _model(row)])
        head = ("share of time", "tokenisation", "planning", "forward", "rest", "GFLOP/s", "of the best product")
        yield _table(head, [_shares(row) for row in found["models"]])


def words(found: Mapping[str, Any]) -> Iterator[str]:
    """Yield what stands under the tables: precision, the machine, memory."""
    for row in found["models"]:
        if row["difference"] is not None:
            yield (
                f"{row['dtype']}: scores differ from the plain ones by at most {row['difference']:.2g} of their "
                f"standard deviation, rank correlation {row['rank_correlation']:.4f}."
            )
    if "product" in found:
        product = found["product"]
        own = f"; oneDNN's {product['onednn'] / GIGA:,.0f}" if "onednn" in product else ""
        ratio = f", its linear {product['linear']:.2f} times torch's" if "linear" in product else ""
        yield f"Best matrix product: torch's {product['torch'] / GIGA:,.0f} GFLOP/s{own}{ratio}."
    if found.get("peak_bytes"):
        parts = (f"{value / MEBI:,.0f} MiB with the {part}" for part, value in found["peak_bytes"].items())
        yield f"Peak memory: {', '.join(parts)}, Python and libraries included."
    if "machine" in found:
        machine = found["machine"]
        yield plain(
            f"{machine['processor']}, {machine['processors']} processors, {machine['system']}, Python "
            f"{machine['python']}; {found['threads']} thread{'s' * (found['threads'] > 1)}, device {found['device']}."
        )


def _table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> Table:
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for place, name in enumerate(head):
        table.add_column(name, justify="left" if place == 0 or name == "against" else "right", overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    return table


def _rule(row: Mapping[str, Any]) -> tuple[str, ...]:
    against = row["against"] or MISSING
    return row["work"], str(row["words"]), ranged(row["pairs_per_second"]), against, ranged(row["ratio"])


def _model(row: Mapping[str, Any]) -> Iterator[tuple[str, ...]]:
    """Yield a line for each loop that a case was measured beside."""
    first = (
        f"{_named(row)}: {row['work']}", f"{row['rows']}", f"{row['tokens']:,}", f"{row['computed']:,}",
        ranged(row["tokens_per_second"]),
    )  # fmt: skip
    for place, (loop, ratio) in enumerate(row["ratios"].items()):
        yield (*(first if place == 0 else ("",) * len(first)), loop, ranged(ratio))


def _shares(row: Mapping[str, Any]) -> tuple[str, ...]:
    shares = (f"{share:.1%}" for share in row["shares"].values())
    rate, share = row["flops_per_second"], row["share_of_product"]
    speed = MISSING if rate is None else f"{rate['median'] / GIGA:,.0f}"
    return f"{_named(row)}: {row['work']}", *shares, speed, MISSING if share is None else f"{share:.0%}"


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['model']}, {row['parameters'] / 1e6:,.0f}M, {row['dtype']}"


def ranged(values: Mapping[str, float] | None) -> str:
    """Return the median with the least and the greatest of the rounds, or a dash."""
    if values is None:
        return MISSING
    digits = 2 if values["median"] < SMALL else 0
    median, low, high = (f"{values[name]:,.{digits}f}" for name in ("median", "low", "high"))
    return median if low == high else f"{median} [{low}, {high}]"
