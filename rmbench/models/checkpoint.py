"""The checkpoint of a fitted model: written whole or not at all, read as untrusted data; no pickle, no code, no torch.

``model.safetensors``, ``config.json``, ``card.md``, ``log.jsonl`` and the files of a tokenizer are a function of the
fit, byte for byte. config.json is written last: a folder without one holds no checkpoint. ``.state`` (of an unfinished
fit) and ``.measures.json`` (what it took) are hidden and no part of what the folder says.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import stat
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import numpy as np
import safetensors
from safetensors import numpy as numpy_files

from rmbench.errors import InputError
from rmbench.kernel.models.files import inside, object_of, wrong
from rmbench.kernel.models.folder import inspect_tokenizer
from rmbench.kernel.models.load import free_memory
from rmbench.kernel.models.weights import PICKLED, SINGLE, WIDTHS, Tensor, tensors_of
from rmbench.store import TEMPORARY, canonical, faults, sync_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

CONFIG, CARD, LOG, STATE, MEASURES = "config.json", "card.md", "log.jsonl", ".state", ".measures.json"
OWN = {SINGLE, CONFIG, CARD, LOG}
CODE = (*PICKLED, ".joblib", ".npy", ".npz", ".dill", ".py", ".pyc", ".so", ".dll", ".dylib", ".sh", ".exe", ".jar")
BEGINNINGS = {
    b"PK\x03\x04": "a zip archive, as torch.save writes", b"\x93NUMPY": "a NumPy file", b"\x7fELF": "a program",
    b"#!": "a script", b"\x89HDF": "an HDF5 file", **{bytes((0x80, version)): "a pickle" for version in range(2, 6)},
}  # fmt: skip
MOST_FILES = 10_000
FIT = "fit the model again, or copy the folder of the fit again"
OTHER = f"{CONFIG} and {SINGLE} are not of one fit: {FIT}"
DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2", "I64": "<i8", "I32": "<i4", "U8": "u1", "BOOL": "?"}


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a checkpoint's files say before any weight is read.

    Attributes:
        path: the folder, absolute.
        config: of config.json.
        header: type and shape of each tensor of model.safetensors, by name.
    """

    path: Path
    config: Mapping[str, Any]
    header: Mapping[str, Tensor]


def write(
    folder: Path, *, tensors: Mapping[str, Any], config: Mapping[str, Any], files: Mapping[str, bytes] | None = None,
    card: str, log: Sequence[Mapping[str, Any]], measures: Mapping[str, float],
) -> Path:  # fmt: skip
    """Write a checkpoint, config.json last, and remove the state of the fit.

    Args:
        folder: made where it is not there.
        tensors: NumPy arrays or torch tensors by name.
        config: all that ``load`` needs, as JSON.
        files: further files by name, such as tokenizer.json.
        card: text of card.md.
        log: rows of log.jsonl.
        measures: seconds, rates and counts; hidden, since they are no function of the fit.

    Returns:
        The folder.

    Raises:
        InputError: a weight is NaN or infinite.
        ValueError: a file's name is none of a checkpoint, or a value is no JSON.
    """
    for name in files or {}:
        _check_name(name)
    weights = _serialised(tensors, folder)
    rows = "".join(json.dumps(dict(row), ensure_ascii=False, allow_nan=False) + "\n" for row in log)
    settings = canonical(dict(config))
    with faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
        sync_folder(folder)
    write_whole(folder / SINGLE, weights)
    for name, data in (files or {}).items():
        write_whole(folder / name, data)
    write_whole(folder / CARD, card.encode())
    write_whole(folder / LOG, rows.encode())
    write_whole(folder / MEASURES, canonical(dict(measures)))
    for left in folder.rglob("*.tmp-*"):  # of a fit that was killed while it wrote
        if TEMPORARY.search(left.name) and left.is_file():
            left.unlink(missing_ok=True)
    write_whole(folder / CONFIG, settings)
    shutil.rmtree(folder / STATE, ignore_errors=True)
    return folder


