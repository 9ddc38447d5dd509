"""Reports of run folders: what stands in the folder goes into the report, nothing is computed again."""

from __future__ import annotations

from dataclasses import asdict
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol

from rmbench.parts import SAMPLES, SCORES, hold, read_part, sample_folder, score_folder
from rmbench.report.merge import RunData
from rmbench.report.model import build
from rmbench.report.sections import MOST_EXAMPLES
from rmbench.report.terminal import tables
from rmbench.report.writers import FORMATS, NAMES, write_report
from rmbench.store import RunFolder, write_whole

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    import pyarrow as pa
    from rich.table import Table
    from rich.text import Text

    from rmbench.api import Result


SHOWN = ("id", "system", "prompt", "text")  # columns
MOST_SAMPLES = 3  # whose outputs stand side by side
MOST_READ = 600  # rows, in which these samples are


class Run(Protocol):
    """What a report needs of a finished run (``rmbench.runs.Run``)."""

    @property
    def folder(self) -> Path:
        """The run folder."""
        ...

    @property
    def manifest(self) -> dict[str, Any]:
        """The manifest."""
        ...

    @property
    def rows(self) -> list[Result]:
        """Every number, in the order of results.json."""
        ...

    @property
    def measurements(self) -> list[Result]:
        """What was measured of the run itself, in the order of measurements.json."""
        ...


def write_run(
    runs: Iterable[Run],
    out: Path,
    formats: Sequence[str] = FORMATS,
    *,
    texts: str = "all",
    allow_versions: bool = False,
) -> Path:
    """Write the report of one or several runs into a folder and return its main file.

    Of a single run, results.json is copied byte for byte. Arguments and errors as for ``write_report``.
    """
    every = list(runs)
    data = [read_run(run, texts=texts == "all") for run in every]
    main = write_report(data, out, formats=formats, texts=texts, allow_versions=allow_versions)
    if len(every) == 1 and "json" in formats:
        write_whole(out / NAMES["json"], (every[0].folder / "results.json").read_bytes())
    return main


def run_tables(run: Run) -> list[Table | Text]:
    """Return the short tables of a run for the terminal, and what is said in place of one."""
    return tables(build([read_run(run)]))


def read_run(run: Run, *, texts: bool = False) -> RunData:
    """Return what a report reads of a run; with ``texts`` the first samples of each task too."""
    manifest = run.manifest
    samples = list(_samples(RunFolder(run.folder), manifest)) if texts else []
    asked = {"invariance", "fit", "train", *manifest["resolved"]["studies"]}  # the first three: where asked for
    measured = [row for row in run.measurements if row.study in asked]
    rows, speed = ([asdict(row) for row in some] for some in (run.rows, measured))
    compared = list(_compared(RunFolder(run.folder), manifest)) if texts else []
    return RunData(manifest, rows, samples, measurements=speed, compared=compared)


def _samples(folder: RunFolder, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the first texts of each task with their human scores and rewards."""
    for task in manifest["resolved"]["tasks"]:
        scores = {
            reward["name"]: _first(folder, score_folder(task["name"], reward["name"]))
            for reward in manifest["resolved"]["rewards"]
        }
        for at, row in enumerate(_first(folder, sample_folder(task["name"]))):
            human = {name.removeprefix("human."): row[name] for name in row if name.startswith("human.")}
            yield {
                "task": task["name"],
                "id": row["id"],
                "system": row["system"],
                "prompt": row["prompt"],
                "text": row["text"],
                "human": {aspect: score for aspect, score in human.items() if score is not None},
                "scores": {name: found[at]["score"] for name, found in scores.items() if at < len(found)},
            }


def _compared(folder: RunFolder, manifest: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """Yield the first outputs of each trained policy beside those of its start, of the same seed or its only one."""
    entries = manifest["resolved"].get("training", ())
    for task in dict.fromkeys(entry["task"] for entry in entries):
        rows = _first(folder, sample_folder(task), MOST_READ)
        written = {(row["id"], row["system"], row.get("seed")): row for row in reversed(rows)}
        about = {row["id"]: row for row in reversed(rows) if row.get("candidate") == 0}
        ids = list(dict.fromkeys(row["id"] for row in rows))[:MOST_SAMPLES]
        own = [entry for entry in entries if entry["task"] == task and entry.get("trainer") and entry.get("policy")]
        for at, entry in ((at, entry) for at in ids for entry in own):
            seeds = entry.get("seeds") or (None,)
            seed = next((seed for seed in seeds if (at, entry["name"], seed) in written), None)
            after = written.get((at, entry["name"], seed))
            before = written.get((at, entry["policy"], seed)) or written.get((at, entry["policy"], None))
            if after and before:
                yield {
                    "task": task, "id": at, "system": entry["name"], "start": entry["policy"], "seed": seed,
                    "prompt": after["prompt"], "before": before["text"], "after": after["text"],
                    "references": (about.get(at) or {}).get("references") or (),
                }  # fmt: skip


def _first(folder: RunFolder, name: str, most: int = MOST_EXAMPLES) -> list[dict[str, Any]]:
    """Return the first rows of a folder of parts, none where there is no part."""
    parts = islice(folder.names(name), 1)
    tables = (_held(read_part(folder.path / part), folder.path / part) for part in parts)
    return [row for table in tables for row in table.slice(0, most).to_pylist()]


def _held(table: pa.Table, place: Path) -> pa.Table:
    """Return the table where what is read of it here is there and of its type."""
    columns, needed = (SAMPLES, SHOWN) if "text" in table.column_names else (SCORES, ("score",))
    return hold(table, {n: kind for n, kind in columns.items() if n in (*needed, *table.column_names)}, place)
