"""A composite whose parts are standardised on a named split before they are weighted."""

from pathlib import Path

from rmbench.api import Runtime, Scorer
from rmbench.judged import Fitting, Judgements, RewardModel
from rmbench.models.standardised_options import Standardised, uses


def _fit(judgements: Judgements, loss: str, options: Standardised, fitting: Fitting) -> Path:
    """Weighted sum of other rewards, each standardised (z, rank, min-max) by its scores on a named split."""
    from rmbench.models.standardised import fit

    return fit(judgements, loss, options, fitting)


def _load(folder: Path, runtime: Runtime) -> Scorer:
    from rmbench.models.standardised import load

    return load(folder, runtime)


REWARD_MODELS = (RewardModel("standardised", 1, Standardised, _fit, _load, losses=("statistics",), uses=uses),)
