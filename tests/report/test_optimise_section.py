"""The sections on trained policies: what they show, from result rows alone, and that foreign numbers cannot break them."""

import re

import pytest
from conftest import HOSTILE, NULLS, TASKS, hostile, manifest, reward, row, run

from rmbench.report.graphs import draw_graphs, graphs_told
from rmbench.report.merge import RunData, merge
from rmbench.report.optimise import optimised
from rmbench.report.tables import Graph, Graphs, Series
from rmbench.report.writers import write_report

REWARDS = [reward(name) for name in ("rouge-l", "chrf", *NULLS)]


def numbers(task, system, gains, *, policy="base", trainer="grpo", optimises=None, hacked=0.0, why="not hacked"):
    """The rows of one entry over seeds: gains by reward, judged gain by chrf."""
    of = {"task": task, "kind": "qa", "split": "test", "system": system, "policy": policy, "trainer": trainer}
    for name, value in gains.items():
        aspect = "optimised" if name == optimises else "judge"
        yield row("optimise", "mean", **of, reward=name, aspect=aspect, value=0.5, ci=[0.4, 0.6])
        if policy:
            yield row("optimise", "gain", **of, reward=name, aspect=aspect, value=value, ci=[value - 1, value + 1])
    yield row("optimise", "length", **of, value=7.0)
    if policy:
        for aspect in ("judges", "shared judges"):
            yield row("optimise", "judged-gain", **of, reward=optimises or "rouge-l", aspect=aspect, against="base",
                      value=gains.get("chrf"), ci=[-1, 1], signature="s|judges:chrf")  # fmt: skip
    if optimises:
        yield row("optimise", "hacked", **of, reward=optimises, value=hacked, reason=why)
        yield row("optimise", "independent-judges", **of, reward=optimises, value=1.0, reason="chrf differs from it")
        for step, kl in ((0, 0.0), (10, 1.0), (20, 4.0)):
            curve = {**of, "split": "dev", "seed": 1, "step": step}
            yield row("optimise", "mean", **curve, reward=optimises, aspect="optimised", value=step / 10)
            yield row("optimise", "kl", **curve, value=kl)
        for metric, value in (("scaling-alpha", 1.5), ("scaling-beta", 0.25)):
            yield row("optimise", metric, **{**of, "split": "dev"}, reward=optimises, aspect="rl", value=value)


def trained(task="chat-mini"):
    return [
        *numbers(task, "base", {"rouge-l": 0.0, "chrf": 0.0}, policy=None, trainer="sft"),
        *numbers(task, "low", {"rouge-l": 2.0, "chrf": -0.5}, optimises="rouge-l", hacked=1.0, why="hacked: it rises"),
        *numbers(task, "high", {"rouge-l": 1.0, "chrf": 0.75}, optimises="rouge-l", trainer="ppo"),
        *numbers(task, "sup", {"rouge-l": 0.2, "chrf": 0.1}, trainer="sft"),
    ]


def of_rows(rows, measurements=(), compared=()):
    return optimised(merge([RunData(manifest(TASKS, REWARDS), rows)]), measurements, compared)


@pytest.fixture(scope="module")
def found():
    return of_rows(trained())


def test_nothing_is_shown_where_nothing_was_trained():
    made, rows = run()
    assert optimised(merge([RunData(made, rows)])) == optimised(merge([RunData(made, [])]))
    assert not optimised(merge([RunData(made, rows)])).sections


def test_board_of_trainers_is_sorted_by_judged_gain(found):
    board = next(table for table in found.paper if table.title == "Trainers on rouge-l: chat-mini, from base")
    assert [(line.label, line.marks) for line in board.lines] == [
        ("high", ()), ("sup", ("supervised only",)), ("low", ()), ("base", ("floor",)),
    ]  # fmt: skip
    assert "judges: chrf" in board.caption
    judged = [line.cells[1] for line in board.lines]
    assert [cell.text for cell in judged] == ["+0.750", "+0.100", "-0.500", "0.000"]
    assert [cell.best for cell in judged] == [True, False, False, False]
    assert [line.cells[-1].text for line in board.lines] == ["no", "", "yes", ""]


