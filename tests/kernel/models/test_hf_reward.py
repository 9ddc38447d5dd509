"""The reward ``hf``: a folder named in a suite or on the command line, through the whole path to the report."""

import json

import folders
import pytest
import tiny
import torch
from fakes import jsonl, rows
from fakes import rmbench as command

import rmbench
from rmbench import content, scoring
from rmbench.plugins import load
from rmbench.testing import check_reward


@pytest.fixture
def model(tmp_path):
    return folders.save(tmp_path / "rm", "llama", folders.bpe())


def by_hand(folder, prompt, response):
    """The logit by transformers alone: prompt, newline, response, EOS, one row."""
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    made = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    ids = [*tokenizer(f"{prompt}\n{response}")["input_ids"], tokenizer.eos_token_id]
    return tiny.alone(made, ids)


def test_scores_are_the_models_own_logits_and_parts_are_kept(model):
    given = [{"id": str(i), "prompt": "Is it good?", "response": f"Yes, {word}."} for i, word in enumerate("abc")]
    found = rmbench.score("hf", given, {"path": str(model)})
    expected = [by_hand(model, row["prompt"], row["response"]) for row in given]
    assert [row["score"] for row in found] == pytest.approx(expected, abs=1e-5)
    assert all(row["parts"]["cut"] == 0 and row["parts"]["tokens"] > 5 for row in found)


def test_a_suite_names_a_folder_and_the_report_says_what_was_run(tmp_path, model):
    jsonl(tmp_path / "data.jsonl", rows(4))
    suite = tmp_path / "s.toml"
    suite.write_text(
        'tasks = ["data.jsonl"]\nrewards = ["rouge-l", { use = "hf", name = "rm", options = { path = "rm" } }]\n'
        'studies = ["agree", "speed"]\n',
        encoding="utf-8",
    )
    done = command(
        "run", suite, "--kind", "qa", "--out", tmp_path / "run", "--check-invariance", "6", RMBENCH_COMPILED="0"
    )
    assert done.returncode == 0, done.stderr
    results = json.loads((tmp_path / "run" / "results.json").read_text(encoding="utf-8"))["results"]
    signature = next(row["signature"] for row in results if row["reward"] == "rm")
    assert signature.startswith(f"hf@1|path:rm#{content.digest(model)[:8]}|form:plain|torch:")
    assert str(tmp_path) not in json.dumps(results)
    measured = json.loads((tmp_path / "run" / "measurements.json").read_text(encoding="utf-8"))["results"]
    moved = [row for row in measured if row["reward"] == "rm" and row["metric"] == "largest-difference"]
    assert {row["probe"] for row in moved} == {"alone", "shuffled", "long"}
    assert max(row["value"] for row in moved) <= 1e-5
    page = (tmp_path / "run" / "report" / "report.md").read_text(encoding="utf-8")
    assert "Batch-invariant:" in page
    assert "| rm " in page
    assert "Inside a reward" in page
    own = {row["metric"]: row["value"] for row in measured if row["reward"] == "rm" and row["study"] == "speed"}
    assert own["own:tokens-per-second"] > 0
    assert 0 < own["own:tokens-computed"] < own["own:tokens"]  # prompts are shared


def test_rows_that_do_not_fit_are_unscored_with_the_reason(tmp_path, model):
    line = {"id": "a", "prompt": "word", "response": "long " * 200}
    jsonl(tmp_path / "in.jsonl", [line, {"id": "b", "prompt": "p", "response": "short"}])
    done = command("score", "-r", "hf", "-o", f"hf.path={model}", "-o", "hf.max_length=40", tmp_path / "in.jsonl")
    long, short = map(json.loads, done.stdout.splitlines())
    assert long["score"] is None
    assert "response" in long["reason"]
    assert short["score"] is not None
    assert "truncated" in done.stderr
    given = ("-o", f"hf.path={model}", "-o", "hf.max_length=40", "-o", "hf.truncation=right")
    cut = command("score", "-r", "hf", *given, tmp_path / "in.jsonl")
    long = json.loads(cut.stdout.splitlines()[0])
    assert long["score"] is not None
    assert long["parts"]["tokens"] == 40
    assert long["parts"]["cut"] > 100


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_length": 10**6}, "the model takes"),
        ({"label": "good"}, "label is 'good', the model has 0 (LABEL_0)"),
        ({"label": 3}, "label is 3"),
        ({"chat_template": "no.jinja"}, "option hf.chat_template: cannot read"),
        ({"truncation": "middle"}, "expected"),
    ],
)
def test_options_that_cannot_be_are_exit_2(tmp_path, model, options, words):
    jsonl(tmp_path / "data.jsonl", rows(2))
    lines = [word for name, value in options.items() for word in ("-o", f"hf.{name}={json.dumps(value)}")]
    done = command(
        "run", "--task", tmp_path / "data.jsonl", "--kind", "qa", "--reward", "hf", "-o", f"hf.path={model}", *lines,
        "--out", tmp_path / "run", cwd=tmp_path,
    )  # fmt: skip
    assert done.returncode == 2, done.stderr
    assert words in done.stderr
    assert not (tmp_path / "run").exists()


