"""What lies between logits and a token: transformers' own processors, repetition, the draw, stop texts.

A token is drawn by the inverse of the cumulative distribution at a uniform number that depends on the seed, the place
of the prompt and the number of the response alone: neither batch nor order decides what is drawn, but for float noise.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    StoppingCriteria,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from torch import Tensor

    from rmbench.policies.reading import Reader
    from rmbench.policy import Decoding

SPARE = 8  # tokens beyond a stop text's bytes in which it is looked for
LIKELIEST = (64, 1024)  # tokens that are sorted for top-p before all are
BLOCK = 64  # tokens of which the probability is summed at once


def uniforms(rows: Sequence[tuple[int, int]], steps: int, seed: int) -> np.ndarray:
    """Return numbers in [0, 1), float64 (rows, steps): each row's are a function of seed, place and number."""
    made = np.empty((len(rows), steps))
    for row, (place, number) in enumerate(rows):
        key = np.array([seed % 2**64, (place << 32) + number], np.uint64)
        made[row] = np.random.Generator(np.random.Philox(key=key)).random(steps)
    return made


def warpers(decoding: Decoding) -> list[Any]:
    """Return transformers' processors of scores to draw from, in transformers' order."""
    made: list[Any] = [TemperatureLogitsWarper(float(decoding.temperature))] if decoding.temperature != 1 else []
    if decoding.top_k:
        made.append(TopKLogitsWarper(decoding.top_k))
    if decoding.top_p < 1:
        made.append(TopPLogitsWarper(decoding.top_p))
    if decoding.min_p:
        made.append(MinPLogitsWarper(decoding.min_p))
    return made


def processors(decoding: Decoding, numbers: Tensor, begun: int) -> LogitsProcessorList:
    """Return what ``generate`` is given: repetition, transformers' own, and the draw behind them.

    Args:
        decoding: how.
        numbers: in [0, 1), (rows, tokens).
        begun: at which token of the rows responses begin.
    """
    made: list[Any] = []
    if decoding.repetition_penalty != 1:
        made.append(Repetition(decoding.repetition_penalty, begun))
    if decoding.temperature:
        made += [*warpers(decoding), Draw(numbers, begun)]
    return LogitsProcessorList(made)


def chooser(decoding: Decoding) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """Return what chooses tokens (rows,) by logits (rows, vocabulary), tokens so far (rows, n) and numbers (rows,)."""
    penalty = decoding.repetition_penalty
    narrow = decoding.top_k or decoding.top_p < 1 or decoding.min_p

    def choose(logits: Tensor, written: Tensor, numbers: Tensor) -> Tensor:
        scores = logits if penalty == 1 else penalised(logits, written, penalty)
        if not decoding.temperature:
            return scores.argmax(1)
        scores = scores if decoding.temperature == 1 else scores / decoding.temperature
        return drawn(narrowed(scores, decoding) if narrow else scores, numbers)

    return choose


def narrowed(scores: Tensor, decoding: Decoding) -> Tensor:
    """Return scores (rows, vocabulary), minus infinity where top-k, top-p or min-p leave a token out.

    What transformers' processors leave, without a sort of the whole vocabulary: each of them is a least score.
    """
    if decoding.top_k:
        least = scores.topk(min(decoding.top_k, scores.shape[1])).values[:, -1:]
        scores = scores.masked_fill(scores < least, -torch.inf)
    if decoding.top_p < 1:
        scores = scores.masked_fill(scores < _nucleus(scores, decoding.top_p), -torch.inf)
    if decoding.min_p:
        least = scores.amax(1, keepdim=True) + math.log(decoding.min_p)
        scores = scores.masked_fill(scores < least, -torch.inf)
    return scores


