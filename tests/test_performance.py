"""The performance report: marks, tables and the page are what the measured numbers say."""

import importlib
import json
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parent
REPORT = TESTS.parent / "reports" / "performance"
PLACES = [str(REPORT), str(TESTS / "benchmarks")]


@pytest.fixture(scope="module")
def pages():
    sys.path[:0] = PLACES
    yield importlib.import_module("pages")
    for place in PLACES:
        sys.path.remove(place)
    for name in ("pages", "device_page", "comparisons"):  # another report has pages of its own
        del sys.modules[name]


SPREAD = (4.0, 3.5, 5.0)


def finding(pages, table, work, against, target, rate=None, unit="", detail=""):
    wanted = None if target is None else pages.Target(*target[0], **target[1])
    fast = None if rate is None else pages.Spread(*rate)
    return pages.Finding(table, work, against, pages.Spread(*SPREAD), wanted, fast, unit, detail)


@pytest.mark.parametrize(
    ("target", "mark"),
    [
        (None, "reported"),
        (((4.5, 4.4), {}), "met"),  # 0.9 of what the prototype reached
        (((4.5, 4.5), {}), "missed"),
        (((4.4,), {}), "met"),  # 0.9 of the aim
        (((4.5,), {}), "missed"),
        (((4.0,), {"most": True}), "met"),
        (((3.9,), {"most": True}), "missed"),
        (((99,), {"applies": False}), "does not apply"),
    ],
)
def test_marks(pages, target, mark):
    assert finding(pages, "rules", "w", "p", target).mark == mark


def test_the_page_names_what_is_missed_and_what_does_not_apply(pages):
    found = [
        finding(pages, "rules", "BLEU", "sacrebleu", ((12,), {}), SPREAD, "pairs", "9 pairs"),
        finding(pages, "models", "with it", "one by one", ((2,), {"applies": False}), SPREAD, "tokens", "1.1 times; m"),
        finding(pages, "models", "FLOP", "product", None, (6e9, 5e9, 7e9), "FLOP"),
    ]
    about = json.loads((REPORT / "performance.json").read_text(encoding="utf-8"))
    cost = {
        "before": "abc",
        "turns": 1,
        "seconds": {"rouge-l": {"before": 3.0, "now": 0.5}, "none": {"before": 0.0, "now": 0.0}},
    }
    text = pages.page(about, found, cost)
    assert "- 0 of 1 rows are met." in text
    assert "- Missed: BLEU against sacrebleu: 4.00 measured, 10.8 needed." in text
    assert "- Does not apply: with it, against one by one (1.1 times)." in text
    assert "| 1 | BLEU | sacrebleu | 12 |  | 10.8 | 4.00 | 3.50 to 5.00 | 4 pairs/s | **missed** |" in text
    assert "| 3 | FLOP | product |  |  |  | 4.00 | 3.50 to 5.00 | 6 GFLOP/s | reported |" in text
    assert "| rouge-l | 3.00 | 100% | 0.50 | 100% |" in text
    assert "none" not in text.partition("human")[2]
    assert pages.chart(found).startswith("<svg")


def test_the_devices_section_marks_what_is_below_the_aim(pages):
    device = json.loads((REPORT / "device.json").read_text(encoding="utf-8"))
    about = json.loads((REPORT / "performance.json").read_text(encoding="utf-8"))
    model = device["models"][0]
    for row in model["skewed"]:
        row["share_of_peak"] = 0.5 if row["way"] == "packed 8192" else 0.44
    for row in device["rules"]["measured"]:
        row["equal"] = False
    text = pages.page(about, [], None, {**device, "models": [model]})
    assert text.count("| met |") == 1
    assert text.count("| **below 0.45** |") == 2
    assert "**Scores differ from the host path.**" in text


def test_the_page_and_the_chart_are_those_of_the_numbers(pages):
    found = json.loads((REPORT / "performance.json").read_text(encoding="utf-8"))
    cost, device = (json.loads((REPORT / f"{name}.json").read_text(encoding="utf-8")) for name in ("human", "device"))
    findings = [pages.read(row) for row in found["rows"]]
    assert [row["mark"] for row in found["rows"]] == [one.mark for one in findings]
    assert pages.page(found, findings, cost, device) == (REPORT / "README.md").read_text(encoding="utf-8")
    assert pages.front(findings) in (TESTS.parent / "README.md").read_text(encoding="utf-8")
    assert pages.chart(findings) == (REPORT / "targets.svg").read_text(encoding="utf-8")
