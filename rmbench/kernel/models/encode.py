"""Prompt and response to token ids: one text by the chat template or plainly, tokenised in bulk, cut in a stated way.

The plain form is prompt + newline + response + EOS, with exactly one BOS where the tokenizer writes one. With a
template the tokens are those of transformers' ``apply_chat_template``: what the template writes and nothing else, so
that a template without BOS gives rows without it, whatever the tokenizer would write (the envelope says so). By default
a long row loses the beginning of its prompt, and a row that would lose any of its response has no score.

A chat template is data of the checkpoint. transformers runs it in Jinja's sandbox, which keeps it from Python's objects
and files, not from looping for ever: in ``rmbench run`` the time limit of a call ends the worker; here nothing does.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from rmbench.errors import InputError
from rmbench.kernel.models.files import short_hash
from rmbench.kernel.models.spans import Span, Text, between, common, span_of, spoken

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    Messages = Sequence[Mapping[str, str]]
    Prompt = str | Messages

Truncation = Literal["left", "right", "error"]
STAND_IN = "zqxjk0 rmbench stands in 0kjxqz"  # a response that no text is likely to hold
STAND_IN_ROW = [{"role": "user", "content": "A question?"}]
DATE = "26 Jul 2024"  # what templates that ask for the day of the run are given: Llama's own default
CHUNK = 2**19  # characters tokenised in one call: the tokenizer keeps some 30 bytes of offsets for each
SPEAKERS = {"user": "Human", "assistant": "Assistant"}  # as in ``batch.prompts``
CUT = "the response was cut: the row is longer than max_length"
GONE = "nothing of the response is left: the row is longer than max_length"
EMPTY = "neither prompt nor response gives a token"
SILENT = "the tokenizer gives no token for the response"
SURROGATE = "the text holds a lone surrogate, which no tokenizer takes"
LEFT_OUT = "the chat template leaves the response out"
NO_IDS = np.zeros(0, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class Encoded:
    """One row.

    Attributes:
        ids: the whole sequence, int32: prompt, response and special tokens, cut to ``max_length``.
        prompt: how many leading tokens are the prompt's (a prefix that the prompt's responses may share).
        cut: tokens that truncation took away.
        reason: why it cannot be scored (then ``ids`` is empty), else None.
        response: where the response's own tokens begin and end, whatever other rows share; what follows is EOS or what
            a template writes.
    """

    ids: np.ndarray
    prompt: int
    cut: int
    reason: str | None = None
    response: tuple[int, int] = (0, 0)


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
        alone: whether a row with an empty prompt (and no ``system``) is its response alone, with neither newline nor
            template, behind BOS where the tokenizer has one: what a language model's likelihood of a text wants.
    """

    max_length: int | None = None
    truncation: Truncation = "left"
    template: str | None = None
    system: str | None = None
    alone: bool = False

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

    Raises:
        InputError: a chat template that cannot be used.
    """

    def __init__(self, tokenizer: Any, form: Format, *, where: str = "tokenizer") -> None:
        self.tokenizer = tokenizer
        self.form = form
        self.where = where
        bos, eos = tokenizer.bos_token_id, tokenizer.eos_token_id
        self.bos: int | None = tokenizer.cls_token_id if bos is None else bos
        self.eos: int | None = tokenizer.sep_token_id if eos is None else eos
        added = tokenizer.added_tokens_decoder.items()
        self.special = frozenset(tokenizer.all_special_ids) | {one for one, token in added if token.special}
        self.written = int(tokenizer.num_special_tokens_to_add())
        self.system_left_out = False
        self.given = {"date_string": DATE} if "strftime_now" in (form.template or "") else {}
        if form.template is not None:
            self._check_template()

    def __call__(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Encoded]:
        """Encode rows.

        Args:
            prompts: strings, or conversations as lists of ``{"role": ..., "content": ...}``.
            responses: one text each; an empty one is a response like any other.

        Returns:
            One record per row, in order.

        Raises:
            ValueError: the columns differ in length, or hold what is no text or message.
            InputError: the tokenizer gives no token for a text, or a row is too long and ``truncation`` is ``error``.
        """
        check(prompts, responses)
        texts = self.texts(prompts, responses)
        different = [text for text in dict.fromkeys(texts) if text.reason is None]
        found: dict[Text, Encoded] = {}
        for alone in (False, True):
            some = [text for text in different if text.alone == alone]
            found |= zip(some, self._tokens(some, plain=alone or self.form.template is None), strict=True)
        encoded = [found[text] if text.reason is None else Encoded(NO_IDS, 0, 0, text.reason) for text in texts]
        if self.form.truncation == "error" and (long := [row for row, one in enumerate(encoded) if one.cut]):
            raise InputError(
                f"rows {listed(long)} are longer than max_length ({self.form.max_length} tokens)", where=self.where,
                help="truncation = left cuts the beginning of the prompt and leaves other rows without a score",
            )  # fmt: skip
        return encoded

    def texts(self, prompts: Sequence[Prompt], responses: Sequence[str]) -> list[Text]:
        """Return the rows as text, by the template where there is one."""
        known: dict[Any, tuple[str, str]] = {}

        def text(prompt: Prompt, response: str) -> Text:
            if self.form.alone and prompt == "" and self.form.system is None:
                return Text(response, 0, len(response), None if sound(response) else SURROGATE, alone=True)
            if self.form.template is None:
                return self._plain(prompt, response)
            return self._templated(self._conversation(prompt), response, known)

        return [text(prompt, response) for prompt, response in zip(prompts, responses, strict=True)]

    def _plain(self, prompt: Prompt, response: str) -> Text:
        before = prompt if isinstance(prompt, str) else flat(prompt)
        own = not isinstance(prompt, str) and any(turn["role"] == "system" for turn in prompt)
        if self.form.system is not None and not own:
            before = f"{self.form.system}\n{before}"
        whole = f"{before}\n{response}"
        return Text(whole, len(before) + 1, len(whole), None if sound(whole) else SURROGATE)

    def _conversation(self, prompt: Prompt) -> list[dict[str, str]]:
        turns = [{"role": "user", "content": prompt}] if isinstance(prompt, str) else [dict(turn) for turn in prompt]
        if self.form.system is not None and not any(turn["role"] == "system" for turn in turns):
            return [{"role": "system", "content": self.form.system}, *turns]
        return turns

    def _templated(self, turns: list[dict[str, str]], response: str, known: dict[Any, tuple[str, str]]) -> Text:
        """Render a row; a second rendering, once per prompt, with another response shows where the response stands."""
        key = tuple((turn["role"], turn["content"]) for turn in turns)
        try:
            whole = self._render(turns, response)
            if key not in known:
                before, _, after = self._render(turns, STAND_IN).partition(STAND_IN)
                known[key] = before, after
        except Exception as error:  # noqa: BLE001 - a template may divide by zero; it says so of its row
            return Text("", 0, 0, f"the chat template refuses the messages: {_short(error)}")
        if not sound(whole):
            return Text("", 0, 0, SURROGATE)
        start, end = between(whole, *known[key])
        return Text(whole, start, end, LEFT_OUT if start == end and response.strip() else None)

    def _render(self, turns: list[dict[str, str]], response: str) -> str:
        rendered: str = self.tokenizer.apply_chat_template(
            [*turns, {"role": "assistant", "content": response}], chat_template=self.form.template, tokenize=False,
            **self.given,
        )  # fmt: skip
        return rendered

    def _check_template(self) -> None:
        """Refuse a template that is no Jinja, that the sandbox stops, or that does not show the response."""
        from jinja2 import TemplateSyntaxError
        from jinja2.exceptions import SecurityError

        advice = "give another with chat_template, or chat_template = none for prompt + newline + response + EOS"
        try:
            rendered = self._render(STAND_IN_ROW, STAND_IN)
        except (TemplateSyntaxError, SecurityError) as error:
            what = f"the chat template cannot be used: {_short(error)}"
            raise InputError(what, where=self.where, help=advice) from error
        except Exception:  # noqa: BLE001 - it may want a system turn, or take none: rows say so themselves
            return
        if STAND_IN not in rendered:
            raise InputError(LEFT_OUT, where=self.where, help=advice)
        self.system_left_out = self.form.system is not None and self._drops_system()

    def _drops_system(self) -> bool:
        """Whether the template has no place for a system turn, and does not refuse it either."""
        try:
            return STAND_IN not in self._render([{"role": "system", "content": STAND_IN}, *STAND_IN_ROW], "An answer.")
        except Exception:  # noqa: BLE001 - then every row says so itself
            return False

    def _tokens(self, texts: Sequence[Text], *, plain: bool) -> list[Encoded]:
        """Tokenise in few calls, put BOS and EOS right, cut, and find the prefixes that rows may share."""
        rows: list[Encoded] = []
        for chunk in chunks(texts):
            found = self.tokenizer(
                [text.whole for text in chunk], add_special_tokens=plain,
                return_attention_mask=False, return_token_type_ids=False, verbose=False,
            )  # fmt: skip
            for text, ids, span in zip(chunk, found["input_ids"], self._spans(chunk, found, plain=plain), strict=True):
                if len(ids) <= (self.written if plain else 0) and spoken(text.whole):
                    raise InputError(
                        f"the tokenizer gives no token for {text.whole[:60]!r}", where=self.where,
                        help="this tokenizer does not belong to the model: save the right one beside it",
                    )  # fmt: skip
                silent = not span.seen and spoken(text.whole[text.response : text.end])
                rows.append(
                    Encoded(NO_IDS, 0, 0, SILENT)
                    if silent
                    else self._cut(*self._right(list(ids), span, plain=plain, alone=text.alone))
                )
        return aligned(texts, rows)

    def _spans(self, texts: Sequence[Text], found: Any, *, plain: bool) -> list[Span]:
        """Return where each row's response stands among its tokens (see ``spans.span_of``)."""
        if self.tokenizer.is_fast:
            return [span_of(one, text) for text, one in zip(texts, found.encodings, strict=True)]

        def shared(until: Sequence[int]) -> list[int]:
            before = [text.whole[:at] for text, at in zip(texts, until, strict=True)]
            tokens = self.tokenizer(before, add_special_tokens=plain, verbose=False)["input_ids"]
            return [common(whole, some) for whole, some in zip(found["input_ids"], tokens, strict=True)]

        starts = shared([text.response for text in texts])
        stops = shared([text.end for text in texts]) if self.form.alone else starts  # asked of language models only
        return [Span(start, max(start, stop), seen=True) for start, stop in zip(starts, stops, strict=True)]

    def _right(self, ids: list[int], span: Span, *, plain: bool, alone: bool) -> tuple[list[int], Span]:
        """Return ids, in the plain form with a single BOS and a single EOS at the end; and where the response stands.

        A response without tokens stands where the special tokens at the end begin.
        """
        if span.start < 0:
            start = len(ids) - 1 if ids and ids[-1] == self.eos else len(ids)
            span = Span(start, start, span.seen)
        if not plain:
            return ids, span
        while self.bos is not None and ids[:2] == [self.bos, self.bos]:
            ids = ids[1:]
            span = span.moved(-1, len(ids))
        if alone and self.bos is not None and ids[:1] != [self.bos]:  # the first token wants something before it
            ids = [self.bos, *ids]
            span = span.moved(1, len(ids))
        if self.eos is None:
            return ids, span
        while ids[-2:] == [self.eos, self.eos]:
            ids = ids[:-1]
        if not ids or ids[-1] != self.eos:
            ids = [*ids, self.eos]
        return ids, span.moved(0, len(ids) - 1)

    def _cut(self, ids: list[int], span: Span) -> Encoded:
        over = 0 if self.form.max_length is None else len(ids) - self.form.max_length
        if not ids:
            return Encoded(NO_IDS, 0, 0, EMPTY)
        if over <= 0:
            return Encoded(np.asarray(ids, dtype=np.int32), span.start, 0, response=(span.start, span.stop))
        head = 1 if ids[0] == self.bos else 0
        if self.form.truncation == "right":
            tail = 1 if ids[-1] == self.eos and len(ids) - over > 1 else 0
            kept = ids[: len(ids) - over - tail] + ids[len(ids) - tail :]
            reason = GONE if span.start >= len(kept) - tail else None
            span = Span(span.start, min(span.stop, len(kept) - tail), span.seen)
        else:
            kept = ids[:head] + ids[head + over :]
            reason = CUT if head + over > span.start else None
            span = span.moved(-over, len(kept))
        if reason is not None:
            return Encoded(NO_IDS, 0, over, reason)
        return Encoded(np.asarray(kept, dtype=np.int32), span.start, over, response=(span.start, span.stop))


