"""Every human-labelled set, one run: each number of agree and score recomputed from the raw files and the score rows."""

from __future__ import annotations

import fcntl
import hashlib
import json
import math
import os
import random
import tomllib
from collections import Counter, defaultdict
from dataclasses import dataclass

import pyarrow.parquet as pq
import pytest
from expected import Comparison, agree, difference, headline, score, units
from recompute import Data, grouped, mean
from recompute_quality import auroc
from recompute_score import corpus

import rmbench
from rmbench import Reward

pytestmark = pytest.mark.data

TASKS = (
    "summeval", "qags-cnn", "wmt21-ted-mqm-ende", "usr-topicalchat", "grade", "hh-harmless", "llmbar",
    "rm-bench-chat-safety", "judgebench-gpt4o", "qa-feedback",
)  # fmt: skip
LIMIT = 120
OWN_TIMES = 3000
NULLS = {"random", "constant", "longest", "shortest", "copy", "lead"}
P_VALUES = {("length", "holes"), ("length", "gaps"), ("holes", "gaps"), ("length", "lead"), ("holes", "random")}
NOT_RECOMPUTED = {"soft-pairwise-accuracy"}  # 10,000 permutations; margin-over-null has a test of its own
HOLES = '''
def holes(batch):
    """Coarse, with many ties, and nothing for every eleventh text or so."""
    sums = [sum(map(ord, text)) for text in batch.responses]
    return [None if n % 11 == 0 else n % 4 + 0.1 * (len(text) % 3) for n, text in zip(sums, batch.responses)]
'''


def gaps():
    """Answer nothing to texts whose length divides by seven."""

    def score(batch):
        return [float(len(set(text))) / 3 if len(text) % 7 else None for text in batch.responses]

    return score


def rewards(folder):
    path = folder / "holes.py"
    path.write_text(HOLES, encoding="utf-8")
    column = {"use": "column", "name": "skywork", "options": {"name": "Skywork/Skywork-Reward-Gemma-2-27B"}}
    return [
        "length", "rouge-1", "human", f"{path}:holes", column, {"use": "length", "name": "length-again"},
        Reward("gaps", 1, gaps, unscored="exclude"),
    ]  # fmt: skip


@dataclass(frozen=True)
class Stored:
    """A run: its results, and the data of each task and reward read without rmbench."""

    results: list[dict]
    data: dict[tuple[str, str], tuple[Data, dict]]

    def of(self, task, reward, study):
        chosen = [r for r in self.results if (r["task"], r["reward"], r["study"]) == (task, reward, study)]
        return [r for r in chosen if r["metric"] not in NOT_RECOMPUTED]


