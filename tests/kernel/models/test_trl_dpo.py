"""The implicit reward beside TRL's own computation of the two log-probabilities."""

import causal_models
import pytest
import torch
from test_language_rewards import DPO

from rmbench import Batch, Runtime, Turn, scoring

pytestmark = pytest.mark.filterwarnings("ignore")
TEMPLATE = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
ROWS = [
    ("What is the capital of France?", "Paris.", "The cat sat on the mat."),
    ("Say hello.", "hello, how may I help?", "no"),
    ("hello", "na\u00efve \u732b", "1 2 3"),
]


def test_both_sums_and_the_reward_are_trls(tmp_path):
    from datasets import Dataset
    from trl import DPOConfig, DPOTrainer

    tokenizer = causal_models.pair("qwen2")[1]
    tokenizer.chat_template = TEMPLATE
    models = [causal_models.model("qwen2", seed, vocab_size=len(tokenizer), pad_token_id=0) for seed in (0, 1)]
    paths = [tmp_path / name for name in ("policy", "reference")]
    for made, path in zip(models, paths, strict=True):
        made.save_pretrained(path)
        tokenizer.save_pretrained(path)
    data = Dataset.from_list([
        {
            "prompt": [{"role": "user", "content": prompt}],
            "chosen": [{"role": "assistant", "content": chosen}],
            "rejected": [{"role": "assistant", "content": rejected}],
        }
        for prompt, chosen, rejected in ROWS
    ])  # fmt: skip
    config = DPOConfig(
        output_dir=str(tmp_path / "out"), report_to=[], use_cpu=True, bf16=False, max_length=None,
        per_device_train_batch_size=len(ROWS), gradient_checkpointing=False,
    )  # fmt: skip
    trainer = DPOTrainer(models[0], models[1], args=config, train_dataset=data, processing_class=tokenizer)
    inputs = trainer.data_collator([trainer.train_dataset[at] for at in range(len(ROWS))])
    theirs = [torch.cat(trainer.compute_ref_log_probs(one, inputs)) for one in (trainer.model, trainer.ref_model)]
    turns = [(prompt, text) for column in (1, 2) for prompt, text in ((row[0], row[column]) for row in ROWS)]
    scorer = scoring.build(DPO, {"path": str(paths[0]), "reference": str(paths[1]), "beta": 0.3}, Runtime())
    found = scoring.score(scorer, batch_of(turns))
    assert found.parts["policy"] == pytest.approx(theirs[0].tolist(), rel=1e-5)
    assert found.parts["reference"] == pytest.approx(theirs[1].tolist(), rel=1e-5)
    assert found.values == pytest.approx((0.3 * (theirs[0] - theirs[1])).tolist(), rel=1e-4, abs=1e-5)
    assert found.parts["tokens"] == inputs["completion_mask"].sum(dim=1).tolist()


def batch_of(rows):
    count = len(rows)
    return Batch(
        ids=tuple(map(str, range(count))), groups=tuple(map(str, range(count))),
        messages=tuple((Turn("user", prompt),) for prompt, _ in rows), prompts=tuple(prompt for prompt, _ in rows),
        contexts=(None,) * count, responses=tuple(text for _, text in rows), references=((),) * count,
        languages=(("en",),) * count, meta=({},) * count,
    )  # fmt: skip
