"""The safetensors files of a model folder: which they are and what their headers say, read without torch."""

from __future__ import annotations

import json
import math
import re
import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench.kernel.models.files import HELP, inside, object_of, once, wrong

if TYPE_CHECKING:
    from pathlib import Path

    from rmbench.errors import InputError

MOST_HEADER = 20 * 10**6  # bytes; a model of a thousand layers has 2
MOST_TENSORS = 200_000
LENGTH = struct.Struct("<Q")
WIDTHS = {"F64": 8, "F32": 4, "F16": 2, "BF16": 2, "I64": 8, "I32": 4, "U8": 1, "BOOL": 1}
WEIGHTS = {"F64", "F32", "F16", "BF16"}
# Buffers that hold indices, and the masks of old GPT checkpoints: nothing that was trained.
INTEGERS = re.compile(r"(^|\.)(position_ids|token_type_ids|num_batches_tracked|(attn|attention)\.(masked_)?bias)$")
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"
PICKLED = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle", ".h5", ".msgpack")


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of a safetensors file: its type (``F32``, ``BF16``, ...) and shape."""

    dtype: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Number of elements."""
        return math.prod(self.shape)


def weights_of(folder: Path) -> list[Path]:
    """Return the safetensors files of a folder."""
    if (folder / SINGLE).exists() or (folder / SINGLE).is_symlink():
        return [inside(folder, SINGLE, folder)]
    if not (folder / INDEX).exists():
        pickled = sorted(file.name for file in folder.iterdir() if file.suffix in PICKLED)
        if pickled:
            advice = "such a file can run code: save the model again with save_pretrained(safe_serialization=True)"
            raise wrong(f"the weights are no safetensors: {', '.join(pickled[:3])}", folder, advice)
        raise wrong(f"has no weights ({SINGLE} or {INDEX})", folder, HELP)
    index = object_of(folder / INDEX, "the index of the weights")
    names = index.get("weight_map")
    if not isinstance(names, dict) or not names or not all(isinstance(name, str) for name in names.values()):
        raise wrong("has no weight_map of names", folder / INDEX, HELP)
    files = {name: inside(folder, name, folder / INDEX) for name in dict.fromkeys(names.values())}
    for name, path in files.items():
        if path.suffix != ".safetensors":
            raise wrong(f"names {name!r}, which is no safetensors file", folder / INDEX, HELP)
        header = header_of(path)
        lost = next((tensor for tensor, file in names.items() if file == name and tensor not in header), None)
        if lost is not None:
            raise wrong(f"has no tensor {lost!r}, which {INDEX} promises", path, HELP)
    return list(files.values())


def tensors_of(weights: list[Path]) -> dict[str, Tensor]:
    """Return the tensors of safetensors files by name; an ``InputError`` where weights are no floating point."""
    found: dict[str, Tensor] = {}
    for path in weights:
        for name, tensor in header_of(path).items():
            if tensor.dtype not in WEIGHTS and not INTEGERS.search(name):
                advice = "weights are float32, bfloat16 or float16: save the model again as it was trained"
                raise wrong(f"the weights {name!r} are {tensor.dtype}, whole numbers", path, advice)
            if name in found:
                raise wrong(f"the tensor {name!r} is in two files", path, HELP)
            found[name] = tensor
    return found


def header_of(path: Path) -> dict[str, Tensor]:
    """Return the tensors of a safetensors file: 8 bytes of length, a JSON header, the data."""
    size = path.stat().st_size
    with path.open("rb") as file:
        first = file.read(LENGTH.size)
        length = LENGTH.unpack(first)[0] if len(first) == LENGTH.size else size + 1
        if length > size - LENGTH.size:
            raise _damaged(path, "the header is longer than the file")
        if length > MOST_HEADER:
            raise _damaged(path, f"the header has {length:,} bytes, more than {MOST_HEADER:,}")
        raw = file.read(length)
    try:
        header = json.loads(raw, object_pairs_hook=once)
    except (ValueError, RecursionError) as error:
        raise _damaged(path, str(error)) from error
    if not isinstance(header, dict):
        raise _damaged(path, "the header is no object")
    if len(header) > MOST_TENSORS:
        raise _damaged(path, f"the header names {len(header):,} tensors, more than {MOST_TENSORS:,}")
    data = size - LENGTH.size - length
    return {str(name): _tensor(path, name, entry, data) for name, entry in header.items() if name != "__metadata__"}


def _tensor(path: Path, name: str, entry: Any, data: int) -> Tensor:
    shape, kind = (entry.get("shape"), entry.get("dtype")) if isinstance(entry, dict) else (None, None)
    if not isinstance(shape, list) or not all(type(side) is int and side >= 0 for side in shape):
        raise _damaged(path, f"the tensor {name!r} has no shape")
    if kind not in WIDTHS:
        raise wrong(f"the tensor {name!r} is {kind}", path, "quantised weights are not read: save them dequantised")
    tensor = Tensor(str(kind), tuple(shape))
    offsets = entry.get("data_offsets")
    if not isinstance(offsets, list) or len(offsets) != 2 or not all(type(at) is int for at in offsets):  # noqa: PLR2004
        raise _damaged(path, f"the tensor {name!r} has no offsets")
    if not 0 <= offsets[0] <= offsets[1] <= data or offsets[1] - offsets[0] != tensor.size * WIDTHS[tensor.dtype]:
        raise _damaged(path, f"the tensor {name!r} does not fit its bytes")
    return tensor


def _damaged(path: Path, what: str) -> InputError:
    return wrong(f"is damaged: {what}", path, "copy or save the model again")
