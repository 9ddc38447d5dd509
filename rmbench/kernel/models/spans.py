"""Where the response stands: in the text of a row, and among its tokens."""

from __future__ import annotations

import unicodedata
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Sequence


@dataclass(frozen=True, slots=True)
class Text:
    """A row as text.

    Attributes:
        whole: what is tokenised.
        response, end: where the response begins and ends.
        reason: why the row cannot be scored, else None.
        alone: whether it is the response only, without prompt and template.
    """

    whole: str
    response: int
    end: int
    reason: str | None = None
    alone: bool = False


class Span(NamedTuple):
    """Where the response's tokens begin and end; ``seen``: whether any token holds a character of it.

    ``start`` is -1 where no token holds a character of the response or of what follows.
    """

    start: int
    stop: int
    seen: bool

    def moved(self, by: int, most: int) -> Span:
        """Return it ``by`` tokens to the right, between 0 and ``most``."""
        start, stop = (min(max(0, at + by), most) for at in (self.start, self.stop))
        return Span(start, stop, self.seen)


def between(whole: str, before: str, after: str) -> tuple[int, int]:
    """Return where the response stands in a rendered row, given what stands before and after another one."""
    if not (whole.startswith(before) and whole.endswith(after) and len(whole) >= len(before) + len(after)):
        start = common(whole, before)
        return start, len(whole) - common(whole[start:][::-1], after[::-1])
    return len(before), len(whole) - len(after)


def span_of(encoding: Any, text: Text) -> Span:
    """Return where the response stands among the tokens of a fast tokenizer.

    It begins with the first token that holds a character of the response or of what follows, and ends behind the last
    one that holds any of its own: a token that also holds the prompt's last character, or the first one after the
    response, is the response's.
    """
    token = encoding.char_to_token(text.response)
    if token is not None:
        start, seen = int(token), text.end > text.response
        return Span(start, _last(encoding, text) if seen else start, seen=True)
    places = enumerate(encoding.offsets)  # the tokenizer drops the response's first character, or there is none
    start, begin = next(((index, begin) for index, (begin, end) in places if end > text.response), (-1, text.end))
    seen = begin < text.end
    return Span(start, _last(encoding, text) if seen else start, seen)


def _last(encoding: Any, text: Text) -> int:
    """Return the place behind the last token that holds a character of the response, which some token does."""
    token = encoding.char_to_token(text.end - 1)
    if token is None:
        offsets = encoding.offsets
        return max(at for at, (begin, end) in enumerate(offsets) if begin < text.end and end > text.response) + 1
    stop = int(token) + 1
    while (chars := encoding.token_to_chars(stop)) and chars[0] < text.end and chars[1] > text.response:
        stop += 1  # one character may be several tokens, of a byte each
    return stop


def common(one: Sequence[Any], other: Sequence[Any]) -> int:
    """Return the length of the longest common beginning."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((at for at, (a, b) in pairs if a != b), min(len(one), len(other)))


def spoken(text: str) -> bool:
    """Whether a text has a letter, digit, punctuation mark or symbol: what every tokenizer has a token for."""
    return any(unicodedata.category(c)[0] in "LNPS" for c in text)
