"""The section on calibration: what it shows, from result rows alone, and that foreign numbers cannot break it."""

from __future__ import annotations

import re

import pytest
from conftest import HOSTILE, NULLS, TASKS, hostile, manifest, reward, row, run

from rmbench.report.agreement import agreement_tables
from rmbench.report.calibration import METRICS, calibration_section
from rmbench.report.diagrams import draw_diagram, told
from rmbench.report.merge import RunData, merge
from rmbench.report.tables import Bin, Diagram, Reliability
from rmbench.report.writers import write_report

REWARDS = [reward(name) for name in ("rouge-l", "chrf", *NULLS)]
ACCURACY = (0.5, 0.55, 0.61, 0.7, 0.83)


def calibrated(task, name, *, temperature=2.0, scaled=0.21, fifths=(1, 2, 3, 4, 5)):
    """The rows that the study gives for one reward."""
    of = {"task": task, "kind": "qa", "reward": name, "level": "pair", "signature": "s"}
    yield row("agree", "brier", **of, value=0.3, ci=[0.25, 0.35], pairs=120)
    yield row("agree", "calibration-error", **of, value=0.125, ci=[0.1, 0.2], pairs=120)
    why = None if temperature is not None else "no finite temperature: none"
    yield row("agree", "temperature", **of, value=temperature, pairs=60, reason=why)
    yield row("agree", "brier-scaled", **of, value=scaled, ci=[0.2, 0.22], pairs=60)
    yield row("agree", "calibration-error-scaled", **of, value=0.0625, ci=[0.05, 0.07], pairs=60)
    for k in fifths:
        place = {**of, "subset": f"margin:{k}/5", "pairs": 24}
        value = ACCURACY[k - 1]
        yield row("agree", "margin-accuracy", **place, value=value, ci=[value - 0.1, value + 0.1])
        yield row("agree", "margin-confidence", **place, value=0.5 + k / 12)
        yield row("agree", "margin-confidence-scaled", **place, value=0.5 + k / 20)
        yield row("agree", "margin-edge", **place, value=k * 100.0 if name == "chrf" else k / 1000)


def section(rows, rewards=None):
    return calibration_section(merge([RunData(manifest(TASKS, rewards or REWARDS), rows)]))


@pytest.fixture(scope="module")
def shown():
    rows = [*calibrated("chat-mini", "chrf", temperature=None), *calibrated("chat-mini", "rouge-l", fifths=(2, 5))]
    return section(rows)


def test_nothing_is_shown_where_nothing_was_measured():
    made, rows = run()
    assert calibration_section(merge([RunData(made, rows)])) is None


def test_errors_stand_in_the_order_of_the_rewards(shown):
    errors, _ = shown.tables
    assert errors.title == "Calibration: chat-mini"
    assert "From 120 pairs." in errors.caption
    assert [line.label for line in errors.lines] == ["rouge-l", "chrf"]
    cells = [(cell.text, cell.small) for cell in errors.lines[0].cells]
    assert cells[:3] == [("0.300", "[0.250, 0.350]"), ("0.125", "[0.100, 0.200]"), ("2", "")]
    assert not any(cell.best for line in errors.lines for cell in line.cells)
    assert errors.notes == ("chrf: temperature: no finite temperature: none",)


def test_each_reward_has_digits_of_its_own_margin(shown):
    _, margins = shown.tables
    assert margins.folded
    assert [line.label for line in margins.lines] == [
        "rouge-l, 2/5",
        "rouge-l, 5/5",
        *(f"chrf, {k}/5" for k in range(1, 6)),
    ]
    assert [line.cells[0].text for line in margins.lines[:3]] == ["0.002", "0.005", "100"]
    assert margins.lines[0].cells[1].small == "[0.450, 0.650]"


def test_diagram_holds_both_temperatures(shown):
    (diagram,) = shown.diagrams
    first = diagram.panels[0]
    assert (first.title, [each.scaled for each in first.bins]) == ("rouge-l", [False, False, True, True])
    assert first.bins[0] == Bin(0.5 + 2 / 12, 0.55, (0.55 - 0.1, 0.55 + 0.1))
    assert "rouge-l: as it says: says 0.67, right 0.55, says 0.92, right 0.83; at the fitted" in told(diagram)


def test_diagram_is_of_the_six_rewards_with_the_lowest_brier_score():
    names = [f"r{k}" for k in range(8)]
    rows = [each for k, name in enumerate(names) for each in calibrated("chat-mini", name, scaled=0.25 - k / 100)]
    (diagram,) = section(rows, [*map(reward, names), *REWARDS]).diagrams
    assert [panel.title for panel in diagram.panels] == ["r7", "r6", "r5", "r4", "r3", "r2"]
    assert "The 6 of 8 rewards" in diagram.caption


def test_drawing_is_the_same_each_time_and_plain_shapes(shown):
    svg = draw_diagram(shown.diagrams[0])
    assert svg == draw_diagram(shown.diagrams[0])
    assert set(re.findall(r"<(\w+)", svg)) <= {"svg", "g", "path", "rect", "line", "text"}


def test_numbers_from_elsewhere_are_not_drawn_outside():
    bins = (Bin(0.2, 0.5), Bin(1e308, 0.5), Bin(0.7, -1e308), Bin(0.7, 0.6, (-5.0, 0.7)))
    empty = draw_diagram(Diagram("c", (Reliability("a", ()),)))
    assert draw_diagram(Diagram("c", (Reliability("a", bins),))).count("<path") == empty.count("<path")


def test_tables_of_agreement_leave_calibration_to_its_section():
    rows = merge([RunData(manifest(TASKS, REWARDS), list(calibrated("chat-mini", "chrf")))]).rows
    assert agreement_tables(rows, None, {"chrf": ()}) == ()


def test_every_format_has_it(tmp_path):
    made, rows = run()
    write_report([RunData(made, [*rows, *calibrated("chat-mini", "rouge-l")])], tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert html.count("<b>Calibration: chat-mini.</b>") == 1
    assert 'aria-label="rouge-l: as it says' in html
    assert "**Calibration: chat-mini.**" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert r"\caption{Calibration: chat-mini" in (tmp_path / "results.tex").read_text(encoding="utf-8")
    assert r"By margin" not in (tmp_path / "results.tex").read_text(encoding="utf-8")
    csv = (tmp_path / "results.csv").read_text(encoding="utf-8")
    assert all(f",{metric}," in csv for metric in METRICS)


def test_hostile_names_stay_text(tmp_path):
    made, rows = hostile()
    write_report([RunData(made, [*rows, *calibrated(HOSTILE, HOSTILE, temperature=None)])], tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "<b>Calibration: " in html
