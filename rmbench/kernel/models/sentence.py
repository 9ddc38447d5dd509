"""A sentence encoder's folder as untrusted data, read without torch: the model, and how its tokens become one vector.

What stands beside the model is what sentence-transformers writes: ``modules.json``, ``sentence_bert_config.json`` and
``1_Pooling/config.json``. A folder without them is pooled by the mean, as sentence-transformers does.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench.kernel.models.files import HELP, inside, object_of, read_json, wrong
from rmbench.kernel.models.folder import Folder, inspect

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

MODULES = "modules.json"
KNOWN = ("Transformer", "Pooling", "Normalize")
POOLINGS = ("mean", "cls")
LEGACY = {
    "pooling_mode_cls_token": "cls", "pooling_mode_mean_tokens": "mean", "pooling_mode_max_tokens": "max",
    "pooling_mode_mean_sqrt_len_tokens": "mean_sqrt_len_tokens", "pooling_mode_weightedmean_tokens": "weightedmean",
    "pooling_mode_lasttoken": "lasttoken",
}  # fmt: skip
SETTINGS = tuple(
    f"sentence_{name}_config.json"
    for name in ("bert", "roberta", "distilbert", "camembert", "albert", "xlm-roberta", "xlnet")
)
WIDTHS = ("hidden_size", "dim", "d_model", "n_embd")


@dataclass(frozen=True, slots=True)
class Sentences:
    """A folder that embeds texts.

    Attributes:
        folder: the model and its tokenizer.
        pooling: ``mean`` of the tokens, or ``cls``, the first one.
        normalised: whether vectors have length 1.
        limit: most tokens of a text, the special ones among them; None without a limit.
        prefix: text put before each text by default.
        lower: whether texts are lower-cased before the tokenizer sees them.
    """

    folder: Folder
    pooling: str
    normalised: bool
    limit: int | None
    prefix: str
    lower: bool

    @property
    def width(self) -> int | None:
        """Numbers of a vector, by the configuration; None where it does not say."""
        found = [self.folder.config[name] for name in WIDTHS if isinstance(self.folder.config.get(name), int)]
        return found[0] if found else None


def inspect_encoder(path: str | Path) -> Sentences:
    """Read what a sentence encoder's folder holds, and refuse what must not be loaded.

    Raises:
        InputError: what ``folder.inspect`` refuses, an encoder-decoder, a module or a pooling that is not known, a
            limit that is no number.
    """
    folder = inspect(path, headless=True)
    if folder.config.get("is_encoder_decoder"):
        raise wrong("the model is an encoder-decoder", folder.path / "config.json", "a sentence encoder reads only")
    places = _modules(folder.path)
    settings, where = _settings(folder.path)
    prefix = _prefix(folder.path)
    pooling = _pooling(folder.path, places["Pooling"]) if "Pooling" in places else "mean"
    lower = settings.get("do_lower_case", False)
    if not isinstance(lower, bool):
        raise wrong(f"do_lower_case is {lower!r}, expected true or false", where, HELP)
    return Sentences(folder, pooling, "Normalize" in places, _limit(folder, settings, where), prefix, lower)


def _modules(folder: Path) -> Mapping[str, str]:
    """Return the modules of an encoder and their folders, by the last word of their type."""
    path = folder / MODULES
    if not path.is_file():
        return {"Transformer": "", "Pooling": "1_Pooling"} if (folder / "1_Pooling").is_dir() else {"Transformer": ""}
    listed = read_json(path)
    if not isinstance(listed, list) or not all(isinstance(one, dict) for one in listed):
        raise wrong("is no list of modules", path, HELP)
    kinds = [str(one.get("type", "")).rsplit(".", 1)[-1] for one in listed]
    for one, kind in zip(listed, kinds, strict=True):
        if kind not in KNOWN or not str(one.get("type")).startswith("sentence_transformers."):
            advice = f"only encoders made of {', '.join(KNOWN)} are read: no code of a folder is run"
            raise wrong(f"has the module {one.get('type')!r}", path, advice)
        if not isinstance(one.get("path", ""), str):
            raise wrong(f"the module {kind} has the path {one['path']!r}, expected a folder's name", path, HELP)
    order = [kinds.index(kind) if kinds.count(kind) == 1 else -1 for kind in KNOWN[: len(kinds)]]
    if order != list(range(len(kinds))):
        raise wrong(f"the modules are {', '.join(kinds)}", path, f"expected {', '.join(KNOWN)}, the last one or not")
    if listed[0].get("path"):
        advice = "save the encoder again: sentence-transformers puts the model beside modules.json"
        raise wrong(f"the model is in {listed[0]['path']!r}", path, advice)
    return {kind: str(one.get("path", "")) for one, kind in zip(listed, kinds, strict=True)}


def _pooling(folder: Path, name: str) -> str:
    """Return the one pooling that a configuration names."""
    where = inside(folder, f"{name}/config.json", folder / MODULES)
    given = object_of(where, "how tokens are pooled")
    named = given.get("pooling_mode")
    modes = [mode for key, mode in LEGACY.items() if given.get(key)] if named is None else named
    modes = [modes] if isinstance(modes, str) else modes
    if not isinstance(modes, list) or len(modes) != 1 or modes[0] not in POOLINGS:
        raise wrong(f"pools by {modes!r}", where, f"only one of {', '.join(POOLINGS)} is read")
    if given.get("include_prompt", True) is not True:
        raise wrong("leaves the prompt out of the pooling (include_prompt)", where, "such an encoder is not read")
    return str(modes[0])


def _settings(folder: Path) -> tuple[Mapping[str, Any], Path]:
    for name in SETTINGS:
        if (folder / name).is_file():
            return object_of(folder / name, ""), folder / name
    return {}, folder / SETTINGS[0]


def _limit(folder: Folder, settings: Mapping[str, Any], where: Path) -> int | None:
    given = settings.get("max_seq_length")
    if given is None:
        return folder.longest
    if type(given) is not int or given < 1:
        raise wrong(f"max_seq_length is {given!r}, expected a whole number of tokens from 1", where, HELP)
    if folder.positions is not None and given > folder.positions:
        raise wrong(f"max_seq_length is {given:,}, the model takes {folder.positions:,} tokens", where, HELP)
    return int(given)


def _prefix(folder: Path) -> str:
    """Return the prompt that the folder puts before texts by default."""
    path = folder / "config_sentence_transformers.json"
    given = object_of(path, "") if path.is_file() else {}
    name, prompts = given.get("default_prompt_name"), given.get("prompts") or {}
    if name is None:
        return ""
    if not isinstance(prompts, dict) or not isinstance(prompts.get(name), str):
        raise wrong(f"default_prompt_name is {name!r}, which is none of its prompts", path, HELP)
    return str(prompts[name])