def _nucleus(scores: Tensor, share: float) -> Tensor:
    """Return the score (rows, 1) of the last of the likeliest tokens that hold a share of the probability together.

    Few tokens are sorted first, more of them only in rows where these hold too little.
    """
    whole = scores.logsumexp(1, keepdim=True)
    least = scores.new_empty(len(scores), 1)
    rows = torch.arange(len(scores), device=scores.device)
    for many in (*LIKELIEST, scores.shape[1]):
        best = scores[rows].topk(min(many, scores.shape[1])).values
        shares = (best - whole[rows]).exp()
        kept = (shares.cumsum(1) - shares < share).sum(1, keepdim=True)
        least[rows] = best.gather(1, kept - 1)
        rows = rows[shares.sum(1) < share]
        if not len(rows):
            break
    return least


class Repetition(LogitsProcessor):
    """Logits of tokens that the response has already are divided by the penalty where positive, else multiplied.

    transformers' own looks at the prompt too.
    """

    def __init__(self, penalty: float, begun: int) -> None:
        self.penalty, self.begun = penalty, begun

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores (rows, vocabulary), those of repeated tokens lowered."""
        return penalised(scores, input_ids[:, self.begun :], self.penalty)


class Draw(LogitsProcessor):
    """Leaves of each row the one token that its uniform number falls on."""

    def __init__(self, numbers: Tensor, begun: int) -> None:
        self.numbers, self.begun = numbers, begun

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return scores (rows, vocabulary) that are 0 at the drawn token and minus infinity elsewhere."""
        taken = drawn(scores, self.numbers[:, input_ids.shape[1] - self.begun])
        return torch.full_like(scores, -torch.inf).scatter_(1, taken[:, None], 0.0)


class Stopping(StoppingCriteria):
    """Ends a row whose last tokens hold a stop text."""

    def __init__(self, reader: Reader, stop: Sequence[str], begun: int) -> None:
        self.reader, self.stop, self.begun = reader, tuple(stop), begun

    def __call__(self, input_ids: Any, scores: Any, **_: Any) -> Any:  # noqa: ARG002 - transformers gives it
        """Return which rows end, bool (rows,)."""
        rows = input_ids[:, self.begun :].tolist()
        return torch.tensor([stops(ids, self.reader, self.stop) for ids in rows], device=input_ids.device)


def stops(ids: Sequence[int], reader: Reader, stop: Sequence[str]) -> bool:
    """Whether the last tokens hold a stop text; a token is a byte at least."""
    longest = max(len(one.encode()) for one in stop) + SPARE
    text = reader.text(ids[-longest:])
    return any(one in text for one in stop)


def penalised(scores: Tensor, written: Tensor, penalty: float) -> Tensor:
    """Return scores (rows, vocabulary), those of written tokens (rows, n) lowered (Keskar et al. 2019)."""
    found = scores.gather(1, written)
    return scores.scatter(1, written, torch.where(found > 0, found / penalty, found * penalty))


def drawn(scores: Tensor, numbers: Tensor) -> Tensor:
    """Return the token of each row, int64 (rows,), at which the cumulative probability passes its number.

    The sum goes over blocks of tokens first and then within one of them: a running sum over a whole vocabulary takes as
    long as the softmax.

    Args:
        scores: logits (rows, vocabulary), minus infinity where nothing may be drawn; of NaN any token is drawn, and
            whoever learns from it will see that its probability is NaN.
        numbers: in [0, 1), (rows,).
    """
    rows, many = scores.shape
    weights = torch.nn.functional.pad(torch.softmax(scores.float(), 1), (0, -many % BLOCK)).view(rows, -1, BLOCK)
    heights = weights.sum(2).double().cumsum(1)
    wanted = numbers.double() * heights[:, -1]
    block = torch.searchsorted(heights, wanted[:, None], right=True).clamp_(max=heights.shape[1] - 1)
    below = torch.where(block > 0, heights.gather(1, (block - 1).clamp_(min=0)), 0.0)
    own = weights[torch.arange(rows, device=scores.device), block[:, 0]].double()
    inner = torch.searchsorted(own.cumsum(1), wanted[:, None] - below, right=True)
    last = BLOCK - 1 - own.flip(1).gt(0).int().argmax(1, keepdim=True)  # rounding must not lead past it
    return (block * BLOCK + torch.minimum(inner, last))[:, 0].clamp_(max=many - 1)  # so that NaN draws a token too
