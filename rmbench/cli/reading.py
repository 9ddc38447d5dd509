"""``rmbench report``, ``leaderboard`` and ``compare``: from run folders alone."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmbench.cli.terminal import print_json, print_lines, print_table, say

if TYPE_CHECKING:
    from rmbench.compare import Change
    from rmbench.runs import Run

HEAD = ("task", "metric", "before", "after", "difference", "95 % interval", "p", "p (Holm)", "on", "left out")
Runs = Annotated[list[Path], typer.Argument(metavar="RUN...", help="Run folders.")]


def _opened(folders: list[Path]) -> list[Run]:
    from rmbench import shape
    from rmbench.runs import Run

    runs = [Run(folder) for folder in folders]
    for run in runs:
        shape.check(run.manifest, str(run.folder / "manifest.json"))
    return runs


def report(
    runs: Runs,
    out: Annotated[Path | None, typer.Option(help="Where to write [default: RUN/report].")] = None,
    formats: Annotated[str, typer.Option("--format", help="Of html, md, csv, json, tex.")] = "html,md,csv,json,tex",
    texts: Annotated[str, typer.Option(metavar="all|none", help="Show sample texts or not.")] = "all",
    allow_versions: Annotated[bool, typer.Option(help="Put two versions of a task in one column.")] = False,
) -> None:
    """Write the report of one or several runs."""
    from rmbench.errors import InputError, RunFolderError
    from rmbench.report import write_run

    if out is None and len(runs) > 1:
        raise InputError("several runs are named", help="say where with --out DIR")
    if out is None and (runs[0] / "report").is_symlink():
        raise RunFolderError("is a symbolic link", where=str(runs[0] / "report"), help="say where with --out DIR")
    wanted = [word.strip() for word in formats.split(",") if word.strip()]
    main = write_run(_opened(runs), out or runs[0] / "report", wanted, texts=texts, allow_versions=allow_versions)
    print_lines(str(main))


def leaderboard(
    runs: Annotated[list[str], typer.Argument(metavar="RUN... | add RUN DIR", help="Run folders.")],
    out: Annotated[Path | None, typer.Option(help="Write the pages here.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the boards as JSON.")] = False,
    allow_versions: Annotated[bool, typer.Option(help="Put two versions of a task in one column.")] = False,
) -> None:
    """Rank the rewards of several runs; `add RUN DIR` keeps a run in a leaderboard folder."""
    from rich.console import Console

    from rmbench.errors import InputError
    from rmbench.report import add, read_run, write_leaderboard
    from rmbench.report.leaderboard import boards_json
    from rmbench.report.leaderboard import leaderboard as merged
    from rmbench.report.terminal import tables

    if runs[0] == "add":
        if len(runs) != 3:  # noqa: PLR2004 - add RUN DIR
            raise InputError("expected: leaderboard add RUN DIR", help="rmbench leaderboard add runs/mine board")
        kept = read_run(_opened([Path(runs[1])])[0])
        print_lines(str(add(kept.manifest, kept.results, Path(runs[2]))))
        return
    data = [read_run(run) for run in _opened([Path(name) for name in runs])]
    board = merged(data, allow_versions=allow_versions)
    if as_json:
        print_json(boards_json(board), indent=1)
    else:
        console = Console(width=None if sys.stdout.isatty() else 140)
        for table in tables(board):
            console.print(table)
    if out is not None:
        say(f"leaderboard: {write_leaderboard(data, out, allow_versions=allow_versions)}")


def compare(
    runs: Runs,
    rewards: Annotated[str | None, typer.Option(metavar="A,B", help="Compare B to A.")] = None,
    fail_if_worse: Annotated[
        str | None, typer.Option(metavar="METRIC[:MARGIN]", help="Exit 1 where the second is worse.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
) -> None:
    """Compare two rewards of a run, or two runs: paired difference, interval, permutation test."""
    from rmbench import compare as comparing
    from rmbench.errors import InputError

    if len(runs) > 2:  # noqa: PLR2004 - RUN [RUN]
        raise InputError(f"{len(runs)} runs are named, expected one or two", help="leaderboard takes any number")
    opened = _opened(runs)
    first, second = opened[0], opened[-1]
    named = [name.strip() for name in rewards.split(",") if name.strip()] if rewards else []
    found = comparing.changes(first, second, named)
    if as_json:
        print_json([_object(change) for change in found], indent=1)
    else:
        print_table(HEAD, [_cells(change) for change in found])
        for note in _notes(found):
            say(note)
    if fail_if_worse and (problems := comparing.worse(found, fail_if_worse, (first, second))):
        for problem in problems:
            say(f"rmbench: {problem}")
        raise typer.Exit(1)


def _object(change: Change) -> dict[str, Any]:
    result = change.result
    return {
        "task": result.task, "metric": result.metric, "aspect": result.aspect, "level": result.level,
        "before": change.before, "after": change.after, "values": change.values, "difference": result.value,
        "ci": result.ci, "p": result.p, "p_holm": result.p_holm, "n": result.n, "pairs": result.pairs,
        "rows": result.rows, "left_out": change.left_out, "oracles": change.oracles,
        "resamples": result.resamples, "reason": result.reason,
    }  # fmt: skip


def _notes(found: list[Change]) -> list[str]:
    """Say what a reader of the table could get wrong."""
    said = ["both values and the difference (after less before) are on the pairs (or texts) that both have"]
    oracles = dict.fromkeys(name for change in found for name in change.oracles)
    return said + ([f"oracles, which read the labels and are never ranked: {', '.join(oracles)}"] if oracles else [])


def _number(value: float | None, form: str = ".4f") -> str:
    return "-" if value is None else format(value, form)


def _cells(change: Change) -> list[str]:
    result = change.result
    interval = "-" if result.ci is None else f"{result.ci[0]:+.4f} to {result.ci[1]:+.4f}"
    before, after = (_number(value) for value in change.values)
    tests = _number(result.p, ".3g"), _number(result.p_holm, ".3g")
    aspect = f" on {result.aspect}" if result.aspect else ""
    words = result.task or "", result.metric + aspect, f"{change.before} {before}", f"{change.after} {after}"
    return [*words, _number(result.value, "+.4f"), interval, *tests, _units(change), _left_out(change)]


def _units(change: Change) -> str:
    """Return what the difference is measured on: the pairs, or texts, that both have."""
    result = change.result
    counted = f"{result.pairs:,} pairs" if result.pairs is not None else f"{result.rows or 0:,} texts"
    return f"{counted} of {result.n or 0:,} samples"


def _left_out(change: Change) -> str:
    """Return how many pairs, or texts, only one of the two has."""
    parts = [f"{n:,} of {name}" for n, name in zip(change.left_out, ("before", "after"), strict=True) if n]
    return ", ".join(parts) or "0"
