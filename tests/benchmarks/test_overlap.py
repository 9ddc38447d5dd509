"""chrF, BLEU and TER of the kernel beside sacrebleu and fastchrf: the same rows, one thread, medians of five in turn.

``pytest tests/benchmarks/test_overlap.py -n 0 --benchmark-enable --benchmark-only -s`` measures and prints a line for each comparison:
microseconds a row on both sides and their ratio, each with its range. With benchmarks disabled (the default tests) a
few rows run once on both sides, and the scores are compared.
"""

from __future__ import annotations

import os
import statistics
import sys
import time
from pathlib import Path

import pytest

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # fastchrf's threads
sys.path.insert(0, str(Path(__file__).resolve().parent.parent / "kernel"))
from overlap_texts import answers

from rmbench.kernel import score_texts

ROUNDS = 5


@pytest.fixture(autouse=True)
def compiled(monkeypatch):
    monkeypatch.setenv("RMBENCH_COMPILED", "1")


@pytest.fixture
def compare(benchmark):
    """Time two functions in turn on the rows that they take; print and keep microseconds a row, and the ratio."""

    def run(what, ours, theirs, rows):
        mine, others = ours(), theirs()  # compiles, fills caches
        assert list(mine) == pytest.approx(list(others), abs=1e-9)
        if benchmark.disabled:
            benchmark(lambda: None)
            return
        times = [(seconds(ours), seconds(theirs)) for _ in range(ROUNDS)]
        one, other = ([1e6 * pair[side] / rows for pair in times] for side in (0, 1))
        found = {"ours": one, "theirs": other, "ratio": [b / a for a, b in zip(one, other, strict=True)]}
        for name, values in found.items():
            benchmark.extra_info[name] = [statistics.median(values), min(values), max(values)]
        print(
            "\n"
            + what
            + ": "
            + ", ".join(f"{k} {statistics.median(v):.1f} ({min(v):.1f} to {max(v):.1f})" for k, v in found.items())
        )
        benchmark.pedantic(ours, rounds=ROUNDS)

    run.rows = (lambda many: 12) if benchmark.disabled else (lambda many: many)
    return run


def seconds(function):
    forget()
    start = time.process_time()
    function()
    return time.process_time() - start


def forget():
    """Empty sacrebleu's caches of tokenised texts: every round tokenises, as ours does."""
    from sacrebleu.tokenizers import tokenizer_13a, tokenizer_re, tokenizer_ter

    for one in (tokenizer_13a.Tokenizer13a, tokenizer_re.TokenizerRegexp, tokenizer_ter.TercomTokenizer):
        one.__call__.cache_clear()


def sentence(metric, responses, references):
    return lambda: [metric.sentence_score(*row).score for row in zip(responses, references, strict=True)]


def ours(name, responses, references, **options):
    return lambda: score_texts([name], responses, references, options=options)[name]


@pytest.mark.parametrize("words", [20, 60, 400])
@pytest.mark.parametrize("word_order", [0, 2])
def test_chrf_and_sacrebleu(compare, words, word_order):
    from sacrebleu.metrics.chrf import CHRF

    rows = compare.rows(60_000 // words)
    responses, references = answers(rows, words)
    theirs = sentence(CHRF(word_order=word_order), responses, references)
    name = f"chrF{'+' * word_order}, {words} words, sacrebleu"
    compare(name, ours("chrf", responses, references, word_order=word_order), theirs, rows)


@pytest.mark.parametrize("words", [20, 60, 400])
def test_chrf_and_fastchrf(compare, words):
    import fastchrf

    rows = compare.rows(60_000 // words)
    responses, references = answers(rows, words)

    def theirs():  # sentence chrF of each response with each reference of its row: one with one here, in one call
        found = fastchrf.pairwise_chrf([[response] for response in responses], [list(texts) for texts in references])
        return [score for ((score,),) in found]

    compare(f"chrF, {words} words, fastchrf", ours("chrf", responses, references), theirs, rows)


def test_chrf_of_sixteen_candidates_and_fastchrf(compare):
    import fastchrf

    rows = compare.rows(960)
    responses, references = answers(rows, 60)
    references = [references[row // 16 * 16] for row in range(rows)]

    def theirs():
        groups = range(0, rows, 16)
        found = fastchrf.pairwise_chrf([responses[i : i + 16] for i in groups], [list(references[i]) for i in groups])
        return [score for group in found for (score,) in group]

    compare("chrF, 16 candidates, 60 words, fastchrf", ours("chrf", responses, references), theirs, rows)


@pytest.mark.parametrize("words", [20, 60, 400])
def test_bleu_and_sacrebleu(compare, words):
    from sacrebleu.metrics.bleu import BLEU

    rows = compare.rows(60_000 // words)
    responses, references = answers(rows, words)
    theirs = sentence(BLEU(effective_order=True), responses, references)
    compare(f"BLEU, {words} words, sacrebleu", ours("bleu", responses, references), theirs, rows)


@pytest.mark.parametrize("words", [20, 60, 400])
def test_bleu_and_sacrebleu_with_references_counted_before(compare, words):
    from sacrebleu.metrics.bleu import BLEU

    rows = compare.rows(60_000 // words)
    responses, references = answers(rows, words)
    metric = BLEU(effective_order=True, references=[[text for (text,) in references]])  # not timed

    def theirs():
        return [
            metric._compute_score_from_stats(row).score for row in metric._extract_corpus_statistics(responses, None)
        ]

    compare(
        f"BLEU, {words} words, sacrebleu with counted references", ours("bleu", responses, references), theirs, rows
    )


@pytest.mark.parametrize("share", [0.6, 0.9])
@pytest.mark.parametrize("words", [12, 75])
def test_ter_and_sacrebleu(compare, words, share):
    from sacrebleu.metrics.ter import TER

    rows = compare.rows(1500 // words)
    responses, references = answers(rows, words, share=share)  # a third longer, and some: 75 become 100

    theirs = sentence(TER(), responses, references)
    compare(
        f"TER, {words * 4 // 3} words, {share:.0%} kept, sacrebleu",
        ours("ter", responses, references),
        lambda: [0.0 - score for score in theirs()],
        rows,
    )
