"""A folder of a Hugging Face model as untrusted data: what it holds, read without torch and without running any of it.

JSON and the headers of safetensors files are read here, so that a wrong folder is refused before anything is loaded.
Weights are never unpickled and names never leave the folder.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from rmbench.kernel.models.files import HELP, object_of, read_text, wrong
from rmbench.kernel.models.weights import SINGLE, Tensor, tensors_of, weights_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
ATTENTION = {"eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"}
LONGEST = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
UNLIMITED = 10**6  # a tokenizer without a limit says 10^30
# Their position ids begin behind the padding token's: max_position_embeddings is more than they take.
FIRST_BEHIND_PAD = {
    "roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl", "data2vec-text", "xmod", "mpnet",
    "longformer", "esm", "ibert", "luke", "lilt", "layoutlmv3", "markuplm",
}  # fmt: skip
MOST_LABELS = 10_000
LABELS_SHOWN = 10
LABELS = 2  # transformers' default
CLASSIFIER, CAUSAL = "classifier", "causal"
HEADS = {  # what the names of architectures with this head end with
    CLASSIFIER: ("ForSequenceClassification",),
    CAUSAL: ("ForCausalLM", "LMHeadModel"),
}
WANTED = {
    CLASSIFIER: "a reward model is a ...ForSequenceClassification: fit one and save it with save_pretrained",
    CAUSAL: "a language model is a ...ForCausalLM: save it with save_pretrained",
}
FETCHES = {"use_kernels", "kernel_config", "use_timm_backbone", "use_pretrained_backbone"}
FILES = {"transformers_weights", "gguf_file", "adapter_kwargs", "_adapter_model_path"}  # name other weights


@dataclass(frozen=True, slots=True)
class Folder:
    """What a model folder holds.

    Attributes:
        path: the folder, absolute.
        config, tokenizer: of config.json and tokenizer_config.json (empty where that is missing).
        weights: the safetensors files, in the index's order.
        tensors: by name, from the files' headers.
        template: the chat template's text, or None.
        notes: oddities, each ``(name, words)``.
    """

    path: Path
    config: Mapping[str, Any]
    tokenizer: Mapping[str, Any]
    weights: tuple[Path, ...]
    tensors: Mapping[str, Tensor]
    template: str | None
    notes: tuple[tuple[str, str], ...] = field(default=())

    @property
    def positions(self) -> int | None:
        """Most tokens that the model takes (its position embeddings), or None where it has no such limit."""
        return positions(self.config)

    @property
    def longest(self) -> int | None:
        """Most tokens of a row by default: the least of what model and tokenizer take, None without a limit."""
        return longest(self.positions, self.tokenizer.get("model_max_length"))

    @property
    def labels(self) -> dict[int, str]:
        """Names of the labels by index."""
        names = self.config.get("id2label")
        if names:
            return {int(index): str(name) for index, name in sorted(names.items(), key=lambda item: int(item[0]))}
        return {index: f"LABEL_{index}" for index in range(self.config.get("num_labels", LABELS))}


def positions(config: Mapping[str, Any]) -> int | None:
    """Return the most tokens that a model of this configuration takes, None where it has no such limit."""
    text = config.get("text_config")
    places = [config, text] if isinstance(text, dict) else [config]
    found = [place[name] for place in places for name in LONGEST if isinstance(place.get(name), int)]
    if not found:
        return None
    pad = config.get("pad_token_id")
    behind = config.get("model_type") in FIRST_BEHIND_PAD
    pad = 1 if config.get("model_type") == "mpnet" or not isinstance(pad, int) else pad  # MPNet has 1 in its code
    return int(found[0]) - (pad + 1 if behind else 0)


def longest(places: int | None, tokenizer: Any) -> int | None:
    """Return the least of what a model (``positions``) and a tokenizer (``model_max_length``) take, None: no limit."""
    limits = [int(tokenizer)] if isinstance(tokenizer, int | float) and 1 <= tokenizer < UNLIMITED else []
    limits += [places] if places is not None else []
    return min(limits) if limits else None


def listed_labels(names: Mapping[int, str]) -> str:
    """Return the first labels as words, and how many more there are."""
    shown = ", ".join(f"{index} ({name})" for index, name in list(names.items())[:LABELS_SHOWN])
    return shown + (f" and {len(names) - LABELS_SHOWN:,} more" if len(names) > LABELS_SHOWN else "")


def inspect(path: str | Path, head: str = CLASSIFIER, *, headless: bool = False) -> Folder:
    """Read what a model folder holds, and refuse what must not be loaded.

    Args:
        path: the folder.
        head: what the model must be: a ``classifier`` or a ``causal`` language model.
        headless: whether a model without either head is wanted (an encoder of texts).

    Raises:
        InputError: no such folder, no safetensors, a name that leaves the folder, a configuration that names code, a
            model without that head unless that is wanted, a damaged file.
    """
    folder = Path(path)
    if not folder.is_dir():
        advice = "download it first: nothing is fetched from a hub" if str(path).count("/") == 1 else HELP
        raise wrong("no such folder", folder, advice)
    config = object_of(folder / "config.json", "the model's configuration")
    notes = list(_config_notes(config, folder / "config.json"))
    if not headless:
        _check_head(config, folder / "config.json", head)
    _check_labels(config, folder / "config.json")
    _check_positions(config, folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise wrong("holds an adapter", folder / "adapter_config.json", "merge it into the model and save that")
    weights = weights_of(folder)
    tensors = tensors_of(weights)
    tokenizer, template = _tokenizer(folder)
    return Folder(folder.resolve(), config, tokenizer, tuple(weights), tensors, template, tuple(notes))


def inspect_tokenizer(path: str | Path) -> Folder:
    """Read a folder that holds a tokenizer, with or without a model (see ``inspect``)."""
    folder = Path(path)
    if not folder.is_dir():
        raise wrong("no such folder", folder, HELP)
    config = object_of(folder / "config.json", "") if (folder / "config.json").exists() else {}
    _check_code(config, folder / "config.json")
    tokenizer, template = _tokenizer(folder)
    return Folder(folder.resolve(), config, tokenizer, (), {}, template)


def _tokenizer(folder: Path) -> tuple[dict[str, Any], str | None]:
    path = folder / "tokenizer_config.json"
    tokenizer = object_of(path, "the tokenizer's configuration") if path.exists() else {}
    _check_code(tokenizer, path)
    _check_files(tokenizer, path)
    limit = tokenizer.get("model_max_length")
    if limit is not None and not (_number(limit) and math.isfinite(limit) and limit >= 1):
        raise wrong(f"model_max_length is {limit!r}, expected a number of tokens", path, "correct it or take it out")
    return tokenizer, _template(folder, tokenizer)


def _walk(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every key of nested objects with its value."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key), inner
            yield from _walk(inner, str(key))
    elif isinstance(value, list):
        for inner in value:
            yield from _walk(inner, name)


def _check_code(settings: Mapping[str, Any], path: Path) -> None:
    """Refuse settings that name code or a kernel to fetch, wherever they stand."""
    for key, value in _walk(dict(settings)):
        if key == "trust_remote_code" and value:
            raise wrong("asks for trust_remote_code", path, "no code of a checkpoint is run: take the key out")
        implementation = "_implementation" in key
        if implementation and any(word not in ATTENTION for word in _words(value)):
            advice = f"only {', '.join(sorted(ATTENTION))}: take the key out"
            raise wrong(f"{key} is {value!r}, which may name code to fetch", path, advice)
        if key in FETCHES and value:
            raise wrong(f"{key} is set, which fetches code or weights", path, "take the key out")
        if key in FILES:
            raise wrong(f"{key} is set, which names other weights than {SINGLE}", path, "take the key out")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)
    elif value is not None:
        yield str(value)


def _config_notes(config: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str]]:
    _check_code(config, path)
    if not isinstance(config.get("model_type"), str):
        raise wrong("has no model_type", path, "it names the architecture, such as llama or bert")
    if config.get("quantization_config"):
        raise wrong("the weights are quantised", path, "save them dequantised: float32, bfloat16 or float16")
    if "auto_map" in config:
        yield "auto-map", "config.json names code of its own (auto_map): it is not run, transformers' own class is used"


def _check_head(config: Mapping[str, Any], path: Path, head: str) -> None:
    made = config.get("architectures")
    names = [str(name) for name in made] if isinstance(made, list) else []
    if not any(name.endswith(HEADS[head]) for name in names):
        kind = "classification" if head == CLASSIFIER else "language-model"
        what = f"the model is a {' or '.join(names) or 'model of unnamed architecture'}: it has no {kind} head"
        other = CAUSAL if head == CLASSIFIER else CLASSIFIER
        named = any(name.endswith(HEADS[other]) for name in names)
        rewards = "hf-likelihood and hf-dpo take it as it is; " if head == CLASSIFIER else "hf takes it as it is; "
        raise wrong(what, path, rewards * named + WANTED[head])


def _check_labels(config: Mapping[str, Any], path: Path) -> None:
    names, count = config.get("id2label"), config.get("num_labels", LABELS)
    if names is not None and not (isinstance(names, dict) and all(str(index).isdecimal() for index in names)):
        raise wrong("id2label is no object of names by index", path, HELP)
    if type(count) is not int or count < 1:
        raise wrong(f"num_labels is {count!r}, expected a whole number from 1", path, HELP)
    most = max(count, len(names or ()), *(int(str(index)[:10]) + 1 for index in names or ()), 1)
    if most > MOST_LABELS:
        raise wrong(f"the model has {most:,} labels, more than {MOST_LABELS:,}", path, "a reward has one, or a few")


def _check_positions(config: Mapping[str, Any], path: Path) -> None:
    text = config.get("text_config")
    for place in [config, text] if isinstance(text, dict) else [config]:
        for name in LONGEST:
            value = place.get(name)
            if value is not None and (type(value) is not int or value < 1):
                raise wrong(f"{name} is {value!r}, expected a whole number of tokens from 1", path, HELP)
    most = positions(config)
    if most is not None and most < 1:
        raise wrong(f"the model takes {most:,} tokens by its configuration", path, HELP)


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _check_files(tokenizer: Mapping[str, Any], path: Path) -> None:
    for key, value in tokenizer.items():
        names = value if key.endswith("_files") and isinstance(value, list) else [value]
        for name in names if key.endswith(("_file", "_files")) else ():
            plain = isinstance(name, str) and PurePosixPath(name).name == name and not name.startswith(".")
            if name is not None and not plain:
                raise wrong(f"{key} is {name!r}, which is no file of this folder", path, "take the key out")


def _template(folder: Path, tokenizer: Mapping[str, Any]) -> str | None:
    """Return the default chat template: of its own file, else of tokenizer_config.json."""
    if (folder / "chat_template.jinja").is_file():
        return read_text(folder / "chat_template.jinja")
    given = tokenizer.get("chat_template")
    if isinstance(given, list):
        named = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = named.get("default")
    if given is not None and not isinstance(given, str):
        what = f"chat_template is {type(given).__name__}, expected a text or a list of named ones"
        raise wrong(what, folder / "tokenizer_config.json", "correct it or take it out")
    return given or None


def unknown_type(name: str, where: Path) -> NoReturn:
    """Raise that an architecture is not one of transformers'."""
    raise wrong(f"the architecture {name!r} is not one that transformers knows", where, "no code of a model is run")
