"""The toy report is made by one command, and the committed one says what its numbers say."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import modules_of

from rmbench import toy

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "toy"
FILES = {"README.md", "numbers.json", "convergence.svg", "coefficients.svg"}


@pytest.fixture(scope="module")
def numbers():
    return json.loads((FOLDER / "numbers.json").read_text(encoding="utf-8"))


def test_the_quick_report_has_every_part(tmp_path):
    command = [sys.executable, str(FOLDER / "make.py"), "--quick", "--out", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert {path.name for path in tmp_path.iterdir()} == FILES
    made = json.loads((tmp_path / "numbers.json").read_text(encoding="utf-8"))
    assert len(made["convergence"]) == 10
    assert made["convergence"][0]["curve"][0]["mean"] == pytest.approx(0.08875)


def test_the_committed_page_is_that_of_its_numbers(numbers):
    with modules_of(FOLDER, ("page", "charts")) as report:
        assert report.page.page(numbers) == (FOLDER / "README.md").read_text(encoding="utf-8")
        assert report.charts.convergence(numbers) == (FOLDER / "convergence.svg").read_text(encoding="utf-8")


def test_every_trainer_came_to_its_optimum(numbers):
    """Without a baseline, a lure may hold a seed where the rate is as high as the others'."""
    assert numbers["optimum"] == pytest.approx(toy.optimum())
    far = {row["trainer"] for row in numbers["convergence"] if row["low"] < row["optimum"] - 0.02}
    assert far <= {"reinforce, no baseline"}
    assert all(row["mean"] > row["optimum"] - 0.02 for row in numbers["convergence"])


def test_the_right_penalty_came_to_the_regularised_optimum(numbers):
    for row in numbers["penalties"]:
        if row["penalty"] == "k1 in the reward":
            assert row["expected"]["mean"] == pytest.approx(row["regularised"]["expected"], abs=0.03)
