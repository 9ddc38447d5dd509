"""The whole hook surface. Hooks return iterables of values; nothing is registered by side effect."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pluggy

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmbench.api import Metric, Reward, Task
    from rmbench.judged import RewardModel
    from rmbench.policy import Policy, Trainer
    from rmbench.runs import Run

PROJECT = "rmbench"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)


@hookspec
def rmbench_tasks() -> Iterable[Task]:
    """Give tasks to measure on. Called once, when names are first looked up."""
    return ()


@hookspec
def rmbench_rewards() -> Iterable[Reward]:
    """Give rewards: anything that scores a text. Called once, when names are first looked up."""
    return ()


@hookspec
def rmbench_reward_models() -> Iterable[RewardModel]:
    """Give what can be fitted on human judgements and then gives a score (provisional)."""
    return ()


@hookspec
def rmbench_policies() -> Iterable[Policy]:
    """Give what generates texts and can be trained (provisional)."""
    return ()


@hookspec
def rmbench_trainers() -> Iterable[Trainer]:
    """Give what improves a policy, with a score or without one (provisional)."""
    return ()


@hookspec
def rmbench_metrics() -> Iterable[Metric]:
    """Give statistics that compare a reward with people (provisional)."""
    return ()


@hookspec
def rmbench_run_finished(run: Run) -> None:
    """Observe a finished run (upload, notify). Called after results.json is written, in a process of its own."""
