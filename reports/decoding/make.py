"""Compare decoding strategies on one task: python reports/decoding/make.py [--data-dir D] [--quick] [--policy DIR].

A small policy is trained on multi30k-ende by maximum likelihood, then writes the same test prompts in every way that
``rmbench.policy.Decoding`` names. README.md (the table) and decoding.json (its numbers, and what our loop takes beside
transformers' own) are written here. ``--quick`` trains 30 steps, takes 16 prompts and writes nothing here unless
``--out`` says where.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import sacrebleu
import torch

import rmbench
from rmbench import judgements, tasks
from rmbench.api import Runtime, Sample
from rmbench.policies import generate, tiny
from rmbench.policies.options import Tiny
from rmbench.policy import Decoding, Response, Session
from rmbench.trainers import sft
from rmbench.trainers.options import Sft

if TYPE_CHECKING:
    from rmbench.policies.causal import Causal

HERE = Path(__file__).resolve().parent
TASK = "multi30k-ende"
OPTIONS = Tiny(layers=3, width=128, inner=384, vocabulary=6000, max_prompt=64, max_tokens=48)
TRAINING = {"batch": 62, "learning_rate": 4e-3, "evaluations": 4, "evaluation_prompts": 32}
STEPS = 1000
WAYS: dict[str, dict[str, Any]] = {
    "greedy": {},
    "repetition penalty 1.2": {"repetition_penalty": 1.2},
    "beam 4": {"beams": 4},
    "temperature 0.7": {"temperature": 0.7},
    "temperature 1.0": {"temperature": 1.0},
    "top-k 10": {"temperature": 1.0, "top_k": 10},
    "top-p 0.9": {"temperature": 1.0, "top_p": 0.9},
    "min-p 0.1": {"temperature": 1.0, "min_p": 0.1},
}
BEST_OF = 8
COLUMNS = {
    "bleu": "BLEU", "chrf": "chrF", "rouge-l": "ROUGE-L", "distinct-2": "distinct-2", "words": "words",
    "finished": "finished", "seconds": "seconds", "tokens_per_second": "tokens/s",
}  # fmt: skip
ABOUT = (
    "`tiny` (Llama, 3 layers, width 128, {parameters:,} weights) after {steps:,} steps of `sft` on {task} "
    "({training_seconds:.0f} s of one thread's processor time) writes {prompts} test prompts, at most {most} tokens "
    "each. BLEU and chrF are the corpus's (sacrebleu), ROUGE-L the mean of the reward `rouge-l`; distinct-2 is the "
    "share of word pairs that are distinct among all; seconds are of one thread's processor time. Best of {best}: of "
    "so many draws at temperature 1 the one whose tokens the policy itself finds likeliest on average, which needs no "
    "reward and no reference."
)
LOOPS = (
    "16 prompts with 8 responses each (greedy: one), same weights and same draws, medians of {pairs} interleaved runs "
    "in one thread's processor time. The loop was written because of this: it reads a prompt once for all of its "
    "responses, writes keys and values into their place, and leaves rows at their end out."
)
PAIRS = 5  # interleaved runs of each loop


def trained(data: Path, steps: int) -> tuple[Causal, float]:
    """Return a policy after supervised training, and the seconds that took."""
    torch.set_num_threads(1)
    judged = judgements.read(tasks.load_task(data / TASK), seed=1)
    policy = tiny.build(judged, OPTIONS, Runtime())
    options = Sft(steps=steps, **TRAINING)
    begun = time.process_time()
    with TemporaryDirectory() as place:
        session = Session(Path(place), {"name": "decoding"}, Runtime(), Decoding(max_tokens=OPTIONS.max_tokens))
        sft.train(policy, judged, options, session)
    return policy, time.process_time() - begun


def likeliest(policy: Causal, samples: Sequence[Sample], drawn: Sequence[Sequence[Response]]) -> list[Response]:
    """Return of each prompt's responses the one whose tokens are likeliest on average: no reward, no reference."""
    found = []
    with torch.no_grad():
        for sample, several in zip(samples, drawn, strict=True):
            seen = policy.forward([sample] * len(several), several)
            each = torch.log_softmax(seen.logits, 2).gather(2, seen.ids[:, :, None])[:, :, 0] * seen.mask
            found.append(several[int((each.sum(1) / seen.mask.sum(1)).argmax())])
    return found


def measured(samples: Sequence[Sample], written: Sequence[Response], seconds: float, tokens: int) -> dict[str, float]:
    """Return quality, diversity, length and speed of one way of writing."""
    texts = [one.text for one in written]
    references = [[sample.references[0] for sample in samples]]
    rows = [
        {"id": sample.id, "prompt": sample.prompt, "response": text, "references": list(sample.references)}
        for sample, text in zip(samples, texts, strict=True)
    ]
    rouge = [row["score"] for row in rmbench.score("rouge-l", rows)]
    pairs = [pair for text in texts for pair in zip(text.split(), text.split()[1:], strict=False)]
    return {
        "bleu": sacrebleu.corpus_bleu(texts, references).score, "chrf": sacrebleu.corpus_chrf(texts, references).score,
        "rouge-l": statistics.fmean(rouge), "distinct-2": len(set(pairs)) / max(1, len(pairs)),
        "words": statistics.fmean(len(text.split()) for text in texts),
        "finished": statistics.fmean(one.finished for one in written), "seconds": seconds,
        "tokens_per_second": tokens / seconds,
    }  # fmt: skip


