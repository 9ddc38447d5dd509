"""Prompts: what a model sees of them, and what two answers begin with in common where a pair does not state one."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from rmbench.api import Batch, Turn

_SPEAKS = "\n\nAssistant:"
_LONGEST_WORD = 100
_UNSPACED = "\u2e80"  # from here on lie the scripts that write no spaces between words


def prompts_of(batch: Batch) -> list[Any]:
    """Return what a model sees of each row: the prompt, or the conversation where it is one."""
    alone = [len(turns) == 1 and turns[0].role == "user" for turns in batch.messages]
    return [
        turns[0].content if one else [{"role": turn.role, "content": turn.content} for turn in turns]
        for one, turns in zip(alone, batch.messages, strict=True)
    ]


def common_prompt(chosen: str, rejected: str) -> int:
    """Return the length of the prompt that two texts share.

    It is their longest common beginning, cut back to after the last ``Assistant:`` paragraph where the
    texts are such dialogues, else to a boundary between words; a space there belongs to the answers, as
    in TRL. Equal texts share no prompt, since nothing says where the answer begins.
    """
    cut = _common_length(chosen, rejected)
    speaker = chosen.rfind(_SPEAKS, 0, cut)
    if speaker >= 0:
        return speaker + len(_SPEAKS)
    if chosen == rejected:
        return 0
    places = range(cut, max(cut - _LONGEST_WORD, -1), -1)
    cut = next((at for at in places if not (_splits_word(chosen, at) or _splits_word(rejected, at))), cut)
    return cut - 1 if chosen[:cut].endswith(" ") else cut


def common_messages(chosen: Sequence[Turn], rejected: Sequence[Turn]) -> int:
    """Return how many messages two conversations begin with in common; the last of each is no prompt."""
    most = min(len(chosen), len(rejected)) - 1
    return next((i for i in range(most) if chosen[i] != rejected[i]), most)


def stated_messages(chosen: Sequence[Turn], rejected: Sequence[Turn], prompt: Sequence[Turn]) -> int:
    """Return how many messages of both answers repeat the stated prompt: all of it, or 0."""
    n = len(prompt)
    repeated = all(len(answer) > n and tuple(answer[:n]) == tuple(prompt) for answer in (chosen, rejected))
    return n if repeated else 0


def _common_length(a: str, b: str) -> int:
    """Return the length of the longest common beginning, by bisection: long texts compare fast as slices."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if a[low:middle] == b[low:middle] else (low, middle - 1)
    return low


def _splits_word(text: str, cut: int) -> bool:
    if not 0 < cut < len(text):
        return False
    return text[cut - 1].isalnum() and text[cut].isalnum() and text[cut] < _UNSPACED
