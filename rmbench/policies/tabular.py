"""The policy ``tabular``: a table of logits, one row for each (place of the toy world, prefix).

All its responses can be listed, so that ``rmbench.toy`` says what is true of it. It draws with NumPy and its table
is the one parameter; after three letters comes the end, which is no parameter.
"""

from __future__ import annotations

from functools import cache, lru_cache
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from safetensors import numpy as numpy_files

from rmbench import toy
from rmbench.kernel.models.weights import SINGLE
from rmbench.models.checkpoint import CONFIG
from rmbench.policy import Forward, Response
from rmbench.store import canonical, write_whole
from rmbench.toy_world import END, FREE, LONGEST, PREFIXES, VOCABULARY, letters_of, place_named, place_of, text_of

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from numpy.typing import NDArray
    from torch import Tensor

    from rmbench.api import Runtime, Sample
    from rmbench.judged import Judgements
    from rmbench.policies.tabular_options import Tabular
    from rmbench.policy import Decoding

    Array = NDArray[np.float64]

NEVER = -1e4  # logit of a letter after three: exp of it is 0, and 0 times it is no NaN, as with -inf
STATES = len(PREFIXES)
ALONE = toy.ROWS - 1  # the row of texts without a prompt
NUMBER = {letters: index for index, letters in enumerate(PREFIXES)}
NEXT = np.array([[NUMBER.get((*letters, token), 0) for token in range(END)] for letters in PREFIXES])


class Table(torch.nn.Module):
    """The parameters: ``logits``, float32 (places + 1, 13, 4)."""

    def __init__(self, logits: NDArray[np.float32]) -> None:
        super().__init__()
        self.logits = torch.nn.Parameter(torch.tensor(logits))
        ended = torch.full((STATES - FREE, VOCABULARY), NEVER)
        ended[:, END] = 0.0
        self.register_buffer("ended", ended, persistent=False)
        self.ended: Tensor

    def forward(self, places: Tensor, states: Tensor) -> Tensor:
        """Return the logits at these places and prefixes, both int64 of one shape: (..., 4)."""
        rows = torch.cat((self.logits, self.ended.expand(len(self.logits), -1, -1)), dim=1)
        found: Tensor = rows[places, states]
        return found


class TabularAgent:
    """An ``Agent`` of a table; ``model`` and ``tokenizer`` are None."""

    def __init__(self, logits: NDArray[np.float32], device: str = "cpu") -> None:
        self.module = Table(logits).to(device)
        self.model: Any = None
        self.tokenizer: Any = None

    def sample(self, samples: Sequence[Sample], n: int, decoding: Decoding, *, seed: int) -> list[tuple[Response, ...]]:
        """Draw n responses for each prompt; see ``Agent``. Beams search all responses, of which there are few."""
        places = np.array([place_of(sample.prompt) for sample in samples], dtype=np.int64)
        logits, limits = self._rows(), (decoding.max_tokens, decoding.stop)
        if decoding.beams > 1:
            best = {place: _search(logits[place], decoding) for place in set(places.tolist())}
            return [(_response(best[place], *limits),) * n for place in places.tolist()]
        luck = np.random.default_rng(seed).random((len(samples), n, LONGEST + 1))  # in order: a place has its own
        drawn = _draw(logits, np.repeat(places, n), luck.reshape(-1, LONGEST + 1), decoding)
        responses = [_response(tuple(row), *limits) for row in drawn.tolist()]
        return [tuple(responses[start : start + n]) for start in range(0, len(responses), n)]

    def forward(self, samples: Sequence[Sample] | None, responses: Sequence[Response]) -> Forward:
        """Return logits, ids, mask and as ``hidden`` the one-hot of (place, prefix), (rows, T, 240); see ``Agent``."""
        places = [ALONE] * len(responses) if samples is None else [place_of(sample.prompt) for sample in samples]
        if len(places) != len(responses):
            raise ValueError(f"{len(places)} prompts, but {len(responses)} responses: forward takes one for each")
        longest = max((len(response.ids) for response in responses), default=0)
        ids = np.zeros((len(responses), longest), dtype=np.int64)
        states, mask = np.zeros_like(ids), np.zeros(ids.shape, dtype=bool)
        for row, response in enumerate(responses):
            known = _states(response.ids)
            ids[row, : len(known)], states[row, : len(known)], mask[row, : len(known)] = response.ids, known, True
        device = self.module.logits.device
        rows, at = (
            torch.as_tensor(array, device=device) for array in (np.array(places, dtype=np.int64)[:, None], states)
        )
        hidden = torch.nn.functional.one_hot(rows * STATES + at, toy.ROWS * STATES).to(torch.float32)
        told, real = (torch.as_tensor(array, device=device) for array in (ids, mask))
        return Forward(self.module(rows.expand_as(at), at), told, real, hidden)

    def encode(self, text: str, most: int | None = None) -> Response:
        """Return a text of the letters x, y and z as a response, cut after three letters; see ``Agent``.

        A prompt of the world is a place in it and no text: it has no tokens.

        Raises:
            InputError: another word is in it.
        """
        if place_named(text) is not None:
            return Response(text, (), finished=False)
        letters = letters_of(text)
        ids = letters[:LONGEST] if len(letters) > LONGEST else (*letters, END)
        return _told(ids[:most])

    def save(self, folder: Path) -> None:
        """Write model.safetensors, then config.json."""
        weights = self.module.logits.detach().to("cpu", torch.float32).numpy()
        write_whole(folder / SINGLE, numpy_files.save({"logits": np.ascontiguousarray(weights)}, {"format": "pt"}))
        write_whole(folder / CONFIG, canonical(toy.described()))

    def _rows(self) -> Array:
        """Return the logits of all (place, prefix), float64 (places + 1, 40, 4)."""
        with torch.no_grad():
            table = self.module.logits.detach().cpu().to(torch.float64)
            ended = self.module.ended.cpu().to(torch.float64).expand(len(table), -1, -1)
            return torch.cat((table, ended), dim=1).numpy()


