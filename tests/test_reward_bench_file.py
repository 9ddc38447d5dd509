"""A bare file of RewardBench 2 rows, through a run: best of four with ties of the reward, and the Ties score, by hand."""

import json
import math

import pytest
from fakes import jsonl, rmbench


def row(name, subset, chosen, rejected):
    """A row as the published data set has it; texts are given by their lengths, which is what the reward scores."""
    sizes = {
        "num_correct": len(chosen),
        "num_incorrect": len(rejected),
        "total_completions": len(chosen) + len(rejected),
    }
    texts = {
        "chosen": ["x" * size for size in chosen],
        "rejected": [f"{i}".ljust(n, "y") for i, n in enumerate(rejected)],
    }
    return {"id": name, "prompt": f"Question {name}", "subset": subset, "models": ["m"], **texts, **sizes}


def test_best_of_four_and_ties_by_hand(tmp_path):
    rows = [
        row("0", "Factuality", [9], [1, 2, 3]),  # 1
        row("1", "Factuality", [5], [5, 5, 5]),  # four at the top: 1 / 4
        row("2", "Focus", [5], [5, 1, 2]),  # 1 / 2
        row("3", "Math", [4], [5, 1, 2]),  # 0
        row("4", "Precise IF", [7], [1, 2, 3]),  # 1
        row("5", "Safety", [7], [7, 7, 3]),  # 1 / 3
        row("tied:0", "Ties", [8, 7], [3, 2]),  # accurate; margin 4, spread 1
        row("ref:0", "Ties", [6], [4, 1]),  # accurate; margin 2: the lesser of both
        row("tied:1", "Ties", [9, 5], [4, 1]),  # accurate; margin 1, spread 4
        row("ref:1", "Ties", [3], [3, 1]),  # not accurate; margin 0
    ]
    jsonl(tmp_path / "rb2.jsonl", rows)
    out = tmp_path / "out"
    done = rmbench(
        "run", "--task", tmp_path / "rb2.jsonl", "--reward", "length", "-o", "length.unit=chars", "--out", out
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
    found = {
        one["subset"]: one["value"] for one in results
        if one["metric"] == "rewardbench2-average" and one["reward"] == "length" and one["against"] is None
    }  # fmt: skip
    size = (math.tanh(2 / 1 - 1) + math.tanh(0 / 4 - 1)) / 2
    ties = 0.3 * 1 + 0.3 * 1 / 2 + 0.2 * 1 / 2 + 0.2 * 1 / 2 + 0.01 * size
    expected = {"Factuality": 1.25 / 2, "Focus": 1 / 2, "Math": 0.0, "Precise IF": 1.0, "Safety": 1 / 3, "Ties": ties}
    assert found == pytest.approx(expected | {None: sum(expected.values()) / 6})
