"""From a name in a suite to a reward that can be built: catalogue, ``file.py:name``, ``module:name``."""

from __future__ import annotations

import hashlib
import importlib
import importlib.util
import json
import os
import sys
from dataclasses import dataclass, field, replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import content, fitted, guard, options
from rmbench.api import NAME, Reward, Unscored
from rmbench.errors import InputError, PluginError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.plugins import Catalog
    from rmbench.recipes import Recipe

COLUMNS = ("references", "contexts", "scores", "labels", "messages", "prompts", "responses", "languages", "meta")


@dataclass(frozen=True, slots=True)
class Chosen:
    """A reward of a suite: its name there, what it is, its options, and where it came from.

    ``source`` is how a worker finds it again (``catalog``, ``file``, ``module`` or ``inline``);
    ``digest`` the sha256 of an ad-hoc file, ``contents`` that of what each option that is a path names.
    ``oracle``: it reads the labels, or uses a reward that is one (known once ``suite.waves`` has ordered the rewards).
    ``recipe``: how it is fitted, for a [[reward_model]] of the suite; its checkpoint becomes the option ``path``.
    """

    name: str
    use: str
    reward: Reward
    options: Mapping[str, Any]
    needs: frozenset[str]
    uses: tuple[str, ...]
    source: str
    plugin: str = ""
    distribution: str = ""
    distribution_version: str = ""
    digest: str = ""
    null: bool = False
    oracle: bool = False
    contents: Mapping[str, str] = field(default_factory=dict)
    facts: tuple[str, ...] = ()
    recipe: Recipe | None = None

    @property
    def labelled(self) -> bool:
        """Whether its batches hold the labels: a composite of an oracle is one too, but sees scores only."""
        return "labels" in self.needs

    def signature(self, *, backends: bool = True) -> str:
        """``name@version``, the options that differ from the default, the digest and backends' versions."""
        if self.recipe is not None:
            return self.recipe.signature(backends=backends)
        changed = options.changed(self.reward.build, self.options)
        words = [f"{self.reward.name}@{self.reward.version}"]
        words += [f"{key}:{self._word(key, value)}" for key, value in changed.items()]
        words += [fact.replace("|", "/") for fact in self.facts]
        words += [f"file:{self.digest[:8]}"] if self.digest else []
        words += versions(self.reward.backends) if backends else []
        return "|".join(words)

    def _word(self, key: str, value: Any) -> str:
        return option_word(key, value, self.contents)


def option_word(key: str, value: Any, contents: Mapping[str, str]) -> str:
    """Write an option: a path by its last name and what it holds, never by where it lies."""
    return f"{options.word(Path(value).name)}#{contents[key][:8]}" if key in contents else options.word(value)


def versions(distributions: Sequence[str]) -> list[str]:
    """Return ``name:version`` of each."""
    return [f"{name}:{_version(name)}" for name in distributions]


def defined(chosen: Chosen, by_name: Mapping[str, Chosen], say: Callable[[Chosen], str] | None = None) -> str:
    """Return a reward's own signature with those of the rewards that it uses, and that these use; ``say`` gives one."""
    own = chosen.signature() if say is None else say(chosen)
    used = [f"uses:{name}=({defined(by_name[name], by_name, say).replace('|', ' ')})" for name in chosen.uses]
    return "|".join([own, *used])


def meaning(chosen: Chosen, by_name: Mapping[str, Chosen]) -> str:
    """Return ``defined`` without versions of backends, and of a fitted model how it was fitted, not where it lies."""
    return defined(chosen, by_name, _meaning)


def _meaning(chosen: Chosen) -> str:
    if chosen.use == "fitted" and chosen.recipe is None:
        return fitted.inspect(chosen.options["path"]).signature
    return chosen.signature(backends=False)


