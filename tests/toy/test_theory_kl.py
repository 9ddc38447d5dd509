"""KL, entropy, importance weights and pairs against what enumeration says of them."""

from pathlib import Path

import numpy as np
import pytest
import torch
from fakes import modules_of

from rmbench import toy
from rmbench.toy_world import FREE, PREFIXES, WORLD
from rmbench.trainers import estimators, values
from rmbench.trainers.dpo import pair_losses
from rmbench.trainers.options import Reinforce

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "toy"
ROWS, GROUP, WITHIN, BETA = 4800, 4, 4.0, 0.3


@pytest.fixture(scope="module")
def report():
    with modules_of(FOLDER, ("world", "gradients")) as found:
        yield found


@pytest.fixture(scope="module")
def early(report):
    return report.world.on_the_way(0.3)


@pytest.fixture(scope="module")
def start(report):
    return report.world.on_the_way(100.0, seed=1)


def measured(report, at, *, start=None, look=0, **options):
    given = {"batch": ROWS // GROUP, "group": GROUP, "kl": 0.0, "baseline": "leave-one-out"}
    settings = Reinforce(**{**report.gradients.ONE_STEP, **given, **options})
    return report.gradients.estimates(settings, at, start=start, look=look)


def far(found, wanted):
    return np.abs(found.errors(wanted)).max()


def local(at, by_state):
    """Gradient of sum over prefixes of P(prefix) f(prefix), the probabilities of prefixes held fixed."""
    passes = np.einsum("py,ysv->ps", np.exp(toy.policy(at)), toy.takes())
    return passes[..., None] * by_state / len(WORLD)


def tokens(table):
    """Log-probability of every token of every response, (places, 40, 4), 0 beyond its free ones."""
    found = np.zeros((len(WORLD), len(PREFIXES), 4))
    for index, letters in enumerate(PREFIXES):
        for step, token in enumerate((*letters, 3)):
            if (state := PREFIXES.index(letters[:step])) < FREE:
                found[:, index, step] = toy.choices(table)[:, state, token]
    return found


def test_k1_in_the_reward_is_the_gradient_of_the_regularised_objective(report, early, start):
    found = measured(report, early, start=start, kl=BETA)
    assert far(found, toy.regularised_gradient(early, start, BETA)) < WITHIN
    assert far(found, found.exact) > WITHIN


@pytest.mark.parametrize("name", ["k2", "k3"])
def test_k2_and_k3_in_the_reward_are_biased_as_enumeration_says(report, early, start, name):
    """Their values are fixed there, and the gradient of an estimate is not the estimate of a gradient."""
    estimate = estimators.KL[name](torch.tensor(tokens(early)), torch.tensor(tokens(start))).sum(-1).numpy()
    found = measured(report, early, start=start, kl=BETA, kl_estimator=name)
    assert far(found, toy.gradient(early, toy.rewards() - BETA * estimate)) < WITHIN
    assert far(found, toy.regularised_gradient(early, start, BETA)) > WITHIN


@pytest.mark.parametrize("forward", [False, True])
def test_where_kl_in_the_loss_settles_there_is_no_gradient(start, forward):
    at = toy.settled(start, BETA, forward=forward)
    log_p, log_q = toy.choices(at), toy.choices(start)
    p, q = np.exp(log_p), np.exp(log_q)
    here = p * (log_p - log_q - (p * (log_p - log_q)).sum(-1, keepdims=True))
    assert np.abs(toy.gradient(at) - BETA * local(at, p - q if forward else here)).max() < 1e-12
    assert np.abs(toy.regularised_gradient(at, start, BETA)).max() > 1e-3


@pytest.mark.parametrize("name", ["k1", "k2", "k3"])
def test_in_the_loss_each_estimator_is_another_penalty(report, early, start, name):
    """In expectation k1 adds nothing, k2 KL(p || q) and k3 KL(q || p) of tokens where the policy now goes."""
    log_p, log_q = toy.choices(early), toy.choices(start)
    p, q = np.exp(log_p), np.exp(log_q)
    here = log_p - log_q - (p * (log_p - log_q)).sum(-1, keepdims=True)
    penalty = {"k1": np.zeros_like(p), "k2": p * here, "k3": p - q}[name]
    found = measured(report, early, start=start, kl=BETA, kl_estimator=name, kl_in="loss")
    assert far(found, found.exact - BETA * local(early, penalty).reshape(-1)) < WITHIN
    assert far(found, toy.regularised_gradient(early, start, BETA)) > WITHIN


def test_the_entropy_bonus_is_that_of_tokens_where_the_policy_goes(report, early):
    log_p = toy.choices(early)
    p = np.exp(log_p)
    gradient = -p * (log_p - (p * log_p).sum(-1, keepdims=True))
    found = measured(report, early, entropy=0.5)
    assert far(found, found.exact + 0.5 * local(early, gradient).reshape(-1)) < WITHIN
    assert far(found, found.exact) > WITHIN


def test_kl_estimators_of_drawn_responses(report, early):
    """k1, k3 and the exact one of each token are unbiased for the KL of responses, k2 is not; each has less variance."""
    near = early + 0.3 * np.random.default_rng(3).normal(size=early.shape)
    agent, reference = report.world.agent(near), report.world.agent(early)
    samples = report.world.data().dev.samples
    drawn = agent.sample(samples, 4000, report.world.session(FOLDER, early).decoding.__class__(temperature=1.0), seed=1)
    responses = [one for each in drawn for one in each]
    rows = [sample for sample in samples for _ in range(4000)]
    with torch.no_grad():
        seen, ref = agent.forward(rows, responses), reference.forward(rows, responses)
        logp, base = (estimators.logprobs(one.logits, one.ids) for one in (seen, ref))
        found = {name: estimators.masked_sum(call(logp, base), seen.mask) for name, call in estimators.KL.items()}
        found["exact"] = estimators.exact_kl(seen.logits, ref.logits, seen.mask)
    exact = toy.kl(toy.policy(near), toy.policy(early))
    off = {name: float((each.mean() - exact) / (each.std() / len(each) ** 0.5)) for name, each in found.items()}
    assert max(abs(off[name]) for name in ("k1", "k3", "exact")) < WITHIN
    k2 = (np.exp(toy.policy(near)) * ((tokens(near) - tokens(early)) ** 2 / 2).sum(-1)).sum(1).mean()
    assert float(found["k2"].mean()) == pytest.approx(k2, rel=0.03)
    assert abs(k2 - exact) > 0.01 * exact
    assert found["exact"].var() < found["k3"].var() < found["k1"].var()
    assert found["k1"].min() < 0 <= min(found[name].min() for name in ("k2", "k3", "exact"))


@pytest.fixture(scope="module")
def second(report, early):
    """Second updates of a draw, after a first step that was large."""

    def look(**options):
        return measured(report, early, look=1, updates=2, learning_rate=0.3, baseline="none", **options)

    return {
        "none": look(),
        "full": look(importance="truncated", importance_cap=1e9),
        "truncated": look(importance="truncated", importance_cap=1.2),
        "clipped": look(importance="clipped", importance_cap=1.2),
    }


def test_importance_weights_make_samples_of_an_earlier_policy_unbiased(second):
    assert far(second["full"], second["full"].exact) < WITHIN
    assert far(second["none"], second["none"].exact) > 2 * WITHIN


@pytest.mark.parametrize(("name", "low", "high"), [("none", 1, 1), ("truncated", 0, 1.2), ("clipped", 1 / 1.2, 1.2)])
def test_cut_weights_are_biased_as_enumeration_says_and_vary_less(second, early, name, low, high):
    found = second[name]
    ratio = np.exp(toy.policy(found.table) - toy.policy(early))
    seen = toy.rewards() * np.clip(ratio, low, high) / ratio  # of responses drawn from the table as it is
    assert far(found, toy.gradient(found.table, seen)) < WITHIN
    assert found.variance < second["full"].variance


def test_generalised_advantages_with_lambda_1_are_monte_carlo_ones(report, early):
    generator = torch.Generator().manual_seed(1)
    lengths = torch.randint(1, 5, (50,), generator=generator)
    mask = torch.arange(4)[None] < lengths[:, None]
    rewards = torch.where(mask, torch.randn(50, 4, generator=generator, dtype=torch.float64), 0.0)
    known = torch.randn(50, 4, generator=generator, dtype=torch.float64)
    found = values.gae(rewards, known, mask, gamma=0.9, lam=1.0)
    assert torch.allclose(found, torch.where(mask, estimators.returns(rewards, 0.9) - known, 0.0))


def test_dpo_of_all_pairs_comes_to_the_regularised_optimum(start):
    """Where p(a before b) is sigmoid(r_a - r_b), the loss has no gradient at start * exp(r / beta) (Rafailov et al. 2023)."""
    reference = toy.policy(start)
    best = torch.tensor(toy.regularised(reference, BETA), requires_grad=True)
    ratios, rewards = best - torch.tensor(reference), torch.tensor(toy.rewards())
    one, other = torch.triu_indices(40, 40, offset=1)
    p = torch.tensor(np.exp(reference))
    shares = torch.sigmoid(rewards[:, one] - rewards[:, other])
    ahead, behind = (
        pair_losses(ratios[:, a], ratios[:, b], beta=BETA, kind="sigmoid") for a, b in ((one, other), (other, one))
    )
    loss = (p[:, one] * p[:, other] * (shares * ahead + (1 - shares) * behind)).sum()
    (gradient,) = torch.autograd.grad(loss, best)
    assert gradient.abs().max() < 1e-12
