"""Rule rewards beside the peers' real packages: every row of the issue's first table.

Each comparison first checks that both sides give the same scores: ROUGE in every bit, the rest within 1e-9.
"""

from __future__ import annotations

import os
import time
from functools import partial

from comparisons import Finding, Side, Target, interleaved, rate, times

from rmbench.kernel import score_texts
from rmbench.kernel.measured_rules import KINDS, ROUGE, check_equal, rouge_loop, sacrebleu_loop
from rmbench.kernel.measured_texts import pairs

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of rouge-score-rs and fastchrf, read where they first score
TABLE = "rules"
PAIRS, LONG_PAIRS, FEW, SMALL = 4000, 1000, 40, 4
TER_ROWS = 20
MANY = 100_000
# words, stemming: the aim and what the prototype reached, against rouge-score and against rouge-score-rs
TARGETS = {
    (60, False): (Target(100, 81), Target(1.3, 1.1)),
    (60, True): (Target(200, 181), Target(3, 2.9)),
    (400, False): (Target(600, 472), Target(1.1, 0.95)),
    (400, True): (Target(600, 554), Target(2.7, 2.7)),
}


def rust_rouge(stemmer):
    from rouge_score_rs import RougeScorer

    scorer = RougeScorer([KINDS[name] for name in ROUGE], use_stemmer=stemmer)

    def loop(responses, references):
        found = scorer.score_batch(references, responses)
        return {name: [one[KINDS[name]].fmeasure for one in found] for name in ROUGE}

    return loop


def rust_chrf(responses, references):
    import fastchrf

    found = fastchrf.pairwise_chrf([[response] for response in responses], [[reference] for reference in references])
    return {"chrf": [score for ((score,),) in found]}


def findings(names, texts, peers, targets, *, options=None, few=FEW, what=""):
    """Measure ours on all pairs beside each peer on its share of them: those in ``few`` score the first ones only."""
    responses, references = texts

    def ours():
        return score_texts(names, responses, references, options=options or {})

    first, counts = ours(), {}
    sides = {"ours": Side(ours, len(responses))}
    for name, loop in peers.items():
        count = len(responses) if name in {"rouge-score-rs", "fastchrf"} else min(few, len(responses))
        some = responses[:count], references[:count]
        check_equal(first, loop(*some))
        sides[name], counts[name] = Side(partial(loop, *some), count), count
    seconds = interleaved(sides, time.process_time)
    return [
        Finding(
            TABLE, what, name, times(seconds["ours"], seconds[name]), targets.get(name), rate(seconds["ours"]), "pairs",
            f"{len(responses):,} pairs, the peer's loop {counts[name]:,}",
        )
        for name in peers
    ]  # fmt: skip


def rouge(words, stemmer, *, small=False):
    count = SMALL if small else PAIRS if words < 100 else LONG_PAIRS
    peers = {"rouge-score": rouge_loop(ROUGE, stemmer=stemmer), "rouge-score-rs": rust_rouge(stemmer)}
    targets = dict(zip(peers, TARGETS[words, stemmer], strict=True))
    what = f"ROUGE-1/2/L, {words} words, {'' if stemmer else 'no '}stemming"
    return findings(ROUGE, pairs(count, words), peers, targets, options={"stemmer": stemmer}, what=what)


def sixteen(*, small=False):
    texts = pairs(16 if small else PAIRS, 60, candidates=16)
    return findings(
        ROUGE, texts, {"rouge-score-rs": rust_rouge(True)}, {"rouge-score-rs": Target(4.5, 4.4)},
        options={"stemmer": True}, what="ROUGE-1/2/L, 16 candidates a reference, 60 words, stemming",
    )  # fmt: skip


def threads(*, small=False):
    """Measure two threads against one, in seconds on the wall: whoever else computes here takes a part of them."""
    responses, references = pairs(8 if small else 5 * PAIRS, 60)

    def on(count):
        return score_texts(ROUGE, responses, references, options={"stemmer": True}, threads=count)

    check_equal(on(2), on(1))
    n = len(responses)
    seconds = interleaved({"two": Side(lambda: on(2), n), "one": Side(lambda: on(1), n)}, time.perf_counter)
    return [
        Finding(
            TABLE, "ROUGE-1/2/L, 60 words, stemming, two threads", "one thread", times(seconds["two"], seconds["one"]),
            Target(1.7, 1.64), rate(seconds["two"]), "pairs", f"{n:,} pairs, {os.cpu_count()} processors, wall clock",
        )
    ]  # fmt: skip


def chrf(words, *, small=False):
    peers = {"sacrebleu": sacrebleu_loop("chrf"), "fastchrf": rust_chrf}
    targets = {"sacrebleu": Target(25, 17), "fastchrf": Target(12, 8)}
    count = SMALL if small else 60_000 // words
    return findings(("chrf",), pairs(count, words), peers, targets, what=f"chrF, {words} words")


def bleu(words, *, small=False):
    peers, targets = {"sacrebleu": sacrebleu_loop("bleu")}, {"sacrebleu": Target(12)}
    count = SMALL if small else 120_000 // words
    return findings(("bleu",), pairs(count, words), peers, targets, what=f"sentence BLEU, {words} words")


def ter(kept, *, small=False):
    count = 1 if small else TER_ROWS
    return findings(
        ("ter",), pairs(count, 100, kept=kept), {"sacrebleu": sacrebleu_loop("ter")}, {"sacrebleu": Target(10)},
        few=count, what=f"TER, 100 words, {kept:.0%} of them kept",
    )  # fmt: skip


def rows(*, small=False):
    """Measure a hundred thousand pairs against the first tenth of them: how many times as long they take."""
    count = 20 if small else MANY
    responses, references = pairs(count, 60)

    def first(few):
        return score_texts(ROUGE, responses[:few], references[:few])

    first(count // 10)
    sides = {"all": Side(lambda: first(count), 1), "tenth": Side(lambda: first(count // 10), 1)}
    seconds = interleaved(sides, time.process_time)
    return [
        Finding(
            TABLE, f"ROUGE-1/2/L, 60 words, {count:,} pairs", f"{count // 10:,} pairs: times as long",
            times(seconds["tenth"], seconds["all"]), Target(10.5, most=True),
        )
    ]  # fmt: skip


COMPARISONS = {
    **{f"rouge-{w}-{'stem' if s else 'plain'}": partial(rouge, w, s) for w, s in TARGETS},
    "rouge-16-candidates": sixteen,
    "rouge-two-threads": threads,
    **{f"chrf-{words}": partial(chrf, words) for words in (60, 400)},
    **{f"bleu-{words}": partial(bleu, words) for words in (60, 400)},
    **{f"ter-{kept:.0%}": partial(ter, kept) for kept in (0.5, 0.9)},
    "rows": rows,
}
