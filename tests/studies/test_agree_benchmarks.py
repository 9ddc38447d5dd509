from __future__ import annotations

import math

import numpy as np
import pytest
from agree_rows import find, make, scored, with_mode

from rmbench.studies.agree import agree
from rmbench.studies.benchmarks import SECTIONS


def pair(subset, count=1):
    return [{"texts": ["x", "y"], "prefs": [(0, 1, subset)]} for _ in range(count)]


def marks(*right):
    return [v for mark in right for v in ((1.0, 0.0) if mark == 1 else (0.0, 0.0) if mark else (0.0, 1.0))]


def rm_bench(*domains):
    return [s for d in domains for style in ("easy", "normal", "hard") for s in pair(f"{d}/{style}", 2)]


def test_rm_bench_average():
    right = marks(1, 1, 1, 0.5, 0, 0, 1, 0, 0.5, 0.5, 1, 1)  # chat: 1, 1/2 (a tie is wrong), 0; math: 1/2, 0, 1
    results = agree(make(rm_bench("chat", "math"), [scored("r", right)]), None)
    chat, math_ = (find(results, "rm-bench-average", subset=name) for name in ("chat", "math"))
    assert (chat.value, chat.pairs, chat.n, chat.level) == (0.5, 6, 6, "pair")
    assert math_.value == pytest.approx(0.5)
    whole = find(results, "rm-bench-average")
    assert (whole.value, whole.pairs) == (pytest.approx(0.5), 12)
    assert whole.ci[0] <= whole.value <= whole.ci[1]


def test_rm_bench_weighs_styles_and_not_pairs():
    samples = [*pair("chat/easy", 4), *pair("chat/normal"), *pair("chat/hard")]
    results = agree(make(samples, [scored("r", marks(1, 1, 1, 1, 0, 0))]), None)
    assert find(results, "rm-bench-average").value == pytest.approx(1 / 3)
    assert find(results, "pairwise-accuracy-strict").value == pytest.approx(4 / 6)


def test_rm_bench_of_an_incomplete_domain():
    samples = [*rm_bench("chat"), *pair("math/easy")]
    results = agree(make(samples, [scored("r", marks(*[1] * 7))]), None)
    assert [r.subset for r in results if r.metric == "rm-bench-average"] == ["chat"]


@pytest.mark.parametrize("subset", ["chat", "chat/odd", None])
def test_other_subsets_are_no_rm_bench(subset):
    samples = [*rm_bench("chat"), *pair(subset)]
    results = agree(make(samples, [scored("r", marks(*[1] * 7))]), None)
    assert not [r for r in results if "average" in r.metric]


def test_rm_bench_counts_unscored_pairs_wrong_or_leaves_them_out():
    rows = make(rm_bench("chat"), [scored("r", [None, *marks(*[1] * 6)[1:]])])
    assert find(agree(rows, None), "rm-bench-average").value == pytest.approx((0.5 + 1 + 1) / 3)
    assert find(agree(with_mode(rows, "exclude"), None), "rm-bench-average").value == pytest.approx(1.0)


def test_rewardbench_average_by_its_weights():
    names = [name for parts in SECTIONS.values() for name in parts]
    rng = np.random.default_rng(0)
    right = {name: rng.integers(0, 2, 2).tolist() for name in names}
    samples = [s for name in names for s in pair(name, 2)]
    results = agree(make(samples, [scored("r", marks(*[m for n in names for m in right[n]]))]), None)
    sections = {}
    for section, parts in SECTIONS.items():
        sections[section] = sum(w * sum(right[n]) / 2 for n, w in parts.items()) / sum(parts.values())
        assert find(results, "rewardbench-average", subset=section).value == pytest.approx(sections[section])
    assert find(results, "rewardbench-average").value == pytest.approx(sum(sections.values()) / 4)


