"""The transformer that a fit begins with: a new small one, or a local Hugging Face folder, whole or with adapters.

A folder is held to the kernel's rules for what may be loaded: safetensors only, offline, no code of its own. Only a
classification head may be missing here: it is new then, drawn from the seed.
"""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Any

import torch

from rmbench.errors import InputError
from rmbench.kernel.models.files import HELP, wrong
from rmbench.kernel.models.folder import Folder, positions
from rmbench.kernel.models.forward import ModelError, check_weights
from rmbench.kernel.models.load import COMPUTED, MASKS, check_vocabulary, configuration, load_tokenizer, offline, quiet
from rmbench.models.memory import check_memory

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rmbench.models.neural_options import Transformer

LORA = "pip install 'rmbench[lora]' brings it, or lora_rank = 0"


def new(options: Transformer, tokenizer: Any) -> Any:
    """Return a new model of the options' sizes, drawn from torch's generator, that knows the tokenizer's tokens."""
    from transformers import BertConfig, LlamaConfig

    common = {
        "vocab_size": len(tokenizer), "hidden_size": options.hidden, "intermediate_size": 4 * options.hidden,
        "num_hidden_layers": options.layers, "num_attention_heads": options.heads, "num_labels": 1,
        "max_position_embeddings": options.max_length, "pad_token_id": tokenizer.pad_token_id,
        "bos_token_id": tokenizer.bos_token_id, "eos_token_id": tokenizer.eos_token_id,
    }  # fmt: skip
    if options.architecture == "llama":
        config: Any = LlamaConfig(**common, num_key_value_heads=options.heads)
    else:  # attention without dropout: the kernel's attention, which is the scorer's, has none
        config = BertConfig(**common, hidden_dropout_prob=options.dropout, attention_probs_dropout_prob=0.0)
    return _made(config)


def _made(config: Any) -> Any:
    from transformers import AutoModelForSequenceClassification

    auto: Any = AutoModelForSequenceClassification
    return auto.from_config(config, trust_remote_code=False)


def size(options: Transformer, vocabulary: int) -> int:
    """Return how many weights a new model has, without making it."""
    wide, inner = options.hidden, 4 * options.hidden
    if options.architecture == "llama":
        layer = 4 * wide * wide + 3 * wide * inner + 2 * wide
        return vocabulary * wide + options.layers * layer + 2 * wide
    layer = 4 * (wide * wide + wide) + 2 * wide * inner + inner + wide + 4 * wide
    embeddings = (vocabulary + options.max_length + 2) * wide + 2 * wide
    return embeddings + options.layers * layer + wide * wide + wide + wide + 1


def loaded(folder: Folder, options: Transformer, device: str) -> tuple[Any, Any]:
    """Return the model of a folder, its head new where it has none of one label, and its tokenizer.

    Raises:
        InputError: an architecture without a sequence classifier, weights missing, left over or of another shape, NaN,
            ids that have no embedding, more memory than there is, a ``max_length`` that the model has no positions for.
    """
    where = str(folder.path)
    places = positions(folder.config)
    if places is not None and options.max_length > places:
        raise InputError(
            f"max_length is {options.max_length:,}, the model takes {places:,} tokens", where=where,
            help=f"max_length = {places}",
        )  # fmt: skip
    with offline(), quiet():
        config = configuration(folder)
        if config.is_encoder_decoder:
            raise wrong("is an encoder with a decoder", folder.path, "give a folder of an encoder or of a decoder")
        config.num_labels, config.problem_type = 1, None
        _check_memory(folder, config, options)
        tokenizer, _ = load_tokenizer(folder, config)
        model = _weights(folder, config)
    check_vocabulary(model, tokenizer, where)
    if model.config.pad_token_id is None:  # others who load the model in batches need one
        model.config.pad_token_id = tokenizer.pad_token_id
    return model.to(device), tokenizer


def empty(folder: Folder) -> Any:
    """Return the sequence classifier of a folder's configuration without its weights, on the CPU.

    Raises:
        InputError: none can be made of it, or it would not fit the free memory.
    """
    config = configuration(folder)
    config.num_labels = 1
    check_memory(_held(folder, _sketched(folder, config)), 0, where=str(folder.path))
    return _made(config)


