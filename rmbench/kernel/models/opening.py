"""A model and its tokenizer, given or from a folder, ready to be scored with, and how their rows become tokens."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rmbench.errors import EnvironmentFault, InputError
from rmbench.kernel.models.encode import Encoder, Format, Truncation
from rmbench.kernel.models.files import HELP, read_text
from rmbench.kernel.models.folder import CLASSIFIER, HEADS, WANTED, inspect, inspect_tokenizer, longest, positions
from rmbench.kernel.models.load import CAUSAL as CAUSAL_MODEL
from rmbench.kernel.models.load import CLASSIFIER as CLASSIFIER_MODEL
from rmbench.kernel.models.load import check_vocabulary, load, load_tokenizer, offline, quiet
from rmbench.kernel.models.passes import DTYPES, ModelError

PLAIN = "none"  # as a chat template: prompt + newline + response + EOS


@dataclass(frozen=True, slots=True)
class Opened:
    """A model and its tokenizer (transformers' objects).

    Attributes:
        where: their place, for errors.
        notes: oddities found when they were loaded, ``(name, words)`` each.
        dtype: what to compute in.
    """

    model: Any
    tokenizer: Any
    where: str
    notes: tuple[tuple[str, str], ...]
    dtype: str

    def encoder(
        self, *, max_length: int | None, truncation: Truncation, chat_template: str | Path | None,
        system: str | None, alone: bool = False,
    ) -> Encoder:  # fmt: skip
        """Return what turns prompts and responses into ids (see ``encode.Format``).

        Args:
            max_length: by default what model and tokenizer take.
            truncation: as in ``Format``.
            chat_template: Jinja text, the ``Path`` of a file, ``"none"``; by default the tokenizer's own.
            system: as in ``Format``.
            alone: as in ``Format``.
        """
        most = _most(max_length, self.model, self.tokenizer)
        form = Format(most, truncation, _template(chat_template, self.tokenizer), system, alone)
        return Encoder(self.tokenizer, form, where=self.where)


def opened(model: Any, tokenizer: Any, *, head: str, device: str, dtype: str | None) -> Opened:
    """Load a folder, or take objects as they are, and check that they fit each other.

    Args:
        model: a transformers model, or a folder of one.
        tokenizer: a tokenizer, a folder of one, or None for that of the model's folder.
        head: ``folder.CLASSIFIER`` or ``folder.CAUSAL``: what the model must be.
        device: see ``sequence.sequence_scorer``.
        dtype: see there.

    Raises:
        InputError, ModelError, EnvironmentFault: see ``sequence.sequence_scorer``.
    """
    dtype = dtype or ("float32" if device.startswith("cpu") else "bfloat16")
    _check_device(device, dtype)
    if isinstance(model, str | Path):
        kind = CLASSIFIER_MODEL if head == CLASSIFIER else CAUSAL_MODEL
        loaded = load(inspect(model, head), dtype=dtype, device=device, tokenizer=_tokenizer(tokenizer), kind=kind)
        return Opened(loaded.model, loaded.tokenizer, str(model), loaded.notes, dtype)
    where = f"model {type(model).__name__}"
    tokenizer = _tokenizer(tokenizer)
    _check_objects(model, tokenizer, where, head)
    return Opened(model, tokenizer, where, (), dtype)


def _check_device(device: str, dtype: str) -> None:
    if dtype not in DTYPES:
        raise ModelError(f"dtype {dtype!r} is not one of {', '.join(DTYPES)}")
    try:
        kind = torch.device(device).type
    except RuntimeError as error:
        raise InputError(
            f"device {device!r} is none that torch knows", help="cpu, or cuda where there is one"
        ) from error
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if not there.get(kind, True):
        raise EnvironmentFault(f"device {device!r}: this machine has none", help="device = cpu computes everywhere")


def _check_objects(model: Any, tokenizer: Any, where: str, head: str) -> None:
    if not any(kind.__name__.endswith(HEADS[head]) for kind in type(model).__mro__):
        name = "classification" if head == CLASSIFIER else "language-model"
        raise ModelError(f"{type(model).__name__} has no {name} head: {WANTED[head].partition(':')[0]}")
    if tokenizer is None:
        raise InputError("a model without its tokenizer", where=where, help="give both, or the folder that holds both")
    check_vocabulary(model, tokenizer, where)


def _tokenizer(given: Any) -> Any:
    if not isinstance(given, str | Path):
        return given
    with offline(), quiet():
        made, _ = load_tokenizer(inspect_tokenizer(given))
    return made


def _template(given: str | Path | None, tokenizer: Any) -> str | None:
    """Return the chat template to use, None for the plain form."""
    if given is None:
        own = tokenizer.chat_template
        return own.get("default") if isinstance(own, dict) else own
    if given == PLAIN:
        return None
    text = read_text(given) if isinstance(given, Path) else given
    if "{" not in text:
        raise InputError(
            f"chat_template is no template: {text[:60]!r}", help=f"Jinja text, a Path, or {PLAIN!r}; {HELP}"
        )
    return text


def _most(given: int | None, model: Any, tokenizer: Any) -> int | None:
    places = positions(model.config.to_dict())
    if places is not None and places < 1:
        raise ModelError(f"the model takes {places:,} tokens by its configuration")
    if given is not None and places is not None and given > places:
        raise ModelError(f"max_length is {given:,}, the model takes {places:,} tokens")
    return given if given is not None else longest(places, tokenizer.model_max_length)
