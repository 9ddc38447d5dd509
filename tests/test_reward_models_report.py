"""The reward model report: folds that share no prompt, held-out scores put back, and what the page says of numbers."""

import csv
import json
from pathlib import Path

import pytest
from fakes import modules_of

import rmbench
from rmbench import InputError, load_task

FOLDER = Path(__file__).resolve().parent.parent / "reports" / "reward-models"
MODULES = ("folds", "recipes", "fits", "findings", "curves", "page")


@pytest.fixture(scope="module")
def report():
    with modules_of(FOLDER, MODULES) as found:
        yield found


def dialogue(number: int, opening: str) -> dict:
    messages = [{"role": "user", "content": opening}, {"role": "assistant", "content": "Yes?"}]
    return {
        "id": f"r{number}", "prompt": f"Human: {opening} {number}", "messages": messages,
        "candidates": [{"system": "a", "text": f"one {number}"}, {"system": "b", "text": f"two {number}"}],
        "preferences": [{"better": 0, "worse": 1}],
    }  # fmt: skip


ROWS = [dialogue(number, ("Opening " if number % 2 else "opening  ") + str(number // 2)) for number in range(120)]
CARD = {"name": "talk", "version": 3, "kind": "dialogue", "description": 'of "talk"', "licence": "MIT", "source": "us",
        "languages": ["en"], "citation": "left out", "human": {"aspects": ["x"], "main": "x", "good": 2.5}}  # fmt: skip


def openings(rows: list[dict]) -> set[str]:
    return {" ".join(row["messages"][0]["content"].lower().split()) for row in rows}


def test_folds_share_no_opening_and_cover_every_sample_once(report):
    made = report.folds.DataSet("talk", "talk", "opening")
    keys = [made.key(row) for row in ROWS]
    assert len(set(keys)) == 60
    seen = []
    for fold in range(5):
        part = report.folds.part(ROWS, keys, fold, seed=1)
        groups = [openings(rows) for rows in (part.train, part.dev, part.test)]
        assert not groups[0] & groups[1]
        assert not (groups[0] | groups[1]) & groups[2]
        assert len(groups[2]) == 12
        assert len(groups[1]) == 5  # a tenth of the other 48, rounded up
        assert len(part.train) + len(part.dev) + len(part.test) == len(ROWS)
        seen += [row["id"] for row in part.test]
    assert sorted(seen) == sorted(row["id"] for row in ROWS)


def test_the_order_of_the_samples_does_not_move_any_between_folds(report):
    keys = {f"key {number}" for number in range(40)}
    assert report.folds.fold_of(sorted(keys), 1) == report.folds.fold_of(sorted(keys, reverse=True), 1)
    assert report.folds.fold_of(keys, 1) != report.folds.fold_of(keys, 2)


def test_smaller_shares_are_part_of_larger_ones_with_the_same_dev_and_test(report):
    made = report.folds.DataSet("talk", "talk", "prompt")
    keys = [made.key(row) for row in ROWS]
    parts = [report.folds.part(ROWS, keys, 2, seed=1, share=share) for share in (1 / 8, 1 / 4, 1 / 2, 1)]
    assert all(part.dev == parts[0].dev and part.test == parts[0].test for part in parts)
    sizes = [len(part.train) for part in parts]
    assert sizes == [11, 22, 43, 86]  # of 96 less a tenth, rounded up
    ids = [{row["id"] for row in part.train} for part in parts]
    assert ids[0] < ids[1] < ids[2] < ids[3]


def test_a_fold_is_a_task_folder_with_the_card_of_its_data_set(report, tmp_path):
    folder = report.folds.write_task(tmp_path / "t", "talk-fold-1", CARD, {"train": ROWS[:3], "test": ROWS[3:5]})
    task = load_task(folder)
    assert (task.name, task.version, task.main, task.good) == ("talk-fold-1", 3, "x", 2.5)
    assert sorted(task.data) == ["test", "train"]
    assert [json.loads(line) for line in (folder / "test.jsonl").read_text().splitlines()] == ROWS[3:5]


def test_held_out_scores_stand_beside_their_texts_and_an_unscored_text_has_none(report):
    scores = {("r0", 0): {"a": 1.5, "b": 2.0}, ("r0", 1): {"a": None, "b": -1.0}}
    found = report.folds.merged(ROWS[:1], scores, ["a", "b"])
    assert [one["model_scores"] for one in found[0]["candidates"]] == [{"a": 1.5, "b": 2.0}, {"b": -1.0}]
    assert "model_scores" not in ROWS[0]["candidates"][0]


def test_a_text_that_no_fold_scored_is_refused(report):
    with pytest.raises(KeyError):
        report.folds.merged(ROWS[:2], {("r0", 0): {"a": 1.0}, ("r0", 1): {"a": 1.0}}, ["a"])


def test_a_curve_is_of_the_samples_that_its_folds_are_measured_on(report, tmp_path):
    made = report.folds.DataSet("talk", "talk", "opening")
    place = report.fits.Place(tmp_path, tmp_path, report.recipes.Effort())
    whole = report.fits.Set(made, ROWS, [made.key(row) for row in ROWS], references=False, rated=False, raters=False)
    found = report.fits.held_out(whole, [0, 1], place)
    tested = [row["id"] for number in (0, 1) for row in report.fits.cut(whole, number, place).test]
    assert sorted(row["id"] for row in found.rows) == sorted(tested)
    assert found.keys == [made.key(row) for row in found.rows]


def entries(report, **given):
    known = {"references": True, "rated": True, "effort": report.recipes.Effort()} | given
    return report.recipes.models("summeval", "folder", **known)


def test_every_loss_that_the_labels_allow_is_fitted(report):
    names = {entry["name"] for entry in entries(report)}
    losses = ("bt", "hinge", "squared", "ce")
    assert names == {f"{use}-{loss}" for use in ("linear", "mlp") for loss in losses} | {"fluency", "classic-learnt"}
    pairs = {entry["name"] for entry in entries(report, references=False, rated=False)}
    assert pairs == {"linear-bt", "linear-hinge", "mlp-bt", "mlp-hinge"}
    assert {"lstm-bt", "transformer-bt"} <= {
        entry["name"]
        for entry in report.recipes.models(
            "hh-harmless", "f", references=False, rated=False, effort=report.recipes.Effort()
        )
    }


@pytest.mark.parametrize("references", [True, False])
def test_the_suites_are_ones_that_rmbench_plans(report, references, tmp_path):
    rows = [{**row, "references": ["one"]} for row in ROWS] if references else ROWS
    parts = {"train": rows[:60], "dev": rows[60:80], "test": rows[80:]}
    card = {key: value for key, value in CARD.items() if key != "human"}
    folder = str(report.folds.write_task(tmp_path / "t", "talk", card, parts))
    found = [{**entry, "task": folder} for entry in entries(report, references=references, rated=False)]
    columns = report.recipes.columns_of(found)
    scores = {(row["id"], place): dict.fromkeys(columns, 1.0) for row in rows for place in range(2)}
    whole = {"test": report.folds.merged(rows, scores, columns)}
    scored = str(report.folds.write_task(tmp_path / "s", "talk", card, whole))
    one = report.recipes.fold_suite("talk-fold-1", folder, found, references=references)
    two = report.recipes.final_suite("talk", scored, columns, references=references, raters=False)
    for suite in (one, two):
        with pytest.raises(InputError, match="is not empty"):  # planned and checked, and then not run
            rmbench.run(suite, out=FOLDER)


def result(reward, value, *, against=None, ci=None, metric="pairwise-accuracy", **more):
    known = {"study": "agree", "metric": metric, "task": "talk", "reward": reward, "against": against, "value": value}
    return rmbench.Result(**known, ci=ci, n=50, pairs=100, unscored=0, **more)


RESULTS = [
    result("linear-bt", 0.65, ci=(0.6, 0.7)), result("mlp-bt", 0.56, ci=(0.5, 0.6)), result("length", 0.45),
    result("shorter", 0.55, ci=(0.5, 0.6)), result("longest", 0.44), result("bleu", 0.7), result("human", 0.8),
    result("linear-bt", 0.10, against="shorter", ci=(0.04, 0.16), p_holm=0.02),
    result("shorter", -0.01, against="mlp-bt", ci=(-0.05, 0.03), p_holm=1.0),
    result("linear-bt", 0.9, against="length", ci=(0.8, 1.0)),
    result("linear-bt", 0.1, metric="calibration-error"), result("linear-bt", 0.05, metric="margin-over-null"),
    result("linear-bt", 0.99, subset="length:better-longer"),
]  # fmt: skip


@pytest.fixture
def board(report):
    costs = {"linear-bt": {"seconds": 1.25, "parameters": 1234.0, "accuracy": 0.66}}
    return report.findings.board(RESULTS, None, columns=["linear-bt", "mlp-bt"], nulls=["longest"], costs=costs)


def test_the_length_baseline_is_the_better_of_longer_and_shorter(board):
    assert board.baseline == "shorter"
    assert [line.reward for line in board.lines][:3] == ["human", "bleu", "linear-bt"]
    assert {line.reward: line.kind for line in board.lines} == {
        "human": "people", "bleu": "rule", "linear-bt": "fitted", "mlp-bt": "fitted", "shorter": "rule",
        "length": "rule", "longest": "null",
    }  # fmt: skip


def test_a_difference_told_the_other_way_round_is_turned(board):
    one, two = board.line("linear-bt"), board.line("mlp-bt")
    assert (one.ahead.value, one.ahead.ci, one.ahead.verdict) == (0.10, (0.04, 0.16), "better")
    assert (two.ahead.value, two.ahead.ci, two.ahead.verdict) == (0.01, (-0.03, 0.05), "not told apart")
    assert board.line("bleu").ahead.verdict == "not compared"
    assert (one.margin, one.calibration, one.cost["parameters"]) == (0.05, {"calibration-error": 0.1}, 1234.0)


def test_the_words_say_who_beats_the_length_baseline_and_who_does_not(report, board):
    said = report.page.words([board])[0]
    assert "100 pairs; the length baseline, `shorter`, has 0.550 [0.500, 0.600]" in said
    assert "Beat it: linear-bt (+0.100 [+0.040, +0.160])." in said
    assert "Not told apart from it: mlp-bt (+0.010 [-0.030, +0.050])." in said
    assert "(linear-bt, 0.650) is not above the best rule (bleu, 0.700); one rater against the others 0.800." in said


def test_the_page_has_a_row_for_every_reward_and_the_numbers_stand_in_the_csv(report, board, tmp_path):
    told = report.page.Contents(
        boards=[board], sizes={"talk": (120, 240)}, weights={}, curve=[("linear", 12.0, 0.6, 0.5, 0.7)],
        trl=None, versions={"torch": "2"}, seconds=600.0,
    )  # fmt: skip
    text = report.page.page(told)
    assert (
        "| linear-bt | fitted | 0.650 [0.600, 0.700] | +0.100 [+0.040, +0.160] | better | 0.100 | - | 1.2 | 1,234 |"
        in text
    )
    assert "| shorter | rule | 0.550 [0.500, 0.600] | - | the baseline |" in text
    assert "| linear | 12 | 0.600 [0.500, 0.700] |" in text
    assert "10 minutes of one thread" in text
    report.findings.write_csv([board], tmp_path / "h.csv")
    rows = list(csv.DictReader((tmp_path / "h.csv").open()))
    assert [row["reward"] for row in rows] == [line.reward for line in board.lines]
    assert (rows[2]["ahead"], rows[2]["verdict"], rows[2]["baseline"]) == ("0.1", "better", "shorter")


def test_the_curve_by_step_ends_where_half_the_folds_have_stopped(report):
    logs = [
        [{"step": 5, "accuracy": 0.5}, {"step": 10, "accuracy": 0.7}, {"step": 15, "accuracy": 0.8}],
        [{"step": 5, "accuracy": 0.6}, {"step": 10, "accuracy": 0.5}],
        [{"step": 5, "accuracy": None}, {"step": 10, "accuracy": 0.6}],
    ]
    found = [(one.step, round(one.value, 6)) for one in report.curves.by_step("linear", logs)]
    assert found == [(5, 0.55), (10, 0.6)]


def test_the_curves_are_one_drawing_without_scripts(report):
    points = [report.curves.Point("linear", 10.0, 0.6, 0.5, 0.7), report.curves.Point("linear", 80.0, 0.7, 0.6, 0.8)]
    svg = report.curves.draw(points, [report.curves.Step("linear", 5, 0.6)], 0.55)
    assert svg.startswith("<svg")
    assert "training prompts" in svg
    assert "<script" not in svg
