"""Reward models against the plain loops: which models, which rows, which loops, and what the machine could do at best.

Models come from configurations with random weights: how fast one is does not depend on them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch.nn.functional import linear

from rmbench.kernel.measured import Side, interleaved
from rmbench.kernel.models.passes import DTYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rmbench.kernel.measured import Clock

    Ids = Sequence[np.ndarray]

VOCABULARY = 4096
LONGEST = 1024
PAD = 0
SHAPES = ((1024, 1024, 1024), (2048, 2048, 2048), (2048, 512, 1408), (2048, 768, 2048), (2048, 384, 1536))
DEVICE_SHAPES = ((8192, 8192, 8192), (16384, 4096, 4096))


@dataclass(frozen=True, slots=True)
class Shape:
    """A model's architecture (``llama`` or ``bert``) and size."""

    kind: str
    layers: int
    hidden: int
    inner: int
    heads: int

    @property
    def title(self) -> str:
        """Return the architecture and the size."""
        return f"{self.kind.capitalize()}-like, {self.layers} layers of {self.hidden}"


LLAMA_21M = Shape("llama", 6, 512, 1408, 8)
LLAMA_38M = Shape("llama", 5, 768, 2048, 12)
TINY = {"llama": Shape("llama", 2, 64, 128, 4), "bert": Shape("bert", 2, 64, 128, 4)}  # to see that it runs
LLAMA_1B = Shape("llama", 22, 2048, 5632, 16)
BERT_12M = Shape("bert", 6, 384, 1536, 12)  # the layers of MiniLM-L6


def build(shape: Shape, device: str = "cpu") -> Any:
    """Return a sequence classifier with one label and random weights, always the same ones, in eval mode."""
    from transformers import (
        BertConfig,
        BertForSequenceClassification,
        LlamaConfig,
        LlamaForSequenceClassification,
    )

    given: dict[str, Any] = {
        "vocab_size": VOCABULARY, "hidden_size": shape.hidden, "intermediate_size": shape.inner,
        "num_hidden_layers": shape.layers, "num_attention_heads": shape.heads, "max_position_embeddings": LONGEST,
        "num_labels": 1, "pad_token_id": PAD, "bos_token_id": 1, "eos_token_id": 2,
    }  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        if shape.kind == "llama":
            return LlamaForSequenceClassification(LlamaConfig(**given)).eval()
        return BertForSequenceClassification(BertConfig(**given)).eval()


def parameters(model: torch.nn.Module) -> int:
    """Return how many numbers a model has."""
    return sum(weights.numel() for weights in model.parameters())


def token_rows(lengths: Sequence[int], *, prefix: int = 0, seed: int = 0) -> list[np.ndarray]:
    """Return rows of random token ids of these lengths, behind ``prefix`` ids that all of them share."""
    draw = np.random.default_rng(seed)
    shared = draw.integers(3, VOCABULARY, prefix)
    return [np.concatenate([shared, draw.integers(3, VOCABULARY, length)]) for length in lengths]


def flops(model: Any, lengths: Sequence[int]) -> float:
    """Return the floating point operations that rows of these lengths need: products with weights, and attention.

    Two for each weight of a layer and token; in attention four for each pair of positions that see each other and each
    number of the width. Padding, norms and embeddings count nothing.
    """
    config = model.config
    layers = [module for name, module in model.named_modules() if ".layers." in name or ".layer." in name]
    weights = sum(module.weight.numel() for module in layers if isinstance(module, torch.nn.Linear))
    seen = sum(n * (n + 1) / 2 if config.model_type == "llama" else n * n for n in lengths)
    return float(2 * weights * sum(lengths) + 4 * config.num_hidden_layers * config.hidden_size * seen)


def padded_loop(model: Any, rows: Ids, size: int) -> Callable[[], np.ndarray]:
    """Return the plain loop: batches of so many rows in input order, padded to the longest of each."""

    def loop() -> np.ndarray:
        found = []
        with torch.inference_mode():
            for start in range(0, len(rows), size):
                batch = rows[start : start + size]
                ids = np.full((len(batch), max(map(len, batch))), PAD, dtype=np.int64)
                mask = np.zeros_like(ids)
                for place, row in enumerate(batch):
                    ids[place, : len(row)], mask[place, : len(row)] = row, 1
                given = {"input_ids": torch.from_numpy(ids), "attention_mask": torch.from_numpy(mask)}
                logits = model(**{name: tensor.to(model.device) for name, tensor in given.items()}).logits
                found.append(logits[:, 0].double().cpu().numpy())
        return np.concatenate(found)

    return loop


def single_loop(model: Any, rows: Ids) -> Callable[[], np.ndarray]:
    """Return the loop that scores one row after the other, without padding."""

    def loop() -> np.ndarray:
        with torch.inference_mode():
            given = (torch.from_numpy(row)[None].to(model.device) for row in rows)
            return np.array([float(model(input_ids=ids).logits[0, 0]) for ids in given])

    return loop


def products(clock: Clock, device: str = "cpu", dtype: str = "float32", *, rounds: int = 3) -> dict[str, float]:
    """Return the best rate of a matrix product on this machine, in FLOP/s: ``torch`` and, where it is, ``onednn``.

    ``linear`` is how many times as fast as torch's linear oneDNN's is (the median over the shapes).
    """
    shapes = (SHAPES if device == "cpu" else DEVICE_SHAPES)[: 1 if rounds == 1 else None]
    best: dict[str, float] = {}
    ratios = []
    for rows, inner, outer in shapes:
        x = torch.randn(rows, inner, device=device).to(DTYPES[dtype])
        weights = torch.randn(outer, inner, device=device).to(DTYPES[dtype])
        sides = {"torch": Side(_synchronised(partial(linear, x, weights), device), 2 * rows * inner * outer)}
        other = _onednn(x, weights)
        if other is not None:
            sides["onednn"] = Side(other, 2 * rows * inner * outer)
        seconds = {name: min(found) for name, found in interleaved(sides, clock, rounds).items()}
        for name, one in seconds.items():
            best[name] = max(best.get(name, 0.0), 1 / one)
        if other is not None:
            ratios.append(seconds["torch"] / seconds["onednn"])
    return best | ({"linear": float(np.median(ratios))} if ratios else {})


def _synchronised(run: Callable[[], Any], device: str) -> Callable[[], Any]:
    """Return the same work, waiting for the device to end it."""
    if device == "cpu":
        return run

    def waited() -> None:
        run()
        torch.cuda.synchronize()

    return waited


def _onednn(x: torch.Tensor, weights: torch.Tensor) -> Callable[[], Any] | None:
    """Return oneDNN's linear, a private operation, where this build of torch has it for these tensors."""
    if x.device.type != "cpu":
        return None
    try:
        operation = torch.ops.mkldnn._linear_pointwise  # noqa: SLF001 - no public name
        operation(x[:1], weights, None, "none", [], "")
    except (AttributeError, RuntimeError):
        return None
    return lambda: operation(x, weights, None, "none", [], "")


def rank_correlation(one: np.ndarray, other: np.ndarray) -> float:
    """Return Spearman's rank correlation of two columns without ties."""
    ranks = [np.argsort(np.argsort(column)) for column in (one, other)]
    return float(np.corrcoef(ranks[0], ranks[1])[0, 1])


def difference(one: np.ndarray, other: np.ndarray) -> float:
    """Return the largest difference of two columns, as a share of the second one's standard deviation."""
    return float(np.max(np.abs(one - other)) / np.std(other))
