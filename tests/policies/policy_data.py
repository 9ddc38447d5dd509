"""Samples, judgements and small policies that the tests of policies share."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

import torch

from rmbench.api import Batch, Runtime, Sample, Task, Turn
from rmbench.judged import Judged, Judgements
from rmbench.policies import tiny
from rmbench.policies.options import Tiny

sys.path.append(str(Path(__file__).parent.parent / "kernel" / "models"))

TEXTS = (
    ("A man is riding a horse.", "Ein Mann reitet ein Pferd."), ("Two dogs play in the snow.", "Zwei Hunde spielen im Schnee."),
    ("A woman in a red dress is dancing on the street.", "Eine Frau in einem roten Kleid tanzt auf der Straße."),
    ("Children.", "Kinder."), ("The cat sat on the mat and looked at the dog.", "Die Katze saß auf der Matte und sah den Hund an."),
)  # fmt: skip
SIZES = {"layers": 2, "width": 32, "heads": 4, "vocabulary": 350, "max_prompt": 48, "max_tokens": 16}


def sample(prompt, *references, name=None, turns=None):
    messages = tuple(Turn(role, text) for role, text in turns) if turns else (Turn("user", prompt),)
    return Sample(name or prompt[:20], prompt, messages, references=tuple(references))


SAMPLES = [sample(prompt, reference) for prompt, reference in TEXTS]


def judgements(samples=SAMPLES):
    empty = Batch((), (), (), (), (), (), (), ())
    part = Judged(tuple(samples), empty, (), (), ())
    return Judgements(Task("toy", 1, "translation", {}), part, part, {}, "the dev split")


def stirred(agent, seed=5, by=0.2):
    """Move the weights far from those of an initialisation, so that places and neighbours matter."""
    torch.manual_seed(seed)
    with torch.no_grad():
        for weights in agent.module.parameters():
            weights.add_(torch.randn_like(weights) * by)
    return agent


def made(architecture="llama", **changes):
    options = Tiny(architecture=architecture, **{**SIZES, **changes})
    return stirred(tiny.build(judgements(), options, Runtime()))


@cache
def agent(architecture="llama"):
    """One policy for all tests that only read it."""
    return made(architecture)


def logprobs(agent, samples, responses):
    """Sum of log-probabilities of each response, float64, by ``forward``."""
    seen = agent.forward(samples, responses)
    found = torch.log_softmax(seen.logits.double(), 2).gather(2, seen.ids[:, :, None])[:, :, 0]
    return (found * seen.mask).sum(1)
