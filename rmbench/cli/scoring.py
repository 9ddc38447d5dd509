"""``rmbench score``: a pipe from rows to rows with scores."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated

import typer

from rmbench.cli.arguments import option_values
from rmbench.cli.catalog import load
from rmbench.cli.terminal import print_json, say


def score(
    reward: Annotated[str, typer.Option("-r", "--reward", help="Name, file.py:name or package.module:name.")],
    file: Annotated[Path | None, typer.Argument(help="JSON lines; standard input by default.")] = None,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", metavar="R.KEY=VALUE", help="An option of the reward.")
    ] = None,
    timeout: Annotated[float, typer.Option(help="Seconds per batch (0: none).")] = 300.0,
    device: Annotated[str, typer.Option(help="Where models run.")] = "cpu",
) -> None:
    """Score rows: the same JSON lines come out, each with `score` (null with `reason`) and `parts`."""
    from rmbench import stream
    from rmbench.api import Runtime
    from rmbench.datafile import is_table
    from rmbench.errors import InputError
    from rmbench.overrides import label

    given = option_values(option or [], [label(reward)])
    for name, key, _ in given:
        if name != label(reward):
            raise InputError(
                f"-o {name}.{key}: the reward here is {label(reward)!r}", help=f"-o {label(reward)}.{key}=..."
            )
    options = {key: value for _, key, value in given}
    entry = {"use": reward, "options": options}
    scorer = stream.Scorer.named(load(), entry, base=Path.cwd(), timeout=timeout, runtime=Runtime(device=device))
    if file is not None and not file.is_file():
        raise InputError("is no file", where=str(file), help="give a file of rows, or pipe JSON lines in")
    lost = 0
    try:
        with sys.stdin.buffer if file is None else file.open("rb") as source:
            name, path = ("standard input", None) if file is None else (str(file), file if is_table(file) else None)
            for line in stream.score_stream(source, name, scorer, _warn, path):
                lost += line["score"] is None and line["reason"] != "the reward gave None"
                print_json(line)
    finally:
        scorer.close()
    for name, ledger in scorer.ledgers.items():
        for note in sorted(ledger.notes):
            _warn(f"reward {name}: {note}")
    if lost:
        say(f"rmbench: {lost} rows could not be scored (see `reason`)")
        raise typer.Exit(1)


def _warn(message: str) -> None:
    say(f"rmbench: warning: {message}")
