import io
import json
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import run

from rmbench.parts import part_name, sample_folder, score_folder
from rmbench.report.folders import read_run, run_tables, write_run
from rmbench.report.rows import read_rows
from rmbench.report.sections import MOST_EXAMPLES
from rmbench.store import RunFolder


@dataclass
class Finished:
    folder: Path
    manifest: dict
    rows: list
    measurements: tuple = ()


def parquet(columns):
    buffer = io.BytesIO()
    pq.write_table(pa.table(columns), buffer)
    return buffer.getvalue()


@pytest.fixture
def finished(tmp_path):
    manifest, rows = run()
    store = RunFolder.create(tmp_path / "run", manifest)
    n = MOST_EXAMPLES + 5
    samples = {"id": [f"n{i}" for i in range(n)], "system": ["bart"] * n, "prompt": ["Why?"] * n, "text": [f"Text <{i}>" for i in range(n)],
               "human.coherence": [4.5, None] + [3.0] * (n - 2)}  # fmt: skip
    store.commit(part_name(sample_folder("news-mini"), 0), parquet(samples), rows=n)
    scores = {"score": pa.array([0.25, None] + [0.5] * (n - 2), pa.float64())}
    store.commit(part_name(score_folder("news-mini", "rouge-l"), 0), parquet(scores), rows=n)
    store.close()
    (tmp_path / "run" / "results.json").write_text(json.dumps({"schema": 1, "run": {}, "results": rows}))
    return Finished(tmp_path / "run", manifest, list(read_rows(rows)))


def test_the_first_texts_of_a_task_come_with_their_scores(finished):
    samples = read_run(finished, texts=True).samples
    assert len(samples) == MOST_EXAMPLES
    assert samples[0] == {"task": "news-mini", "id": "n0", "system": "bart", "prompt": "Why?", "text": "Text <0>",
                          "human": {"coherence": 4.5}, "scores": {"rouge-l": 0.25}}  # fmt: skip
    assert (samples[1]["human"], samples[1]["scores"]) == ({}, {"rouge-l": None})
    assert read_run(finished).samples == []


def test_a_run_folder_becomes_a_report(finished, tmp_path):
    main = write_run([finished], tmp_path / "report")
    html = main.read_text(encoding="utf-8")
    assert "Text &lt;0&gt;" in html
    assert "rouge-l unscored" in html
    assert (tmp_path / "report" / "results.json").read_bytes() == (finished.folder / "results.json").read_bytes()


def test_texts_stay_out_when_asked(finished, tmp_path):
    main = write_run([finished], tmp_path / "report", ["html"], texts="none")
    assert "Text &lt;" not in main.read_text(encoding="utf-8")


def test_two_folders_in_one_report(finished, tmp_path):
    write_run([finished, finished], tmp_path / "report", ["json"])
    merged = json.loads((tmp_path / "report" / "results.json").read_text())
    assert len(merged["results"]) == len(finished.rows)


def test_tables_for_the_terminal(finished):
    assert [table.title.plain for table in run_tables(finished)][:2] == ["All tasks", "Headline by task"]