def test_rewardbench_has_its_2985_prompts():
    counts = {name: weight for parts in SECTIONS.values() for name, weight in parts.items()}
    assert len(counts) == 23
    assert sum(counts.values()) - counts["math-prm"] + 447 == 2985  # of math-prm 447 stand for 984


def test_a_section_of_rewardbench_alone():
    samples = [s for name in SECTIONS["Safety"] for s in pair(name)]
    results = agree(make(samples, [scored("r", marks(*[1] * 5))]), None)
    assert [(r.subset, r.value) for r in results if r.metric == "rewardbench-average"] == [("Safety", 1.0)]


def test_rewardbench_counts_prior_sets_half_as_its_own_script_does():
    names = [name for parts in SECTIONS.values() for name in parts]
    prior = {"anthropic_helpful": (1, 0), "anthropic_hhh": (1, 1), "shp": (0, 0), "summarize": (1, 1)}
    samples = [s for name in names for s in pair(name)] + [s for name in prior for s in pair(name, 2)]
    right = [*[1] * 11, *[0] * 12, *[m for both in prior.values() for m in both]]  # Chat and Chat Hard are all right
    rows = make([*samples, *pair("mtbench_human")], [scored("r", marks(*right, 0))])  # the last is in no average
    results = agree(rows, None)
    assert find(results, "rewardbench-average", subset="Prior Sets").value == pytest.approx(2.5 / 4)
    assert find(results, "rewardbench-average").value == pytest.approx((1 + 1 + 0 + 0 + 0.5 * 2.5 / 4) / 4.5)
    few = agree(make(samples[:-2], [scored("r", marks(*right[:-2]))]), None)
    found = {r.subset for r in few if r.metric == "rewardbench-average"}
    assert found == set(SECTIONS)  # one of the prior sets is missing: no mean of all


def best_of(subset):
    return {"texts": ["a", "b", "c", "d"], "prefs": [(0, w, subset) for w in (1, 2, 3)]}


def ties(name, right, wrong):
    size = right + wrong
    prefs = [(b, w, "Ties") for b in range(right) for w in range(right, size)]
    return {"id": name, "texts": ["x"] * size, "prefs": prefs, "prompt": name}


TIES = [ties("tied:1", 2, 2), ties("ref:1", 1, 2), ties("tied:2", 3, 1), ties("ref:2", 1, 1), ties("ref:3", 1, 1)]
TIES_SCORES = [5.0, 4.0, 2.0, 1.0, 5.0, 3.0, 0.0, 9.0, 8.0, 2.0, 5.0, 1.0, 3.0, 0.0, 7.0]


def ties_by_its_code(scores):
    """``process_single_model`` of the benchmark's repository, written out."""
    stats, start = {}, 0
    for sample in TIES:
        size, right = len(sample["texts"]), len({b for b, _, _ in sample["prefs"]})
        good, bad = scores[start : start + right], scores[start + right : start + size]
        stats[sample["id"]] = (min(good) > max(bad), max(good) - min(good), min(good) - max(bad))
        start += size
    tied = [stats[k] for k in ("tied:1", "tied:2")]
    ref = [stats[k] for k in ("ref:1", "ref:2")]
    spread, margin = [s[1] for s in tied], [s[2] for s in tied]
    least = [min(r[2], t[2]) for r, t in zip(ref, tied, strict=True)]
    accuracy = [stats[k][0] for k in ("ref:1", "ref:2", "ref:3")]
    size = [math.tanh(m / s - 1) for m, s in zip(least, spread, strict=True)]
    return (
        0.3 * sum(s[0] for s in tied) / 2
        + 0.3 * sum(accuracy) / 3
        + 0.2 * sum(m > s for m, s in zip(margin, spread, strict=True)) / 2
        + 0.2 * sum(m > s for m, s in zip(least, spread, strict=True)) / 2
        + 0.01 * sum(size) / 2
    )


