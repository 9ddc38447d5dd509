"""The committed comparison of decoding strategies: its page says what its numbers say, and none is missing."""

import importlib.util
import json
from dataclasses import fields
from pathlib import Path

import pytest

from rmbench.policy import Decoding

FOLDER = Path(__file__).resolve().parent.parent.parent / "reports" / "decoding"


@pytest.fixture(scope="module")
def make():
    spec = importlib.util.spec_from_file_location("decoding_report", FOLDER / "make.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_the_page_is_made_of_the_numbers(make):
    facts = json.loads((FOLDER / "decoding.json").read_text(encoding="utf-8"))
    assert make.page(facts) == (FOLDER / "README.md").read_text(encoding="utf-8")
    assert list(facts["ways"])[: len(make.WAYS)] == list(make.WAYS)
    assert facts["prompts"] >= 200


def test_every_strategy_of_the_record_stands_in_the_table(make):
    compared = {name for way in make.WAYS.values() for name in way}
    left = {"max_tokens", "length_penalty", "best_of", "best_by", "stop"}  # lengths, and the row of best-of-n
    assert compared == {one.name for one in fields(Decoding)} - left


def test_the_likeliest_of_several_is_chosen(make):
    from policy_data import SAMPLES, agent, logprobs

    drawn = agent().sample(SAMPLES, 3, Decoding(max_tokens=8, temperature=1.5), seed=1)
    for sample, several, best in zip(SAMPLES, drawn, make.likeliest(agent(), SAMPLES, drawn), strict=True):
        means = [float(logprobs(agent(), [sample], [one])[0].detach()) / len(one.ids) for one in several]
        assert means[several.index(best)] == pytest.approx(max(means), abs=1e-5)