def read(folder: str | Path) -> Checkpoint:
    """Read what a checkpoint holds, and refuse what must not be loaded; no weight is read and nothing is run.

    Raises:
        InputError: no finished checkpoint, a file that can hold code, a link or a name that leaves the folder, a
            configuration that is no JSON or names code, a header that lies or is too large, weights that do not fit the
            free memory. Each names the file and the entry.
    """
    path = Path(folder)
    if not path.is_dir():
        raise wrong("no such folder", path, "give the folder of a fit: RUN/training/NAME")
    _check_files(path)
    if not (path / CONFIG).is_file():
        unfinished = (path / STATE).is_dir()
        advice = "the fit is not finished: run it again and it goes on" if unfinished else FIT
        raise wrong(f"holds no finished checkpoint ({CONFIG} is missing)", path, advice)
    config = object_of(inside(path, CONFIG, path), "the configuration")
    for settings in sorted(path.glob("*config*.json")):
        _check_settings(object_of(settings, "settings"), settings)
    inspect_tokenizer(path)
    if not (path / SINGLE).is_file():
        raise wrong(f"has no weights ({SINGLE} is missing)", path, FIT)
    header = tensors_of([inside(path, SINGLE, path)])
    _check_layout(path / SINGLE)
    require_memory(sum(one.size * WIDTHS[one.dtype] for one in header.values()), "the weights", path / SINGLE)
    return Checkpoint(path.resolve(), config, header)


def check(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]]) -> None:
    """Raise an ``InputError`` unless the header names exactly these tensors with these shapes; none is read."""
    where = checkpoint.path / SINGLE
    for what, names in (
        ("is missing", expected.keys() - checkpoint.header.keys()),
        ("is left over", checkpoint.header.keys() - expected.keys()),
    ):
        if names:
            more = f" and {len(names) - 1:,} more" if len(names) > 1 else ""
            raise wrong(
                f"the tensor {min(names)!r}{more} {what}", where, f"{CONFIG} and weights are not of one fit: {FIT}"
            )
    for name, shape in expected.items():
        found = checkpoint.header[name].shape
        if found != tuple(shape):
            what = f"the tensor {name!r} has the shape {found}, {CONFIG} asks for {tuple(shape)}"
            raise wrong(what, where, OTHER)


def tensors(checkpoint: Checkpoint, expected: Mapping[str, tuple[int, ...]]) -> dict[str, np.ndarray]:
    """Return the weights by name, checked against the shapes that are expected.

    Returns:
        float64 where they were written so, else float32 (float16 and bfloat16 too); whole numbers as they are.

    Raises:
        InputError: a tensor is missing, left over or of another shape (before any is read), or holds NaN or infinity.
    """
    check(checkpoint, expected)
    where = checkpoint.path / SINGLE
    try:
        entries = safetensors.deserialize(where.read_bytes())
    except (OSError, safetensors.SafetensorError) as error:
        raise wrong(f"is damaged: {error}", where, FIT) from error
    found = {name: _array(entry) for name, entry in entries}
    if {name: array.shape for name, array in found.items()} != {k: v.shape for k, v in checkpoint.header.items()}:
        raise wrong("changed while it was read", where, "try again")
    for name, array in found.items():
        _check_finite(name, array, where)
    return found


def require_memory(needed: int, what: str, where: Path | str) -> None:
    """Raise an ``InputError`` where so many bytes do not fit the free memory.

    Args:
        needed: bytes.
        what: what they are for, as the message begins.
        where: the file or option that asks for them.
    """
    free = free_memory()
    if needed > free:
        what = f"{what} would take {needed / 1e9:,.1f} GB, {free / 1e9:,.1f} GB are free"
        raise InputError(what, where=str(where), help="take a smaller model, or a machine with more memory")


def _serialised(weights: Mapping[str, Any], folder: Path) -> bytes:
    """Return the bytes of a safetensors file: one content, one sequence of bytes."""
    described = {"format": "pt"}  # transformers asks for it
    arrays = {name: value for name, value in weights.items() if isinstance(value, np.ndarray | np.generic)}
    for name, array in arrays.items():
        _check_finite(name, array, folder / SINGLE)
    if len(arrays) == len(weights):
        return numpy_files.save({name: np.array(one, order="C") for name, one in arrays.items()}, described)
    return _torch_bytes({name: arrays.get(name, value) for name, value in weights.items()}, described, folder)


