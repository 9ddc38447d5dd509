"""What needs a CUDA device: `python -m pytest tests/gpu -m gpu`. Deselected otherwise; without a device it fails."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "kernel" / "models"))

import tiny

from rmbench import kernel
from rmbench.kernel import device
from rmbench.kernel.models import packed
from rmbench.kernel.models.forward import TokenScorer
from rmbench.kernel.models.layout import Segment

pytestmark = pytest.mark.gpu
# heads of a width that variable-length attention takes (16, and 8 for MiniLM's twelve)
WIDTHS = {
    "gpt2": {"n_embd": 64},
    "distilbert": {"dim": 64},
    "qwen3": {"hidden_size": 64, "head_dim": 16},
    "minilm": {"hidden_size": 96},
    "llama": {"hidden_size": 64, "head_dim": 16},
}


@pytest.fixture(autouse=True)
def _cuda():
    if not torch.cuda.is_available():
        pytest.fail("these tests need a CUDA device")


def model(name):
    return tiny.model(name, **WIDTHS.get(name, {"hidden_size": 64}))


def rows_of_prompts():
    rows, draw = tiny.rows(30), np.random.default_rng(1)
    prompts = [draw.integers(2, tiny.VOCABULARY, length) for length in (20, 50)]
    shared = [np.concatenate([prompt, row[:100]]) for prompt in prompts for row in rows[:12]]
    return [*rows, *shared], [0] * len(rows) + [20] * 12 + [50] * 12


def apart(scores, truth):
    return np.abs(scores - truth).max() / truth.std()


def ranks(values):
    return np.argsort(np.argsort(values))


@pytest.mark.parametrize("name", tiny.MODELS)
@pytest.mark.parametrize("way", ["packed", "padded", "single"])
def test_float32_is_that_of_the_cpu(name, way):
    rows, prefixes = rows_of_prompts()
    truth = TokenScorer(model(name), pad_id=1)(rows)
    scorer = TokenScorer(model(name), pad_id=1, device="cuda", dtype="float32", way=way, batch_tokens=1000)
    assert apart(scorer(rows, prefixes), truth) < 1e-4


@pytest.mark.parametrize("name", tiny.MODELS)
def test_bfloat16_in_one_call_is_as_near_to_float32_as_the_padded_way(name, monkeypatch):
    rows, prefixes = rows_of_prompts()
    truth = TokenScorer(model(name), pad_id=1)(rows)
    calls, real = [], packed._in_one_call
    monkeypatch.setattr(packed, "_in_one_call", lambda *given, **named: calls.append(1) or real(*given, **named))
    scorer = TokenScorer(model(name), pad_id=1, device="cuda", batch_tokens=1000)
    assert (scorer.dtype, scorer.way) == ("bfloat16", "packed")
    scores = scorer(rows, prefixes)
    assert len(calls) == 3 * len(scorer.plan(rows, prefixes).batches), "one call a layer"
    monkeypatch.undo()
    padded = TokenScorer(model(name), pad_id=1, device="cuda", way="padded")(rows)
    usual = apart(padded, truth)
    print(f"{name}: packed {apart(scores, truth):.4f} and padded {usual:.4f} standard deviations from float32")
    assert apart(scores, truth) < max(2 * usual, 0.2)
    assert np.corrcoef(ranks(scores), ranks(truth))[0, 1] > 0.98


@pytest.mark.parametrize("causal", [True, False])
@pytest.mark.parametrize("heads", [4, 2])
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_one_call_attends_as_each_segment_does(causal, heads, dtype):
    torch.manual_seed(0)
    segments = [Segment(0, 30, 0, 0), Segment(30, 31, 0, 0), Segment(31, 200, 31, 31)]
    if causal:
        segments += [Segment(200, 201, 0, 30), Segment(201, 280, 0, 30), Segment(280, 300, 31, 200)]
    total = segments[-1].stop
    query, key, value = (torch.randn(1, count, total, 64, device="cuda") for count in (4, heads, heads))
    packing = packed.packing_of(segments, torch.device("cuda"))
    whole = packed._by_segment(packing, (query, key, value), causal=causal, scaling=0.2)
    halves = tuple(one.to(dtype) for one in (query, key, value))
    assert packed.at_once(halves[0], halves[2])
    found = packed._in_one_call(packing, halves, causal=causal, scaling=0.2)
    assert (found.float() - whole).abs().max() < 0.03


@pytest.mark.parametrize("way", ["packed", "padded"])
def test_a_memory_that_is_really_too_small_is_answered_by_halves(way):
    made = tiny.model("llama", hidden_size=512, intermediate_size=4096, head_dim=64, num_attention_heads=8)
    draw = np.random.default_rng(0)
    rows = [draw.integers(2, tiny.VOCABULARY, length) for length in draw.integers(20, 150, 3000)]
    truth = TokenScorer(made, pad_id=1, device="cuda", way=way, batch_tokens=8192)(rows)
    torch.cuda.empty_cache()
    held = torch.cuda.memory_reserved()
    torch.cuda.set_per_process_memory_fraction((held + 700e6) / torch.cuda.get_device_properties(0).total_memory)
    try:
        scorer = TokenScorer(made, pad_id=1, device="cuda", way=way, batch_tokens=400_000)
        scores = scorer(rows)
        splits = scorer.meter.splits
        again = scorer(rows)
    finally:
        torch.cuda.set_per_process_memory_fraction(1.0)
    assert splits > 0
    assert scorer.budget < 400_000
    assert scorer.meter.splits <= splits + 1, "what did not fit is remembered"
    assert apart(scores, truth) < 0.2
    assert apart(again, truth) < 0.2


@pytest.mark.parametrize(("rows", "width"), [(1, 1), (300, 40), (300, 64), (2000, 200), (50, 1000)])
def test_ids_are_scored_on_the_device_without_waiting_and_as_on_the_host(rows, width):
    draw = np.random.default_rng(width)
    own, theirs = (torch.from_numpy(draw.integers(0, 30, (rows, size))).cuda() for size in (width, width + 17))
    lengths = [torch.from_numpy(draw.integers(0, side.shape[1] + 1, rows)).cuda() for side in (own, theirs)]
    given = {"response_lengths": lengths[0], "reference_lengths": lengths[1]}
    host = kernel.score_ids(device.DEVICE_NAMES, own, theirs, where="host", **given)
    kernel.score_ids(device.DEVICE_NAMES, own, theirs, where="device", **given)
    torch.cuda.synchronize()
    torch.cuda.set_sync_debug_mode("error")
    try:
        here = kernel.score_ids(device.DEVICE_NAMES, own, theirs, where="device", **given)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    for name, column in here.items():
        assert column.device == own.device
        assert host[name].device == own.device
        assert column.cpu().numpy().tobytes() == host[name].cpu().numpy().tobytes(), name


def test_scores_wait_for_the_device_once(monkeypatch):
    """The scorer itself copies scores back once; a model may look at its positions once a batch."""
    made, rows = model("bert"), tiny.rows(60)
    scorer = TokenScorer(made, pad_id=1, device="cuda", batch_tokens=300)
    scorer(rows)
    copies, real = [], torch.Tensor.cpu
    monkeypatch.setattr(torch.Tensor, "cpu", lambda tensor, *given: copies.append(1) or real(tensor, *given))
    scorer(rows)
    assert len(scorer.plan(rows).batches) > 3
    assert len(copies) == 1
