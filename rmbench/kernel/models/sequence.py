"""Prompts and responses to scores: a sequence classifier with its tokenizer, loaded offline or given.

Texts are tokenised before anything is computed, since the plan needs every row to find duplicates and shared prompts.
Nothing is gained by doing it meanwhile: it is 0.6 % of MiniLM's time on one thread of a CPU (``Timings`` says it for
another model).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.kernel.models.encode import listed
from rmbench.kernel.models.envelope import Envelope, envelope, tell
from rmbench.kernel.models.folder import CLASSIFIER
from rmbench.kernel.models.forward import TokenScorer
from rmbench.kernel.models.opening import opened
from rmbench.kernel.models.passes import ModelError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from rmbench.kernel.models.encode import Encoded, Encoder, Prompt, Truncation
    from rmbench.kernel.models.plan import Plan

NOT_FINITE = "the model gave {score}, which is no score"


@dataclass(frozen=True, slots=True)
class Unscored:
    """A row without a score, and why."""

    reason: str


@dataclass(frozen=True, slots=True)
class Parts:
    """What a row cost: its tokens as scored, and those that truncation took."""

    tokens: int
    cut: int


@dataclass(frozen=True, slots=True)
class Row:
    """A row's score, or its reason, and its parts."""

    score: float | Unscored
    parts: Parts


@dataclass(slots=True)
class Timings:
    """Seconds of all calls since the scorer was made: in all, texts to ids, planning, the model."""

    total: float = 0.0
    encoding: float = 0.0
    planning: float = 0.0
    forward: float = 0.0

    @property
    def rest(self) -> float:
        """Seconds that none of the others counts: the envelope, columns, order."""
        return self.total - self.encoding - self.planning - self.forward


