"""From a run folder with trained policies to results.json and the report, with nothing scored on the way."""

import json

import pytest
import trained_run

from rmbench.measurements import measured
from rmbench.report.folders import write_run
from rmbench.results import to_json
from rmbench.runs import Run
from rmbench.store import RunFolder
from rmbench.studies.compute import compute
from rmbench.studies.training import training


def computed(folder):
    run = RunFolder(folder)
    results, problems = compute(run, run.manifest(), {})
    (folder / "results.json").write_bytes(to_json({"name": "made"}, results))
    rows = list(training(folder, run.manifest()))
    (folder / "measurements.json").write_bytes(to_json({"name": "made"}, rows))
    return results, problems


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    folder = trained_run.make(tmp_path_factory.mktemp("made") / "run")
    results, problems = computed(folder)
    out = folder / "report"
    write_run([Run(folder)], out)
    return folder, results, problems


def one(results, **fields):
    found = [row for row in results if all(getattr(row, name) == value for name, value in fields.items())]
    assert len(found) == 1, found
    return found[0]


def test_study_is_computed_from_the_folder(made):
    _, results, problems = made
    assert problems == []
    row = one(results, study="optimise", metric="gain", system="rl-one", reward="one", seed=None, against=None)
    assert row.value == pytest.approx(1.0, abs=0.05)
    assert row.ci[0] > 0.9
    assert one(results, metric="hacked", system="rl-one").value == 1.0
    assert one(results, metric="hacked", system="rl-two").reason.startswith("not hacked")
    assert one(results, metric="kl", system="rl-one", seed=2, step=None).value == 6.0
    assert one(results, metric="best-of-n", system="rl-one", reward="gold", step=16, seed=None).value > 0.4


def test_agreement_is_held_against_the_gain_of_only_two_rewards(made):
    _, results, _ = made
    rows = [row for row in results if row.metric.startswith("predicts-gain:")]
    assert {row.n for row in rows} == {1, 2}
    assert {row.value for row in rows} == {None}
    assert {row.reason for row in rows} == {"fewer than 3 rewards ran both studies"}
    assert {row.trainer for row in rows} == {"grpo", "ppo", None}


def test_scores_of_people_are_not_those_of_policies(made):
    _, results, _ = made
    row = one(
        results, study="agree", metric="pairwise-accuracy", reward="one", aspect="good", subset=None, against=None
    )
    assert row.pairs == trained_run.PROMPTS


def test_html_has_boards_graphs_and_texts(made):
    page = (made[0] / "report/index.html").read_text(encoding="utf-8")
    for words in (
        "Rewards as training signals: made, grpo from base", "Trainers on one: made, from base", "Training on made",
        "Hacked on made (the reward rises while every judge falls): rl-one.", "What the policies write",
        "Over-optimisation, fitted", "Does agreement predict optimisation?", "Where training time goes", "25 %",
        "before: base", "after: rl-one", "answer 0 of rl-one number 1", "answer 0 of nobody",
    ):  # fmt: skip
        assert words in page, words
    assert page.count("<svg") >= 3
    assert "Study: optimise" not in page


def test_boards_hold_floor_and_supervised_entries(made):
    text = (made[0] / "report/report.md").read_text(encoding="utf-8")
    board = text.split("Rewards as training signals")[1].split("**Trainers on one")[0]
    lines = [line for line in board.splitlines() if line.startswith("| ") and "---" not in line][1:]
    names = [line.split("|")[1].strip() for line in lines]
    assert names == ["rl-two", "sup (supervised only)", "rl-one", "base (floor)"]
    assert "yes" in lines[2]
    assert "before: base: answer 0 of base number 1" in text


def test_paper_and_csv_have_the_boards_and_every_number(made):
    tex = (made[0] / "report/results.tex").read_text(encoding="utf-8")
    assert r"\caption{Rewards as training signals: made, grpo from base" in tex
    assert r"\caption{Agreement and judged gain" not in tex  # two rewards predict nothing
    csv = (made[0] / "report/results.csv").read_text(encoding="utf-8")
    metrics = ("judged-gain", "hacked", "interquartile-mean", "scaling-alpha", "best-of-n", "predicts-gain:kendall")
    assert all(f",{metric}," in csv for metric in metrics)


def test_texts_none_shows_no_text(made, tmp_path):
    write_run([Run(made[0])], tmp_path, texts="none")
    for name in ("index.html", "report.md"):
        assert "answer 0 of" not in (tmp_path / name).read_text(encoding="utf-8")


def test_results_are_the_same_bytes_each_time(made):
    folder, results, _ = made
    before = (folder / "results.json").read_bytes()
    again, _ = compute(RunFolder(folder), json.loads((folder / "manifest.json").read_bytes()), {})
    assert to_json({"name": "made"}, again) == before
    assert again == results


def test_measurements_of_trainings_stand_with_the_others(made):
    from types import SimpleNamespace

    outcome = SimpleNamespace(seconds={}, peaks={}, measures={}, invariance={})
    rows = measured(made[0], outcome, SimpleNamespace(rewards=(), tasks=()))
    assert one(rows, metric="share:rollout", system="rl-one", seed=2).value == 0.25
    assert len({(row.metric, row.system, row.seed) for row in rows}) == len(rows)


def test_the_terminal_shows_the_boards(made):
    from rmbench.report.folders import run_tables

    *tables, said = run_tables(Run(made[0]))
    titles = [str(table.title) for table in tables]
    assert any(title.startswith("Rewards as training signals") for title in titles)
    assert str(said).startswith(
        "Whether agreement with people predicts gains from training cannot be said of 2 rewards"
    )
