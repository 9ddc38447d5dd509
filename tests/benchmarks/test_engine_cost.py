"""What the engine costs around a reward that costs nothing: rows a second, calls and memory as rows grow.

With benchmarks disabled (the default tests) the tasks are small: the code runs, nothing is measured. One million rows,
with memory and stages: ``python reports/robustness/engine.py``.
"""

from __future__ import annotations

import gc
import sys
from collections import Counter

import pytest
from fakes import REPO, modules_of

import rmbench
from rmbench import parts, source, spool, tasks
from rmbench.api import Sample
from rmbench.scoring import Scores
from rmbench.stats import resampling
from rmbench.store import RunFolder
from rmbench.studies import compute

PAIRS, FEW = (10_000, 100_000), 300


def same(batch):
    """One for every row."""
    return [1.0] * len(batch)


@pytest.fixture(scope="module")
def made():
    with modules_of(REPO / "reports" / "robustness", ("engine",)) as modules:
        yield modules.engine


@pytest.mark.parametrize("rows", PAIRS)
def test_a_parquet_task_through_to_results(benchmark, request, tmp_path, made, rows):
    count = FEW if request.config.getoption("benchmark_disable") else rows
    if count == FEW and rows != PAIRS[0]:
        pytest.skip("without benchmarks all sizes are one")
    task = made.parquet(tmp_path / "pairs.parquet", count, "pairs")
    suite = {"name": "cost", "tasks": [str(task)], "rewards": [same]}
    run = benchmark.pedantic(rmbench.run, (suite,), {"out": tmp_path / "run"}, rounds=1)
    found = [row for row in run.rows if row.reward == "same" and row.metric == "pairwise-accuracy" and not row.against]
    assert {row.value for row in found} == {0.5}
    assert run.exit_code == 0


def alive():
    """Return how many samples are alive."""
    return sum(type(each) is Sample for each in gc.get_objects())


@pytest.fixture
def small(monkeypatch):
    """Make parts and blocks small, so that few rows are many of them."""
    monkeypatch.setattr(source, "PART_ROWS", 40)
    monkeypatch.setattr(spool, "BLOCK", 20_000)
    monkeypatch.setattr(source, "Spool", lambda: spool.Spool(0))


def opened(made, path, count):
    return source.open_source(tasks.bare_task(made.parquet(path, count, "pairs")), limit=None, seed=1)


@pytest.mark.parametrize("count", [400, 1600])
def test_few_samples_are_alive_however_many_there_are(tmp_path, made, small, count):
    before = alive()
    found = opened(made, tmp_path / "pairs.parquet", count)
    assert found.rows == count
    assert alive() - before < 30
    assert max(alive() - before for part in found.parts() if part.index % 8 == 0) < 60


def test_no_text_is_held_by_what_is_read_back(tmp_path, made, small):
    path = tmp_path / "run"
    found = opened(made, tmp_path / "pairs.parquet", 400)
    run = RunFolder(path)
    for part in found.parts():
        run.commit(
            parts.part_name(parts.sample_folder("t"), part.index), parts.samples_bytes(part, ["quality"]), rows=1
        )
    task = {
        "name": "t", "rows": 400, "aspects": ["quality"], "main": "quality", "good": None, "version": 1, "kind": None,
        "split": "test", "label": "t@1", "languages": [], "skips": {}, "signatures": {},
    }  # fmt: skip
    rows = parts.load(run, {"resolved": {"seeds": [1], "limit": None, "rewards": []}, "failures": {}}, task)
    samples = list(found.read())
    assert list(rows.texts) == [one.text for each in samples for one in each.candidates]
    assert (list(rows.ids), list(rows.prompts)) == ([each.id for each in samples], [each.prompt for each in samples])
    assert rows.texts[123:125] == [rows.texts[123], rows.texts[124]]
    assert rows.ids == tuple(rows.ids)
    assert rows.references == ((),) * 200
    held = [each for each in (rows.ids, rows.texts, rows.prompts) if len(each._held[1]) > 40]
    assert held == []


def calls(function):
    """Return how often functions of rmbench are called while this one runs."""
    counted = Counter()

    def count(frame, event, _):
        if event == "call" and "rmbench" in frame.f_code.co_filename:
            counted[frame.f_code.co_qualname] += 1

    sys.setprofile(count)
    try:
        function()
    finally:
        sys.setprofile(None)
    return counted.total()


def score(found, folder):
    """Score what a source reads, as the engine does, without a process; then read it back and compute."""
    run = RunFolder(folder)
    for part in found.parts():
        sizes = [len(source.batch(samples, found.task, labels=False)) for samples in source.batches(part)]
        scores = Scores([float(row % 7) for row in range(sum(sizes))], [None] * sum(sizes))
        run.commit(
            parts.part_name(parts.sample_folder("t"), part.index), parts.samples_bytes(part, ["quality"]), rows=1
        )
        run.commit(parts.part_name(parts.score_folder("t", "r"), part.index), parts.scores_bytes(part, scores), rows=1)
    task = {
        "name": "t", "rows": found.rows, "aspects": ["quality"], "main": "quality", "good": None, "version": 1,
        "kind": None, "split": "test", "label": "t@1", "languages": [], "skips": {}, "signatures": {"r": "r@1"},
    }  # fmt: skip
    reward = {"name": "r", "unscored": "wrong", "null": False, "oracle": False, "distribution": ""}
    resolved = {
        "seeds": [1],
        "limit": None,
        "rewards": [reward],
        "tasks": [task],
        "studies": ["agree"],
        "metrics": None,
    }
    manifest = {"resolved": resolved, "failures": {}, "max_unscored": 0}
    results, problems = compute.compute(run, manifest, {})
    assert len(results) > 30
    assert problems == []


def test_twice_the_rows_take_at_most_twice_the_calls(tmp_path, made, small):
    found = {}
    for count in (400, 800, 1600):
        path = tmp_path / f"{count}.parquet"
        found[count] = calls(lambda path=path, count=count: score(opened(made, path, count), path.with_suffix("")))
    first, second = found[800] - found[400], found[1600] - found[800]
    assert second < 2.2 * first


def test_rows_of_several_row_groups_are_read_on(tmp_path, made, monkeypatch):
    monkeypatch.setattr(made, "BLOCK", 7)
    path = made.parquet(tmp_path / "pairs.parquet", 60, "pairs")
    assert [each.id for each in tasks.read(tasks.bare_task(path))] == [f"row-{i}" for i in range(30)]


def test_many_prompts_take_fewer_resamples():
    assert [resampling.resamples_of(size) for size in (1, 100_000, 100_001, 10**7)] == [1000, 1000, 200, 200]
