"""Prompt and response to token ids: one text by the chat template or plainly, tokenised in bulk, cut in a stated way.

The plain form is prompt + newline + response + EOS. Whichever form, a row has exactly one BOS where the tokenizer writes
one: a template that writes it too does not double it. By default a long row loses the beginning of its prompt, and a
row that would lose any of its response has no score.
"""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from os.path import commonprefix
from typing import TYPE_CHECKING, Any, get_args

import numpy as np

from rmbench.errors import InputError
from rmbench.kernel.models.folder import short_hash

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    Messages = Sequence[Mapping[str, str]]
    Prompt = str | Messages

from typing import Literal

Truncation = Literal["left", "right", "error"]
STAND_IN = "\ue000 \ue001"  # a response that no text is likely to hold
CUT = "the response was cut: the row is longer than max_length"
GONE = "nothing of the response is left: the row is longer than max_length"
EMPTY = "neither prompt nor response gives a token"
NO_IDS = np.zeros(0, dtype=np.int32)


class TooLong(ValueError):
    """Rows longer than ``max_length`` where ``truncation`` is ``error``."""


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row.

    Attributes:
        ids: the whole sequence, int32: prompt, response and special tokens, cut to ``max_length``.
        prompt: how many leading tokens are the prompt's (a prefix that the prompt's responses may share).
        cut: tokens that truncation took away.
        reason: why it cannot be scored (then ``ids`` is empty), else None.
    """

    ids: np.ndarray
    prompt: int
    cut: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Text:
    """A row as text: ``response`` and ``end`` are where the response begins and ends; ``reason`` why there is none."""

    whole: str
    response: int
    end: int
    reason: str | None = None


@dataclass(frozen=True, slots=True)
class Format:
    """How rows become tokens.

    Attributes:
        max_length: most tokens of a row, None for no limit.
        truncation: ``left`` takes the beginning of the prompt (after BOS) and leaves a row whose response would be cut
            without a score; ``right`` takes the end of the response, for whoever wants that (a row of which nothing of
            the response is left has no score); ``error`` raises.
        template: a chat template (Jinja), or None for the plain form.
        system: put before the conversation, where it has no system turn of its own.
    """

    max_length: int | None = None
    truncation: Truncation = "left"
    template: str | None = None
    system: str | None = None

    def __post_init__(self) -> None:
        """Check the fields."""
        if self.truncation not in get_args(Truncation):
            raise ValueError(f"truncation is {self.truncation!r}, expected one of: {', '.join(get_args(Truncation))}")
        if self.max_length is not None and self.max_length < 1:
            raise ValueError(f"max_length is {self.max_length}, expected at least 1")

    @property
    def form(self) -> str:
        """``plain``, or the first digits of the template's sha256."""
        return "plain" if self.template is None else short_hash(self.template)


