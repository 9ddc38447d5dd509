"""The toy world is as its card says, and what is said of it in closed form is true."""

import itertools
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench import toy
from rmbench.api import Batch, Turn
from rmbench.builtin.toy import REWARDS
from rmbench.errors import InputError
from rmbench.tasks import load_tasks, read
from rmbench.toy_world import FREE, PREFIXES, WORLD, letters_of, place_of, reward, text_of

SHAPE = (len(WORLD), FREE, 4)


def table(seed, spread=1.0):
    return np.random.default_rng(seed).normal(size=SHAPE) * spread


def drawn(function, at, step=1e-6):
    """Central differences of a function of a table."""
    found = np.zeros_like(at)
    for index in np.ndindex(at.shape):
        shift = np.zeros_like(at)
        shift[index] = step
        found[index] = (function(at + shift) - function(at - shift)) / (2 * step)
    return found


@pytest.fixture(scope="module")
def task(request):
    folder = request.config.rootpath / "tasks"
    return next(task for task in load_tasks(folder) if task.name == "toy")


def test_forty_responses_each_with_the_reward_written_down():
    assert len(PREFIXES) == len(set(PREFIXES)) == 40
    assert toy.rewards().shape == (5, 40)
    assert reward("north", "x y z") == 1.0
    assert reward("Centre: go", "y") == 0.5
    assert reward("centre", "z y") == 0.2
    assert reward("west", "y y x") == 0.2
    assert reward("south", "") == 0.0
    assert reward("east", "y y y") == 0.1
    assert [text_of(letters_of(place.target)) for place in WORLD] == [place.target for place in WORLD]


def test_every_place_has_one_best_response_and_a_lure_second():
    for place, values in zip(WORLD, toy.rewards(), strict=True):
        ranked = np.sort(values)[::-1]
        assert ranked[0] == place.top / 100 > ranked[1] == place.bait / 100 > ranked[2]


@pytest.mark.parametrize(
    ("prompt", "text", "word"), [("Summarise this", "x", "Summarise"), ("", "x", "''"), ("north", "x q", "'q'")]
)
def test_another_world_is_told_so(prompt, text, word):
    with pytest.raises(InputError, match=word):
        reward(prompt, text)


def test_the_reward_leaves_other_worlds_unscored():
    prompts, texts = ("North: go", "Why?", "north"), ("x y z", "x", "because")
    batch = Batch(
        ("a", "b", "c"), ("a", "b", "c"), tuple((Turn("user", one),) for one in prompts), prompts, (None,) * 3, texts,
        ((),) * 3, ((),) * 3,
    )  # fmt: skip
    first, second, third = REWARDS[0].build()(batch)
    assert first == 1.0
    assert "none of the toy world's" in second.reason
    assert "'because' is none of x, y, z" in third.reason


def test_splits_ask_the_same_in_other_words(task):
    rows = {split: list(read(task, split)) for split in ("test", "train", "dev")}
    assert {split: len(found) for split, found in rows.items()} == {"test": 5, "train": 15, "dev": 5}
    for one, other in itertools.combinations(rows.values(), 2):
        assert not {row.prompt for row in one} & {row.prompt for row in other}
    assert [place_of(row.prompt) for row in rows["test"]] == list(range(5))
    for row in itertools.chain(*rows.values()):
        assert not any(one.human for one in row.candidates)
        scores = [reward(row.prompt, one.text) for one in row.candidates]
        assert scores[0] == max(toy.rewards()[place_of(row.prompt)])
        found = {(each.better, each.worse) for each in row.preferences}
        assert found == {(a, b) for a, b in itertools.permutations(range(4), 2) if scores[a] > scores[b]}
    assert np.mean([reward(row.prompt, text) for row in rows["train"] for text in row.references]) == pytest.approx(
        0.55
    )


def test_numbers_of_the_readme(request):
    words = (request.config.rootpath / "tasks/toy/README.md").read_text(encoding="utf-8")
    assert f"expected reward is {toy.optimum():g}" in words
    assert f"has {toy.mean(toy.policy(toy.uniform())):g}" in words
    for place in WORLD:
        assert f"| {place.name} | {place.target} | {place.top / 100} | {place.lure} | {place.bait / 100} |" in words


