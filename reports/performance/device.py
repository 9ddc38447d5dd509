"""Measure the scoring kernel on a CUDA device: `python reports/performance/device.py --out device.json`.

Stands alone: rmbench's kernel, torch, transformers, numpy and numba are all it imports. Under four minutes on an H100.
`--tiny` runs all of it on any machine with a small model: it tests the script and measures nothing.

Useful FLOPs of a pass over rows of lengths t: 2 * P * sum(t) + L * 4 * W * sum(t**2) / 2, where P counts the parameters
without embeddings, L the layers, W the width of attention (heads times their width); half, because attention is causal.
Padding and repeated prompts are no useful FLOPs. The peak of an H100 or H200 is 989 TFLOP/s in bfloat16 (dense).

Weights are random: time does not depend on them; how far bfloat16 is from float32 may.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
import transformers

from rmbench.kernel import device as rules
from rmbench.kernel.models.forward import TokenScorer

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

PEAK = 989e12
ROUNDS = 5
VOCABULARY = 32_000
PAD = 0
SIZES = {
    "1b": {"hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 18, "num_attention_heads": 32},
    "8b": {"hidden_size": 4096, "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32},
    "tiny": {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 2, "num_attention_heads": 4},
}
KEYS = {"1b": 8, "8b": 8, "tiny": 2}
RULES = {"counts": ("rouge-1", "rouge-2"), "lcs": ("rouge-l",), "all": ("rouge-1", "rouge-2", "rouge-l")}

Rows = list[np.ndarray]


def classifier(size: str, device: str) -> Any:
    """Return a Llama-like classifier with random weights, float32, made on the device."""
    config = transformers.LlamaConfig(
        vocab_size=VOCABULARY, num_labels=1, pad_token_id=PAD, num_key_value_heads=KEYS[size],
        max_position_embeddings=4096, **SIZES[size],
    )  # fmt: skip
    torch.manual_seed(0)
    with torch.device(device):
        return transformers.LlamaForSequenceClassification(config).eval()


def skewed(count: int, seed: int = 0, median: float = 85.0) -> Rows:
    """Return rows of log-normal lengths: one in twenty is 5.5 times the median (470 tokens) or longer."""
    draw = np.random.default_rng(seed)
    lengths = np.clip(draw.lognormal(np.log(median), 1.04, count).astype(int), 4, 2048)
    return [draw.integers(3, VOCABULARY, length) for length in lengths]


def prompted(prompts: int, responses: int = 16) -> tuple[Rows, list[int]]:
    """Return ``responses`` rows of each prompt (median 200 tokens, clipped to 1,024), and the prompts' lengths."""
    rows, lengths = [], []
    answers = iter(skewed(prompts * responses, seed=2))
    for prompt in skewed(prompts, seed=1, median=200.0):
        kept = prompt[:1024]
        for _ in range(responses):
            rows.append(np.concatenate([kept, next(answers)]))
            lengths.append(len(kept))
    return rows, lengths


def useful(rows: Rows, model: Any) -> float:
    """Return the useful FLOPs of scoring rows; see the module's first lines."""
    config = model.config
    embeddings = model.get_input_embeddings().weight.numel()
    parameters = sum(weights.numel() for weights in model.parameters()) - embeddings
    lengths = np.array([len(row) for row in rows], np.float64)
    attention = 4 * config.hidden_size * (lengths**2).sum() / 2
    return float(2 * parameters * lengths.sum() + config.num_hidden_layers * attention)


def padded(model: Any, rows: Rows, size: int, device: str) -> np.ndarray:
    """Score by the usual loop: batches in input order, padded to their longest, each copied back."""
    found = []
    for start in range(0, len(rows), size):
        taken = rows[start : start + size]
        ids = torch.full((len(taken), max(map(len, taken))), PAD)
        mask = torch.zeros_like(ids)
        for place, row in enumerate(taken):
            ids[place, : len(row)] = torch.from_numpy(row)
            mask[place, : len(row)] = 1
        with torch.inference_mode():
            logits = model(input_ids=ids.to(device), attention_mask=mask.to(device)).logits
        found.append(logits[:, 0].double().cpu().numpy())
    return np.concatenate(found)


def wait(device: str) -> None:
    """Wait until the device has done all that it was given."""
    if device == "cuda":
        torch.cuda.synchronize()


def seconds(work: Callable[[], object], device: str) -> float:
    """Return how long some work takes on the device."""
    wait(device)
    begun = time.perf_counter()
    work()
    wait(device)
    return time.perf_counter() - begun


