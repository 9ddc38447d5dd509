"""What ``linear`` and ``mlp`` share: features of judgements, the part of a checkpoint that says which, and their place.

The encoder of sentences is not copied into a checkpoint (it is large and shared): config.json has its sha256, and the
hidden file ``.encoder`` where it was. What lies there is used only if its content is the same.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.content import digest
from rmbench.errors import InputError
from rmbench.judged import Interrupted
from rmbench.models import checkpoint as checkpoints
from rmbench.models.card import card
from rmbench.models.checkpoint import CONFIG, FIT
from rmbench.models.feature_options import FeatureTraining, Mlp
from rmbench.models.features import Reader, Standard, Table, check_memory, standard
from rmbench.store import write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from rmbench.api import Batch, Runtime
    from rmbench.judged import Fitting, Judgements
    from rmbench.models.checkpoint import Checkpoint
    from rmbench.models.trained import Trained

ENCODER = ".encoder"
FEATURES = ("features", "orders", "buckets", "rare", "rewards")


@dataclass(frozen=True, slots=True)
class Prepared:
    """The features of judgements, and what is left of these where a row lacks one.

    Attributes:
        reader: of further batches.
        standard: fitted on train.
        tables: by split.
        judgements: without the pairs, ratings and classes of rows that lack a feature.
        notes: sentences for the card.
    """

    reader: Reader
    standard: Standard
    tables: Mapping[str, Table]
    judgements: Judgements
    notes: tuple[str, ...]

    @property
    def width(self) -> int:
        """Number of features."""
        return self.tables["train"].width


def reader_of(judgements: Judgements, options: FeatureTraining, runtime: Runtime) -> Reader:
    """Return the reader of features, once they fit the memory.

    Raises:
        InputError: they do not, or the encoder cannot be used.
    """
    reader = Reader(options, runtime)
    widest = max(options.hidden) if isinstance(options, Mlp) else 1
    rows = len(judgements.train.batch) + len(judgements.dev.batch)
    check_memory(options, rows, reader.columns, widest=widest)
    return reader


def prepare(judgements: Judgements, options: FeatureTraining, fitting: Fitting) -> Prepared:
    """Read and standardise the features of train and dev.

    Raises:
        InputError: they do not fit the memory (before any is read), the encoder cannot be used, or no row has all.
        Interrupted: the user wants to stop.
    """
    reader = reader_of(judgements, options, fitting.runtime)
    raws = {}
    for name, split in (("train", judgements.train), ("dev", judgements.dev)):
        if fitting.stop():
            raise Interrupted("stopped before training")
        raws[name] = reader(split.batch)
    reader.close()
    fitted = standard(raws["train"], reader)
    tables = {name: fitted(raw) for name, raw in raws.items()}
    kept = replace(
        judgements,
        train=judgements.train.without(tables["train"].missing), dev=judgements.dev.without(tables["dev"].missing),
    )  # fmt: skip
    return Prepared(reader, fitted, tables, kept, tuple(_notes(judgements, reader, tables)))


def _notes(judgements: Judgements, reader: Reader, tables: Mapping[str, Table]) -> list[str]:
    notes = []
    for name, split in (("train", judgements.train), ("dev", judgements.dev)):
        lost = tables[name].missing
        if lost:
            reasons = ", ".join(sorted(set(lost.values())))
            notes.append(f"{len(lost):,} of {len(split.batch):,} rows of {name} were left out: {reasons}.")
    if reader.options.encoder is not None:
        notes.append(f"Sentence vectors by {reader.options.encoder.name}, sha256 {digest(reader.options.encoder)}.")
    if "ngrams" in reader.options.features:
        kept, buckets = tables["train"].grams.shape[1], reader.options.buckets
        notes.append(
            f"{kept:,} of {buckets:,} buckets hold an n-gram of {reader.options.rare:,} rows of train or more."
        )
    return notes


def config_of(prepared: Prepared) -> dict[str, Any]:
    """Return what config.json says of the features."""
    options = prepared.reader.options
    found: dict[str, Any] = {name: getattr(options, name) for name in FEATURES}
    found |= {"columns": prepared.reader.columns, "kept": len(prepared.standard.kept)}
    if options.encoder is not None:
        found["encoder"] = {"name": options.encoder.name, "sha256": digest(options.encoder)}
    return found


def tensors_of(prepared: Prepared) -> dict[str, np.ndarray]:
    """Return what a checkpoint keeps of the standardisation."""
    fitted = prepared.standard
    return {"features.mean": fitted.mean, "features.factor": fitted.factor, "features.buckets": fitted.weights}


@dataclass(frozen=True, slots=True)
class Made:
    """What an architecture adds to a checkpoint: its weights, settings, and sentences of the card."""

    tensors: Mapping[str, np.ndarray]
    config: Mapping[str, Any]
    notes: tuple[str, ...] = ()


def write(prepared: Prepared, fitting: Fitting, trained: Trained, made: Made, *, begun: float) -> Path:
    """Write the checkpoint of a fit that began at ``begun`` (``time.perf_counter``).

    Where the encoder is stands in a hidden file: the visible ones name no place.
    """
    encoder = prepared.reader.options.encoder
    if encoder is not None:
        write_whole(fitting.folder / ENCODER, f"{encoder.absolute()}\n".encode())
    parameters = sum(one.size for one in made.tensors.values())
    seconds = time.perf_counter() - begun
    rows = len(prepared.judgements.train.batch)
    return checkpoints.write(
        fitting.folder,
        tensors={**made.tensors, **tensors_of(prepared)},
        config={**made.config, "features": config_of(prepared), "training": trained.record()},
        card=card(prepared.judgements, fitting, trained, parameters=parameters, notes=[*prepared.notes, *made.notes]),
        log=trained.curve,
        measures={"seconds": seconds, "rows-per-second": rows / seconds, "parameters": parameters},
    )


@dataclass(frozen=True, slots=True)
class Features:
    """The features of a checkpoint: reads a batch and standardises it as train was.

    Attributes:
        reader: of the batch.
        columns, kept: number of dense features, and of n-gram buckets.
        buckets: of the hash, 0 without n-grams.
    """

    reader: Reader
    columns: int
    kept: int
    buckets: int

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Names and shapes of the tensors that the standardisation has."""
        columns, buckets = (self.columns,), (self.buckets,)
        return {"features.mean": columns, "features.factor": columns, "features.buckets": buckets}

    @property
    def width(self) -> int:
        """Number of features."""
        return self.columns + self.kept

    def standard(self, tensors: Mapping[str, np.ndarray], checkpoint: Checkpoint) -> Standard:
        """Return the standardisation of the tensors."""
        made = Standard(tensors["features.mean"], tensors["features.factor"], tensors["features.buckets"])
        if len(made.kept) != self.kept:
            where = str(checkpoint.path / CONFIG)
            raise InputError(
                f"kept is {self.kept:,}, the weights have {len(made.kept):,} buckets", where=where, help=FIT
            )
        return made


