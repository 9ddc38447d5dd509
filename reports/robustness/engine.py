"""Measure what the engine itself costs, and write engine.md beside this file: python reports/robustness/engine.py.

Makes Parquet tasks of 10 thousand, 100 thousand and 1 million rows in a temporary folder, scores a constant on each
through the command line, and once ``length`` beside it. ``--rows`` takes other sizes. About ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
SIZES = (10_000, 100_000, 1_000_000)
SHAPES = {"pairs": "two candidates a prompt, each with a human score", "bare": "one candidate a prompt, no labels"}
REWARD = '''def same(batch):
    """One for every row."""
    return [1.0] * len(batch)
'''
WORDS = ("the", "of", "and", "to", "in", "is", "that", "for", "it", "as", "was", "with", "be", "by", "on", "not", "he")
BLOCK = 20_000  # rows of a row group
HEAD = (
    "rows", "rewards", "seconds", "CPU s", "rows/s", "scores/s", "driver MiB", "worker MiB", "bytes a row", "file MiB",
    "run MiB",
)  # fmt: skip
STAGES = ("reading", "samples", "scoring", "statistics", "report", "the rest")
MEBI = 2**20


def rows(count: int, shape: str) -> Iterator[dict[str, Any]]:
    """Yield the rows of a task of ``count`` candidates: a prompt of 10 words, texts of 15."""
    rng = random.Random(count)  # noqa: S311 - words, not secrets

    def text(words: int) -> str:
        return " ".join(rng.choices(WORDS, k=words))

    if shape == "bare":
        for i in range(count):
            yield {"id": f"row-{i}", "prompt": text(10), "candidates": [{"system": "a", "text": text(15)}]}
        return
    for i in range(count // 2):
        judged = [
            {"system": system, "text": text(15), "human": {"quality": float(rng.randint(1, 5))}} for system in "ab"
        ]
        yield {"id": f"row-{i}", "prompt": text(10), "candidates": judged}


def parquet(path: Path, count: int, shape: str) -> Path:
    """Write the rows as Parquet, a row group at a time."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    human = [("human", pa.struct([("quality", pa.float64())]))] if shape == "pairs" else []
    candidate = pa.struct([("system", pa.string()), ("text", pa.string()), *human])
    schema = pa.schema([("id", pa.string()), ("prompt", pa.string()), ("candidates", pa.list_(candidate))])
    with pq.ParquetWriter(path, schema) as writer:
        block: list[dict[str, Any]] = []
        for row in rows(count, shape):
            block.append(row)
            if len(block) == BLOCK:
                writer.write_table(pa.Table.from_pylist(block, schema))
                block = []
        if block:
            writer.write_table(pa.Table.from_pylist(block, schema))
    return path


class Stages:
    """Seconds of each stage of a run in this process: functions of rmbench, timed from outside."""

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}

    def timed(self, place: Any, name: str, stage: str) -> None:
        """Time a function or method from now on."""
        function: Callable[..., Any] = getattr(place, name)

        def call(*args: Any, **options: Any) -> Any:
            begun = time.perf_counter()
            try:
                return function(*args, **options)
            finally:
                self.seconds[stage] = self.seconds.get(stage, 0.0) + time.perf_counter() - begun

        setattr(place, name, call)


def child(out: Path, words: list[str]) -> None:
    """Run the command line in this process, and write what it took."""
    begun = time.perf_counter()
    from rmbench import engine, runs
    from rmbench.cli import main
    from rmbench.studies import compute
    from rmbench.worker import peak

    stages = Stages()
    stages.timed(runs, "prepare", "reading")
    stages.timed(engine.Engine, "write_samples", "samples")
    stages.timed(engine.Engine, "score", "scoring")
    stages.timed(compute, "compute", "statistics")
    stages.timed(runs.Run, "report", "report")
    code = main.invoke(words)
    whole = time.perf_counter() - begun
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    stages.seconds["the rest"] = whole - sum(stages.seconds.values())
    found = {
        "code": code,
        "seconds": whole,
        "cpu": sum(each.ru_utime + each.ru_stime for each in used),
        "driver": peak(),
        "stages": stages.seconds,
    }
    out.write_text(json.dumps(found), encoding="utf-8")


def run(folder: Path, task: Path, rewards: list[str], count: int) -> dict[str, Any]:
    """Run one case in a process of its own and return what it took."""
    took, out = folder / "took.json", folder / "run"
    words = ["run", "--task", str(task), "--kind", "generation", "--out", str(out), "--force"]
    for reward in rewards:
        words += ["--reward", reward]
    done = subprocess.run(  # noqa: S603 - this very file
        [sys.executable, str(HERE / "engine.py"), "--child", str(took), *words],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONPATH": str(REPO)},
    )  # fmt: skip
    if done.returncode or not took.is_file() or json.loads(took.read_text(encoding="utf-8"))["code"]:
        raise SystemExit(f"the run failed: {done.stderr[-2000:]}")
    measured = json.loads((out / "measurements.json").read_text(encoding="utf-8"))["results"]
    worker = max(row["value"] for row in measured if row["metric"] == "peak-memory")
    stored = sum(file.stat().st_size for file in out.rglob("*") if file.is_file())
    return {
        **json.loads(took.read_text(encoding="utf-8")),
        "rows": count, "worker": int(worker), "rewards": len(rewards), "stored": stored, "file": task.stat().st_size,
    }  # fmt: skip


