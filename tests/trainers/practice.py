"""What the tests of several trainers do with a small policy: record what it drew, run, read, interrupt."""

import json
import math

import pytest
import torch
from spelling import Speller, bits, copies, session, share_of_a

from rmbench.judged import Interrupted
from rmbench.policy import Scored

SHORT = {"batch": 6, "learning_rate": 0.02, "evaluations": 1, "evaluation_prompts": 4}


class Recorded(Speller):
    """A policy that remembers what it drew, one list of responses for each call."""

    def __init__(self, **fields):
        super().__init__(**fields)
        self.drawn = []

    def sample(self, samples, n, decoding, *, seed):
        found = super().sample(samples, n, decoding, seed=seed)
        self.drawn.append((list(samples), [one for several in found for one in several], n))
        return found


def picky(samples, texts):
    """The share of the letter a, with nothing for texts that begin with b and NaN for those with c."""
    plain = share_of_a(samples, texts).values
    values = [
        None if text[:1] == "b" else float("nan") if "c" in text else one
        for text, one in zip(texts, plain, strict=True)
    ]
    return Scored(tuple(values), {})


def known_rows(scores):
    """The rows that a score is learnt from."""
    return [row for row, score in enumerate(scores) if score is not None and math.isfinite(score)]


def rows(folder, name="log.jsonl"):
    return [json.loads(one) for one in (folder / name).read_text().splitlines()]


def gradients(agent):
    return torch.cat([weight.grad.reshape(-1) for weight in agent.module.parameters()])


def weights(agent):
    return torch.cat([weight.detach().reshape(-1) for weight in agent.module.parameters()])


def trained(module, options, folder, *, agent=None, data=None, **fields):
    """Train a new policy and return it with what its training came to."""
    agent = agent or Speller()
    return agent, module.train(agent, data or copies(), options, session(folder, **fields))


def check_resumed(module, options, folder, *, data=None):
    """An interrupted training goes on to the same weights and rows as one that was not; so does the same one again."""
    whole, _ = trained(module, options, folder / "whole", data=data)
    again, _ = trained(module, options, folder / "again", data=data)
    assert bits(again) == bits(whole)
    for _ in range(10):
        count = iter(range(100))
        try:
            parted, _ = trained(module, options, folder / "parted", data=data, stop=lambda c=count: next(c) >= 2)
            break
        except Interrupted:
            continue
    else:
        pytest.fail("it never came to its end")
    assert bits(parted) == bits(whole)
    for name in ("log.jsonl", "curve.jsonl"):
        assert (folder / "parted" / name).read_bytes() == (folder / "whole" / name).read_bytes()
        assert (folder / "again" / name).read_bytes() == (folder / "whole" / name).read_bytes()
