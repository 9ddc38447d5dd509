"""Bad inputs 37 to 50: suites, cards of tasks, and the words of the command line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from bad_input import BadInput

SUITE = 'name = "mine"\ntasks = ["rows"]\nrewards = ["length"]\n'
CARD = (
    'name = "rows"\nversion = 1\nkind = "dialogue"\n\n[data]\ntest = "data.jsonl"\n\n'
    '[human]\naspects = ["quality"]\nmain = "quality"\n'
)
ROW = b'{"id": "a", "prompt": "p", "candidates": [{"text": "one"}, {"text": "two words"}]}\n'
DEEP = "[" * 5000 + "]" * 5000


def files(folder: Path, card: str | bytes = CARD, suite: str | bytes = SUITE) -> list[str]:
    """Write a task folder and a suite that names it, and return the words that run it."""
    (folder / "rows").mkdir()
    (folder / "rows" / "data.jsonl").write_bytes(ROW)
    for path, text in ((folder / "rows" / "task.toml", card), (folder / "suite.toml", suite)):
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return ["run", "suite.toml", "--out", "out"]


def suite(number: str, name: str, more: str | bytes, says: str, *, instead: bool = False) -> BadInput:
    """Return a case of a suite with further lines, or of other text instead."""
    text = more if isinstance(more, bytes) or instead else SUITE + more
    return BadInput(number, f"suite: {name}", lambda folder: files(folder, suite=text), says)


def card(number: str, name: str, change: tuple[str, str] | bytes, says: str) -> BadInput:
    """Return a case of a card in which one text is replaced, or of other bytes instead."""
    if isinstance(change, tuple) and change[0] not in CARD:
        raise ValueError(change)
    text = change if isinstance(change, bytes) else CARD.replace(*change, 1)
    return BadInput(number, f"card: {name}", lambda folder: files(folder, card=text), says)


def words(number: str, name: str, more: list[str], says: str) -> BadInput:
    """Return a case of further words on the command line."""
    return BadInput(number, f"words: {name}", lambda folder: [*files(folder), *more], says)


def rewards(entry: str) -> str:
    """Return a suite with this reward."""
    return SUITE.replace('["length"]', f"[{entry}]")


def weighted(weights: str) -> str:
    """Return a suite whose reward is a weighted sum."""
    return rewards(f'"length", "bleu", {{ use = "composite", options = {{ weights = {weights} }} }}')


def linked(folder: Path) -> list[str]:
    """A data file that is a link out of the card's folder."""
    found = files(folder)
    (folder / "secret.jsonl").write_bytes(ROW)
    (folder / "rows" / "data.jsonl").unlink()
    (folder / "rows" / "data.jsonl").symlink_to("../secret.jsonl")
    return found


def replaced(key: str, value: str) -> Callable[[Path], list[str]]:
    """Return what writes a suite that has another value of a key of ``SUITE``."""
    lines = [f"{key} = {value}" if line.startswith(key) else line for line in SUITE.splitlines()]
    return lambda folder: files(folder, suite="\n".join(lines) + "\n")