def test_a_policy_by_hand():
    logits = toy.uniform()
    logits[0, 0] = np.log([0.5, 0.25, 0.125, 0.125])  # north: x half the time
    p = np.exp(toy.policy(logits))
    assert p.sum(axis=1) == pytest.approx(np.ones(5))
    assert p[0, PREFIXES.index(())] == pytest.approx(0.125)
    assert p[0, PREFIXES.index((0, 1, 2))] == pytest.approx(0.5 / 4 / 4)  # the end after three letters is sure
    assert p[0, PREFIXES.index((0,))] == pytest.approx(0.5 / 4)


@given(st.integers(0, 2**32 - 1), st.floats(0.1, 3.0))
@settings(max_examples=30, deadline=None)
def test_tables_and_policies_say_the_same(seed, spread):
    logp = toy.policy(table(seed, spread))
    assert np.exp(logp).sum(axis=1) == pytest.approx(np.ones(5))
    assert toy.policy(toy.table_of(logp)) == pytest.approx(logp, abs=1e-9)
    assert toy.kl(logp, logp) == 0.0
    assert toy.kl(logp, toy.policy(toy.uniform())) >= 0.0
    assert 0.0 <= toy.entropy(logp) <= math.log(40) + 1e-12


def test_gradients_are_those_of_finite_differences():
    at, reference, beta = table(1), table(2), 0.3
    logp = toy.policy(reference)
    assert toy.gradient(at) == pytest.approx(drawn(lambda t: toy.mean(toy.policy(t)), at), abs=1e-8)
    objective = lambda t: toy.mean(toy.policy(t)) - beta * toy.kl(toy.policy(t), logp)  # noqa: E731
    assert toy.regularised_gradient(at, reference, beta) == pytest.approx(drawn(objective, at), abs=1e-8)
    surprise = -toy.policy(at)
    assert toy.gradient(at, surprise) == pytest.approx(drawn(lambda t: toy.entropy(toy.policy(t)), at), abs=1e-8)


@given(st.integers(0, 2**32 - 1), st.floats(0.05, 5.0))
@settings(max_examples=30, deadline=None)
def test_the_regularised_optimum_has_no_gradient_and_no_better(seed, beta):
    reference = table(seed)
    logp = toy.policy(reference)
    best = toy.regularised(logp, beta)
    assert np.abs(toy.regularised_gradient(toy.table_of(best), reference, beta)).max() < 1e-9
    value = toy.mean(best) - beta * toy.kl(best, logp)
    other = toy.policy(toy.table_of(best) + 0.1 * table(seed + 1))
    assert value >= toy.mean(other) - beta * toy.kl(other, logp)
    z = np.log((np.exp(logp) * np.exp(toy.rewards() / beta)).sum(axis=1))
    assert value == pytest.approx(beta * z.mean())  # the value is beta log Z


def test_the_optimum_is_reached_as_the_penalty_goes():
    logp = toy.policy(toy.uniform())
    assert toy.optimum() == pytest.approx(0.94)
    assert toy.mean(toy.regularised(logp, 0.005)) == pytest.approx(toy.optimum(), abs=1e-6)
    assert toy.mean(toy.regularised(logp, 1e6)) == pytest.approx(toy.mean(logp), abs=1e-6)
    assert toy.greedy(toy.table_of(toy.regularised(logp, 0.01))) == pytest.approx(0.94)


def test_best_of_n_by_drawing_them():
    logp = toy.policy(table(3))
    generator = np.random.default_rng(0)
    p = np.exp(logp[0]) / np.exp(logp[0]).sum()
    drawn = generator.choice(40, size=(200_000, 4), p=p)
    chosen = drawn[np.arange(len(drawn)), toy.rewards()[0][drawn].argmax(axis=1)]
    found = np.bincount(chosen, minlength=40) / len(drawn)
    exact = np.exp(toy.best_of(logp, 4)[0])
    assert exact.sum() == pytest.approx(1.0)
    assert found == pytest.approx(exact, abs=5 * 0.5 / math.sqrt(len(drawn)))
    assert toy.best_of(logp, 1) == pytest.approx(logp)


@given(st.integers(0, 2**32 - 1), st.integers(1, 256))
@settings(max_examples=30, deadline=None)
def test_best_of_n_keeps_within_its_analytic_divergence(seed, n):
    logp = toy.policy(table(seed))
    best = toy.best_of(logp, n)
    assert np.exp(best).sum(axis=1) == pytest.approx(np.ones(5))
    assert toy.mean(best) >= toy.mean(logp) - 1e-12
    assert toy.kl(best, logp) <= math.log(n) - (n - 1) / n + 1e-12  # Beirami et al. 2024: an upper bound
