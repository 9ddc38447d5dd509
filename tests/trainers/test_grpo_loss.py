"""GRPO's loss against numbers computed by hand."""

import math
from types import SimpleNamespace

import pytest
import torch

from rmbench.policy import Decoding, Forward, Response
from rmbench.trainers import grpo
from rmbench.trainers.options import Grpo
from rmbench.trainers.rollouts import Rollout
from rmbench.trainers.steps import Looker

LOGP = [[0.5, 0.25], [0.2, None]]  # probabilities now, of two responses of two tokens and one
OLD = [[0.4, 0.25], [0.5, None]]
REF = [[0.5, 0.5], [0.2, None]]
REWARDS = [3.0, 1.0]
A = 1.0 / (math.sqrt(2) + 1e-4)  # the first's advantage; the second's is -A


def filled(rows):
    return torch.tensor([[0.0 if one is None else math.log(one) for one in row] for row in rows])


def loss(**options):
    """The loss of the two responses under the options."""
    responses = (Response("", (0, 0), finished=True), Response("", (0,), finished=True))
    mask = torch.tensor([[True, True], [True, False]])
    p = filled(LOGP).exp()
    logits = torch.stack([p, 1 - p], -1).clamp_min(1e-30).log()
    seen = Forward(logits, torch.zeros(2, 2, dtype=torch.int64), mask, logits)
    course = SimpleNamespace(
        options=Grpo(group=2, **options), agent=SimpleNamespace(forward=lambda *_: seen),
        session=SimpleNamespace(decoding=Decoding(max_tokens=4)),
    )  # fmt: skip
    scored = torch.ones(2, dtype=torch.bool)
    rollout = Rollout(
        (None,) * 2, responses, torch.tensor(REWARDS), scored, seen.ids, mask, filled(OLD), filled(REF), 2
    )
    looker = Looker(course, rollout, [0, 1])
    looked = looker.see([0, 1])
    terms, beyond = grpo.surrogate(course, looked, looker)
    return float(grpo.normalised(course, looked, looker, terms)), beyond.tolist()


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        # ratios 1.25 (beyond 1.2, advantage above 0), 1 and 0.4 (below 0.8, advantage below 0: min takes 0.8)
        ({}, (-(1.2 + 1) * A / 2 + 0.8 * A) / 2),
        ({"normalisation": "bnpo"}, (-(1.2 + 1) * A + 0.8 * A) / 3),
        ({"normalisation": "dr_grpo"}, (-(1.2 + 1) * A + 0.8 * A) / 8),
        ({"epsilon_high": 0.3}, (-(1.25 + 1) * A / 2 + 0.8 * A) / 2),
        ({"scale": "none"}, (-(1.2 + 1) / 2 + 0.8) / 2),
        ({"importance_level": "sequence"}, (-math.sqrt(1.25) * A + 0.8 * A) / 2),
    ],
)
def test_the_clipped_surrogate(options, expected):
    assert loss(kl=0.0, **options)[0] == pytest.approx(expected, rel=1e-5)


def test_tokens_beyond_the_clip_are_counted():
    assert loss(kl=0.0)[1] == [1.0, 1.0]
    assert loss(kl=0.0, epsilon=0.7)[1] == [0.0, 0.0]


def test_k3_to_the_start_is_added():
    k3 = 0.5 / 0.25 - 1 + math.log(0.25 / 0.5)  # of the first response's second token alone
    assert loss(kl=0.1)[0] - loss(kl=0.0)[0] == pytest.approx(0.1 * k3 / 2 / 2, rel=1e-4)


def test_kl_in_the_reward_moves_the_advantages():
    away = math.log(0.4 / 0.5) + math.log(0.25 / 0.5)  # k1 of the drawing policy, summed
    first, second = 3 - 0.5 * away, 1 - 0.5 * math.log(0.5 / 0.2)
    half = (first - second) / 2
    found = loss(kl=0.5, kl_in="reward", kl_estimator="k1", scale="none")[0]
    assert found == pytest.approx((-(1.2 + 1) * half / 2 + 0.8 * half) / 2, rel=1e-5)
