"""What decides a policy of a suite, in words: records, signatures, names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench import fitter, judgements, options, rewards

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rmbench.entries import Entry
    from rmbench.plugins import Provided
    from rmbench.rewards import Chosen


def record(entry: Entry, entries: Mapping[str, Entry], by_name: Mapping[str, Chosen]) -> dict[str, Any]:
    """Return what decides an entry, its start within it."""
    policy, trainer = entry.policy, entry.trainer
    start = entries[entry.start] if entry.start else None
    return {
        "name": entry.name, "policy": _who(policy),
        "options": _words(policy.value.options, entry.options, entry.contents),
        "trainer": None if trainer is None else _who(trainer),
        "trainer_options": {} if trainer is None else _words(trainer.value.options, entry.trainer_options, {}),
        "task": judgements.label(entry.task, entry.sha256) if entry.sha256 else entry.task.name,
        "sha256": dict(entry.sha256), "reward": _meaning(entry.reward, by_name),
        "judges": {name: _meaning(name, by_name) for name in entry.judges},
        "best_by": _meaning(entry.options.get("best_by") or None, by_name),
        "start": None if start is None else record(start, entries, by_name),
    }  # fmt: skip


def _meaning(name: str | None, by_name: Mapping[str, Chosen]) -> str | None:
    return None if name is None else rewards.meaning(by_name[name], by_name)


def _who(provided: Provided[Any]) -> str:
    return f"{provided.plugin.distribution}:{provided.value.name}@{provided.value.version}"


def _words(record_of: Any, given: Mapping[str, Any], contents: Mapping[str, str]) -> dict[str, Any]:
    """Return the options that differ from the default, a path by its name and what it holds."""
    changed = options.changed(record_of, given)
    return {
        key: rewards.option_word(key, value, contents) if key in contents else value for key, value in changed.items()
    }


def signature(entry: Entry, entries: Mapping[str, Entry], by_name: Mapping[str, Chosen]) -> str:
    """Return what stands beside every number of a policy: what it is, how it was trained, on what, from what."""
    policy, trainer = entry.policy.value, entry.trainer
    own = _words(policy.options, entry.own if entry.start else entry.options, entry.contents)
    words = [f"{policy.name}@{policy.version}", *(f"{key}:{options.word(value)}" for key, value in own.items())]
    if trainer is not None:
        words.append(f"{trainer.value.name}@{trainer.value.version}")
        changed = _words(trainer.value.options, entry.trainer_options, {})
        words += [f"{key}:{options.word(value)}" for key, value in changed.items()]
        words.append(f"task:{judgements.label(entry.task, entry.sha256)}")
        words += ["seconds:not-reproducible"] if entry.trainer_options.get("seconds") is not None else []
    words += [f"reward:({(_meaning(entry.reward, by_name) or '').replace('|', ' ')})"] if entry.reward else []
    if entry.start:
        words.append(f"start:({signature(entries[entry.start], entries, by_name).replace('|', ' ')})")
    return "|".join(words)


def named(entry: Entry, data_seed: int) -> dict[str, Any]:
    """Return what the trainer process needs to find policy, trainer and data."""
    return {
        "name": entry.name, "where": entry.where, "policy": _plugin(entry.policy, entry.options),
        "trainer": None if entry.trainer is None else _plugin(entry.trainer, entry.trainer_options),
        "task": fitter.packed(entry.task), "data_seed": data_seed,
    }  # fmt: skip


def _plugin(provided: Provided[Any], given: Mapping[str, Any]) -> dict[str, Any]:
    who = provided.plugin
    return {
        "distribution": who.distribution, "plugin": who.name, "name": provided.value.name, "options": dict(given)
    }  # fmt: skip