def interleaved(ways: dict[str, Callable[[], object]], device: str, rounds: int) -> dict[str, list[float]]:
    """Return the times of several ways, one after the other in each round, after one round that does not count."""
    for work in ways.values():
        work()
    taken: dict[str, list[float]] = {name: [] for name in ways}
    for _ in range(rounds):
        for name, work in ways.items():
            taken[name].append(seconds(work, device))
    return taken


def line(name: str, times: Sequence[float], flops: float, rows: Rows) -> dict[str, Any]:
    """Return and print what a way reached."""
    middle = statistics.median(times)
    made = {
        "way": name,
        "seconds": middle,
        "spread": [min(times), max(times)],
        "rows_per_second": len(rows) / middle,
        "tokens_per_second": sum(map(len, rows)) / middle,
        "useful_flops_per_second": flops / middle,
        "share_of_peak": flops / middle / PEAK,
    }
    print(
        f"  {name:<28} {middle:8.3f} s  {made['rows_per_second']:9.0f} rows/s  "
        f"{flops / middle / 1e12:7.1f} TFLOP/s  {made['share_of_peak']:.3f} of the peak"
    )
    return made


def matrix_product(device: str, side: int) -> float:
    """Return the FLOP/s of the best of ten bfloat16 products of square matrices."""
    one, other = (torch.randn(side, side, device=device, dtype=torch.bfloat16) for _ in range(2))
    one @ other
    return 2 * side**3 / min(seconds(lambda: one @ other, device) for _ in range(10))


def spearman(one: np.ndarray, other: np.ndarray) -> float:
    """Return the rank correlation; random rows give no ties."""
    return float(np.corrcoef(np.argsort(np.argsort(one)), np.argsort(np.argsort(other)))[0, 1])


