"""Trainers of policies: ``actor-critic``, ``ppo``, ``dpo`` and ``best-of-n``. torch is imported where one trains."""

from rmbench.judged import Judgements
from rmbench.policy import Agent, Session, Trained, Trainer
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.pair_options import BestOfN, Dpo


def train_actor_critic(agent: Agent, judgements: Judgements, options: ActorCritic, session: Session) -> Trained:
    """Train with advantage actor-critic (see ``rmbench.trainers.actor_critic``)."""
    from rmbench.trainers.actor_critic import train

    return train(agent, judgements, options, session)


def train_ppo(agent: Agent, judgements: Judgements, options: Ppo, session: Session) -> Trained:
    """Train with PPO (see ``rmbench.trainers.ppo``)."""
    from rmbench.trainers.ppo import train

    return train(agent, judgements, options, session)


def train_dpo(agent: Agent, judgements: Judgements, options: Dpo, session: Session) -> Trained:
    """Train on pairs (see ``rmbench.trainers.dpo``)."""
    from rmbench.trainers.dpo import train

    return train(agent, judgements, options, session)


def train_best_of_n(agent: Agent, judgements: Judgements, options: BestOfN, session: Session) -> Trained:
    """Choose among n responses (see ``rmbench.trainers.best_of_n``)."""
    from rmbench.trainers.best_of_n import train

    return train(agent, judgements, options, session)


def critic_needs(options: ActorCritic | Ppo) -> frozenset[str]:
    """Return what training with a critic needs: a reward, and references where they are mixed in."""
    return frozenset({"reward", "references"} if options.mix else {"reward"})


def dpo_needs(options: Dpo) -> frozenset[str]:
    """Return what DPO learns from: the reward, or the pairs of the task."""
    return frozenset({"pairs" if options.pairs == "task" else "reward"})


TRAINERS = (
    Trainer(
        "actor-critic", 1, ActorCritic, train_actor_critic, critic_needs, ("torch",),
        doc="Advantage actor-critic with n-step returns or GAE (Mnih et al. 2016; Schulman et al. 2016).",
    ),
    Trainer(
        "ppo", 1, Ppo, train_ppo, critic_needs, ("torch",),
        doc="Proximal policy optimisation with a value head (Schulman et al. 2017; Ziegler et al. 2019).",
    ),
    Trainer(
        "dpo", 1, Dpo, train_dpo, dpo_needs, ("torch",),
        doc="Direct preference optimisation, on pairs by the reward or the task's (Rafailov et al. 2023; Azar 2024).",
    ),
    Trainer(
        "best-of-n", 1, BestOfN, train_best_of_n, frozenset({"reward"}), (),
        doc="The best of n responses by the reward; no weight changes (Stiennon et al. 2020; Nakano et al. 2021).",
    ),
)  # fmt: skip
