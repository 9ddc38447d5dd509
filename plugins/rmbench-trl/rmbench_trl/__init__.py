"""TRL's trainers as trainers of rmbench, and its reward trainer as a reward model.

Importing this imports neither TRL nor torch: both come where something is trained.
"""

from pathlib import Path
from typing import Any

from rmbench import Agent, Fitting, Judgements, RewardModel, Runtime, Session, Trained, Trainer, hookimpl
from rmbench.api import Scorer
from rmbench_trl.options import TrlDpo, TrlGrpo, TrlRloo, TrlSft, dpo_needs
from rmbench_trl.packages import part, require
from rmbench_trl.reward_options import TrlReward

BACKENDS = ("trl", "transformers", "torch")


def train_sft(agent: Agent, judgements: Judgements, options: TrlSft, session: Session) -> Trained:
    """Train with TRL's SFTTrainer (see ``rmbench_trl.sft``)."""
    made: Trained = part("trl-sft", "sft").train(agent, judgements, options, session)
    return made


def train_dpo(agent: Agent, judgements: Judgements, options: TrlDpo, session: Session) -> Trained:
    """Train with TRL's DPOTrainer (see ``rmbench_trl.dpo``)."""
    made: Trained = part("trl-dpo", "dpo").train(agent, judgements, options, session)
    return made


def train_grpo(agent: Agent, judgements: Judgements, options: TrlGrpo, session: Session) -> Trained:
    """Train with TRL's GRPOTrainer (see ``rmbench_trl.on_policy``)."""
    made: Trained = part("trl-grpo", "on_policy").grpo(agent, judgements, options, session)
    return made


def train_rloo(agent: Agent, judgements: Judgements, options: TrlRloo, session: Session) -> Trained:
    """Train with TRL's RLOOTrainer (see ``rmbench_trl.on_policy``)."""
    made: Trained = part("trl-rloo", "on_policy").rloo(agent, judgements, options, session)
    return made


def check_trainer(_: Judgements, __: Any) -> None:
    """Refuse a missing TRL."""
    require("trl")


def fit_reward(judgements: Judgements, loss: str, options: TrlReward, fitting: Fitting) -> Path:
    """Fit with TRL's RewardTrainer (see ``rmbench_trl.reward``)."""
    made: Path = part("trl-reward", "reward").fit(judgements, loss, options, fitting)
    return made


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
def rmbench_trainers() -> list[Trainer]:
    """Give TRL's trainers of policies."""
    pairs = "TRL's DPOTrainer on pairs that the reward ranks or the task has (Rafailov et al. 2023)"
    alone = frozenset({"references"})
    common: dict[str, Any] = {"backends": BACKENDS, "check": check_trainer}
    return [
        Trainer("trl-sft", 1, TrlSft, train_sft, alone, doc="TRL's SFTTrainer on the task's references", **common),
        Trainer("trl-dpo", 1, TrlDpo, train_dpo, dpo_needs, doc=pairs, **common),
        Trainer("trl-grpo", 1, TrlGrpo, train_grpo, doc="TRL's GRPOTrainer (Shao et al. 2024)", **common),
        Trainer("trl-rloo", 1, TrlRloo, train_rloo, doc="TRL's RLOOTrainer (Ahmadian et al. 2024)", **common),
    ]


@hookimpl
def rmbench_reward_models() -> list[RewardModel]:
    """Give the reward model that TRL fits."""
    return [
        RewardModel(
            "trl-reward", 1, TrlReward, fit_reward, load_reward, ("bradley-terry",),
            backends=(*BACKENDS, "tokenizers"), check=check_reward,
        )
    ]  # fmt: skip
