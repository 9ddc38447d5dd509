"""Options of the trainers, checked before anything is read; imports nothing heavy."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rmbench.kernel.checks import choice, whole
from rmbench.models.options import SCHEDULES, Schedule, number

Estimator = Literal["k1", "k2", "k3"]
Place = Literal["reward", "loss"]
Mix = Literal["constant", "linear", "cosine"]
Importance = Literal["none", "truncated", "clipped"]
Level = Literal["token", "sequence"]
Baseline = Literal["none", "moving-average", "greedy", "leave-one-out"]
Scale = Literal["group", "none"]
Normalisation = Literal["grpo", "bnpo", "dr_grpo"]
Learn = Literal["responses", "sequences", "texts"]


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainerOptions:
    """How any policy is trained. A trainer's options are a subclass with its own fields and defaults.

    A subclass with checks of its own calls ``TrainerOptions.__post_init__(self)`` by name: in a slotted dataclass
    ``super()`` without arguments does not find it.

    Attributes:
        steps: most steps of training, from 1. Where a step draws responses it may make several optimizer steps of them.
        seconds: budget of seconds, evaluations among them; training stops where it is spent, and the schedule goes by
            the share of it that is. Not reproducible. None: no budget.
        batch: prompts (or examples) of a step, from 1.
        learning_rate: peak rate of AdamW, above 0, at most 1e6.
        weight_decay: AdamW's, decoupled, from 0; of matrices only, neither of biases nor of norms.
        schedule: of the rate after warm-up: ``constant``; ``linear`` and ``cosine`` fall to 0; ``step`` is multiplied
            by ``decay`` after each third; ``exponential`` falls by ``decay`` over all its steps.
        decay: factor of ``step`` and ``exponential``, above 0, at most 1.
        warmup: share of the steps over which the rate rises to its peak, from 0 to below 1.
        clip: greatest norm of the gradient, above 0; 0: none.
        evaluations: how often dev is looked at, evenly over the steps and once before them, from 1.
        evaluation_prompts: of dev, from 1.
        micro_batch: rows that gradients are computed of at once, the sum being the same; 0: all of them. Halved by
            itself where memory runs out.
        threads: of torch on a CPU, from 1; part of the result, since sums depend on it.
    """

    steps: int = 200
    seconds: float | None = None
    batch: int = 16
    learning_rate: float = 1e-3
    weight_decay: float = 0.0
    schedule: Schedule = "constant"
    decay: float = 0.1
    warmup: float = 0.0
    clip: float = 1.0
    evaluations: int = 10
    evaluation_prompts: int = 64
    micro_batch: int = 0
    threads: int = 1

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected."""
        least = {"steps": 1, "batch": 1, "evaluations": 1, "evaluation_prompts": 1, "micro_batch": 0, "threads": 1}
        for name, at_least in least.items():
            whole(name, getattr(self, name), at_least)
        if self.seconds is not None:
            number("seconds", self.seconds, above=0.0)
        number("learning_rate", self.learning_rate, above=0.0, most=1e6)
        for name in ("weight_decay", "clip"):
            number(name, getattr(self, name), least=0.0)
        choice("schedule", self.schedule, SCHEDULES)
        number("decay", self.decay, above=0.0, most=1.0)
        number("warmup", self.warmup, least=0.0, below=1.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class OnPolicy(TrainerOptions):
    """How a policy is trained on responses that it draws itself.

    Attributes:
        temperature: that responses are drawn at, above 0; all probabilities of the training are of this temperature.
        group: responses drawn for each prompt, from 1.
        kl: coefficient of the KL divergence to the start, from 0; with 0 the start is not asked in a step.
        kl_estimator: of the divergence at a token, of log r = log p(token) - log start(token): ``k1`` log r, ``k2``
            (log r)^2 / 2, ``k3`` 1 / r - 1 + log r (Schulman 2020). As penalties they differ: the gradient is that of
            KL(policy || start) for k1 in the reward, that of each token's for k2 in the loss, that of each token's
            KL(start || policy) for k3 in the loss, none for k1 in the loss; in the reward k2 and k3 are others.
        kl_in: ``reward`` (taken from each token's reward, no gradient through it) or ``loss`` (added to it).
        kl_limit: nats a token at which training is stopped: by then a policy writes what the start would never write;
            0: never.
        entropy: coefficient of the entropy bonus, from 0.
        mix: weight of cross-entropy on the references, from 0 to 1; the policy gradient has the rest.
        mix_schedule: of that weight over the steps: ``constant``, or ``linear`` and ``cosine``, which fall to 0.
        updates: optimizer steps of each draw of responses, from 1.
        importance: weights of samples that an earlier policy drew, where ``updates`` is above 1: ``none``,
            ``truncated`` (at most ``importance_cap``) or ``clipped`` (from 1 / ``importance_cap`` to it).
        importance_cap: above 1.
        importance_level: whether the weight is of each token or of the whole response.
        gamma: discount of a later token's reward, above 0, at most 1.
    """

    temperature: float = 1.0
    group: int = 1
    kl: float = 0.05
    kl_estimator: Estimator = "k1"
    kl_in: Place = "reward"
    kl_limit: float = 20.0
    entropy: float = 0.0
    mix: float = 0.0
    mix_schedule: Mix = "constant"
    updates: int = 1
    importance: Importance = "none"
    importance_cap: float = 2.0
    importance_level: Level = "sequence"
    gamma: float = 1.0

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected."""
        TrainerOptions.__post_init__(self)
        number("temperature", self.temperature, above=0.0, most=100.0)
        for name in ("group", "updates"):
            whole(name, getattr(self, name), 1)
        for name in ("kl", "kl_limit", "entropy"):
            number(name, getattr(self, name), least=0.0)
        number("mix", self.mix, least=0.0, most=1.0)
        number("importance_cap", self.importance_cap, above=1.0)
        number("gamma", self.gamma, above=0.0, most=1.0)
        choice("kl_estimator", self.kl_estimator, ("k1", "k2", "k3"))
        choice("kl_in", self.kl_in, ("reward", "loss"))
        choice("mix_schedule", self.mix_schedule, ("constant", "linear", "cosine"))
        choice("importance", self.importance, ("none", "truncated", "clipped"))
        choice("importance_level", self.importance_level, ("token", "sequence"))


@dataclass(frozen=True, slots=True, kw_only=True)
class Reinforce(OnPolicy):
    """REINFORCE.

    Attributes:
        baseline: what is taken from a response's return: ``none``; ``moving-average`` of earlier steps' mean returns;
            ``greedy``: the reward of the policy's greedy response to the prompt (self-critical); ``leave-one-out``:
            the mean return of the prompt's other responses, where ``group`` is 2 or more.
        baseline_decay: of the moving average, from 0 to below 1.
    """

    baseline: Baseline = "moving-average"
    baseline_decay: float = 0.9

    def __post_init__(self) -> None:
        """Check every field and what they rule out together."""
        OnPolicy.__post_init__(self)
        choice("baseline", self.baseline, ("none", "moving-average", "greedy", "leave-one-out"))
        number("baseline_decay", self.baseline_decay, least=0.0, below=1.0)
        if self.baseline == "leave-one-out" and self.group == 1:
            raise ValueError("group is 1: the baseline leave-one-out needs 2 responses of a prompt or more")


@dataclass(frozen=True, slots=True, kw_only=True)
class Grpo(OnPolicy):
    """Group-relative policy optimisation.

    Attributes:
        scale: whether a group's advantages are divided by its deviation (``group``) or not (``none``, as Dr. GRPO).
        epsilon: how far below 1 the ratio of probabilities counts, above 0, below 1.
        epsilon_high: how far above 1; 0: as ``epsilon``.
        normalisation: of the loss over tokens: ``grpo``: mean of a response, then over responses; ``bnpo``: mean over
            all tokens of the batch; ``dr_grpo``: sum over ``max_tokens`` times responses.
    """

    group: int = 8
    kl_estimator: Estimator = "k3"
    kl_in: Place = "loss"
    importance_level: Level = "token"
    scale: Scale = "group"
    epsilon: float = 0.2
    epsilon_high: float = 0.0
    normalisation: Normalisation = "grpo"

    def __post_init__(self) -> None:
        """Check every field and what they rule out together."""
        OnPolicy.__post_init__(self)
        whole("group", self.group, 2)
        choice("scale", self.scale, ("group", "none"))
        choice("normalisation", self.normalisation, ("grpo", "bnpo", "dr_grpo"))
        number("epsilon", self.epsilon, above=0.0, below=1.0)
        number("epsilon_high", self.epsilon_high, least=0.0)
        if self.importance != "none":
            raise ValueError(f"importance is {self.importance!r}: this trainer clips the ratio itself, by epsilon")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sft(TrainerOptions):
    """Maximum likelihood.

    Attributes:
        learn: ``responses``: the references, given their prompts; ``sequences``: prompts too; ``texts``: prompts,
            contexts and references as raw text, each alone (pre-training).
        max_tokens: of a text, its end is cut; 0: as the policy's decoding allows a response (``responses``), or 256.
        smoothing: label smoothing, from 0 to below 1.
        patience: evaluations in a row without a lower loss on dev after which training stops; 0: never.
        batch: examples of a step, on average: batches hold about equal tokens.
    """

    batch: int = 32
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    learn: Learn = "responses"
    max_tokens: int = 0
    smoothing: float = 0.0
    patience: int = 0

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it, its value and what was expected."""
        TrainerOptions.__post_init__(self)
        choice("learn", self.learn, ("responses", "sequences", "texts"))
        whole("max_tokens", self.max_tokens, 0)
        whole("patience", self.patience, 0)
        number("smoothing", self.smoothing, least=0.0, below=1.0)
