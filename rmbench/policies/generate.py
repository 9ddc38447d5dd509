"""Writing: rows in batches of a bounded size, the longest prompts first, by the loop that fits model and decoding.

Small models of known architectures go through a loop of our own (``drawing``); beams and all other models through
transformers' generation.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import torch
from transformers import GenerationConfig, StoppingCriteriaList

from rmbench.policies.decoder import decoder_of
from rmbench.policies.drawing import through_steps
from rmbench.policies.processors import Stopping, processors, stops, uniforms

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rmbench.policies.reading import Reader
    from rmbench.policy import Decoding, Response

TOKENS = {"cpu": 2**15}  # of a batch, with all that may be written
ACCELERATOR_TOKENS = 2**18


def generate(
    agent: Any, prompts: Sequence[tuple[int, ...]], n: int, decoding: Decoding, *, seed: int
) -> list[tuple[Response, ...]]:
    """Return n responses for each prompt.

    Args:
        agent: a policy with ``model``, ``module``, ``reader`` and ``inputs``.
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
        decoder = decoder_of(agent.model) if decoding.beams == 1 and agent.plain else None
        for part in parts(rows, prompts, decoding, agent.model.device):
            if decoder is None:
                written = through_transformers(agent, prompts, part, decoding, seed=seed)
            else:
                written = through_steps(agent, decoder, prompts, part, decoding=decoding, seed=seed)
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


def through_transformers(
    agent: Any, prompts: Sequence[Sequence[int]], rows: Sequence[tuple[int, int]], decoding: Decoding, *, seed: int
) -> list[Response]:
    """Return the responses of a batch of rows, by ``model.generate``."""
    reader, model = agent.reader, agent.model
    given, begun = agent.inputs([prompts[place] for place, _ in rows])
    numbers = torch.from_numpy(uniforms(rows, decoding.max_tokens, seed)).to(model.device)
    stopping = [Stopping(reader, decoding.stop, begun)] if decoding.stop else []
    own, model.generation_config = model.generation_config, GenerationConfig()  # type: ignore[no-untyped-call]
    try:  # a folder's own settings would be the defaults of ours: penalties, least lengths, forced tokens
        made = model.generate(
            **given, generation_config=_config(agent, decoding),
            logits_processor=processors(decoding, numbers, begun), stopping_criteria=StoppingCriteriaList(stopping),
        )  # fmt: skip
    finally:
        model.generation_config = own
    return [_response(ids, reader, decoding) for ids in made[:, begun:].tolist()]


def _config(agent: Any, decoding: Decoding) -> GenerationConfig:
    """Return the settings; what is drawn and how is for the processors."""
    return GenerationConfig(
        max_new_tokens=decoding.max_tokens, do_sample=False, num_beams=decoding.beams,
        length_penalty=decoding.length_penalty, eos_token_id=agent.reader.eos, pad_token_id=agent.reader.pad,
        decoder_start_token_id=agent.start, use_cache=True,
    )  # type: ignore[no-untyped-call] # fmt: skip


def _response(ids: list[int], reader: Reader, decoding: Decoding) -> Response:
    """Cut a row of ``generate`` at its end: EOS, a stop text, or the most tokens."""
    if reader.eos in ids:
        ids = ids[: ids.index(reader.eos) + 1]
    ids = ids[: decoding.max_tokens]
    if decoding.stop:
        ends = (end for end in range(1, len(ids) + 1) if stops(ids[:end], reader, decoding.stop))
        ids = ids[: next(ends, len(ids))]
    return reader.written(ids, stop=decoding.stop)
