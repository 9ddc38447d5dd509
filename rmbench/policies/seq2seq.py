"""An encoder-decoder as a policy: the encoder reads the prompt, the decoder writes the response.

A response stands behind the token that the decoder starts with and what the tokenizer writes before a target text
(a beginning, a language): these are given, not drawn.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rmbench.errors import InputError
from rmbench.policies import saving
from rmbench.policies.causal import padded, picked
from rmbench.policies.generate import generate
from rmbench.policy import Forward

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Sample
    from rmbench.policies.reading import Reader
    from rmbench.policy import Decoding, Response


class Seq2Seq:
    """A policy of a transformers ``...ForConditionalGeneration`` over texts.

    Args:
        model: the model, on its device.
        reader: its tokenizer at work.
        files: the tokenizer's files by name, as they are saved.
        places: most tokens of a prompt and of a response, None where the model has no limit.
        module: what holds the parameters that are learnt, where that is more than the model (adapters).

    Raises:
        InputError: nothing says what the decoder starts with.
    """

    def __init__(
        self, model: Any, reader: Reader, files: Mapping[str, bytes], *, places: int | None = None, module: Any = None
    ) -> None:
        self.model = model
        self.module = model if module is None else module
        self.tokenizer = reader.tokenizer
        self.reader = reader
        self.files = dict(files)
        self.places = places
        self.plain = False  # its steps are transformers'
        self.start = _start(model, reader)
        self.before = (self.start, *reader.target)

    def sample(self, samples: Sequence[Sample], n: int, decoding: Decoding, *, seed: int) -> list[tuple[Response, ...]]:
        """Return n responses for each prompt (see ``policy.Agent``)."""
        self._check_room(decoding.max_tokens)
        return generate(self, self.reader.prompts(samples), n, decoding, seed=seed)

    def forward(self, samples: Sequence[Sample] | None, responses: Sequence[Response]) -> Forward:
        """Return logits, tokens, mask and hidden states of one response per prompt (see ``policy.Agent``)."""
        prompts = [self.reader.alone()] * len(responses) if samples is None else self.reader.prompts(samples)
        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses, expected as many of both")
        self._check_room(max((len(one.ids) for one in responses), default=0))
        device = self.model.device
        ids, mask = padded([one.ids for one in responses], device)
        source, there = padded(prompts, device)
        rows, _ = padded([[*self.before, *one.ids[:-1]] for one in responses], device)
        found = self.model(
            input_ids=source, attention_mask=there.long(), decoder_input_ids=rows, use_cache=False,
            output_hidden_states=True,
        )  # fmt: skip
        places = (torch.arange(ids.shape[1], device=device) + len(self.before) - 1).expand(len(rows), -1)
        hidden = picked(found.decoder_hidden_states[-1], places)
        return Forward(picked(found.logits, places).float(), ids, mask, hidden.float())

    def inputs(self, prompts: Sequence[Sequence[int]]) -> tuple[dict[str, torch.Tensor], int]:
        """Return what ``model.generate`` takes for prompts, and where responses begin in what it returns."""
        source, there = padded(prompts, self.model.device)
        rows = torch.tensor([self.before] * len(prompts), device=source.device)
        return {"input_ids": source, "attention_mask": there.long(), "decoder_input_ids": rows}, len(self.before)

    def encode(self, text: str, most: int | None = None) -> Response:
        """Return a given text as a response, cut after ``most`` tokens."""
        return self.reader.response(text, most)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into a folder; adapters are put into the weights of what is written."""
        saving.write(folder, self.model, self.module, self.files)

    def _check_room(self, written: int) -> None:
        longest = len(self.before) + written - 1  # the last token is read by nobody
        if self.places is not None and longest > self.places:
            raise InputError(
                f"a response is {longest:,} tokens with what stands before it, the decoder takes {self.places:,}",
                where=self.reader.reading.where, help="lower max_tokens",
            )  # fmt: skip


def _start(model: Any, reader: Reader) -> int:
    for config in (model.config, model.generation_config):
        found = config.to_dict().get("decoder_start_token_id")
        if isinstance(found, int):
            return found
    raise InputError(
        "nothing says which token the decoder starts with", where=reader.reading.where,
        help="decoder_start_token_id in config.json names it",
    )  # fmt: skip
