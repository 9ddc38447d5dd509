"""Options of the reward models that learn from features, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rmbench.api import NAME
from rmbench.kernel.checks import choice, whole
from rmbench.models.options import Training, number

if TYPE_CHECKING:
    from collections.abc import Iterable

BLOCKS = ("ngrams", "surface", "embeddings", "rewards")
TAKEN = ("score", "bias", *BLOCKS)  # names of parts: no reward may have one
MOST_BUCKETS = 2**24
LONGEST_NGRAM = 8
MOST_HIDDEN = 65_536


@dataclass(frozen=True, slots=True, kw_only=True)
class FeatureTraining(Training):
    """What ``linear`` and ``mlp`` see of a text, and how they are trained. Every feature depends on its row only.

    Attributes:
        features: blocks, in any order: ``ngrams`` (hashed word n-grams of the response), ``surface`` (lengths, signs,
            shares, overlap with the prompt), ``embeddings`` (sentence vectors of response and prompt, their product
            and difference, and their cosine), ``rewards`` (the scores of other rewards).
        orders: of the n-grams, each from 1 to 8.
        buckets: of the hash, from 1 to 2^24; more have fewer collisions and take more memory.
        rare: n-grams that fewer rows of train hold are left out, from 1.
        encoder: local folder of a sentence encoder, for ``embeddings``.
        rewards: names of the rewards whose scores are features, for ``rewards``. A row without one has no score.
    """

    features: tuple[str, ...] = ("ngrams", "surface")
    orders: tuple[int, ...] = (1, 2)
    buckets: int = 16_384
    rare: int = 2
    encoder: Path | None = None
    rewards: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected.

        A folder that is no sentence encoder is an ``InputError``.
        """
        Training.__post_init__(self)
        _names("features", self.features)
        for one in self.features:
            choice("features", one, BLOCKS)
        _names("rewards", self.rewards)
        for one in self.rewards:
            if not NAME.fullmatch(one) or one in TAKEN:
                raise ValueError(f"rewards has {one!r}, expected names of rewards (none of {', '.join(TAKEN)})")
        if not self.features:
            raise ValueError(f"features is empty, expected at least one of: {', '.join(BLOCKS)}")
        _sizes("orders", self.orders, LONGEST_NGRAM)
        if len(set(self.orders)) != len(self.orders):
            raise ValueError(f"orders is {self.orders!r}, expected each length once")
        whole("buckets", self.buckets, 1)
        if self.buckets > MOST_BUCKETS:
            raise ValueError(f"buckets is {self.buckets:,}, expected at most {MOST_BUCKETS:,}")
        whole("rare", self.rare, 1)
        _needed("encoder", self.encoder, "embeddings", self.features)
        _needed("rewards", self.rewards, "rewards", self.features)
        if self.encoder is not None:
            _check_encoder(self.encoder)
        for name in ("features", "orders", "rewards"):
            object.__setattr__(self, name, tuple(getattr(self, name)))  # as a suite gives them: lists


def _names(option: str, value: object) -> None:
    if not isinstance(value, list | tuple) or not all(isinstance(one, str) for one in value):
        raise ValueError(f"{option} is {value!r}, expected a list of names")
    if len(set(value)) != len(value):
        raise ValueError(f"{option} is {value!r}, expected each name once")


def _sizes(option: str, value: object, most: int) -> None:
    if not isinstance(value, list | tuple) or not value:
        raise ValueError(f"{option} is {value!r}, expected whole numbers, at least one")
    for one in value:
        whole(option, one, 1)
        if one > most:
            raise ValueError(f"{option} has {one:,}, expected at most {most:,}")


def _check_encoder(path: object) -> None:
    if not isinstance(path, Path):
        raise ValueError(f"encoder is {path!r}, expected the path of a sentence encoder's folder")
    from rmbench.kernel.models.sentence import inspect_encoder

    if inspect_encoder(path).width is None:
        raise ValueError(f"encoder is {str(path)!r}, expected one whose config.json says its hidden_size")


def _needed(option: str, value: object, block: str, features: Iterable[str]) -> None:
    """Raise unless an option is given where, and only where, its block is among the features."""
    if block in features and not value:
        raise ValueError(f"{option} is {value!r}, expected one, since features has {block!r}")
    if block not in features and value:
        raise ValueError(f"{option} is {value!r}, expected none, since features has no {block!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Linear(FeatureTraining):
    """A linear model, w * x + b: ridge regression, solved exactly, for ``squared``; AdamW from 0 for other losses.

    Attributes:
        ridge: L2 penalty of ``squared``, above 0: mean (y - w * x - b)^2 + ridge * |w|^2, b not penalised.
    """

    learning_rate: float = 1e-2
    weight_decay: float = 0.1
    ridge: float = 0.01

    def __post_init__(self) -> None:
        """Check every field (see ``Training``)."""
        FeatureTraining.__post_init__(self)
        number("ridge", self.ridge, above=0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class Mlp(FeatureTraining):
    """A multilayer perceptron: fully connected layers with ReLU and dropout, and a linear last one.

    Attributes:
        hidden: sizes of the hidden layers, at least one, each from 1 to 65,536.
        dropout: share of the hidden units that is left out in training, from 0 to below 1.
    """

    learning_rate: float = 1e-2
    weight_decay: float = 1.0
    hidden: tuple[int, ...] = (64,)
    dropout: float = 0.5

    def __post_init__(self) -> None:
        """Check every field (see ``Training``)."""
        FeatureTraining.__post_init__(self)
        _sizes("hidden", self.hidden, MOST_HIDDEN)
        object.__setattr__(self, "hidden", tuple(self.hidden))
        number("dropout", self.dropout, least=0.0, below=1.0)


def uses(*, rewards: Iterable[str] = (), **_: object) -> tuple[str, ...]:
    """Return the names of the rewards whose scores are features."""
    return tuple(rewards)
