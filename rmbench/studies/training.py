"""What trainings took: seconds, rates and where the seconds went, as rows of measurements.json."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rmbench.api import Result
from rmbench.store import folder_name
from rmbench.studies.figures import finite, read_lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

TRAIN = "train"
STAGES = ("rollout", "scoring", "update", "overhead")
RATES = {"tokens-per-second": "tokens_per_second", "seconds": "seconds", "parameters": "parameters"}


def training(run: Path, manifest: Mapping[str, Any]) -> Iterator[Result]:
    """Yield, for each entry and seed that was trained: ``seconds``, ``tokens-per-second``, ``parameters``, ``steps``.

    ``seconds:STAGE`` and ``share:STAGE`` (of the seconds of all steps) for rollout, scoring, update and overhead;
    ``tokens`` generated and ``trained`` (tokens that gradients flowed through), over all steps. Of ``.measures.json``
    and ``.timings.jsonl``; what a trainer does not tell is left out.
    """
    for entry in manifest["resolved"].get("training", ()):
        for seed in entry.get("seeds") or (None,):
            place = run / "training" / folder_name(entry["name"])
            place = place if seed is None else place / f"seed-{seed}"
            row = Result(
                TRAIN, "", task=entry["task"], reward=entry.get("reward"), system=entry["name"],
                policy=entry.get("policy"), trainer=entry.get("trainer"), seed=seed,
            )  # fmt: skip
            told = {**_stages(place / ".timings.jsonl"), **_measures(place / ".measures.json")}
            yield from (replace(row, metric=metric, value=value) for metric, value in told.items())


def _measures(path: Path) -> dict[str, float]:
    try:
        read = json.loads(path.read_bytes())
    except (OSError, ValueError):  # an interrupted run may leave half of a file that nobody needs
        return {}
    given = read if isinstance(read, dict) else {}
    return {metric: value for metric, key in RATES.items() if (value := finite(given.get(key))) is not None}


def _stages(path: Path) -> dict[str, float]:
    """Return what all steps took together, by stage, and the share of each; rates of tokens where none are told."""
    lines = read_lines(path)
    if not lines:
        return {}
    sums = {key: sum(finite(line.get(key)) or 0.0 for line in lines) for key in (*STAGES, "tokens", "trained")}
    seconds = sum(sums[stage] for stage in STAGES)
    found = {"steps": float(len(lines)), "seconds": seconds, "tokens": sums["tokens"], "trained": sums["trained"]}
    if seconds > 0:
        found["tokens-per-second"] = (sums["tokens"] or sums["trained"]) / seconds
        for stage in STAGES:
            found |= {f"seconds:{stage}": sums[stage], f"share:{stage}": sums[stage] / seconds}
    return found
