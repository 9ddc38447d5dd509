"""rmbench: evaluate and benchmark rewards for language models. The public API, re-exports only."""

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rmbench.api import (
    Batch,
    Candidate,
    Label,
    Metric,
    NoScore,
    Preference,
    Result,
    Reward,
    Runtime,
    Sample,
    Task,
    Turn,
)
from rmbench.errors import EnvironmentFault, InputError, PluginError, RMBenchError, RunFolderError
from rmbench.judged import Fitting, Interrupted, Judged, Judgements, Pair, RewardModel
from rmbench.policy import Agent, Decoding, Forward, Policy, Response, Scored, Session, Trained, Trainer
from rmbench.version import __version__

if TYPE_CHECKING:
    from rmbench.fitted import load_fitted
    from rmbench.hookspecs import hookimpl
    from rmbench.interop import from_trl, to_trl
    from rmbench.runs import Run, run
    from rmbench.stream import score
    from rmbench.tasks import load_task, load_tasks

LATER = {
    "Run": "rmbench.runs",
    "from_trl": "rmbench.interop",
    "hookimpl": "rmbench.hookspecs",
    "load_fitted": "rmbench.fitted",
    "load_task": "rmbench.tasks",
    "load_tasks": "rmbench.tasks",
    "run": "rmbench.runs",
    "score": "rmbench.stream",
    "to_trl": "rmbench.interop",
}


def __getattr__(name: str) -> Any:
    """Import what a name needs when it is first used: a plugin or ``--help`` pays for nothing else."""
    if name not in LATER:
        raise AttributeError(f"module 'rmbench' has no attribute {name!r}")
    value = globals()[name] = vars(import_module(LATER[name]))[name]
    return value


__all__ = [
    "Agent",
    "Batch",
    "Candidate",
    "Decoding",
    "EnvironmentFault",
    "Fitting",
    "Forward",
    "InputError",
    "Interrupted",
    "Judged",
    "Judgements",
    "Label",
    "Metric",
    "NoScore",
    "Pair",
    "PluginError",
    "Policy",
    "Preference",
    "RMBenchError",
    "Response",
    "Result",
    "Reward",
    "RewardModel",
    "Run",
    "RunFolderError",
    "Runtime",
    "Sample",
    "Scored",
    "Session",
    "Task",
    "Trained",
    "Trainer",
    "Turn",
    "__version__",
    "from_trl",
    "hookimpl",
    "load_fitted",
    "load_task",
    "load_tasks",
    "run",
    "score",
    "to_trl",
]
