"""What becomes of hostile text in every output: one suite run through the commands, every output checked, as a page.

python reports/robustness/hostile.py    (writes hostile.md beside this file; exit code 1 where anything acts)
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent.parent / "tests"), str(HERE.parent.parent / "tests" / "report")]

import hostile_world as world  # noqa: E402 - of the tests, which hold the same
import inert  # noqa: E402
from fakes import rmbench  # noqa: E402

from rmbench.guard import plain  # noqa: E402
from rmbench.report import escape  # noqa: E402

PLACES = {
    "suite": "the suite's name", "description": "a card's description", "licence": "a card's licence",
    "aspect": "an aspect", "language": "a language", "id-1": "an id", "system-0": "a system", "subset": "its subset",
    "pairs-0": "a preference's subset", "prompt 0": "a prompt", "text 0": "a response", "reference": "a reference",
    "option": "an option's value", "doc": "a plugin's description", "import": "a failing import",
    "plugin": "a plugin's errors, reasons, warnings and parts",
}  # fmt: skip
PIECES = (
    "<script>alert(1)</script>", "<img src=x onerror=alert(2)>", "<svg/onload=alert(3)>", "\"onmouseover='alert(4)'",
    "<!--", "|`b`|", "[x](javascript:alert(5))", "<http://evil.example>", "www.evil.example", "@user", "#1",
    "GH-1",
    "\\input{/etc/passwd}", "\\write18{id}", "^^5cdef", "$x$", "50% & _ ~", "\x1b[2J",
    "\x1b]8;;http://evil.example\x07", "\x1b]52;c;aWQ=\x07", "\x9b31m\x08\x7f", "\u202e\u2066\u200b", "[/x][link=x]",
)  # fmt: skip
FORMULAS = ("=cmd|' /C x'!A0", "+1+1", "-1+1", "@SUM(1)", "a;=1+1")
SCRIPT = {"index.html": "&lt;script", "report.md": "&lt;script", "results.tex": "\\textless{}script"}


def main() -> int:
    """Run the suite and write the page; return 1 where an output is not inert."""
    with tempfile.TemporaryDirectory() as folder:
        outputs, checked = made(Path(folder))
    lines = page(outputs, checked)
    (HERE / "hostile.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    wrong = [f"{name}: {what}" for name, found in checked.items() for what in found]
    sys.stdout.write("\n".join(wrong or [f"{len(checked)} outputs are inert"]) + "\n")
    return bool(wrong)


def made(base: Path) -> tuple[dict[str, str], dict[str, list[str]]]:
    """Return every output by its name, and what is wrong with each."""
    plugins, suite = world.plugins(base / "plugins"), world.suite(base / "suite")
    run = base / "run"
    done = {"run": rmbench("run", suite, "--out", run, path=plugins)}
    done |= {name: rmbench(name, run) for name in ("leaderboard", "compare")}
    done |= {"leaderboard add": rmbench("leaderboard", "add", run, base / "board")}
    done |= {"show": rmbench("show", "judged", path=plugins), "list": rmbench("list", path=plugins)}
    row = '{"id": "1", "prompt": "p", "response": "r"}\n'
    done |= {"score": rmbench("score", "-r", "judged", path=plugins, stdin=row)}
    outputs = {f"rmbench {name}": each.stdout + each.stderr for name, each in done.items()}
    checked = {name: inert.controls(text) for name, text in outputs.items()}
    checks = {".html": inert.html, ".md": inert.markdown, ".tex": inert.latex, ".csv": inert.table}
    for path in sorted([*(run / "report").iterdir(), *(base / "board").glob("*.*")]):
        name = path.name if path.parent.name == "report" else f"board/{path.name}"
        outputs[name] = path.read_bytes().decode()
        checked[name] = checks.get(path.suffix, inert.controls)(outputs[name])
    return outputs, checked


def page(outputs: dict[str, str], checked: dict[str, list[str]]) -> list[str]:
    """Return the lines of the page; what it says of an output was found there."""
    files = ("index.html", "report.md", "results.tex", "results.csv")
    terminal = "".join(text for name, text in outputs.items() if name.startswith("rmbench "))
    found = [(code(name), "; ".join(wrong) or "none") for name, wrong in checked.items()]
    places = [counted(marker, place, outputs, terminal) for marker, place in PLACES.items()]
    formulas = ", ".join(f"{code(cell)} is {code(escape.csv_cell(cell))}" for cell in FORMULAS)
    return [
        "# Hostile text", "",
        "Made by `python reports/robustness/hostile.py`, which fails where anything below acts.", "",
        "## Outputs", "",
        *table(("output", "elements, commands, cells, links or controls that act"), found), "",
        "## Where it was put, and how often it came out", "",
        *table(("place", *map(code, files), "terminal"), places), "",
        "## What it became", "",
        *table(("in", "HTML", "Markdown", "LaTeX", "CSV", "terminal"), [became(each, outputs) for each in PIECES]),
        "",
        f"Formulas in `results.csv`: {formulas}.",
    ]  # fmt: skip


def counted(marker: str, place: str, outputs: dict[str, str], terminal: str) -> list[str]:
    """Return how often the text of a place stands in each output."""
    counts = [outputs[name].count(f"{marker}{script}") for name, script in SCRIPT.items()]
    counts += [text.count(f"{marker}<script") for text in (outputs["results.csv"], terminal)]
    return [place, *(str(count or "-") for count in counts)]


def became(piece: str, outputs: dict[str, str]) -> list[str]:
    """Return what a piece of text is in each output, a dash where it does not stand there."""
    from markupsafe import escape as html

    shown = (
        ("index.html", str(html(escape.plain(piece)))), ("report.md", escape.markdown(piece)),
        ("results.tex", escape.latex(piece)), ("results.csv", escape.plain(piece).replace('"', '""')),
        ("rmbench show", plain(piece)),
    )  # fmt: skip
    return [code(escape.plain(piece)), *(code(text) if text in outputs[name] else "-" for name, text in shown)]


def code(text: str) -> str:
    """Return text as code in a cell of a table."""
    return escape.code(text).replace("|", "\\|")


def table(head: tuple[str, ...], rows: list) -> list[str]:
    """Return a table as lines of Markdown."""
    return [f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *rows)]


if __name__ == "__main__":
    sys.exit(main())