def build(_: Judgements, options: Tabular, runtime: Runtime) -> TabularAgent:
    """Return a new table: of zeros, or of seeded normal logits."""
    shape = (toy.ROWS, FREE, VOCABULARY)
    drawn = np.random.default_rng(runtime.seed).normal(0.0, 1.0, shape) * options.spread
    return TabularAgent(drawn.astype(np.float32), runtime.device)


def load(folder: Path, _: Tabular, runtime: Runtime) -> TabularAgent:
    """Return the policy that was saved; an ``InputError`` where the folder holds none."""
    return TabularAgent(toy.stored(folder), runtime.device)


def _draw(logits: Array, places: NDArray[np.int64], luck: Array, decoding: Decoding) -> NDArray[np.int64]:
    """Return drawn tokens, (rows, 4); what follows an end means nothing."""
    state, written = np.zeros_like(places), np.zeros((len(places), VOCABULARY), dtype=bool)
    drawn = np.full((len(places), LONGEST + 1), END, dtype=np.int64)
    for step in range(LONGEST + 1):
        scores = _penalised(logits[places, state], written, decoding.repetition_penalty)
        token = _one(scores, luck[:, step], decoding)
        token[(drawn[:, :step] == END).any(axis=1)] = END
        drawn[:, step] = token
        written[np.arange(len(places)), token] = True
        state = np.where(token == END, state, NEXT[state, np.minimum(token, END - 1)])
    return drawn


def _one(scores: Array, luck: Array, decoding: Decoding) -> NDArray[np.int64]:
    """Return a token for each row of scores, (rows, 4), by a number in [0, 1) each."""
    if not decoding.temperature:
        best: NDArray[np.int64] = scores.argmax(axis=1)
        return best
    scores = scores / decoding.temperature
    p = np.exp(scores - scores.max(axis=1, keepdims=True))
    p = _kept(p / p.sum(axis=1, keepdims=True), decoding)
    upto = p.cumsum(axis=1)
    token: NDArray[np.int64] = (luck[:, None] * upto[:, -1:] >= upto).sum(axis=1)
    return token


def _kept(p: Array, decoding: Decoding) -> Array:
    """Return the probabilities with those set to 0 that top-k, top-p and min-p rule out; the likeliest stays."""
    order = np.argsort(-p, axis=1, kind="stable")
    ranked = np.take_along_axis(p, order, axis=1)
    keep = np.ones(p.shape, dtype=bool)
    if decoding.top_k:
        keep[:, decoding.top_k :] = False
    if decoding.top_p < 1:
        keep &= ranked.cumsum(axis=1) - ranked < decoding.top_p
    keep &= ranked >= decoding.min_p * ranked[:, :1]
    keep[:, 0] = True
    found = np.zeros_like(p)
    np.put_along_axis(found, order, np.where(keep, ranked, 0.0), axis=1)
    return found


def _penalised(scores: Array, written: NDArray[np.bool_], penalty: float) -> Array:
    return np.where(written, np.where(scores > 0, scores / penalty, scores * penalty), scores)


def _search(logits: Array, decoding: Decoding) -> tuple[int, ...]:
    """Return the response of the best score, log p / tokens ** length_penalty, of all; the first of equal ones."""
    scores = []
    for letters in PREFIXES:
        ids = (*letters, END)[: decoding.max_tokens]
        total = 0.0
        for at, (state, token) in enumerate(zip(_states(ids), ids, strict=True)):
            written = np.isin(np.arange(VOCABULARY), ids[:at])
            row = _penalised(logits[state], written, decoding.repetition_penalty)
            total += float(row[token] - row.max() - np.log(np.exp(row - row.max()).sum()))
        scores.append(total / len(ids) ** decoding.length_penalty)
    return (*PREFIXES[int(np.argmax(scores))], END)


@cache  # there are few
def _states(ids: tuple[int, ...]) -> list[int]:
    """Return the prefix before each token."""
    return [NUMBER[ids[:at]] for at in range(len(ids))]


@lru_cache(1000)
def _response(drawn: tuple[int, ...], most: int, stops: tuple[str, ...]) -> Response:
    """Return drawn tokens as a response: up to the end, the most tokens, or the letter that completes a stop text."""
    whole = drawn[: drawn.index(END) + 1][:most]
    for length in range(1, len(whole) + 1) if stops else ():
        text = _told(whole[:length]).text
        places = [text.index(stop) for stop in stops if stop in text]
        if places:
            return Response(text[: min(places)].rstrip(), whole[:length], finished=False)
    return _told(whole)


def _told(ids: tuple[int, ...]) -> Response:
    finished = END in ids
    return Response(text_of(ids[:-1] if finished else ids), ids, finished)