def _check_memory(folder: Folder, config: Any, options: Transformer) -> None:
    """Raise where weights and optimizer would not fit."""
    made = _sketched(folder, config)
    held = _held(folder, made)
    if not options.lora_rank:
        check_memory(0, held, where=str(folder.path))
        return
    learnt = sum(options.lora_rank * sum(module.weight.shape) for _, module in linear(made))
    check_memory(held, learnt, where=str(folder.path))


def _held(folder: Folder, made: Any) -> int:
    """Return the number of weights, by the configuration or by the files, whichever is more."""
    by_configuration = sum(int(one.numel()) for one in made.parameters())
    return max(by_configuration, sum(one.size for one in folder.tensors.values()))


def _sketched(folder: Folder, config: Any) -> Any:
    """Return the model of a configuration without memory for its weights."""
    where = folder.path / "config.json"
    layers = config.get_text_config().to_dict().get("num_hidden_layers") or 0
    if not isinstance(layers, int) or layers > len(folder.tensors):  # before a model of a billion layers is made
        raise wrong(f"has {layers} layers, the weights are {len(folder.tensors):,} tensors", where, HELP)
    try:
        with torch.device("meta"):
            return _made(config)
    except Exception as error:
        what = f"no sequence classifier can be made of it: {type(error).__name__}: {str(error)[:300]}"
        raise wrong(what, where, HELP) from error


def _weights(folder: Folder, config: Any) -> Any:
    """Load the weights; all of the backbone must be there, the head may be new."""
    from transformers import AutoModelForSequenceClassification

    try:
        model, info = AutoModelForSequenceClassification.from_pretrained(
            folder.path, config=config, dtype=torch.float32, local_files_only=True, trust_remote_code=False,
            use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True,  # raised below, by name
        )  # fmt: skip
    except Exception as error:
        what = f"cannot be loaded: {type(error).__name__}: {str(error)[:300]}"
        raise InputError(what, where=str(folder.path), help=HELP) from error
    kinds = {"missing": "missing_keys", "of another shape": "mismatched_keys", "left over": "unexpected_keys"}
    for what, kind in kinds.items():
        names = [str(key[0] if isinstance(key, tuple) else key) for key in info[kind]]
        names = sorted(name for name in names if _of_backbone(model, name))
        if names:
            raise InputError(
                f"{len(names)} weights are {what}: {', '.join(names[:5])}", where=str(folder.path),
                help="the folder is not whole, or of another model",
            )  # fmt: skip
    try:
        check_weights(model)
    except ModelError as error:
        raise InputError(str(error), where=str(folder.path), help=HELP) from error
    return model


def _of_backbone(model: Any, name: str) -> bool:
    """Whether a weight belongs to the backbone; a pooler is part of a head, position ids are no weights."""
    prefix = f"{model.base_model_prefix}."
    own = name.removeprefix(prefix)  # a folder of the backbone alone has names without it
    if COMPUTED.fullmatch(own) or MASKS.fullmatch(prefix + own) or own.startswith("pooler."):
        return False
    return name != own or own.split(".")[0] in dict(model.base_model.named_children())


def linear(model: Any) -> Iterable[tuple[str, Any]]:
    """Return the linear layers of a model's backbone by name, those of its pooler not among them."""
    from transformers.pytorch_utils import Conv1D

    kinds = (torch.nn.Linear, Conv1D)
    return [(name, one) for name, one in model.named_modules() if isinstance(one, kinds) and _of_backbone(model, name)]


def adapted(model: Any, options: Transformer) -> Any:
    """Put low-rank adapters (Hu et al. 2021) beside the linear layers of the backbone, in the model itself.

    They and the head are what is learnt from then on.

    Returns:
        peft's model, whose ``merge_and_unload()`` puts them into the weights.

    Raises:
        InputError: peft is not installed.
    """
    try:
        import peft
    except ImportError as error:
        raise InputError("lora_rank needs the package peft", where="transformer", help=LORA) from error
    alpha = options.lora_alpha or 2 * options.lora_rank
    config = peft.LoraConfig(
        r=options.lora_rank, lora_alpha=alpha, lora_dropout=0.0, target_modules=[name for name, _ in linear(model)]
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of names in transformers that change, and of GPT-2's layers, which it turns
        made = peft.get_peft_model(model, config)
    for name, weights in model.named_parameters():
        if not _of_backbone(model, name):
            weights.requires_grad_(True)
    return made
