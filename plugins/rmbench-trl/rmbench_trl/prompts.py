"""Samples as rows of TRL's data sets: conversations where the tokenizer has a chat template, texts where it has none.

TRL writes a conversation by the template and adds what begins an answer, as the policies of rmbench do, so that both
read the same tokens. TRL cuts no prompt: one that the model has no room for is left out, with a note.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError
from rmbench.kernel.models.encode import flat
from rmbench.trainers.updates import where

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rmbench.api import Sample
    from rmbench.trainers.course import Course

AROUND = 16  # tokens, at most, that a template writes around a turn

Text = str | list[dict[str, str]]


def prompt_of(tokenizer: Any, sample: Sample) -> Text:
    """Return a prompt as TRL takes it."""
    turns = [{"role": turn.role, "content": turn.content} for turn in sample.messages]
    turns = turns or [{"role": "user", "content": sample.prompt}]
    return turns if tokenizer.chat_template else flat(turns) + "\n"


def answer_of(tokenizer: Any, text: str) -> Text:
    """Return a response as TRL takes it beside a prompt."""
    return [{"role": "assistant", "content": text}] if tokenizer.chat_template else text


def text_of(completion: Text) -> str:
    """Return the text of a completion that TRL drew."""
    return completion if isinstance(completion, str) else completion[-1]["content"]


def fitting(course: Course, samples: Sequence[Sample]) -> tuple[Sample, ...]:
    """Return the samples whose prompts leave room for a response; a note says how many do not.

    Raises:
        InputError: none of them does.
    """
    model, tokenizer = course.agent.model, course.agent.tokenizer
    places = getattr(model.config.get_text_config(), "max_position_embeddings", None)
    most = None if places is None else places - course.session.decoding.max_tokens
    kept = tuple(one for one in samples if most is None or _tokens(tokenizer, one, most) <= most)
    if not kept:
        raise InputError(
            f"train has no prompt that fits into {most:,} tokens" if samples else "train has no prompt",
            where=where(course), help="lower max_tokens, or give the model more positions",
        )  # fmt: skip
    if len(kept) < len(samples):
        left = len(samples) - len(kept)
        course.note(f"{left:,} of {len(samples):,} prompts of train are longer than {most:,} tokens: TRL cuts none")
    return kept


def _tokens(tokenizer: Any, sample: Sample, most: int) -> int:
    """Return a prompt's tokens, or a bound on them that is not above ``most``."""
    turns = sample.messages or (sample.prompt,)
    bound = sum(AROUND + len(str(getattr(turn, "content", turn)).encode()) for turn in turns)
    if bound <= most:  # a token is a byte or more
        return bound
    given = prompt_of(tokenizer, sample)
    if isinstance(given, str):
        return len(tokenizer(given, verbose=False)["input_ids"])
    return len(tokenizer.apply_chat_template(given, add_generation_prompt=True, tokenize=True)["input_ids"])
