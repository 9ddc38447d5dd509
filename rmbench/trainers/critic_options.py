"""Options of the trainers with a critic, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rmbench.kernel.checks import choice, flag, whole
from rmbench.models.options import number
from rmbench.trainers.options import OnPolicy

Advantage = Literal["gae", "n-step"]
ADVANTAGES: tuple[Advantage, ...] = ("gae", "n-step")
KlControl = Literal["fixed", "adaptive"]
KL_CONTROLS: tuple[KlControl, ...] = ("fixed", "adaptive")


@dataclass(frozen=True, slots=True, kw_only=True)
class Critic(OnPolicy):
    """What is common to the two: a linear value of the last hidden state, learnt beside the policy.

    Attributes:
        lam: of generalised advantage estimation, 0 (one step, much bias) to 1 (Monte Carlo, much variance).
        value_weight: weight of the value loss, from 0; errors are in deviations of the first step's rewards. At 0 no
            value is learnt: all stay 0, and advantages are returns.
        value_rate: learning rate of the value head, as a multiple of ``learning_rate``, above 0.
        value_reach: whether the value loss moves the policy's own layers too, or the value head alone.
        whiten: whether advantages have mean 0 and deviation 1 over the tokens of a step.
    """

    lam: float = 0.95
    value_weight: float = 0.1
    value_rate: float = 10.0
    value_reach: bool = True
    whiten: bool = True

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected."""
        OnPolicy.__post_init__(self)
        number("lam", self.lam, least=0.0, most=1.0)
        number("value_weight", self.value_weight, least=0.0)
        number("value_rate", self.value_rate, above=0.0)
        flag("value_reach", self.value_reach)
        flag("whiten", self.whiten)


@dataclass(frozen=True, slots=True, kw_only=True)
class ActorCritic(Critic):
    """Options of ``actor-critic``.

    Attributes:
        advantage: ``gae`` (Schulman et al. 2016, with ``lam``) or ``n-step`` (Mnih et al. 2016, with ``n``).
        n: tokens after which an n-step return takes the value for what is to come, from 1.
    """

    advantage: Advantage = "gae"
    n: int = 8

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        Critic.__post_init__(self)
        choice("advantage", self.advantage, ADVANTAGES)
        whole("n", self.n, 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Ppo(Critic):
    """Options of ``ppo``.

    Attributes:
        epochs: how often a rollout is learnt from, from 1.
        minibatches: parts of a rollout, an optimizer step each, from 1; at most as many as it has rows.
        epsilon: how far the ratio of a token's probability to the drawing policy's counts beyond 1, above 0, below 1.
        value_clip: how far a value may be from the old one, in deviations of the first step's rewards; 0: any.
        target_kl: nats a token from the drawing policy after which no further epoch is made; 0: none.
        kl_control: whether the coefficient ``kl`` stays (``fixed``) or is steered (``adaptive``, Ziegler et al. 2019).
        kl_target: nats a response from the start that ``adaptive`` steers to, above 0.
        kl_rate: most that one rollout changes the coefficient by is a fifth of this, as a share; above 0, at most 1.
    """

    epochs: int = 4
    minibatches: int = 1
    epsilon: float = 0.2
    value_clip: float = 0.2
    target_kl: float = 0.0
    kl_control: KlControl = "fixed"
    kl_target: float = 6.0
    kl_rate: float = 0.1

    def __post_init__(self) -> None:
        """Check every field and what they rule out together; a wrong one is a ``ValueError`` that names it."""
        Critic.__post_init__(self)
        whole("epochs", self.epochs, 1)
        whole("minibatches", self.minibatches, 1)
        number("epsilon", self.epsilon, above=0.0, below=1.0)
        for name in ("value_clip", "target_kl"):
            number(name, getattr(self, name), least=0.0)
        choice("kl_control", self.kl_control, KL_CONTROLS)
        number("kl_target", self.kl_target, above=0.0)
        number("kl_rate", self.kl_rate, above=0.0, most=1.0)
        if self.minibatches > self.batch * self.group:
            rows = f"{self.batch * self.group} rows (batch {self.batch}, group {self.group})"
            raise ValueError(f"minibatches is {self.minibatches}, and a rollout has {rows}: one of them would be empty")
        if self.kl_control == "adaptive" and not self.kl:
            raise ValueError(
                "kl_control is 'adaptive' and kl 0: there is no coefficient to steer, begin with one above 0"
            )
        if self.updates != 1 or self.importance != "none":
            raise ValueError(
                f"updates is {self.updates} and importance {self.importance!r}: ppo learns from a rollout by "
                "epochs and minibatches, with a clipped ratio of its own; leave both as they are"
            )
