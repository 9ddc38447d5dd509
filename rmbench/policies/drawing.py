"""A loop of our own that writes with a small model: many rows at once, those at their end left out.

A prompt is read once for all of its responses. What is drawn is what transformers' generation with the same processors
and the same draw gives, but for float noise.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch.nn import functional

from rmbench.policies.cache import Cache
from rmbench.policies.processors import chooser, stops, uniforms

if TYPE_CHECKING:
    from collections.abc import Sequence

    from torch import Tensor

    from rmbench.policies.decoder import Decoder
    from rmbench.policies.reading import Reader
    from rmbench.policy import Decoding, Response

KEPT = 0.8  # of the rows: when fewer of them still write, the others leave the cache


def through_steps(
    agent: Any, decoder: Decoder, prompts: Sequence[Sequence[int]], rows: Sequence[tuple[int, int]], *,
    decoding: Decoding, seed: int,
) -> list[Response]:  # fmt: skip
    """Return the responses of a batch of rows (place of the prompt, number of the response)."""
    reader, most = agent.reader, decoding.max_tokens
    states, cache, at = _read(agent, prompts, rows, most)
    numbers = torch.from_numpy(uniforms(rows, most, seed)).to(states.device)
    choose = chooser(decoding)
    written = torch.zeros(len(rows), most, dtype=torch.int64, device=states.device)
    counts = torch.full((len(rows),), most, device=states.device)
    alive = torch.arange(len(rows), device=states.device)  # rows in the cache
    writes = torch.ones(len(rows), dtype=torch.bool, device=states.device)  # those of them that are not at their end
    logits = functional.linear(states, decoder.head)
    for step in range(most):
        ids = choose(logits, written[alive, :step], numbers[alive, step])
        written[alive, step] = ids
        ends = writes & _ends(ids, written[alive, : step + 1], reader, decoding.stop)
        counts[alive[ends]] = step + 1
        writes &= ~ends
        left = int(writes.sum())
        if step + 1 == most or not left:
            break
        if left < KEPT * len(alive):
            kept = writes.nonzero()[:, 0]
            alive, writes, ids, at = alive[kept], writes[kept], ids[kept], at[kept]
            cache.keep(kept)
        logits = decoder.logits(decoder.step(decoder.embedded(ids, at), at, cache))
        at = at + 1
    texts = [ids[:count] for ids, count in zip(written.tolist(), counts.tolist(), strict=True)]
    return [reader.written(ids, stop=decoding.stop) for ids in texts]


def _ends(ids: Tensor, written: Tensor, reader: Reader, stop: Sequence[str]) -> Tensor:
    """Return which rows are at their end, bool (rows,): at EOS, or where a stop text is."""
    ended = ids == reader.eos
    if not stop:
        return ended
    found = [stops(row, reader, stop) for row in written.tolist()]
    return ended | torch.tensor(found, device=ended.device)


def _read(
    agent: Any, prompts: Sequence[Sequence[int]], rows: Sequence[tuple[int, int]], more: int
) -> tuple[Tensor, Cache, Tensor]:
    """Read each prompt once.

    Returns:
        The last state of each row (rows, width), the cache of all rows, and each row's number of tokens (rows,).
    """
    different = list(dict.fromkeys(place for place, _ in rows))
    given, longest = agent.inputs([prompts[place] for place in different])
    mask = given["attention_mask"]
    at = (mask.cumsum(1) - 1).clamp_(min=0)
    found = agent.model.base_model(**given, position_ids=at, use_cache=True)
    number = {place: row for row, place in enumerate(different)}
    taken = torch.tensor([number[place] for place, _ in rows], device=mask.device)
    lengths = mask.sum(1)
    layers = found.cache.layers
    cache = Cache(
        [one.keys for one in layers], [one.values for one in layers], longest - lengths, prompt=taken, most=more
    )
    return found.last_hidden_state[:, -1][taken], cache, lengths[taken]
