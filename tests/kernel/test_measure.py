"""What rmbench bench measures: sides in turn, texts, rules; the process that measures, line by line."""

import json
import subprocess
import sys

import pytest

from rmbench.kernel import measure, measured_rules
from rmbench.kernel.measured import Side, clock_of, interleaved, machine, peak_bytes, rate, spread, times
from rmbench.kernel.measured_rules import FAMILIES, Family, Unequal, check_equal
from rmbench.kernel.measured_texts import pairs, skewed


def test_sides_run_in_turn_and_begin_in_turn():
    now, calls = [0.0], []

    def side(name, seconds):
        def run():
            calls.append(name)
            now[0] += seconds

        return run

    sides = {"a": Side(side("a", 2.0), 4), "b": Side(side("b", 3.0), 1)}
    assert interleaved(sides, lambda: now[0], 3) == {"a": [0.5] * 3, "b": [3.0] * 3}
    assert calls == ["a", "b", "b", "a", "a", "b"]


def test_ratios_are_taken_within_a_round():
    found = times([1.0, 2.0, 4.0], [3.0, 4.0, 4.0])
    assert (found.median, found.low, found.high) == (2.0, 1.0, 3.0)
    assert rate([0.5, 0.25]).high == 4.0
    assert spread([3.0, 1.0, 2.0]).median == 2.0


def test_the_clock_is_the_processors_for_one_thread_of_it():
    assert clock_of(1).__name__ == "process_time"
    assert clock_of(2).__name__ == clock_of(1, "cuda").__name__ == "perf_counter"


def test_texts_are_the_same_at_every_call():
    responses, references = pairs(5, 30, candidates=2)
    assert (responses, references) == pairs(5, 30, candidates=2)
    assert len(responses) == 6
    assert references[0] == references[1] != references[2]
    assert all(len(text.split()) == 30 for text in (*responses, *references))
    kept = set(responses[0].lower().split()) & set(references[0].lower().split())
    assert len(kept) >= 8


def test_lengths_are_quantiles_in_random_order():
    lengths = skewed(101, median=85, sigma=0.9)
    assert sorted(lengths)[50] == 85
    assert max(lengths) > 470
    assert lengths != sorted(lengths)
    assert lengths == skewed(101, median=85, sigma=0.9)


@pytest.mark.parametrize("family", FAMILIES, ids=lambda family: family.title)
def test_a_family_is_measured_and_equal_to_its_peer(family):
    found = measured_rules.measure(family, rounds=2, small=True)
    rates = found["pairs_per_second"]
    assert 0 < rates["low"] <= rates["median"] <= rates["high"]
    assert (found["ratio"] is None) == (found["against"] is None) == (not family.peer)


def test_sides_with_other_scores_are_not_compared(monkeypatch):
    check_equal({"chrf": [1.0, 2.0]}, {"chrf": [1.0 + 1e-12]})
    with pytest.raises(Unequal, match="rouge-1: scores differ by up to"):
        check_equal({"rouge-1": [1.0]}, {"rouge-1": [1.0 + 1e-12]})
    monkeypatch.setattr(measured_rules, "loop_of", lambda _: lambda a, b: {"bleu": [-1.0] * len(a)})
    with pytest.raises(Unequal, match="nothing to compare"):
        measured_rules.measure(Family(("bleu",), peer="sacrebleu"), small=True)


def test_the_machine_is_described():
    found = machine()
    assert found["processor"]
    assert found["numpy"]
    assert json.loads(json.dumps(found)) == found
    assert 2**20 < peak_bytes() < 2**42


def test_a_step_that_fails_says_why_and_the_others_go_on(monkeypatch, capsys):
    def fails():
        raise ValueError("no such thing")

    steps = [measure.Step("bad", 1.0, fails), measure.Step("good", 1.0, lambda: {"rules": []})]
    monkeypatch.setattr(measure, "rule_steps", lambda *_, **__: steps)
    monkeypatch.setattr(measure, "model_steps", lambda *_, **__: [])
    events = list(measure.events(1, "cpu", quick=True))
    assert [event["event"] for event in events] == ["plan", "begin", "found", "begin", "found", "end"]
    assert events[2] == {"event": "found", "step": "bad", "failed": "ValueError: no such thing"}
    assert events[4] == {"event": "found", "step": "good", "rules": []}
    assert "no such thing" in capsys.readouterr().err


def test_rules_are_measured_before_torch_is_imported():
    code = (
        "import sys; from rmbench.kernel import measure; steps = measure.rule_steps(1, quick=True)\n"
        "measure.model_steps(1, 'cpu', quick=True); steps[7].run(); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
