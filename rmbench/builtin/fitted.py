"""A reward model that was fitted, as a reward: its checkpoint folder and nothing else."""

from collections.abc import Iterable
from pathlib import Path

from rmbench import Reward, Runtime, load_fitted
from rmbench.api import Scorer


def fitted(*, path: Path, runtime: Runtime | None = None) -> Scorer:
    """Score of a fitted reward model, higher is better; scale and parts are those of the model (see its card.md).

    path is the folder of a fit, such as RUN/training/NAME. What it needs and uses stands in its config.json.
    """
    return load_fitted(path, runtime)


def _uses(*, path: Path) -> Iterable[str]:
    from rmbench.fitted import inspect

    return list(inspect(path).uses)


def _facts(*, path: Path) -> Iterable[str]:
    from rmbench.fitted import inspect

    found = inspect(path)
    return [f"model:{found.reward_model}@{found.version}", f"loss:{found.loss}", f"task:{found.task}"]


REWARDS = (
    Reward(name="fitted", version=1, build=fitted, uses=_uses, facts=_facts, backends=("torch", "transformers")),
)
