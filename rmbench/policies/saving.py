"""A policy's folder: an ordinary Hugging Face folder, each file written whole, config.json last."""

from __future__ import annotations

import copy
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.kernel.models.folder import TOKENIZER
from rmbench.kernel.models.load import quiet
from rmbench.models.tokenizers import SETTINGS
from rmbench.store import canonical, faults, sync_folder, write_whole

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rmbench.kernel.models.folder import Folder

CONFIG = "config.json"
DROPPED = ("_name_or_path", "auto_map")


def write(folder: Path, model: Any, module: Any, files: Mapping[str, bytes]) -> None:
    """Write a model and its tokenizer's files.

    Args:
        folder: made where it is not there; other files in it stay.
        model: transformers'.
        module: the same model, or peft's of it, whose adapters are merged into a copy.
        files: the tokenizer's files by name.
    """
    whole = model if module is model else copy.deepcopy(module).merge_and_unload()
    with faults(folder):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / CONFIG).unlink(missing_ok=True)
        for name, data in files.items():
            write_whole(folder / name, data)
        with tempfile.TemporaryDirectory(dir=folder, prefix=".saving-") as place, quiet():
            whole.save_pretrained(place, max_shard_size="1000GB")
            made = sorted(Path(place).iterdir(), key=lambda one: one.name == CONFIG)
            for one in made:
                if one.name == CONFIG:
                    write_whole(folder / CONFIG, canonical(_kept(one)))
                else:
                    one.chmod((folder / next(iter(files))).stat().st_mode)  # safetensors lets nobody else read it
                    _move(one, folder / one.name)
        sync_folder(folder)


def _kept(path: Path) -> dict[str, Any]:
    import json

    return {name: value for name, value in json.loads(path.read_text(encoding="utf-8")).items() if name not in DROPPED}


def _move(one: Path, target: Path) -> None:
    with one.open("rb") as opened:
        os.fsync(opened.fileno())
    one.replace(target)


def tokenizer_files(folder: Folder) -> dict[str, bytes]:
    """Return the tokenizer's files of a folder by name, without what names code."""
    found = {name: (folder.path / name).read_bytes() for name in TOKENIZER if (folder.path / name).is_file()}
    if "auto_map" in folder.tokenizer:
        found[SETTINGS] = canonical({name: value for name, value in folder.tokenizer.items() if name != "auto_map"})
    return found
