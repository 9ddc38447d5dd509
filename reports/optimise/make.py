"""Train policies on rewards and write this folder: python reports/optimise/make.py [--data-dir D] [--work W] [--quick].

README.md (words and tables), a figure for each set of curves, headlines.csv, manifest.json. No text of the data sets is
in any of them. Runs are kept in --work: what was interrupted goes on. --quick only shows that everything runs.
"""

from __future__ import annotations

import argparse
import csv
import json
import os
import re
import sys
import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(HERE))

import page  # noqa: E402 - from this folder

import rmbench  # noqa: E402
from rmbench.store import write_whole  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

PARTS = ("translation", "best-of-n", "summarization", "dialogue")
KEPT = ("schema", "name", "suite", "resolved", "versions", "device", "problems", "warnings", "fingerprint")
QUICK = {"steps": 2, "evaluations": 1, "evaluation_prompts": 2}  # of every trainer that has them
QUICK_LIMIT, QUICK_N, QUICK_SEEDS = 6, 4, 2
CSV = "part system trainer policy reward seed metric aspect against value low high n"
TOLD = (
    "mean", "interquartile-mean", "gain", "interquartile-gain", "probability-of-improvement", "judged-gain", "hacked",
    "kl", "length", "tokens", "finished", "distinct-2", "bleu", "chrf", "rouge-1", "rouge-2", "rouge-l",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Place:
    """Where things are, and whether all of it is done."""

    data: Path
    work: Path
    quick: bool


def run(part: str, place: Place) -> rmbench.Run:
    """Run a suite of this folder, go on with it, or find it finished.

    Raises:
        SystemExit: a training failed, a row did, or a check.
    """
    suite = tomllib.loads((HERE / f"{part}.toml").read_text(encoding="utf-8"))
    if place.quick:
        suite = quick(suite)
    found = rmbench.run(suite, out=place.work / part, resume=True, data_dir=place.data)
    if found.exit_code:
        manifest = found.manifest
        failures = [f"{name}: {why}" for name, why in manifest["failures"].items()]
        raise SystemExit("\n".join([f"{found.folder} has problems:", *manifest["problems"], *failures]))
    print(f"{part}: done", flush=True)
    return found


def quick(suite: Mapping[str, Any]) -> dict[str, Any]:
    """Return a suite that shows that everything runs, and nothing else."""

    def short(entry: Mapping[str, Any]) -> dict[str, Any]:
        given = entry.get("trainer_options", {})
        fewer = {key: min(value, QUICK[key]) if key in QUICK else value for key, value in given.items()}
        return {**entry, "trainer_options": fewer | ({"n": QUICK_N} if "n" in fewer else {})}

    models = [{**one, "options": {**one["options"], "steps": 10}} for one in suite.get("reward_model", ())]
    return {
        **suite, "limit": QUICK_LIMIT, "seeds": suite["seeds"][:QUICK_SEEDS], "reward_model": models,
        "policy": [short(one) for one in suite["policy"]], "train": [short(one) for one in suite["train"]],
    }  # fmt: skip


def headlines(runs: Mapping[str, rmbench.Run]) -> Iterator[list[object]]:
    """Yield a line of headlines.csv for each number of a policy, of each seed and over them."""
    for part, found in runs.items():
        for row in found.rows:
            if row.study == "optimise" and row.metric in TOLD and row.step is None:
                low, high = row.ci or (None, None)
                yield [
                    part, row.system, row.trainer, row.policy, row.reward, row.seed, row.metric, row.aspect,
                    row.against, row.value, low, high, row.n,
                ]  # fmt: skip


def write(runs: Mapping[str, rmbench.Run], out: Path) -> None:
    """Write the folder."""
    told = page.page(runs)
    write_whole(out / "README.md", told.words.encode())
    for name, svg in told.figures.items():
        white = re.sub(r"(<svg[^>]*>)", r'\1<rect width="100%" height="100%" fill="white"/>', svg, count=1)
        write_whole(out / name, white.replace("currentColor", "#222222").encode())
    with (out / "headlines.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(CSV.split())
        writer.writerows(headlines(runs))
    kept = {part: {key: found.manifest.get(key) for key in KEPT} for part, found in runs.items()}
    write_whole(out / "manifest.json", (json.dumps(kept, indent=1, sort_keys=True) + "\n").encode())


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data-dir", default=os.environ.get("RMBENCH_DATA", REPO.parent / "shared" / "data"))
    parser.add_argument("--work", default=REPO / "runs" / "optimise", help="folder of the runs")
    parser.add_argument("--out", default=HERE, help="folder of the page")
    parser.add_argument("--only", choices=PARTS, action="append", help="of the parts, only this one")
    parser.add_argument("--quick", action="store_true", help="a few steps of everything")
    given = parser.parse_args()
    place = Place(Path(given.data_dir), Path(given.work), given.quick)
    out = Path(given.out)
    if given.quick and out.resolve() == HERE:
        parser.error("--quick writes numbers that say nothing: give it another --out")
    out.mkdir(parents=True, exist_ok=True)
    place.work.mkdir(parents=True, exist_ok=True)
    write({part: run(part, place) for part in PARTS if not given.only or part in given.only}, out)
    print(f"wrote {out}")


if __name__ == "__main__":
    main()