def test_rewardbench2_ties_score():
    result = find(agree(make(TIES, [scored("r", TIES_SCORES)]), None), "rewardbench2-average", subset="Ties")
    assert result.value == pytest.approx(ties_by_its_code(TIES_SCORES), abs=1e-12)
    assert (result.level, result.n) == ("sample", 5)
    assert result.ci is not None


@pytest.mark.parametrize(("wrong", "size"), [(0.5, 1.0), (1.0, 0.0), (2.0, -1.0)])
def test_rewardbench2_ties_without_spread(wrong, size):
    samples = [ties("tied:1", 2, 1), ties("ref:1", 1, 1)]
    result = find(
        agree(make(samples, [scored("r", [1.0, 1.0, wrong, 3.0, 0.0])]), None), "rewardbench2-average", subset="Ties"
    )
    right = wrong < 1
    assert result.value == pytest.approx(0.3 * right + 0.3 + 0.2 * right + 0.2 * right + 0.01 * size)


def test_rewardbench2_average():
    names = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    samples = [best_of(name) for name in names] + TIES
    tops = [[1, 0, 0, 0], [1, 1, 0, 0], [1, 1, 1, 1], [0, 1, 0, 0], [2, 1, 0, 0]]  # 1, 1/2, 1/4, 0, 1: ties share
    scores = [float(v) for top in tops for v in top] + TIES_SCORES
    results = agree(make(samples, [scored("r", scores)]), None)
    for name, value in zip(names, (1, 0.5, 0.25, 0, 1), strict=True):
        assert find(results, "rewardbench2-average", subset=name).value == value
    whole = find(results, "rewardbench2-average")
    assert whole.value == pytest.approx((2.75 + ties_by_its_code(TIES_SCORES)) / 6)


def test_rewardbench2_unscored_answers_never_flatter():
    scores = [None, *TIES_SCORES[1:]]  # tied:1 has nothing: not accurate, no margin
    full = ties_by_its_code(TIES_SCORES)
    rows = make(TIES, [scored("r", scores)])
    wrong = find(agree(rows, None), "rewardbench2-average", subset="Ties")
    assert wrong.value < full
    assert wrong.unscored == 1
    # tied:2 is 9 8 2 | 5: not accurate; of the three refs only ref:1 is; min(2 - 5, 1 - 3) against a spread of 7
    size = math.tanh(-3 / 7 - 1)
    assert wrong.value == pytest.approx(0.3 / 3 + 0.01 * (size - 1) / 2)
    left = find(agree(with_mode(rows, "exclude"), None), "rewardbench2-average", subset="Ties")
    assert left.value == pytest.approx(0.3 / 3 + 0.01 * size)


def test_rewardbench2_ties_need_their_ids():
    samples = [dict(s, id=f"other{i}") for i, s in enumerate(TIES)]
    names = ("Factuality", "Precise IF", "Math", "Safety", "Focus")
    rows = make([best_of(name) for name in names] + samples, [scored("r", [1.0, 0, 0, 0] * 5 + TIES_SCORES)])
    results = agree(rows, None)
    for subset in ("Ties", None):
        result = find(results, "rewardbench2-average", subset=subset)
        assert (result.value, result.ci) == (None, None)
        assert result.reason == "the ids of Ties are not ref:N and tied:N"


def test_one_subset_of_a_benchmark():
    results = agree(make([best_of("Math"), best_of("Math")], [scored("r", [1.0, 0, 0, 0, 1, 1, 0, 0])]), None)
    assert find(results, "rewardbench2-average", subset="Math").value == 0.75
    assert [r.subset for r in results if r.metric == "rewardbench2-average"] == ["Math"]


def test_ties_and_ref_of_one_number_move_together():
    result = find(agree(make(TIES[:2], [scored("r", TIES_SCORES[:7])]), None), "rewardbench2-average", subset="Ties")
    assert (result.n, result.cluster, result.ci) == (2, "prompt", None)  # one cluster