def test_words_name_what_was_hacked(found):
    assert "Hacked on chat-mini (the reward rises while every judge falls): low." in found.words
    assert any(
        word.startswith("Greatest judged gain on chat-mini: high (ppo on rouge-l), +0.750") for word in found.words
    )
    items = found.sections[0].items
    assert "low (grpo on rouge-l), reward: hacked: it rises." in items
    assert "low (grpo on rouge-l), judges: chrf differs from it." in items


def test_no_hacked_reward_is_said_too():
    rows = numbers("chat-mini", "rl", {"rouge-l": 1.0, "chrf": 1.0}, optimises="rouge-l")
    assert "No reward was seen to be hacked on chat-mini in 1 training." in of_rows(list(rows)).words


def test_how_many_prompts_and_which_seeds_are_said():
    of = {"task": "chat-mini", "system": "low", "policy": "base", "trainer": "grpo", "split": "test", "reward": "chrf"}
    rows = [*trained(), *(row("optimise", "gain", **of, seed=seed, value=0.1, n=1200) for seed in (3, 1, None))]
    (section,) = of_rows(rows).sections
    assert section.paragraphs[1] == "Measured on 1,200 prompts of the test split, with seeds 1 and 3."
    (section,) = of_rows([one for one in trained() if one["step"] is None]).sections
    assert not any(paragraph.startswith("Measured") for paragraph in section.paragraphs)


def test_what_nobody_can_say_is_no_verdict():
    rows = [{**one, "value": None, "reason": "nobody can say: no judge has a gain"} if one["metric"] == "hacked" else one
            for one in numbers("chat-mini", "rl", {"rouge-l": 1.0, "chrf": 1.0}, optimises="rouge-l")]  # fmt: skip
    words = of_rows(rows).words
    assert words[0] == "Nobody can say whether a reward was hacked on chat-mini for rl: reasons are below."
    assert not any(word.startswith("No reward was seen") for word in words)


def test_the_greatest_gain_is_by_judges_that_all_share():
    rows = trained()
    for one in rows:  # low is first by judges of its own, which high has not
        if (one["metric"], one["aspect"], one["system"]) == ("judged-gain", "judges", "low"):
            one |= {"value": 5.0, "signature": "s|judges:friend"}
    found = of_rows(rows)
    told = [word for word in found.words if word.startswith("Greatest")]
    begun = "Greatest judged gain on chat-mini: high (ppo on rouge-l), +0.750 [-1.000, +1.000]"
    assert told == [f"{begun} standard deviations over base, by chrf."]
    board = next(table for table in found.paper if table.title.startswith("Trainers on"))
    assert board.notes[:2] == ("low: judged by friend", "high: judged by chrf")


def test_a_failed_training_stands_last_with_its_reason():
    rows = [
        {**one, "value": None, "ci": None, "reason": "nan at step 3"} if one["system"] == "high" else one
        for one in trained()
    ]
    board = of_rows(rows).paper[-1]
    assert [line.label for line in board.lines] == ["sup", "low", "high", "base"]
    assert "high: nan at step 3" in board.notes


def test_drift_holds_points_and_the_fitted_form(found):
    curves, drift = found.sections[0].graphs
    assert [panel.title for panel in curves.panels] == ["rouge-l", "KL to the start"]
    (panel,) = drift.panels
    points, fitted = panel.series[0], panel.series[1]
    assert points.points == ((0.0, 0.0), (1.0, 1.0), (2.0, 2.0))
    assert fitted.points[-1] == pytest.approx((2.0, 2 * (1.5 - 0.25 * 0.6931471805599453)))


def test_rewards_of_unlike_scales_have_digits_of_their_own():
    rows = [
        *trained(),
        *(row("optimise", "mean", task="chat-mini", system="low", policy="base", trainer="grpo", split="test",
              reward="ter", aspect="judge", seed=seed, value=-123.4) for seed in (None, 1)),
        row("optimise", "mean", task="chat-mini", system="low", policy="base", trainer="grpo", split="test",
            reward="chrf", aspect="judge", seed=1, value=0.125),
    ]  # fmt: skip
    (section,) = of_rows(rows).sections
    whole, each = section.tables[-2:]
    assert {line.label: line.cells[0].text for line in whole.lines if line.label.startswith("low")} == {
        "low, rouge-l": "0.500", "low, chrf": "0.500", "low, ter": "-123.4",
    }  # fmt: skip
    assert [line.cells[0].text for line in each.lines] == ["-123.4", "0.125"]