def features_of(checkpoint: Checkpoint, runtime: Runtime) -> Features:
    """Return the features that a checkpoint was fitted on.

    Raises:
        InputError: its config.json does not say which, or its encoder is not there.
    """
    where = checkpoint.path / CONFIG
    found = checkpoint.config.get("features")
    if not isinstance(found, dict):
        raise InputError("has no features", where=str(where), help=FIT)
    try:
        options = FeatureTraining(encoder=_encoder(checkpoint, found.get("encoder")), **{k: found[k] for k in FEATURES})
        columns, kept = int(found["columns"]), int(found["kept"])
    except (ValueError, TypeError, KeyError) as error:
        raise InputError(f"its features cannot be read: {error}", where=str(where), help=FIT) from error
    reader = Reader(options, runtime)
    buckets = options.buckets if "ngrams" in options.features else 0
    if columns != reader.columns or not 0 <= kept <= buckets:
        what = f"columns = {columns:,} and kept = {kept:,} are not those of its features"
        raise InputError(what, where=str(where), help=FIT)
    return Features(reader, columns, kept, buckets)


def _encoder(checkpoint: Checkpoint, named: Any) -> Path | None:
    """Return the folder of the encoder, once its content is what the checkpoint was fitted with."""
    if named is None:
        return None
    sha256, name = str(named["sha256"]), str(named["name"])
    note = checkpoint.path / ENCODER
    written = note.read_text(encoding="utf-8", errors="surrogateescape").strip() if note.is_file() else ""
    advice = f"write the path of that folder into {note}"
    if not written or not Path(written).is_dir():
        where = f" (it was {written})" if written else ""
        raise InputError(f"its sentence encoder {name!r} is not there{where}", where=str(checkpoint.path), help=advice)
    if digest(Path(written)) != sha256:
        what = f"was fitted with another sentence encoder than {written}: {name!r}, sha256 {sha256[:8]}"
        raise InputError(what, where=str(checkpoint.path), help=advice)
    return Path(written)


def table_of(features: Features, fitted: Standard, batch: Batch) -> Table:
    """Return the standardised features of a batch."""
    return fitted(features.reader(batch))
