"""A folder of a Hugging Face model as untrusted data: what it holds, read without torch and without running any of it.

JSON and the headers of safetensors files are read here, so that a wrong folder is refused before anything is loaded.
Weights are never unpickled and names never leave the folder.
"""

from __future__ import annotations

import hashlib
import json
import math
import struct
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any, NoReturn

from rmbench.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

MOST_JSON = 64 * 2**20  # bytes; tokenizer.json of large vocabularies is 35 MB
MOST_HEADER = 100 * 10**6  # bytes; the format's own limit
LENGTH = struct.Struct("<Q")
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
WEIGHTS = {"F64", "F32", "F16", "BF16"}
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")
TOKENIZER = (
    "tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "added_tokens.json", "chat_template.jinja",
    "chat_template.json", "vocab.json", "vocab.txt", "merges.txt", "tokenizer.model", "spiece.model",
    "sentencepiece.bpe.model",
)  # fmt: skip
ATTENTION = {"eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention"}
LONGEST = ("max_position_embeddings", "n_positions", "max_sequence_length", "seq_length")
UNLIMITED = 10**6  # a tokenizer without a limit says 10^30
FIRST_BEHIND_PAD = {"roberta", "xlm-roberta", "camembert", "roberta-prelayernorm", "xlm-roberta-xl", "data2vec-text"}
HELP = "give a local folder with config.json, model.safetensors and the tokenizer's files"


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a safetensors file: its type (``F32``, ``BF16``, ...) and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


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
        if isinstance(names, dict) and names:
            return {int(index): str(name) for index, name in sorted(names.items(), key=lambda item: int(item[0]))}
        count = self.config.get("num_labels", 2)  # transformers' default
        return {index: f"LABEL_{index}" for index in range(count if isinstance(count, int) else 2)}


def positions(config: Mapping[str, Any]) -> int | None:
    """Return the most tokens that a model of this configuration takes, None where it has no such limit."""
    text = config.get("text_config")
    places = [config, text] if isinstance(text, dict) else [config]
    found = [place[name] for place in places for name in LONGEST if isinstance(place.get(name), int)]
    if not found:
        return None
    pad = config.get("pad_token_id")
    behind = config.get("model_type") in FIRST_BEHIND_PAD
    return int(found[0]) - ((pad if isinstance(pad, int) else 1) + 1 if behind else 0)


def longest(places: int | None, tokenizer: Any) -> int | None:
    """Return the least of what a model (``positions``) and a tokenizer (``model_max_length``) take, None: no limit."""
    limits = [int(tokenizer)] if isinstance(tokenizer, int | float) and 0 < tokenizer < UNLIMITED else []
    limits += [places] if places is not None else []
    return min(limits) if limits else None


def inspect(path: str | Path) -> Folder:
    """Read what a model folder holds, and refuse what must not be loaded.

    Raises:
        InputError: no such folder, no safetensors, a name that leaves the folder, a configuration that names code, a
            model without a classification head, a damaged file.
    """
    folder = Path(path)
    if not folder.is_dir():
        advice = "download it first: nothing is fetched from a hub" if str(path).count("/") == 1 else HELP
        raise _wrong("no such folder", folder, advice)
    config = _object_of(folder / "config.json", "the model's configuration")
    notes = list(_config_notes(config, folder / "config.json"))
    _check_head(config, folder / "config.json")
    if (folder / "adapter_config.json").exists():
        raise _wrong("holds an adapter", folder / "adapter_config.json", "merge it into the model and save that")
    weights = _weights(folder)
    tensors = _tensors(weights)
    tokenizer, template = _tokenizer(folder)
    return Folder(folder.resolve(), config, tokenizer, tuple(weights), tensors, template, tuple(notes))


def inspect_tokenizer(path: str | Path) -> Folder:
    """Read a folder that holds a tokenizer, with or without a model (see ``inspect``)."""
    folder = Path(path)
    if not folder.is_dir():
        raise _wrong("no such folder", folder, HELP)
    config = _object_of(folder / "config.json", "") if (folder / "config.json").exists() else {}
    _check_code(config, folder / "config.json")
    tokenizer, template = _tokenizer(folder)
    return Folder(folder.resolve(), config, tokenizer, (), {}, template)


