"""The report as Markdown, for a pull request or a paper's repository. Charts are left to the HTML."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmbench.report.escape import code, markdown

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.report.model import Report
    from rmbench.report.tables import Beside, Example, Section, Table


def document(report: Report) -> str:
    """Return the whole Markdown document."""
    lines = [f"# {markdown(report.title)}", "", *_bullets(report.summary)]
    if report.leaders:
        lines += ["", "## Leaderboard"]
        for table in report.leaders:
            lines += ["", *table_lines(table)]
    for section in report.sections:
        lines += _section(section)
    return "\n".join(lines) + "\n"


def _section(section: Section) -> Iterable[str]:
    yield from ("", f"## {markdown(section.title)}")
    for paragraph in section.paragraphs:
        yield from ("", markdown(paragraph))
    for block in (
        _bullets(f"{name}: {value}" for name, value in section.facts),
        _bullets(section.items),
        [f"- {code(command)}" for command in section.commands],
        *(table_lines(table) for table in section.tables),
        *(_beside(each) for each in section.compared),
        *(_example(example) for example in section.examples),
    ):
        if block:
            yield from ("", *block)


def _bullets(sentences: Iterable[str]) -> list[str]:
    return [f"- {markdown(sentence)}" for sentence in sentences]


def _example(example: Example) -> list[str]:
    text = markdown(" / ".join(part for part in (example.prompt, example.text) if part))
    return [f"**{markdown(example.title)}** {markdown(example.scores)}", "", f"> {text}"]


def _beside(each: Beside) -> list[str]:
    told = [("prompt", each.prompt)] if each.prompt else []
    return [f"**{markdown(each.title)}**", "", *_bullets(f"{label}: {text}" for label, text in (*told, *each.texts))]


def table_lines(table: Table) -> list[str]:
    """Return one table as lines of Markdown: title and caption, the rows, the notes."""
    heads = [table.corner, *(f"{head.name} ({head.note})" if head.note else head.name for head in table.heads)]
    right = [False, *(head.numeric for head in table.heads)]
    rows = [[markdown(head) for head in heads]]
    for line in table.lines:
        label = line.label + "".join(f" ({mark})" for mark in line.marks)
        cells = [" ".join(part for part in (cell.text, cell.small) if part) for cell in line.cells]
        shown = [markdown(text) for text in (label, *cells)]
        best = [False, *(cell.best for cell in line.cells)]
        rows.append([f"**{text}**" if bold and text else text for text, bold in zip(shown, best, strict=True)])
    notes = ["", *_bullets(table.notes)] if table.notes else []
    return [f"**{markdown(table.title)}.** {markdown(table.caption)}", "", *_aligned(rows, right), *notes]


def _aligned(rows: Sequence[Sequence[str]], right: Sequence[bool]) -> list[str]:
    """Return the rows with columns padded to equal width, the rule below the first."""
    widths = [max(3, *(len(row[at]) for row in rows)) for at in range(len(right))]
    rule = ["-" * (width - 1) + ":" if flush else "-" * width for width, flush in zip(widths, right, strict=True)]
    lines = [
        [
            text.rjust(width) if flush else text.ljust(width)
            for text, width, flush in zip(row, widths, right, strict=True)
        ]
        for row in rows
    ]
    return [f"| {' | '.join(line)} |" for line in (lines[0], rule, *lines[1:])]
