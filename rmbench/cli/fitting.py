"""``rmbench fit``: the reward models of a suite, fitted and not yet scored."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path  # noqa: TC003 - typer reads the annotations
from typing import Annotated

import typer

from rmbench.cli.arguments import option_values
from rmbench.cli.running import execute
from rmbench.cli.terminal import print_lines, say
from rmbench.guard import plain


def fit(
    suite_name: Annotated[
        str | None, typer.Argument(metavar="SUITE", help="A suite with [[reward_model]] tables; not with --resume.")
    ] = None,
    option: Annotated[
        list[str] | None, typer.Option("-o", "--option", metavar="NAME.KEY=VALUE", help="An option of a model.")
    ] = None,
    out: Annotated[Path | None, typer.Option(help="The run folder [default: runs/<suite>-<UTC time>].")] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with what is in --out.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the run in --out.")] = False,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.")] = None,
    device: Annotated[str, typer.Option(help="Where models are fitted.")] = "cpu",
    workers: Annotated[int | None, typer.Option(min=1, help="Models fitted at once [default: processors].")] = None,
    data_dir: Annotated[Path | None, typer.Option(help="Folder of further tasks [default: $RMBENCH_DATA].")] = None,
) -> None:
    """Fit the reward models of a suite. `rmbench run --resume --out DIR` then scores with them."""
    from rmbench.errors import InputError
    from rmbench.fitting import folder_of
    from rmbench.overrides import Overrides
    from rmbench.runs import Settings
    from rmbench.store import RunFolder

    if suite_name is None and not (resume and out is not None and RunFolder.is_run(out)):
        raise InputError("no suite was named", help="rmbench fit SUITE.toml, or --resume --out DIR of a run")
    words = plain(shlex.join(["rmbench", *sys.argv[1:]]))
    settings = Settings(
        out, resume=resume, force=force, device=device, workers=workers, command=words, only_fit=True
    )  # fmt: skip
    over = Overrides(options=tuple(option_values(option or [], [])), seed=seed, data_dir=data_dir)
    done = execute(suite_name, settings, over)
    manifest = done.manifest
    for entry in manifest["resolved"]["rewards"]:
        if entry["fitted"] and entry["name"] not in manifest["failures"]:
            print_lines(str(folder_of(done.folder, entry["name"])))
    for name, reason in manifest["failures"].items():
        say(f"rmbench: reward model {name} could not be fitted: {reason}")
    if manifest["failures"]:
        raise typer.Exit(3)