def models(size: str, device: str, count: int, rounds: int) -> dict[str, Any]:
    """Measure a model: skewed rows, 16 responses of one prompt, bfloat16 against float32."""
    model = classifier(size, device)
    parameters = sum(weights.numel() for weights in model.parameters())
    print(f"{size}: {parameters / 1e9:.2f} billion parameters, {count} rows")
    rows = skewed(count)
    some = rows[: max(32, count // 8)]
    scorer = partial(TokenScorer, model, pad_id=PAD, device=device)
    truth = scorer(dtype="float32")(some)
    scorers = {tokens: scorer(dtype="bfloat16", batch_tokens=tokens) for tokens in (8192, 16_384, 32_768)}
    ways: dict[str, Callable[[], object]] = {
        f"packed {tokens}": partial(made, rows) for tokens, made in scorers.items()
    } | {f"padded, batch {batch}": partial(padded, model, rows, batch, device) for batch in (8, 64)}
    times, flops = interleaved(ways, device, rounds), useful(rows, model)
    measured = [line(name, times[name], flops, rows) for name in ways]
    found = scorers[16_384](some)
    far = np.abs(found - truth) / truth.std()
    near = {"largest": float(far.max()), "median": float(np.median(far)), "spearman": spearman(found, truth)}
    usual = padded(model, some, 8, device)
    near["padded_largest"] = float((np.abs(usual - truth) / truth.std()).max())
    print(f"  bfloat16 from float32, in standard deviations of {len(some)} scores: {near}")
    return {
        "size": size,
        "parameters": parameters,
        "tokens": sum(map(len, rows)),
        "skewed": measured,
        "meter": {str(tokens): share(made) for tokens, made in scorers.items()},
        "bfloat16": near,
        "prompts": shared(model, scorer, device, max(2, count // 64), rounds),
    }


def share(scorer: TokenScorer) -> dict[str, float]:
    """Return the share of time in planning, and the tokens computed for one that is real."""
    meter = scorer.meter
    return {
        "planning": meter.planning / (meter.planning + meter.forward),
        "computed_per_real": meter.computed / meter.real,
        "splits": meter.splits,
    }


def shared(
    model: Any, scorer: Callable[..., TokenScorer], device: str, prompts: int, rounds: int
) -> list[dict[str, Any]]:
    """Measure 16 responses of one prompt: the prompt once, each with its own, and the usual loops."""
    rows, lengths = prompted(prompts)
    made = scorer(dtype="bfloat16", batch_tokens=16_384)
    print(f"  {prompts} prompts, 16 responses each; FLOPs as if every prompt were computed 16 times")
    ways: dict[str, Callable[[], object]] = {
        "prompt shared": partial(made, rows, lengths),
        "packed, nothing shared": partial(made, rows),
        "padded, batch 8": partial(padded, model, rows, 8, device),
        "padded, batch 64": partial(padded, model, rows, 64, device),
    }
    times, flops = interleaved(ways, device, rounds), useful(rows, model)
    far = float(np.abs(made(rows, lengths) - made(rows)).max() / made(rows).std())
    print(f"  largest difference of shared and not shared: {far:.4f} standard deviations")
    return [{**line(name, times[name], flops, rows), "shared_difference": far} for name in ways]


def profile(size: str, device: str, count: int) -> str:
    """Return the kernels that take the most time in packed batches of 16,384 tokens."""
    from torch.profiler import ProfilerActivity

    scorer = TokenScorer(classifier(size, device), pad_id=PAD, device=device, dtype="bfloat16", batch_tokens=16_384)
    rows = skewed(count)
    scorer(rows)
    kinds = [ProfilerActivity.CPU, ProfilerActivity.CUDA] if device == "cuda" else [ProfilerActivity.CPU]
    with torch.profiler.profile(activities=kinds) as made:
        scorer(rows)
    order = "self_cuda_time_total" if device == "cuda" else "self_cpu_time_total"
    return str(made.key_averages().table(sort_by=order, row_limit=25, max_name_column_width=60))


def over_ids(device: str, counts: Sequence[int], width: int) -> dict[str, Any]:
    """Measure rules over ids on the device and on the host, from few rows to many, and where they cross."""
    draw = np.random.default_rng(3)
    measured, crossings = [], {}
    for kind, names in RULES.items():
        faster = None
        for rows in counts:
            sides = [torch.from_numpy(np.minimum(draw.zipf(1.3, (rows, width)), VOCABULARY)).to(device) for _ in "ab"]
            lengths = [
                torch.from_numpy(np.clip(draw.lognormal(np.log(85), 1.04, rows), 1, width).astype(int)).to(device)
                for _ in "ab"
            ]
            given = {"response_lengths": lengths[0], "reference_lengths": lengths[1]}
            ways: dict[str, Callable[[], object]] = {
                where: partial(rules.score_ids, names, *sides, where=where, **given) for where in ("host", "device")
            }
            times = interleaved(ways, device, 3)
            host, here = (ways[where]() for where in ("host", "device"))
            equal = all(bool((host[name] == here[name]).all()) for name in names)  # type: ignore[index]
            speed = {where: rows / statistics.median(times[where]) for where in ways}
            measured.append({"rules": kind, "rows": rows, "width": width, "rows_per_second": speed, "equal": equal})
            print(f"  {kind:<7} {rows:>7} rows: {speed['device']:>12.0f} rows/s, host {speed['host']:>10.0f}, {equal=}")
            faster = (faster or rows) if speed["device"] > speed["host"] else None
        crossings[kind] = faster
        print(f"  {kind}: the device is faster from {faster} rows on")
    return {"crossover": crossings, "measured": measured}


def machine(device: str) -> dict[str, Any]:
    """Describe the machine."""
    return {
        "device": torch.cuda.get_device_name() if device == "cuda" else platform.processor() or platform.machine(),
        "torch": torch.__version__,
        "transformers": transformers.__version__,
        "python": platform.python_version(),
        "matrix_product_flops_per_second": matrix_product(device, 8192 if device == "cuda" else 256),
        "peak_flops_per_second": PEAK,
    }


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description="Measure the scoring kernel on a CUDA device.")
    parser.add_argument("--out", type=Path, required=True, help="JSON file to write")
    parser.add_argument("--tiny", action="store_true", help="a small model on any machine: tests this script")
    parser.add_argument("--profile", action="store_true", help="also print the kernels that take the most time")
    asked = parser.parse_args()
    if not asked.tiny and not torch.cuda.is_available():
        parser.error("no CUDA device: only --tiny runs here")
    device = "cuda" if torch.cuda.is_available() else "cpu"
    made: dict[str, Any] = {"machine": machine(device), "models": []}
    print(json.dumps(made["machine"]))
    print("rules over ids")
    made["rules"] = over_ids(device, (8, 32) if asked.tiny else tuple(4**power for power in range(3, 9)), 256)
    asked.out.write_text(json.dumps(made, indent=1) + "\n")
    plans = [("tiny", 64, 1)] if asked.tiny else [("1b", 1024, ROUNDS), ("8b", 256, 3)]
    for size, count, rounds in plans:
        made["models"].append(models(size, device, count, rounds))
        if device == "cuda":
            made["models"][-1]["most_memory"] = torch.cuda.max_memory_allocated()
        asked.out.write_text(json.dumps(made, indent=1) + "\n")  # what was measured is kept if a later part fails
    if asked.profile:
        print(profile(*plans[0][:1], device, plans[0][1] // 4))


if __name__ == "__main__":
    main()
