"""Every estimator of a gradient against the exact one: bias, and what lowers the variance.

Each trainer's own step is made once with thousands of responses, and the gradient of each is kept.
"""

from pathlib import Path

import numpy as np
import pytest
from fakes import modules_of

from rmbench import toy
from rmbench.toy_world import FREE, WORLD
from rmbench.trainers.critic_options import ActorCritic, Ppo
from rmbench.trainers.options import Grpo, Reinforce

FOLDER = Path(__file__).resolve().parents[2] / "reports" / "toy"
ROWS = 4800  # responses of a step; a multiple of the 15 prompts and of every group here
WITHIN = 4.0  # standard errors
CRITIC = {"whiten": False, "value_weight": 0.0}


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


def settings(report, kind, *, group=4, **options):
    return kind(**{**report.gradients.ONE_STEP, "batch": ROWS // group, "group": group, "kl": 0.0, **options})


def far(measured, wanted):
    return np.abs(measured.errors(wanted)).max()


def test_the_tables_are_where_they_are_said_to_be(early, start):
    means = [toy.mean(toy.policy(table)) for table in (start, early)]
    assert means == pytest.approx([0.09, 0.36], abs=0.02)


@pytest.mark.parametrize("group", [1, 4])
@pytest.mark.parametrize("baseline", ["none", "moving-average", "greedy", "leave-one-out"])
def test_reinforce_is_unbiased_with_every_baseline(report, early, baseline, group):
    if (baseline, group) == ("leave-one-out", 1):
        group = 2
    found = report.gradients.estimates(settings(report, Reinforce, baseline=baseline, group=group), early)
    assert far(found, found.exact) < WITHIN
    assert far(found, 1.3 * found.exact) > WITHIN  # the test could tell


def test_every_baseline_lowers_the_variance_that_a_shifted_reward_brings(report, early):
    """A constant added to all rewards changes no gradient; without a baseline it is noise."""
    mean = toy.mean(toy.policy(early)) + 1

    def variance(baseline, shift):
        options, numbers = settings(report, Reinforce, baseline=baseline), {"moving_average": mean - 1 + shift}
        found = report.gradients.estimates(options, early, numbers=numbers, shift=shift)
        assert far(found, found.exact) < WITHIN
        return found.variance

    plain = variance("none", 1.0)
    for baseline in ("moving-average", "greedy", "leave-one-out"):
        shifted = variance(baseline, 1.0)
        assert shifted < 0.7 * plain
        assert shifted == pytest.approx(variance(baseline, 0.0), rel=1e-4)


def test_a_greedy_baseline_is_worse_than_none_where_the_policy_is_far_from_greedy(report, early):
    plain, greedy = (
        report.gradients.estimates(settings(report, Reinforce, baseline=baseline), early)
        for baseline in ("none", "greedy")
    )
    assert greedy.variance > 2 * plain.variance


@pytest.mark.parametrize(
    ("kind", "options"),
    [
        (ActorCritic, {"lam": 1.0}),
        (ActorCritic, {"lam": 0.0}),
        (ActorCritic, {"advantage": "n-step", "n": 1}),
        (ActorCritic, {"advantage": "n-step", "n": 2}),
        (Ppo, {"lam": 0.95, "epochs": 1, "value_clip": 0.0}),
    ],
)
def test_an_exact_critic_leaves_no_bias(report, early, kind, options):
    values = report.gradients.state_values(early)
    found = report.gradients.estimates(settings(report, kind, **CRITIC, **options), early, head=values)
    assert far(found, found.exact / found.tokens) < WITHIN  # these two take the mean over tokens


def test_a_critic_lowers_the_variance_and_trusting_it_lowers_it_more(report, early):
    values, nothing = report.gradients.state_values(early) + 1, np.zeros((len(WORLD), 40))
    none, monte_carlo, one_step = (
        report.gradients.estimates(
            settings(report, ActorCritic, lam=lam, **CRITIC), early, head=head, shift=1.0
        ).variance
        for head, lam in ((nothing, 1.0), (values, 1.0), (values, 0.0))
    )
    assert one_step < 0.9 * monte_carlo < 0.5 * none


def test_a_wrong_critic_biases_all_but_monte_carlo(report, early):
    wrong = np.random.default_rng(0).normal(size=(len(WORLD), 40))
    whole, one = (
        report.gradients.estimates(settings(report, ActorCritic, lam=lam, **CRITIC), early, head=wrong)
        for lam in (1.0, 0.0)
    )
    assert far(whole, whole.exact / whole.tokens) < WITHIN
    assert far(one, one.exact / one.tokens) > 3 * WITHIN


def test_state_values_are_those_of_the_world(report, early):
    values, logp = report.gradients.state_values(early), toy.policy(early)
    assert values[:, 0].mean() == pytest.approx(toy.mean(logp))
    assert values[:, FREE:] == pytest.approx(toy.rewards()[:, FREE:])  # after three letters all is said


def test_unscaled_grpo_is_the_gradient_times_the_share_of_the_others(report, early):
    """The group's mean holds the response itself: (G - 1) / G of the gradient, over max_tokens (Liu et al. 2025)."""
    for group in (2, 4):
        options = settings(report, Grpo, scale="none", normalisation="dr_grpo", group=group)
        found = report.gradients.estimates(options, early)
        assert far(found, found.exact * (group - 1) / group / 4) < WITHIN


def test_scaled_grpo_is_biased_as_enumeration_says(report, early):
    """In a group of two the advantage is the sign of the difference over root 2, whatever its size."""
    found = report.gradients.estimates(settings(report, Grpo, normalisation="dr_grpo", group=2), early)
    p = np.exp(toy.policy(early))
    ahead = toy.rewards()[:, :, None] - toy.rewards()[:, None]
    scaled = (ahead / 2 / (np.abs(ahead) / np.sqrt(2) + 1e-4) * p[:, None]).sum(-1)  # of y, expected over the other
    known = toy.gradient(early, scaled) / 4
    assert far(found, known) < WITHIN
    exact = found.exact * np.linalg.norm(known) / np.linalg.norm(found.exact)  # as long, so that direction alone counts
    assert far(found, exact) > WITHIN


def test_a_temperature_is_part_of_the_policy_that_is_trained(report, early):
    found = report.gradients.estimates(settings(report, Reinforce, temperature=2.0), early)
    assert far(found, toy.gradient(early / 2) / 2) < WITHIN


def test_mixed_cross_entropy_has_the_gradient_of_the_references(report, early):
    found = report.gradients.estimates(settings(report, Reinforce, mix=0.4), early)
    assert far(found, 0.6 * found.exact) < WITHIN  # the references' share comes from a pass of its own
