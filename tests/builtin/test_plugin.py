import subprocess
import sys
from pathlib import Path

import pytest

from rmbench import Metric, Reward, builtin
from rmbench.builtin import combine, nulls, overlap, rouge, words
from rmbench.builtin.nulls import NULL_REWARDS
from rmbench.options import options_of
from rmbench.testing import check_reward

MODELS = ("hf", "hf-likelihood", "hf-dpo", "embedding", "fitted")  # tests/kernel/models, test_embedding, test_fit
NAMES = (
    "rouge-1", "rouge-2", "rouge-l", "rouge-lsum", "bleu", "chrf", "ter", "token-f1", "exact-match", "length",
    "diversity", "repetition", "coverage", "density", "novelty", "word-filter", "composite", "column", "human", "ensemble",
    *MODELS, "toy", *NULL_REWARDS,
)  # fmt: skip
TERMS = Path(__file__).resolve().parents[2] / "tasks" / "moderation-mini" / "terms.txt"
REQUIRED = {
    "word-filter": {"path": str(TERMS)},
    "composite": {"weights": {"rouge-l": 0.5, "length": -0.25}},
    "column": {"name": "rm"},
    "ensemble": {"rewards": ["rouge-l", "length"]},
}
OTHER = (
    ("rouge-1", {"against": "source", "stemmer": True, "part": "recall"}),
    ("rouge-lsum", {"separator": " . ", "references": "mean", "lowercase": False}),
    ("rouge-2", {"tokenizer": "zh", "lowercase": False}),
    ("bleu", {"tokenize": "char", "lowercase": True}),
    ("chrf", {"word_order": 2, "lowercase": True}),
    ("ter", {"case_sensitive": True, "normalized": True, "asian_support": True, "no_punct": True}),
    ("length", {"unit": "chars", "target": 20}),
    ("diversity", {"n": 1}),
    ("repetition", {"n": 1}),
    ("novelty", {"n": 1}),
    ("word-filter", {"path": str(TERMS), "whole_words": False, "marks": True}),
    ("lead", {"sentences": 1}),
    ("human", {"rater": 2, "aspect": "quality"}),
)


def rewards():
    return {reward.name: reward for reward in builtin.rmbench_rewards()}


def test_names():
    given = builtin.rmbench_rewards()
    assert [reward.name for reward in given] == list(NAMES)
    assert all(isinstance(reward, Reward) and reward.version == 1 and reward.scope == "row" for reward in given)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in MODELS])
def test_conforms(name):
    assert check_reward(rewards()[name], REQUIRED.get(name), tolerance=0) == []


@pytest.mark.parametrize(("name", "options"), OTHER)
def test_conforms_with_other_options(name, options):
    assert check_reward(rewards()[name], options, tolerance=0) == []


def test_column_conforms_on_a_batch_that_has_it():
    from builtin_texts import batch_of

    batch = batch_of(["a", "b", "c"], scores={"rm": (0.5, None, -1.0)})
    assert check_reward(rewards()["column"], {"name": "rm"}, batch, tolerance=0) == []


@pytest.mark.parametrize("name", NAMES)
def test_every_option_has_a_type_and_a_docstring_says_what_the_score_is(name):
    build = rewards()[name].build
    assert all(option.type != "any" and not isinstance(option.hint, str) for option in options_of(build).values())
    assert len(build.__doc__.splitlines()[0]) <= 120
    required = {option.name for option in options_of(build).values() if option.required}
    folders = {model: ["path"] for model in MODELS} | {"hf-dpo": ["path", "reference"]}
    assert required == set({**folders, **REQUIRED}.get(name, ()))


def test_options_are_those_of_the_design():
    names = {name: list(options_of(reward.build)) for name, reward in rewards().items()}
    assert names["rouge-l"] == ["stemmer", "part", "references", "against", "lowercase", "tokenizer"]
    assert names["rouge-lsum"] == ["stemmer", "part", "references", "against", "lowercase", "tokenizer", "separator"]
    assert names["bleu"] == ["tokenize", "lowercase"]
    assert names["chrf"] == ["word_order", "lowercase"]
    assert names["length"] == ["unit", "target"]
    assert names["random"] == []


def test_listing_rewards_imports_nothing_heavy():
    heavy = {"numpy", "scipy", "pandas", "pyarrow", "sacrebleu", "rouge_score", "nltk", "torch", "jinja2", "altair"}
    code = f"import sys; from rmbench import builtin; builtin.rmbench_rewards(); print({heavy!r} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("module", [rouge, overlap, words, combine, nulls, builtin])
def test_built_ins_have_no_back_door(module):
    lines = [
        line
        for line in Path(module.__file__).read_text().splitlines()
        if line.startswith(("from rmbench", "import rmbench"))
    ]
    assert all(
        line.startswith(("from rmbench import ", "from rmbench.builtin", "from rmbench.kernel")) for line in lines
    )


def test_tasks_that_ship():
    tasks = {task.name: task for task in builtin.rmbench_tasks()}
    assert {"chat-mini", "ende-mini", "news-mini"} <= set(tasks)
    assert all(task.data["test"].is_file() for task in tasks.values())


def test_tasks_of_a_wheel(tmp_path, monkeypatch):
    for folder, name in (("rmbench/_tasks", "in-wheel"), ("tasks", "elsewhere")):
        card = tmp_path / folder / name / "task.toml"
        card.parent.mkdir(parents=True)
        card.write_text(f'name = "{name}"\nversion = 1\nkind = "qa"\n[data]\ntest = "data.jsonl"\n')
        (card.parent / "data.jsonl").write_text("")
    monkeypatch.setattr(builtin, "__file__", str(tmp_path / "rmbench" / "builtin" / "__init__.py"))
    assert [task.name for task in builtin.rmbench_tasks()] == ["in-wheel"]


def test_metrics():
    metrics = builtin.rmbench_metrics()
    assert "kendall" in {metric.name for metric in metrics}
    assert all(isinstance(metric, Metric) for metric in metrics)
