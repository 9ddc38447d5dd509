"""A report as sections of plain words and numbers, made of result rows and manifests. It scores nothing."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rmbench.report.agreement import agreement_chart, agreement_tables, by_task, marks_of
from rmbench.report.board import Board, boards, headlines
from rmbench.report.calibration import calibration_section
from rmbench.report.fits import fits_section
from rmbench.report.invariance import invariance_section, invariance_words
from rmbench.report.merge import Merged, RunData, merge
from rmbench.report.numbers import UNKNOWN, count
from rmbench.report.optimise import optimised
from rmbench.report.sections import (
    HOW_TO_READ,
    again_section,
    canary_section,
    example_section,
    other_section,
    provenance_section,
    signature_section,
)
from rmbench.report.speed import speed_section
from rmbench.report.standings import board_chart, board_table, summary
from rmbench.report.systems import system_chart, system_tables
from rmbench.report.tables import Chart, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.report.board import Headline
    from rmbench.report.cards import TaskCard


@dataclass(frozen=True, slots=True)
class Report:
    """What the writers print: a title, sentences, sections, and the boards behind the leaderboard.

    ``charts`` and ``leaders`` are the leaderboard's; ``paper`` are further tables for a paper, ``trained`` those of
    them on trained policies, ``said`` what stands in place of one without numbers; ``merged`` holds the rows.
    """

    title: str
    summary: tuple[str, ...]
    charts: tuple[Chart, ...]
    leaders: tuple[Table, ...]
    boards: tuple[Board, ...]
    sections: tuple[Section, ...]
    merged: Merged
    paper: tuple[Table, ...] = ()
    trained: tuple[Table, ...] = ()
    said: tuple[str, ...] = ()


def build(sources: Iterable[RunData | tuple[Any, ...]], *, allow_versions: bool = False, texts: bool = True) -> Report:
    """Return the report of one or several runs, each ``(manifest, results)`` or a `RunData`.

    Raises:
        InputError: two versions of a task, unless ``allow_versions``.
        RunFolderError: rows that are no rows of results.json.
    """
    every = [RunData(*source) for source in sources]
    merged = merge(every, allow_versions=allow_versions)
    found = headlines(merged)
    samples = [sample for source in every for sample in source.samples] if texts else []
    tasks = [_task_section(merged, card, found, samples) for card in merged.tasks.values()]
    measured = every[0].measurements if len(every) == 1 else ()
    calibration = calibration_section(merged)
    fits = fits_section(every[0].manifest, measured) if len(every) == 1 else None
    trained = optimised(merged, measured, [each for source in every for each in source.compared] if texts else ())
    own = [calibration, fits, *trained.sections, invariance_section(measured), speed_section(measured)]
    report = _report(merged, found, [*tasks, *(section for section in own if section)])
    paper = tuple(table for table in calibration.tables if not table.folded) if calibration else ()
    words = (*report.summary, *trained.words, *invariance_words(measured))
    tables = (*paper, *trained.paper)
    return replace(report, summary=words, paper=tables, trained=trained.paper, said=trained.said)


def build_leaderboard(sources: Iterable[RunData | tuple[Any, ...]], *, allow_versions: bool = False) -> Report:
    """Return the leaderboard of several runs: the report without the sections of the tasks."""
    merged = merge(sources, allow_versions=allow_versions)
    return _report(merged, headlines(merged), ())


def _report(merged: Merged, found: Sequence[Headline], tasks: Sequence[Section]) -> Report:
    standings = boards(merged, found)
    tables = [board_table(board, merged, found) for board in standings]
    if len(found) > 1:
        tables.insert(1, by_task(merged, found, _all_marks(merged, found)))
    canaries = canary_section(merged.rows, _all_marks(merged, found))
    others = other_section(merged.rows)
    return Report(
        title=" + ".join(run.name for run in merged.runs),
        summary=summary(merged, found, standings),
        charts=board_chart(standings[0]) if len(found) > 1 else (),
        leaders=tuple(tables),
        boards=standings,
        sections=(
            *tasks,
            *(section for section in (others, canaries) if section),
            Section("How to read it", items=HOW_TO_READ),
            signature_section(merged),
            again_section(merged),
            provenance_section(merged),
        ),
        merged=merged,
    )


def _all_marks(merged: Merged, found: Sequence[Headline]) -> dict[str, tuple[str, ...]]:
    """Return the marks of every reward over all tasks."""
    marks: dict[str, tuple[str, ...]] = dict(marks_of(merged, None))
    for headline in found:
        for name, its in marks_of(merged, headline).items():
            marks[name] = tuple(dict.fromkeys((*marks[name], *its)))
    return marks


def _task_section(
    merged: Merged, card: TaskCard, found: Sequence[Headline], samples: Sequence[Mapping[str, Any]]
) -> Section:
    rows = [row for row in merged.rows if row.task == card.name]
    headline = next((headline for headline in found if headline.task == card.name), None)
    marks = marks_of(merged, headline)
    return Section(
        title=card.name,
        paragraphs=(card.description,) if card.description else (),
        facts=_facts(card, headline, rows),
        charts=(*(agreement_chart(merged, headline) if headline else ()), *system_chart(rows, marks)),
        tables=(*agreement_tables(rows, _main(card, headline), marks), *system_tables(rows, marks)),
        examples=example_section(samples, card.name),
    )


def _main(card: TaskCard, headline: Headline | None) -> str | None:
    """Return the aspect whose tables stand open: that of the headline (None: stated preferences), else the card's."""
    return next(iter(headline.values.values())).aspect if headline else card.main


def _no_headline(rows: Sequence[Result]) -> str:
    """Say what there is where a task has no headline."""
    compared = [row for row in rows if row.study == "agree"]
    if any(row.level == "pooled" and row.value is not None for row in compared):
        return "none: no pair of texts that people order; the pooled correlations below are what there is"
    return "none: the numbers asked for lack it" if compared else "none: nothing here compares rewards with people"


def _facts(card: TaskCard, headline: Headline | None, rows: Sequence[Result]) -> tuple[tuple[str, str], ...]:
    good = (
        () if card.good is None or card.main is None else (("high quality", f"{card.main} of {card.good:g} or more"),)
    )
    return (
        ("kind", card.kind),
        ("languages", card.languages),
        ("samples", count(card.samples)),
        ("rows", count(card.rows)),
        ("licence", card.licence),
        ("label", card.label if card.label != UNKNOWN else UNKNOWN),
        ("headline", headline.words if headline else _no_headline(rows)),
        *good,
    )
