"""Losses of reward models, by name, as pure functions of tensors.

Pair losses ask that the text which people prefer has the higher score, point losses that a score says what people
said of one text. Each is a mean over its examples, at least 0, lower is better, and differentiable in the scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, ClassVar, Literal

import torch
from torch import Tensor
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Kind = Literal["pairs", "points"]
MARGINS: Mapping[str, float] = MappingProxyType({"hinge": 1.0, "bradley-terry": 0.0})
"""The margin that a fit takes where its options name none; the functions' own default is 0."""


@dataclass(frozen=True, slots=True)
class PairLoss:
    """A loss of pairs: called with the scores of the better and of the worse texts.

    Both have one shape, any, and a floating type; ``margin`` is a number or a tensor of no side or of that shape.
    Returns the mean over the pairs, a tensor without sides. Other shapes or types are a ``ValueError``.
    """

    name: str
    each: Callable[[Tensor], Tensor]
    kind: ClassVar[Kind] = "pairs"

    def __call__(self, better: Tensor, worse: Tensor, margin: float | Tensor = 0.0) -> Tensor:
        """Return the mean loss of the pairs."""
        _columns(self.name, better=better, worse=worse)
        if isinstance(margin, Tensor) and margin.ndim and margin.shape != better.shape:
            raise ValueError(f"{self.name}: margin has shape {_shape(margin)}, better has {_shape(better)}")
        return self.each(better - worse - margin).mean()


@dataclass(frozen=True, slots=True)
class PointLoss:
    """A loss of single texts: called with their scores and with what people said of them.

    Both have one shape, any; scores have a floating type, targets any. Returns the mean over the texts, a tensor
    without sides. Other shapes or types are a ``ValueError``.
    """

    name: str
    each: Callable[[Tensor, Tensor], Tensor]
    kind: ClassVar[Kind] = "points"

    def __call__(self, score: Tensor, target: Tensor) -> Tensor:
        """Return the mean loss of the texts."""
        if isinstance(score, Tensor) and isinstance(target, Tensor):  # whole numbers and flags are targets too
            target = target.to(score.dtype)
        _columns(self.name, score=score, target=target)
        return self.each(score, target).mean()


def hinge(ahead: Tensor) -> Tensor:
    """Return max(0, -ahead) of each pair, ``ahead`` being better - worse - margin.

    The ranking perceptron where the margin is 0 (Rosenblatt 1958; Collins and Duffy 2002), the ranking support vector
    machine where it is 1 (Herbrich, Graepel and Obermayer 2000). At 0 the gradient is 0.
    """
    return torch.relu(-ahead)


def bradley_terry(ahead: Tensor) -> Tensor:
    """Return -log sigmoid(ahead) of each pair, ``ahead`` being better - worse - margin.

    Bradley and Terry (1952): the chance that one is preferred is the sigmoid of the difference; as the loss of reward
    models in Ouyang et al. (2022), with a margin in Touvron et al. (2023, Llama 2). Computed as softplus(-ahead) =
    log(1 + exp(-|ahead|)) + max(0, -ahead), which does not overflow; torch's softplus is cut off at 20, its logsigmoid
    is not.
    """
    return -functional.logsigmoid(ahead)


def squared(score: Tensor, target: Tensor) -> Tensor:
    """Return (score - target)² of each text: least squares (Legendre 1805; Gauss 1809)."""
    return (score - target) ** 2


def cross_entropy(score: Tensor, target: Tensor) -> Tensor:
    """Return -y log sigmoid(s) - (1 - y) log(1 - sigmoid(s)) of each text, y in [0, 1]: logistic regression (Cox 1958).

    The same number as max(s, 0) - s y + log(1 + exp(-|s|)), which does not overflow. A y outside [0, 1] is a
    ``ValueError``.
    """
    if not bool(((target >= 0) & (target <= 1)).all()):
        raise ValueError("cross-entropy: a target is outside 0 to 1")
    return functional.binary_cross_entropy_with_logits(score, target, reduction="none")


def _columns(name: str, **columns: Tensor) -> None:
    """Raise a ``ValueError`` unless all are floating tensors of one shape that is not empty: nothing is broadcast."""
    for what, column in columns.items():
        if not isinstance(column, Tensor) or not column.is_floating_point():
            found = str(column.dtype) if isinstance(column, Tensor) else type(column).__name__
            raise ValueError(f"{name}: {what} is {found}, expected a tensor of floating point")
        if not column.numel():
            raise ValueError(f"{name}: {what} is empty")
    (first, one), (second, other) = columns.items()
    if one.shape != other.shape:
        raise ValueError(f"{name}: {first} has shape {_shape(one)}, {second} has {_shape(other)}")


def _shape(column: Tensor) -> tuple[int, ...]:
    return tuple(column.shape)


LOSSES: Mapping[str, PairLoss | PointLoss] = MappingProxyType({
    "squared": PointLoss("squared", squared),
    "cross-entropy": PointLoss("cross-entropy", cross_entropy),
    "hinge": PairLoss("hinge", hinge),
    "bradley-terry": PairLoss("bradley-terry", bradley_terry),
})  # fmt: skip
"""Every loss by the name that a suite gives it."""
