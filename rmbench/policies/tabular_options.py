"""Options of the policy ``tabular``; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass

from rmbench.models.options import number
from rmbench.policy import Decoding
from rmbench.toy_world import LONGEST


@dataclass(frozen=True, slots=True, kw_only=True)
class Tabular(Decoding):
    """A table of logits for the toy world.

    Attributes:
        max_tokens: with fewer than 4 (three letters and the end) a response may be cut.
        spread: standard deviation of the logits that it begins with, drawn from the seed; 0: every token is as likely.
    """

    max_tokens: int = LONGEST + 1
    spread: float = 0.0

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        Decoding.__post_init__(self)
        number("spread", self.spread, least=0.0, most=100.0)
