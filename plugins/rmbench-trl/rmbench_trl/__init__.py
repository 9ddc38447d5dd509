"""TRL's trainers as trainers of rmbench, and its reward trainer as a reward model.

Importing this imports neither TRL nor torch: both come where something is trained.
"""

from pathlib import Path

from rmbench import Fitting, Judgements, RewardModel, Runtime, hookimpl
from rmbench.api import Scorer
from rmbench_trl.packages import require
from rmbench_trl.reward_options import TrlReward


def fit_reward(judgements: Judgements, loss: str, options: TrlReward, fitting: Fitting) -> Path:
    """Fit with TRL's RewardTrainer (see ``rmbench_trl.reward``)."""
    require("trl-reward")
    from rmbench_trl.reward import fit

    return fit(judgements, loss, options, fitting)


def check_reward(_: Judgements, __: str, options: TrlReward) -> None:
    """Refuse what ``transformer`` refuses, and a missing TRL."""
    require("trl-reward")
    from rmbench.models.transformer import check

    check(options)


def load_reward(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of ``transformer``: what TRL fitted needs no TRL to score."""
    from rmbench.builtin.neural_models import load_transformer

    return load_transformer(folder, runtime)


@hookimpl
def rmbench_reward_models() -> list[RewardModel]:
    """Give the reward model that TRL fits."""
    backends = ("trl", "torch", "transformers", "tokenizers")
    return [
        RewardModel(
            "trl-reward", 1, TrlReward, fit_reward, load_reward, ("bradley-terry",), backends=backends,
            check=check_reward,
        )
    ]  # fmt: skip
