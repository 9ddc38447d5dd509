"""A checkpoint of a reward model: what it says of itself, and its scorer."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import plugins
from rmbench.api import NAME, Runtime
from rmbench.errors import InputError
from rmbench.kernel.models.files import object_of
from rmbench.store import folder_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rmbench.api import Scorer
    from rmbench.judged import RewardModel

CONFIG = "config.json"
RECIPE = "rmbench"  # the key of config.json
OF_POLICY = "rmbench_policy"  # that of a policy's
HELP = "fit it again with `rmbench fit`, or copy the whole folder"
FIELDS: dict[str, type] = {
    "reward_model": str, "version": int, "plugin": str, "distribution": str, "distribution_version": str, "task": str,
    "sha256": dict, "loss": str, "options": dict, "seed": int, "uses": dict,
    "signature": str, "entries": dict,
}  # fmt: skip


@dataclass(frozen=True, slots=True)
class Fitted:
    """What a checkpoint says of itself (see ``judged.Fitting.recipe``)."""

    folder: Path
    reward_model: str
    version: int
    plugin: str
    distribution: str
    distribution_version: str
    task: str
    loss: str
    options: Mapping[str, Any]
    seed: int
    uses: Mapping[str, str]
    signature: str
    entries: Mapping[str, Any]

    def model(self) -> RewardModel:
        """Return the reward model that made it, of the plugin installed now.

        Raises:
            PluginError: that plugin is not installed.
            InputError: it gives another version of the model.
        """
        found: RewardModel = plugins.load_value(self.distribution, self.plugin, "reward-model", self.reward_model)
        if found.version != self.version:
            raise InputError(
                f"was fitted by {self.reward_model}@{self.version}; {self.distribution} now gives "
                f"{self.reward_model}@{found.version}", where=str(self.folder),
                help=f"fit it again, or install {self.distribution} {self.distribution_version}",
            )  # fmt: skip
        return found


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder holds a checkpoint of ours, complete or not sound."""
    try:
        return (folder / CONFIG).is_file() and RECIPE in object_of(folder / CONFIG, "the checkpoint's configuration")
    except (InputError, OSError):
        return False


def inspect(folder: str | Path) -> Fitted:
    """Read what a checkpoint says of itself; nothing is loaded.

    Raises:
        InputError: no such folder, or no checkpoint of ours in it.
    """
    place = Path(folder)
    if not place.is_dir():
        raise InputError("no such folder", where=str(place), help="name the folder of a fit, such as RUN/training/NAME")
    path = place / CONFIG
    if not path.is_file():
        raise InputError(
            f"holds no {CONFIG}: no checkpoint, or a fit that has not ended", where=str(place),
            help="go on with rmbench fit SUITE --resume --out RUN",
        )  # fmt: skip
    config = object_of(path, "the checkpoint's configuration")
    recipe = config.get(RECIPE)
    if recipe is None and OF_POLICY in config:
        raise InputError("is a policy, which gives no scores", where=str(path), help="rmbench show FOLDER says of what")
    if recipe is None:
        raise InputError(
            "is no checkpoint of rmbench", where=str(path),
            help="a Hugging Face classifier is the reward hf: -r hf -o hf.path=...",
        )  # fmt: skip
    return Fitted(folder=place, **_checked(recipe, path))


def _checked(recipe: Any, path: Path) -> dict[str, Any]:
    if not isinstance(recipe, dict):
        raise InputError(f"{RECIPE} is no object", where=str(path), help=HELP)
    for key, kind in FIELDS.items():
        value = recipe.get(key)
        if not isinstance(value, kind) or isinstance(value, bool):
            raise InputError(f"{RECIPE}.{key} is {value!r}, expected {kind.__name__}", where=str(path), help=HELP)
    for name, signature in recipe["uses"].items():
        if not NAME.fullmatch(name) or not isinstance(signature, str):
            raise InputError(f"{RECIPE}.uses names {name!r}, which is no reward", where=str(path), help=HELP)
    return {key: recipe[key] for key in FIELDS if key != "sha256"}


def load_fitted(folder: str | Path, runtime: Runtime | None = None) -> Scorer:
    """Return the scorer of a checkpoint folder.

    Args:
        folder: such as ``RUN/training/NAME``. Its model must be given by an installed plugin; no code of the folder is
            run and nothing is unpickled.
        runtime: device, dtype and seed (the CPU by default).

    Raises:
        InputError: the folder is no sound checkpoint.
        PluginError: its plugin is not installed.
    """
    found = inspect(folder)
    return found.model().load(found.folder, runtime or Runtime())


def beside(folder: Path, name: str) -> Path | None:
    """Return the checkpoint of the reward model ``name`` of the same run, which a fitted model may use."""
    place = folder.parent / folder_name(name)
    return place if is_checkpoint(place) else None