def check(prompts: Sequence[Prompt], responses: Sequence[str]) -> None:
    """Raise a ``ValueError`` naming the row where the columns are not what ``Encoder`` takes."""
    for name, column in (("prompts", prompts), ("responses", responses)):
        if isinstance(column, str):
            raise ValueError(f"{name} is one text, expected a sequence of texts")
    if len(prompts) != len(responses):
        raise ValueError(f"{len(prompts)} prompts and {len(responses)} responses, expected as many of both")
    for row, (prompt, response) in enumerate(zip(prompts, responses, strict=True)):
        if not isinstance(response, str):
            raise ValueError(f"response {row} is {type(response).__name__}, expected a text")
        if not isinstance(prompt, str) and not _messages(prompt):
            raise ValueError(f"prompt {row} is neither a text nor messages with a role and a content each")


def _messages(prompt: Any) -> bool:
    try:
        turns = [(turn["role"], turn["content"]) for turn in prompt]
    except (TypeError, KeyError, IndexError):
        return False
    return bool(turns) and all(isinstance(role, str) and isinstance(content, str) for role, content in turns)


def chunks(texts: Sequence[Text]) -> Iterator[Sequence[Text]]:
    """Yield the texts in runs of at most ``CHUNK`` characters, a longer one alone."""
    begin = held = 0
    for at, text in enumerate(texts):
        if held and held + len(text.whole) > CHUNK:
            yield texts[begin:at]
            begin, held = at, 0
        held += len(text.whole) + 1
    if begin < len(texts):
        yield texts[begin:]


