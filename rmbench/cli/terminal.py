"""What goes to the terminal: messages and progress to stderr, tables to stdout, nothing that is not plain."""

from __future__ import annotations

import codecs
import io
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.guard import ACTING, plain

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.progress import Progress as Bar
    from typing_extensions import Buffer

    from rmbench.errors import RMBenchError


class _Results(io.FileIO):
    """Standard output, with its name in the error of a write that fails."""

    def write(self, data: Buffer, /) -> int:
        """Write as ``FileIO`` does."""
        try:
            return super().write(data)
        except OSError as error:
            error.filename = "standard output"
            raise


def ready() -> None:
    """Make the standard streams usable: open where they were closed, and stdout never stopped by a character."""
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if vars(sys)[name] is None:  # `>&-`: the next file that anybody opens would take its place
            os.open(os.devnull, os.O_RDWR)
            setattr(sys, name, os.fdopen(number, "w" if number else "r", encoding="utf-8"))
    if isinstance(sys.stdout, io.TextIOWrapper):
        encoding, lines = sys.stdout.encoding, sys.stdout.line_buffering
        results = io.BufferedWriter(_Results(1, "wb", closefd=False))
        sys.stdout = io.TextIOWrapper(results, encoding, errors="backslashreplace", line_buffering=lines)


def let_go() -> None:
    """Drop what stdout did not take, so that the interpreter does not stumble over it at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def print_json(value: Any, *, indent: int | None = None) -> None:
    """Write a JSON value and a line end to stdout: in ASCII where its encoding is not UTF-8.

    What a terminal could act on (C1 controls, bidirectional and zero-width characters) is written as an escape: the
    value is the same.
    """
    encoding = sys.stdout.encoding or "utf-8"  # a StringIO of a test has none
    narrow = codecs.lookup(encoding).name != "utf-8"
    text = json.dumps(value, indent=indent, ensure_ascii=narrow, allow_nan=False)
    sys.stdout.write(
        ACTING.sub(lambda found: found[0] if found[0] == "\n" else json.dumps(found[0])[1:-1], text) + "\n"
    )


def say(*lines: str) -> None:
    """Write lines to stderr; a line end inside one of them becomes a space, so that no text can pose as a message."""
    sys.stderr.write("".join(plain(line) + "\n" for line in lines))


def say_errors(errors: Sequence[RMBenchError]) -> None:
    """Write what is wrong, where, and what to do to stderr; what helps with several in a row stands behind the last."""
    for error, following in zip(errors, [*errors[1:], None], strict=True):
        place = f"{error.where}: " if error.where else ""
        told = not error.help or (following is not None and following.help == error.help)
        say(f"rmbench: error: {placed(place + error.what)}", *([] if told else [f"  help: {error.help}"]))


def print_lines(text: str) -> None:
    """Write text to stdout, line by line."""
    sys.stdout.write("".join(plain(line).rstrip() + "\n" for line in text.split("\n")))


def placed(message: str) -> str:
    """Return a message whose place is relative to the working directory, where it lies in there."""
    try:
        return message.removeprefix(f"{Path.cwd()}{os.sep}")
    except OSError:  # the folder is gone
        return message


def print_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print a table to stdout; cells are text, never markup."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in head:
        table.add_column(name, overflow="fold")
    for row in rows:
        table.add_row(*(Text(plain(cell)) for cell in row))
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def print_columns(head: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print left-aligned columns to stdout: a list that costs no import of a table library."""
    cells = [[plain(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]
    for row in cells:
        line = "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        sys.stdout.write(line.rstrip() + "\n")


class Watched:
    """Progress on stderr: a bar with rows, rows/s and the time left; nothing but warnings off a terminal.

    A fit has a bar of its own, with its loss and accuracy; off a terminal one line says how it ended.
    """

    def __init__(self) -> None:
        self.bar: Bar | None = None
        self.job: Any = None
        self.fits: dict[str, Any] = {}
        self.last: dict[str, dict[str, Any]] = {}
        self.written: dict[str, int] = {}

    def _open(self) -> Bar | None:
        """Start the bars where somebody can see them."""
        if self.bar is not None or not sys.stderr.isatty():
            return self.bar
        from rich.console import Console
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

        columns = (
            TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn(),
            TextColumn("{task.fields[unit]}", markup=False), TextColumn("{task.fields[rate]}", markup=False),
            TimeRemainingColumn(),
        )  # fmt: skip
        self.bar = Progress(*columns, console=Console(stderr=True), transient=True)
        self.bar.start()
        return self.bar

    def begin(self, rows: int) -> None:
        """Start the bar."""
        if bar := self._open():
            self.job = bar.add_task("scoring", total=rows, rate="", unit="rows")

    def advance(self, reward: str, task: str, rows: int) -> None:
        """Move the bar."""
        if self.bar is not None and self.job is not None:
            speed = next(one.speed for one in self.bar.tasks if one.id == self.job)
            rate = f"{speed:,.0f} rows/s" if speed else ""
            self.bar.update(self.job, advance=rows, description=plain(f"{reward} on {task}"), rate=rate)

    def fitting(self, name: str, step: Mapping[str, Any]) -> None:
        """Move the bar of a fit or a training: rows scored, then steps with loss, accuracy or reward, texts written."""
        self.last[name] = {
            **self.last.get(name, {}),
            **{key: value for key, value in step.items() if value is not None},
        }
        bar = self._open()
        if bar is None:
            return
        if name not in self.fits:
            self.fits[name] = bar.add_task(plain(f"fitting {name}"), total=None, rate="", unit="steps")
        told = self.last[name]
        if "written" in step:
            completed = told["written"] = min(told["rows"], self.written.get(name, 0) + step["written"])
            self.written[name] = completed
            words = plain(f"writing {name}")
            bar.update(self.fits[name], completed=completed, total=told["rows"], unit="texts", description=words)
        elif "step" in told:
            bar.update(self.fits[name], completed=told["step"], total=told.get("steps"), rate=fit_words(told))
        else:
            bar.update(
                self.fits[name], advance=told["scored"], total=told["rows"], unit="rows", rate="scoring features"
            )

    def fitted(self, name: str, how: str = "fitted") -> None:
        """Take the bar of a fit or a training away and say how it ended."""
        if self.bar is not None and name in self.fits:
            self.bar.remove_task(self.fits.pop(name))
        told = self.last.pop(name, {})
        if "step" in told:
            self._line(f"{how} {name}: {fit_words(told)} after {told['step']} steps")

    def stage(self, what: str) -> None:
        """Say what is being done now."""
        if self.bar is not None and self.job is not None:
            self.bar.update(self.job, description=plain(what))

    def warn(self, message: str) -> None:
        """Print a warning above the bar."""
        self._line(f"warning: {message}")

    def _line(self, words: str) -> None:
        if self.bar is not None:
            from rich.text import Text

            self.bar.console.print(Text(plain(words)))
        else:
            say(f"rmbench: {words}")

    def close(self) -> None:
        """Take the bar away."""
        if self.bar is not None:
            self.bar.stop()
            self.bar = None


def fit_words(told: Mapping[str, Any]) -> str:
    """Return loss, dev accuracy and mean reward of a fit or a training as words."""
    names = (("loss", "loss"), ("accuracy", "dev accuracy"), ("reward", "reward"))
    return ", ".join(f"{word} {told[key]:.3f}" for key, word in names if isinstance(told.get(key), int | float))
