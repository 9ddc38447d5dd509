"""The studies: rows of a run folder -> numbers. Nothing here scores, and nothing needs the plugins."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from rmbench.api import FAILED, Metric, Result
from rmbench.errors import RunFolderError
from rmbench.parts import load, score_folder
from rmbench.studies.agree import agree, canaries
from rmbench.studies.corpus import corpus
from rmbench.studies.optimise import optimise
from rmbench.studies.optimise_predict import predictions
from rmbench.studies.score import score

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rmbench.store import RunFolder
    from rmbench.studies.rows import Rows


def compute(
    run: RunFolder,
    manifest: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    tell: Callable[[str], None] = lambda _: None,
) -> tuple[list[Result], list[str]]:
    """Compute every number of a run from its rows.

    Args:
        run: the run folder, complete.
        manifest: its manifest.
        metrics: statistics that plugins give, by name.
        tell: called with the task that is being worked on.

    Returns:
        The results in a fixed order, and what is wrong with the scores, in words.
    """
    resolved = manifest["resolved"]
    results: list[Result] = []
    problems: list[str] = []
    for task in resolved["tasks"]:
        tell(task["name"])
        rows = load(run, manifest, task)
        results += score(rows)
        results += corpus(rows)
        if "agree" in resolved["studies"]:
            results += agree(rows, resolved["metrics"], metrics)
        if "optimise" in resolved["studies"]:
            results += optimise(run, manifest, rows)
        results += canaries(rows)
        results += stored_canaries(run, rows)
        named = {name: who(manifest, name) for name in rows.rewards}
        problems += [*failed(rows, named), *unscored(rows, manifest["max_unscored"], named)]
    results += predictions(results, seed=resolved["seeds"][0])
    problems += [
        f"canary {r.metric} of {who(manifest, str(r.reward))} on {r.task}: {r.reason}"
        for r in results
        if r.study == "canary" and r.reason
    ]
    return results, problems


def who(manifest: Mapping[str, Any], reward: str) -> str:
    """Return a reward's name, and of one that another distribution gives, that and its version."""
    for entry in manifest["resolved"]["rewards"]:
        if entry["name"] == reward and entry["distribution"] not in ("", "rmbench"):
            return f"reward {reward} ({entry['distribution']} {entry['distribution_version']})"
    return f"reward {reward}"


def stored_canaries(run: RunFolder, rows: Rows) -> Iterator[Result]:
    """Yield what the engine saw when it scored a few rows again."""
    for name, scored in rows.rewards.items():
        path = run.path / score_folder(rows.task, name) / "canary.json"
        if scored.column is None or not path.is_file():
            continue
        try:
            outcome = json.loads(path.read_bytes())
        except ValueError as error:
            raise RunFolderError(
                f"is damaged: {error}", where=str(path), help="rmbench run --resume redoes it"
            ) from error
        for metric, (value, reason) in outcome.items():
            yield Result(
                study="canary", metric=metric, task=rows.task, kind=rows.kind, split=rows.split, reward=name,
                value=value, reason=reason, signature=scored.signature,
            )  # fmt: skip


def failed(rows: Rows, named: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for every reward that raised, hung or died on rows of this task."""
    for name, scored in rows.rewards.items():
        reasons = scored.column.reasons.values() if scored.column is not None else ()
        if lost := sum(reason.startswith(FAILED) for reason in reasons):
            yield f"{named[name]}: {lost} row{'s' if lost > 1 else ''} failed on {rows.task}"


def unscored(rows: Rows, share: float, named: Mapping[str, str]) -> Iterator[str]:
    """Yield a sentence for every reward with more unscored rows than ``share`` on this task.

    A reward that answers None on every row has nothing to say on this task, which is no fault.
    """
    for name, scored in rows.rewards.items():
        if scored.column is None:
            continue
        missing = int((~scored.column.ok).sum())
        reasons = sorted(set(scored.column.reasons.values()))
        if missing == len(scored.column.ok) and reasons == ["the reward gave None"]:
            continue
        if missing > share * len(scored.column.ok):
            told = "; ".join(reasons[:3])
            yield f"{named[name]} left {missing} of {len(scored.column.ok)} rows of {rows.task} unscored ({told})"
