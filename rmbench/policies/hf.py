"""A local Hugging Face folder as a policy: causal or encoder-decoder, learnt whole or by low-rank adapters.

A folder is held to the kernel's rules for what may be loaded: safetensors only, offline, no code of its own.
"""

from __future__ import annotations

import re
import warnings
from typing import TYPE_CHECKING, Any

import torch

from rmbench.errors import InputError
from rmbench.kernel.models.files import HELP, wrong
from rmbench.kernel.models.folder import CAUSAL, TOKENIZER, inspect
from rmbench.kernel.models.load import CAUSAL as LANGUAGE_MODEL
from rmbench.kernel.models.load import Kind, configuration
from rmbench.kernel.models.load import load as load_folder
from rmbench.models.memory import check_memory
from rmbench.policies.causal import Causal
from rmbench.policies.reading import Reader, Reading
from rmbench.policies.saving import tokenizer_files
from rmbench.policies.seq2seq import Seq2Seq

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from rmbench.api import Runtime
    from rmbench.judged import Judgements
    from rmbench.kernel.models.folder import Folder
    from rmbench.policies.options import Hf

LORA = "pip install 'rmbench[lora]' brings it, or lora_rank = 0"
CONDITIONAL = ("ForConditionalGeneration", "MTModel", "ForSeq2SeqLM")  # what names of encoder-decoders end with
PLACED = re.compile(r".*embed_positions\.weight")  # Marian's sines are computed


def _seq2seq() -> Any:
    from transformers import AutoModelForSeq2SeqLM

    return AutoModelForSeq2SeqLM


ENCODER_DECODER = Kind(
    _seq2seq, "encoder-decoder language model",
    "a checkpoint without its language-model head, or of another model: its probabilities would be random",
)  # fmt: skip
SINES = Kind(_seq2seq, ENCODER_DECODER.words, ENCODER_DECODER.help, PLACED)  # for Marian and Pegasus


def build(_: Judgements, options: Hf, runtime: Runtime) -> Causal | Seq2Seq:
    """Return the policy of the folder that the options name.

    Raises:
        InputError: what ``load`` raises; no path.
    """
    return load(_path(options), options, runtime)


def load(folder: Path, options: Hf, runtime: Runtime) -> Causal | Seq2Seq:
    """Return the policy of a folder: one that the options name, or one that a policy was saved into.

    Raises:
        InputError: a folder that must not be loaded, an architecture that writes no text, no tokenizer, fewer positions
            than the options ask for, no peft where adapters are asked for.
        EnvironmentFault: the weights do not fit the free memory.
    """
    found, kind, encoder = _inspected(folder)
    most = found.positions
    check_room(options, most, folder, encoder=encoder)
    loaded = load_folder(found, dtype=runtime.dtype, device=runtime.device, kind=kind)
    reading = Reading(
        options.max_prompt, template=options.chat_template == "own" and not encoder, encoder=encoder, where=str(folder)
    )
    reader = Reader(loaded.tokenizer, reading)
    files = tokenizer_files(found)
    model = loaded.model.to(runtime.device).eval()
    module = _adapted(model, options, runtime) if options.lora_rank else None
    made = Seq2Seq if encoder else Causal
    return made(model, reader, files, places=most, module=module)


def check(_: Judgements, options: Hf) -> None:
    """Raise an ``InputError`` for a folder that must not be loaded, or more memory than there is to learn it."""
    if options.path is None:
        return
    found, _kind, encoder = _inspected(options.path)
    check_room(options, found.positions, options.path, encoder=encoder)
    weights = sum(one.size for one in found.tensors.values())
    learnt = 0 if options.lora_rank else weights
    check_memory(weights - learnt, learnt, where=str(options.path))
    if options.lora_rank:
        _peft()


def check_room(options: Any, most: int | None, where: Path, *, encoder: bool = False) -> None:
    """Raise an ``InputError`` where prompts and responses need more positions than a model has."""
    if most is None:
        return
    if encoder:
        for name in ("max_prompt", "max_tokens"):
            if (value := getattr(options, name)) > most:
                raise InputError(
                    f"{name} is {value:,}, the model takes {most:,} tokens", where=str(where), help=f"{name} = {most}"
                )
    elif (needed := options.max_prompt + options.max_tokens) > most:
        raise InputError(
            f"max_prompt and max_tokens are {needed:,} tokens together, the model takes {most:,}", where=str(where),
            help=f"max_prompt = {max(most - options.max_tokens, 0)}, or fewer max_tokens",
        )  # fmt: skip


def _path(options: Hf) -> Path:
    if options.path is None:
        raise InputError("path is missing: which folder is the policy?", where="policy hf", help="give path = FOLDER")
    return options.path


def _inspected(path: Path) -> tuple[Folder, Kind, bool]:
    """Return what a folder holds, what is made of it, and whether that is an encoder with a decoder."""
    found = inspect(path, headless=True)
    if not any((found.path / name).exists() for name in TOKENIZER):
        raise wrong("has no tokenizer", found.path, HELP)
    if not configuration(found).is_encoder_decoder:
        return inspect(path, CAUSAL), LANGUAGE_MODEL, False
    names = found.config.get("architectures")
    if not any(str(name).endswith(CONDITIONAL) for name in (names if isinstance(names, list) else ())):
        what = f"the model is a {names}: it has no language-model head"
        raise wrong(what, found.path / "config.json", "give a ...ForConditionalGeneration: save it so")
    return found, SINES if found.config["model_type"] in ("marian", "pegasus") else ENCODER_DECODER, True


def _peft() -> Any:
    try:
        import peft
    except ImportError as error:
        raise InputError("lora_rank needs the package peft", where="policy hf", help=LORA) from error
    return peft


def _adapted(model: Any, options: Hf, runtime: Runtime) -> Any:
    """Put low-rank adapters (Hu et al. 2021) beside the linear layers, in the model itself; they alone are learnt.

    Returns:
        peft's model, whose ``merge_and_unload()`` puts them into the weights.
    """
    peft = _peft()
    config = peft.LoraConfig(
        r=options.lora_rank, lora_alpha=options.lora_alpha or 2 * options.lora_rank, lora_dropout=0.0,
        target_modules=list(_linear(model)),
    )  # fmt: skip
    cuda = [torch.device(runtime.device)] if runtime.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of GPT-2's layers, which it turns
        torch.manual_seed(runtime.seed)
        return peft.get_peft_model(model, config).eval()


def _linear(model: Any) -> Iterable[str]:
    """Return the names of the linear layers but for the head."""
    from transformers.pytorch_utils import Conv1D

    head = model.get_output_embeddings()
    kinds = (torch.nn.Linear, Conv1D)
    return [name for name, one in model.named_modules() if isinstance(one, kinds) and one is not head]
