"""Make hostile text inert, once per kind of output: terminal and HTML, Markdown, LaTeX, CSV.

Names, ids, reasons and sample texts come from data, and models have an incentive to write into a report.
HTML itself is escaped by the templates (autoescape); they receive text that went through `plain`.
"""

from __future__ import annotations

import re
import unicodedata

from rmbench.guard import ACTING

JOINERS = "\u200c\u200d"  # Persian, Hindi and emoji sequences need them
SEPARATORS = "\u2028\u2029"  # some readers take them for line ends

_FORMULA = "=+@\uff1d\uff0b\uff0d\uff20-"  # spreadsheets also take the full-width forms

_MARKDOWN = str.maketrans(
    {
        **{char: "\\" + char for char in "\\`*_[]~$"},
        "&": "&amp;",
        "<": "&lt;",
        ">": "&gt;",
    }
)

_LATEX = str.maketrans(
    {
        **{char: "\\" + char for char in "&%$#_{}"},
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        '"': r"\textquotedbl{}",
        "\u2212": r"\ensuremath{-}",
        "\u2013": "--",
        "\u00b7": r"\textperiodcentered{}",
    }
)
_LAST_LATIN = 0x017F  # pdflatex sets what is below without further packages


def plain(text: str, *, lines: bool = False) -> str:
    r"""Return the text with every character that could act shown as its code instead.

    Control characters (ESC, backspace, NUL, C1), bidirectional and zero-width characters and lone
    surrogates become ``\x1b`` or ``\u202e``. Line ends and tabs become one space; with ``lines`` both
    stay as they are, and so do the joiners of scripts and emoji.
    """
    if text.isascii() and text.isprintable():
        return text
    text = text.replace("\r\n", "\n")
    keep = "\n\t" + JOINERS if lines else ""
    return "".join(_visible(char, keep) for char in text)


def _visible(char: str, keep: str) -> str:
    if char.isascii() and char.isprintable():
        return char
    if char in keep:
        return char
    if char in "\n\t":
        return " "
    acts = unicodedata.category(char) in ("Cc", "Cf", "Cs")
    if acts or char in SEPARATORS or ACTING.match(char) or _nonchar(char):
        return f"\\x{ord(char):02x}" if ord(char) <= 0xFF else f"\\u{ord(char):04x}"  # noqa: PLR2004 - one byte
    return char


def _nonchar(char: str) -> bool:
    """Whether the code point is reserved for ever (U+FFFE and its like), which XML forbids."""
    return ord(char) & 0xFFFE == 0xFFFE or 0xFDD0 <= ord(char) <= 0xFDEF  # noqa: PLR2004 - as Unicode lists them


def markdown(text: str) -> str:
    """Return the text as it reads, in Markdown: no markup, no HTML, no links, no mentions, one line.

    ``@name``, ``#1`` and ``GH-1`` are cut by an empty comment, since a backslash does not keep forges from
    linking them.
    """
    text = plain(text).translate(_MARKDOWN)
    text = re.sub(r"([@#]|\bGH-)(?=\w|\\_)", r"\1<!-- -->", text, flags=re.IGNORECASE)
    text = re.sub(r"^(\s*)([#+=-])(?=[#+=-]|\s|$)", r"\1\\\2", text)  # heading, list, rule
    text = re.sub(r"^(\s*\d+)([.)])(?=\s|$)", r"\1\\\2", text)  # numbered list
    text = text.replace("](", "]\\(")
    text = re.sub(r"\\\[([-+0-9.]+, [-+0-9.]+)\\\](?![\\(\[:])", r"[\1]", text)  # an interval stays readable
    # Entities come last. A pipe as one, not as "\\|": a reader that splits cells by hand counts right.
    return text.replace("|", "&vert;").replace("://", "&colon;//").replace("www.", "www&period;")


def code(text: str) -> str:
    """Return the text as a Markdown code span (not for table cells: a pipe would end one)."""
    text = plain(text).strip() or "-"
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", text)), default=0))
    pad = " " if "`" in text else ""
    return f"{fence}{pad}{text}{pad}{fence}"


def latex(text: str) -> str:
    """Return the text as it reads, in LaTeX: no command survives, and what pdflatex cannot set is shown as a code."""
    escaped = plain(text).translate(_LATEX)
    return "".join(char if ord(char) <= _LAST_LATIN else f"[U+{ord(char):04X}]" for char in escaped)


def csv_cell(text: str) -> str:
    """Return the text of a CSV cell: what a spreadsheet would run as a formula gets a leading quote.

    Behind a semicolon too, where a spreadsheet of another locale than English begins a cell.
    """
    shown = re.sub(rf";(\s*)(?=[{_FORMULA}])", r";\1'", plain(text))
    return "'" + shown if text[:1] in tuple("\t\r\n") or shown.lstrip()[:1] in tuple(_FORMULA) else shown
