"""Published figures through runs: reports/published, its ad-hoc rewards, and what it has committed."""

import csv
import dataclasses
import json
import tomllib
from pathlib import Path

import pytest
from fakes import modules_of

import rmbench

FOLDER = Path(__file__).resolve().parent.parent / "reports" / "published"
MODULES = ("figures", "pages", "make", "nlg_eval", "rouge155")


@pytest.fixture(scope="module")
def report():
    with modules_of(FOLDER, MODULES) as found:
        yield found


def suite(task: str, rewards: set[str], metrics: list[str]) -> dict:
    """The suite of the report, narrowed to a task, a few rewards and metrics."""
    given = tomllib.loads((FOLDER / "suite.toml").read_text(encoding="utf-8"))
    entries = [entry if isinstance(entry, dict) else {"use": entry, "name": entry} for entry in given["rewards"]]
    kept = [entry for entry in entries if entry["name"] in rewards]
    for entry in kept:
        entry["use"] = f"{FOLDER}/{entry['use']}" if ".py:" in entry["use"] else entry["use"]
    studies = ["agree"] if metrics else ["score"]
    return {**given, "tasks": [task], "rewards": kept, "metrics": metrics, "studies": studies}


def rows_of(report, data_dir, out, task: str, rewards: set[str], metrics: list[str]) -> list:
    run = rmbench.run(suite(task, rewards, metrics), out=out, data_dir=data_dir)
    found = report.make.numbers(report.make.Runs(run, {}))
    every = []
    for figure in report.figures.read(data_dir):
        ways = tuple(way for way in figure.ways if figure.task == task and way.name in rewards)
        if ways and all(at in found for way in ways for at in way.numbers):
            every.append(dataclasses.replace(figure, ways=ways))
    return report.make.compare(every, found)


@pytest.mark.data
def test_stored_reward_models_have_their_published_accuracies(report, data_dir, tmp_path):
    names, metric = set(report.figures.COLUMNS.values()), "pairwise-accuracy-strict"
    run = rmbench.run(suite("judgebench-gpt4o", names, [metric]), out=tmp_path / "run", data_dir=data_dir)
    rows = [row for row in run.rows if row.metric == metric and row.against is None]
    ours = {(row.reward, row.subset): row.value for row in rows}
    folder = report.figures.folders(data_dir)["judgebench-gpt4o"]
    entries = [entry for entry in report.figures.published(folder) if entry["verified"]]
    assert len(entries) == 25
    for entry in entries:
        subset = None if entry["level"] == "all" else entry["level"]
        assert round(ours[report.figures.COLUMNS[entry["metric"]], subset], 6) == entry["value"], entry


@pytest.mark.data
@pytest.mark.parametrize(("task", "count", "nothing"), [("usr-topicalchat", 8, 0), ("grade", 16, 4)])
def test_dialogue_figures_are_equal_at_three_decimals(report, data_dir, tmp_path, task, count, nothing):
    names = {"nlg-bleu-4", "nlg-rouge-l"}
    rows = rows_of(report, data_dir, tmp_path / "run", task, names, ["pearson", "spearman"])
    assert len(rows) == count
    missing = [row for row in rows if row.value is None]
    assert [row.reason for row in missing] == ["fewer than three systems"] * nothing
    assert all("system" in row.figure.level and "dailydialog" in row.figure.level for row in missing)
    for row in rows:
        if row.value is not None:
            assert abs(row.value - row.figure.value) <= 0.0005, row


@pytest.mark.data
def test_rouge_against_the_source_is_equal_with_the_stemmer_and_rounding_of_the_program(report, data_dir, tmp_path):
    names = ["rouge155-1", "rouge155-2", "rouge155-l"]
    rows = rows_of(report, data_dir, tmp_path / "run", "qags-cnn", set(names), ["pearson"])
    assert [row.way.name for row in rows] == names
    for row in rows:
        assert round(row.value, 6) == row.figure.value, row


@pytest.mark.data
def test_mean_ratings_of_systems_are_within_what_the_source_allows(report, data_dir, tmp_path):
    rows = rows_of(report, data_dir, tmp_path / "run", "wmt21-ted-mqm-ende", {"rating"}, [])
    assert len(rows) == 14
    for row in rows:
        assert abs(row.value - row.figure.value) <= 0.01, row


