"""Why a reward or a training failed, as results.json says it: without what differs from one machine to the next."""

import pytest
from optimised import PROMPTS, SEEDS, entry, flat, rows_of, study, train
from small_rows import only

from rmbench.parts import brief

PLAN = [entry("base", trainer="sft"), train("rl", "proxy")]


@pytest.mark.parametrize(
    ("told", "kept"),
    [
        (None, None),
        ("the loss was not finite at step 3", "the loss was not finite at step 3"),
        ("it could not be built: OSError: no file /home/me/x", "it could not be built: OSError"),
        ("raised: ValueError: pid 31", "raised: ValueError"),
        ("seed 2: its training raised FileNotFoundError: '/tmp/a b/x'", "seed 2: its training raised FileNotFoundError"),
        ("its fit raised ValueError: /tmp/a", "its fit raised ValueError"),
        ("seed 1: died: the process exited with 7 (at /tmp/a)", "seed 1: died: the process exited with 7"),
        ("seed 1: died: the process was killed by SIGKILL (x)", "seed 1: died: the process was killed by SIGKILL"),
        (
            "seed 1: /tmp/a b/gpt: max_prompt is 9, the model takes 8 tokens (max_prompt = 8)",
            "seed 1: gpt: max_prompt is 9, the model takes 8 tokens (max_prompt = 8)",
        ),
        ("seed 1: weights.safetensors: no tensor in /home/me/gpt/model.safetensors",
         "seed 1: weights.safetensors: no tensor in model.safetensors"),
        ("seed 1, 2: /a b/gpt: odd; seed 3: /a b/gpt: even", "seed 1, 2: gpt: odd; seed 3: gpt: even"),
        ("seed 1: '/home/me/gpt' is no folder", "seed 1: 'gpt' is no folder"),
        ("a task of reward/prompt pairs", "a task of reward/prompt pairs"),
        ("above log n - (n - 1) / n nats", "above log n - (n - 1) / n nats"),
    ],
)  # fmt: skip
def test_no_path_and_no_foreign_word_is_left(told, kept):
    assert brief(told) == kept


def test_results_of_a_failed_training_hold_no_folder(tmp_path):
    table = {("base", seed): ["a b"] * PROMPTS for seed in SEEDS}
    scores = {name: {("base", seed): flat(0.0) for seed in SEEDS} for name in ("proxy", "gold")}
    told = {"failures": {"rl": f"seed 1: {tmp_path}/gpt: has no tokenizer (give one)"}}
    found = study(tmp_path, PLAN, rows_of(table, scores), **told)
    assert only(found, metric="mean", system="rl", reward="proxy", seed=None).reason == (
        "seed 1: gpt: has no tokenizer (give one)"
    )
    assert not [row for row in found if str(tmp_path) in (row.reason or "")]
