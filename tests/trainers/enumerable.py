"""A policy of two tokens from three, a table of logits: all nine responses can be enumerated."""

from itertools import product

import torch

from rmbench.policy import Forward, Response

LETTERS = "abc"
REWARDS = torch.tensor([1.0, 0.2, -0.5, 0.0, 0.7, 0.4, -1.0, 0.3, 0.9])  # of aa, ab, ac, ba, ...


class Table(torch.nn.Module):
    def __init__(self, seed):
        super().__init__()
        self.logits = torch.nn.Parameter(torch.randn(4, 3, generator=torch.Generator().manual_seed(seed)))


class Enumerable:
    model = tokenizer = None

    def __init__(self, seed=1):
        self.module = Table(seed)

    def probabilities(self):
        """(9,) of the responses, gradients flowing."""
        first = torch.softmax(self.module.logits[0], -1)
        second = torch.softmax(self.module.logits[1:], -1)
        return (first[:, None] * second).reshape(-1)

    def sample(self, samples, n, decoding, *, seed):
        rows = len(samples) * n
        if decoding.temperature:
            p = self.probabilities().detach()
            drawn = torch.multinomial(p, rows, replacement=True, generator=torch.Generator().manual_seed(seed))
        else:
            first = int(self.module.logits[0].argmax())
            drawn = torch.full((rows,), 3 * first + int(self.module.logits[1 + first].argmax()))
        written = [Response(LETTERS[at // 3] + LETTERS[at % 3], (at // 3, at % 3), True) for at in drawn.tolist()]
        return [tuple(written[at * n : at * n + n]) for at in range(len(samples))]

    def forward(self, samples, responses):
        ids = torch.tensor([one.ids for one in responses])
        logits = torch.stack([self.module.logits[0].expand(len(ids), 3), self.module.logits[1 + ids[:, 0]]], 1)
        return Forward(logits, ids, torch.ones_like(ids, dtype=torch.bool), logits)

    def save(self, folder):
        pass


def reward_of(text):
    return REWARDS[[a + b for a, b in product(LETTERS, LETTERS)].index(text)].item()


def exact_gradient(agent, start, *, kl=0.0):
    """The gradient of -(E[r] - kl * KL(p || start)) by enumeration: (4, 3)."""
    p = agent.probabilities()
    away = (p * (p / start.probabilities().detach()).log()).sum()
    return torch.autograd.grad(-(p @ REWARDS - kl * away), agent.module.logits)[0]