def measure(sizes: tuple[int, ...]) -> list[dict[str, Any]]:
    """Measure every case, in a folder that is gone afterwards."""
    found = []
    with tempfile.TemporaryDirectory(prefix="rmbench-engine-") as name:
        folder = Path(name)
        (folder / "constant.py").write_text(REWARD, encoding="utf-8")
        same = f"{folder / 'constant.py'}:same"
        for shape in SHAPES:
            for count in sizes:
                task = parquet(folder / f"{shape}.parquet", count, shape)
                cases = [[same], [same, "length"]] if shape == "pairs" and count == sizes[-1] else [[same]]
                for rewards in cases:
                    one = {"shape": shape, **run(folder, task, rewards, count)}
                    print(one["shape"], count, f"{one['seconds']:.1f} s, {one['driver'] / MEBI:.0f} MiB", flush=True)
                    found.append(one)
    return found


def table(head: tuple[str, ...], lines: list[tuple[str, ...]]) -> list[str]:
    """Return a Markdown table of numbers."""
    return [f"| {' | '.join(head)} |", "|--:" * len(head) + "|", *(f"| {' | '.join(line)} |" for line in lines), ""]


def cells(one: dict[str, Any], least: dict[str, Any]) -> tuple[str, ...]:
    """Return the line of a case; ``least`` is the smallest of its shape."""
    more = one["rows"] - least["rows"]
    rate, scores = (one["rows"] * times / one["seconds"] for times in (1, one["rewards"] + 6))
    sizes = [f"{one[name] / MEBI:,.0f}" for name in ("driver", "worker")]
    kept = [f"{one[name] / MEBI:,.1f}" for name in ("file", "stored")]
    grown = f"{max(0, one['driver'] - least['driver']) / more:,.0f}" if more else ""
    counts = (f"{one['rows']:,}", str(one["rewards"]), f"{one['seconds']:.1f}", f"{one['cpu']:.1f}")
    return (*counts, f"{rate:,.0f}", f"{scores:,.0f}", *sizes, grown, *kept)


def shares(one: dict[str, Any]) -> tuple[str, ...]:
    """Return the line of a case: the share of its seconds that each stage took."""
    parts = (f"{one['stages'].get(stage, 0.0) / one['seconds']:.0%}" for stage in STAGES)
    return (f"{one['rows']:,}", str(one["rewards"]), *parts)


def page(found: list[dict[str, Any]], about: str) -> str:
    """Return the page: every figure is one that was measured, or follows from those."""
    lines = [
        "# What the engine costs",
        "",
        "Made by `python reports/robustness/engine.py`; no figure is written by hand. " + about,
        "",
        "A Parquet task with a constant reward, through `rmbench run` to results.json and the report. Rows are",
        "candidates. Every run scores the six null rewards too, so each row is scored seven times (eight with",
        "`length`). Seconds are by the clock, CPU seconds those of all processes. Bytes a row: how much the driver's",
        "peak grows for each row beyond the smallest run of that shape.",
        "",
    ]
    for shape, words in SHAPES.items():
        some = [one for one in found if one["shape"] == shape]
        lines += [f"## {shape.capitalize()}: {words}", "", *table(HEAD, [cells(one, some[0]) for one in some])]
        lines += ["Share of the seconds by stage:", "", *table(("rows", "rewards", *STAGES), list(map(shares, some)))]
    return "\n".join(lines)


def machine() -> str:
    """Return what it ran on, and how busy that was."""
    model = next(
        (
            line.split(":")[1].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        "unknown processor",
    )
    load = os.getloadavg()[0]
    return f"{len(os.sched_getaffinity(0))} processors of {model}; {load:.1f} processes wanted one when it began."


def main() -> None:
    """Measure and write engine.md, or be the child of a measurement."""
    if sys.argv[1:2] == ["--child"]:
        child(Path(sys.argv[2]), sys.argv[3:])
        return
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, nargs="+", default=list(SIZES), help="sizes, ascending")
    parser.add_argument("--out", type=Path, default=HERE / "engine.md")
    given = parser.parse_args()
    about = machine()
    given.out.write_text(page(measure(tuple(given.rows)), about), encoding="utf-8")


if __name__ == "__main__":
    main()
