"""The nouns of fitting: what people judged, as a reward model sees it, and the record of one (provisional).

A fit is handed its data: it reads ``train`` and ``dev`` here and cannot read ``test``.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench.api import NAME, Batch, Names, Runtime, Sample, Scorer, Task

if TYPE_CHECKING:
    from pathlib import Path

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Pair:
    """Two rows of one sample of which people prefer the first: indices into the batch.

    ``margin`` is the difference of their main ratings (on the raters' scale, above 0), 0.0 where the preference was
    stated and not rated.
    """

    better: int
    worse: int
    margin: float = 0.0


@dataclass(frozen=True, slots=True)
class Judged:
    """Rows of one split with what people said of them.

    Attributes:
        samples: in file order, those without candidates too (their references are texts to learn from).
        batch: one row per candidate of these samples, in order; ``scores`` holds the columns of the rewards in
            ``uses``, ``labels`` is empty.
        pairs: decided pairs, within samples. Stated preferences where the split has any, else ratings that differ.
        targets: the main rating of each row, None where it has none.
        good: whether that rating makes a high-quality text, None where there is no rating or the card has no ``good``.
    """

    samples: tuple[Sample, ...]
    batch: Batch
    pairs: tuple[Pair, ...]
    targets: tuple[float | None, ...]
    good: tuple[bool | None, ...]

    def without(self, lost: Container[int]) -> Judged:
        """Return the judgements without those of some rows, by index; the rows themselves stay."""
        return replace(
            self,
            pairs=tuple(pair for pair in self.pairs if pair.better not in lost and pair.worse not in lost),
            targets=tuple(None if row in lost else target for row, target in enumerate(self.targets)),
            good=tuple(None if row in lost else good for row, good in enumerate(self.good)),
        )


@dataclass(frozen=True, slots=True)
class Judgements:
    """The data of one fit.

    Attributes:
        task: the card, its main aspect settled.
        train: what is learnt from.
        dev: what decides when to stop; disjoint from train by prompt.
        sha256: of each file read, by name.
        dev_from: ``the dev split``, or ``10 % of train by prompt``.
    """

    task: Task
    train: Judged
    dev: Judged
    sha256: Mapping[str, str]
    dev_from: str


def _nothing(_: Row) -> None:
    """Tell nobody."""


def _never() -> bool:
    return False


@dataclass(frozen=True, slots=True)
class Fitting:
    """What the engine knows of a fit.

    Attributes:
        folder: where the checkpoint is to stand. What an interrupted fit left there is gone on with: it is of the same
            model, data, loss, options and seed.
        recipe: what is fitted, as it stands in config.json and card.md: ``reward_model``, ``version``, ``plugin``,
            ``distribution``, ``distribution_version``, ``task`` (``name@version#sha8``), ``sha256`` (by file),
            ``loss``, ``options`` (a path as ``name#sha8`` of what it holds), ``seed``, ``uses`` (name to signature),
            ``entries`` (how a suite names these), ``signature``.
        runtime: device, dtype, seed and cache.
        tell: called now and then with ``{"step", "steps", "loss", "accuracy"}`` (None where unknown); by ``curve``,
            the ``accuracy`` and ``dev_loss`` of every evaluation so far, a search can end a fit early.
        stop: whether the user wants to stop; then state is saved and ``Interrupted`` raised.
    """

    folder: Path
    recipe: Row = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    tell: Callable[[Row], None] = _nothing
    stop: Callable[[], bool] = _never


class Interrupted(Exception):
    """The fit stopped because it was asked to; its state is kept."""


@dataclass(frozen=True, slots=True)
class RewardModel:
    """A named, versioned maker of fitted rewards (provisional).

    Args:
        name: ``[a-z0-9][a-z0-9._+-]*``, unique over all plugins.
        version: raised whenever a fitted score could change.
        options: a dataclass; its fields are the options, with their types and defaults. A wrong value is a
            ``ValueError`` (or an ``InputError`` where a file is wrong) of its own checks, made before anything is read.
        fit: ``fit(judgements, loss, options, fitting)`` writes a checkpoint into ``fitting.folder`` and returns it.
        load: ``load(folder, runtime)`` returns the scorer of a checkpoint.
        losses: names that ``loss`` may have; the first is the default. What each needs of the data stands in
            ``LOSS_NEEDS``.
        check: ``check(judgements, loss, options)`` raises an ``InputError`` for what data and options together rule out
            (more memory than there is, no text to learn from), before anything is written. May be None.
        uses: names of the rewards whose scores it learns from, or a function of the options that returns them.
        backends: distributions whose version belongs in the signature.
    """

    name: str
    version: int
    options: Callable[..., Any]
    fit: Callable[[Judgements, str, Any, Fitting], Path]
    load: Callable[[Path, Runtime], Scorer]
    losses: tuple[str, ...]
    uses: Names = ()
    backends: tuple[str, ...] = ()
    check: Callable[[Judgements, str, Any], None] | None = None

    def __post_init__(self) -> None:
        """Check the fields; a wrong one is a ``ValueError`` that names the reward model."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(f"reward model name {self.name!r} does not match {NAME.pattern}")
        if not isinstance(self.version, int) or isinstance(self.version, bool) or self.version < 0:
            raise ValueError(f"reward model {self.name}: version {self.version!r} is not a non-negative integer")
        for what in ("options", "fit", "load"):
            if not callable(getattr(self, what)):
                raise ValueError(f"reward model {self.name}: {what} is not callable")
        if not self.losses:
            raise ValueError(f"reward model {self.name}: losses is empty")


LOSS_NEEDS: Mapping[str, str] = MappingProxyType({
    "squared": "ratings", "cross-entropy": "good", "hinge": "pairs", "bradley-terry": "pairs", "likelihood": "texts",
    "statistics": "texts",
})  # fmt: skip
PAIR_LOSSES = tuple(name for name, need in LOSS_NEEDS.items() if need == "pairs")
