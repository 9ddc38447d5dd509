"""What is known of a run before it begins: what can feed what, signatures, versions, identity."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
from dataclasses import replace
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import rewards, training_words
from rmbench.errors import InputError
from rmbench.options import takes_runtime
from rmbench.source import Source, missing_needs
from rmbench.store import SCHEMA, now
from rmbench.studies.rows import PROTOCOL
from rmbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rmbench.entries import Entry
    from rmbench.optimising import Trainings
    from rmbench.rewards import Chosen
    from rmbench.runs import Settings
    from rmbench.suite import Plan

CARD = ("signatures", "kind", "aspects", "main", "good", "languages")
THREADS = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS", "CUDA_VISIBLE_DEVICES")
BACKENDS = ("numpy", "scipy", "pandas", "pyarrow", "rouge-score", "sacrebleu", "torch", "transformers")


def skips(plan: Plan, sources: Sequence[Source]) -> dict[str, dict[str, str]]:
    """Return, by reward, the tasks that cannot feed it and why.

    Raises:
        InputError: no task of the suite can feed a reward that the suite names.
    """
    found: dict[str, dict[str, str]] = {}
    for wave in plan.waves:
        for chosen in wave:
            mine = {s.task.name: why for s in sources if (why := missing_needs(chosen.needs, s))}
            for name in chosen.uses:
                mine |= {task: f"uses {name}, which {why}" for task, why in found[name].items() if task not in mine}
            if len(mine) == len(sources) and not chosen.null:
                why = "; ".join(f"{task}: it {reason}" for task, reason in mine.items())
                raise InputError(
                    f"no task of the suite can feed the reward {chosen.name!r} ({why})",
                    help="leave it out, or add such data",
                )
            found[chosen.name] = mine
    return found


def feedable(plan: Plan, sources: Sequence[Source]) -> Plan:
    """Drop the rewards that no task can feed: for a default list that the user did not write."""
    dead = {c.name for c in plan.rewards if not c.null and all(missing_needs(c.needs, s) for s in sources)}
    while more := {c.name for c in plan.rewards if set(c.uses) & dead} - dead:
        dead |= more
    waves = tuple(tuple(c for c in wave if c.name not in dead) for wave in plan.waves)
    return replace(
        plan, waves=waves, warnings=tuple(f"reward {n} is left out: no task can feed it" for n in sorted(dead))
    )


def signature(chosen: Chosen, plan: Plan, source: Source, dtype: str = "float32") -> str:
    """Return what stands beside every number of a reward on a task; ``dtype`` is the run's."""
    by_name = {c.name: c for c in plan.rewards}
    words = [rewards.defined(chosen, by_name)]
    words += [source.label, f"protocol:{PROTOCOL}"]
    if plan.limit is not None or (takes_runtime(chosen.reward.build) and chosen.recipe is None):
        words.append(f"seed:{plan.seed}")
    if takes_runtime(chosen.reward.build) and dtype != "float32" and "dtype" not in chosen.options:
        words.append(f"dtype:{dtype}")
    words += [f"limit:{plan.limit}"] if plan.limit is not None else []
    words += ["unscored:exclude"] if rewards.default_unscored(chosen, plan.unscored) == "exclude" else []
    return "|".join(words)


def _task_entry(source: Source, plan: Plan, skipped: Mapping[str, Mapping[str, str]], dtype: str) -> dict[str, Any]:
    task = source.task
    return {
        "name": task.name, "version": task.version, "kind": source.kind, "split": "test", "label": source.label,
        "main": task.main, "main_from": source.main_from, "good": task.good, "aspects": list(task.aspects),
        "languages": list(task.languages), "description": task.description, "licence": task.licence,
        "source": task.source, "citation": task.citation,
        "rows": source.rows, "samples": source.samples, "sha256": {task.data["test"].name: source.sha256},
        "skips": {c.name: skipped[c.name][task.name] for c in plan.rewards if task.name in skipped[c.name]},
        "signatures": {c.name: signature(c, plan, source, dtype) for c in plan.rewards},
    }  # fmt: skip


def _reward_entry(chosen: Chosen, plan: Plan) -> dict[str, Any]:
    return {
        "name": chosen.name, "use": Path(chosen.use).name if chosen.source == "file" else chosen.use,
        "options": dict(chosen.options), "fitted": chosen.recipe is not None,
        "version": chosen.reward.version, "plugin": chosen.plugin,
        "distribution": chosen.distribution, "distribution_version": chosen.distribution_version,
        "sha256": chosen.digest, "uses": list(chosen.uses), "null": chosen.null, "oracle": chosen.oracle,
        "unscored": rewards.default_unscored(chosen, plan.unscored),
        "doc": (chosen.reward.build.__doc__ or "").strip().split("\n")[0],
        **({"recipe": chosen.recipe.record()} if chosen.recipe else {}),
    }  # fmt: skip


