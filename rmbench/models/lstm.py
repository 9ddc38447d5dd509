"""The classic recurrent reward model: prompt and response read token by token, one score at the end."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.errors import InputError
from rmbench.kernel.checks import whole
from rmbench.models import checkpoint, tokenizers
from rmbench.models.card import card
from rmbench.models.memory import check_memory
from rmbench.models.network import Network, forward, parameters
from rmbench.models.neural_options import Lstm
from rmbench.models.reading import Read, Reader, columns, read, texts_of
from rmbench.models.training import reproducible, train

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Batch, Runtime
    from rmbench.judged import Fitting, Judgements
    from rmbench.models.checkpoint import Checkpoint

TYPE = "rmbench-lstm"
AGAIN = "fit the model again"
SIZES = ("embedding", "hidden", "layers", "bidirectional", "pooling", "max_length", "truncation")


class Learner:
    """What ``training.train`` trains: a network and the token ids of both splits."""

    def __init__(self, module: Network, data: Read) -> None:
        self.module = module
        self.ids = {name: [one.ids for one in rows] for name, rows in data.rows.items()}

    def scores(self, split: str, rows: Sequence[int]) -> torch.Tensor:
        """Return the scores of rows of a split, float32 (len(rows),)."""
        return forward(self.module, [self.ids[split][row] for row in rows])


def check(options: Lstm) -> None:
    """Raise an ``InputError`` where the sizes take more memory than there is."""
    check_memory(0, parameters(options, options.vocabulary), where="lstm")


def fit(judgements: Judgements, loss: str, options: Lstm, fitting: Fitting) -> Path:
    """Learn a tokenizer and a network from train, and write the checkpoint.

    Raises:
        InputError: more memory than there is, no row that can be read.
    """
    check(options)
    begun = time.perf_counter()
    files = tokenizers.train(texts_of(judgements), vocabulary=options.vocabulary, max_length=options.max_length)
    tokenizer = tokenizers.made_of(files)
    data = read(judgements, Reader(tokenizer, max_length=options.max_length, truncation=options.truncation))
    with reproducible(fitting.runtime):
        network = Network(options, len(tokenizer)).to(fitting.runtime.device)
    trained = train(Learner(network, data), data.judgements, loss, options, fitting)
    _rescale(network, trained.shift, trained.scale)
    size = sum(weights.numel() for weights in network.parameters())
    config = {"model_type": TYPE, "vocabulary": len(tokenizer), **{name: getattr(options, name) for name in SIZES}}
    return checkpoint.write(
        fitting.folder,
        tensors={name: weights.detach().cpu() for name, weights in network.state_dict().items()},
        config={**config, "training": trained.record()}, files=files,
        card=card(data.judgements, fitting, trained, parameters=size, notes=data.notes), log=trained.curve,
        measures={"seconds": time.perf_counter() - begun, "parameters": size},
    )  # fmt: skip


def _rescale(network: Network, shift: float, scale: float) -> None:
    """Put scores on the raters' scale: the head is linear."""
    with torch.no_grad():
        network.head.weight.mul_(scale)
        network.head.bias.mul_(scale).add_(shift)


def load(folder: Path, runtime: Runtime) -> Scorer:
    """Return the scorer of a checkpoint.

    Raises:
        InputError: a configuration that is none of an LSTM, tensors missing, left over, misshapen or not finite, a
            tokenizer with ids that have no embedding.
    """
    found = checkpoint.read(folder)
    options, vocabulary = _sizes(found)
    tokenizer = tokenizers.read(folder)
    if (most := max(tokenizer.get_vocab().values())) >= vocabulary:
        raise InputError(
            f"the tokenizer has ids up to {most:,}, the model embeds {vocabulary:,}",
            where=str(folder), help="this is another model's tokenizer: fit the model again",
        )  # fmt: skip
    with torch.device("meta"):
        network = Network(options, vocabulary)
    expected = {name: tuple(weights.shape) for name, weights in network.state_dict().items()}
    tensors = {name: torch.from_numpy(one) for name, one in checkpoint.tensors(found, expected).items()}
    network.load_state_dict({name: one.float() for name, one in tensors.items()}, assign=True)
    reader = Reader(tokenizer, max_length=options.max_length, truncation=options.truncation, where=str(folder))
    return Scorer(network.to(runtime.device).eval(), reader)


def _sizes(found: Checkpoint) -> tuple[Lstm, int]:
    """Return the options and the vocabulary of a checkpoint's configuration, which its tensors can have."""
    config, where = found.config, str(found.path / "config.json")
    if config.get("model_type") != TYPE:
        raise InputError(f"model_type is {config.get('model_type')!r}, expected {TYPE}", where=where, help=AGAIN)
    try:
        options = Lstm(**{name: config[name] for name in SIZES})
        whole("vocabulary", config["vocabulary"], 1)
    except (KeyError, ValueError) as error:
        what = f"has no {error}" if isinstance(error, KeyError) else str(error)
        raise InputError(what, where=where, help=AGAIN) from error
    tensors = 3 + 4 * options.layers * (2 if options.bidirectional else 1)
    if tensors != len(found.header):  # before a network of so many layers is made, if only an empty one
        raise InputError(
            f"{options.layers:,} layers have {tensors:,} tensors, model.safetensors has {len(found.header):,}",
            where=where, help=AGAIN,
        )  # fmt: skip
    return options, int(config["vocabulary"])


class Scorer:
    """Scores batches; the columns are score, tokens and cut."""

    def __init__(self, network: Network, reader: Reader) -> None:
        self.network, self.reader = network, reader

    def __call__(self, batch: Batch) -> Mapping[str, Sequence[Any]]:
        """Return the columns score, tokens (of the row as it is read) and cut (tokens that were left out)."""
        rows = self.reader(batch)
        ids = [one.ids for one in rows if one.reason is None]
        with torch.inference_mode():
            scores = forward(self.network, ids).double().cpu().numpy() if ids else np.zeros(0)
        return columns(rows, scores.tolist())