class SequenceScorer:
    """Scores responses with a sequence-classification model.

    Made by ``kernel.sequence_scorer``. A score is the logit of the label.

    Attributes:
        tokens: scores rows of token ids.
        encoder: turns prompts and responses into them.
        where: the model's place, for errors.
        notes: oddities found when it was loaded, ``(name, words)`` each.
        timings: what calls took.
    """

    def __init__(
        self, tokens: TokenScorer, encoder: Encoder, *, where: str, notes: Sequence[tuple[str, str]] = ()
    ) -> None:
        self.tokens = tokens
        self.encoder = encoder
        self.where = where
        self.notes = tuple(notes)
        self.timings = Timings()
        self._told: set[str] = set()

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> np.ndarray:
        """Score responses.

        Args:
            prompts: strings, or conversations as lists of ``{"role": ..., "content": ...}``.
            responses: one text each.

        Returns:
            float64 (n,), in input order; all finite.

        Raises:
            ModelError: rows that cannot be scored, each with its reason; ``score`` gives the others.
            ValueError: the columns differ in length, or hold what is no text or message.
            InputError: no token for a text, or an oddity where ``RMBENCH_STRICT=1``.
        """
        scores = self.score(prompts, responses)
        lost = {row: score.reason for row, score in enumerate(scores) if isinstance(score, Unscored)}
        if lost:
            reasons = dict.fromkeys(lost.values())
            words = "; ".join(f"rows {listed([row for row in lost if lost[row] == one])}: {one}" for one in reasons)
            raise ModelError(f"{len(lost)} of {len(scores)} rows cannot be scored: {words}")
        return np.asarray(scores, dtype=np.float64)

    def score(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[float | Unscored]:
        """Return each row's score, or why it has none (see ``__call__``)."""
        return [row.score for row in self.rows(prompts, responses)]

    def rows(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Row]:
        """Return each row's score, or why it has none, with its parts (see ``__call__``)."""
        begun = time.perf_counter()
        encoded = self.encoder(prompts, responses)
        self.timings.encoding += time.perf_counter() - begun
        tell(self._envelope(encoded, prompts, responses).findings, where=self.where, told=self._told)
        meter, timings = self.tokens.meter, self.timings
        planning, forward = meter.planning, meter.forward
        ids, prefixes = _scorable(encoded)
        found = iter(self.tokens(ids, prefixes).tolist())
        rows = [Row(_score(one, found), Parts(len(one.ids), one.cut)) for one in encoded]
        timings.planning += meter.planning - planning
        timings.forward += meter.forward - forward
        timings.total += time.perf_counter() - begun
        return rows

    def parts(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Parts]:
        """Return what each row costs, without scoring it."""
        return [Parts(len(one.ids), one.cut) for one in self.encoder(prompts, responses)]

    def plan(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Plan:
        """Return how the rows would be computed, of those that can be scored, counted in their order."""
        return self.tokens.plan(*_scorable(self.encoder(prompts, responses)))

    def envelope(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> Envelope:
        """Return what stands around the rows, and what truncation takes from them, without scoring them."""
        return self._envelope(self.encoder(prompts, responses), prompts, responses)

    def _envelope(self, encoded: list[Encoded], prompts: Sequence[Prompt], responses: Sequence[str]) -> Envelope:
        config = self.tokens.model.config
        return envelope(self.encoder, encoded, (prompts, responses), config=config, notes=self.notes)


def _scorable(encoded: Sequence[Encoded]) -> tuple[list[np.ndarray], list[int]]:
    there = [one for one in encoded if one.reason is None]
    return [one.ids for one in there], [one.prompt for one in there]


def _score(one: Encoded, found: Any) -> float | Unscored:
    if one.reason is not None:
        return Unscored(one.reason)
    score = float(next(found))
    return score if np.isfinite(score) else Unscored(NOT_FINITE.format(score=score))


def sequence_scorer(
    model: Any,
    tokenizer: Any = None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    batch_tokens: int | None = None,
    label: int | str | None = None,
    max_length: int | None = None,
    truncation: Truncation = "left",
    chat_template: str | Path | None = None,
    system: str | None = None,
    output: str = "logit",
) -> SequenceScorer:
    """Make a scorer of a sequence-classification model.

    Args:
        model: a transformers ``...ForSequenceClassification``, which is put on the device, in the dtype, in eval mode;
            or a local folder of one, read offline from safetensors and without any code of its own.
        tokenizer: a transformers tokenizer, or a local folder of one; of a model folder, its own by default.
        device: ``cpu``, ``cuda``, ``cuda:1``, ...
        dtype: ``float32``, ``bfloat16`` or ``float16``; by default float32 on CPU and bfloat16 elsewhere.
        batch_tokens: most tokens computed at once.
        label: which logit is the score where there are several: an index or a name.
        max_length: most tokens of a row; by default what model and tokenizer take.
        truncation: ``left``, ``right`` or ``error`` (see ``encode.Format``).
        chat_template: Jinja text, or the ``Path`` of a file; ``"none"`` for prompt + newline + response + EOS; by
            default the tokenizer's own where it has one.
        system: a system turn for conversations that have none.
        output: ``logit``, or ``probability`` of the label (see ``forward.probabilities``).

    Returns:
        The scorer: ``scorer(prompts, responses)`` is a float64 array.

    Raises:
        InputError: a folder, tokenizer or template that cannot be used.
        ModelError: no classification head, no ``label`` where there are several, a longer ``max_length`` than the model
            takes, weights that are not finite.
        EnvironmentFault: no such device, or not enough memory.
    """
    found = opened(model, tokenizer, head=CLASSIFIER, device=device, dtype=dtype)
    _check_label(found.model, label)
    encoder = found.encoder(
        max_length=max_length, truncation=truncation, chat_template=chat_template, system=system
    )  # fmt: skip
    pad = found.model.config.get_text_config().pad_token_id
    pad = found.tokenizer.pad_token_id if pad is None else pad
    scorer = TokenScorer(
        found.model, pad_id=pad or 0, device=device, dtype=found.dtype, batch_tokens=batch_tokens, label=label,
        output=output,
    )  # fmt: skip
    return SequenceScorer(scorer, encoder, where=found.where, notes=found.notes)


def _check_label(model: Any, label: int | str | None) -> None:
    names = [name for name in (model.config.id2label or {}).values() if name == label]
    if isinstance(label, bool):
        raise ModelError(f"label is {label}, expected an index or a name")
    if len(names) > 1:
        raise ModelError(f"{len(names)} labels are named {label!r}: choose one by its index")
