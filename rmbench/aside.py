"""Other people's metrics and observers, each in a process of its own: a run loses nothing by what they do."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rmbench.errors import EnvironmentFault
from rmbench.process import Failed, Worker
from rmbench.store import folder_name

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

    import numpy as np

    from rmbench.api import Metric, Result
    from rmbench.plugins import Catalog, Plugin, Provided

MODULE = "rmbench.worker"


def _logged(folder: Path, name: str) -> Path:
    folder.mkdir(exist_ok=True)
    return folder / f"{folder_name(name)}.log"


def _asked(worker: Worker, message: Mapping[str, Any]) -> tuple[dict[str, Any], str | None]:
    """Return the reply of a worker, and what went wrong in words."""
    try:
        reply: dict[str, Any] = worker.ask(message)
    except Failed as error:
        return {}, str(error)
    return reply, None if reply["ok"] else reply["message"]


class Statistic:
    """A plugin's statistic: ``(scores, human) -> float | None``. Once it has failed it gives None and says why."""

    def __init__(self, given: Provided[Metric], *, timeout: float, logs: Path) -> None:
        self.metric = given.value
        self.plugin = given.plugin
        self.timeout = timeout
        self.logs = logs
        self.failure: str | None = None
        self.worker: Worker | None = None

    def __call__(self, scores: np.ndarray, human: np.ndarray) -> float | None:
        """Measure two float64 columns of equal length."""
        if self.worker is None and self.failure is None:
            self._open()
        if self.worker is None or self.failure is not None:
            return None
        columns = {name: column.tobytes().hex() for name, column in (("scores", scores), ("human", human))}
        reply, self.failure = _asked(self.worker, {"op": "measure", **columns})
        value: float | None = reply.get("value")
        return value

    def _open(self) -> None:
        log = _logged(self.logs, f"metric-{self.metric.name}")
        self.worker = Worker(MODULE, timeout=self.timeout, stop=threading.Event(), log=log)
        named = {"distribution": self.plugin.distribution, "plugin": self.plugin.name, "metric": self.metric.name}
        _, self.failure = _asked(self.worker, {"op": "metric", **named})

    def close(self) -> None:
        """End the process."""
        if self.worker is not None:
            self.worker.kill()


class Statistics:
    """The statistics that plugins give, by the name of the metric; one that two plugins give is left out."""

    def __init__(self, catalog: Catalog, *, timeout: float, logs: Path) -> None:
        self.every = {
            name: Statistic(given[0], timeout=timeout, logs=logs)
            for name, given in catalog.metrics.items()
            if len(given) == 1 and given[0].value.statistic is not None
        }
        self.metrics = {name: replace(one.metric, statistic=one) for name, one in self.every.items()}

    def settled(self, results: Sequence[Result]) -> tuple[list[Result], list[str]]:
        """Return the results without any number of a metric that failed, and what failed in words."""
        failed = {name: one for name, one in self.every.items() if one.failure is not None}
        problems = [
            f"metric {name} ({one.plugin.distribution} {one.plugin.version}) failed, and its numbers are left out: "
            f"{one.failure} (mend it, or leave it out of `metrics`)"
            for name, one in failed.items()
        ]
        return [_void(r, failed[r.metric].failure) if r.metric in failed else r for r in results], problems


def _void(result: Result, failure: str | None) -> Result:
    return replace(result, value=None, ci=None, p=None, p_holm=None, resamples=None, reason=f"failed: {failure}")


@contextmanager
def statistics(catalog: Catalog, *, timeout: float, logs: Path) -> Iterator[Statistics]:
    """Give the statistics of the plugins, and end their processes afterwards."""
    made = Statistics(catalog, timeout=timeout, logs=logs)
    try:
        yield made
    finally:
        for one in made.every.values():
            one.close()


def observe(catalog: Catalog, run: Path, *, timeout: float, stop: threading.Event) -> list[str]:
    """Let every plugin that observes see the finished run; return a warning for each that failed."""
    warnings = []
    for plugin in catalog.observers:
        try:
            failure = _observed(plugin, run, timeout=timeout, stop=stop)
        except (OSError, EnvironmentFault) as error:
            failure = str(error)
        if failure is not None:
            warnings.append(f"{plugin}: rmbench_run_finished failed: {failure}; the run is complete all the same")
    return warnings


def _observed(plugin: Plugin, run: Path, *, timeout: float, stop: threading.Event) -> str | None:
    log = _logged(run / "logs", f"observer-{plugin.distribution}-{plugin.name}")
    worker = Worker(MODULE, timeout=timeout, stop=stop, log=log)
    try:
        named = {"distribution": plugin.distribution, "plugin": plugin.name}
        return _asked(worker, {"op": "observe", **named, "run": str(run)})[1]
    finally:
        worker.kill()
