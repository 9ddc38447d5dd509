"""Reward models that read tokens: ``lstm`` and ``transformer``. torch is imported where one is fitted or loaded."""

from pathlib import Path

from rmbench.api import Runtime, Scorer
from rmbench.judged import Fitting, Judgements, RewardModel
from rmbench.kernel.imports import undisturbed
from rmbench.models.neural_options import Lstm, Transformer
from rmbench.models.options import JUDGED_LOSSES


def fit_lstm(judgements: Judgements, loss: str, options: Lstm, fitting: Fitting) -> Path:
    """Fit an LSTM (see ``rmbench.models.lstm``)."""
    from rmbench.models.lstm import fit

    return fit(judgements, loss, options, fitting)


def check_lstm(_: Judgements, __: str, options: Lstm) -> None:
    """Refuse more memory than there is."""
    from rmbench.models.lstm import check

    check(options)


def check_transformer(_: Judgements, __: str, options: Transformer) -> None:
    """Refuse more memory than there is, and a folder that must not be loaded or does not fit the options."""
    from rmbench.models.transformer import check

    check(options)


def load_lstm(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a fitted LSTM."""
    with undisturbed():  # torch's compiler and transformers set variables where they are first used
        from rmbench.models.lstm import load

        return load(folder, runtime)


def fit_transformer(judgements: Judgements, loss: str, options: Transformer, fitting: Fitting) -> Path:
    """Fit a transformer (see ``rmbench.models.transformer``)."""
    from rmbench.models.transformer import fit

    return fit(judgements, loss, options, fitting)


def load_transformer(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a fitted transformer."""
    with undisturbed():  # torch's compiler and transformers set variables where they are first used
        from rmbench.models.transformer import load

        return load(folder, runtime)


REWARD_MODELS = (
    RewardModel("lstm", 1, Lstm, fit_lstm, load_lstm, JUDGED_LOSSES, (), ("torch", "tokenizers"), check_lstm),
    RewardModel(
        "transformer", 1, Transformer, fit_transformer, load_transformer, JUDGED_LOSSES,
        backends=("torch", "transformers", "tokenizers"), check=check_transformer,
    ),
)  # fmt: skip