def compared(policy: Causal, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return what every way of writing gives, by name."""
    found = {}
    for name, way in WAYS.items():
        begun = time.process_time()
        written = [one for (one,) in policy.sample(samples, 1, Decoding(max_tokens=48, **way), seed=1)]
        seconds = time.process_time() - begun
        found[name] = measured(samples, written, seconds, sum(len(one.ids) for one in written))
        print(name, {key: round(value, 3) for key, value in found[name].items()}, flush=True)
    begun = time.process_time()
    drawn = policy.sample(samples, BEST_OF, Decoding(max_tokens=48, temperature=1.0), seed=1)
    best = likeliest(policy, samples, drawn)
    seconds = time.process_time() - begun
    tokens = sum(len(one.ids) for several in drawn for one in several)
    found[f"best of {BEST_OF}, likeliest"] = measured(samples, best, seconds, tokens)
    return found


def loops(policy: Causal, samples: Sequence[Sample]) -> dict[str, dict[str, float]]:
    """Return tokens/s of our loop and of transformers' generation with the same draws: medians of interleaved runs."""
    found = {}
    for name, decoding in (
        ("greedy", Decoding(max_tokens=48)),
        ("temperature 1.0", Decoding(max_tokens=48, temperature=1.0)),
        ("top-p 0.9", Decoding(max_tokens=48, temperature=1.0, top_p=0.9)),
    ):
        taken: dict[str, list[float]] = {"ours": [], "transformers": []}
        texts = {}
        for _ in range(PAIRS):
            for loop, times in taken.items():
                begun = time.process_time()
                texts[loop] = _written(policy, samples, decoding, ours=loop == "ours")
                times.append(time.process_time() - begun)
        tokens = sum(
            len(one.ids) for several in texts["ours"] for one in (several if decoding.temperature else several[:1])
        )
        equal = [a == b for a, b in zip(texts["ours"], texts["transformers"], strict=True)]
        rates = {loop: tokens / statistics.median(times) for loop, times in taken.items()}
        found[name] = {**rates, "ratio": rates["ours"] / rates["transformers"], "equal": statistics.fmean(equal)}
        print(name, found[name], flush=True)
    return found


def _written(
    policy: Causal, samples: Sequence[Sample], decoding: Decoding, *, ours: bool
) -> list[tuple[Response, ...]]:
    own = generate.decoder_of
    generate.decoder_of = own if ours else lambda _: None
    try:
        return policy.sample(samples, 8, decoding, seed=1)
    finally:
        generate.decoder_of = own


def page(facts: Mapping[str, Any]) -> str:
    """Return README.md."""
    ways, speed = facts["ways"], facts["loops"]
    lines = [
        "# How a policy writes: decoding strategies on one task", "",
        "Made by `python reports/decoding/make.py`; the numbers are in decoding.json.", "",
        ABOUT.format(**facts, task=TASK, most=OPTIONS.max_tokens, best=BEST_OF), "",
        "| decoding | " + " | ".join(COLUMNS.values()) + " |",
        "| --- |" + " ---: |" * len(COLUMNS),
    ]  # fmt: skip
    for name, row in ways.items():
        cells = [f"{row[key]:.0f}" if key == "tokens_per_second" else f"{row[key]:.{_digits(key)}f}" for key in COLUMNS]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    lines += [
        "", "## Our loop beside transformers' generation", "",
        LOOPS.format(pairs=PAIRS), "",
        "| decoding | ours, tokens/s | transformers, tokens/s | ratio | prompts with equal responses |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]  # fmt: skip
    for name, row in speed.items():
        lines.append(
            f"| {name} | {row['ours']:.0f} | {row['transformers']:.0f} | {row['ratio']:.2f} | {row['equal']:.0%} |"
        )
    return "\n".join(lines) + "\n"


def _digits(key: str) -> int:
    return {"bleu": 1, "chrf": 1, "words": 1, "seconds": 2}.get(key, 3)


def main() -> None:
    """Train, write, compare, and leave the page."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data-dir", type=Path, default=Path(os.environ.get("RMBENCH_DATA", "../shared/data")))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--policy", type=Path, help="keep the trained policy here; taken from here where it is")
    parser.add_argument("--out", type=Path)
    given = parser.parse_args()
    steps, prompts = (30, 16) if given.quick else (STEPS, 300)
    if given.policy and (given.policy / "config.json").exists():
        policy = tiny.load(given.policy, OPTIONS, Runtime())
        seconds = float((given.policy / "seconds.txt").read_text())
        torch.set_num_threads(1)
    else:
        policy, seconds = trained(given.data_dir, steps)
        if given.policy:
            policy.save(given.policy)
            (given.policy / "seconds.txt").write_text(str(seconds))
    task = tasks.load_task(given.data_dir / TASK)
    samples = list(tasks.read(task, "test"))[:prompts]
    facts = {
        "prompts": len(samples), "steps": steps, "training_seconds": seconds,
        "parameters": sum(one.numel() for one in policy.module.parameters()), "torch": torch.__version__,
        "python": platform.python_version(), "ways": compared(policy, samples), "loops": loops(policy, samples[:16]),
    }  # fmt: skip
    out = given.out or (None if given.quick else HERE)
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "decoding.json").write_text(json.dumps(facts, indent=1) + "\n", encoding="utf-8")
        (out / "README.md").write_text(page(facts), encoding="utf-8")


if __name__ == "__main__":
    main()