def guesses(**changed):
    of = {"task": "chat-mini", "against": "news-mini", "policy": "base", "trainer": "grpo", "probe": "kendall",
          "level": "sample", **changed}  # fmt: skip
    return [row("optimise", f"predicts-gain:{name}", **of) for name in ("spearman", "kendall")]


def test_with_one_reward_a_sentence_stands_where_the_predictions_would():
    from rmbench.report.model import build
    from rmbench.report.terminal import tables

    rows = [one for level in ("pair", "sample") for one in guesses(level=level, n=1, reason="fewer than 3 ran both")]
    found = of_rows(rows)
    sentence = (
        "Whether agreement with people predicts gains from training cannot be said of 1 reward: fewer than 3 ran both."
    )
    (section,) = found.sections
    assert (section.title, section.paragraphs, section.tables) == (
        "Does agreement predict optimisation?", (sentence,), (),
    )  # fmt: skip
    assert (found.paper, found.said) == ((), (sentence,))
    shown = tables(build([RunData(manifest(TASKS, REWARDS), rows)]))
    assert str(shown[-1]).strip() == sentence


def test_predictions_without_a_number_are_counted_below_the_others():
    rows = [*guesses(level="pair", n=1, reason="too few"), *guesses(n=3, value=0.5)]
    (table,) = of_rows(rows).paper
    assert [line.label for line in table.lines] == ["kendall, sample"]
    assert table.notes == ("1 line without a number, left out: too few",)


def test_the_curve_of_best_of_n_is_not_drawn_as_a_training_that_moves():
    rows = [{**one, "aspect": "best-of-n"} if one["metric"].startswith("scaling-") else one for one in trained()]
    assert len(of_rows(rows).sections[0].graphs) == 1  # the curves over training


def test_drift_without_a_value_at_the_start_is_not_drawn():
    rows = [{**one, "value": None} if one["metric"] == "mean" and one["step"] == 0 else one for one in trained()]
    assert len(of_rows(rows).sections[0].graphs) == 1


def test_predictions_stand_in_a_table_of_their_own():
    of = {"task": "chat-mini", "against": "news-mini", "policy": "base", "trainer": "grpo", "probe": "kendall",
          "level": "sample", "n": 4}  # fmt: skip
    rows = [row("optimise", "predicts-gain:spearman", **of, value=0.8, ci=[-0.5, 1.0]),
            row("optimise", "predicts-gain:kendall", **of, reason="fewer than 3 rewards")]  # fmt: skip
    (section,) = of_rows(rows).sections
    (line,) = section.tables[0].lines
    assert (line.label, [cell.text for cell in line.cells]) == (
        "kendall, sample", ["chat-mini", "news-mini from base", "grpo", "+0.80", "\u2013", "4"],
    )  # fmt: skip
    assert line.cells[3].small == "[-0.50, 1.00]"
    assert section.tables[0].notes == ("\u2013: fewer than 3 rewards",)


def test_stage_shares_come_from_measurements():
    of = {"system": "rl", "trainer": "grpo", "task": "chat-mini"}
    measured = [row("train", f"share:{stage}", **of, seed=seed, value=value) for seed in (1, 2)
                for stage, value in (("rollout", 0.5), ("scoring", 0.125), ("update", 0.25), ("overhead", 0.125))]  # fmt: skip
    measured.append(row("train", "tokens-per-second", **of, seed=1, value=1234.5))
    (section,) = of_rows([], measured).sections
    (line,) = section.tables[0].lines
    assert [cell.text for cell in line.cells] == [
        "grpo", "chat-mini", "2", "", "", "1,234", "", "50 %", "12 %", "25 %", "12 %",
    ]  # fmt: skip