S, C = r"^rmbench: error: suite\.toml", r"^rmbench: error: rows/task\.toml"
CASES = [
    suite("37a", "a key twice", "limit = 3\nlimit = 4\n", S + r":5: not valid TOML: "),
    suite("37b", "a table twice", "[train]\na = 1\n[train]\nb = 2\n", S + r":6: not valid TOML: "),
    card("37c", "a key twice", ("version = 1", "version = 1\nversion = 2"), C + r":3: not valid TOML: "),
    suite("37d", "a string without its end", 'unscored = "wrong\n', S + r":4: not valid TOML: "),
    suite("38a", "a weight of nan", weighted("{ length = nan, bleu = 1.0 }"), S + r":3: .*weights.*NaN", instead=True),
    suite("38b", "a weight of inf", weighted("{ length = inf, bleu = 1.0 }"), S + r":3: .*weights.*Infinity", instead=True),
    suite("38c", "a timeout of nan", "timeout = nan\n", S + r":4: timeout is nan, expected"),
    suite("38d", "a timeout of inf", "timeout = inf\n", S + r":4: timeout is inf, expected"),
    card("38e", "a threshold of nan", ('main = "quality"', 'main = "quality"\ngood = nan'), C + r':11: "human\.good" is a number \(NaN\), expected a finite number'),
    suite("39a", "a boolean as the timeout", "timeout = true\n", S + r":4: timeout is true, expected a number"),
    suite("39b", "text as the timeout", 'timeout = "300"\n', S + r':4: timeout is "300", expected a number'),
    suite("39c", "the text false as a switch", rewards('{ use = "rouge-l", options = { stemmer = "false" } }'), S + r":3: .*stemmer", instead=True),
    suite("39d", "a boolean as the limit", "limit = true\n", S + r":4: limit is true, expected a whole number"),
    suite("39e", "a fraction as the limit", "limit = 1.5\n", S + r":4: limit is 1.5, expected a whole number"),
    card("39f", "a boolean as the version", ("version = 1", "version = true"), C + r':2: "version" is a boolean \(true\), expected a whole number'),
    card("39g", "text as the version", ("version = 1", 'version = "1"'), C + r':2: "version" is a string \("1"\), expected a whole number'),
    card("39h", "a number as the name", ('"rows"', "3"), C + r':1: "name" is a number \(3\), expected a string'),
    suite("39i", "one task as text", SUITE.replace('["rows"]', '"rows"'), S + r':2: tasks is "rows", expected a list', instead=True),
    suite("39j", "a number among the tasks", SUITE.replace('["rows"]', '["rows", 3]'), S + r":2: task 3 is not a string", instead=True),
    suite("40a", "a negative timeout", "timeout = -1\n", S + r":4: timeout is -1, expected seconds"),
    suite("40b", "a limit of 0", "limit = 0\n", S + r":4: limit is 0, expected at least 1"),
    suite("40c", "a negative limit", "limit = -5\n", S + r":4: limit is -5, expected at least 1"),
    card("40d", "version 0", ("version = 1", "version = 0"), C + r':2: "version" is 0, expected a whole number from 1'),
    words("40e", "a limit of 0", ["--limit", "0"], r"limit is 0, expected at least 1"),
    words("40f", "a negative timeout", ["--timeout", "-1"], r"timeout is -1"),
    words("40g", "no workers", ["--workers", "0"], r"--workers"),
    words("40h", "a share of unscored rows above 1", ["--max-unscored", "2"], r"--max-unscored"),
    words("40i", "a timeout of nan", ["--timeout", "nan"], r"timeout is nan"),
    suite("41a", "a misspelt key", 'metrcs = ["accuracy"]\n', S + r":4: .*metrcs.*\n  help: did you mean metrics"),
    suite("41b", "a misspelt option of a reward", rewards('{ use = "rouge-l", options = { stemer = true } }'), S + r":3: .*stemer.*\n  help: did you mean stemmer", instead=True),
    suite("41c", "a misspelt key of a reward", rewards('{ use = "length", optoins = {} }'), S + r":3: .*optoins.*\n  help: did you mean options", instead=True),
    card("41d", "a misspelt key", ("version", "verson"), C + r':2: the key "verson" is not known\n  help: did you mean version'),
    card("41e", "a misspelt table", ("[human]", "[humans]"), C + r':8: the key "humans" is not known\n  help: did you mean human'),
    words("41f", "a misspelt option", ["-o", "length.lenght_penalty=1"], r"lenght_penalty"),
    words("41g", "a misspelt switch", ["--limt", "3"], r"No such option.*--limt.*--limit"),
    BadInput("41h", "words: a misspelt command", lambda _: ["rnu"], r"No such command 'rnu'"),
    words("41i", "an option without a value", ["-o", "length.x"], r"-o 'length\.x' is not REWARD\.KEY=VALUE"),
    words("41j", "an option of a reward that is not there", ["-o", "lenth.x=1"], r"no reward 'lenth' in this run\n  help: did you mean length"),
    suite("42a", "a limit above 64 bits", "limit = 18446744073709551617\n", S + r":4: limit is 18446744073709551617, expected"),
    suite("42b", "a number of 5,000 digits", "limit = " + "9" * 5000 + "\n", S + r"(:\d+)?: not valid TOML: .*number.*long"),
    card("42c", "a version above 64 bits", ("version = 1", "version = 9223372036854775808"), C + r':2: "version" is 9223372036854775808'),
    words("42d", "a limit above 64 bits", ["--limit", "18446744073709551617"], r"limit is 18446744073709551617"),
    suite("43a", "lists nested 5,000 deep", f"metrics = {DEEP}\n", S + r"(:\d+)?: not valid TOML: nested too deep"),
    card("43b", "lists nested 5,000 deep", ("version = 1", f"version = {DEEP}"), C + r"(:\d+)?: not valid TOML: nested too deep"),
    *(card(f"44{letter}", f"the data file {name}", ("data.jsonl", name), C + r':6: "data\.test" is .*, (which leaves the task\'s folder|expected a file)|^rmbench: error: rows/.*d\.jsonl: no such file')
      for letter, name in zip("abcdef", ("../../secret.jsonl", "/etc/passwd.jsonl", "https://x.y/d.jsonl", "~/d.jsonl", "$HOME/d.jsonl", "/etc/passwd"), strict=True)),
    BadInput("44g", "card: a data file that is a link out of the folder", linked, C + r':6: "data\.test" is "data\.jsonl", which leaves the task\'s folder'),
    BadInput("44h", "suite: a task of a URL", replaced("tasks", '["https://x.y/d.jsonl"]'), r"no task or file 'https://x\.y/d\.jsonl'"),
    BadInput("44i", "suite: a task of ~", replaced("tasks", '["~/none.jsonl"]'), r"no task or file '~/none\.jsonl'"),
    BadInput("44j", "suite: a task that is not there", replaced("tasks", '["../none.jsonl"]'), r"no task or file '\.\./none\.jsonl'"),
    BadInput("45", "suite and card: a byte order mark; told is the next error",
             lambda folder: files(folder, card=b"\xef\xbb\xbf" + CARD.encode(), suite=b"\xef\xbb\xbf" + SUITE.encode() + b"limit = 0\n"), S + ":4: limit is 0"),
    suite("46a", "a byte that is no UTF-8", SUITE.encode() + b'unscored = "\xff"\n', S + r":4: byte 0xff at offset \d+ of the file is not UTF-8"),
    card("46b", "a byte that is no UTF-8", CARD.encode() + b"# \xff\n", C + r":11: byte 0xff at offset \d+ of the file is not UTF-8"),
    suite("46c", "UTF-16", SUITE.encode("utf-16"), S + r":1: .*(UTF-16|not UTF-8)"),
    suite("47", "an include (there are none)", 'include = "suite.toml"\n', S + r":4: unknown key .include."),
    BadInput("48a", "suite: a reward that is not known", replaced("rewards", '["lenth"]'), r"no reward.*lenth.*\n  help: did you mean length"),
    BadInput("48b", "suite: a task that is not known", replaced("tasks", '["news-mni"]'), r"no task or file 'news-mni'\n  help: did you mean news-mini"),
    suite("48c", "a metric that is not known", 'metrics = ["acuracy"]\n', S + r":4: .*acuracy.*\n  help: "),
    suite("48d", "a study that is not known", 'studies = ["agre"]\n', S + r":4: studies is .agre.*\n  help: did you mean agree"),
    words("48e", "a kind that is not known", ["--task", "rows/data.jsonl", "--kind", "dialog"], r'no kind "dialog"\n  help: did you mean dialogue'),
    BadInput("48f", "words: a suite that is not known", lambda _: ["run", "quickstrat"], r"no suite is called 'quickstrat'\n  help: did you mean quickstart"),
    BadInput("48g", "words: a suite file that is not there", lambda _: ["run", "none.toml"], r"no suite file 'none\.toml'"),
    BadInput("48h", "words: a reward of rmbench show that is not known", lambda _: ["show", "lenth"], r"lenth.*\n  help: did you mean length"),
    suite("49a", "weights that are all 0", weighted("{ length = 0.0, bleu = 0.0 }"), r"weights", instead=True),
    suite("49b", "no weights", weighted("{}"), S + r":3: .*weights", instead=True),
    suite("49c", "no rewards", SUITE.replace('["length"]', "[]"), S + r":3: rewards is missing or empty", instead=True),
    suite("49d", "no tasks at all", 'rewards = ["length"]\n', S + r": tasks is missing", instead=True),
    suite("49e", "no seeds", "seeds = []\n", S + r":4: seeds is empty"),
    suite("49f", "nothing", "", S + r": tasks is missing", instead=True),
    *(suite(f"50{letter}", f"the seed {seed}", f"seeds = [{seed}]\n", S + rf":4: seed {seed} is not a whole number from 0 to 2\^63-1")
      for letter, seed in zip("abcd", (2**70, "-1", "1.5", "true"), strict=True)),
    words("50e", "the seed 2^70", ["--seed", str(2**70)], r"seed \d{22} is not a whole number from 0 to 2\^63-1"),
    words("50f", "the seed -1", ["--seed", "-1"], r"seed -1 is not"),
    words("50g", "the seed 1.5", ["--seed", "1.5"], r"'1\.5' is not a valid int"),
    suite("several-a", "four wrong values at once", "studies = 3\nlimit = 0\ntimeout = -1\nseeds = [-1]\n", r"(?s)suite\.toml:5: .*suite\.toml:6: .*suite\.toml:7: .*suite\.toml:4: "),
    card("several-b", "three wrong keys at once", ("version = 1\n", "version = 0\nlicense = 3\nlanguages = 3\n"), r"(?s)task\.toml:3: .*task\.toml:2: .*task\.toml:4: "),
]  # fmt: skip
