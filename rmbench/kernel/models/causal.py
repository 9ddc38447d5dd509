"""Log-probabilities of responses under a causal language model, on the same plan and passes as classifiers.

Exact duplicates are computed once, rows of known architectures lie packed one behind the other with a shared prompt in
front of its responses, every other architecture goes a row at a time. Logits are made of the positions before response
tokens only, some at a time; the log-softmax is in float32 and its sum in float64.
"""

from __future__ import annotations

import inspect
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from rmbench.kernel.models import layout
from rmbench.kernel.models import plan as planning
from rmbench.kernel.models.envelope import envelope, tell
from rmbench.kernel.models.folder import CAUSAL
from rmbench.kernel.models.heads import CAUSAL as PACKABLE
from rmbench.kernel.models.heads import head_of
from rmbench.kernel.models.opening import opened
from rmbench.kernel.models.packed import sent
from rmbench.kernel.models.passes import ModelError, Passes
from rmbench.kernel.models.sequence import NOT_FINITE, Timings, Unscored

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from rmbench.kernel.models.encode import Encoded, Encoder, Prompt, Truncation

LOGITS = {"cpu": 2**22}  # made at once: 16 MB in float32
ACCELERATOR_LOGITS = 2**27
NOTHING = "the response has no token"
FIRST = "the text is one token with nothing before it, and the tokenizer has no BOS"
MOVED = {"float32": 1e-4}  # how far logits may move, as a share of the largest, where only a later token is another
MOVED_IN_HALF = 3e-2


