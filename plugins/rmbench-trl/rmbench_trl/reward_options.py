"""Options of ``trl-reward``; imports nothing heavy."""

from dataclasses import dataclass

from rmbench.models.neural_options import Transformer
from rmbench.models.options import number


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlReward(Transformer):
    """A transformer as that of ``transformer``, trained by TRL's RewardTrainer.

    All fields are those of ``transformer``, but ``pooling``: TRL trains the model's own head, which reads the last
    token of a decoder or the first of an encoder. ``dropout`` is that of a new encoder's hidden states; before the head
    TRL has none.

    Attributes:
        centre: weight of the squared sum of a pair's two scores, which draws scores to 0 (Eisenstein et al. 2023, in
            TRL ``center_rewards_coefficient``), from 0.
    """

    centre: float = 0.0

    def __post_init__(self) -> None:
        """Check the options; a wrong one is a ``ValueError`` that names it."""
        Transformer.__post_init__(self)
        number("centre", self.centre, least=0.0)
        if self.pooling != "last":
            raise ValueError(f"pooling is {self.pooling!r}: TRL trains the model's own head, 'last'")