def _tokenizer(folder: Path) -> tuple[dict[str, Any], str | None]:
    path = folder / "tokenizer_config.json"
    tokenizer = _object_of(path, "the tokenizer's configuration") if path.exists() else {}
    _check_code(tokenizer, path)
    _check_files(tokenizer, path)
    return tokenizer, _template(folder, tokenizer)


def _wrong(what: str, where: Path, advice: str) -> InputError:
    return InputError(what, where=str(where), help=advice)


def read_json(path: Path) -> Any:
    """Read a JSON file without duplicate keys.

    Raises:
        InputError: it is too large, no JSON, or has a key twice.
    """
    try:
        if path.stat().st_size > MOST_JSON:
            raise _wrong(f"is larger than {MOST_JSON:,} bytes", path, HELP)
        return json.loads(path.read_bytes(), object_pairs_hook=_once)
    except (OSError, ValueError, RecursionError) as error:
        raise _wrong(f"cannot be read: {error}", path, HELP) from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _object_of(path: Path, what: str) -> dict[str, Any]:
    if not path.is_file():
        raise _wrong(f"is missing: {what}", path, HELP)
    found = read_json(path)
    if not isinstance(found, dict):
        raise _wrong("is no JSON object", path, HELP)
    return found


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
            raise _wrong("asks for trust_remote_code", path, "no code of a checkpoint is run: take the key out")
        implementation = "_implementation" in key
        if implementation and any(word not in ATTENTION for word in _words(value)):
            advice = f"only {', '.join(sorted(ATTENTION))}: take the key out"
            raise _wrong(f"{key} is {value!r}, which may name code to fetch", path, advice)
        if key in ("use_kernels", "kernel_config", "use_timm_backbone", "use_pretrained_backbone") and value:
            raise _wrong(f"{key} is set, which fetches code or weights", path, "take the key out")


