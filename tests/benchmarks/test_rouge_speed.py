"""ROUGE-1, -2 and -L through the kernel against rouge-score and rouge-score-rs: seconds, interleaved, five rounds.

    pytest tests/benchmarks/test_rouge_speed.py -n 0 --benchmark-enable -s

prints a line for each row: microseconds a pair of each package (median, least and most) and the ratios of medians, all
in processor seconds of one thread. With benchmarks disabled (the default tests) there are few rows: the code runs,
every score is compared, nothing is measured.
"""

import os
import random
import time
from dataclasses import dataclass
from statistics import median

import pytest

os.environ.setdefault("RAYON_NUM_THREADS", "1")  # of rouge-score-rs, read where it first scores

NAMES = {"rouge-1": "rouge1", "rouge-2": "rouge2", "rouge-l": "rougeL"}
VOCABULARY = 20_000
ENDINGS = ("", "", "", "ing", "ed", "s", "ly", "ation")
ROUNDS = 5
PLAIN = 40  # pairs of rouge-score in a round: it is a hundred times slower


@dataclass(frozen=True)
class Row:
    """One line of the table: pairs of texts of so many words, the reference shared by so many responses."""

    words: int
    stemmer: bool
    candidates: int = 1
    pairs: int = 4000

    def __str__(self):
        shared = f", {self.candidates} candidates a reference" if self.candidates > 1 else ""
        return f"{self.words} words, {'' if self.stemmer else 'no '}stemming{shared}"


ROWS = (
    Row(60, False), Row(60, True), Row(400, False, pairs=1000), Row(400, True, pairs=1000),
    Row(60, False, candidates=16), Row(60, True, candidates=16),
)  # fmt: skip


class Language:
    """Made-up words, as often as in a natural text: the n-th one with a frequency of 1 / n."""

    def __init__(self):
        self.draw = random.Random(0)
        self.words = ["".join(self.draw.choices("etaoinshrdlcumwfgypbvk", k=self.length())) for _ in range(VOCABULARY)]
        self.words = [word + self.draw.choice(ENDINGS) for word in self.words]
        total, self.weights = 0.0, []
        for rank in range(1, VOCABULARY + 1):
            total += 1 / rank
            self.weights.append(total)

    def length(self):
        return max(1, round(self.draw.gauss(6, 2.5)))

    def text(self, words):
        return self.draw.choices(self.words, cum_weights=self.weights, k=words)

    def pairs(self, row, pairs):
        """Responses that keep half of the words of their reference, and the references."""
        responses, references = [], []
        for _ in range(pairs // row.candidates):
            reference = self.text(row.words)
            for _ in range(row.candidates):
                other = self.text(row.words)
                kept = [one if self.draw.random() < 0.5 else new for one, new in zip(reference, other, strict=True)]
                responses.append(" ".join(kept))
                references.append(" ".join(reference))
        return responses, references


@pytest.fixture(scope="module")
def language():
    return Language()


@pytest.fixture
def compiled(monkeypatch):
    monkeypatch.setenv("RMBENCH_COMPILED", "1")


def interleaved(functions, clock=time.process_time):
    """Seconds of each function in each round, in turn."""
    seconds = {name: [] for name in functions}
    results = {}
    for _ in range(ROUNDS):
        for name, function in functions.items():
            start = clock()
            results[name] = function()
            seconds[name].append(clock() - start)
    return seconds, results


def line(label, seconds, pairs):
    """Microseconds a pair, median [least to most]."""
    each = {name: [1e6 * one / pairs[name] for one in many] for name, many in seconds.items()}
    shown = [f"{name} {median(many):.1f} [{min(many):.1f} to {max(many):.1f}]" for name, many in each.items()]
    ours = median(each["kernel"])
    ratios = [f"{median(many) / ours:.2f}x {name}" for name, many in each.items() if name != "kernel"]
    return f"{label}: {', '.join(shown)} us; {', '.join(ratios)}"


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("row", ROWS, ids=str)
def test_against_the_peers(benchmark, language, row):
    from rouge_score.rouge_scorer import RougeScorer
    from rouge_score_rs import RougeScorer as Rust

    from rmbench.kernel import score_texts

    few = benchmark.disabled
    responses, references = language.pairs(row, 4 * row.candidates if few else row.pairs)
    some = min(len(responses), 4 if few else PLAIN)
    plain, rust = (scorer([*NAMES.values()], use_stemmer=row.stemmer) for scorer in (RougeScorer, Rust))

    def kernel():
        return score_texts(list(NAMES), responses, references, options={"stemmer": row.stemmer})

    kernel()  # loads or compiles
    seconds, results = interleaved({
        "kernel": kernel,
        "rouge-score-rs": lambda: rust.score_batch(references, responses),
        "rouge-score": lambda: [plain.score(*pair) for pair in zip(references[:some], responses, strict=False)],
    })  # fmt: skip
    for name, kind in NAMES.items():
        assert results["kernel"][name].tolist() == [one[kind].fmeasure for one in results["rouge-score-rs"]]
        assert results["kernel"][name][:some].tolist() == [one[kind].fmeasure for one in results["rouge-score"]]
    pairs = {"kernel": len(responses), "rouge-score-rs": len(responses), "rouge-score": some}
    benchmark.extra_info.update(seconds=seconds, pairs=pairs)
    print(f"\n{line(row, seconds, pairs)}")
    benchmark.pedantic(kernel, rounds=1)


@pytest.mark.usefixtures("compiled")
@pytest.mark.parametrize("row", [ROWS[0], ROWS[3]], ids=str)
def test_two_threads(benchmark, language, row):
    from rmbench.kernel import score_texts

    responses, references = language.pairs(row, 8 if benchmark.disabled else 5 * row.pairs)

    def on(threads):
        return score_texts(list(NAMES), responses, references, options={"stemmer": row.stemmer}, threads=threads)

    on(2)
    seconds, results = interleaved({"kernel": lambda: on(2), "one thread": lambda: on(1)}, time.perf_counter)
    assert all((results["kernel"][name] == results["one thread"][name]).all() for name in NAMES)
    benchmark.extra_info.update(seconds=seconds)
    print(f"\n{line(f'two threads, {row}', seconds, dict.fromkeys(seconds, len(responses)))}")
    benchmark.pedantic(on, (2,), rounds=1)


@pytest.mark.usefixtures("compiled")
def test_ten_times_the_rows(benchmark, language):
    from rmbench.kernel import score_texts

    rows = 20 if benchmark.disabled else 100_000
    responses, references = language.pairs(ROWS[0], rows)

    def first(count):
        return score_texts(list(NAMES), responses[:count], references[:count])

    first(rows // 10)
    seconds, _ = interleaved({"kernel": lambda: first(rows // 10), "ten times the rows": lambda: first(rows)})
    benchmark.extra_info.update(seconds=seconds)
    print(f"\n{line('100,000 pairs', seconds, dict.fromkeys(seconds, rows // 10))}")
    benchmark.pedantic(first, (rows,), rounds=1)
