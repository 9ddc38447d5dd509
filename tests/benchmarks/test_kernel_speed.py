"""The kernel beside the peers' packages and the plain loops: the comparisons of reports/performance, one by one.

    pytest tests/benchmarks/test_kernel_speed.py -n 0 --benchmark-enable --benchmark-only -s

measures and prints a line for each row. With benchmarks disabled (the default tests) inputs are small: the code runs
and the scores of both sides are compared, nothing is measured.
"""

import json
from dataclasses import asdict

import pytest
import torch
from comparisons import line
from comparisons_of_models import COMPARISONS as MODELS
from comparisons_of_rules import COMPARISONS as RULES


@pytest.fixture(autouse=True)
def as_measured(monkeypatch):
    monkeypatch.setenv("RMBENCH_COMPILED", "1")
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize("name", [*RULES, *MODELS])
def test_comparison(benchmark, name):
    compare = {**RULES, **MODELS}[name]
    found = benchmark.pedantic(compare, kwargs={"small": benchmark.disabled}, rounds=1)
    assert found
    for one in found:
        print(line(one))
        assert one.ratio.low <= one.ratio.median <= one.ratio.high
        assert one.mark in {"met", "missed", "reported", "does not apply"}
    benchmark.extra_info["findings"] = json.loads(json.dumps([asdict(one) for one in found]))
