"""A small run with trained policies, made by hand: the files that the optimise study reads, and its rows."""

import json

from small_rows import make_rows, reward

from rmbench.store import RunFolder
from rmbench.studies.optimise import optimise

SEEDS = (1, 2)
PROMPTS = 6


def entry(name, **changed):
    given = {
        "name": name, "kind": "policy", "use": "tiny", "trainer": None, "policy": None, "task": "made", "reward": None,
        "judges": [], "seeds": list(SEEDS), "signature": f"{name}@abc", "options": {}, "trainer_options": {},
    }  # fmt: skip
    return {**given, **changed}


def train(name, reward_name, judges=("gold",), **changed):
    given = {"kind": "train", "trainer": "grpo", "policy": "base", "reward": reward_name, "judges": list(judges)}
    return entry(name, **{**given, **changed})


def manifest(entries, rewards=("proxy", "gold"), *, uses=None, **changed):
    resolved = {
        "tasks": [], "studies": ["score", "optimise"], "seeds": [1], "limit": None, "training": entries,
        "rewards": [{"name": name, "null": False, "oracle": False, "uses": (uses or {}).get(name, [])} for name in rewards],
    }  # fmt: skip
    return {"resolved": resolved, "failures": {}, **changed}


def rows_of(table, rewards, *, prompts=PROMPTS, references=True, **changed):
    """Rows of texts by {(system, seed or None): (text of each prompt)}, scores by {reward: {(system, seed): [..]}}."""
    keys = list(table)
    samples = [[(name, table[name, seed][at]) for name, seed in keys] for at in range(prompts)]
    made = []
    for name, by_key in rewards.items():
        values = [by_key.get(key, [None] * prompts)[at] for at in range(prompts) for key in keys]
        made.append(reward(name, values))
    seeds = tuple(seed for _ in range(prompts) for _, seed in keys)
    told = {"references": [("a b c d",)] * prompts} if references else {}
    return make_rows(samples, made, **told, **{"written": seeds, **changed})


def flat(*values):
    """The same score for every prompt, with a little spread that is equal for all: 0, 1, 2, ... hundredths."""
    return [values[0] + at / 100 for at in range(PROMPTS)] if len(values) == 1 else list(values)


def run_folder(path, files=None):
    """A run folder with these files under training/, each a list of objects."""
    for name, lines in (files or {}).items():
        place = path / "training" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text("".join(json.dumps(line) + "\n" for line in lines), encoding="utf-8")
    return RunFolder(path)


def study(path, entries, rows, files=None, **changed):
    """The results of the study."""
    return optimise(run_folder(path, files), manifest(entries, tuple(rows.rewards), **changed), rows)


def small(scores, *, texts=None, names=("base", "rl"), prompts=PROMPTS, **changed):
    """Rows of two systems and two seeds with these scores."""
    table = {(name, seed): (texts or {}).get((name, seed), ["a b c"] * prompts) for name in names for seed in SEEDS}
    return rows_of(table, scores, prompts=prompts, **changed)
