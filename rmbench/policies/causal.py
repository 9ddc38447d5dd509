"""A causal language model as a policy: it reads a prompt and goes on.

Rows are padded at their end: what stands behind a token does not reach it, so that a response's logits do not depend on
its neighbours, and no mask is needed. The language-model head, which is half of the work of a small model, is computed
at the places of response tokens only.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rmbench.errors import InputError
from rmbench.policies import saving
from rmbench.policies.generate import generate
from rmbench.policy import Forward

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from rmbench.api import Sample
    from rmbench.policies.reading import Reader
    from rmbench.policy import Decoding, Response


class Causal:
    """A policy of a transformers ``...ForCausalLM``.

    Args:
        model: the model, on its device.
        reader: its tokenizer at work.
        files: the tokenizer's files by name, as they are saved.
        places: most tokens of prompt and response together, None where the model has no limit.
        module: what holds the parameters that are learnt, where that is more than the model (adapters).
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
        self.start: int | None = None  # of a decoder behind an encoder
        self.plain = self.module is model  # no adapters beside its weights
        self.fill = int(self.reader.pad == 0)  # any token but the one that transformers takes for a hint at a mask
        self.direct = _head_alone(model)

    def sample(self, samples: Sequence[Sample], n: int, decoding: Decoding, *, seed: int) -> list[tuple[Response, ...]]:
        """Return n responses for each prompt (see ``policy.Agent``)."""
        prompts = self.reader.prompts(samples)
        self._check_room(prompts, [decoding.max_tokens] * len(prompts))
        return generate(self, prompts, n, decoding, seed=seed)

    def forward(self, samples: Sequence[Sample] | None, responses: Sequence[Response]) -> Forward:
        """Return logits, tokens, mask and hidden states of one response per prompt (see ``policy.Agent``)."""
        prompts = [self.reader.alone()] * len(responses) if samples is None else self.reader.prompts(samples)
        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses, expected as many of both")
        written = [one.ids for one in responses]
        self._check_room(prompts, [len(ids) for ids in written])
        device = self.model.device
        ids, mask = padded(written, device)
        whole = [[*one, *other[:-1]] for one, other in zip(prompts, written, strict=True)]
        rows, _ = padded(whole, device, fill=self.fill)
        first = torch.tensor([len(one) - 1 for one in prompts], device=device)
        places = first[:, None] + torch.arange(ids.shape[1], device=device)
        hidden, logits = self._thought(rows, places.clamp_(max=rows.shape[1] - 1))
        return Forward(logits, ids, mask, hidden)

    def inputs(self, prompts: Sequence[Sequence[int]]) -> tuple[dict[str, torch.Tensor], int]:
        """Return what ``model.generate`` takes for prompts, padded on the left, and where responses begin."""
        longest = max(map(len, prompts))
        rows = [[*[self.reader.pad] * (longest - len(one)), *one] for one in prompts]
        mask = [[0] * (longest - len(one)) + [1] * len(one) for one in prompts]
        device = self.model.device
        given = {"input_ids": torch.tensor(rows, device=device), "attention_mask": torch.tensor(mask, device=device)}
        return given, longest

    def encode(self, text: str, most: int | None = None) -> Response:
        """Return a given text as a response, cut after ``most`` tokens."""
        return self.reader.response(text, most)

    def save(self, folder: Path) -> None:
        """Write model and tokenizer into a folder; adapters are put into the weights of what is written."""
        saving.write(folder, self.model, self.module, self.files)

    def _thought(self, rows: torch.Tensor, places: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Return hidden states (rows, T, width) and logits (rows, T, vocabulary) at places (rows, T) of rows."""
        if self.direct:
            states = self.model.base_model(input_ids=rows, use_cache=False).last_hidden_state
            hidden = picked(states, places)
            return hidden.float(), self.model.get_output_embeddings()(hidden).float()
        found = self.model(input_ids=rows, use_cache=False, output_hidden_states=True)
        return picked(found.hidden_states[-1], places).float(), picked(found.logits, places).float()

    def _check_room(self, prompts: Sequence[Sequence[int]], written: Sequence[int]) -> None:
        longest = max((len(one) + most for one, most in zip(prompts, written, strict=True)), default=0)
        if self.places is not None and longest > self.places + 1:  # the last token is read by nobody
            raise InputError(
                f"prompt and response are {longest:,} tokens together, the model takes {self.places:,}",
                where=self.reader.reading.where, help="lower max_prompt or max_tokens",
            )  # fmt: skip


def padded(rows: Sequence[Sequence[int]], device: Any, *, fill: int = 0) -> tuple[torch.Tensor, torch.Tensor]:
    """Return tokens as int64 (rows, longest), filled behind the end of a row, and which are its own, bool."""
    longest = max(map(len, rows), default=0)
    ids = torch.tensor([[*row, *[fill] * (longest - len(row))] for row in rows], dtype=torch.int64)
    lengths = torch.tensor([len(row) for row in rows])
    mask = torch.arange(longest) < lengths[:, None]
    return ids.reshape(len(rows), longest).to(device), mask.to(device)


def picked(states: torch.Tensor, places: torch.Tensor) -> torch.Tensor:
    """Return the states (rows, T, width) at places (rows, T) of states (rows, length, width)."""
    return states.gather(1, places[:, :, None].expand(-1, -1, states.shape[2]))


def _head_alone(model: Any) -> bool:
    """Whether logits are the head of the last hidden state and nothing else (some models scale or cap them)."""
    training = model.training
    model.eval()
    try:
        with torch.no_grad():
            rows = torch.arange(1, 5, device=model.device)[None] % model.get_input_embeddings().weight.shape[0]
            states = model.base_model(input_ids=rows, use_cache=False).last_hidden_state
            made = model.get_output_embeddings()(states).float()
            wanted = model(input_ids=rows, use_cache=False).logits.float()
        return made.shape == wanted.shape and bool(torch.allclose(made, wanted, rtol=1e-5, atol=1e-5))
    except Exception:  # noqa: BLE001 - a model of another make: its own logits are taken
        return False
    finally:
        model.train(training)
