"""The study ``speed``: a section of its own, from measurements.json, in the report of one run."""

from conftest import HOSTILE, row, run

import rmbench
from rmbench.report.merge import RunData
from rmbench.report.model import build
from rmbench.report.speed import speed_section

ROWS = [
    row("speed", "seconds", task="news", reward="rouge-l", value=2.0, rows=500),
    row("speed", "rows-per-second", task="news", reward="rouge-l", value=250.0, rows=500),
    row("speed", "peak-memory", reward="rouge-l", value=3.0 * 2**20),
]


def test_tables_of_seconds_rates_and_memory():
    section = speed_section(ROWS)
    assert [table.title for table in section.tables] == ["Rows per second", "Seconds", "Peak memory"]
    assert [table.lines[0].cells[0].text for table in section.tables] == ["250.0", "2.000", "3"]
    assert speed_section([]) is None


def test_names_are_inert():
    section = speed_section([{**ROWS[0], "reward": HOSTILE}])
    assert "\x1b" not in section.tables[0].lines[0].label


def test_it_stands_in_the_report_of_one_run_only():
    manifest, rows = run()
    one, two = RunData(manifest, rows, measurements=ROWS), RunData(manifest, rows, name="again", measurements=ROWS)
    assert "Speed" in [section.title for section in build([one]).sections]
    assert "Speed" not in [section.title for section in build([one, two]).sections]
    assert "Speed" not in [section.title for section in build([RunData(manifest, rows)]).sections]


def test_a_suite_asks_for_it(tmp_path):
    suite = {"name": "timed", "tasks": ["chat-mini"], "rewards": ["length"], "limit": 5, "studies": ["speed"]}
    made = rmbench.run(suite, out=tmp_path / "run")
    measured = {(r.metric, r.reward): r.value for r in made.measurements}
    assert measured["rows-per-second", "length"] > 0
    assert measured["peak-memory", "length"] > 2**20
    assert "<h2" in (page := (made.folder / "report" / "index.html").read_text())
    assert "Peak memory" in page
