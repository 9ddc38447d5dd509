"""The command line: parse, call, print. Every command imports what it needs when it is called."""

from __future__ import annotations

import contextlib
import io
import sys
import traceback
from typing import Annotated

import click
import typer

from rmbench.checks import MOST_PROBLEMS
from rmbench.cli import bench, catalog, checking, faults, fitting, reading, running, scoring, terminal, tune
from rmbench.errors import InputErrors, RMBenchError

app = typer.Typer(
    name="rmbench", no_args_is_help=True, add_completion=False, rich_markup_mode=None, pretty_exceptions_enable=False,
    help="Evaluate and benchmark rewards for language models.",
    suggest_commands=False,  # click does
)  # fmt: skip
app.command("run")(running.run)
app.command("report")(reading.report)
app.command("leaderboard")(reading.leaderboard)
app.command("compare")(reading.compare)
app.command("verify")(checking.verify)
app.command("reproduce")(checking.reproduce)
app.command("score")(scoring.score)
app.command("fit")(fitting.fit)
app.command("tune")(tune.tune)
app.command("bench")(bench.bench)
app.command("doctor")(checking.doctor)
app.command("list")(catalog.list_)
app.command("show")(catalog.show)


def _version(value: bool) -> None:  # noqa: FBT001 - typer's callback
    if value:
        from rmbench import __version__

        typer.echo(f"rmbench {__version__}")
        raise typer.Exit


@app.callback()
def common(
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks (may stand anywhere).")] = False,
) -> None:
    """Take the options that every command has."""
    del version, debug


def invoke(arguments: list[str]) -> int:
    """Run a command line and return its exit code.

    The context is made here, since ``command.main`` turns a closed pipe into exit code 1.
    """
    command = typer.main.get_command(app)
    arguments = with_count(arguments)
    try:
        with command.make_context("rmbench", arguments) as context:
            command.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except click.exceptions.Abort:
        return 130
    except click.ClickException as error:
        shown = io.StringIO()
        error.show(shown)
        terminal.say(*shown.getvalue().splitlines())
        return 2
    except RMBenchError as error:
        terminal.say_errors(error.errors[:MOST_PROBLEMS] if isinstance(error, InputErrors) else (error,))
        return error.exit_code
    return 0


def with_count(arguments: list[str]) -> list[str]:
    """Return the words with the number of rows behind a ``--check-invariance`` that stands without one."""
    name = "--check-invariance"
    if name not in arguments:
        return arguments
    from rmbench.invariance import ROWS

    words = []
    for word, following in zip(arguments, [*arguments[1:], ""], strict=True):
        words += [name, str(ROWS)] if word == name and not following.isdecimal() else [word]
    return words


def guarded(arguments: list[str], *, debug: bool) -> int:
    """Run a command line; whatever it raises becomes an exit code and one message."""
    try:
        code = invoke(arguments)
        sys.stdout.flush()
    except KeyboardInterrupt:
        code = 130
    except BrokenPipeError:
        code = 141
    except Exception as error:  # noqa: BLE001 - the last guard: a bug is told in one line, its traceback saved
        if debug:
            terminal.say(*"".join(traceback.format_exception(error)).split("\n"))
        with contextlib.suppress(OSError):  # stderr may be what is full
            return faults.environment(error) if isinstance(error, OSError | MemoryError) else faults.bug(error)
        code = 4
    return code


def main() -> None:
    """Enter here: ``rmbench``."""
    terminal.ready()
    arguments = [word for word in sys.argv[1:] if word != "--debug"]
    code = guarded(arguments, debug=len(arguments) < len(sys.argv) - 1)
    terminal.let_go()
    sys.exit(code)


if __name__ == "__main__":
    main()
