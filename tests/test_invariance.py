"""``rmbench run --check-invariance``: rows scored again in other company, held against the scores of the run."""

import json

import pytest
from fakes import jsonl, rows
from fakes import rmbench as command

from rmbench import Batch, Turn, invariance
from rmbench.cli.main import with_count
from rmbench.process import Failed
from rmbench.scoring import Scores

REWARDS = '''
def steady(batch):
    return [float(len(text)) for text in batch.responses]

def crowded(batch):
    """What padding does: the longest neighbour moves every score."""
    longest = max(len(text) for text in batch.responses)
    return [len(text) + 0.01 * longest for text in batch.responses]

def sample_mean(batch):
    return [float(len(text)) for text in batch.responses]
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "r.py").write_text(REWARDS, encoding="utf-8")
    jsonl(tmp_path / "data.jsonl", rows(12))
    return tmp_path


def measured(run, study="invariance"):
    found = json.loads((run / "measurements.json").read_text(encoding="utf-8"))["results"]
    return [row for row in found if row["study"] == study]


def test_a_run_says_which_rewards_keep_their_scores(folder):
    words = (
        "--task",
        "data.jsonl",
        "--kind",
        "qa",
        "--out",
        "run",
        "--reward",
        "r.py:steady",
        "--reward",
        "r.py:crowded",
    )
    done = command("run", *words, "--check-invariance", "9", cwd=folder)
    assert done.returncode == 1, done.stderr
    assert "crowded is not batch-invariant on data" in done.stderr
    by = {(row["reward"], row["metric"], row["probe"]): row for row in measured(folder / "run")}
    assert by["steady", "largest-difference", "long"]["value"] == 0.0
    assert by["steady", "largest-difference", "alone"]["rows"] == 9
    assert by["steady", "flipped-pairs", None]["value"] == 0.0
    assert by["steady", "tolerance", None]["value"] == 1e-5
    assert by["crowded", "largest-difference", "long"]["value"] > 1e-3
    page = (folder / "run" / "report" / "index.html").read_text(encoding="utf-8")
    assert "Batch invariance failed for crowded" in page
    assert page.count("batch-invariant") >= 1


def test_the_check_can_follow_on_resume_and_changes_no_number(folder):
    words = ("--task", "data.jsonl", "--kind", "qa", "--out", "run", "--reward", "r.py:steady")
    assert command("run", *words, cwd=folder).returncode == 0
    before = (folder / "run" / "results.json").read_bytes()
    seconds = [row for row in measured(folder / "run", "speed") if row["metric"] == "seconds"]
    done = command("run", "--resume", "--out", "run", "--check-invariance", cwd=folder)
    assert done.returncode == 0, done.stderr
    assert (folder / "run" / "results.json").read_bytes() == before
    assert {row["rows"] for row in measured(folder / "run") if row["reward"] == "steady"} == {33}
    assert [row for row in measured(folder / "run", "speed") if row["metric"] == "seconds"] == seconds
    page = (folder / "run" / "report" / "report.md").read_text(encoding="utf-8")
    assert "Batch-invariant: 7 rewards scored again in other company" in page


def test_the_number_of_rows_may_be_left_out():
    assert with_count(["run", "--check-invariance", "quickstart"]) == ["run", "--check-invariance", "32", "quickstart"]
    assert with_count(["run", "--check-invariance"]) == ["run", "--check-invariance", "32"]
    assert with_count(["run", "--check-invariance", "5"]) == ["run", "--check-invariance", "5"]
    assert with_count(["run", "--check-invariance=5"]) == ["run", "--check-invariance=5"]


def batch(texts, groups):
    count = len(texts)
    return Batch(
        ids=tuple(f"{i}" for i in range(count)), groups=tuple(groups), messages=((Turn("user", "p"),),) * count,
        prompts=("p",) * count, contexts=(None,) * count, responses=tuple(texts), references=((),) * count,
        languages=((),) * count,
    )  # fmt: skip


def scored(values):
    return Scores(list(values), [None if v is not None else "none" for v in values])


def test_pairs_that_flip_are_counted_by_the_worst_way():
    given = batch(["a", "bb", "ccc"], ["s", "s", "s"])

    def score(some):  # beside others, the longest text gets nothing
        values = [float(len(text)) for text in some.responses]
        return scored([0.0 if len(some) > 1 and v == max(values) else v for v in values])

    found = invariance.check(score, given, [1.0, 2.0, 0.0], 1.0, whole=False)
    assert (found.rows, found.pairs, found.flipped) == (3, 3, 2)
    assert found.worst["alone"] == 3.0
    assert found.wrong["alone"] == "row 2: moved by 3 of the std"


def test_a_row_that_loses_its_score_is_told():
    given = batch(["a", "b"], ["s", "s"])
    found = invariance.check(lambda some: scored([None] * len(some)), given, [1.0, None], 1.0, whole=False)
    assert found.wrong["alone"] == "row 0: has a score once and none another time"


def test_the_scale_is_the_standard_deviation_and_never_zero():
    assert invariance.spread([1.0, 3.0, None]) == 1.0
    assert invariance.spread([4.0, 4.0]) == 4.0
    assert invariance.spread([0.0, 0.0]) == 1.0
    assert invariance.spread([None]) == 1.0


def test_rows_are_taken_by_whole_samples():
    taken = invariance.selected(["a", "a", "b", "b", "c", "c"], 3, seed=1)
    assert len(taken) == 4
    assert all((row ^ 1) in taken for row in taken)


def test_scores_that_float32_hardly_tells_apart_may_move_by_its_last_bits():
    assert invariance.tolerance("float32", [0.0, 100.0]) == 1e-5
    assert invariance.tolerance("bfloat16", [0.0, 100.0]) == 0.05
    close = [0.5, 0.5 + 2e-6]
    assert invariance.tolerance("float32", close) == pytest.approx(16 * 2**-23 / 1e-6, rel=1e-3)


def test_the_neighbour_is_as_long_as_has_a_score_and_a_refusal_of_it_is_no_alarm():
    given = batch(["word", "a word"], ["s", "s"])
    seen = []

    def score(some):
        seen.append(max(len(text) for text in some.responses))
        if any(len(text) > 20 for text in some.responses):
            raise Failed("raised", "too long")
        return scored([float(len(text)) if len(text) <= 10 else None for text in some.responses])

    found = invariance.check(score, given, [4.0, 6.0], 1.0, whole=False)
    assert found.wrong == {}
    assert set(seen) == {4, 6, 13, 27}  # four times, twice, then as it is


def test_the_worst_row_of_each_way_is_named():
    given = batch(["a", "bb", "ccc"], ["s", "s", "s"])

    def score(some):
        return scored([len(text) * (1.0 if len(some) == 1 else 1.5) for text in some.responses])

    found = invariance.check(score, given, [1.0, 2.0, 3.0], 1.0, whole=False)
    assert found.wrong == {"shuffled": "row 2: moved by 1.5 of the std", "long": "row 2: moved by 1.5 of the std"}
