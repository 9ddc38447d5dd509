"""The LSTM network: token ids in, one score per row out, whatever stands beside a row.

Rows are padded on the right. A direction from the end reads each row reversed within its own length, so that both
directions see padding last and never before a token: states of tokens do not depend on it, and torch's fused kernels
can be used, which take a fifth of the time of packed sequences on a CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.models.neural_options import Lstm

TOKENS = 8192  # of a batch, padding among them, where nothing is learnt


class Network(nn.Module):
    """Embedding, layers of LSTM (Hochreiter and Schmidhuber 1997), pooling, dropout, a linear head.

    Args:
        options: sizes, directions, pooling and dropout.
        vocabulary: tokens that the tokenizer has.
    """

    def __init__(self, options: Lstm, vocabulary: int) -> None:
        super().__init__()
        self.pooling, self.dropout = options.pooling, options.dropout
        self.directions = 2 if options.bidirectional else 1
        width = options.hidden * self.directions
        self.embedding = nn.Embedding(vocabulary, options.embedding)
        self.layers = nn.ModuleList()
        for layer in range(options.layers):
            taken = width if layer else options.embedding
            made = [nn.LSTM(taken, options.hidden, batch_first=True) for _ in range(self.directions)]
            self.layers.append(nn.ModuleList(made))
        self.head = nn.Linear(width, 1)
        nn.init.normal_(self.embedding.weight, std=0.1)
        for name, weights in self.layers.named_parameters():
            if name.endswith("bias_ih_l0"):  # a forget gate that is open (Jozefowicz et al. 2015)
                nn.init.ones_(weights.data[options.hidden : 2 * options.hidden])

    def forward(self, ids: Tensor, lengths: Tensor) -> Tensor:
        """Return scores (n,) of token ids (n, longest), of which the first ``lengths`` (n,) of a row are its own."""
        places = torch.arange(ids.shape[1], device=ids.device)[None]
        reverse = torch.where(places < lengths[:, None], lengths[:, None] - 1 - places, places)
        states = self._dropped(self.embedding(ids))
        for number, layer in enumerate(self.layers):
            states = self._dropped(states) if number else states
            states = self._read(layer, states, reverse)
        return self.head(self._dropped(self._pooled(states, lengths))).squeeze(1)  # type: ignore[no-any-return]

    def _read(self, layer: nn.Module, states: Tensor, reverse: Tensor) -> Tensor:
        """Return the states of a layer (n, longest, directions * hidden), all in the order of the row."""
        forwards, *backwards = layer.children()
        found = [forwards(states)[0]]
        for direction in backwards:
            backward = direction(_ordered(states, reverse))[0]
            found.append(_ordered(backward, reverse))
        return torch.cat(found, dim=2)

    def _pooled(self, states: Tensor, lengths: Tensor) -> Tensor:
        if self.pooling == "last":
            ends = states[torch.arange(len(states), device=states.device), lengths - 1]
            if self.directions == 1:
                return ends
            half = states.shape[2] // 2  # the last state of the direction from the end is that of the first token
            return torch.cat([ends[:, :half], states[:, 0, half:]], dim=1)
        there = (torch.arange(states.shape[1], device=states.device)[None] < lengths[:, None])[:, :, None]
        if self.pooling == "mean":
            return (states * there).sum(1) / lengths[:, None]
        return states.masked_fill(~there, -torch.inf).amax(1)

    def _dropped(self, states: Tensor) -> Tensor:
        return functional.dropout(states, self.dropout, self.training) if self.dropout else states


def _ordered(states: Tensor, order: Tensor) -> Tensor:
    return states.gather(1, order[:, :, None].expand(-1, -1, states.shape[2]))


def forward(network: Network, rows: Sequence[np.ndarray]) -> Tensor:
    """Return the scores (n,) of rows of token ids, on the network's device; with gradients where they are wanted.

    Where nothing is learnt, rows of like lengths are computed together, at most ``TOKENS`` at once.
    """
    if torch.is_grad_enabled():
        return network(*_padded(network, rows))  # type: ignore[no-any-return]
    order = sorted(range(len(rows)), key=lambda row: (len(rows[row]), row))
    scores = torch.empty(len(rows), device=network.head.weight.device)
    for part in _parts(order, rows):
        scores[part] = network(*_padded(network, [rows[row] for row in part]))
    return scores


def _parts(order: Sequence[int], rows: Sequence[np.ndarray]) -> list[list[int]]:
    """Cut rows, sorted by length, into parts of at most ``TOKENS`` tokens with their padding, one row at least."""
    parts: list[list[int]] = []
    for row in order:
        if parts and (len(parts[-1]) + 1) * len(rows[row]) <= TOKENS:
            parts[-1].append(row)
        else:
            parts.append([row])
    return parts


def _padded(network: Network, rows: Sequence[np.ndarray]) -> tuple[Tensor, Tensor]:
    lengths = np.array([len(row) for row in rows], np.int64)
    ids = np.zeros((len(rows), int(lengths.max())), np.int64)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = row
    device = network.head.weight.device
    return torch.from_numpy(ids).to(device), torch.from_numpy(lengths).to(device)


def parameters(options: Lstm, vocabulary: int) -> int:
    """Return how many weights a network has, without making it."""
    directions = 2 if options.bidirectional else 1
    taken = [options.embedding] + [options.hidden * directions] * (options.layers - 1)
    cells = sum(directions * 4 * options.hidden * (width + options.hidden + 2) for width in taken)
    return vocabulary * options.embedding + cells + options.hidden * directions + 1
