"""What comes with rmbench: a plugin like any other, behind the entry point ``builtin``."""

from collections.abc import Sequence
from pathlib import Path

from rmbench import Metric, Policy, Reward, RewardModel, Task, Trainer, hookimpl
from rmbench.builtin import (
    combine,
    embedding,
    ensemble,
    extractive,
    feature_models,
    fitted,
    hf,
    hf_dpo,
    hf_likelihood,
    neural_models,
    ngram_model,
    nulls,
    overlap,
    policies,
    rouge,
    standardised_model,
    toy,
    trainers,
    word_filter,
    words,
)


@hookimpl
def rmbench_rewards() -> Sequence[Reward]:
    """Give the built-in rewards, the null rewards among them."""
    models = (hf, hf_likelihood, hf_dpo, embedding)
    mine = (rouge, overlap, words, extractive, word_filter, combine, ensemble, *models, fitted, toy, nulls)
    return [reward for module in mine for reward in module.REWARDS]


@hookimpl
def rmbench_reward_models() -> Sequence[RewardModel]:
    """Give the reward models that can be fitted here."""
    mine = (feature_models, neural_models, ngram_model, standardised_model)
    return [model for module in mine for model in module.REWARD_MODELS]


@hookimpl
def rmbench_policies() -> Sequence[Policy]:
    """Give the policies that can be made or loaded here."""
    return [*policies.POLICIES, *toy.POLICIES]


@hookimpl
def rmbench_trainers() -> Sequence[Trainer]:
    """Give the trainers of policies."""
    return list(trainers.TRAINERS)


@hookimpl
def rmbench_metrics() -> Sequence[Metric]:
    """Give the built-in metrics."""
    from rmbench.builtin.metrics import METRICS

    return list(METRICS)


@hookimpl
def rmbench_tasks() -> Sequence[Task]:
    """Give the tasks that ship: from the wheel, or from the repository where rmbench is installed editable."""
    from rmbench.tasks import load_tasks

    package = Path(__file__).parent.parent
    shipped = package / "_tasks"
    folder = shipped if shipped.is_dir() else package.parent / "tasks"
    return load_tasks(folder)
