"""Keys and values of rows that write: those of a prompt once for all of its responses, those of a response its own.

Attention over the two parts is put together by their log-sums (as in flash attention: Dao et al. 2022): with weights
``sigmoid(a - b)`` and its rest, where a and b are the logarithms of the parts' sums of exponentials.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor


class Cache:
    """Room for all tokens that may come.

    Args:
        keys, values: of each layer, (prompts, heads, length, head width), prompts padded on the left.
        padding: how many of these places are no prompt's, (prompts,).
        prompt: the prompt of each row, in order of prompts, (rows,).
        most: tokens that a row may write.
    """

    def __init__(
        self, keys: Sequence[Tensor], values: Sequence[Tensor], padding: Tensor, *, prompt: Tensor, most: int
    ) -> None:
        _, heads, longest, width = keys[0].shape
        self.keys = [(one * width**-0.5).transpose(2, 3).contiguous() for one in keys]  # scaled, as queries would be
        self.values = [one.contiguous() for one in values]
        self.scale = width**-0.5
        hidden = torch.arange(longest, device=padding.device) < padding[:, None]
        self.hidden = torch.zeros(hidden.shape, device=padding.device).masked_fill_(hidden, -torch.inf)[:, None, None]
        self.padded = bool(padding.any())
        room = (len(prompt), heads, most, width)
        self.own_keys = [keys[0].new_empty(room) for _ in keys]
        self.own_values = [keys[0].new_empty(room) for _ in keys]
        self.written = 0
        self._arrange(prompt)

    def attend(self, layer: int, query: Tensor, key: Tensor, value: Tensor) -> Tensor:
        """Write keys and values of the next token and return what its queries find, all (rows, heads, head width)."""
        own_keys, own_values = self.own_keys[layer], self.own_values[layer]
        own_keys[:, :, self.written] = key
        own_values[:, :, self.written] = value
        keys, values = own_keys[:, :, : self.written + 1], own_values[:, :, : self.written + 1]
        scores = (query[:, :, None] * self.scale) @ keys.transpose(2, 3)
        found = (scores.softmax(3) @ values)[:, :, 0]
        asked, heights = self._asked(layer, query)
        share = torch.sigmoid(heights - scores.logsumexp(3))
        both: Tensor = found.lerp_(asked, share)
        return both

    def _asked(self, layer: int, query: Tensor) -> tuple[Tensor, Tensor]:
        """Return what queries find in their prompts, (rows, heads, head width), and the log-sums (rows, heads, 1)."""
        heads, width = query.shape[1:]
        if self.grid is not None:
            query = query.new_zeros(self.prompts * self.wide, heads, width).index_copy_(0, self.grid, query)
        scores = query.view(self.prompts, self.wide, heads, width).transpose(1, 2) @ self.keys[layer]
        if self.padded:
            scores += self.hidden
        found = (scores.softmax(3) @ self.values[layer]).transpose(1, 2).reshape(-1, heads, width)
        heights = scores.logsumexp(3).transpose(1, 2).reshape(-1, heads, 1)
        return (found, heights) if self.grid is None else (found[self.grid], heights[self.grid])

    def keep(self, rows: Tensor) -> None:
        """Leave only some rows, by index, in order."""
        for store in (self.own_keys, self.own_values):
            for layer, one in enumerate(store):
                made = one.new_empty(len(rows), *one.shape[1:])
                made[:, :, : self.written] = one[rows, :, : self.written]
                store[layer] = made
        self._arrange(self.prompt[rows])

    def _arrange(self, prompt: Tensor) -> None:
        """Give each row its place in a grid of prompts times the most rows of a prompt; prompts without any leave."""
        kept, self.prompt, counts = torch.unique_consecutive(prompt, return_inverse=True, return_counts=True)
        if len(kept) < len(self.hidden):
            self.keys = [one[kept] for one in self.keys]
            self.values = [one[kept] for one in self.values]
            self.hidden = self.hidden[kept]
        self.prompts, self.wide = len(kept), int(counts.max())
        number = torch.arange(len(prompt), device=prompt.device) - (counts.cumsum(0) - counts)[self.prompt]
        whole = self.prompts * self.wide == len(prompt)
        self.grid = None if whole else self.prompt * self.wide + number
