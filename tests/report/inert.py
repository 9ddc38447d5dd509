"""What makes an output inert: checks of a whole page, document, table or terminal, by parsers that are not rmbench's.

Each returns what it found wrong, in words; an empty list is inert.
"""

from __future__ import annotations

import csv
import re
import unicodedata
from base64 import b64encode
from hashlib import sha256
from html.parser import HTMLParser

from markdown_it import MarkdownIt

_TAGS = """
    html head meta title style body header div strong nav a main h1 h2 p ul li section dl dt dd details summary pre
    table caption thead tbody tr th td b small span figure figcaption blockquote footer svg g path rect line circle
    text tspan
"""
TAGS = frozenset(_TAGS.split())
_ATTRIBUTES = """
    lang charset content http-equiv name id href class scope tabindex role aria-label aria-hidden
    aria-roledescription xmlns viewbox width height x x1 x2 y y1 y2 cx cy r rx ry d dx dy fill fill-opacity
    font-family font-size font-style font-weight opacity stroke stroke-dasharray stroke-linecap stroke-miterlimit
    stroke-opacity stroke-width text-anchor transform
"""
ATTRIBUTES = frozenset(_ATTRIBUTES.split())
POLICY = "default-src 'none'; style-src 'sha256-{}'; base-uri 'none'; form-action 'none'"
_COMMANDS = """
    begin end centering footnotesize setlength tabcolsep caption toprule midrule bottomrule par noindent scriptsize
    textbf textbackslash textasciitilde textasciicircum textless textgreater textbar textquotedbl ensuremath
    textperiodcentered
"""
COMMANDS = frozenset(_COMMANDS.split())
FORMULA = tuple("=+-@\uff1d\uff0b\uff0d\uff20")
BLOCKS = {"html_block", "link_open", "image", "fence", "code_block"}
UNSEEN = "\u200b\u200c\u200d\u2060\u034f\u115f\u1160\u3164\uffa0"
VISIBLE = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2\U000110bd\U000110cd"  # of class Cf, and yet seen
COLOUR = re.compile(r"\x1b\[[0-9;]*m")  # what rich itself writes on a terminal


class _Page(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.wrong: list[str] = []
        self.policy: list[str] = []
        self.style: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag not in TAGS:
            self.wrong.append(f"the element {tag}")
        self.wrong += [f"the attribute {name} of {tag}" for name in given if name not in ATTRIBUTES]
        if len(given) != len(attrs):
            self.wrong.append(f"an attribute of {tag} twice")
        if not (given.get("href") or "#").startswith("#"):
            self.wrong.append(f"a link to {given['href']}")
        self.wrong += [f"url() in {tag}" for name, value in attrs if name != "aria-label" and "url(" in (value or "")]
        if given.get("http-equiv") is not None:
            self.wrong += [] if self.tags == ["html", "head", "meta"] else ["the policy is not first in the head"]
            self.policy.append(str(given["content"]))
        self.tags.append(tag)

    def handle_data(self, data: str) -> None:
        if self.tags[-1:] == ["style"] and data.strip() and not self.style:
            self.style.append(data)

    def handle_comment(self, data: str) -> None:
        self.wrong.append(f"a comment: {data}")

    def handle_pi(self, data: str) -> None:
        self.wrong.append(f"an instruction: {data}")

    def unknown_decl(self, data: str) -> None:
        self.wrong.append(f"a declaration: {data}")


def html(text: str) -> list[str]:
    """Return elements, attributes and links beyond those of a report, and what is wrong with the policy."""
    page = _Page()
    page.feed(text)
    page.close()
    style = b64encode(sha256("".join(page.style).encode()).digest()).decode()
    wrong = [] if page.policy == [POLICY.format(style)] else [f"the policy is {page.policy}"]
    return page.wrong + wrong + controls(text, "\n\t")


def markdown(text: str) -> list[str]:
    """Return links, images, HTML and mentions, and rows of tables with too few or too many cells."""
    wrong = controls(text)
    cells: list[int] = []
    for block in MarkdownIt("gfm-like", {"linkify": False, "html": True}).parse(text):
        wrong += [block.type] if block.type in BLOCKS else []
        if block.type == "table_open":
            cells = []
        if block.type == "tr_open":
            cells.append(0)
        if block.type in ("td_open", "th_open"):
            cells[-1] += 1
        if block.type == "table_close" and len(set(cells)) != 1:
            wrong.append(f"rows of {sorted(set(cells))} cells")
        wrong += [child.type for child in block.children or () if child.type in BLOCKS]
        wrong += [c.content for c in block.children or () if c.type == "html_inline" and c.content != "<!-- -->"]
        runs = [c.content for c in block.children or () if c.type in ("text", "text_special")]
        wrong += [f"a mention: {run}" for run in runs if re.search(r"[@#]\w|\bGH-\d", run)]
    for line in text.split("\n"):  # as each is written: readers that make links of addresses look at the source
        prose = re.sub(r"(?<!\\)(`+)(?!`).*?(?<!`)\1(?!`)", "", line)
        wrong += [f"an address: {found}" for found in re.findall(r"\w+://|www\.", prose)]
        ends = line.count("|") if line.startswith("|") else 0
        wrong += ["a bare pipe"] if ends and ends != line.count(" | ") + 2 else []
    return wrong


def latex(text: str) -> list[str]:
    """Return the commands beyond those of a table, special characters that act, and braces without their other one."""
    wrong = controls(text)
    body = "\n".join(line for line in text.split("\n") if not line.startswith("% "))
    depth = 0
    for found in re.finditer(r"\\([A-Za-z@]+)|\\(.|\n)|([{}])|([%$#^~_])|([^\x00-\u017f])", body):
        word, symbol, brace, special, far = found.groups()
        wrong += [f"the command \\{word}"] if word and word not in COMMANDS else []
        wrong += [f"the command \\{symbol}"] if symbol and symbol not in "&%$#_{}\\" else []
        depth += {"{": 1, "}": -1}.get(brace, 0)
        wrong += [f"the character {special or far}"] if special or far else []
        wrong += ["a brace closed that was not open"] if depth < 0 else []
    wrong += ["a brace left open"] if depth else []
    named = set(re.findall(r"\\(?:begin|end)\{(.*?)\}", body))
    return wrong + [f"the environment {name}" for name in named - {"table", "tabular"}]


def table(text: str) -> list[str]:
    """Return the cells of a CSV that a spreadsheet would run, whatever separates its cells, and rows of odd length."""
    wrong = controls(text)
    rows = list(csv.reader(text.splitlines(keepends=True)))
    wrong += ["rows of different length"] if len({len(row) for row in rows}) != 1 else []
    for cell in (cell for row in rows for cell in row):
        for part in cell.split(";"):
            wrong += [f"the formula {part}"] if part.lstrip().startswith(FORMULA) and not _is_number(part) else []
    return wrong


def controls(text: str, allowed: str = "\n") -> list[str]:
    """Return the characters that a terminal or a reader acts upon without showing them."""
    found = {
        c
        for c in text
        if c not in allowed + VISIBLE
        and (unicodedata.category(c) in ("Cc", "Cf", "Cs", "Zl", "Zp") or c in UNSEEN or 0xE0100 <= ord(c) <= 0xE01EF)
    }
    return [f"the character U+{ord(char):04X}" for char in sorted(found)]


def terminal(text: str) -> list[str]:
    """Return the controls in what was written to a terminal, but for line ends and rich's own colours."""
    return controls(COLOUR.sub("", text.replace("\r\n", "\n")))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
