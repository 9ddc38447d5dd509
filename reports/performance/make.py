"""Measure every comparison and write this folder: python reports/performance/make.py [--only NAME] [--from FILE].

README.md (tables and words), performance.json (every number), targets.svg. All comparisons run in this process, one
thread, one after the other; within each, the sides run in turn. About ten minutes on a machine that does nothing else.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
REPO = HERE.parent.parent
sys.path[:0] = [str(REPO), str(REPO / "tests" / "benchmarks")]
os.environ["RMBENCH_COMPILED"] = "1"
for variable in ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS", "RAYON_NUM_THREADS"):
    os.environ[variable] = "1"  # read where the libraries are first imported, below

import pages  # noqa: E402 - after the threads are set
from comparisons import line  # noqa: E402


def load() -> float:
    """Return how many processes wanted a processor in the last minute, on average."""
    return round(os.getloadavg()[0], 2)


def measure(only: str | None) -> dict[str, Any]:
    """Run the comparisons; ``only`` those whose name holds this."""
    import torch
    from comparisons_of_models import COMPARISONS as MODELS
    from comparisons_of_models import products
    from comparisons_of_rules import COMPARISONS as RULES

    from rmbench.kernel import measured

    torch.set_num_threads(1)
    begun, before = time.perf_counter(), load()
    rows: list[dict[str, Any]] = []
    for name, compare in (RULES | MODELS).items():
        if only is None or only in name:
            for found in compare():
                print(line(found), flush=True)
                rows.append({"name": name, **asdict(found), "mark": found.mark})
    return {
        "machine": measured.machine(), "processor_load": {"before": before, "after": load()}, "product": products(),
        "rows": rows, "seconds": round(time.perf_counter() - begun),
    }  # fmt: skip


def read(path: Path) -> Any:
    """Return what another command has measured, None where it has not been run."""
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_front(table: str) -> None:
    """Put the table on the front page, between its marks."""
    path = REPO / "README.md"
    marks = re.compile(r"(<!-- table: performance -->\n).*?(<!-- /table -->)", re.DOTALL)
    text, found = marks.subn(lambda mark: mark[1] + table + mark[2], path.read_text(encoding="utf-8"))
    if not found:
        raise SystemExit("README.md has no marks for the table of performance")
    path.write_text(text, encoding="utf-8")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--only", help="comparisons whose name holds this, printed and not written")
    parser.add_argument("--from", dest="source", type=Path, help="a performance.json, instead of measuring")
    given = parser.parse_args()
    found = json.loads(given.source.read_text(encoding="utf-8")) if given.source else measure(given.only)
    if given.only:
        return
    findings = [pages.read(row) for row in found["rows"]]
    cost, device = (read(HERE / name) for name in ("human.json", "device.json"))
    (HERE / "performance.json").write_text(json.dumps(found, indent=1, allow_nan=False) + "\n", encoding="utf-8")
    (HERE / "targets.svg").write_text(pages.chart(findings), encoding="utf-8")
    (HERE / "README.md").write_text(pages.page(found, findings, cost, device), encoding="utf-8")
    write_front(pages.front(findings))
    print(f"wrote {HERE} and the table of the front page")


if __name__ == "__main__":
    main()
