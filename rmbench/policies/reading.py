r"""Prompts and responses as tokens: by the tokenizer's chat template where it has one, cut in a stated way.

A prompt is cut at its beginning, behind BOS: what stands next to the response is kept. Special tokens are written by
the template alone: the same characters inside of a response are ordinary text.

A chat template is data of the checkpoint. transformers runs it in Jinja's sandbox, which keeps it from Python's objects
and files.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError
from rmbench.kernel.models.encode import DATE, flat, sound
from rmbench.policy import Response

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.api import Sample

KNOWN = 4096  # prompts whose tokens are kept: a trainer asks for the same ones again and again
PROBE = "a"


@dataclass(frozen=True, slots=True)
class Reading:
    """How prompts become tokens.

    Attributes:
        most: most tokens of a prompt.
        template: whether the tokenizer's chat template is used.
        encoder: whether an encoder reads the prompt, as the tokenizer writes it, and a decoder the response.
        where: the tokenizer's place, for errors.
    """

    most: int
    template: bool = True
    encoder: bool = False
    where: str = "tokenizer"


class Reader:
    """Turns samples into prompts' tokens, texts into responses and tokens into texts.

    Args:
        tokenizer: a transformers tokenizer.
        reading: how.

    Raises:
        InputError: the tokenizer has no token that ends a response.
    """

    def __init__(self, tokenizer: Any, reading: Reading) -> None:
        self.tokenizer = tokenizer
        self.reading = reading
        eos = tokenizer.sep_token_id if tokenizer.eos_token_id is None else tokenizer.eos_token_id
        if eos is None:
            raise InputError(
                "the tokenizer has no token that ends a response", where=reading.where,
                help="name one as eos_token in tokenizer_config.json: a policy learns to write it",
            )  # fmt: skip
        self.eos = int(eos)
        bos = tokenizer.cls_token_id if tokenizer.bos_token_id is None else tokenizer.bos_token_id
        self.bos: int | None = None if bos is None else int(bos)
        self.pad = int(self.eos if tokenizer.pad_token_id is None else tokenizer.pad_token_id)
        self.templated = reading.template and bool(tokenizer.chat_template)
        self.given = {"date_string": DATE} if "strftime_now" in str(tokenizer.chat_template) else {}
        self._around = _around(tokenizer)
        self.target = _around(tokenizer, target=True)[0] if reading.encoder else ()
        self._known: dict[Any, tuple[int, ...]] = {}

    def prompts(self, samples: Sequence[Sample]) -> list[tuple[int, ...]]:
        """Return the tokens of each prompt, its end kept where it is too long; never none.

        Raises:
            InputError: a prompt that gives no token where the tokenizer has no BOS, a template that refuses one.
        """
        keys = [(sample.messages, sample.prompt if not sample.messages else "") for sample in samples]
        for key, sample in zip(keys, samples, strict=True):
            if key not in self._known:
                if len(self._known) >= KNOWN:
                    self._known.clear()
                self._known[key] = self._prompt(sample)
        found = []
        for key, sample in zip(keys, samples, strict=True):
            if key not in self._known:  # cleared by a prompt behind it
                self._known[key] = self._prompt(sample)
            found.append(self._known[key])
        return found

    def alone(self) -> tuple[int, ...]:
        """Return what stands before a text without a prompt.

        Raises:
            InputError: the tokenizer has no BOS.
        """
        if self.reading.encoder:
            return self._ended(())
        if self.bos is None:
            raise InputError(
                "the tokenizer has no BOS: nothing can stand before the first token of a text without a prompt",
                where=self.reading.where, help="leave texts without prompts out, or name a bos_token",
            )  # fmt: skip
        return (self.bos,)

    def response(self, text: str, most: int | None = None) -> Response:
        """Return a text as a response: its tokens and EOS, cut after ``most`` of them.

        Raises:
            InputError: a lone surrogate in the text.
        """
        ids = (*self._plain(text, target=self.reading.encoder), self.eos)
        if most is None or len(ids) <= most:
            return Response(text, ids, finished=True)
        return self.written(ids[:most])

    def written(self, ids: Sequence[int], *, stop: Sequence[str] = ()) -> Response:
        """Return what tokens say, up to the first of the stop texts; it is finished by EOS and by a stop text."""
        ended = bool(ids) and ids[-1] == self.eos
        text = self.text(ids[:-1] if ended else ids)
        found = [place for one in stop if (place := text.find(one)) >= 0]
        return Response(text[: min(found)] if found else text, tuple(ids), finished=ended or bool(found))

    def text(self, ids: Sequence[int]) -> str:
        """Return the text of tokens, special ones left out."""
        made: str = self.tokenizer.decode(list(ids), skip_special_tokens=True, clean_up_tokenization_spaces=False)
        return made

    def _prompt(self, sample: Sample) -> tuple[int, ...]:
        turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
        turns = turns or [{"role": "user", "content": sample.prompt}]
        if not all(sound(turn["content"]) for turn in turns):
            raise InputError("the prompt holds a lone surrogate, which no tokenizer takes", where=f"sample {sample.id}")
        if self.templated:
            return self._cut(self._rendered(turns, sample.id))
        text = flat(turns)
        if self.reading.encoder:
            return self._ended(self._plain(text))
        if not text:
            return self.alone()
        return self._cut(tuple(self.tokenizer(text + "\n", verbose=False)["input_ids"]))

    def _rendered(self, turns: list[dict[str, str]], name: str) -> tuple[int, ...]:
        try:
            text = self.tokenizer.apply_chat_template(turns, tokenize=False, add_generation_prompt=True, **self.given)
        except Exception as error:
            what = f"the chat template refuses the prompt: {type(error).__name__}: {str(error)[:200]}"
            raise InputError(what, where=f"sample {name}", help="chat_template = none writes it plainly") from error
        return tuple(self.tokenizer(text, add_special_tokens=False, verbose=False)["input_ids"]) or self.alone()

    def _cut(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Keep the end of a prompt, and its BOS; what the tokenizer writes at the end of a text is no prompt's."""
        if not self.templated:
            while ids and ids[-1] == self.eos and self.eos != self.bos:
                ids = ids[:-1]
        over = len(ids) - self.reading.most
        if over <= 0:
            return ids
        head = int(ids[0] == self.bos)
        return ids[:head] + ids[head + over :]

    def _ended(self, ids: tuple[int, ...]) -> tuple[int, ...]:
        """Return what an encoder reads: the end of the tokens, in what the tokenizer writes around them."""
        before, after = self._around
        room = max(0, self.reading.most - len(before) - len(after))
        return (*before, *ids[max(0, len(ids) - room) :], *after) or (self.eos,)

    def _plain(self, text: str, *, target: bool = False) -> tuple[int, ...]:
        if not sound(text):
            raise InputError("a text holds a lone surrogate, which no tokenizer takes", where=self.reading.where)
        given = {"text_target": text} if target else {"text": text}
        found = self.tokenizer(**given, add_special_tokens=False, split_special_tokens=True, verbose=False)
        return tuple(found["input_ids"])


def _around(tokenizer: Any, *, target: bool = False) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the special tokens that a tokenizer writes before a text, or a target text, and behind it."""
    given = {"text_target": PROBE} if target else {"text": PROBE}
    own = list(tokenizer(**given, add_special_tokens=False)["input_ids"])
    whole = list(tokenizer(**given)["input_ids"])
    starts = [at for at in range(len(whole) - len(own) + 1) if whole[at : at + len(own)] == own]
    at = starts[0] if starts else 0
    return tuple(whole[:at]), tuple(whole[at + len(own) :])