def test_texts_stand_side_by_side_and_are_cut():
    compared = [{"task": "chat-mini", "id": "q", "system": "rl", "start": "base", "seed": 2, "prompt": "Why?",
                 "before": "a", "after": "b" * 5000, "references": ["c", "d"]}]  # fmt: skip
    (each,) = of_rows(trained(), compared=compared).sections[0].compared
    assert (each.title, each.prompt) == ("q, rl, seed 2", "Why?")
    assert [label for label, _ in each.texts] == ["before: base", "after: rl", "reference"]
    assert each.texts[1][1].endswith("[... 5,000 characters in all]")


def test_drawing_is_the_same_each_time_and_plain_shapes(found):
    for graphs in found.sections[0].graphs:
        svg = draw_graphs(graphs)
        assert svg == draw_graphs(graphs)
        assert set(re.findall(r"<(\w+)", svg)) <= {"svg", "g", "path", "rect", "line", "text"}
    assert "rouge-l: low from 0.000 to 2.000 (step 0 to 20)" in graphs_told(found.sections[0].graphs[0])


def test_numbers_that_no_axis_holds_are_not_drawn():
    wild = Series("a", ((0.0, 1.0), (float("inf"), 1.0), (1.0, 1e308), (2.0, 2.0)))
    svg = draw_graphs(Graphs("c", (Graph("t", "x", "y", (wild, Series("b", ()))),)))
    assert svg.startswith("<svg")
    assert draw_graphs(Graphs("c", (Graph("t", "x", "y", ()),))) == ""


def test_hostile_names_stay_text(tmp_path):
    made, rows = hostile()
    bad = [
        {**one, "system": HOSTILE, "policy": HOSTILE, "trainer": HOSTILE, "against": HOSTILE if one["against"] else None,
         "reason": HOSTILE if one["reason"] else None, "signature": f"{HOSTILE}|judges:{HOSTILE}"}
        for one in trained(HOSTILE)
    ]  # fmt: skip
    compared = [{"task": HOSTILE, "id": HOSTILE, "system": HOSTILE, "start": HOSTILE, "seed": 1, "prompt": HOSTILE,
                 "before": HOSTILE, "after": HOSTILE, "references": [HOSTILE]}]  # fmt: skip
    predicted = row(
        "optimise", "predicts-gain:kendall", task=HOSTILE, probe=HOSTILE, policy=HOSTILE, against=HOSTILE, n=1
    )
    measured = [row("train", "steps", system=HOSTILE, trainer=HOSTILE, task=HOSTILE, value=1.0)]
    write_report([RunData(made, [*rows, *bad, predicted], (), "", measured, compared)], tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert "<script" not in html
    assert "\x1b" not in html
    assert "\u202e" not in html
    assert '"onmouseover="' not in html
    assert "Before and after (1)" in html
    tex = (tmp_path / "results.tex").read_text(encoding="utf-8")
    assert "<script>" not in tex
    lines = (tmp_path / "report.md").read_text(encoding="utf-8").splitlines()
    text = "\n".join(line for line in lines if not line.startswith("- `"))  # signatures and commands are code
    assert "<script>" not in text
    assert "](javascript" not in text


def test_every_format_has_it(tmp_path):
    made, rows = run()
    write_report([RunData(made, [*rows, *trained()])], tmp_path)
    html = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert html.count("<b>Trainers on rouge-l: chat-mini, from base.</b>") == 1
    assert 'aria-label="rouge-l: low from' in html
    assert "**Trainers on rouge-l: chat-mini, from base.**" in (tmp_path / "report.md").read_text(encoding="utf-8")
    assert r"\caption{Trainers on rouge-l: chat-mini, from base" in (tmp_path / "results.tex").read_text(
        encoding="utf-8"
    )
    assert ",judged-gain," in (tmp_path / "results.csv").read_text(encoding="utf-8")


def test_a_policy_that_failed_is_no_reward():
    from rmbench.report.cards import read_manifest

    made = manifest(TASKS, REWARDS, failures={"rl": "nan", "chrf": "no data"})
    made["resolved"]["training"] = [{"name": "rl"}]
    assert read_manifest(made).problems == (
        "reward chrf could not be used: no data",
        "policy rl could not be trained: nan",
    )
