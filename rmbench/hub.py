"""``hf:owner/name`` -> a task: fetched once through ``datasets``, kept under its revision, then read as a folder."""

from __future__ import annotations

import os
import re
import shutil
import tempfile
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.errors import EnvironmentFault, InputError
from rmbench.store import folder_name
from rmbench.tasks import legal_name, saved_task

if TYPE_CHECKING:
    from rmbench.api import Task

PREFIX = "hf:"
SECONDS = 8  # to wait for the first answer
_NAME = re.compile(r"hf:(?P<name>\w[\w.-]*/\w[\w.-]*)(?::(?P<config>[\w.-]+))?(?:@(?P<revision>[\w./-]+))?")
_SHA = re.compile(r"[0-9a-f]{40}")


def hub_task(given: str, kind: str | None = None) -> Task:
    """Return the task of ``hf:owner/name[:config][@revision]``; its ``source`` records the revision that was found.

    A revision of 40 digits that was fetched before needs no network. No code of the data set is run.

    Raises:
        InputError: the name is wrong, there is no such data set or revision, or ``datasets`` is not installed.
        EnvironmentFault: it has to be fetched and cannot be.
    """
    match = _NAME.fullmatch(given)
    if match is None:
        raise InputError(f"{given!r} names no data set", help="write hf:owner/name, or hf:owner/name:config@revision")
    name, config, revision = match["name"], match["config"], match["revision"]
    sha = revision if revision and _SHA.fullmatch(revision) else None
    if sha is None or not _place(name, config, sha).is_dir():
        sha = _sha(given, name, revision)
    folder = _place(name, config, sha)
    if not folder.is_dir():
        _keep(_fetched(given, name, config, sha), folder)
    named = f"{PREFIX}{name}{f':{config}' if config else ''}@{sha}"
    return replace(saved_task(folder, kind), name=legal_name(name.partition("/")[2], name.encode()), source=named)


def _place(name: str, config: str | None, sha: str) -> Path:
    """Return the folder in which a revision is kept."""
    home = Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser()
    cache = os.environ.get("RMBENCH_CACHE") or home / "rmbench"
    return Path(cache) / "datasets" / folder_name(f"{name}{f':{config}' if config else ''}@{sha}")


def _sha(given: str, name: str, revision: str | None) -> str:
    """Return the revision that a name stands for now."""
    try:
        from huggingface_hub import HfApi, errors
    except ImportError:
        raise _absent(given) from None
    try:
        return str(HfApi().dataset_info(name, revision=revision, timeout=SECONDS).sha)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        raise InputError(_words(error), where=given, help="check the name, or log in where it is not public") from None
    except Exception as error:  # noqa: BLE001 - the errors of its HTTP client have no common base of ours
        raise _unreachable(given, error) from None


def _fetched(given: str, name: str, config: str | None, sha: str) -> Any:
    """Return the data set of a revision, as ``datasets`` has it."""
    try:
        import datasets
    except ImportError:
        raise _absent(given) from None
    try:
        return datasets.load_dataset(name, config, revision=sha)
    except (ValueError, datasets.exceptions.DatasetNotFoundError) as error:
        raise InputError(_words(error), where=given, help="name its config: hf:owner/name:config") from None
    except Exception as error:  # noqa: BLE001 - whatever it is, it could not be fetched
        raise _unreachable(given, error) from None


def _keep(data: Any, folder: Path) -> None:
    """Save a data set so that it is there whole or not at all."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp-", dir=folder.parent))
        try:
            data.save_to_disk(str(temporary / "data"))
            (temporary / "data").rename(folder)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)
    except OSError as error:
        if not folder.is_dir():  # another process may have been faster
            raise EnvironmentFault(
                f"cannot be kept: {error.strerror}", where=str(folder), help="RMBENCH_CACHE names another folder"
            ) from error


def _absent(given: str) -> InputError:
    return InputError("needs the package datasets, which is not installed", where=given, help="pip install datasets")


def _unreachable(given: str, error: Exception) -> EnvironmentFault:
    from huggingface_hub import constants

    return EnvironmentFault(
        f"cannot be fetched from {constants.ENDPOINT}: {_words(error)}", where=given,
        help="check the network; a revision of 40 digits that was fetched before needs none: hf:owner/name@REVISION",
    )  # fmt: skip


def _words(error: Exception) -> str:
    return (str(error).strip().partition("\n")[0] or type(error).__name__)[:200]
