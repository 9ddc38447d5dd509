"""The toy task, a table of the world, and a training of it: what the report and the tests work with."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench import judgements, toy
from rmbench.api import Runtime
from rmbench.policies.tabular import TabularAgent
from rmbench.policies.tabular_options import Tabular
from rmbench.policy import Scored, Session
from rmbench.tasks import load_tasks
from rmbench.toy_world import FREE, VOCABULARY, reward

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.api import Sample
    from rmbench.judged import Judgements

REWARD = "toy"
TASKS = Path(__file__).resolve().parent.parent.parent / "tasks"


@cache
def data() -> Judgements:
    """Return what a training reads of the task."""
    return judgements.read(next(task for task in load_tasks(TASKS) if task.name == "toy"), seed=1)


def score(samples: Sequence[Sample], texts: Sequence[str], shift: float = 0.0) -> Scored:
    """Return the toy reward of texts, plus a constant."""
    return Scored(tuple(reward(sample.prompt, text) + shift for sample, text in zip(samples, texts, strict=True)))


def agent(table: Any, kind: type[TabularAgent] = TabularAgent) -> TabularAgent:
    """Return the policy of a table (places, 13, 4); texts without a prompt are uniform to it."""
    whole = np.zeros((toy.ROWS, FREE, VOCABULARY), dtype=np.float32)
    whole[:-1] = table
    return kind(whole)


def table(policy: TabularAgent) -> Any:
    """Return the table of a policy, float64 (places, 13, 4)."""
    return policy.module.logits.detach().double().numpy()[:-1].copy()


def session(
    folder: Path, start: Any, *, seed: int = 1, shift: float = 0.0, watch: Callable[[], Mapping[str, float]] = dict
) -> Session:
    """Return a session that rewards with the toy reward.

    Args:
        folder: where it may write.
        start: the table that KL is measured to.
        seed: of the training.
        shift: added to every reward.
        watch: numbers that are to stand in the curve as those of judges.
    """

    def judge(samples: Sequence[Sample], texts: Sequence[str]) -> dict[str, Scored]:
        watched = {name: Scored((value,) * len(texts)) for name, value in watch().items()}
        return {REWARD: score(samples, texts, shift), **watched}

    return Session(
        folder, {"name": "toy"}, Runtime(seed=seed), Tabular(), lambda: agent(start),
        lambda samples, texts: score(samples, texts, shift), judge, REWARD,
    )  # fmt: skip


def on_the_way(beta: float, *, spread: float = 0.5, seed: int = 0) -> Any:
    """Return a table between a random one and the optimum: the best at a KL penalty of beta; the lower, the better."""
    first = np.random.default_rng(seed).normal(size=(toy.ROWS - 1, FREE, VOCABULARY)) * spread
    return toy.table_of(toy.regularised(toy.policy(first), beta))