class TokenLikelihoods(Passes):
    """Sums of log-probabilities (natural) of the ends of rows of token ids, given their beginnings.

    Args:
        model: a transformers ``...ForCausalLM``; it is put into eval mode, on the device, in the dtype.
        device, dtype, batch_tokens: see ``forward.TokenScorer``.
        way: ``packed`` or ``single``; chosen by architecture where it is None.

    Raises:
        ModelError: an unknown dtype or way, weights that are not finite, a model that reads what comes later.
    """

    def __init__(
        self, model: Any, *, device: str = "cpu", dtype: str | None = None, batch_tokens: int | None = None,
        way: str | None = None,
    ) -> None:  # fmt: skip
        if way == "padded":
            raise ModelError("way 'padded' is not one of packed, single")
        head = head_of(model, PACKABLE)
        super().__init__(model, head, device=device, dtype=dtype, batch_tokens=batch_tokens, way=way)
        output = self.model.get_output_embeddings()
        if output is not None:
            self.vocabulary = min(self.vocabulary, int(output.weight.shape[0]))
        self.at_once = max(1, LOGITS.get(self.device.type, ACCELERATOR_LOGITS) // self.vocabulary)
        self.keeps = "logits_to_keep" in inspect.signature(model.forward).parameters
        if self.way == "single":
            self._check_causal()

    def plan(self, rows: Sequence[Any], starts: Sequence[int], prefixes: Sequence[int] | None = None) -> planning.Plan:
        """Return how these rows would be computed (see ``__call__``)."""
        ids = [np.asarray(row, dtype=np.int64) for row in rows]
        # the same ids may be another prompt with another response
        first, unique = planning.deduplicated([np.r_[start, row] for start, row in zip(starts, ids, strict=True)])
        different = [ids[place] for place in unique]
        if self.way == "single":
            return planning.Plan(self.way, first, unique, planning.single(different))
        lengths = [0 if prefixes is None else prefixes[place] for place in unique]
        batches = planning.packed(different, planning.shared_groups(different, lengths), self.budget)
        return planning.Plan(self.way, first, unique, batches)

    def __call__(self, rows: Sequence[Any], starts: Sequence[int], prefixes: Sequence[int] | None = None) -> np.ndarray:
        """Return for each row the sum of log p(token | all before it) over its tokens from ``starts`` to its end.

        Args:
            rows: one sequence of ids each.
            starts: from which token on, at least 1: the first token of a row has no probability.
            prefixes: how many leading tokens rows may share (their prompt's).

        Returns:
            float64 (n,), in input order, at most 0.

        Raises:
            ModelError: a row without such a token, an id beyond the vocabulary, a row that is too long.
        """
        begun = time.perf_counter()
        ids = [np.asarray(row, dtype=np.int64) for row in rows]
        self._check(ids)
        for place, (row, start) in enumerate(zip(ids, starts, strict=True)):
            if not 1 <= start < len(row):
                raise ModelError(f"row {place} has {len(row)} tokens, none to score from {start} on")
        made = self.plan(ids, starts, prefixes)
        different = [(ids[place], int(starts[place])) for place in made.unique]
        planned = time.perf_counter()
        with self._evaluating():
            sums = self._scores(made.batches, [row for row, _ in different], lambda batch: self._sums(batch, different))
        self.meter.planning += planned - begun
        self.meter.forward += time.perf_counter() - planned
        self._count(made, len(ids))
        return sums[np.array(made.first, np.int64)]

    def _sums(self, batch: planning.Batch, rows: Sequence[tuple[np.ndarray, int]]) -> torch.Tensor:
        """Return the sums of a batch, float64 (n,)."""
        taken = [rows[row] for row in batch.rows]
        targets = sent(np.concatenate([ids[start:] for ids, start in taken]), self.device)
        lengths = sent(np.array([len(ids) - start for ids, start in taken], np.int64), self.device)
        found = self._packed(batch, rows, targets) if self.way == "packed" else self._single(taken[0], targets)
        return torch.segment_reduce(found.double(), "sum", lengths=lengths)

    def _packed(
        self, batch: planning.Batch, rows: Sequence[tuple[np.ndarray, int]], targets: torch.Tensor
    ) -> torch.Tensor:
        """Return log-probabilities of the targets, float32, of rows that lie one behind the other."""
        head = self.head
        if head is None:
            raise ModelError("this architecture cannot be packed")
        laid = layout.packed(batch, [ids for ids, _ in rows], head, self.model)
        spans = [(rows[row][1] - 1, len(rows[row][0]) - 1) for row in batch.rows]  # the token before tells the next
        places = sent(layout.places(batch, laid.segments, spans), self.device)
        hidden = self._laid(laid, head)
        parts = zip(places.split(self.at_once), targets.split(self.at_once), strict=True)
        return torch.cat([chosen(head.read(self.model, hidden[some]), wanted) for some, wanted in parts])

    def _single(self, row: tuple[np.ndarray, int], targets: torch.Tensor) -> torch.Tensor:
        """Return the same of one row, by the model's own forward pass."""
        ids, start = row
        logits = self._logits(sent(ids[None], self.device), start - 1)[:-1]
        parts = zip(logits.split(self.at_once), targets.split(self.at_once), strict=True)
        return torch.cat([chosen(some, wanted) for some, wanted in parts])

    def _logits(self, ids: torch.Tensor, start: int) -> torch.Tensor:
        """Return the model's own logits (tokens from ``start`` on, vocabulary) of a row (1, tokens)."""
        kept = ids.shape[1] - start
        given = {"logits_to_keep": kept} if self.keeps else {}
        logits: torch.Tensor = self.model(
            input_ids=ids, attention_mask=torch.ones_like(ids), use_cache=False, **given
        ).logits  # fmt: skip
        return logits[0, -kept:]

    def _check_causal(self) -> None:
        """Refuse a model whose logits depend on what comes later: a BERT that was not made a decoder, an XLNet."""
        with self._evaluating(), torch.inference_mode():
            one, other = (
                self._logits(sent(np.array([[0, 1, 2, last]]) % self.vocabulary, self.device), 0)[:-1].double()
                for last in (3, 4)
            )
        moved = float((one - other).abs().max() / one.abs().max())
        if moved > MOVED.get(self.dtype, MOVED_IN_HALF):
            raise ModelError(
                f"{type(self.model).__name__} reads what comes after a token to predict it: it is no causal language "
                "model (a BERT needs is_decoder in its configuration, and to be trained so)"
            )


def chosen(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """Return the log-probability of each target, float32 (n,), from logits (n, vocabulary) of any float type."""
    whole = logits.float()
    return whole.gather(1, targets[:, None])[:, 0] - whole.logsumexp(dim=1)


@dataclass(frozen=True, slots=True)
class Likelihood:
    """A row's sum of log-probabilities (natural), or why it has none; over how many tokens; tokens that were cut."""

    total: float | Unscored
    tokens: int
    cut: int


class CausalScorer:
    """Scores responses by their log-probability under a causal language model; made by ``causal_scorer``.

    Attributes:
        tokens: scores rows of token ids.
        encoder: turns prompts and responses into them.
        ended: whether what follows the response (EOS, a template's end of turn) counts as its last tokens.
        where: the model's place, for errors.
        notes: oddities found when it was loaded.
        timings: what calls took.
    """

    def __init__(
        self, tokens: TokenLikelihoods, encoder: Encoder, *, ended: bool, where: str,
        notes: Sequence[tuple[str, str]] = (),
    ) -> None:  # fmt: skip
        self.tokens = tokens
        self.encoder = encoder
        self.ended = ended
        self.where = where
        self.notes = tuple(notes)
        self.timings = Timings()
        self._told: set[str] = set()

    def rows(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Likelihood]:
        """Return each row's likelihood (see ``sequence.SequenceScorer`` for the arguments and errors).

        The response's tokens are counted from the first that holds a character of it. A row whose prompt is empty is
        its response alone, behind BOS where the tokenizer has one; where it has none the first token, which nothing
        precedes, is not counted.
        """
        return self.likelihoods(self.encode(prompts, responses))

    def encode(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Encoded]:
        """Return the rows as token ids, and warn of what is odd about them."""
        begun = time.perf_counter()
        encoded = self.encoder(prompts, responses)
        self.timings.encoding += time.perf_counter() - begun
        config = self.tokens.model.config
        seen = envelope(self.encoder, encoded, (prompts, responses), config=config, notes=self.notes)
        tell(seen.findings, where=self.where, told=self._told)
        self.timings.total += time.perf_counter() - begun
        return encoded

    def likelihoods(self, encoded: Sequence[Encoded]) -> list[Likelihood]:
        """Return the likelihood of each encoded row."""
        begun = time.perf_counter()
        meter, timings = self.tokens.meter, self.timings
        planning, forward = meter.planning, meter.forward
        spans = [self._span(one) for one in encoded]
        there = [(one, span) for one, span in zip(encoded, spans, strict=True) if not isinstance(span, Unscored)]
        found = iter(
            self.tokens(
                [one.ids[:stop] for one, (_, stop) in there], [start for _, (start, _) in there],
                [one.prompt for one, _ in there],
            ).tolist()
        )  # fmt: skip
        rows = [_likelihood(one, span, found) for one, span in zip(encoded, spans, strict=True)]
        timings.planning += meter.planning - planning
        timings.forward += meter.forward - forward
        timings.total += time.perf_counter() - begun
        return rows

    def _span(self, one: Encoded) -> tuple[int, int] | Unscored:
        """Return which tokens of a row count, or why none does."""
        if one.reason is not None:
            return Unscored(one.reason)
        start, stop = one.response
        if stop <= start:
            return Unscored(NOTHING)
        stop = len(one.ids) if self.ended else stop
        return (max(1, start), stop) if stop > 1 else Unscored(FIRST)


def _likelihood(one: Encoded, span: tuple[int, int] | Unscored, found: Iterator[float]) -> Likelihood:
    if isinstance(span, Unscored):
        return Likelihood(span, 0, one.cut)
    total = next(found)
    known = total if np.isfinite(total) else Unscored(NOT_FINITE.format(score=total))
    return Likelihood(known, span[1] - span[0], one.cut)


def causal_scorer(
    model: Any,
    tokenizer: Any = None,
    *,
    device: str = "cpu",
    dtype: str | None = None,
    batch_tokens: int | None = None,
    max_length: int | None = None,
    truncation: Truncation = "left",
    chat_template: str | Path | None = None,
    system: str | None = None,
    ended: bool = False,
) -> CausalScorer:
    """Make a scorer of a causal language model.

    Args:
        model: a transformers ``...ForCausalLM``, or a local folder of one.
        tokenizer: this and all others but ``ended`` are as in ``sequence.sequence_scorer``.
        device: where to compute.
        dtype: ``float32``, ``bfloat16`` or ``float16``; the log-softmax is in float32 always.
        batch_tokens: most tokens computed at once.
        max_length: most tokens of a row.
        truncation: ``left``, ``right`` or ``error``.
        chat_template: Jinja text, a ``Path``, ``"none"``, or the tokenizer's own.
        system: a system turn for conversations that have none.
        ended: whether what follows the response (EOS, a template's end of turn) counts too.

    Raises:
        InputError, ModelError, EnvironmentFault: see ``sequence.sequence_scorer``.
    """
    found = opened(model, tokenizer, head=CAUSAL, device=device, dtype=dtype)
    encoder = found.encoder(
        max_length=max_length, truncation=truncation, chat_template=chat_template, system=system, alone=True
    )  # fmt: skip
    tokens = TokenLikelihoods(found.model, device=device, dtype=found.dtype, batch_tokens=batch_tokens)
    return CausalScorer(tokens, encoder, ended=ended, where=found.where, notes=found.notes)
