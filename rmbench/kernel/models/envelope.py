"""The envelope of the rows before they are scored: what stands around the text, and what was cut from it.

A reward model that reads a second BOS, no EOS or another template still gives numbers. Each such oddity is a finding
with a name: a warning, or an error where the environment says ``RMBENCH_STRICT=1``.
"""

from __future__ import annotations

import os
import re
import warnings
from collections import Counter
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from rmbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    import numpy as np

    from rmbench.kernel.models.encode import Encoded, Encoder, Prompt

SHOWN = 3  # first and last ids: the most frequent ones
TAIL = 3  # tokens behind a chat template's response among which the end of the turn stands
UNKNOWN = 0.1  # share of tokens that may be unknown before it is said


class EnvelopeWarning(UserWarning):
    """An oddity around the rows; the message begins with its name."""


@dataclass(frozen=True, slots=True)
class Finding:
    """One oddity: its name, words for it, and how many rows have it (all of them where it is the tokenizer's)."""

    name: str
    words: str
    rows: int

    def __str__(self) -> str:
        """Return ``name: words``."""
        return f"{self.name}: {self.words}"


@dataclass(frozen=True, slots=True)
class Ends:
    """A token that rows begin or end with: id, text, number of rows."""

    id: int
    token: str
    rows: int


@dataclass(frozen=True, slots=True)
class Envelope:
    """What stands around the rows.

    Attributes:
        rows, unscored: rows in all, and those without a score.
        form: ``plain``, or the first digits of the chat template's sha256.
        first, last: the most frequent first and last ids.
        bos, eos, pad: the tokenizer's ids (CLS and SEP where it has no BOS and EOS), None where it has none.
        one_bos: rows with exactly one BOS.
        ended: rows that end as configured: with EOS, with a template with a special token near the end.
        tokens: of the scored rows.
        max_length: most tokens of a row.
        cut_rows, cut_tokens: rows that truncation shortened or took the score from, and the tokens that it took.
        lost_rows: those of them without a score.
        findings: oddities.
    """

    rows: int
    unscored: int
    form: str
    first: tuple[Ends, ...]
    last: tuple[Ends, ...]
    bos: int | None
    eos: int | None
    pad: int | None
    one_bos: int
    ended: int
    tokens: int
    max_length: int | None
    cut_rows: int
    cut_tokens: int
    lost_rows: int
    findings: tuple[Finding, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain values, for JSON."""
        return asdict(self)

    def __str__(self) -> str:
        """Return it as lines: the ends, the counts, and each finding."""
        first, last = (
            ", ".join(f"{end.id} {end.token!r} ({end.rows})" for end in ends) for ends in (self.first, self.last)
        )
        limit = "no limit" if self.max_length is None else f"limit {self.max_length:,}"
        return "\n".join((
            f"rows {self.rows:,}, {self.unscored:,} without a score; {self.tokens:,} tokens, {limit}",
            f"form {self.form}; first {first or 'none'}; last {last or 'none'}",
            f"exactly one BOS in {self.one_bos:,}, end as configured in {self.ended:,}; pad {self.pad}",
            f"cut {self.cut_rows:,} rows by {self.cut_tokens:,} tokens, {self.lost_rows:,} of them have no score",
            *(f"warning {finding}" for finding in self.findings),
        ))  # fmt: skip


def envelope(
    encoder: Encoder,
    rows: Sequence[Encoded],
    texts: tuple[Sequence[Prompt], Sequence[str]],
    *,
    config: Any = None,
    notes: Sequence[tuple[str, str]] = (),
) -> Envelope:
    """Return what stands around encoded rows.

    Args:
        encoder: what encoded them.
        rows: the encoded rows.
        texts: the prompts and the responses.
        config: the model's configuration, whose ids are held against the tokenizer's.
        notes: oddities found when the model was loaded.
    """
    scored = [row.ids for row in rows if row.reason is None]
    bos, eos = encoder.bos, encoder.eos
    cut = [row for row in rows if row.cut]
    made = Envelope(
        rows=len(rows), unscored=len(rows) - len(scored), form=encoder.form.form,
        first=_ends(encoder, [int(ids[0]) for ids in scored]), last=_ends(encoder, [int(ids[-1]) for ids in scored]),
        bos=bos, eos=eos, pad=encoder.tokenizer.pad_token_id,
        one_bos=sum(int((ids == bos).sum()) == 1 for ids in scored) if bos is not None else 0,
        ended=sum(_ended(encoder, ids) for ids in scored), tokens=sum(map(len, scored)),
        max_length=encoder.form.max_length, cut_rows=len(cut), cut_tokens=sum(row.cut for row in cut),
        lost_rows=sum(row.reason is not None for row in cut), findings=(),
    )  # fmt: skip
    named = [Finding(name, words, len(rows)) for name, words in notes]
    found = [*named, *_tokenizer(encoder, made, config), *_rows(encoder, made, scored), *_texts(encoder, texts)]
    return replace(made, findings=tuple(found))


def tell(found: Sequence[Finding], *, where: str, told: set[str] | None = None) -> None:
    """Warn of findings, each name once for a set of names ``told``.

    Raises:
        InputError: there are any, and the environment says ``RMBENCH_STRICT=1``.
    """
    if found and os.environ.get("RMBENCH_STRICT") == "1":
        raise InputError(
            "; ".join(map(str, found)), where=where, help="unset RMBENCH_STRICT to have warnings in place of this error"
        )
    told = set() if told is None else told
    for finding in found:
        if finding.name not in told:
            told.add(finding.name)
            warnings.warn(f"{finding} ({where})", EnvelopeWarning, stacklevel=4)


def _ends(encoder: Encoder, ids: Sequence[int]) -> tuple[Ends, ...]:
    tokens = encoder.tokenizer.convert_ids_to_tokens
    return tuple(Ends(one, str(tokens(one)), count) for one, count in Counter(ids).most_common(SHOWN))


def _ended(encoder: Encoder, ids: np.ndarray) -> bool:
    """Whether a row ends as configured."""
    if encoder.form.template is None:
        return bool(ids[-1] == encoder.eos)
    return not encoder.special.isdisjoint(ids[-TAIL:].tolist())


def _tokenizer(encoder: Encoder, made: Envelope, config: Any) -> Iterator[Finding]:
    """Yield what is odd about the tokenizer, and about it beside the model."""
    every, pad, eos = made.rows, made.pad, made.eos
    if pad is None:
        yield Finding("no-pad", "the tokenizer has no pad token; masked rows need none, trainers do", every)
    elif pad == eos:
        words = (
            f"pad and EOS are both {pad}: here the mask says where a row ends, a trainer that asks for pad is misled"
        )
        yield Finding("pad-is-eos", words, every)
    if eos is None:
        yield Finding("no-eos", "the tokenizer has no EOS: rows end where their response does", every)
    if encoder.system_left_out:
        yield Finding("system-left-out", "a system text is given, the chat template leaves it out", every)
    if "strftime_now" in (encoder.form.template or "") and "date_string" not in (encoder.form.template or ""):
        yield Finding("dated-template", "the chat template writes the day of the run: scores change with it", every)
    for name, own in (("bos", encoder.tokenizer.bos_token_id), ("eos", encoder.tokenizer.eos_token_id)):
        given = None if config is None else config.to_dict().get(f"{name}_token_id")
        ids = given if isinstance(given, list) else [given]
        if own is not None and given is not None and own not in ids:
            yield Finding(f"{name}-differs", f"the tokenizer's {name.upper()} is {own}, the model's is {given}", every)


def _rows(encoder: Encoder, made: Envelope, scored: Sequence[np.ndarray]) -> Iterator[Finding]:
    """Yield what is odd about the token ids."""
    bos, eos = made.bos, made.eos
    if bos is not None and bos != eos:
        counts = Counter(int((ids == bos).sum()) for ids in scored)
        unwanted = encoder.tokenizer.init_kwargs.get("add_bos_token") is False
        if counts[0] and not unwanted:
            yield Finding("no-bos", f"{_token(encoder, bos)} stands in front of all but {counts[0]} rows", counts[0])
        several = counts.total() - counts[0] - counts[1]
        if several:
            yield Finding("several-bos", f"{several} rows hold {_token(encoder, bos)} more than once", several)
    open_rows = len(scored) - made.ended
    if open_rows and eos is not None:
        yield Finding("no-end", f"{open_rows} rows do not end with EOS or a template's end of turn", open_rows)
    if made.cut_rows:
        words = f"{made.cut_rows} of {made.rows} rows are longer than {made.max_length:,} tokens: {made.cut_tokens:,} "
        yield Finding("truncated", f"{words}tokens are cut, {made.lost_rows} rows have no score", made.cut_rows)
    unknown = encoder.tokenizer.unk_token_id
    if unknown is not None and made.tokens:
        share = sum(int((ids == unknown).sum()) for ids in scored) / made.tokens
        if share > UNKNOWN:
            yield Finding("unknown-tokens", f"{share:.0%} of the tokens are {_token(encoder, unknown)}", made.rows)


def _texts(encoder: Encoder, texts: tuple[Sequence[Prompt], Sequence[str]]) -> Iterator[Finding]:
    """Yield that texts hold special tokens, which the tokenizer reads as such: a response may end its own turn."""
    special = sorted(filter(None, encoder.tokenizer.convert_ids_to_tokens(sorted(encoder.special))), key=len)
    if not special:
        return
    search = re.compile("|".join(map(re.escape, special))).search
    held = [
        row
        for row, (prompt, response) in enumerate(zip(*texts, strict=True))
        if search(response) or any(map(search, [prompt] if isinstance(prompt, str) else _contents(prompt)))
    ]
    if held:
        words = f"the texts of {len(held)} rows hold special tokens (first: row {held[0]}), which are read as such"
        yield Finding("special-in-text", words, len(held))


def _contents(messages: Any) -> list[str]:
    return [turn["content"] for turn in messages]


def _token(encoder: Encoder, one: int) -> str:
    return f"{encoder.tokenizer.convert_ids_to_tokens(one)} ({one})"
