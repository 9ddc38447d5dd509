"""A finished run folder with trained policies, made by hand: two rewards, two trainers, two seeds, pools, labels."""

import hashlib
import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from rmbench.store import canonical

REWARDS = ("one", "two", "gold")
SEEDS = (1, 2)
PROMPTS = 12
ENTRIES = ("base", "sup", "rl-one", "rl-two", "ppo-one")
EFFECTS = {  # what each entry adds to each reward
    "base": (0.0, 0.0, 0.0), "sup": (0.1, 0.1, 0.1), "rl-one": (1.0, -0.4, -0.6), "rl-two": (0.2, 0.8, 0.5),
    "ppo-one": (0.7, 0.3, 0.3),
}  # fmt: skip
SCALE = (1.0, 10.0, 100.0)


def plan(name, **changed):
    given = {
        "name": name, "kind": "policy", "use": "tiny", "trainer": None, "policy": None, "task": "made", "reward": None,
        "judges": [], "seeds": list(SEEDS), "signature": f"{name}@0a1b", "options": {}, "trainer_options": {},
    }  # fmt: skip
    return {**given, **changed}


def trained(name, trainer, reward):
    judges = [one for one in REWARDS if one != reward]
    return plan(name, kind="train", trainer=trainer, policy="base", reward=reward, judges=judges)


PLAN = [plan("base", trainer="sft"), plan("sup", trainer="sft", policy="base"), trained("rl-one", "grpo", "one"),
        trained("rl-two", "grpo", "two"), trained("ppo-one", "ppo", "one")]  # fmt: skip


def manifest(texts="text"):
    del texts
    rewards = [
        {"name": name, "use": name, "options": {}, "version": 1, "plugin": "made", "distribution": "made",
         "distribution_version": "1", "null": False, "oracle": False, "uses": [], "unscored": "wrong", "doc": ""}
        for name in REWARDS
    ]  # fmt: skip
    task = {
        "name": "made", "version": 1, "kind": "qa", "split": "test", "label": "made@1#00000000", "main": "good",
        "good": None, "aspects": ["good"], "languages": ["en"], "description": "Made by hand.", "licence": "MIT",
        "rows": PROMPTS * (2 + len(ENTRIES) * len(SEEDS)), "samples": PROMPTS, "skips": {}, "sha256": {},
        "signatures": {name: f"{name}@1|made@1#00000000|protocol:1" for name in REWARDS},
    }  # fmt: skip
    resolved = {
        "tasks": [task], "rewards": rewards, "studies": ["score", "agree", "optimise"], "metrics": None,
        "seeds": list(SEEDS), "limit": None, "unscored": "wrong", "timeout": 0, "training": PLAN,
    }  # fmt: skip
    return {
        "schema": 1, "name": "made", "status": "complete", "suite": {}, "base": "/", "data_dir": None, "kind": None,
        "resolved": resolved, "identity": {}, "fingerprint": "0", "versions": {}, "git": None, "device": "cpu",
        "command": "rmbench run made.toml", "started": "2026-11-26T10:00:00Z", "finished": "2026-11-26T10:01:00Z",
        "max_unscored": 0.001, "warnings": [], "failures": {}, "problems": [],
    }  # fmt: skip


def _rows():
    """Rows of candidates: two texts that people rated, then what each entry and seed wrote."""
    rng = np.random.default_rng(0)
    for at in range(PROMPTS):
        keys = [("human-a", None), ("human-b", None), *((name, seed) for name in ENTRIES for seed in SEEDS)]
        noise = rng.normal(size=3)
        for candidate, (system, seed) in enumerate(keys):
            effect = EFFECTS.get(system, (0.3, 0.2, 0.1) if system == "human-a" else (0.0, 0.0, 0.0))
            own = rng.normal(size=3) * 0.05
            scores = [scale * float(e + n + o) for scale, e, n, o in zip(SCALE, effect, noise, own, strict=True)]
            text = f"answer {at} of {system} number {seed or 0}"
            human = {"human-a": 2.0, "human-b": 1.0}.get(system)
            yield at, candidate, system, seed, text, human, scores


def _write(folder, name, table):
    path = folder / name
    path.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(table, path)
    line = {"part": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "rows": table.num_rows}
    with (folder / "journal.jsonl").open("a", encoding="utf-8") as journal:
        journal.write(json.dumps(line) + "\n")


def _lines(folder, entry, seed, name, rows):
    path = folder / "training" / entry / f"seed-{seed}" / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def make(folder):
    """Write the run folder and return it."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "manifest.json").write_bytes(canonical(manifest()))
    rows = list(_rows())
    at, candidate, systems, seeds, texts, human, scores = zip(*rows, strict=True)
    ids = [f"s{one}" for one in at]
    key = {"row": pa.array(range(len(rows))), "id": pa.array(ids), "candidate": pa.array(candidate, pa.int32()),
           "system": pa.array(systems)}  # fmt: skip
    references = [[f"answer {one} of nobody"] if c == 0 else None for one, c in zip(at, candidate, strict=True)]
    samples = {
        **key, "seed": pa.array(seeds, pa.int64()), "text": pa.array(texts),
        "prompt": pa.array([f"Question {one}?" for one in at]), "cluster": pa.array([f"{one:04d}" for one in at]),
        "subset": pa.array([None] * len(rows), pa.string()), "references": pa.array(references, pa.list_(pa.string())),
        "preferences": pa.array([None] * len(rows), pa.string()), "human.good": pa.array(human, pa.float64()),
    }  # fmt: skip
    _write(folder, "samples/made/part-00000.parquet", pa.table(samples))
    for index, name in enumerate(REWARDS):
        score = pa.array([its[index] for its in scores], pa.float64())
        reasons = pa.array([None] * len(rows), pa.string())
        _write(folder, f"scores/made/{name}/part-00000.parquet", pa.table({**key, "score": score, "reason": reasons}))
    for seed in SEEDS:
        _training(folder, seed)
    return folder


def _training(folder, seed):
    """Write what the trainings left: curves, pools, outputs, timings."""
    for entry in PLAN[2:]:
        effect = dict(zip(REWARDS, EFFECTS[entry["name"]], strict=True))
        curve = [
            {"step": 10 * k, "reward": effect[entry["reward"]] * k / 4, "unscored": 0, "kl": k * k * 0.3 * seed,
             "judges": {name: effect[name] * k / 4 for name in entry["judges"]}, "entropy": 2.0 - k / 10, "length": 5.0,
             "distinct-2": 0.8, "finished": 1.0}
            for k in range(5)
        ]  # fmt: skip
        _lines(folder, entry["name"], seed, "curve.jsonl", curve)
        outputs = [
            {"id": f"s{at}", "text": "", "tokens": 6, "finished": True, "kl": 4.0 + seed} for at in range(PROMPTS)
        ]
        _lines(folder, entry["name"], seed, "outputs.jsonl", outputs)
        timings = [{"step": k, "rollout": 2.0, "scoring": 1.0, "update": 4.0, "overhead": 1.0, "tokens": 800, "trained": 800}
                   for k in range(1, 4)]  # fmt: skip
        _lines(folder, entry["name"], seed, ".timings.jsonl", timings)
    rng = np.random.default_rng(seed)
    pools = []
    for at in range(PROMPTS):
        proxy = rng.normal(size=16)
        gold = 0.5 * proxy + rng.normal(size=16)
        scores = {"one": proxy.tolist(), "gold": gold.tolist()}
        pools.append({"id": f"s{at}", "scores": scores, "words": [5] * 16})
    _lines(folder, "rl-one", seed, "pool.jsonl", pools)
