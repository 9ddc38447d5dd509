import json

import pytest
from fakes import jsonl, rmbench

import rmbench as rm
from rmbench import compare

TEXTS = ("a", "bb", "ccc")


def rated(name, scores):
    """One sample: texts of one, two and three characters, with these human scores."""
    texts = zip(TEXTS, scores, strict=True)
    return {"id": name, "prompt": f"p{name}", "candidates": [{"text": t, "human": {"quality": s}} for t, s in texts]}


def run(folder, name, rows, *rewards, **suite):
    task = jsonl(folder / name / "texts.jsonl", rows) if (folder / name).mkdir() is None else None
    given = {"tasks": [str(task)], "rewards": list(rewards), "timeout": 0, **suite}
    return rm.run(given, out=folder / name / "run")


def length(batch):
    return [float(len(text)) for text in batch.responses]


def holes(batch):
    """Length, but nothing for the texts of three characters."""
    return [None if len(text) == 3 else float(len(text)) for text in batch.responses]


@pytest.fixture
def runs(tmp_path):
    """Two runs of one file: all four samples, and the seeded sample of three of them."""
    rows = [rated("1", (1, 2, 3)), rated("2", (1, 2, 3)), rated("3", (3, 2, 1)), rated("4", (2, 3, 1))]
    whole = run(tmp_path, "whole", rows, length)
    (tmp_path / "part").mkdir()
    part = rm.run({"tasks": [str(tmp_path / "whole" / "texts.jsonl")], "rewards": [length], "timeout": 0, "limit": 3},
                  out=tmp_path / "part" / "run")  # fmt: skip
    return whole, part


def test_both_values_are_of_the_common_pairs_and_what_is_left_out_is_counted(runs):
    whole, part = runs
    change = next(c for c in compare.changes(whole, part) if c.before == "length")
    taken = {row["id"] for row in rm_samples(part)}
    # pairs that length orders rightly: 3, 3, 0 and 1 (only b above a) of three each
    right = {"1": 3, "2": 3, "3": 0, "4": 1}
    value = sum(right[name] for name in taken) / 9
    assert len(taken) == 3
    assert change.values == (pytest.approx(value), pytest.approx(value))
    assert (change.result.value, change.result.pairs, change.result.n) == (0.0, 9, 3)
    assert change.left_out == (3, 0)
    back = next(c for c in compare.changes(part, whole) if c.before == "length")
    assert back.left_out == (0, 3)


def rm_samples(made):
    import pyarrow.parquet as pq

    return [
        row for path in sorted(made.folder.glob("samples/*/part-*.parquet")) for row in pq.read_table(path).to_pylist()
    ]


def test_pairs_that_one_reward_excludes_are_left_out_of_both_values(tmp_path):
    rows = [rated("1", (1, 2, 3)), rated("2", (2, 1, 3))]
    made = run(tmp_path, "one", rows, length, holes, unscored="exclude")
    (change,) = compare.changes(made, made, ["length", "holes"])
    # of six pairs only a-b of each sample has both scores from `holes`: right in 1, wrong in 2
    assert change.values == (0.5, 0.5)
    assert (change.result.pairs, change.result.value) == (2, 0.0)
    assert change.left_out == (4, 0)
    whole = [row for row in made.rows if row.metric == "pairwise-accuracy" and row.reward == "length"]
    assert next(r.value for r in whole if r.subset is None and r.against is None) == pytest.approx(5 / 6)


def test_the_table_shows_units_left_out_and_a_difference_that_adds_up(runs):
    whole, part = runs
    shown = rmbench("compare", whole.folder, part.folder, "--rewards", "length")
    assert shown.returncode == 0, shown.stderr
    assert "9 pairs of 3 samples" in shown.stdout
    assert "3 of before" in shown.stdout
    assert "pairwise-accuracy on quality" in " ".join(shown.stdout.split())
    assert "on the pairs (or texts) that both have" in shown.stderr
    (told,) = json.loads(rmbench("compare", whole.folder, part.folder, "--rewards", "length", "--json").stdout)
    assert told["values"][1] - told["values"][0] == told["difference"] == 0.0
    assert told["left_out"] == [3, 0]


def test_another_metric_is_compared_over_each_runs_own_samples_and_says_so(runs):
    found = compare.changes(*runs, ["length", "length"])
    (told,) = compare.worse(found, "kendall", (runs[1], runs[0])) or compare.worse(found, "kendall", runs)
    assert "4 samples" in told
    assert "3 samples" in told


def test_oracles_are_named(tmp_path):
    rows = [rated("1", (1, 2, 3)), rated("2", (2, 1, 3))]
    for row in rows:
        for each in row["candidates"]:
            each["raters"] = {"quality": [each["human"]["quality"]] * 2}
    made = run(tmp_path, "one", rows, length, "human")
    assert [c.oracles for c in compare.changes(made, made, ["length", "human"])] == [("human",)]
    shown = rmbench("compare", made.folder, "--rewards", "length,human")
    assert "never ranked: human" in shown.stderr


def sure(batch):
    """Length, and sure of it: margins of ten per character."""
    return [10.0 * len(text) for text in batch.responses]


def test_a_lower_calibration_error_is_no_worse(tmp_path):
    rows = [rated(str(k), (1, 2, 3) if k % 3 else (3, 2, 1)) for k in range(15)]
    one, other = (run(tmp_path, name, rows, {"use": fn, "name": "r"} if isinstance(fn, str) else fn)
                  for name, fn in (("plain", rm.Reward("r", 1, lambda: length)), ("sure", rm.Reward("r", 1, lambda: sure))))  # fmt: skip
    found, back = compare.changes(one, other), compare.changes(other, one)
    for metric in ("brier", "calibration-error"):
        (told, *_) = compare.worse(found, metric, (one, other))
        assert f"r is worse than r on texts: {metric} changes by +" in told
        assert compare.worse(back, metric, (other, one)) == []
