"""Rated texts, one a prompt: no pair, no headline. The report says what there is and shows it."""

from conftest import manifest, reward, row, run, task
from test_terminal import printed

from rmbench.report import tex
from rmbench.report.model import build
from rmbench.report.numbers import MISSING
from rmbench.report.tables import Cell, Head, Line, Table

CARD = task("ratings", "qa", main="quality", aspects=("quality",))


def rated(studies=("score", "agree")):
    """Means of a system, and correlations that are defined over all texts only."""
    rewards = [reward("rouge-l"), reward("random"), reward("human")]
    rows = []
    for at, each in enumerate(rewards):
        common = {"task": "ratings", "kind": "qa", "split": "test", "reward": each["name"], "signature": "x"}
        rows.append(row("score", "mean", value=0.5, ci=[0.4, 0.6], level="system", rows=9, n=9, unscored=0, **common))
        if "agree" in studies:
            own = {"aspect": "quality", "rows": 9, "unscored": 0, **common}
            rows.append(row("agree", "top1-accuracy", level="sample", n=0, reason="one text a sample", **own))
            rows.append(row("agree", "kendall", level="sample", n=0, reason="undefined in every sample", **own))
            rows.append(row("agree", "kendall", level="pooled", n=9, value=0.25 + at / 8, ci=[0.1, 0.6], **own))
    return manifest([CARD], rewards), rows


def facts(report):
    (section,) = (section for section in report.sections if section.title == "ratings")
    return dict(section.facts), section


def test_the_pooled_correlations_are_named_and_shown():
    report = build([rated()])
    found, section = facts(report)
    assert (
        found["headline"] == "none: no pair of texts that people order; the pooled correlations below are what there is"
    )
    titles = [table.title for table in section.tables]
    assert "Correlation: aspect quality" in titles
    assert report.leaders == ()
    assert not any("no labels" in sentence.lower() for sentence in report.summary)
    assert any("nothing is ranked" in sentence for sentence in report.summary)


def test_the_terminal_shows_the_first_table_that_has_a_number():
    text = printed(build([rated()]))
    head, line = (
        next(each for each in text.splitlines() if each.strip().startswith(word)) for word in ("reward", "rouge-l")
    )
    assert "ratings: Correlation: aspect quality" in text
    assert head.split()[:5] == ["reward", "kendall", "sample", "kendall", "pooled"]
    assert line.split()[:3] == ["rouge-l", MISSING, "0.250"]


def test_without_the_study_nothing_is_said_of_labels():
    found, _ = facts(build([rated(studies=("score",))]))
    assert found["headline"] == "none: nothing here compares rewards with people"


def test_oracles_are_counted_by_themselves_and_blamed_for_nothing():
    report = build([rated()])
    assert report.summary[1] == "1 reward, 1 null reward and 1 oracle on 1 task (qa)."
    assert not any("keep human off" in sentence for sentence in build([run()]).summary)


def test_a_kind_that_nobody_named_is_not_called_unknown():
    data, rows = rated()
    data["resolved"]["tasks"][0]["kind"] = None
    assert "unknown" not in build([(data, [{**each, "kind": None} for each in rows])]).summary[1]


def test_latex_takes_three_columns_of_intervals_at_a_time():
    heads = tuple(Head(f"task-{at}", "accuracy") for at in range(7))
    cells = tuple(Cell(str(at), "[0, 1]") for at in range(7))
    parts = tex._parts(Table("Headline", "Caption", "reward", heads, (Line("a", cells),), notes=("a: a note",)))
    assert [part.title for part in parts] == ["Headline (1 of 3)", "Headline (2 of 3)", "Headline (3 of 3)"]
    assert [[head.name[-1] for head in part.heads] for part in parts] == [list("012"), list("345"), ["6"]]
    assert [[cell.text for cell in part.lines[0].cells] for part in parts] == [list("012"), list("345"), ["6"]]
    assert [part.notes for part in parts] == [(), (), ("a: a note",)]
    narrow = Table("Headline", "Caption", "reward", (*heads[:3], Head("rows")), (Line("a", (*cells[:3], Cell("9"))),))
    assert tex._parts(narrow) == [narrow]


def test_latex_notes_stand_behind_the_float():
    text = tex.tables(build([run()]))
    inside = [part.split(r"\end{table}")[0] for part in text.split(r"\begin{table}")[1:]]
    assert r"\par\noindent{\footnotesize" in text
    assert not any(r"\par\noindent" in part for part in inside)
