"""A small language model of transformers' Llama or GPT-2, new, with a byte-pair encoding of the task's own texts.

A prompt and its response are ``<s>prompt<|assistant|>response</s>``; further turns begin with who speaks.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from rmbench.errors import InputError
from rmbench.kernel.models.folder import CAUSAL, inspect
from rmbench.kernel.models.load import CAUSAL as LANGUAGE_MODEL
from rmbench.kernel.models.load import load as load_folder
from rmbench.models import tokenizers
from rmbench.models.memory import check_memory
from rmbench.policies.causal import Causal
from rmbench.policies.hf import check_room
from rmbench.policies.options import INNER, own_sizes, places
from rmbench.policies.reading import Reader, Reading
from rmbench.policies.saving import tokenizer_files

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rmbench.api import Runtime
    from rmbench.judged import Judgements
    from rmbench.policies.options import Tiny

LEARNT_FROM = 4_000_000  # characters: more of them change few of the merges and take their time
TEMPLATE = (
    "{{ bos_token }}{% for message in messages %}"
    "{% if message.role in ['system', 'assistant'] %}{{ '<|' + message.role + '|>' }}"
    "{% elif not loop.first %}{{ '<|user|>' }}{% endif %}{{ message.content }}{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>' }}{% else %}{{ eos_token }}{% endif %}"
)


def build(judgements: Judgements, options: Tiny, runtime: Runtime) -> Causal:
    """Return a new policy: its tokens are learnt from train's prompts and references, its weights are drawn.

    Raises:
        InputError: no text to learn tokens from, more memory than there is.
    """
    check(judgements, options)
    made = tokenizers.train(_texts(judgements), vocabulary=options.vocabulary, max_length=places(options))
    files = {**made, tokenizers.CHAT: TEMPLATE.encode()}
    tokenizer = tokenizers.made_of(files)
    cuda = [torch.device(runtime.device)] if runtime.device.startswith("cuda") else []
    with torch.random.fork_rng(devices=cuda):
        torch.manual_seed(runtime.seed)
        model = _new(options, tokenizer).to(runtime.device)
    reader = Reader(tokenizer, Reading(options.max_prompt, where="policy tiny"))
    return Causal(model.eval(), reader, files, places=places(options))


def load(folder: Path, options: Tiny, runtime: Runtime) -> Causal:
    """Return the policy of a folder that ``Causal.save`` wrote.

    Raises:
        InputError: what the reward ``hf-likelihood`` refuses; sizes among the options that are not the folder's; fewer
            positions than the options ask for.
    """
    found = inspect(folder, CAUSAL)
    loaded = load_folder(found, device=runtime.device, kind=LANGUAGE_MODEL)
    _check_sizes(options, loaded.model.config, folder)
    most = found.positions
    check_room(options, most, folder)
    reader = Reader(loaded.tokenizer, Reading(options.max_prompt, where=str(folder)))
    return Causal(loaded.model.to(runtime.device).eval(), reader, tokenizer_files(found), places=most)


def check(judgements: Judgements, options: Tiny) -> None:
    """Raise an ``InputError`` where there is nothing to learn tokens from, or not the memory for such a model."""
    if not any(text.strip() for text in _texts(judgements)):
        raise InputError(
            "train has neither prompts nor references: there is no text to learn tokens from",
            where=f"task {judgements.task.name}", help="give a task whose train rows have texts",
        )  # fmt: skip
    check_memory(0, size(options), where="policy tiny")


def size(options: Tiny) -> int:
    """Return about how many weights a model has, without making it."""
    wide, inner = options.width, options.inner or INNER * options.width
    matrices = 3 if options.architecture == "llama" else 2
    known = options.vocabulary + (places(options) if options.architecture == "gpt2" else 0)
    return known * wide + options.layers * (4 * wide * wide + matrices * wide * inner)


def _texts(judgements: Judgements) -> Iterator[str]:
    """Yield prompts and references of train, evenly taken where they are many."""
    samples = judgements.train.samples
    held = sum(len(one.prompt) + sum(map(len, one.references)) for one in samples)
    step = max(1, -(-held // LEARNT_FROM))
    for sample in samples[::step]:
        yield from (turn.content for turn in sample.messages)
        if not sample.messages:
            yield sample.prompt
        yield from sample.references


def _new(options: Tiny, tokenizer: Any) -> Any:
    """Return a new model of the options' sizes, drawn from torch's generator."""
    from transformers import AutoModelForCausalLM, GPT2Config, LlamaConfig

    inner = options.inner or INNER * options.width
    known = {
        "vocab_size": len(tokenizer), "pad_token_id": tokenizer.pad_token_id, "bos_token_id": tokenizer.bos_token_id,
        "eos_token_id": tokenizer.eos_token_id, "tie_word_embeddings": True,
    }  # fmt: skip
    if options.architecture == "llama":
        config: Any = LlamaConfig(
            **known, hidden_size=options.width, intermediate_size=inner, num_hidden_layers=options.layers,
            num_attention_heads=options.heads, num_key_value_heads=options.heads,
            max_position_embeddings=places(options),
        )  # fmt: skip
    else:
        config = GPT2Config(
            **known, n_embd=options.width, n_inner=inner, n_layer=options.layers, n_head=options.heads,
            n_positions=places(options), resid_pdrop=options.dropout, embd_pdrop=options.dropout, attn_pdrop=0.0,
        )  # fmt: skip
    auto: Any = AutoModelForCausalLM
    return auto.from_config(config, trust_remote_code=False)


def _check_sizes(options: Tiny, config: Any, where: Path) -> None:
    """Raise where an option of the making says another thing than the folder."""
    found = {
        "architecture": config.model_type, "layers": config.num_hidden_layers, "width": config.hidden_size,
        "heads": config.num_attention_heads, "positions": config.max_position_embeddings,
        "inner": config.n_inner if config.model_type == "gpt2" else config.intermediate_size,
    }  # fmt: skip
    for name, value in own_sizes(options).items():
        if name in found and found[name] != value:
            raise InputError(
                f"{name} is {value!r}, the weights that the policy begins with have {found[name]!r}", where=str(where),
                help="leave it out",
            )  # fmt: skip
