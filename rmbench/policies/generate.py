"""Writing: transformers' own generation with its own logits processors, but for the draw itself.

A token is drawn by the inverse of the cumulative distribution at a uniform number that depends on the seed, the place
of the prompt and the number of the response alone: neither batch nor order decides what is drawn, but for float noise.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    MinPLogitsWarper,
    StoppingCriteria,
    StoppingCriteriaList,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.policies.reading import Reader
    from rmbench.policy import Decoding, Response

TOKENS = {"cpu": 2**15}  # of a batch, with all that may be written
ACCELERATOR_TOKENS = 2**18
SPARE = 8  # tokens beyond a stop text's bytes in which it is looked for


def generate(
    agent: Any, prompts: Sequence[tuple[int, ...]], n: int, decoding: Decoding, *, seed: int
) -> list[tuple[Response, ...]]:
    """Return n responses for each prompt.

    Args:
        agent: a policy with ``model``, ``module`` and ``reader``.
        prompts: tokens of each.
        n: responses to each, from 1; where nothing is drawn they are one and the same.
        decoding: how.
        seed: of what is drawn.
    """
    drawn = n if decoding.temperature else 1
    rows = [(place, number) for place in range(len(prompts)) for number in range(drawn)]
    rows.sort(key=lambda row: (-len(prompts[row[0]]), row))
    found: dict[tuple[int, int], Response] = {}
    with writing(agent.module):
        for part in parts(rows, prompts, decoding, agent.model.device):
            written = through_transformers(agent, prompts, part, decoding, seed=seed)
            found |= zip(part, written, strict=True)
    return [tuple(found[place, number % drawn] for number in range(n)) for place in range(len(prompts))]


@contextmanager
def writing(module: Any) -> Iterator[None]:
    """Keep dropout and gradients out, and put the mode back."""
    training = module.training
    module.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        module.train(training)


def parts(
    rows: Sequence[tuple[int, int]], prompts: Sequence[Sequence[int]], decoding: Decoding, device: Any
) -> list[list[tuple[int, int]]]:
    """Cut rows, the longest prompts first, into batches of a bounded number of tokens, one row at least."""
    most = TOKENS.get(device.type, ACCELERATOR_TOKENS) // decoding.beams
    made: list[list[tuple[int, int]]] = []
    for row in rows:
        longest = len(prompts[made[-1][0][0]]) if made else 0
        if made and (len(made[-1]) + 1) * (longest + decoding.max_tokens) <= most:
            made[-1].append(row)
        else:
            made.append([row])
    return made


def uniforms(rows: Sequence[tuple[int, int]], steps: int, seed: int) -> np.ndarray:
    """Return numbers in [0, 1), float64 (rows, steps): each row's are a function of seed, place and number."""
    made = np.empty((len(rows), steps))
    for row, (place, number) in enumerate(rows):
        key = np.array([seed % 2**64, (place << 32) + number], np.uint64)
        made[row] = np.random.Generator(np.random.Philox(key=key)).random(steps)
    return made


def through_transformers(
    agent: Any, prompts: Sequence[Sequence[int]], rows: Sequence[tuple[int, int]], decoding: Decoding, *, seed: int
) -> list[Response]:
    """Return the responses of a batch of rows, by ``model.generate``."""
    reader, model = agent.reader, agent.model
    given, begun = agent.inputs([prompts[place] for place, _ in rows])
    numbers = torch.from_numpy(uniforms(rows, decoding.max_tokens, seed)).to(model.device)
    stopping = Stopping(reader, decoding.stop, begun) if decoding.stop else None
    made = model.generate(
        **given, generation_config=_config(reader, decoding), logits_processor=_processors(decoding, numbers, begun),
        stopping_criteria=StoppingCriteriaList([stopping] if stopping else []),
    )  # fmt: skip
    return [_response(ids, reader, decoding) for ids in made[:, begun:].tolist()]


def _config(reader: Reader, decoding: Decoding) -> GenerationConfig:
    """Return the settings: what is drawn and how, is for the processors."""
    return GenerationConfig(
        max_new_tokens=decoding.max_tokens, do_sample=False, num_beams=decoding.beams,
        length_penalty=decoding.length_penalty, eos_token_id=reader.eos, pad_token_id=reader.pad, use_cache=True,
    )  # type: ignore[no-untyped-call] # fmt: skip


def _processors(decoding: Decoding, numbers: torch.Tensor, begun: int) -> LogitsProcessorList:
    """Return transformers' processors in transformers' order, and the draw behind them."""
    made: list[Any] = []
    if decoding.repetition_penalty != 1:
        made.append(Repetition(decoding.repetition_penalty, begun))
    if decoding.temperature:
        made.append(TemperatureLogitsWarper(float(decoding.temperature)))
        if decoding.top_k:
            made.append(TopKLogitsWarper(decoding.top_k))
        if decoding.top_p < 1:
            made.append(TopPLogitsWarper(decoding.top_p))
        if decoding.min_p:
            made.append(MinPLogitsWarper(decoding.min_p))
        made.append(Draw(numbers, begun))
    return LogitsProcessorList(made)


class Repetition(LogitsProcessor):
    """Logits of tokens that the response has already are divided by the penalty where positive, else multiplied.

    transformers' own looks at the prompt too, unless it has one length for all rows of a beam search.
    """

    def __init__(self, penalty: float, begun: int) -> None:
        self.penalty, self.begun = penalty, begun

    def __call__(self, input_ids: Any, scores: Any) -> Any:
        """Return the scores (rows, vocabulary), those of repeated tokens lowered."""
        return penalised(scores, input_ids[:, self.begun :], self.penalty)


class Draw(LogitsProcessor):
    """Leaves of each row the one token that its uniform number falls on."""

    def __init__(self, numbers: torch.Tensor, begun: int) -> None:
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


def penalised(scores: torch.Tensor, written: torch.Tensor, penalty: float) -> torch.Tensor:
    """Return scores (rows, vocabulary), those of written tokens (rows, n) lowered (Keskar et al. 2019)."""
    found = scores.gather(1, written)
    return scores.scatter(1, written, torch.where(found > 0, found / penalty, found * penalty))


def drawn(scores: torch.Tensor, numbers: torch.Tensor) -> torch.Tensor:
    """Return the token of each row, int64 (rows,), at which the cumulative probability passes its number.

    Args:
        scores: logits (rows, vocabulary), minus infinity where nothing may be drawn.
        numbers: in [0, 1), (rows,).
    """
    heights = torch.softmax(scores.float(), 1).cumsum(1)
    wanted = (numbers * heights[:, -1].double()).float().clamp(max=torch.finfo(torch.float32).max)
    return torch.searchsorted(heights, wanted[:, None], right=True)[:, 0].clamp_(max=scores.shape[1] - 1)


def _response(ids: list[int], reader: Reader, decoding: Decoding) -> Response:
    """Cut a row of ``generate`` at its end: EOS, a stop text, or the most tokens."""
    if reader.eos in ids:
        ids = ids[: ids.index(reader.eos) + 1]
    if not decoding.stop:
        return reader.written(ids[: decoding.max_tokens])
    for end in range(1, len(ids) + 1):
        if stops(ids[:end], reader, decoding.stop):
            return reader.written(ids[:end], stopped=True, stop=decoding.stop)
    return reader.written(ids)
