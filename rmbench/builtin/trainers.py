"""Trainers of policies: ``sft``, ``reinforce``, ``grpo``, those of ``trainers_more``. torch is imported by training."""

from rmbench.builtin import trainers_more
from rmbench.judged import Judgements
from rmbench.policy import Agent, Session, Trained, Trainer
from rmbench.trainers.options import Grpo, Reinforce, Sft


def train_sft(agent: Agent, judgements: Judgements, options: Sft, session: Session) -> Trained:
    """Train on texts (see ``rmbench.trainers.sft``)."""
    from rmbench.trainers.sft import train

    return train(agent, judgements, options, session)


def train_reinforce(agent: Agent, judgements: Judgements, options: Reinforce, session: Session) -> Trained:
    """Train with REINFORCE (see ``rmbench.trainers.reinforce``)."""
    from rmbench.trainers.reinforce import train

    return train(agent, judgements, options, session)


def train_grpo(agent: Agent, judgements: Judgements, options: Grpo, session: Session) -> Trained:
    """Train with GRPO (see ``rmbench.trainers.grpo``)."""
    from rmbench.trainers.grpo import train

    return train(agent, judgements, options, session)


def sft_needs(options: Sft) -> frozenset[str]:
    """Return what supervised training needs: references, but for raw text, which takes whatever there is."""
    return frozenset() if options.learn == "texts" else frozenset({"references"})


def drawing_needs(options: Reinforce | Grpo) -> frozenset[str]:
    """Return what training on drawn responses needs: a reward, and references where they are mixed in."""
    return frozenset({"reward", "references"} if options.mix else {"reward"})


TRAINERS = (
    Trainer(
        "sft", 1, Sft, train_sft, sft_needs, ("torch",),
        doc="Maximum likelihood of references, or of raw text (pre-training).",
    ),
    Trainer(
        "reinforce", 1, Reinforce, train_reinforce, drawing_needs, ("torch",),
        doc="REINFORCE with a choice of baselines (Williams 1992; Rennie et al. 2017; Kool et al. 2019).",
    ),
    Trainer(
        "grpo", 1, Grpo, train_grpo, drawing_needs, ("torch",),
        doc="Group-relative policy optimisation (Shao et al. 2024; Liu et al. 2025 without scaling).",
    ),
    *trainers_more.TRAINERS,
)  # fmt: skip