def _words(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for inner in value.values():
            yield from _words(inner)
    elif value is not None:
        yield str(value)


def _config_notes(config: Mapping[str, Any], path: Path) -> Iterator[tuple[str, str]]:
    _check_code(config, path)
    if not isinstance(config.get("model_type"), str):
        raise _wrong("has no model_type", path, "it names the architecture, such as llama or bert")
    if config.get("quantization_config"):
        raise _wrong("the weights are quantised", path, "save them dequantised: float32, bfloat16 or float16")
    if "auto_map" in config:
        yield "auto-map", "config.json names code of its own (auto_map): it is not run, transformers' own class is used"


def _check_head(config: Mapping[str, Any], path: Path) -> None:
    made = config.get("architectures")
    names = [str(name) for name in made] if isinstance(made, list) else []
    if not any(name.endswith("ForSequenceClassification") for name in names):
        what = f"the model is a {' or '.join(names) or 'model of unnamed architecture'}: it has no classification head"
        advice = "a reward model is a ...ForSequenceClassification: fit one and save it with save_pretrained"
        raise _wrong(what, path, advice)


def inside(folder: Path, name: str, where: Path) -> Path:
    """Return a file of a folder by its name; an ``InputError`` for a name or a link that leaves the folder."""
    parts = PurePosixPath(name)
    advice = "names of a checkpoint stay inside its folder (a folder of links: copy it with cp -rL)"
    if parts.is_absolute() or ".." in parts.parts or "\\" in name or "\0" in name:
        raise _wrong(f"names {name!r}, which is outside the folder", where, advice)
    path = folder / name
    if not path.resolve().is_relative_to(folder.resolve()):
        raise _wrong("is a link to outside the folder", path, advice)
    if not path.is_file():
        raise _wrong("is missing", path, f"{where.name} names it")
    return path


def _check_files(tokenizer: Mapping[str, Any], path: Path) -> None:
    for key, value in tokenizer.items():
        if key.endswith("_file") and isinstance(value, str) and PurePosixPath(value).name != value:
            raise _wrong(f"{key} is {value!r}, which is no file of this folder", path, "take the key out")


def _weights(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder."""
    if (folder / SINGLE).exists() or (folder / SINGLE).is_symlink():
        return [inside(folder, SINGLE, folder)]
    if not (folder / INDEX).exists():
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
        if pickled:
            advice = "such a file can run code: save the model again with save_pretrained(safe_serialization=True)"
            raise _wrong(f"the weights are no safetensors: {', '.join(pickled[:3])}", folder, advice)
        raise _wrong(f"has no weights ({SINGLE} or {INDEX})", folder, HELP)
    index = _object_of(folder / INDEX, "the index of the weights")
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise _wrong("has no weight_map of names", folder / INDEX, HELP)
    files = {name: inside(folder, name, folder / INDEX) for name in dict.fromkeys(names.values())}
    for name, path in files.items():
        if path.suffix != ".safetensors":
            raise _wrong(f"names {name!r}, which is no safetensors file", folder / INDEX, HELP)
        header = _header(path)
        lost = next((tensor for tensor, file in names.items() if file == name and tensor not in header), None)
        if lost is not None:
            raise _wrong(f"has no tensor {lost!r}, which {INDEX} promises", path, HELP)
    return list(files.values())


def _tensors(weights: list[Path]) -> dict[str, Tensor]:
    found: dict[str, Tensor] = {}
    for path in weights:
        for name, tensor in _header(path).items():
            if name in found:
                raise _wrong(f"the tensor {name!r} is in two files", path, HELP)
            found[name] = tensor
    return found


def _header(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: 8 bytes of length, a JSON header, the data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(LENGTH.size)
        length = LENGTH.unpack(first)[0] if len(first) == LENGTH.size else MOST_HEADER + 1
        if length > min(MOST_HEADER, size - LENGTH.size):
            raise _damaged(path, "the header is longer than the file")
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=_once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(header, dict):
        raise _damaged(path, "the header is no object")
    data = size - LENGTH.size - length
    return {str(name): _tensor(path, name, entry, data) for name, entry in header.items() if name != "__metadata__"}


def _tensor(path: Path, name: str, entry: Any, data: int) -> Tensor:
    shape, kind = (entry.get("shape"), entry.get("dtype")) if isinstance(entry, dict) else (None, None)
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise _damaged(path, f"the tensor {name!r} has no shape")
    if kind not in WIDTHS:
        raise _wrong(f"the tensor {name!r} is {kind}", path, "quantised weights are not read: save them dequantised")
    tensor = Tensor(str(kind), tuple(shape))
    offsets = entry.get("data_offsets")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(at) is int for at in offsets):  # noqa: PLR2004
        raise _damaged(path, f"the tensor {name!r} has no offsets")
    if not 0 <= offsets[0] <= offsets[1] <= data or offsets[1] - offsets[0] != tensor.size * WIDTHS[tensor.dtype]:
        raise _damaged(path, f"the tensor {name!r} does not fit its bytes")
    return tensor


def _damaged(path: Path, what: str) -> InputError:
    return _wrong(f"is damaged: {what}", path, "copy or save the model again")


def _template(folder: Path, tokenizer: Mapping[str, Any]) -> str | None:
    """Return the default chat template: of its own file, else of tokenizer_config.json."""
    if (folder / "chat_template.jinja").is_file():
        return read_text(folder / "chat_template.jinja")
    given = tokenizer.get("chat_template")
    if isinstance(given, list):
        named = {one.get("name"): one.get("template") for one in given if isinstance(one, dict)}
        given = named.get("default")
    return given if isinstance(given, str) and given else None


def read_text(path: Path) -> str:
    """Read a text file of at most a megabyte; an ``InputError`` otherwise."""
    try:
        if path.stat().st_size > 2**20:
            raise _wrong("is larger than a megabyte", path, "a chat template is a few kilobytes")
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise _wrong(f"cannot be read: {error}", path, "give a text file in UTF-8") from error


def short_hash(text: str) -> str:
    """Return the first 8 hexadecimal digits of the text's sha256."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:8]


def unknown_type(name: str, where: Path) -> NoReturn:
    """Raise that an architecture is not one of transformers'."""
    raise _wrong(f"the architecture {name!r} is not one that transformers knows", where, "no code of a model is run")