def aligned(texts: Sequence[Text], rows: Sequence[Encoded]) -> list[Encoded]:
    """Return the rows with the same length of prompt for all responses of a prompt that were cut alike.

    A response that begins with a newline may take the prompt's last newline into its first token. The prefix that all
    of them have is a little shorter then; whether its tokens are equal is for the plan to say.
    """
    least: dict[tuple[str, int], int] = {}
    keys = [(text.whole[: text.response], row.cut) for text, row in zip(texts, rows, strict=True)]
    for key, row in zip(keys, rows, strict=True):
        if row.reason is None:
            least[key] = min(least.get(key, row.prompt), row.prompt)
    return [
        row if row.reason is not None or row.prompt == least[key] else replace(row, prompt=least[key])
        for key, row in zip(keys, rows, strict=True)
    ]


def sound(text: str) -> bool:
    """Whether a text is valid Unicode: without lone surrogates."""
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError:
        return False
    return True


def flat(messages: Messages) -> str:
    """Return messages as one text: one as its content, several as ``Human: ...`` paragraphs."""
    if len(messages) == 1:
        return messages[0]["content"]
    return "\n\n".join(
        f"{SPEAKERS.get(turn['role'], turn['role'].capitalize())}: {turn['content']}" for turn in messages
    )


def _short(error: BaseException) -> str:
    return f"{type(error).__name__}: {str(error)[:200]}"


def listed(rows: Sequence[int]) -> str:
    """Return the first ten rows as words, and how many more there are."""
    return ", ".join(map(str, rows[:10])) + (f" and {len(rows) - 10} more" if len(rows) > 10 else "")  # noqa: PLR2004