def run_once(folder, data_dir):
    """Run in a folder that the workers of pytest-xdist share: the first one runs, the others wait for it."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        out = folder / "run"
        if not (folder / "done").exists():
            suite = {"name": "independent", "tasks": list(TASKS), "studies": ["agree"], "limit": LIMIT}
            rmbench.run(suite, rewards=rewards(folder), out=out, force=True, data_dir=data_dir)
            (folder / "done").touch()
    return out


@pytest.fixture(scope="module")
def stored(tmp_path_factory, data_dir):
    base = tmp_path_factory.getbasetemp()
    folder = (base.parent if "PYTEST_XDIST_WORKER" in os.environ else base) / "independent"
    folder.mkdir(exist_ok=True)
    return read_run(run_once(folder, data_dir), data_dir)


def read_run(out, data_dir):
    results = json.loads((out / "results.json").read_text(encoding="utf-8"))["results"]
    data = {}
    for path in sorted(data_dir.glob("*/task.toml")):
        card = tomllib.loads(path.read_text(encoding="utf-8"))
        if card["name"] in TASKS:
            data |= read_task(out, card, path.parent / card["data"]["test"])
    return Stored(results, data)


def prompt_key(sample):
    turns = [
        [t["role"], t["content"]] for t in sample.get("messages") or [{"role": "user", "content": sample["prompt"]}]
    ]
    return hashlib.sha256(json.dumps([turns, sample.get("context")]).encode()).hexdigest()[:16]


def read_task(out, card, path):
    """Return (task, reward) -> (data, parts) of the rewards that were run on a task."""
    raw = [json.loads(line) for line in path.read_text(encoding="utf-8").split("\n") if line]
    human = card.get("human", {})
    found = {}
    for folder in sorted((out / "scores" / card["name"]).iterdir()):
        columns = read_scores(folder)
        samples = [sample for sample in raw if (sample["id"], 0) in columns["score"]]
        assert len(columns["score"]) == sum(len(sample["candidates"]) for sample in samples)
        tables = {name: table(samples, cells) for name, cells in columns.items()}
        data = Data(
            samples, tables.pop("score"), tuple(human.get("aspects", ())), human.get("main"), human.get("good"),
            exclude=folder.name == "gaps", prompts=tuple(map(prompt_key, samples)),
        )  # fmt: skip
        found[card["name"], folder.name] = data, tables
    return found


def read_scores(folder):
    """Return name -> (id, candidate) -> value: of the score, and of the parts by their own name."""
    columns = defaultdict(dict)
    for path in sorted(folder.glob("part-*.parquet")):
        for row in pq.read_table(path).to_pylist():
            assert (row["score"] is None) == (row["reason"] is not None)
            for name in row.keys() - {"row", "id", "candidate", "system", "reason"}:
                columns[name.removeprefix("part.")][row["id"], row["candidate"]] = row[name]
    return columns


def table(samples, cells):
    return [[cells[sample["id"], c] for c in range(len(sample["candidates"]))] for sample in samples]


def scored(data):
    return any(value is not None for row in data.scores for value in row)


def test_every_number_of_every_reward(stored):
    comparison, left = Comparison(), Counter(r["metric"] for r in stored.results if r["study"] in ("agree", "score"))
    for (task, reward), (data, parts) in stored.data.items():
        of_score = {(r["metric"], r["system"], r["against"]): r for r in stored.of(task, reward, "score")}
        comparison.table(of_score, score(data, parts, null=reward in NULLS))
        of_agree = [r for r in stored.of(task, reward, "agree") if r["against"] is None]
        if scored(data):
            keyed = {(r["metric"], r["aspect"], r["level"], r["subset"]): r for r in of_agree}
            assert len(keyed) == len(of_agree)
            comparison.table(keyed, agree(data, parts, calibrated=reward not in NULLS | {"human"}))
        else:
            assert all(r["value"] is None and r["reason"] for r in of_agree)
    assert not comparison.problems, dict(comparison.problems)
    assert comparison.compared.total() > 5000, comparison.compared
    never = left.keys() - comparison.compared.keys()
    assert never == {*NOT_RECOMPUTED, "margin-over-null", "bleu", "chrf", "rouge-1", "rouge-2", "rouge-l"}


@pytest.mark.parametrize("task", TASKS)
def test_corpus_statistics(stored, task):
    data, _ = stored.data[task, "length"]
    found = [r for r in stored.results if (r["task"], r["study"], r["reward"]) == (task, "score", None)]
    systems = sorted({r["system"] for r in found})[:4]
    keyed = {(r["metric"], r["system"]): r for r in found if r["system"] in systems}
    comparison = Comparison()
    comparison.table(keyed, corpus(data.samples, systems))
    assert not comparison.problems, dict(comparison.problems)
    assert comparison.compared.total() == 5 * len(systems)


def differences_of(stored, task, metric):
    """Return the results that hold one reward against another by this metric."""
    found = [r for r in stored.results if r["study"] == "agree" and r["against"] is not None]
    return [r for r in found if (r["task"], r["metric"]) == (task, metric)]


def plain(stored, task):
    """Return the data of the rewards with a score, without the one whose labels are other raters."""
    found = {reward: pair for (name, reward), pair in stored.data.items() if name == task}
    return {reward: data for reward, (data, parts) in found.items() if scored(data) and not parts}


@pytest.mark.parametrize("task", TASKS)
def test_differences_and_margins(stored, task):
    datas = plain(stored, task)
    place = headline(datas["length"])
    couples = {(a, b): difference(datas[a], datas[b], place) for a in datas for b in datas}
    compared = 0
    for metric in (place[0], "margin-over-null"):
        for result in differences_of(stored, task, metric):
            if result["reward"] in datas and result["against"] in datas:
                value, pairs = couples[result["reward"], result["against"]]
                assert result["value"] == pytest.approx(value, abs=1e-9)
                assert result["pairs"] == pairs
                compared += 1
    others = len(datas.keys() - NULLS)
    assert compared == len(datas) * (len(datas) - 1) // 2 + others


@pytest.mark.parametrize("task", TASKS)
def test_margins_are_over_the_best_null_reward(stored, task):
    datas = plain(stored, task)
    place = headline(datas["length"])
    margins = {r["against"] for r in differences_of(stored, task, "margin-over-null")}
    assert len(margins) == 1
    best = datas[margins.pop()]
    assert all(difference(best, datas[name], place)[0] >= -1e-9 for name in NULLS)


# ---- intervals and tests


def test_values_lie_in_their_intervals(stored):
    held = [r for r in stored.results if r["ci"] is not None and r["study"] in ("agree", "score")]
    assert all(low <= high for low, high in (r["ci"] for r in held))
    outside = [r for r in held if not r["ci"][0] - 1e-9 <= r["value"] <= r["ci"][1] + 1e-9]
    assert len(held) > 4000
    assert len(outside) < 0.03 * len(held), Counter((r["metric"], r["level"]) for r in outside)


def test_identical_rewards_differ_by_nothing(stored):
    same = [r for r in stored.results if (r["reward"], r["against"]) == ("length", "length-again")]
    assert len(same) == len(TASKS)
    for r in same:
        assert (r["value"], r["ci"]) == (0.0, [0.0, 0.0])
        assert r["p"] == r["p_holm"] == (None if r["metric"] == "auroc" else 1.0)


def by_prompt(data, credit):
    """Return the values of each prompt, of a mapping whose keys begin with the sample."""
    groups = grouped(credit.items(), lambda item: data.prompts[item[0][0]]).values()
    return [[value for _, value in some] for some in groups]


def percentiles(groups, statistic, times=1000):
    draw = random.Random(5)
    drawn = (draw.choices(groups, k=len(groups)) for _ in range(times))
    values = sorted(statistic([value for some in each for value in some]) for each in drawn)
    return values[round(0.025 * times)], values[round(0.975 * times) - 1]


@pytest.mark.parametrize("task", TASKS)
def test_interval_of_the_headline_is_that_of_another_bootstrap(stored, task):
    data, _ = stored.data[task, "holes"]
    metric, aspect = headline(data)
    if metric == "auroc":
        own = percentiles(by_prompt(data, {c: c for c in data.rated(aspect)}), lambda cells: auroc(data, cells))
    else:
        own = percentiles(by_prompt(data, units(data, aspect)), mean)
    found = [r for r in stored.of(task, "holes", "agree") if r["subset"] is None and r["against"] is None]
    (result,) = [r for r in found if (r["metric"], r["aspect"]) == (metric, aspect)]
    assert result["ci"] == pytest.approx(own, abs=0.03)


def sign_flips(groups, draw, times):
    sums = [sum(values) for values in groups]
    observed = abs(sum(sums)) - 1e-9
    hits = sum(abs(sum(s if draw.random() < 0.5 else -s for s in sums)) >= observed for _ in range(times))
    return (1 + hits) / (1 + times)


@pytest.mark.parametrize("task", TASKS)
def test_p_values_of_the_headline_are_those_of_another_permutation_test(stored, task):
    datas = plain(stored, task)
    metric, aspect = headline(datas["length"])
    found = [r for r in differences_of(stored, task, metric) if (r["reward"], r["against"]) in P_VALUES]
    if metric == "auroc":
        assert all(r["p"] is None for r in found)
        return
    assert found
    for r in found:
        gains = {k: a - b for k, a, b in both(*(units(datas[r[side]], aspect) for side in ("reward", "against")))}
        own = sign_flips(by_prompt(datas[r["reward"]], gains), random.Random(7), OWN_TIMES)
        error = math.sqrt(max(own * (1 - own), 1e-3) * (1 / OWN_TIMES + 1 / 10_000))  # of both Monte-Carlo estimates
        assert r["p"] == pytest.approx(own, abs=5 * error)


def both(one, other):
    """Yield the units that count for both, with the credit that each gives."""
    for k in one:
        if one[k] is not None and other[k] is not None:
            yield k, one[k], other[k]


def holm(ps):
    """Return the adjusted p-values (Holm 1979), each from its definition."""
    order = sorted(ps)
    return [min(1.0, max((len(ps) - k) * q for k, q in enumerate(order) if q <= p)) for p in ps]


def test_holm_over_the_pairs_of_a_task(stored):
    families = defaultdict(list)
    for r in stored.results:
        if r["p"] is not None:
            families[r["study"], r["task"], r["reward"] if r["study"] == "score" else None].append(r)
    assert len(families) > 30
    for family in families.values():
        assert [r["p_holm"] for r in family] == pytest.approx(holm([r["p"] for r in family]), abs=1e-9)
