"""Run every misbehaving plugin alone beside a good reward, and say what became of both, as a page.

python reports/robustness/plugins.py    (writes plugins.md beside this file; exit code 1 where one has another outcome)

What misbehaves, with the exit code and the words that must come of it, is the table that the tests read:
tests/bad_plugins/misbehaving.py.
"""

from __future__ import annotations

import json
import re
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from pathlib import Path

HERE = Path(__file__).resolve().parent
TESTS = HERE.parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "bad_plugins")]

import misbehaving  # noqa: E402 - of the tests, which hold the same
from fakes import distribution, jsonl, reward_code, rmbench, rows  # noqa: E402

from rmbench.report.escape import markdown  # noqa: E402

VERSION = "1.2"
PROCESSES = 3
WAIT, PATIENCE = 2, 60  # seconds per batch: where something hangs, and elsewhere
LONGEST = 400  # characters of a message on the page
SECTIONS = (
    ("Rewards", "Each is scored beside `good`, 18 rows of one task.", misbehaving.REWARDS),
    ("Plugins that cannot be loaded", "Each is installed, and a run does not name it.", misbehaving.BROKEN),
    ("Plugins that change what is not theirs", "Each is installed beside the other of its table.", misbehaving.RUDE),
    ("Metrics", "Each measures `good` beside the metrics of rmbench.", misbehaving.METRICS),
    ("Observers", "Each sees the finished run.", misbehaving.OBSERVERS),
)


@dataclass(frozen=True)
class Outcome:
    """What came of one: the exit code, what the user sees, and the good reward's rows and numbers."""

    code: int
    says: str
    good: tuple[bytes, str] | None


def main() -> int:
    """Run them all and write the page; return 1 where one has another outcome than its table says."""
    every = [one for _, _, table in SECTIONS for one in table]
    with ProcessPoolExecutor(PROCESSES) as pool:
        alone = pool.submit(outcome, None)
        found = dict(zip(every, pool.map(outcome, every), strict=True))
        good = alone.result().good
    wrong = [one.name for one in every if not right(one, found[one], good)]
    (HERE / "plugins.md").write_text("\n".join(page(found, good)) + "\n", encoding="utf-8")
    sys.stdout.write(f"not as they must be: {', '.join(wrong)}\n" if wrong else f"{len(every)} are as they must be\n")
    return bool(wrong)


def right(one: misbehaving.Misbehaving | misbehaving.Plugin, found: Outcome, good: tuple[bytes, str] | None) -> bool:
    """Whether the outcome is that of the table, and the good reward is untouched (nothing is run at exit code 2)."""
    return found.code == one.code and one.says in found.says and found.good == (None if one.code == 2 else good)  # noqa: PLR2004


def outcome(one: misbehaving.Misbehaving | misbehaving.Plugin | None) -> Outcome:
    """Run the good reward with one that misbehaves, or alone."""
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        reward = isinstance(one, misbehaving.Misbehaving)
        if reward:
            code = (TESTS / "bad_plugins" / "rewards.py").read_text(encoding="utf-8")
            distribution(home, "bad-rewards", code, version=VERSION)
        else:
            distribution(home, "fair", reward_code("good", GOOD), version=VERSION)
        for each in [] if one is None or reward else beside(one):
            distribution(home, each.name, each.source, version=VERSION, entry=each.entry, requires=each.requires)
        words = ["run", "--task", jsonl(home / "cats.jsonl", rows()), "--reward", "good", "--out", home / "run"]
        words += ["--reward", one.name] if reward else []
        hangs = one is not None and ("no answer within" in one.says or one.name.startswith("hangs"))
        done = rmbench(*words, "--timeout", WAIT if hangs else PATIENCE, path=home, cwd=home)
        said = done.stderr.replace(str(home / "run"), "RUN").replace(f"{home}/", "").replace(f"{TESTS.parent}/", "")
        return Outcome(done.returncode, said, good_of(home / "run"))


GOOD = "return [float(len(text.split())) for text in batch.responses]"


def beside(one: misbehaving.Plugin) -> list[misbehaving.Plugin]:
    """Return the plugins to install: where two share an entry point, both."""
    return [each for each in misbehaving.PLUGINS if each == one or (one.entry and each.entry == one.entry)]


def good_of(run: Path) -> tuple[bytes, str] | None:
    """Return the good reward's rows as bytes and its numbers as text, but those of the metrics that misbehave."""
    part = next(run.glob("scores/*/good/part-00000.parquet"), None)
    if part is None or not (run / "results.json").is_file():
        return None
    own = {one.name for one in misbehaving.METRICS}
    results = json.loads((run / "results.json").read_text(encoding="utf-8"))["results"]
    good = [r for r in results if r["reward"] == "good" and r["against"] is None and r["metric"] not in own]
    return part.read_bytes(), json.dumps(good)


def words_of(found: Outcome, name: str) -> str:
    """Return the lines that name it, in Markdown: at most two, and what to do."""
    lines = [line for line in found.says.split("\n") if name in line and not line.startswith(("report:", "  help:"))]
    helps = [line.strip() for line in found.says.split("\n") if line.startswith("  help:")]
    short = [re.sub("^rmbench: ", "", line) for line in [*lines[:2], *helps[:1]]]
    return "<br>".join(markdown(line[:LONGEST] + ("..." if len(line) > LONGEST else "")) for line in short)


def page(
    found: dict[misbehaving.Misbehaving | misbehaving.Plugin, Outcome], good: tuple[bytes, str] | None
) -> list[str]:
    """Return the lines of the page."""
    lines = ["# Plugins that misbehave", ""]
    lines += ["Made by `python reports/robustness/plugins.py`, which runs each of them alone beside the reward `good`"]
    lines += [
        "and fails where one has another outcome than tests/bad_plugins/misbehaving.py says. Exit codes: 3 a reward"
    ]
    lines += ["cannot be used at all, 1 rows or a check failed, 0 it only left traces, 2 nothing was run.", ""]
    for title, told, table in SECTIONS:
        lines += [f"## {title}", "", told, "", "| name | what it does | exit | what the user sees | `good` |"]
        lines += ["| --- | --- | --- | --- | --- |"]
        for one in table:
            same = "not run" if found[one].good is None else "byte-equal" if found[one].good == good else "CHANGED"
            seen = words_of(found[one], one.name) or "nothing"
            lines.append(f"| {markdown(one.name)} | {markdown(one.does)} | {found[one].code} | {seen} | {same} |")
        lines.append("")
    return lines[:-1]


if __name__ == "__main__":
    sys.exit(main())
