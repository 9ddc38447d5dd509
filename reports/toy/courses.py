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
from rmbench.trainers.pair_options import Dpo

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

MODULES = {
    Sft: "sft", Reinforce: "reinforce", Grpo: "grpo", ActorCritic: "actor_critic", Ppo: "ppo", Dpo: "dpo",
}  # fmt: skip
SHARED = {"batch": 15, "learning_rate": 0.1, "evaluations": 30, "evaluation_prompts": 1}
DRAWN = {**SHARED, "group": 4, "kl": 0.0, "entropy": 0.0, "kl_limit": 0.0}


@dataclass(frozen=True, slots=True)
class Course:
    """One training: exact numbers of its table at each evaluation.

    Attributes:
        steps: of the evaluations.
        expected: exact expected reward there.
        kl: exact KL to the start, nats a response.
        table: at the end.
    """

    steps: tuple[int, ...]
    expected: tuple[float, ...]
    kl: tuple[float, ...]
    table: NDArray[Any]


def trainers(steps: int) -> dict[str, Any]:
    """Return the options of each trainer by the name it has in the report."""
    drawn = {**DRAWN, "entropy": 0.02, "steps": steps}
    return {
        "reinforce, no baseline": Reinforce(baseline="none", **drawn),
        "reinforce, no baseline, half the rate": Reinforce(baseline="none", **{**drawn, "learning_rate": 0.05}),
        "reinforce, moving average": Reinforce(baseline="moving-average", **drawn),
        "reinforce, greedy": Reinforce(baseline="greedy", **drawn),
        "reinforce, leave-one-out": Reinforce(baseline="leave-one-out", **drawn),
        "actor-critic": ActorCritic(**drawn),
        "ppo": Ppo(**{**drawn, "learning_rate": 0.03}),
        "grpo": Grpo(**{**drawn, "group": 8}),
        "dpo": Dpo(**{**SHARED, "group": 4, "draw": "policy", "steps": steps}),
        "sft": Sft(**{**SHARED, "batch": 60, "steps": steps, "evaluation_prompts": 5}),
    }


SCHEDULES: Mapping[str, Mapping[str, Any]] = {
    "constant": {}, "linear": {"schedule": "linear"}, "cosine": {"schedule": "cosine"},
    "step": {"schedule": "step"}, "exponential": {"schedule": "exponential"},
    "cosine, warm-up": {"schedule": "cosine", "warmup": 0.1},
}  # fmt: skip
ENTROPIES = (0.0, 0.01, 0.03, 0.1, 0.3)
PENALTIES = (0.05, 0.1, 0.2, 0.5)
PLACES: Mapping[str, Mapping[str, Any]] = {
    "k1 in the reward": {"kl_in": "reward", "kl_estimator": "k1"},
    "k1 in the loss": {"kl_in": "loss", "kl_estimator": "k1"},
    "k2 in the loss": {"kl_in": "loss", "kl_estimator": "k2"},
    "k3 in the loss": {"kl_in": "loss", "kl_estimator": "k3"},
}


def scheduled(name: str, steps: int) -> Reinforce:
    """Return REINFORCE with a high rate and a KL penalty, whose optimum it can be measured against."""
    given = {**DRAWN, "learning_rate": 0.3, "group": 2, "kl": 0.2, "steps": steps, "evaluations": 1}
    return Reinforce(baseline="leave-one-out", **{**given, **SCHEDULES[name]})


def explored(entropy: float, steps: int) -> Reinforce:
    """Return REINFORCE with an entropy bonus and few responses a step, which a lure can catch."""
    given = {**DRAWN, "learning_rate": 0.3, "batch": 5, "entropy": entropy, "steps": steps, "schedule": "cosine"}
    return Reinforce(baseline="leave-one-out", **{**given, "evaluations": 1})


def penalised(name: str, kl: float, steps: int) -> Reinforce:
    """Return REINFORCE with a KL penalty, long enough to settle."""
    given = {**DRAWN, "group": 8, "kl": kl, "steps": steps, "schedule": "cosine", "evaluations": 1}
    return Reinforce(baseline="leave-one-out", **{**given, **PLACES[name]})


def train(options: Any, seed: int) -> Course:
    """Train a uniform table with the trainer that the options belong to."""
    begin = toy.uniform()
    agent = world.agent(begin)
    reference = toy.policy(begin)

    def watch() -> Mapping[str, float]:
        logp = toy.policy(world.table(agent))
        return {"expected": toy.mean(logp), "kl": toy.kl(logp, reference)}

    with tempfile.TemporaryDirectory() as folder:
        trainer = importlib.import_module(f"rmbench.trainers.{MODULES[type(options)]}")
        trainer.train(agent, world.data(), options, world.session(Path(folder), begin, seed=seed, watch=watch))
        lines = (Path(folder) / "curve.jsonl").read_text(encoding="utf-8").splitlines()
    rows = [json.loads(line) for line in lines]
    found = {name: tuple(row["judges"][name] for row in rows) for name in ("expected", "kl")}
    return Course(tuple(row["step"] for row in rows), **found, table=world.table(agent))


def every(options: Any, seeds: Sequence[int]) -> list[Course]:
    """Train once for each seed."""
    return [train(options, seed) for seed in seeds]
