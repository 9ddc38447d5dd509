"""A split that lies in several files: folders as ``datasets`` saves and exports them.

``save_to_disk`` writes Arrow files and their names in ``state.json``; a dictionary of data sets has a folder for each
split and their names in ``dataset_dict.json``. An export is Parquet files named after their split
(``data/test-00000-of-00001.parquet``). The names are untrusted: none leaves the folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING, Any

from rmbench.checks import show
from rmbench.datafile import check_format, open_regular
from rmbench.datafile import digest as file_digest
from rmbench.errors import InputError

if TYPE_CHECKING:
    from pathlib import Path

STATE, SPLITS = "state.json", "dataset_dict.json"
OTHER_NAMES = {"validation": "dev", "valid": "dev", "val": "dev"}
_EXPORT = re.compile(r"(?P<split>[A-Za-z0-9_.]+?)(?:-\d{5}-of-\d{5})?\.parquet")
_CAP = 2**20
_NAME = re.compile(r"[^/\\\0]+\.arrow")


def is_saved(folder: Path) -> bool:
    """Say whether a folder is one of ``datasets``: saved to disk, or exported as Parquet."""
    return any((folder / name).is_file() for name in (STATE, SPLITS)) or bool(_exported(folder))


def splits(folder: Path) -> dict[str, Path]:
    """Return what stands for each split of a folder of ``datasets``: a folder, a file, or the pattern of several files.

    A data set without named splits is all ``test``, as a bare file is.

    Raises:
        InputError: no split is called ``test``, or the folder is not as ``datasets`` writes it.
    """
    if (folder / SPLITS).is_file():
        names = _json(folder / SPLITS).get("splits")
        if not isinstance(names, list) or not all(isinstance(n, str) and _safe(n) for n in names):
            raise _odd(folder / SPLITS, '"splits" is no list of names')
        found = {name: folder / name for name in names}
    elif (folder / STATE).is_file():
        return {"test": folder}
    else:
        found = _exported(folder)
        if len(found) == 1 and not {"test", "train", *OTHER_NAMES} & found.keys():
            return {"test": next(iter(found.values()))}
    known = {OTHER_NAMES.get(name, name): path for name, path in found.items()}
    if "test" not in known:
        raise InputError(
            f'no split is called "test", there are {", ".join(map(show, sorted(found)))}', where=str(folder),
            help='studies measure on "test": save the split that you mean alone (dataset["NAME"].save_to_disk(...))',
        )  # fmt: skip
    return {name: path for name, path in known.items() if name in ("test", "train", "dev")}


def _safe(name: str) -> bool:
    return bool(name) and "/" not in name and "\\" not in name and "\0" not in name and name not in (".", "..")


def _exported(folder: Path) -> dict[str, Path]:
    """Return the Parquet files of an export by split, of ``folder`` or of ``folder/data``."""
    for place in (folder, folder / "data"):
        found: dict[str, Path] = {}
        for path in sorted(place.glob("*.parquet")) if place.is_dir() else ():
            if match := _EXPORT.fullmatch(path.name):
                several = match["split"] in found or path.stem != match["split"]
                found[match["split"]] = place / f"{match['split']}-*.parquet" if several else path
        if found:
            return found
    return {}


def files(path: Path) -> tuple[Path, ...]:
    """Return the files that a split is made of, in order: itself, where it is a file.

    Raises:
        InputError: the folder is not as ``datasets`` writes it.
    """
    if path.name.endswith("-*.parquet") and not path.exists():
        return tuple(sorted(path.parent.glob(path.name)))
    if not path.is_dir():
        check_format(path)
        return (path,)
    if not (path / STATE).is_file():
        raise InputError(
            f"a folder without {STATE}, expected a data set", where=str(path), help="save it with save_to_disk"
        )
    listed = _json(path / STATE).get("_data_files")
    if not isinstance(listed, list) or not listed:
        raise _odd(path / STATE, '"_data_files" is no list of files')
    names = [one.get("filename") if isinstance(one, dict) else None for one in listed]
    for name in names:
        if not isinstance(name, str) or not _NAME.fullmatch(name) or (path / name).is_symlink():
            raise _odd(path / STATE, f"{show(name)} is no data file of this folder")
    return tuple(path / str(name) for name in names)


def digest(path: Path) -> str:
    """Return the sha256 of a file, or of the sha256 of several one after the other."""
    found = [file_digest(one) for one in files(path)]
    return found[0] if len(found) == 1 else hashlib.sha256("\n".join(found).encode()).hexdigest()


def _json(path: Path) -> dict[str, Any]:
    with open_regular(path) as stream:
        raw = stream.read(_CAP + 1)
    try:
        found = json.loads(raw) if len(raw) <= _CAP else None
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise _odd(path, "no JSON object")
    return found


def _odd(path: Path, what: str) -> InputError:
    return InputError(f"{what}: datasets did not write it", where=str(path), help="save the data set again")