def _torch_bytes(weights: Mapping[str, Any], described: dict[str, str], folder: Path) -> bytes:
    """Return the bytes where any of the weights is a tensor of torch, in any of its types."""
    import torch
    from safetensors.torch import save

    found = {name: torch.as_tensor(value).detach().cpu().clone().contiguous() for name, value in weights.items()}
    for name, tensor in found.items():
        if tensor.is_floating_point() and not bool(torch.isfinite(tensor).all()):
            raise _not_finite(name, folder / SINGLE)
    return save(found, described)


def _array(entry: Mapping[str, Any]) -> np.ndarray:
    raw = np.frombuffer(entry["data"], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if entry["dtype"] == "BF16":  # the upper half of a float32
        return (raw.astype(np.uint32) << 16).view(np.float32)
    return raw.astype(np.float32) if entry["dtype"] == "F16" else raw.copy()


def _check_finite(name: str, array: np.ndarray | np.generic, where: Path) -> None:
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise _not_finite(name, where)


def _not_finite(name: str, where: Path) -> InputError:
    return wrong(
        f"the weights {name!r} hold NaN or infinity", where, "no score of this model means anything: fit again"
    )


def _check_name(name: str) -> None:
    """Raise a ``ValueError`` unless a file of this name may stand beside the weights."""
    parts = PurePosixPath(name).parts
    plain = parts and str(PurePosixPath(name)) == name and not any(part.startswith((".", "/")) for part in parts)
    if not plain or name in OWN or name.endswith(CODE):
        raise ValueError(f"{name!r} is no name for a further file of a checkpoint")


def _check_files(folder: Path) -> None:
    """Refuse files that can hold code, links that leave the folder, and what is no file."""
    for count, file in enumerate(_walk(folder)):
        if count > MOST_FILES:
            raise wrong(f"holds more than {MOST_FILES:,} files", folder, "is it the right folder?")
        if not file.resolve().is_relative_to(folder.resolve()):
            raise wrong("is a link to outside the folder", file, "copy the file itself (cp -rL)")
        if not file.exists():
            raise wrong("is a link to nothing", file, "remove it")
        if not stat.S_ISREG(file.stat().st_mode):
            raise wrong("is no regular file", file, "a checkpoint holds regular files only: remove it")
        if file.suffix.lower() in CODE:
            raise wrong(f"can hold code ({file.suffix})", file, f"it is not read; weights are {SINGLE} only: remove it")
        if file.suffix != ".safetensors" and (kind := _kind(file)):
            raise wrong(f"is {kind}", file, f"it is not read; weights are {SINGLE} only: remove it")


def _walk(folder: Path) -> Iterator[Path]:
    """Yield all files below a folder, hidden ones too but not those of .git; a linked folder is refused."""
    for place, folders, files in os.walk(folder):
        folders[:] = sorted(name for name in folders if name != ".git")
        for name in folders:
            if (Path(place) / name).is_symlink():
                raise wrong("is a link to a folder", Path(place) / name, "copy the folder itself (cp -rL)")
        yield from (Path(place) / name for name in sorted(files))


def _kind(file: Path) -> str | None:
    """Return what a file is that should not be here, by its first bytes."""
    try:
        with file.open("rb") as opened:
            first = opened.read(8)
    except OSError as error:
        raise wrong(f"cannot be read: {error.strerror}", file, "check its permissions") from error
    return next((kind for begin, kind in BEGINNINGS.items() if first.startswith(begin)), None)


def _check_settings(settings: Any, path: Path, name: str = "") -> None:
    """Refuse settings that name code or hold a number that is no JSON, at any depth."""
    if isinstance(settings, float) and not math.isfinite(settings):
        raise wrong(f"{name or 'an entry'} is {settings}, which is no JSON", path, FIT)
    if isinstance(settings, dict):
        if "auto_map" in settings:
            raise wrong("names code of its own (auto_map)", path, "no code of a checkpoint is run: take the key out")
        for key, value in settings.items():
            _check_settings(value, path, str(key))
    elif isinstance(settings, list):
        for value in settings:
            _check_settings(value, path, name)


def _check_layout(path: Path) -> None:
    """Let safetensors check the header: offsets that overlap, leave holes, or end before the file does."""
    try:
        with safetensors.safe_open(path, framework="numpy"):
            pass
    except (OSError, safetensors.SafetensorError) as error:
        raise wrong(f"is damaged: {error}", path, FIT) from error
