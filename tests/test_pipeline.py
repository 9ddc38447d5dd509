"""The shipped suite pipeline: its four stages run from one file, in small, and say what they did."""

import json
import tomllib
from itertools import islice

import pytest
from fakes import rmbench

from rmbench.suite import shipped

STEPS, LIMIT = 20, 12
ROWS = {"train": 300, "dev": 20, "test": 40}
STAGES = ("pre-trained", "fine-tuned", "ppo", "grpo")


def small(text):
    """Return the suite with few steps of every stage, so that it takes seconds."""
    suite = tomllib.loads(text)
    for entry in (*suite["policy"], *suite["train"]):
        entry["trainer_options"] |= {"steps": STEPS, "evaluations": 1, "evaluation_prompts": 4, "threads": 1}
        entry["trainer_options"]["batch"] = min(4, entry["trainer_options"]["batch"])
    suite["policy"][0]["options"] |= {"layers": 1, "width": 32, "inner": 32, "vocabulary": 400, "max_tokens": 12}
    suite["reward_model"][0]["options"] |= {"layers": 1, "hidden": 16, "vocabulary": 400, "steps": 5}
    return suite


def cut(task, folder):
    """Write the first rows of a task's splits into a folder under the same name."""
    folder.mkdir(parents=True)
    card = (task / "task.toml").read_text(encoding="utf-8").partition("[sha256]")[0]
    (folder / "task.toml").write_text(card, encoding="utf-8")
    for split, count in ROWS.items():
        with (task / f"{split}.jsonl").open(encoding="utf-8") as rows:
            (folder / f"{split}.jsonl").write_text("".join(islice(rows, count)), encoding="utf-8")


@pytest.fixture(scope="module")
def ran(tmp_path_factory, data_dir):
    folder = tmp_path_factory.mktemp("pipeline")
    suite = small(shipped()["pipeline"].read_text(encoding="utf-8"))
    out = folder / "out"
    cut(data_dir / "multi30k-ende", folder / "data" / "multi30k-ende")
    (folder / "pipeline.toml").write_text(toml(suite), encoding="utf-8")
    done = rmbench("run", folder / "pipeline.toml", "--out", out, "--limit", LIMIT, "--data-dir", folder / "data")
    assert done.returncode == 0, done.stderr
    return out


def toml(suite):
    """Return a suite of plain values and tables as TOML."""
    plain = {key: value for key, value in suite.items() if not (isinstance(value, list) and isinstance(value[0], dict))}
    lines = [f"{key} = {json.dumps(value)}" for key, value in plain.items()]
    for kind in ("policy", "reward_model", "train"):
        for entry in suite[kind]:
            lines.append(f"[[{kind}]]")
            for key, value in entry.items():
                told = (
                    ", ".join(f"{name} = {json.dumps(one)}" for name, one in value.items())
                    if key.endswith("options")
                    else ""
                )
                lines.append(f"{key} = {{ {told} }}" if told else f"{key} = {json.dumps(value)}")
    return "\n".join(lines) + "\n"


def numbers(run):
    return json.loads((run / "results.json").read_bytes())["results"]


def test_every_stage_leaves_a_policy_with_its_outputs(ran):
    for name in STAGES:
        folder = ran / "training" / name / "seed-1"
        assert len((folder / "log.jsonl").read_text(encoding="utf-8").splitlines()) == STEPS
        assert len((folder / "outputs.jsonl").read_text(encoding="utf-8").splitlines()) == LIMIT
        assert (folder / "model.safetensors").is_file()
    assert (ran / "training" / "preferred" / "config.json").is_file()


def test_trainings_are_judged_by_rewards_that_were_not_optimised(ran):
    told = [row for row in numbers(ran) if row["study"] == "optimise" and row["seed"] is None]
    for name in ("ppo", "grpo"):
        gains = {row["reward"] for row in told if (row["system"], row["metric"]) == (name, "gain")}
        assert {"preferred", "chrf", "bleu", "rouge-l"} <= gains
        assert {"bleu", "chrf", "rouge-l", "kl", "length"} <= {row["metric"] for row in told if row["system"] == name}


def test_the_report_tells_of_all_stages(ran):
    report = (ran / "report" / "report.md").read_text(encoding="utf-8")
    assert "Training on multi30k-ende" in report
    assert "Fitted reward models" in report
    for name in STAGES:
        assert name in report
