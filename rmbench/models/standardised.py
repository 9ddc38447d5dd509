"""The reward model ``standardised``: a composite whose parts are put on one scale by their scores on a named split.

Nothing is learnt from what people said: the fit keeps, for each part, mean and deviation, least and greatest, or all
scores in order. It is a fit so that the yardstick is a file of its own, with the data's hash, that no test row touches.
"""

from __future__ import annotations

import math
import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.api import NoScore
from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.kernel.models.weights import SINGLE
from rmbench.models import checkpoint as checkpoints
from rmbench.models.balance import accuracy
from rmbench.models.card import card
from rmbench.models.standardised_options import Standardised
from rmbench.models.trained import Trained
from rmbench.stats.ties import round12

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Batch, Runtime
    from rmbench.judged import Fitting, Judged, Judgements
    from rmbench.models.checkpoint import Checkpoint

MODEL = "standardised"


@dataclass(frozen=True, slots=True)
class Scorer:
    """Scores batches: ``score`` and each part, standardised.

    Attributes:
        options: weights and scale.
        scales: of each part, in the order of the weights: float64 (2,), centre and width; of ``rank`` the split's
            scores in order, of 12 significant digits.
    """

    options: Standardised
    scales: Sequence[np.ndarray]

    def __call__(self, batch: Batch) -> Mapping[str, Sequence[float | NoScore | None]]:
        """Return the columns; a row of which a part has no score has none, with the reason."""
        columns: dict[str, Sequence[float | NoScore | None]] = {"score": [0.0] * len(batch)}
        for name, scale in zip(self.options.weights, self.scales, strict=True):
            if name not in batch.scores:
                raise InputError(f"the batch has no scores of {name!r}", help="score that reward too, under this name")
            columns[name] = [
                NoScore(f"{name} gave no score") if one is None else self._placed(one, scale)
                for one in batch.scores[name]
            ]
        columns["score"] = [
            self._sum([columns[name][row] for name in self.options.weights]) for row in range(len(batch))
        ]
        return columns

    def _placed(self, value: float, scale: np.ndarray) -> float:
        if self.options.scale == "rank":
            rounded = round12([value])[0]
            return float(scale.searchsorted(rounded, "left") + scale.searchsorted(rounded, "right")) / (2 * len(scale))
        return (value - float(scale[0])) / float(scale[1])

    def _sum(self, parts: Sequence[float | NoScore | None]) -> float | NoScore:
        known = [part for part in parts if isinstance(part, float)]
        if len(known) < len(parts):
            return next(part for part in parts if isinstance(part, NoScore))
        return math.fsum(weight * part for weight, part in zip(self.options.weights.values(), known, strict=True))


def scale_of(values: Sequence[float], scale: str) -> np.ndarray | None:
    """Return what a part is standardised with (see ``Scorer``); None where all values are equal or there is none."""
    ordered = np.sort(round12(values))
    if not len(ordered) or ordered[0] == ordered[-1]:
        return None
    if scale == "rank":
        return ordered
    if scale == "min-max":
        return np.array([min(values), max(values) - min(values)])
    mean = math.fsum(values) / len(values)
    return np.array([mean, math.sqrt(math.fsum((one - mean) ** 2 for one in values) / len(values))])


def fit(judgements: Judgements, _: str, options: Standardised, fitting: Fitting) -> Path:
    """Read the parts' scores on the split and write the checkpoint.

    Raises:
        InputError: a part has no score there, or the same for all rows.
        Interrupted: ``fitting.stop()`` said so.
    """
    begun = time.perf_counter()
    if fitting.stop():
        raise Interrupted
    judged = judgements.train if options.split == "train" else judgements.dev
    where = f"task {judgements.task.name}, {options.split}"
    scales = [_fitted(name, judged, options, where) for name in options.weights]
    found = _accuracy(Scorer(options, scales), judgements.dev)
    trained = Trained(steps=0, best_step=0, accuracy=found, stopped="exact")
    return checkpoints.write(
        fitting.folder,
        tensors={f"scale.{number}": scale for number, scale in enumerate(scales)},
        config={
            "model_type": MODEL, "options": asdict(options), "sizes": [len(scale) for scale in scales],
            "training": trained.record(),
        },
        card=card(judgements, fitting, trained, parameters=sum(map(len, scales)), notes=_notes(options, scales)),
        log=trained.curve,
        measures={"seconds": time.perf_counter() - begun},
    )  # fmt: skip


def _fitted(name: str, judged: Judged, options: Standardised, where: str) -> np.ndarray:
    values = [one for one in judged.batch.scores[name] if one is not None]
    found = scale_of(values, options.scale)
    if found is None:
        what = f"gives {values[0]:.12g} to all {len(values):,} rows" if values else "gives no row a score"
        raise InputError(
            f"{name} {what}: there is no scale to standardise it with", where=where,
            help="take it out of weights, or name a split or a task on which it varies",
        )  # fmt: skip
    return found


def _accuracy(scorer: Scorer, judged: Judged) -> float | None:
    scores = scorer(judged.batch)["score"]
    return accuracy([one if isinstance(one, float) else math.nan for one in scores], judged.pairs)


def _notes(options: Standardised, scales: Sequence[np.ndarray]) -> list[str]:
    notes = ["What people judged is not learnt from: it only measures the accuracy on dev."]
    for (name, weight), scale in zip(options.weights.items(), scales, strict=True):
        words = {
            "z": "mean {:.6g}, deviation {:.6g}", "min-max": "least {:.6g}, range {:.6g}",
            "rank": f"its place among {len(scale):,} scores",
        }  # fmt: skip
        notes.append(f"{weight:+.6g} * {name}: {words[options.scale].format(*scale[:2])} ({options.split}).")
    return notes


def load(folder: Path, _: Runtime) -> Scorer:
    """Return the scorer of a checkpoint.

    Raises:
        InputError: anything in it that is not as ``fit`` writes it, naming file and entry.
    """
    found = checkpoints.read(folder)
    where = str(found.path / checkpoints.CONFIG)
    given, sizes = found.config.get("options"), found.config.get("sizes")
    if found.config.get("model_type") != MODEL or not isinstance(given, dict):
        raise InputError(f"is no configuration of {MODEL!r}", where=where, help=checkpoints.FIT)
    try:
        options = Standardised(**given)
    except (TypeError, ValueError) as error:
        raise InputError(f"options: {error}", where=where, help=checkpoints.FIT) from error
    return Scorer(options, _scales(found, options, sizes, where))


def _scales(found: Checkpoint, options: Standardised, sizes: Any, where: str) -> list[np.ndarray]:
    whole = isinstance(sizes, list) and all(type(size) is int and size > 1 for size in sizes)
    fits = whole and len(sizes) == len(options.weights) and (options.scale == "rank" or set(sizes) == {2})
    if not fits:
        raise InputError(
            f"sizes is {sizes!r:.100}, which are not those of its weights", where=where, help=checkpoints.FIT
        )
    shapes: dict[str, tuple[int, ...]] = {f"scale.{number}": (size,) for number, size in enumerate(sizes)}
    tensors = checkpoints.tensors(found, shapes)
    scales = [tensors[name].astype(np.float64) for name in shapes]
    for number, scale in enumerate(scales):
        if (options.scale == "rank" and (scale[1:] < scale[:-1]).any()) or (options.scale != "rank" and scale[1] <= 0):
            place = str(found.path / SINGLE)
            raise InputError(f"scale.{number} is no scale of {options.scale}", where=place, help=checkpoints.FIT)
    return scales
