"""Direct preference optimisation: learn from pairs without a reward model in between (Rafailov et al. 2023)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from torch.nn import functional

if TYPE_CHECKING:
    from torch import Tensor

    from rmbench.trainers.pair_options import PairKind


def pair_losses(better: Tensor, worse: Tensor, *, beta: float, kind: PairKind, smoothing: float = 0.0) -> Tensor:
    """Return the loss of each pair, (pairs,), from the log-ratios log pi(y|x) - log pi_start(y|x) of its two texts.

    With d = better - worse:

    - ``sigmoid``: -(1 - smoothing) log sigmoid(beta d) - smoothing log sigmoid(-beta d). Rafailov et al. 2023,
      equation 7; ``smoothing`` is the share of pairs that are taken to be the wrong way round (Mitchell 2023).
    - ``ipo``: (d - 1 / (2 beta))^2, Azar et al. 2024, equation 17, beta being their tau. The log-ratios are then means
      over tokens, as in TRL (its authors say that the paper's results are of that form).
    """
    ahead = better - worse
    if kind == "ipo":
        return (ahead - 1 / (2 * beta)) ** 2
    right, wrong = functional.logsigmoid(beta * ahead), functional.logsigmoid(-beta * ahead)
    return -(1 - smoothing) * right - smoothing * wrong
