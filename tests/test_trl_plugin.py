"""plugins/rmbench-trl: TRL's trainers behind the hooks, on a tiny policy, on the CPU, offline."""

import dataclasses
import importlib
import json
import math
import random
import subprocess
import sys
from types import SimpleNamespace

import pytest
from fakes import REPO, rmbench

from rmbench.api import Runtime
from rmbench.errors import InputError, PluginError
from rmbench.judged import Fitting, Interrupted
from rmbench.policy import Scored, Session

PLUGIN = REPO / "plugins" / "rmbench-trl"
WORDS = ["the", "cat", "sat", "on", "a", "mat", "and", "dog", "barked", "at", "user"]
CARD = """
name = "toy-trl"
version = 1
kind = "generation"
description = "x"
licence = "MIT"
source = "x"
citation = "x"
languages = ["en"]
[data]
train = "train.jsonl"
dev = "dev.jsonl"
test = "test.jsonl"
"""
SMALL = {"steps": 2, "batch": 4, "evaluations": 1, "evaluation_prompts": 4, "learning_rate": 1e-2}
RUNTIME = Runtime(seed=3)


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory):
    """The plugin's own folder on the path; Hugging Face's packages read the environment when they are imported."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("HF_HUB_OFFLINE", "1")
        patch.setenv("HF_HOME", str(tmp_path_factory.mktemp("hf")))
        patch.syspath_prepend(str(PLUGIN))
        yield importlib.import_module("rmbench_trl")


@pytest.fixture(scope="module")
def judgements(tmp_path_factory):
    """Prompts, references and pairs of words; the better text of a pair has more of the word ``cat``."""
    from rmbench.judgements import read
    from rmbench.tasks import load_task

    draw = random.Random(1)

    def text(count):
        return " ".join(draw.choices(WORDS, k=count))

    def row(name):
        pair = [{"system": "a", "text": f"cat {text(2)} cat"}, {"system": "b", "text": f"dog {text(3)}"}]
        return {
            "id": name, "prompt": text(4), "references": [text(5)], "candidates": pair,
            "preferences": [{"better": 0, "worse": 1}],
        }  # fmt: skip

    folder = tmp_path_factory.mktemp("toy-trl")
    (folder / "task.toml").write_text(CARD)
    for split, count in (("train", 24), ("dev", 6), ("test", 2)):
        lines = "".join(json.dumps(row(f"{split}-{at}")) + "\n" for at in range(count))
        (folder / f"{split}.jsonl").write_text(lines)
    return read(load_task(folder), seed=1)


@pytest.fixture(scope="module")
def writes():
    from rmbench.policies.options import Tiny

    return Tiny(layers=1, width=16, heads=2, vocabulary=300, max_prompt=32, max_tokens=6)


@pytest.fixture(scope="module")
def policy(judgements, writes):
    """Makes the start, the same one each time."""
    from rmbench.policies import tiny

    return lambda: tiny.build(judgements, writes, RUNTIME)


def letters(samples, texts):
    """The share of the letters a to e; every fifth row is unscored."""
    values = [sum(c in "abcde" for c in text) / (len(text) or 1) for text in texts]
    return Scored(tuple(None if at % 5 == 2 else value for at, value in enumerate(values)), {2: "every fifth"})


def options_of(name, **more):
    from rmbench_trl import options

    kind = {"sft": "TrlSft", "dpo": "TrlDpo", "grpo": "TrlGrpo", "rloo": "TrlRloo"}[name]
    return getattr(options, kind)(**{**SMALL, **more})


def session(folder, policy, writes, *, score=letters, **more):
    return Session(
        folder, {"name": "mine"}, RUNTIME, writes, start=policy, score=score,
        judge=lambda samples, texts: {"letters": score(samples, texts), "other": Scored((1.0,) * len(texts))},
        reward="letters", **more,
    )  # fmt: skip


def trained(plugin, name, judgements, given, agent, **more):
    return getattr(plugin, f"train_{name}")(agent, judgements, options_of(name, **more), given)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def weights(agent):
    return {name: one.detach().clone() for name, one in agent.module.named_parameters()}


def configured(agent):
    """The configuration, but for what saving writes into it."""
    return {name: one for name, one in agent.model.config.to_dict().items() if name not in {"architectures", "dtype"}}


def same(one, two):
    import torch

    return all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize(
    ("name", "more"),
    [
        ("sft", {}),
        ("sft", {"learn": "sequences", "micro_batch": 2}),
        ("dpo", {}),
        ("dpo", {"pairs": "task"}),
        ("grpo", {"group": 4, "micro_batch": 8}),
        ("grpo", {"group": 4, "updates": 2, "kl": 0.0, "normalisation": "dapo"}),
        ("rloo", {"group": 4}),
    ],
)
def test_a_trainer_changes_the_weights_and_leaves_its_files(
    name, more, plugin, judgements, policy, writes, tmp_path
):  # fmt: skip
    agent, told = policy(), []
    before, held = weights(agent), set(vars(agent.model))
    config = configured(agent)
    made = trained(plugin, name, judgements, session(tmp_path, policy, writes, tell=told.append), agent, **more)
    assert (made.steps, made.stopped) == (2, "steps")
    assert not same(before, weights(agent))
    assert configured(agent) == config
    assert set(vars(agent.model)) == held
    assert not agent.module.training
    log, curve, timings = (lines(tmp_path / one) for one in ("log.jsonl", "curve.jsonl", ".timings.jsonl"))
    assert [row["step"] for row in log] == [row["step"] for row in timings] == [1, 2]
    assert [row["step"] for row in curve] == [0, 2]
    assert abs(curve[0]["kl"]) < 1e-6 < curve[1]["kl"]
    assert set(curve[0]["judges"]) == {"other"}
    assert all(math.isfinite(row["loss"]) and row["lr"] > 0 and row["grad_norm"] > 0 for row in log)
    assert all(row["trained"] > 0 and row["update"] > 0 for row in timings)
    assert [one["step"] for one in told] == [1, 2]
    if name in ("grpo", "rloo"):
        assert all(row["unscored"] == 3 and 0 < row["reward"] < 1 and row["length"] <= 6 for row in log)
        assert all(row["rollout"] > 0 and row["tokens"] > 16 for row in timings)
    measures = json.loads((tmp_path / ".measures.json").read_text())
    assert measures["tokens_per_second"] > 0
    assert {one.name for one in tmp_path.iterdir() if one.name != ".state"} == {
        "log.jsonl", "curve.jsonl", ".timings.jsonl", ".measures.json",
    }  # fmt: skip
    assert not list(tmp_path.glob(".state/*"))


def test_trl_reads_the_tokens_that_the_policy_reads(plugin, judgements, policy, writes, tmp_path, monkeypatch):
    agent = policy()
    wanted = set(agent.reader.prompts(judgements.train.samples))
    seen = []
    generate = type(agent.model).generate

    def watched(self, *given, **named):
        for ids, mask in zip(named["input_ids"], named["attention_mask"], strict=True):
            seen.append(tuple(ids[mask.bool()].tolist()))
        return generate(self, *given, **named)

    monkeypatch.setattr(type(agent.model), "generate", watched)
    asked = []

    def score(samples, texts):
        asked.extend(zip(agent.reader.prompts(samples), texts, strict=True))
        return letters(samples, texts)

    trained(
        plugin, "grpo", judgements, session(tmp_path, policy, writes, score=score), agent, group=2, steps=1,
    )  # fmt: skip
    drawn = [ids for ids in seen if ids in wanted]
    assert [ids for ids, _ in asked if ids in drawn][:8] == drawn[-8:] or len(drawn) >= 8
    assert set(drawn) <= wanted
    assert len(set(drawn[-8:])) == 4


@pytest.mark.parametrize("name", ["grpo", "sft"])
def test_a_training_that_was_stopped_goes_on_to_the_same_weights(name, plugin, judgements, policy, writes, tmp_path):
    more = {"steps": 4, "evaluations": 2, "schedule": "linear"} | ({"group": 2} if name == "grpo" else {})
    whole = policy()
    trained(plugin, name, judgements, session(tmp_path / "whole", policy, writes), whole, **more)
    answers = iter([False, True])
    stopped = session(tmp_path / "parts", policy, writes, stop=lambda: next(answers))
    with pytest.raises(Interrupted, match="stopped at step 2 of 4"):
        trained(plugin, name, judgements, stopped, policy(), **more)
    half = tmp_path / "parts" / ".state" / "trl" / "checkpoint-9"
    half.mkdir()  # of a process that was killed while it wrote
    again = policy()
    made = trained(plugin, name, judgements, session(tmp_path / "parts", policy, writes), again, **more)
    assert made.steps == 4
    assert same(weights(whole), weights(again))
    for file in ("log.jsonl", "curve.jsonl"):
        assert (tmp_path / "parts" / file).read_bytes() == (tmp_path / "whole" / file).read_bytes()


def test_a_budget_of_seconds_ends_it(plugin, judgements, policy, writes, tmp_path):
    given = session(tmp_path, policy, writes)
    made = trained(plugin, "sft", judgements, given, policy(), steps=50, seconds=1e-6)
    assert (made.steps, made.stopped) == (1, "seconds")
    assert [row["step"] for row in lines(tmp_path / "curve.jsonl")] == [0, 1]


def test_an_infinite_gradient_is_refused_and_the_weights_before_are_saved(
    plugin, judgements, policy, writes, tmp_path
):  # fmt: skip
    def huge(samples, texts):
        return Scored(tuple(3e38 * (-1) ** at for at in range(len(texts))))

    agent = policy()
    before = weights(agent)
    given = session(tmp_path, policy, writes, score=huge)
    with pytest.raises(InputError, match=r"gradient is \w+ at step 1") as caught:
        trained(plugin, "rloo", judgements, given, agent, group=2)
    assert "learning_rate (now 0.01)" in caught.value.help
    assert same(before, weights(agent))
    assert (tmp_path / "model.safetensors").is_file()


def test_a_reward_that_scores_nothing_ends_it_with_its_reason(plugin, judgements, policy, writes, tmp_path):
    def nothing(samples, texts):
        return Scored((None,) * len(texts), {0: "out of order"})

    with pytest.raises(InputError, match="'letters' scored no response: out of order"):
        trained(plugin, "grpo", judgements, session(tmp_path, policy, writes, score=nothing), policy(), group=2)


def test_a_constant_reward_teaches_nothing(plugin, judgements, policy, writes, tmp_path):
    def constant(samples, texts):
        return Scored((1.0,) * len(texts))

    agent = policy()
    before = weights(agent)
    given = session(tmp_path, policy, writes, score=constant)
    trained(plugin, "grpo", judgements, given, agent, group=2, kl=0.0)
    assert same(before, weights(agent))
    assert all(row["constant_groups"] == 1.0 for row in lines(tmp_path / "log.jsonl"))


def test_prompts_without_room_are_left_out_with_a_note(plugin, judgements, policy, writes, tmp_path):
    agent = policy()
    long = dataclasses.replace(judgements.train.samples[0], prompt="cat " * 300, messages=())
    train = dataclasses.replace(judgements.train, samples=(long, *judgements.train.samples[1:]))
    given = session(tmp_path, policy, writes)
    made = trained(plugin, "sft", dataclasses.replace(judgements, train=train), given, agent)
    assert any("1 of 24 prompts of train are longer than" in note for note in made.notes)


@pytest.mark.parametrize(
    ("agent", "stop", "message"),
    [
        ({"model": None, "tokenizer": None}, (), "this policy has none"),
        ({"model": SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=True)), "tokenizer": 1}, (), "encoder"),
        ({"model": SimpleNamespace(config=SimpleNamespace(is_encoder_decoder=False)), "tokenizer": 1}, ("x",), "stop"),
    ],
)
def test_policies_that_trl_cannot_train_are_refused(agent, stop, message, plugin, judgements, writes, tmp_path):
    given = session(tmp_path, None, dataclasses.replace(writes, stop=stop))
    with pytest.raises(InputError, match=message):
        trained(plugin, "grpo", judgements, given, SimpleNamespace(module=None, **agent))


def test_a_task_without_pairs_is_refused(plugin, judgements, policy, writes, tmp_path):
    lost = set(range(len(judgements.train.batch)))
    without = dataclasses.replace(judgements, train=judgements.train.without(lost))
    given = session(tmp_path, policy, writes)
    with pytest.raises(InputError, match="no pair to learn from"):
        trained(plugin, "dpo", without, given, policy(), pairs="task")


@pytest.mark.parametrize(
    ("name", "wrong", "message"),
    [
        ("grpo", {"group": 1}, "group is 1"),
        ("grpo", {"group": 4, "micro_batch": 5}, "micro_batch is 5, expected a divisor of the 16 rows"),
        ("grpo", {"scale": "none at all"}, "scale"),
        ("rloo", {"kl": -1.0}, "kl"),
        ("dpo", {"loss": "made up"}, "loss"),
        ("sft", {"learn": "texts"}, "learn"),
        ("sft", {"steps": 0}, "steps"),
    ],
)
def test_wrong_options_are_named(name, wrong, message):
    with pytest.raises(ValueError, match=message):
        options_of(name, **wrong)


def test_what_each_trainer_needs(plugin):
    needs = {one.name: one.needs for one in plugin.rmbench_trainers()}
    assert needs["trl-sft"] == {"references"}
    assert needs["trl-grpo"] == needs["trl-rloo"] == {"reward"}
    assert needs["trl-dpo"](options_of("dpo")) == {"reward"}
    assert needs["trl-dpo"](options_of("dpo", pairs="task")) == {"pairs"}


def test_without_trl_it_lists_and_says_what_is_missing(plugin, judgements, monkeypatch):
    packages = importlib.import_module("rmbench_trl.packages")
    monkeypatch.setattr(packages, "find_spec", lambda name: None if name == "trl" else name)
    trainers = {one.name: one for one in plugin.rmbench_trainers()}
    assert set(trainers) == {"trl-sft", "trl-dpo", "trl-grpo", "trl-rloo"}
    for one in trainers.values():
        with pytest.raises(PluginError, match="needs the package trl") as caught:
            one.check(judgements, one.options())
        assert "pip install trl" in caught.value.help
    model, *_ = plugin.rmbench_reward_models()
    with pytest.raises(PluginError, match="needs the package trl"):
        model.fit(judgements, "bradley-terry", model.options(), None)


def fit_options(**more):
    from rmbench_trl.reward_options import TrlReward

    small = {"vocabulary": 300, "hidden": 16, "heads": 2, "max_length": 48, "steps": 20, "evaluations": 4, "batch": 8}
    return TrlReward(**{**small, "learning_rate": 1e-2, **more})


@pytest.fixture(scope="module")
def fitted(plugin, judgements, tmp_path_factory):
    folder, told = tmp_path_factory.mktemp("fitted"), []
    given = Fitting(folder, {"reward_model": "trl-reward"}, RUNTIME, tell=told.append)
    plugin.fit_reward(judgements, "bradley-terry", fit_options(), given)
    return folder, told


def test_a_reward_model_learns_pairs_and_scores_without_trl(plugin, judgements, fitted):
    folder, told = fitted
    config = json.loads((folder / "config.json").read_text())
    assert config["training"]["steps"] == 20
    assert config["training"]["accuracy"] == 1.0
    assert [row["step"] for row in lines(folder / "log.jsonl")] == [5, 10, 15, 20]
    assert told[-1]["step"] == 20
    dev = judgements.dev
    scores = plugin.load_reward(folder, RUNTIME)(dev.batch)["score"]
    assert all(scores[pair.better] > scores[pair.worse] for pair in dev.pairs)


def test_its_folder_is_an_ordinary_classifier(plugin, judgements, fitted):
    from rmbench.builtin import rmbench_rewards

    hf = next(one for one in rmbench_rewards() if one.name == "hf")
    own = plugin.load_reward(fitted[0], RUNTIME)(judgements.dev.batch)["score"]
    found = hf.build(path=str(fitted[0]), runtime=RUNTIME)(judgements.dev.batch)
    assert list(found["score"]) == pytest.approx(own, abs=1e-5)


def test_the_same_seed_fits_the_same_reward_model(plugin, judgements, fitted, tmp_path):
    plugin.fit_reward(judgements, "bradley-terry", fit_options(), Fitting(tmp_path, {}, RUNTIME))
    assert (tmp_path / "model.safetensors").read_bytes() == (fitted[0] / "model.safetensors").read_bytes()


def test_a_fit_that_was_stopped_says_that_it_begins_again(plugin, judgements, tmp_path):
    with pytest.raises(Interrupted, match="stopped at step 1 of 20; it begins again"):
        plugin.fit_reward(
            judgements, "bradley-terry", fit_options(), Fitting(tmp_path, {}, RUNTIME, stop=lambda: True)
        )  # fmt: skip


@pytest.mark.parametrize(("wrong", "message"), [({"pooling": "mean"}, "pooling"), ({"centre": -1.0}, "centre")])
def test_wrong_options_of_the_reward_model_are_named(wrong, message):
    with pytest.raises(ValueError, match=message):
        fit_options(**wrong)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """A folder into which the package was built and installed, as pip does it."""
    folder = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--no-index", "--no-build-isolation"]
    done = subprocess.run([*pip, "--target", str(folder), str(PLUGIN)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_it_is_listed_with_its_distribution_and_options(site):
    done = rmbench("list", "trainers", "--json", path=site)
    rows = {row["name"]: row for row in json.loads(done.stdout) if row["plugin"] == "trl"}
    assert set(rows) == {"trl-sft", "trl-dpo", "trl-grpo", "trl-rloo"}
    assert {row["distribution"] for row in rows.values()} == {"rmbench-trl"}
    names = {one["name"] for one in rows["trl-grpo"]["options"]}
    assert {"steps", "seconds", "batch", "learning_rate", "group", "kl", "temperature"} <= names


def test_listing_it_imports_nothing_heavy(site):
    heavy = "{'torch', 'trl', 'transformers', 'datasets', 'accelerate'}"
    code = f"import sys, rmbench_trl; rmbench_trl.rmbench_trainers(); print({heavy} & set(sys.modules))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=site, env={"PYTHONPATH": f"{REPO}"}
    )  # fmt: skip
    assert done.stdout.strip() == "set()"
