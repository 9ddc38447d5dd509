"""What no command expected: a failing disk or pipe (exit 4), and bugs of ours (exit 70)."""

from __future__ import annotations

import contextlib
import tempfile
import traceback
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from rmbench.cli.terminal import say
from rmbench.errors import RMBenchError
from rmbench.store import RunFolder

if TYPE_CHECKING:
    from collections.abc import Iterator


class Bug(Exception):
    """A bug of ours that showed while a run folder was open: what was raised, and the folder."""

    def __init__(self, error: Exception, run: Path) -> None:
        super().__init__(str(error))
        self.error = error
        self.run = run


@contextmanager
def bugs_of(run: Path) -> Iterator[None]:
    """Name the run folder, where there is one, with a bug that shows inside."""
    try:
        yield
    except (RMBenchError, OSError, MemoryError):
        raise
    except Exception as error:
        if RunFolder.is_run(run):
            raise Bug(error, run) from error
        raise


def environment(error: OSError | MemoryError) -> int:
    """Say in one line what the system refused, and return 4."""
    if isinstance(error, MemoryError):
        say("rmbench: error: out of memory")
        return 4
    place = "" if error.filename is None else f"{error.filename}: "
    say(f"rmbench: error: {place}{error.strerror or error}")
    return 4


def bug(error: Exception) -> int:
    """Save the traceback of a bug of ours, say where it is, and return 70."""
    run, error = (error.run, error.error) if isinstance(error, Bug) else (None, error)
    text = "".join(traceback.format_exception(error))
    place = _saved(text, run)
    advice = f"please report it with {place}" if place else f"please report it: {text}"
    say(f"rmbench: internal error: {type(error).__name__}: {error}", f"  help: {advice}")
    return 70


def _saved(text: str, run: Path | None) -> str | None:
    """Write a traceback into ``logs/`` of the run folder, else into a temporary file; None where neither can be."""
    for folder in (None if run is None else run / "logs", Path(tempfile.gettempdir())):
        with contextlib.suppress(OSError):
            if folder is not None:
                folder.mkdir(exist_ok=True)
                with tempfile.NamedTemporaryFile(
                    "w", prefix="rmbench-", suffix=".log", dir=folder, delete=False, encoding="utf-8", errors="replace"
                ) as log:
                    log.write(text)
                return log.name
    return None
