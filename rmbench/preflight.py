"""Before a run folder exists: rewards whose options their own ``build`` refuses are the user's errors."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from rmbench.errors import InputError, InputErrors
from rmbench.process import Broken, Inline, Process

if TYPE_CHECKING:
    import threading
    from collections.abc import Iterable

    from rmbench.api import Runtime
    from rmbench.rewards import Chosen


def refused(chosen: Chosen, message: str) -> InputError:
    """Return the error that says which reward will not have its options, and what it said."""
    if chosen.use == "fitted":
        return InputError(f"reward {chosen.name!r}: {message}", help="fit it again, or copy the whole folder")
    return InputError(f"options of reward {chosen.name!r}: {message}", help=f"see `rmbench show {chosen.reward.name}`")


def check_options(
    rewards: Iterable[Chosen], runtime: Runtime, *, timeout: float, workers: int, stop: threading.Event
) -> None:
    """Build every reward that was given options once, in a process of its own, and throw it away.

    ``build`` must be cheap: what is heavy is loaded at the first batch. A builder that fails otherwise (a missing
    package, a bug, a hang) is met again when it scores, and costs the other rewards nothing.

    Raises:
        InputError, InputErrors: options that ``build`` refuses with a ValueError, a TypeError, or a path that is
            not there.
        Stopped: the user interrupted.
    """

    def attempt(chosen: Chosen) -> InputError | None:
        try:
            if chosen.source == "inline":
                seat: Inline | Process = Inline(chosen, runtime)
            else:
                seat = Process(chosen, runtime, timeout=timeout, stop=stop, log=None)
        except Broken as error:
            return refused(chosen, error.refused) if error.refused else None
        seat.close()
        return None

    given = [chosen for chosen in rewards if chosen.options]
    with ThreadPoolExecutor(max(1, workers)) as pool:
        try:
            problems = [problem for problem in pool.map(attempt, given) if problem is not None]
        except BaseException:
            stop.set()
            raise
    if len(problems) == 1:
        raise problems[0]
    if problems:
        raise InputErrors(problems)
