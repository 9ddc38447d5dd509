"""Fit reward models on five folds of each data set and write this folder: python reports/reward-models/make.py.

README.md (words and tables), headlines.csv, curves.svg, trl_pair.json, manifest.json. No text of the data sets is in
any of them. Work is kept in --work: what was interrupted goes on. --quick only shows that everything runs.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path.insert(0, str(HERE))

import curves  # noqa: E402 - from this folder
import findings  # noqa: E402
import fits  # noqa: E402
import folds  # noqa: E402
import page  # noqa: E402
import recipes  # noqa: E402
from fits import Fold, Place, Set  # noqa: E402

from rmbench.content import digest  # noqa: E402
from rmbench.store import write_whole  # noqa: E402

if TYPE_CHECKING:
    import rmbench

ARCHITECTURES = ("linear", "mlp", "lstm", "transformer")
QUICK = recipes.Effort(folds=2, curve_folds=2, samples=30, steps=2, sets=("hh-harmless", "summeval"))


def board(found: Set, parts: Sequence[Fold], place: Place) -> tuple[findings.Board, rmbench.Run]:
    """Measure the held-out scores of a data set."""
    run = fits.measured(found, {"": parts}, place, found.made.name)
    resolved = run.manifest["resolved"]
    nulls = [reward["name"] for reward in resolved["rewards"] if reward["null"]]
    columns = recipes.columns_of(parts[0].entries)
    main = resolved["tasks"][0]["main"]
    return findings.board(run.rows, main, columns=columns, nulls=nulls, costs=fits.costs(parts)), run


def curve(found: Set, whole: Sequence[Fold], place: Place) -> tuple[list[curves.Point], float]:
    """Fit on growing shares of the training prompts; return accuracy on the same held-out prompts, and length's.

    Of the first folds only: it takes as long as all else on this data set.
    """
    numbers = range(place.effort.curve_folds)
    parts = {
        f"-{share}": [fits.fold(found, number, place, share) for number in numbers]
        for share in recipes.SHARES
        if share != "all"
    }
    parts["-all"] = [Fold(one.run, recipes.of_curve(one.entries)) for one in whole[: len(numbers)]]
    run = fits.measured(fits.held_out(found, numbers, place), parts, place, f"{found.made.name}-curve")
    values = findings.headlines(run.rows, run.manifest["resolved"]["tasks"][0]["main"])
    points = []
    for architecture in ARCHITECTURES:
        for share, part in recipes.SHARES.items():
            row = values.get(f"{architecture}-bt-{share}")
            if row is not None and row.value is not None:
                low, high = row.ci or (row.value, row.value)
                points.append(curves.Point(architecture, prompts(found, part, place), row.value, low, high))
    return points, values[findings.baseline(values)].value or 0.0


def prompts(found: Set, share: float, place: Place) -> float:
    """Return how many prompts a fold learns from at a share, mean over the folds."""
    parts = [fits.cut(found, number, place, share) for number in range(place.effort.curve_folds)]
    return fmean(len({row["prompt"] for row in part.train}) for part in parts)


def trl(place: Place, out: Path) -> Mapping[str, Any] | None:
    """Run the comparison with TRL once, and return what it wrote; None where it is not there or failed."""
    script, kept = HERE / "trl_pair.py", place.work / "trl_pair.json"
    if not script.is_file() and not kept.is_file():
        return None
    if not kept.is_file():
        environment = {**os.environ, "RMBENCH_DATA": str(place.data)}
        done = subprocess.run(  # noqa: S603 - our own script
            [sys.executable, str(script), "--out", str(kept)], check=False, env=environment
        )
        if done.returncode and kept.is_file():
            raise SystemExit("trl_pair.py: the losses differ")
        if done.returncode:
            print(f"trl_pair.py ended with {done.returncode}", flush=True)
            return None
    write_whole(out / "trl_pair.json", kept.read_bytes())
    found: Mapping[str, Any] = json.loads(kept.read_bytes())
    return found


def manifest(runs: Mapping[str, rmbench.Run], entries: Mapping[str, Sequence[recipes.Table]], place: Place) -> bytes:
    """Return what the numbers depend on, without places and times."""
    made = {each.name: each for each in folds.SETS if each.name in runs}
    about = {
        "command": page.SCRIPT,
        "data": {name: {path.name: digest(path) for path in each.files(place.data)} for name, each in made.items()},
        "encoder": None if place.effort.encoder is None else digest(place.effort.encoder),
        "fingerprints": {name: run.manifest["fingerprint"] for name, run in runs.items()},
        "folds": {
            "count": place.effort.folds,
            "seed": fits.SEED,
            "groups": {each.name: each.group for each in made.values()},
        },
        "settings": recipes.described(entries),
        "versions": next(iter(runs.values())).manifest["versions"],
    }
    return (json.dumps(about, indent=1, sort_keys=True) + "\n").encode()


def make(place: Place, out: Path, *, with_trl: bool) -> None:
    """Do everything and write the folder."""
    sets = {made.name: fits.read(made, place) for made in folds.SETS if made.name in place.effort.sets}
    parts = {
        name: [fits.fold(found, number, place) for number in range(place.effort.folds)] for name, found in sets.items()
    }
    boards: dict[str, findings.Board] = {}
    runs: dict[str, rmbench.Run] = {}
    for name, found in sets.items():
        boards[name], runs[name] = board(found, parts[name], place)
    points: list[curves.Point] = []
    shown = recipes.CURVE_SET
    if shown in sets:
        points, length = curve(sets[shown], parts[shown], place)
        steps = [step for name in ARCHITECTURES for step in curves.by_step(name, fits.logs(parts[shown], f"{name}-bt"))]
        write_whole(out / "curves.svg", curves.draw(points, steps, length).encode())
    told = page.Contents(
        boards=list(boards.values()),
        sizes={name: (len(one.rows), sum(len(row["candidates"]) for row in one.rows)) for name, one in sets.items()},
        weights={name: fits.weights(parts[name], "classic-learnt") for name, one in sets.items() if one.references},
        curve=[(p.architecture, p.prompts, p.value, p.low, p.high) for p in points],
        trl=trl(place, out) if with_trl else None,
        versions=next(iter(runs.values())).manifest["versions"],
        seconds=sum(
            cost.get("seconds", 0.0) * len(each) for each in parts.values() for cost in fits.costs(each).values()
        ),
    )
    write_whole(out / "README.md", page.page(told).encode())
    write_whole(out / "manifest.json", manifest(runs, {name: each[0].entries for name, each in parts.items()}, place))
    findings.write_csv(told.boards, out / "headlines.csv")
    print("\n".join(page.words(told.boards)))
    print(f"wrote {out}")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--data-dir", type=Path, default=os.environ.get("RMBENCH_DATA", REPO.parent / "shared" / "data")
    )
    parser.add_argument("--work", type=Path, default=REPO / "runs" / "reward-models", help="where fits are kept")
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument(
        "--sets", nargs="+", help="only these data sets, by name", choices=[one.name for one in folds.SETS]
    )
    parser.add_argument("--quick", action="store_true", help="few samples, steps and folds: the numbers mean nothing")
    given = parser.parse_args()
    if given.quick and given.out == HERE:
        parser.error("--quick needs an --out of its own")
    if not (given.data_dir / folds.SETS[0].folder).is_dir():
        parser.error(f"{given.data_dir} has no {folds.SETS[0].folder}: name the folder of the data with --data-dir")
    effort = QUICK if given.quick else recipes.Effort(encoder=recipes.encoder())
    if given.sets:
        effort = replace(effort, sets=tuple(given.sets))
    place = Place(given.data_dir.resolve(), given.work.resolve(), effort)
    for folder in (place.work, given.out):
        folder.mkdir(parents=True, exist_ok=True)
    os.environ.setdefault("RMBENCH_CACHE", str(place.work / "cache"))  # sentence vectors, for all folds and losses
    make(place, given.out, with_trl=not given.quick)


if __name__ == "__main__":
    main()
