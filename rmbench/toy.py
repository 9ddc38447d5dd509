"""What is true of the toy world, by enumeration: expectations, gradients, optima and divergences in closed form.

A *table* is float (places, 13, 4): the logits of x, y, z and the end at each place and each prefix that leaves a
choice. A *policy* is float (places, 40): the log-probability of each of ``PREFIXES`` as the whole response. Places are
those of ``toy_world.WORLD`` in order, nats everywhere, no torch. "Expected" is the mean over the places.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from rmbench.models.checkpoint import read, tensors
from rmbench.toy_world import END, FREE, NAMES, PREFIXES, VOCABULARY, WORLD, reward, text_of

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    Array = NDArray[np.float64]

MODEL = "tabular"
BISECTIONS = 60
ROWS = len(WORLD) + 1  # a saved table has one row more: of texts that stand alone, without a prompt


@cache
def rewards() -> Array:
    """Return the reward of every response, (places, 40), in [0, 1]."""
    found = [[reward(name, text_of(letters)) for letters in PREFIXES] for name in NAMES]
    return _frozen(np.array(found))


@cache
def takes() -> Array:
    """Return which choices each response is made of, (40, 13, 4): 1 where it takes the token at the prefix."""
    found = np.zeros((len(PREFIXES), FREE, VOCABULARY))
    number = {letters: index for index, letters in enumerate(PREFIXES)}
    for index, letters in enumerate(PREFIXES):
        for written, token in enumerate((*letters, END)):
            if (at := number[letters[:written]]) < FREE:
                found[index, at, token] = 1.0
    return _frozen(found)


def uniform() -> Array:
    """Return the table of the policy that draws every token with the same probability."""
    return np.zeros((len(WORLD), FREE, VOCABULARY))


def choices(table: Any) -> Array:
    """Return the log-probability of each token at each prefix, of the shape of the table."""
    logits = np.asarray(table, dtype=np.float64)
    logits = logits - logits.max(axis=-1, keepdims=True)
    found: Array = logits - np.log(np.exp(logits).sum(axis=-1, keepdims=True))
    return found


def policy(table: Any) -> Array:
    """Return the policy of a table: the log-probability of every response."""
    found: Array = np.einsum("psv,ysv->py", choices(table), takes())
    return found


def table_of(logp: Array) -> Array:
    """Return the table of a policy, normalised: the inverse of ``policy`` (for a policy that rules nothing out)."""
    through = np.einsum("py,ysv->psv", np.exp(logp), takes())
    found: Array = np.log(through / through.sum(axis=-1, keepdims=True))
    return found


def mean(logp: Array, values: Array | None = None) -> float:
    """Return the expectation of the reward, or of other values (places, 40), over places and responses."""
    return float((np.exp(logp) * (rewards() if values is None else values)).sum(axis=1).mean())


def gradient(table: Any, values: Array | None = None) -> Array:
    """Return the gradient of ``mean(policy(table), values)`` by the table, values held fixed.

    E[values * d log p] (Williams 1992), with d log p(y) / d table[s, v] = 1[y takes v at s] - 1[y passes s] p(v | s).
    """
    logp = policy(table)
    weights = np.exp(logp) * (rewards() if values is None else values) / len(WORLD)
    taken = np.einsum("py,ysv->psv", weights, takes())
    found: Array = taken - taken.sum(axis=-1, keepdims=True) * np.exp(choices(table))
    return found


def regularised_gradient(table: Any, reference: Any, beta: float) -> Array:
    """Return the gradient by the table of E[reward] - beta * KL(policy || reference's)."""
    values = rewards() - beta * (policy(table) - policy(reference))  # what log p adds is E[d log p] = 0
    return gradient(table, values)


def entropy(logp: Array) -> float:
    """Return the mean entropy of the responses to a place, in nats."""
    return -mean(logp, logp)


def kl(logp: Array, reference: Array) -> float:
    """Return the mean KL(policy || reference) of the responses to a place, in nats, at least 0."""
    return mean(logp, logp - reference)


def regularised(reference: Array, beta: float, values: Array | None = None) -> Array:
    """Return the policy that maximises E[reward] - beta * KL(policy || reference): reference * exp(reward / beta) / Z.

    Ziegler et al. 2019; Korbak et al. 2022.
    """
    logits = reference + (rewards() if values is None else values) / beta
    logits = logits - logits.max(axis=1, keepdims=True)
    found: Array = logits - np.log(np.exp(logits).sum(axis=1, keepdims=True))
    return found


def settled(reference: Any, beta: float, *, forward: bool = False) -> Array:
    """Return the table at which a KL penalty at each token, its places held fixed, balances the reward.

    That is where KL in the loss comes to, or with a uniform reference an entropy bonus of beta: the gradient does not
    know that a token decides where later penalties are paid, so this is not ``regularised``. By backward induction,
    with Q(s, v) the expected reward after token v and q the reference:

    - KL(p || q), as k2 in the loss has it: p = q exp(Q / beta) / Z (O'Donoghue et al. 2017 for the entropy bonus);
    - KL(q || p) (``forward``), as k3 has it: p = beta q / (lambda - Q), lambda such that it sums to 1.
    """
    prior = np.exp(choices(reference))
    worth, p = rewards().copy(), np.empty_like(prior)  # of a prefix: of ending there, then of going on by p
    after = [[PREFIXES.index((*letters, token)) for token in range(END)] for letters in PREFIXES[:FREE]]
    for at in reversed(range(FREE)):
        gains = np.concatenate((worth[:, after[at]], rewards()[:, at, None]), axis=1)
        p[:, at] = _balanced(prior[:, at], gains, beta) if forward else _tilted(prior[:, at], gains, beta)
        worth[:, at] = (p[:, at] * gains).sum(axis=1)
    return np.log(p)


def _tilted(prior: Array, gains: Array, beta: float) -> Array:
    found: Array = prior * np.exp((gains - gains.max(axis=1, keepdims=True)) / beta)
    return found / found.sum(axis=1, keepdims=True)


def _balanced(prior: Array, gains: Array, beta: float) -> Array:
    """Return beta q / (lambda - Q), lambda by bisection."""
    low = gains.max(axis=1, keepdims=True)
    high = low + beta
    for _ in range(BISECTIONS):
        middle = (low + high) / 2
        too_much = (beta * prior / (middle - gains)).sum(axis=1, keepdims=True) > 1
        low, high = np.where(too_much, middle, low), np.where(too_much, high, middle)
    found: Array = beta * prior / (high - gains)
    return found / found.sum(axis=1, keepdims=True)


def best_of(logp: Array, n: int) -> Array:
    """Return the policy of the best of n responses by the reward, the first drawn of those that are equal.

    P(reward <= r)^n - P(reward < r)^n for each level r, shared within a level in proportion to the probabilities.
    """
    found = np.empty_like(logp)
    for place, values in enumerate(rewards()):
        p = np.exp(logp[place])
        for level in np.unique(values):
            alike = values == level
            upto, below, here = p[values <= level].sum(), p[values < level].sum(), p[alike].sum()
            share = min(upto, 1.0) ** n - below**n
            found[place, alike] = logp[place, alike] + np.log(share / here)
    return found


def greedy(table: Any) -> float:
    """Return the mean reward of the responses that take the likeliest token at every place, the first of equal ones."""
    best = choices(table).argmax(axis=-1)
    found = []
    for place, name in enumerate(NAMES):
        letters: tuple[int, ...] = ()
        while (at := PREFIXES.index(letters)) < FREE and (token := int(best[place, at])) != END:
            letters = (*letters, token)
        found.append(reward(name, text_of(letters)))
    return float(np.mean(found))


def optimum() -> float:
    """Return the most that a policy can expect of the reward: the mean over the places of the best response's."""
    return float(rewards().max(axis=1).mean())


def saved(folder: str | Path) -> Array:
    """Return the table of a policy ``tabular`` that was saved, without the row of texts that stand alone.

    Raises:
        InputError: the folder holds none, or one of another world; it is read as untrusted data.
    """
    return stored(folder)[: len(WORLD)].astype(np.float64)


def stored(folder: str | Path) -> NDArray[np.float32]:
    """Return all rows of a saved table, (places + 1, 13, 4); errors as ``saved``."""
    checkpoint = read(folder)
    found = {key: checkpoint.config.get(key) for key in described()}
    if found != described():
        from rmbench.errors import InputError

        raise InputError(
            f"is no table of this toy world: model_type {found['model_type']!r}, world {found['world']!r}, "
            f"expected {described()['model_type']!r} and {described()['world']!r}",
            where=str(checkpoint.path / "config.json"), help="train the policy `tabular` again",
        )  # fmt: skip
    logits = tensors(checkpoint, {"logits": (ROWS, FREE, VOCABULARY)})["logits"]
    return logits.astype(np.float32)


def described() -> dict[str, Any]:
    """Return what the config.json of a saved table says of itself and of its world."""
    return {"model_type": MODEL, "world": 1}


def expected(folder: str | Path, *, best: int = 1) -> float:
    """Return the exact expected reward of a saved policy as it samples at temperature 1; metric ``expected-reward``.

    Args:
        folder: ``RUN/training/NAME/seed-K`` of a policy ``tabular``.
        best: of how many responses the reward chooses the best; 1: none.
    """
    logp = policy(saved(folder))
    return mean(best_of(logp, best) if best > 1 else logp)


def _frozen(array: Array) -> Array:
    array.setflags(write=False)
    return array
