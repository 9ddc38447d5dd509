"""A suite in which every text that data, a plugin or a folder can set is hostile, for every kind of output at once."""

from __future__ import annotations

import json
from pathlib import Path

from fakes import distribution, jsonl

HTML = (
    "<script>alert(1)</script><img src=x onerror=alert(2)><svg/onload=alert(3)>\"onmouseover='alert(4)' </script><!--"
)
MARKDOWN = (
    "|`b`|[x](javascript:alert(5))![y](http://evil.example/y.png)<http://evil.example> www.evil.example @user #1 GH-1"
)
LATEX = "\\input{/etc/passwd}\\write18{id}^^5cdef$x$ 50% & _ ~ \\csname end\\endcsname {"
TERMINAL = "\x1b[2J\x1b]8;;http://evil.example\x07\x1b]52;c;aWQ=\x07\x9b31m\x08\x7f\u202e\u2066\u200b\ufeff\U000e0041[/x][link=x]"
LINES = "\r\n# head\n- item\r\u2028\u0085\t"
ALL = f"{HTML} {MARKDOWN} {LATEX} {TERMINAL} {LINES}"
PART = f"<b>|`x`[y](javascript:z) @user GH-1 {LATEX[:25]}"
FORMULAS = ("=cmd|' /C x'!A0", "+1+1", "-1+1", "@SUM(1)", "\t=1+1", "\r=1+1")
TASK = "hostile-texts"
FILE = "=1+1 <b>|`x`[y](javascript:z)\x1b[31m\u202e\\input{x}.jsonl"

PLUGIN = '''
import sys, warnings
from rmbench import NoScore, Reward, hookimpl

BAD = {bad!r}
PART = {part!r}  # what is not printable, or longer, is refused

def judged(word: str = "x"):
    """{doc}"""
    def score(batch):
        print(BAD); sys.stderr.write(BAD); warnings.warn(BAD)
        values = [NoScore(BAD) if "unscored" in i else float(len(t)) for i, t in zip(batch.ids, batch.responses)]
        return {{"score": values, PART: [1.0] * len(batch), "=part": [0.5] * len(batch)}}
    return score

def raising():
    """Raises."""
    def score(batch):
        raise type(BAD, (ValueError,), {{}})(BAD)
    return score

@hookimpl
def rmbench_rewards():
    return [Reward(name="judged", version=1, build=judged), Reward(name="raising", version=1, build=raising)]
'''


def bad(place: str, first: str = "") -> str:
    """Return everything hostile at once, with the place that it stands in."""
    return f"{first}{place}{ALL}"


def plugins(folder: Path) -> Path:
    """Write a plugin whose texts are hostile and one whose import fails with such words."""
    folder.mkdir()
    doc = bad("doc").replace("\\", "\\\\").replace('"', '\\"')
    distribution(folder, "hostile", PLUGIN.format(bad=bad("plugin"), part=PART, doc=doc))
    distribution(folder, "broken", f"raise ImportError({bad('import')!r})")
    return folder


def rows(count: int = 6) -> list[dict]:
    """Return rows of three candidates by three systems, every text hostile."""
    made = []
    for i in range(count):
        of = f"{FORMULAS[i % len(FORMULAS)]}id-{i}{'unscored' if i == 0 else ''}"
        systems = [bad(f"system-{at}", FORMULAS[at]) for at in range(3)]
        texts = [bad(f"text {i}")[: 40 + 60 * at] + " word" * (i % 4 + at) for at in range(3)]
        made.append(
            {
                "id": bad(of), "prompt": bad(f"prompt {i}"), "context": bad("context"), "references": [bad("reference")],
                "subset": bad("subset", FORMULAS[i % 2]), "meta": {bad("meta"): bad("meta")},
                "candidates": [
                    {"system": systems[at], "text": texts[at], "meta": {bad("key"): bad("value")},
                     "human": {aspect: float((i + at) % 5) for aspect in ASPECTS}}
                    for at in range(3)
                ],
            }
        )  # fmt: skip
    return made


ASPECTS = (bad("aspect", "="), bad("second"))


def toml(value: object) -> str:
    """Return a text or a list of texts as TOML: JSON but for one character."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def suite(folder: Path) -> Path:
    """Write a task folder, a bare file of preferences and a suite over both, and return the suite."""
    task = folder / TASK
    task.mkdir(parents=True)
    jsonl(task / "data.jsonl", rows())
    about = {key: bad(key, "=") for key in ("description", "licence", "source", "citation")}
    card = [f'name = "{TASK}"', "version = 1", 'kind = "summarization"', f"languages = {toml([bad('language')])}"]
    card += [f"{key} = {toml(value)}" for key, value in about.items()]
    card += [
        "[data]",
        'test = "data.jsonl"',
        "[human]",
        f"aspects = {toml(list(ASPECTS))}",
        f"main = {toml(ASPECTS[0])}",
    ]
    (task / "task.toml").write_text("\n".join(card), encoding="utf-8")
    pairs = [
        {
            "prompt": bad(f"ask {i}"),
            "chosen": bad(f"chosen {i}"),
            "rejected": bad("rejected")[: 50 + i],
            "subset": bad(f"pairs-{i % 2}"),
        }
        for i in range(4)
    ]
    jsonl(folder / FILE, pairs)
    lines = [
        f"name = {toml(bad('suite', '='))}", f"tasks = {toml([TASK, FILE])}",
        f'rewards = ["length", "raising", {{ use = "judged", options = {{ word = {toml(bad("option", "="))} }} }}]',
    ]  # fmt: skip
    (folder / "suite.toml").write_text("\n".join(lines), encoding="utf-8")
    return folder / "suite.toml"