def _version(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "none"


def from_callable(function: Callable[..., Any], name: str | None = None) -> Reward:
    """Make a reward of a bare scorer ``(batch) -> scores``; its name is the function's, made legal."""
    # a functools.partial or an object has no __name__: its class names it
    own = name or (function.__name__ if isinstance(function, type(from_callable)) else type(function).__name__)

    def build() -> Any:
        return function

    build.__doc__ = function.__doc__
    return Reward(name=legal_name(own), version=0, build=build)


def legal_name(name: str) -> str:
    """Return a name as a reward may have it: lower case, hyphens for what it may not hold, "reward" for nothing."""
    legal = "".join(c if c.isalnum() or c in "._+-" else "-" for c in name.lower()).strip("._+-") or "reward"
    return legal if NAME.fullmatch(legal) else "reward"


def _module_from(path: Path) -> Any:
    name = f"rmbench_file_{path.stem}_{hashlib.sha256(str(path).encode()).hexdigest()[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise InputError(f"{path} is no Python file", help="name it as path/to/file.py:function")
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module
    with guard.stdout_to_stderr():
        guard.call(spec.loader.exec_module, module)
    return module


def _attribute(module: Any, name: str, where: str) -> Reward:
    public = {key: value for key, value in vars(module).items() if not key.startswith("_")}
    if name not in public:
        from rmbench.errors import did_you_mean

        raise InputError(f"{where} has nothing called {name!r}", help=did_you_mean(name, public))
    value = public[name]
    if isinstance(value, Reward):
        return value
    if callable(value):
        return from_callable(value, name)
    raise InputError(f"{where}:{name} is a {type(value).__name__}, expected a function (batch) -> scores or a Reward")


def load_file(path: Path, name: str) -> Reward:
    """Import a Python file and return the scorer or Reward of this name in it."""
    if not path.is_file():
        raise InputError(f"no file {guard.plain(str(path))}", help="the path is relative to the suite file")
    try:
        return _attribute(_module_from(path), name, str(path))
    except guard.Foreign as error:
        raise PluginError(
            f"importing it raised {error}", where=str(path), help="run it with python to see why"
        ) from error


def load_module(module: str, name: str) -> Reward:
    """Import ``package.module`` and return the scorer or Reward of this name in it."""
    if "" not in sys.path:
        sys.path.insert(0, "")
    try:
        with guard.stdout_to_stderr():
            loaded = guard.call(importlib.import_module, module)
    except guard.Foreign as error:
        if error.kind == "ModuleNotFoundError":
            raise InputError(
                f"no module {module!r}: {error.message}", help="install it, or name a file: path/file.py:name"
            ) from error
        raise PluginError(
            f"importing {module} raised {error}", help=f"run `python -c 'import {module}'` to see why"
        ) from error
    return _attribute(loaded, name, module)


def _names(of: Any, given: Mapping[str, Any], where: str, name: str) -> tuple[str, ...]:
    """Resolve a reward's ``needs``, ``uses`` or ``facts``, which may be functions of the options."""
    if not callable(of):
        return tuple(of)
    try:
        return tuple(guard.call(of, **given))
    except guard.Foreign as error:
        raise InputError(
            f"options of reward {name!r}: {error.message}", where=where, help=f"see `rmbench show {name}`"
        ) from error


def choose(catalog: Catalog, entry: Mapping[str, Any], *, base: Path, where: str) -> Chosen:
    """Resolve one reward of a suite: ``{"use", "name", "options"}``.

    Args:
        catalog: what the plugins give.
        entry: ``use`` is a name, ``distribution:name``, ``file.py:name``, ``package.module:name`` or, in
            Python, a callable or ``Reward``.
        base: folder that a file is relative to.
        where: place for errors.
    """
    entry = _as_checkpoint(catalog, entry, base)
    use = entry["use"]
    found = find(catalog, use, base)
    reward = found.reward
    name = entry.get("name", use if found.source == "catalog" else reward.name)
    given = options.check(str(name), reward.build, entry.get("options", {}), where=where)
    given, paths = placed(reward.build, given, base)
    contents_of(str(name), given, paths, where, read=False)
    needs = frozenset(_names(reward.needs, given, where, str(name)))
    if wrong := needs - set(COLUMNS):
        raise PluginError(
            f"reward {name!r} needs {sorted(wrong)}, which are no batch columns: {', '.join(COLUMNS)}", where=where
        )
    uses = _names(reward.uses, given, where, str(name))
    facts = _names(reward.facts, options.typed(reward.build, given), where, str(name))
    contents = contents_of(str(name), given, paths, where, read=True)  # last: a wrong folder may be a whole disk
    return replace(
        found,
        name=str(name) if "name" in entry else str(name).rpartition(":")[2],
        options=given,
        contents=contents,
        facts=facts,
        needs=needs,
        uses=uses,
        oracle="labels" in needs,
    )


def _as_checkpoint(catalog: Catalog, entry: Mapping[str, Any], base: Path) -> Mapping[str, Any]:
    """Return the entry of a folder as one of the reward ``fitted``, any other as it is."""
    use = entry["use"]
    if not isinstance(use, str) or use in catalog.rewards or ":" in use:
        return entry
    if not guard.exists(base / use) and os.sep in use:
        raise InputError(f"no folder {guard.plain(use)!r}", help="the folder of a fit, such as RUN/training/NAME")
    if not guard.exists(base / use) or not (base / use).is_dir():
        return entry
    fitted.inspect(base / use)  # says what the folder is, where it is no checkpoint
    own = Path(use).name
    return {
        "name": own if NAME.fullmatch(own) else legal_name(own),
        **entry,
        "use": "fitted",
        "options": {**entry.get("options", {}), "path": use},
    }


def placed(build: Callable[..., Any], given: Mapping[str, Any], base: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the options with paths made absolute, and which ones are paths."""
    named = options.paths(build, given)
    places = {key: base / Path(given[key]).expanduser() for key in named}
    # abspath: resolve() would follow links
    return {**given, **{key: os.path.abspath(place) for key, place in places.items()}}, named  # noqa: PTH100


def contents_of(name: str, given: Mapping[str, Any], keys: Sequence[str], where: str, *, read: bool) -> dict[str, str]:
    """Return the sha256 of what each path names; without ``read`` only see that it is there."""
    contents: dict[str, str] = {}
    for key in keys:
        path = Path(given[key])
        try:
            contents[key] = content.digest(path) if read else str(path.stat().st_size)
        except OSError as error:
            raise InputError(
                f"option {name}.{key}: cannot read {guard.plain(str(path))!r}: {error.strerror}", where=where,
                help="a path is relative to the suite file; with -o, to the working directory",
            ) from error  # fmt: skip
    return contents


def find(catalog: Catalog, use: Any, base: Path) -> Chosen:
    """Return the reward that ``use`` names, before any options."""
    blank: dict[str, Any] = {"options": {}, "needs": frozenset(), "uses": ()}
    if not isinstance(use, str):
        reward = use if isinstance(use, Reward) else from_callable(use)
        return Chosen(reward.name, reward.name, reward, source="inline", **blank)
    left, _, right = use.rpartition(":")
    if left.endswith(".py"):
        path = (base / left).resolve()
        reward = load_file(path, right)
        digest = hashlib.sha256(path.read_bytes()).hexdigest()
        return Chosen(
            reward.name, f"{path}:{right}", reward, source="file", plugin=Path(left).name, digest=digest, **blank
        )
    if left and left not in {p.distribution for p in catalog.plugins}:
        return Chosen(right, use, load_module(left, right), source="module", plugin=left, **blank)
    provided = catalog.find("reward", use)
    who = provided.plugin
    return Chosen(
        right, use, provided.value, source="catalog", plugin=who.name, distribution=who.distribution,
        distribution_version=who.version, **blank,
    )  # fmt: skip


def entry_of(chosen: Chosen) -> dict[str, Any] | None:
    """Return how a suite names a reward of the catalogue, None where files of the user's are part of it."""
    if chosen.source != "catalog" or chosen.recipe is not None or chosen.contents:
        return None
    return {"use": chosen.reward.name, "name": chosen.name, "options": dict(chosen.options)}


def _entry_in(found: fitted.Fitted, name: str) -> dict[str, Any] | None:
    """Return how a checkpoint says that a reward it uses is named; never a file or module, nor a path among options."""
    entry = found.entries.get(name)
    if not isinstance(entry, dict) or not isinstance(entry.get("options"), dict):
        return None
    use = entry.get("use")
    return (
        {"use": use, "name": name, "options": entry["options"]}
        if isinstance(use, str) and NAME.fullmatch(use)
        else None
    )


def choose_used(catalog: Catalog, name: str, user: Chosen, *, base: Path, where: str) -> Chosen:
    """Resolve a reward that another uses: of a checkpoint, a reward model fitted beside it goes before other names."""
    if user.use == "fitted" and "path" in user.options:
        place = fitted.beside(Path(user.options["path"]), name)
        if place is not None:
            return choose(
                catalog, {"use": "fitted", "name": name, "options": {"path": str(place)}}, base=base, where=where
            )
        found = fitted.inspect(user.options["path"])
        entry = _entry_in(found, name)
        if entry is not None and entry["use"] in catalog.rewards:
            reward: Reward = catalog.find("reward", entry["use"]).value
            if not options.paths(reward.build, entry["options"]):
                return choose(catalog, entry, base=base, where=where)
        if name not in catalog.rewards:
            then = found.uses[name]
            raise InputError(
                f"learnt from the scores of {name} = {then}, and no reward is called so here",
                where=str(user.options["path"]),
                help=f'name it so in a suite: rewards = [{{ use = "...", name = "{name}" }}, "RUN/training/NAME"]',
            )  # fmt: skip
    return choose(catalog, {"use": name}, base=base, where=where)


def check_used(chosen: Chosen, by_name: Mapping[str, Chosen]) -> None:
    """Raise where the rewards that a checkpoint reads here are not those that it was fitted on."""
    if chosen.use != "fitted" or chosen.recipe is not None:
        return
    found = fitted.inspect(chosen.options["path"])
    for name, then in found.uses.items():
        now = meaning(by_name[name], by_name)
        if now != then:
            raise InputError(
                f"was fitted on the scores of {name} = {then}; here {name} = {now}", where=str(found.folder),
                help=f"give {name} the options it had, or fit again",
            )  # fmt: skip


def is_oracle(catalog: Catalog, reward: Reward, above: frozenset[str] = frozenset()) -> bool | None:
    """Whether a reward reads the labels, itself or through one that it uses; None where its options decide.

    Args:
        catalog: where the rewards that it uses are found.
        reward: the reward, without options.
        above: names of the rewards that use it, which ends a circle.
    """
    if not callable(reward.needs) and "labels" in reward.needs:
        return True
    open_ = callable(reward.needs) or callable(reward.uses)
    names = () if callable(reward.uses) else tuple(reward.uses)
    for name in names:
        if name not in above and len(catalog.rewards.get(name, ())) == 1:
            used = is_oracle(catalog, catalog.rewards[name][0].value, above | {reward.name})
            if used:
                return True
            open_ = open_ or used is None
    return None if open_ else False


def fingerprint(value: Any) -> str:
    """Return the sha256 of a JSON value in canonical form."""
    text = json.dumps(value, sort_keys=True, ensure_ascii=True, allow_nan=False, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def default_unscored(chosen: Chosen, suite: Unscored | None) -> Unscored:
    """How rows without a score count: the suite's word, else the reward's own."""
    return suite or chosen.reward.unscored