@pytest.mark.data
def test_the_committed_report_has_every_figure_and_explains_every_difference(report, data_dir):
    with (FOLDER / "figures.csv").open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    every = report.figures.read(data_dir)
    assert [(row["task"], row["metric"], row["level"], float(row["published"]), row["reward"]) for row in rows] == [
        (figure.task, figure.metric, figure.level, figure.value, way.name) for figure in every for way in figure.ways
    ]
    assert {row["verdict"] for row in rows} <= set(report.pages.ORDER)
    assert [row for row in rows if row["verdict"] != "equal" and row["why"] in {"", report.pages.UNEXPLAINED}] == []


def test_the_committed_manifest_names_no_place_and_no_time():
    text = (FOLDER / "manifest.json").read_text(encoding="utf-8")
    assert set(json.loads(text)) == {"command", "data", "fingerprints", "rewards", "suite", "versions", "warnings"}
    assert '"/' not in text


def test_bleu_of_a_text_equal_to_its_reference_is_one(report):
    assert report.nlg_eval.bleu_4("a b c d", ["a b c d"]) == pytest.approx(1.0, abs=1e-8)


def test_bleu_counts_ngrams_clipped_by_the_reference(report):
    # 1-grams 4 of 5 (the second a is clipped), 2-grams 3 of 4, 3-grams 2 of 3, 4-grams 1 of 2; as long as the reference
    value = report.nlg_eval.bleu_4("a b c d a", ["a b c d e"])
    assert value == pytest.approx((4 / 5 * 3 / 4 * 2 / 3 * 1 / 2) ** 0.25, abs=1e-8)


def test_bleu_is_lowered_where_the_text_is_shorter_than_the_closest_reference(report):
    assert report.nlg_eval.bleu_4("a b c d", ["a b c d e"]) == pytest.approx(0.778800783, abs=1e-8)  # exp(1 - 5/4)
    assert report.nlg_eval.bleu_4("a b c d", ["a b c d e f", "a b"]) == pytest.approx(1.0, abs=1e-8)  # the shorter one
    assert report.nlg_eval.bleu_4("a b c d", ["a b c d e", "x"]) == pytest.approx(0.778800783, abs=1e-8)


def test_bleu_without_common_words_is_tiny_and_not_zero(report):
    # one word, wrong: (1e-15 / 1) * (1e-15 / 1e-9) ** 3, to the power 1/4
    assert report.nlg_eval.bleu_4("x", ["y"]) == pytest.approx(1e-33**0.25, rel=1e-6, abs=0)


def test_rouge_l_weighs_recall_by_beta(report):
    # common: the cat; P 2/3, R 2/4: 2.44 * (1/3) / (0.5 + 1.44 * 2/3)
    assert report.nlg_eval.rouge_l("the cat sat", ["the cat lay down"]) == pytest.approx(0.5570776256)
    assert report.nlg_eval.rouge_l("a", ["b"]) == 0.0


def test_rouge_l_takes_best_precision_and_best_recall_over_the_references(report):
    # P: 2/2 from the first, R: 1/1 from the second
    assert report.nlg_eval.rouge_l("a b", ["a b c d", "b"]) == pytest.approx(1.0)


def test_rouge_l_has_an_empty_token_between_two_spaces(report):
    assert report.nlg_eval.rouge_l(" a  b ", ["a b"]) == pytest.approx(2.44 * (2 / 3) / (1 + 1.44 * 2 / 3))


def test_rouge155_rounds_precision_recall_and_f_to_five_decimals(report):
    assert report.rouge155.f_measure(2 / 3, 1 / 3) == 0.44444  # 2 * 0.66667 * 0.33333 / 1 = 0.444442...
    assert report.rouge155.f_measure(0.000004, 0.000004) == 0.0


def test_rouge155_stems_by_the_published_algorithm(report):
    assert report.rouge155.Tokens().tokenize("Dying, skies; was") == ["dy", "ski", "was"]  # NLTK's extensions: die, sky
