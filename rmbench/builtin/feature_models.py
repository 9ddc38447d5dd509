"""Reward models that learn from features of a text: a linear one, and a multilayer perceptron.

Both see a named feature set: hashed word n-grams, surface features, sentence vectors of a local encoder, and the scores
of other rewards, whose weights are then learnt from people.
"""

from pathlib import Path

from rmbench.api import Runtime, Scorer
from rmbench.judged import Fitting, Judgements, RewardModel
from rmbench.kernel.imports import undisturbed
from rmbench.models.feature_options import Linear, Mlp, uses
from rmbench.models.options import JUDGED_LOSSES


def fit_linear(judgements: Judgements, loss: str, options: Linear, fitting: Fitting) -> Path:
    """Fit w * x + b; ridge regression, solved exactly, for squared."""
    with undisturbed():
        from rmbench.models import linear
    return linear.fit(judgements, loss, options, fitting)


def check(judgements: Judgements, _: str, options: Linear | Mlp) -> None:
    """Refuse more memory than there is, and an encoder that cannot be used."""
    from rmbench.models.featured import reader_of

    reader_of(judgements, options, Runtime())


def load_linear(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a checkpoint: the score and what each block of features adds to it."""
    with undisturbed():
        from rmbench.models import linear
    return linear.load(folder, runtime)


def fit_mlp(judgements: Judgements, loss: str, options: Mlp, fitting: Fitting) -> Path:
    """Fit a multilayer perceptron."""
    with undisturbed():
        from rmbench.models import mlp
    return mlp.fit(judgements, loss, options, fitting)


def load_mlp(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a checkpoint."""
    with undisturbed():
        from rmbench.models import mlp
    return mlp.load(folder, runtime)


BACKENDS = ("numpy", "scipy", "torch")
REWARD_MODELS = (
    RewardModel("linear", 1, Linear, fit_linear, load_linear, JUDGED_LOSSES, uses, BACKENDS, check),
    RewardModel("mlp", 1, Mlp, fit_mlp, load_mlp, JUDGED_LOSSES, uses, BACKENDS, check),
)
