"""How long the agree study takes for 30 rewards and the null rewards on 100,000 rows: seconds by group of metrics.

With benchmarks disabled (the default tests) the table is small: the code runs, nothing is measured.
"""

from __future__ import annotations

import numpy as np
import pytest

from rmbench.api import Column
from rmbench.studies.agree import agree
from rmbench.studies.calibration import METRICS
from rmbench.studies.rows import Rows, Scored

SAMPLES, FEW, EACH, SYSTEMS, REWARDS = 25_000, 100, 4, 8, 30
NULLS = ("random", "constant", "longest", "shortest", "copy", "lead")
GROUPS = {
    "pair": ("pairwise-accuracy", "pairwise-accuracy-strict", "margin-over-null"),
    "sample": ("top1-accuracy", "acc-eq", "kendall", "spearman", "pearson"),
    "quality": ("precision", "recall", "f1", "accuracy", "auroc"),
    "system": ("system-accuracy", "soft-pairwise-accuracy"),
}


def noisy(rng, good, name):
    values = np.round(good + rng.normal(scale=2.0, size=len(good)), 2) if name != "constant" else np.zeros(len(good))
    return Scored(name, f"{name}@1", Column(values, np.ones(len(good), dtype=bool)), null=name in NULLS)


@pytest.fixture(scope="module")
def rows(request):
    samples = FEW if request.config.getoption("benchmark_disable") else SAMPLES
    rng, n = np.random.default_rng(0), samples * EACH
    good = rng.normal(3.0, 1.0, n)
    ratings = np.clip(np.rint(good + rng.normal(scale=0.5, size=n)), 1, 5)
    names = [*(f"reward-{i}" for i in range(REWARDS)), *NULLS]
    none = np.zeros(0, dtype=np.int64)
    return Rows(
        task="big", version=1, kind="qa", split="test", label="big@1", languages=("en",), aspects=("quality",),
        main="quality", good=4.0, ids=tuple(map(str, range(samples))), sample=np.repeat(np.arange(samples), EACH),
        candidate=np.tile(np.arange(EACH), samples), systems=tuple(f"s{i}" for i in range(SYSTEMS)),
        system=np.concatenate([rng.permutation(SYSTEMS)[:EACH] for _ in range(samples)]), cluster=np.arange(samples),
        subset=(None,) * samples, texts=tuple("x" * k for k in rng.integers(1, 99, n)), references=((),) * samples,
        human={"quality": Column(ratings, np.ones(n, dtype=bool))}, better=none, worse=none, preference_subset=(),
        rewards={name: noisy(rng, good, name) for name in names},
    )  # fmt: skip


@pytest.mark.parametrize("group", GROUPS)
def test_agree_on_a_hundred_thousand_rows(benchmark, rows, group):
    results = benchmark.pedantic(agree, (rows, GROUPS[group]), rounds=1)
    assert {r.metric for r in results} >= set(GROUPS[group])
    assert {r.reward for r in results} == set(rows.rewards)


def test_calibration_on_a_hundred_thousand_rows(benchmark, rows):
    results = benchmark.pedantic(agree, (rows, METRICS), rounds=1)
    assert {r.metric for r in results} == set(METRICS)
    assert {r.reward for r in results} == set(rows.rewards) - set(NULLS)