class Encoder:
    """Turns prompts and responses into token ids.

    Args:
        tokenizer: a transformers tokenizer.
        form: how.
        where: the tokenizer's place, for errors.
    """

    def __init__(self, tokenizer: Any, form: Format, *, where: str = "tokenizer") -> None:
        self.tokenizer = tokenizer
        self.form = form
        self.where = where
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.bos: int | None = tokenizer.cls_token_id if bos is None else bos
        self.eos: int | None = tokenizer.sep_token_id if eos is None else eos
        self.special = frozenset(tokenizer.all_special_ids)

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Encoded]:
        """Encode rows.

        Args:
            prompts: strings, or conversations as lists of ``{"role": ..., "content": ...}``.
            responses: one text each; an empty one is a response like any other.

        Returns:
            One record per row, in order.

        Raises:
            ValueError: the columns differ in length, or a row is too long and ``truncation`` is ``error``.
            InputError: the tokenizer gives no token for a text.
        """
        if len(prompts) != len(responses):
            raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses, expected as many of both")
        texts = self.texts(prompts, responses)
        told = [row for row, text in enumerate(texts) if text.reason is None]
        encoded = [Encoded(NO_IDS, 0, 0, text.reason) for text in texts]
        for row, one in zip(told, self._tokens([texts[row] for row in told]), strict=True):
            encoded[row] = one
        if self.form.truncation == "error" and (long := [row for row, one in enumerate(encoded) if one.cut]):
            raise TooLong(f"rows {_listed(long)} are longer than max_length ({self.form.max_length}) tokens")
        return encoded

    def texts(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Text]:
        """Return the rows as text, by the template where there is one."""
        pairs = zip(prompts, responses, strict=True)
        if self.form.template is None:
            return [self._plain(prompt, response) for prompt, response in pairs]
        known: dict[Any, str] = {}
        return [self._templated(self._conversation(prompt), response, known) for prompt, response in pairs]

    def _plain(self, prompt: Prompt, response: str) -> Text:
        before = prompt if isinstance(prompt, str) else flat(prompt)
        own = not isinstance(prompt, str) and any(turn["role"] == "system" for turn in prompt)
        if self.form.system is not None and not own:
            before = f"{self.form.system}\n{before}"
        whole = f"{before}\n{response}"
        return Text(whole, len(before) + 1, len(whole))

    def _conversation(self, prompt: Prompt) -> list[dict[str, str]]:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(turn) for turn in prompt]
        if self.form.system is not None and not any(turn["role"] == "system" for turn in turns):
            return [{"role": "system", "content": self.form.system}, *turns]
        return turns

    def _templated(self, turns: list[dict[str, str]], response: str, known: dict[Any, str]) -> Text:
        """Render a row; a second rendering, once per prompt, with another response shows where the response stands."""
        from jinja2 import TemplateError

        key = tuple((turn["role"], turn["content"]) for turn in turns)
        try:
            whole = self._render(turns, response)
            if key not in known:
                known[key] = self._render(turns, STAND_IN)
        except TemplateError as error:
            return Text("", 0, 0, f"the chat template refuses the messages: {str(error)[:200]}")
        other = known[key]
        start = len(commonprefix([whole, other]))
        tail = len(commonprefix([whole[start:][::-1], other[start:][::-1]]))
        return Text(whole, start, len(whole) - tail)

    def _render(self, turns: list[dict[str, str]], response: str) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            [*turns, {"role": "assistant", "content": response}], chat_template=self.form.template, tokenize=False
        )
        return rendered

    def _tokens(self, texts: Sequence[Text]) -> list[Encoded]:
        """Tokenise in one call, put BOS and EOS right, and cut."""
        if not texts:
            return []
        found = self.tokenizer(
            [text.whole for text in texts], return_attention_mask=False, return_token_type_ids=False, verbose=False
        )
        starts = self._starts(texts, found)
        rows = [
            self._cut(self._right(list(ids), start))
            for ids, start in zip(found["input_ids"], starts, strict=True)
        ]  # fmt: skip
        for text, ids in zip(texts, found["input_ids"], strict=True):
            if not set(ids) - self.special and spoken(text.whole):
                raise InputError(
                    f"the tokenizer gives no token for {text.whole[:60]!r}", where=self.where,
                    help="this tokenizer does not belong to the model: save the right one beside it",
                )  # fmt: skip
        return rows

    def _starts(self, texts: Sequence[Text], found: Any) -> list[int]:
        """Return the index of each row's first token of the response (or of what follows an empty one)."""
        if self.tokenizer.is_fast:
            return [_first_token(one, text) for text, one in zip(texts, found.encodings, strict=True)]
        prompts = self.tokenizer([text.whole[: text.response] for text in texts], verbose=False)["input_ids"]
        pairs = zip(found["input_ids"], prompts, strict=True)
        return [len(commonprefix([list(whole), list(prompt)])) for whole, prompt in pairs]

    def _right(self, ids: list[int], start: int) -> tuple[list[int], int]:
        """Return ids with a single BOS, and in the plain form a single EOS at the end."""
        if self.bos is not None and ids[:2] == [self.bos, self.bos]:
            ids, start = ids[1:], max(0, start - 1)
        if self.eos is None:
            return ids, start
        if ids[-2:] == [self.eos, self.eos]:
            ids = ids[:-1]
        if self.form.template is None and (not ids or ids[-1] != self.eos):
            ids = [*ids, self.eos]
        return ids, min(start, len(ids))

    def _cut(self, row: tuple[list[int], int]) -> Encoded:
        ids, start = row
        over = 0 if self.form.max_length is None else len(ids) - self.form.max_length
        if not ids:
            return Encoded(NO_IDS, 0, 0, EMPTY)
        if over <= 0:
            return Encoded(np.asarray(ids, dtype=np.int32), start, 0)
        head = 1 if ids[0] == self.bos else 0
        if self.form.truncation == "right":
            tail = 1 if ids[-1] == self.eos and len(ids) - over > 1 else 0
            kept = ids[: len(ids) - over - tail] + ids[len(ids) - tail :]
            reason = GONE if start >= len(kept) - tail else None
        else:
            kept = ids[:head] + ids[head + over :]
            reason = CUT if head + over > start else None
        if reason is not None:
            return Encoded(NO_IDS, 0, over, reason)
        shared = start if self.form.truncation == "right" else start - over
        return Encoded(np.asarray(kept, dtype=np.int32), shared, over)


def _first_token(encoding: Any, text: Text) -> int:
    """Return the index of the first token that holds a character of the response, or of what follows it."""
    at = text.response
    while at < len(text.whole):
        token = encoding.char_to_token(at)
        if token is not None:
            return int(token)
        at += 1
    ids = len(encoding.ids)
    last = next((i for i in range(ids - 1, -1, -1) if not encoding.special_tokens_mask[i]), -1)
    return last + 1


def spoken(text: str) -> bool:
    """Whether a text has a letter, digit, punctuation mark or symbol: what every tokenizer has a token for."""
    return any(unicodedata.category(c)[0] in "LNPS" for c in text)


def flat(messages: Messages) -> str:
    """Return messages as one text: one as its content, several as ``role: content`` paragraphs."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(f"{turn['role'].capitalize()}: {turn['content']}" for turn in messages)


def _listed(rows: Sequence[int]) -> str:
    return ", ".join(map(str, rows[:10])) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")  # noqa: PLR2004
