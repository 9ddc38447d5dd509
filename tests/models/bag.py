"""A learner small enough to be trained in a second: counts of words, dropout, one hidden layer, batch norm."""

import hashlib
import zlib

import torch

from rmbench.models.training import reproducible

WIDTH = 32


def counts(text):
    found = [0.0] * WIDTH
    for word in text.split():
        found[zlib.crc32(word.encode()) % WIDTH] += 1.0
    return found


class Bag:
    """Scores by word counts."""

    def __init__(self, judgements, *, dropout=0.2, hidden=8):
        splits = {"train": judgements.train, "dev": judgements.dev}
        self.counts = {
            name: torch.tensor([counts(text) for text in one.batch.responses]) for name, one in splits.items()
        }
        self.module = torch.nn.Sequential(
            torch.nn.Dropout(dropout), torch.nn.Linear(WIDTH, hidden), torch.nn.BatchNorm1d(hidden), torch.nn.Tanh(),
            torch.nn.Linear(hidden, 1),
        )  # fmt: skip

    def scores(self, split, rows):
        return self.module(self.counts[split][list(rows)]).squeeze(-1)


def made(judgements, fitting, **options):
    """A learner whose first weights are a function of the seed."""
    with reproducible(fitting.runtime):
        return Bag(judgements, **options)


def bits(module):
    """The sha256 of all weights and buffers, bit for bit."""
    whole = hashlib.sha256()
    for name, weight in sorted(module.state_dict().items()):
        whole.update(name.encode() + weight.numpy().tobytes())
    return whole.hexdigest()