def test_several_labels_need_one_named(tmp_path):
    many = folders.save(tmp_path / "many", "llama", folders.bpe(), num_labels=3)
    jsonl(tmp_path / "in.jsonl", [{"id": "a", "prompt": "p", "response": "r"}])
    refused = command("score", "-r", "hf", "-o", f"hf.path={many}", tmp_path / "in.jsonl")
    assert refused.returncode == 2
    assert "choose one with label: 0 (LABEL_0), 1 (LABEL_1), 2 (LABEL_2)" in refused.stderr
    by_name, by_index = (
        json.loads(command("score", "-r", "hf", "-o", f"hf.path={many}", "-o", f"hf.label={label}", tmp_path / "in.jsonl").stdout)
        for label in ("LABEL_2", 2)
    )  # fmt: skip
    assert by_name["score"] == by_index["score"] is not None


def test_a_chat_template_is_in_the_signature_and_changes_the_text(model):
    catalog = load()
    (model / "chat_template.jinja").write_text(folders.LLAMA, encoding="utf-8")

    def chosen(**options):
        from pathlib import Path

        from rmbench.rewards import choose

        return choose(catalog, {"use": "hf", "options": {"path": str(model), **options}}, base=Path(), where="here")

    assert "|form:chat#" in chosen().signature()
    assert "|form:plain|" in chosen(chat_template="none").signature()
    row = [{"id": "a", "prompt": "p", "response": "r"}]
    scores = {
        template: rmbench.score("hf", row, {"path": str(model), **given})[0]["score"]
        for template, given in (("chat", {}), ("plain", {"chat_template": "none"}))
    }
    assert scores["chat"] != scores["plain"]


def test_conforms(model):
    assert check_reward(load().rewards["hf"][0].value, {"path": str(model)}, tolerance=1e-5) == []


def test_build_reads_no_weights(model, monkeypatch):
    reward = load().rewards["hf"][0].value
    monkeypatch.setattr(torch.nn.Module, "__init__", None)  # any model made would fail
    assert callable(scoring.build(reward, {"path": str(model)}, rmbench.Runtime()))


def test_a_folder_that_is_none_is_exit_2(tmp_path):
    (tmp_path / "empty").mkdir()
    jsonl(tmp_path / "in.jsonl", [{"id": "a", "prompt": "p", "response": "r"}])
    for path, words in (("nowhere", "cannot read"), ("empty", "config.json")):
        done = command("score", "-r", "hf", "-o", f"hf.path={path}", "in.jsonl", cwd=tmp_path)
        assert done.returncode == 2, done.stderr
        assert words in done.stderr
    missing = command("score", "-r", "hf", "in.jsonl", cwd=tmp_path)
    assert missing.returncode == 2
    assert "needs the option 'path'" in missing.stderr


def test_labels_of_one_name_need_an_index_and_at_most_ten_are_listed(tmp_path):
    from rmbench.builtin.hf import _check
    from rmbench.kernel.models.folder import inspect

    many = folders.save(tmp_path, "llama", folders.bpe(), num_labels=30)
    folders.edit(many / "config.json", id2label={str(index): f"L{index // 2}" for index in range(30)})
    with pytest.raises(ValueError, match=r"30 labels: choose one with label: .*, 9 \(L4\) and 20 more$"):
        _check(inspect(many), None, None)
    with pytest.raises(ValueError, match="2 labels are named 'L3': choose one by its index"):
        _check(inspect(many), None, "L3")
    with pytest.raises(ValueError, match="label is True"):
        _check(inspect(many), None, True)
    _check(inspect(many), None, 29)