def _training_entry(entry: Entry, plan: Plan) -> dict[str, Any]:
    by_name = {chosen.name: chosen for chosen in plan.rewards}
    return {
        "name": entry.name, "kind": entry.kind, "use": entry.policy.value.name,
        "trainer": None if entry.trainer is None else entry.trainer.value.name, "policy": entry.start,
        "task": entry.task.name, "reward": entry.reward, "judges": list(entry.judges), "seeds": list(plan.seeds),
        "options": dict(entry.options), "trainer_options": dict(entry.trainer_options),
        "signature": training_words.signature(entry, plan.entries, by_name),
        "record": training_words.record(entry, plan.entries, by_name),
    }  # fmt: skip


def after_training(manifest: dict[str, Any], sources: Sequence[Source], trained: Trainings) -> dict[str, Any]:
    """Return the manifest with what came of the trainings: failures, notes, and the rows that there are now."""
    rows = {source.task.name: source.rows for source in sources}
    tasks = [{**task, "rows": rows[task["name"]]} for task in manifest["resolved"]["tasks"]]
    return {
        **manifest, "failures": {**manifest["failures"], **trained.failures},
        "resolved": {**manifest["resolved"], "tasks": tasks},
        "warnings": list(dict.fromkeys((*manifest["warnings"], *trained.notes))),
    }  # fmt: skip


def installed() -> dict[str, str]:
    """Return the versions of what the numbers may depend on."""
    found = {"rmbench": __version__, "python": platform.python_version()}
    for name in BACKENDS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _machine() -> dict[str, Any]:
    """Return what of the machine may move the last digits of a model's score."""
    return {
        "system": platform.system(), "processor": platform.machine(), "processors": os.cpu_count(),
        **{name: os.environ[name] for name in THREADS if name in os.environ},
    }  # fmt: skip


def _git() -> str | None:
    """Return the git revision of the working directory, with ``+`` where it has changes."""
    git = shutil.which("git")
    if git is None:
        return None
    try:
        head, dirty = (
            subprocess.run([git, *words], capture_output=True, text=True, timeout=5, check=False)  # noqa: S603 - our words
            for words in (("rev-parse", "HEAD"), ("status", "--porcelain"))
        )
    except (OSError, subprocess.TimeoutExpired):
        return None
    return (head.stdout.strip() + ("+" if dirty.stdout.strip() else "")) if head.returncode == 0 else None


def _plain_entry(entry: Any) -> Any:
    """Return a suite's reward entry as JSON: a callable by its name."""
    if isinstance(entry, dict):
        return {key: _plain_entry(value) if key == "use" else value for key, value in entry.items()}
    return (
        entry
        if isinstance(entry, str)
        else f"<python object {rewards.from_callable(entry).name if callable(entry) else entry.name}>"
    )


def make_manifest(plan: Plan, sources: Sequence[Source], settings: Settings) -> dict[str, Any]:
    """Return the manifest of a run that begins now."""
    skipped = skips(plan, sources)
    resolved = {
        "tasks": [_task_entry(source, plan, skipped, settings.dtype) for source in sources],
        "rewards": [_reward_entry(chosen, plan) for chosen in plan.rewards],
        "studies": list(plan.studies), "metrics": None if plan.metrics is None else list(plan.metrics),
        "seeds": list(plan.seeds), "limit": plan.limit, "unscored": plan.unscored, "timeout": plan.timeout,
        **({"training": [_training_entry(entry, plan) for entry in plan.entries.values()]} if plan.entries else {}),
    }  # fmt: skip
    return {
        "schema": SCHEMA, "name": plan.name, "status": "running",
        "suite": {**plan.given, "rewards": [_plain_entry(entry) for entry in plan.given["rewards"]]},
        "kind": plan.kind, "base": str(plan.base.resolve()),
        "data_dir": str(plan.data_dir.resolve()) if plan.data_dir else None,
        "resolved": resolved, "identity": identity(resolved),
        "fingerprint": rewards.fingerprint(identity(resolved)),
        "versions": installed(), "machine": _machine(), "git": _git(), "device": settings.device,
        "command": settings.command, "started": now(), "finished": None, "max_unscored": settings.max_unscored,
        "warnings": [f"task {s.task.name}: {w}" for s in sources for w in s.warnings],
        "failures": {}, "problems": [],
    }  # fmt: skip


def about(manifest: Mapping[str, Any]) -> dict[str, Any]:
    """Return what results.json says of its run."""
    resolved = manifest["resolved"]
    return {
        "name": manifest["name"], "fingerprint": manifest["fingerprint"], "protocol": PROTOCOL,
        "seeds": list(resolved["seeds"]), "limit": resolved["limit"],
    }  # fmt: skip


def identity(resolved: Mapping[str, Any]) -> dict[str, Any]:
    """Return what makes two runs the same run: everything that a number depends on."""
    named = {f"task {task['name']}": {key: task[key] for key in CARD} for task in resolved["tasks"]}
    who = {
        f"reward {r['name']}": [r["distribution"], r["distribution_version"], r["sha256"]] for r in resolved["rewards"]
    }
    rules = {key: resolved[key] for key in ("studies", "metrics", "seeds", "limit", "unscored")}
    trained = {f"policy {entry['name']}": entry["record"] for entry in resolved.get("training", ())}
    return {**named, **who, **trained, **rules}
