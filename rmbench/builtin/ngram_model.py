"""An n-gram language model that is fitted here: the fluency of classic composites."""

from pathlib import Path

from rmbench.api import Runtime, Scorer
from rmbench.judged import Fitting, Judgements, RewardModel
from rmbench.models.ngram_options import NgramLm


def _fit(judgements: Judgements, loss: str, options: NgramLm, fitting: Fitting) -> Path:
    """Fluency: mean log-probability of a token by an n-gram model (modified Kneser-Ney) of the named texts."""
    from rmbench.models.ngram import fit

    return fit(judgements, loss, options, fitting)


def _check(judgements: Judgements, _: str, options: NgramLm) -> None:
    from rmbench.models.ngram import known

    known(judgements, options)


def _load(folder: Path, runtime: Runtime) -> Scorer:
    from rmbench.models.ngram import load

    return load(folder, runtime)


REWARD_MODELS = (
    RewardModel(
        name="ngram-lm", version=1, options=NgramLm, fit=_fit, load=_load, losses=("likelihood",), check=_check
    ),
)
