"""Trainings of the toy policy, each with the exact numbers of its table on the way."""

from __future__ import annotations

import importlib
import json
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import world

from rmbench import toy
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.options import Grpo, Reinforce, Sft
from rmbench.trainers.pair_options import BestOfN, Dpo

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

MODULES = {
    Sft: "sft", Reinforce: "reinforce", Grpo: "grpo", ActorCritic: "actor_critic", Ppo: "ppo", Dpo: "dpo",
    BestOfN: "best_of_n",
}  # fmt: skip
DRAWN = {"steps": 300, "batch": 15, "learning_rate": 0.1, "evaluations": 30, "evaluation_prompts": 1, "kl_limit": 0.0}


@dataclass(frozen=True, slots=True)
class Course:
    """One training: exact numbers of its table at each evaluation.

    Attributes:
        steps: of the evaluations.
        expected: exact expected reward there.
        kl: exact KL to the uniform start, nats.
        entropy: exact, nats a response.
        table: at the end.
    """

    steps: tuple[int, ...]
    expected: tuple[float, ...]
    kl: tuple[float, ...]
    entropy: tuple[float, ...]
    table: NDArray[Any]


def recipes() -> dict[str, Any]:
    """Return the options of each trainer by the name it has in the report."""
    drawn = {**DRAWN, "kl": 0.0, "entropy": 0.02, "group": 4}
    return {
        "reinforce, no baseline": Reinforce(baseline="none", **drawn),
        "reinforce, moving average": Reinforce(baseline="moving-average", **drawn),
        "reinforce, greedy": Reinforce(baseline="greedy", **drawn),
        "reinforce, leave-one-out": Reinforce(baseline="leave-one-out", **drawn),
        "actor-critic": ActorCritic(**drawn),
        "ppo": Ppo(**{**drawn, "learning_rate": 0.03}),
        "grpo": Grpo(**{**drawn, "group": 8}),
        "dpo": Dpo(**{**DRAWN_PAIRS, "draw": "policy"}),
        "sft": Sft(steps=300, batch=30, learning_rate=0.1, evaluations=30, evaluation_prompts=5),
    }


DRAWN_PAIRS = {
    "steps": 300, "batch": 15, "learning_rate": 0.1, "evaluations": 30, "evaluation_prompts": 1, "group": 4, "beta": 0.1,
}  # fmt: skip


def train(options: Any, seed: int, *, start: Any = None) -> Course:
    """Train a table with the trainer that the options belong to."""
    begin = toy.uniform() if start is None else start
    agent = world.agent(begin)
    reference = toy.policy(begin)

    def watch() -> Mapping[str, float]:
        logp = toy.policy(world.table(agent))
        return {"expected": toy.mean(logp), "kl": toy.kl(logp, reference), "entropy": toy.entropy(logp)}

    with tempfile.TemporaryDirectory() as folder:
        trainer = importlib.import_module(f"rmbench.trainers.{MODULES[type(options)]}")
        trainer.train(agent, world.data(), options, world.session(Path(folder), begin, seed=seed, watch=watch))
        lines = (Path(folder) / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    found = {name: tuple(row["judges"][name] for row in rows) for name in ("expected", "kl", "entropy")}
    return Course(tuple(row["step"] for row in rows), **found, table=world.table(agent))
