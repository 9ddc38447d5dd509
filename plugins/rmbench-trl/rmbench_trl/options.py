"""Options of TRL's trainers, under the names that our own trainers have for the same things; imports nothing heavy.

What is not among them has TRL's default, but for three things that would make the same training something else: 32-bit
weights, no gradient checkpointing, no dropout where a response is scored as it was drawn.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from rmbench.kernel.checks import choice, flag, whole
from rmbench.models.options import Schedule, number
from rmbench.trainers.options import TrainerOptions

GrpoLoss = Literal["grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo", "sapo"]
Scale = Literal["group", "batch", "none"]
DpoLoss = Literal["sigmoid", "hinge", "ipo", "robust", "exo_pair", "nca_pair", "sppo_hard", "apo_zero", "apo_down"]
Learn = Literal["responses", "sequences"]
PairSource = Literal["reward", "task"]
LEAST_GROUP = 2
DPO_LOSSES = ("sigmoid", "hinge", "ipo", "robust", "exo_pair", "nca_pair", "sppo_hard", "apo_zero", "apo_down")


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlOptions(TrainerOptions):
    """What all of TRL's trainers share.

    Attributes:
        micro_batch: rows that gradients are computed of at once, a divisor of the rows of a step; 0: all of them. It is
            not halved by itself.
    """

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        TrainerOptions.__post_init__(self)
        _divides(self.micro_batch, self.batch)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlOnPolicy(TrainerOptions):
    """What TRL's trainers that draw responses share; TRL's own name in brackets.

    Attributes:
        batch: prompts of a step, each with ``group`` responses.
        group: responses drawn for each prompt (``num_generations``), from 2.
        temperature: that responses are drawn at, above 0.
        kl: coefficient of the divergence to the start (``beta``), from 0.
        updates: optimizer steps of each draw (``num_iterations``), from 1.
        epsilon: how far below 1 the ratio of probabilities counts, above 0, below 1.
        epsilon_high: how far above 1; 0: as ``epsilon``.
        mask_unfinished: whether responses without an end are left out of the loss (``mask_truncated_completions``).
        micro_batch: rows that gradients are computed of at once, a divisor of ``batch * group``; 0: all of them.
    """

    group: int = 8
    temperature: float = 1.0
    kl: float = 0.05
    updates: int = 1
    epsilon: float = 0.2
    epsilon_high: float = 0.0
    mask_unfinished: bool = False

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        TrainerOptions.__post_init__(self)
        whole("group", self.group, LEAST_GROUP)
        whole("updates", self.updates, 1)
        number("temperature", self.temperature, above=0.0, most=100.0)
        number("kl", self.kl, least=0.0)
        number("epsilon", self.epsilon, above=0.0, below=1.0)
        number("epsilon_high", self.epsilon_high, least=0.0)
        flag("mask_unfinished", self.mask_unfinished)
        _divides(self.micro_batch, self.batch * self.group)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlGrpo(TrlOnPolicy):
    """TRL's GRPOTrainer. Its divergence is estimated by k3 and stands in the loss.

    Attributes:
        scale: what advantages are divided by (``scale_rewards``): the deviation of the ``group`` or of the ``batch``,
            or nothing.
        normalisation: of the loss over tokens (``loss_type``): ``grpo``: mean of a response, then over responses;
            ``bnpo``: mean over the tokens of a micro-batch, ``dapo`` over those of the batch (TRL's default);
            ``dr_grpo``: by the most tokens; ``cispo``, ``luspo``, ``sapo``: see TRL.
    """

    scale: Scale = "group"
    normalisation: GrpoLoss = "grpo"

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        TrlOnPolicy.__post_init__(self)
        choice("scale", self.scale, ("group", "batch", "none"))
        choice("normalisation", self.normalisation, ("grpo", "bnpo", "dr_grpo", "dapo", "cispo", "luspo", "sapo"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlRloo(TrlOnPolicy):
    """TRL's RLOOTrainer. Its divergence is that of the whole response (k1) and is taken from the reward.

    Attributes:
        standardise: whether advantages are standardised over the batch (``normalize_advantages``).
    """

    group: int = 4
    standardise: bool = False

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        TrlOnPolicy.__post_init__(self)
        flag("standardise", self.standardise)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlSft(TrlOptions):
    """TRL's SFTTrainer on the references of train, each one an example.

    Attributes:
        batch: examples of a step.
        learn: ``responses``: the references, given their prompts; ``sequences``: prompts too
            (``completion_only_loss``).
    """

    batch: int = 32
    schedule: Schedule = "cosine"
    warmup: float = 0.05
    learn: Learn = "responses"

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        TrlOptions.__post_init__(self)
        choice("learn", self.learn, ("responses", "sequences"))


@dataclass(frozen=True, slots=True, kw_only=True)
class TrlDpo(TrlOptions):
    """TRL's DPOTrainer, on pairs that the reward ranks or on those of the task.

    Attributes:
        batch: pairs of a step.
        pairs: ``reward``: the best against the worst, by the reward, of the responses that the start draws for each of
            ``steps * batch`` prompts (at most all of train); ``task``: those of the task's train split.
        group: responses drawn for each prompt, from 2 (pairs = reward).
        temperature: they are drawn with, above 0 (pairs = reward).
        beta: how dear it is to leave the start, above 0.
        loss: ``loss_type`` of TRL.
        label_smoothing: share of pairs taken to be the wrong way round, from 0 to below 0.5.
    """

    pairs: PairSource = "reward"
    group: int = 4
    temperature: float = 1.0
    beta: float = 0.1
    loss: DpoLoss = "sigmoid"
    label_smoothing: float = 0.0

    def __post_init__(self) -> None:
        """Check every field; a wrong one is a ``ValueError`` that names it."""
        TrlOptions.__post_init__(self)
        choice("pairs", self.pairs, ("reward", "task"))
        whole("group", self.group, LEAST_GROUP)
        number("temperature", self.temperature, above=0.0, most=100.0)
        number("beta", self.beta, above=0.0)
        choice("loss", self.loss, DPO_LOSSES)
        number("label_smoothing", self.label_smoothing, least=0.0, below=0.5)


def dpo_needs(options: TrlDpo) -> frozenset[str]:
    """Return what ``trl-dpo`` learns from: the reward, or the pairs of the task."""
    return frozenset({"pairs" if options.pairs == "task" else "reward"})


def _divides(micro_batch: int, rows: int) -> None:
    """Raise a ``ValueError`` where rows cannot be computed in equal micro-batches."""
    if micro_batch and rows % micro_batch:
        raise ValueError(f"micro_batch is {micro_batch}, expected a divisor of the {rows} rows of a step")
