"""Load a folder of a model and its tokenizer: offline, without remote code, and nothing left to chance.

transformers gives a random head where a checkpoint has none and prints a report; here every key must be there. A
tokenizer is held against its own tokenizer.json, since the class that a configuration names may read it as another one.
"""

from __future__ import annotations

import math
import os
import re
import sys
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.errors import EnvironmentFault, InputError, RMBenchError
from rmbench.kernel.models.files import HELP
from rmbench.kernel.models.folder import Folder, unknown_type

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Sequence

OFFLINE = {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1"}
WIDTH = {"float32": 4, "bfloat16": 2, "float16": 2}
PROBES = (
    "Hello world", "The cat sat on 3 mats, didn't it?", "  two  spaces\n\nand lines\t", "a=b+1; // x_y",
    "na\u00efve caf\u00e9 \u2014 \u732b\u5750\u5728",
)  # fmt: skip
SPECIAL = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
NAMED = ("bos_token", "eos_token", "cls_token", "sep_token")  # those that stand around a row
DROPPED = {"auto_map", "return_dict", "torchscript"}  # code; that outputs have no names
# Left over without harm: indices and angles that are computed, and the causal masks of old GPT checkpoints.
COMPUTED = re.compile(r"(.+\.)?(embeddings\.position_ids|rotary_emb\.inv_freq)")
MASKS = re.compile(r"(transformer\.h|gpt_neox\.layers)\.\d+\.(attn|attention|attn\.attention)\.(masked_)?bias")


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model and its tokenizer (transformers' objects), with the oddities found: ``(name, words)`` each."""

    model: Any
    tokenizer: Any
    notes: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class Kind:
    """What transformers makes of a folder: its factory, the weights that are not used, words for errors."""

    maker: Callable[[], Any]
    words: str
    help: str
    unused: re.Pattern[str] | None = None


def _classifier() -> Any:
    from transformers import AutoModelForSequenceClassification

    return AutoModelForSequenceClassification


CLASSIFIER = Kind(
    _classifier, "sequence classifier",
    "a checkpoint without its classification head, or of another model: its scores would be random",
)  # fmt: skip


def _causal() -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM


CAUSAL = Kind(
    _causal, "causal language model",
    "a checkpoint without its language-model head, or of another model: its probabilities would be random",
)  # fmt: skip


@contextmanager
def offline() -> Iterator[None]:
    """Keep transformers and its hub client from the network, whatever a checkpoint names."""
    before = {name: os.environ.get(name) for name in OFFLINE}
    os.environ.update(OFFLINE)
    import huggingface_hub.constants as hub

    was, hub.HF_HUB_OFFLINE = hub.HF_HUB_OFFLINE, True
    try:
        yield
    finally:
        hub.HF_HUB_OFFLINE = was
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value


@contextmanager
def quiet() -> Iterator[None]:
    """Keep transformers' bars and reports off stderr: what they say is checked and raised here."""
    from transformers.utils import logging

    level, bars = logging.get_verbosity(), logging.is_progress_bar_enabled()
    logging.set_verbosity(50)  # critical
    logging.disable_progress_bar()
    try:
        yield
    finally:
        logging.set_verbosity(level)
        if bars:
            logging.enable_progress_bar()


def load(
    folder: Folder, *, dtype: str = "float32", device: str = "cpu", tokenizer: Any = None, kind: Kind = CLASSIFIER
) -> Loaded:
    """Load what ``folder.inspect`` has accepted.

    Args:
        folder: the folder.
        dtype: ``float32``, ``bfloat16`` or ``float16``: every weight is converted to it, whatever its own type.
        device: where the memory for it must be.
        tokenizer: used in place of the folder's own.
        kind: what is made of it: a sequence classifier, a causal language model, or an encoder of texts.

    Raises:
        InputError: an unknown architecture, a weight missing, left over or of another shape, NaN or infinity among
            them, a tokenizer that gives nothing or does not fit the model.
        EnvironmentFault: the weights do not fit the free memory.
    """
    with offline(), quiet():
        config = configuration(folder)
        _check_memory(folder, config, dtype, device, kind=kind)
        notes: Sequence[tuple[str, str]] = ()
        if tokenizer is None:
            tokenizer, notes = load_tokenizer(folder, config)
        model = _model(folder, config, dtype, kind=kind)
    check_vocabulary(model, tokenizer, str(folder.path))
    return Loaded(model, tokenizer, (*folder.notes, *notes))


def configuration(folder: Folder) -> Any:
    """Return the configuration as transformers' own class, without what names code."""
    from transformers.models.auto.configuration_auto import CONFIG_MAPPING

    name = folder.config["model_type"]
    if name not in CONFIG_MAPPING:
        unknown_type(name, folder.path / "config.json")
    try:
        config = CONFIG_MAPPING[name].from_dict(_kept(folder.config))
        config.get_text_config().to_dict()
        return config  # noqa: TRY300 - what is no configuration may show only when it is read
    except Exception as error:
        raise InputError(
            f"is no configuration of {name}: {_short(error)}", where=str(folder.path / "config.json"), help=HELP
        ) from error


def _kept(config: Any) -> Any:
    """Return a configuration without the keys, at any depth, that name code or change what a model returns."""
    if isinstance(config, dict):
        pairs = config.items()
        return {key: _kept(value) for key, value in pairs if key not in DROPPED and "_implementation" not in key}
    return [_kept(value) for value in config] if isinstance(config, list) else config


def _short(error: BaseException) -> str:
    if isinstance(error, RMBenchError):
        return error.what
    return f"{type(error).__name__}: {str(error).strip()[:300]}"


def free_memory() -> int:
    """Return the bytes of memory that this process may still take, by the machine and by its control group."""
    if sys.platform != "linux":  # pages that are free now are not told everywhere
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
    free = [int(line.split()[1]) * 1024 for line in lines if line.startswith("MemAvailable")]
    group = Path("/sys/fs/cgroup")
    if (group / "memory.max").is_file() and (limit := (group / "memory.max").read_text().strip()) != "max":
        counts = dict(line.split() for line in (group / "memory.stat").read_text().splitlines())
        files = int(counts.get("inactive_file", 0)) + int(counts.get("active_file", 0))  # given back when asked for
        free.append(int(limit) - int((group / "memory.current").read_text()) + files)
    return min(free)


def _check_memory(folder: Folder, config: Any, dtype: str, device: str, *, kind: Kind) -> None:
    """Raise where the weights would not fit: by the files and by the configuration, whichever is more."""
    import torch

    layers = config.get_text_config().to_dict().get("num_hidden_layers") or 0
    if isinstance(layers, int) and layers > len(
        folder.tensors
    ):  # before a model of a billion layers is made, if only an empty one
        raise InputError(
            f"the configuration has {layers:,} layers, the weights are {len(folder.tensors):,} tensors",
            where=str(folder.path / "config.json"), help=HELP,
        )  # fmt: skip
    try:
        with torch.device("meta"):
            empty = kind.maker().from_config(config, trust_remote_code=False)
    except Exception as error:
        raise InputError(
            f"no {kind.words} can be made of it: {_short(error)}",
            where=str(folder.path / "config.json"), help=HELP,
        ) from error  # fmt: skip
    elements = max(
        sum(weight.numel() for weight in empty.parameters()), sum(one.size for one in folder.tensors.values())
    )
    cuda = device.startswith("cuda")
    free = int(torch.cuda.mem_get_info(device)[0]) if cuda else free_memory()
    if elements * WIDTH[dtype] > free:
        raise EnvironmentFault(
            f"the weights take {elements * WIDTH[dtype] / 1e9:.1f} GB in {dtype}, {free / 1e9:.1f} GB are free",
            where=str(folder.path), help="dtype = bfloat16 halves float32; else a machine with more memory",
        )  # fmt: skip


def _model(folder: Folder, config: Any, dtype: str, *, kind: Kind) -> Any:
    """Load the weights; every key that is used must be there and have its shape (a tied head is its embeddings)."""
    import torch

    try:
        model, info = kind.maker().from_pretrained(
            folder.path, config=config, dtype=vars(torch)[dtype], local_files_only=True, trust_remote_code=False,
            use_safetensors=True, output_loading_info=True, ignore_mismatched_sizes=True,  # raised below, by name
        )  # fmt: skip
    except Exception as error:
        raise InputError(f"cannot be loaded: {_short(error)}", where=str(folder.path), help=HELP) from error
    left = [key for key in info["unexpected_keys"] if not _harmless(str(key), folder)]
    wrong = {"missing": info["missing_keys"], "of another shape": info["mismatched_keys"], "left over": left}
    for what, found in wrong.items():
        keys = [str(key[0] if isinstance(key, tuple) else key) for key in found]
        keys = [key for key in keys if kind.unused is None or not kind.unused.match(key)]
        if keys:
            names = ", ".join(sorted(keys)[:5])
            raise InputError(f"{len(keys)} weights are {what}: {names}", where=str(folder.path), help=kind.help)
    for name, weights in [*model.named_parameters(), *model.named_buffers()]:
        if weights.is_floating_point() and weights.numel() and not _finite(weights):
            raise InputError(
                f"the weights {name} hold NaN or infinity", where=str(folder.path),
                help="no score of this model means anything" + (": it overflows in float16" * (dtype == "float16")),
            )  # fmt: skip
    return model


def _harmless(key: str, folder: Folder) -> bool:
    """Whether a tensor that the model does not have tells nothing that was trained."""
    if MASKS.fullmatch(key):
        return key not in folder.tensors or len(folder.tensors[key].shape) != 1  # a bias that was trained has one side
    return COMPUTED.fullmatch(key) is not None


def _finite(weights: Any) -> bool:
    """Whether all weights are numbers: the least and the greatest tell, in a tenth of the time of looking at each."""
    return all(math.isfinite(end) for end in weights.detach().aminmax())


def load_tokenizer(folder: Folder, config: Any = None) -> tuple[Any, list[tuple[str, str]]]:
    """Load a folder's tokenizer and hold it against its own tokenizer.json.

    Returns:
        The tokenizer, and what was odd. Where AutoTokenizer cuts a text otherwise than the file does, the file's own
        tokenizer is taken.

    Raises:
        InputError: it cannot be read, or gives no token for text.
    """
    from transformers import AutoTokenizer

    own, words = _own_tokenizer(folder)
    try:
        auto = AutoTokenizer.from_pretrained(
            folder.path, config=config, local_files_only=True, trust_remote_code=False, use_fast=True
        )
        pieces = _pieces(auto)
    except Exception as error:
        if own is None:
            raise InputError(f"no tokenizer can be read: {_short(error)}", where=str(folder.path), help=HELP) from error
        note = f"{_short(error)}; tokenizer.json is used as it is"
        return _spoken(own, folder, words), [("tokenizer-class", note)]
    if own is None or pieces == _pieces_of_file(own, folder):
        return _spoken(auto, folder, words), []
    note = f"{type(auto).__name__} cuts texts otherwise than tokenizer.json does: the file is used"
    return _spoken(own, folder, words), [("tokenizer-class", note)]


def _pieces(tokenizer: Any) -> list[list[int]]:
    return [tokenizer.encode(text, add_special_tokens=False) for text in PROBES]


def _pieces_of_file(tokenizer: Any, folder: Folder) -> list[list[int]]:
    try:
        return _pieces(tokenizer)
    except Exception as error:
        raise InputError(
            f"the tokenizer cannot read text: {_short(error)}", where=str(folder.path / "tokenizer.json"), help=HELP
        ) from error


def _spoken(tokenizer: Any, folder: Folder, words: Collection[str]) -> Any:
    """Return the tokenizer, with the folder's template, if it gives tokens for ordinary text and has its ends.

    A token that the configuration names and tokenizer.json does not have gets an id that no training has seen.
    """
    tokenizer.chat_template = folder.template
    for name in NAMED:
        token = getattr(tokenizer, name, None)
        if words and token is not None and str(token) not in words:
            raise InputError(
                f"the tokenizer's {name} is {str(token)!r}, which tokenizer.json does not have",
                where=str(folder.path), help="name the token that the model was trained with, or take the key out",
            )  # fmt: skip
    if not any(_pieces_of_file(tokenizer, folder)):
        raise InputError(
            f"the tokenizer ({type(tokenizer).__name__}) gives no token for {PROBES[0]!r} or any other text",
            where=str(folder.path), help="save the tokenizer again beside the model, with its tokenizer.json",
        )  # fmt: skip
    return tokenizer


def _own_tokenizer(folder: Folder) -> tuple[Any, Collection[str]]:
    """Return the tokenizer of tokenizer.json, with the special tokens of its configuration, or None; and its words."""
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    path = folder.path / "tokenizer.json"
    if not path.is_file():
        return None, ()
    special = {name: _token(folder, name) for name in SPECIAL if folder.tokenizer.get(name)}
    limit = folder.tokenizer.get("model_max_length")
    given = {"model_max_length": int(limit)} if isinstance(limit, int | float) else {}
    side = folder.tokenizer.get("padding_side")
    given |= {"padding_side": side} if side in ("left", "right") else {}
    try:
        file = Tokenizer.from_file(str(path))
        words = set(file.get_vocab(with_added_tokens=True))
        made = PreTrainedTokenizerFast(tokenizer_object=file, **special, **given)
    except Exception as error:
        raise InputError(f"is no tokenizer: {_short(error)}", where=str(path), help=HELP) from error
    return made, words


def _token(folder: Folder, name: str) -> str:
    given = folder.tokenizer[name]
    text = given.get("content") if isinstance(given, dict) else given
    if not isinstance(text, str):
        where = str(folder.path / "tokenizer_config.json")
        raise InputError(f"{name} is {given!r}, expected a text", where=where, help="correct it or take it out")
    return text


def check_vocabulary(model: Any, tokenizer: Any, where: str) -> None:
    """Raise an ``InputError`` where a token of the tokenizer has no embedding."""
    rows = int(model.get_input_embeddings().weight.shape[0])
    ids: Sequence[int] = list(tokenizer.get_vocab().values())
    if ids and max(ids) >= rows:
        raise InputError(
            f"the tokenizer has ids up to {max(ids):,}, the model embeds {rows:,}",
            where=where, help="this is another model's tokenizer, or the embeddings were not resized",
        )  # fmt: skip
