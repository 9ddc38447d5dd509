"""The words and tables of README.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

Row = Mapping[str, Any]
NEAR = 0.02  # of the optimum


def page(numbers: Row) -> str:
    """Return README.md."""
    parts = [_head(numbers), _convergence(numbers), _best(numbers), _schedules(numbers), _entropies(numbers)]
    return "\n\n".join([*parts, _penalties(numbers), _estimators(numbers)]) + "\n"


def table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [heads, ["---"] * len(heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _range(found: Row, digits: int = 3) -> str:
    low, high = (f"{found[key]:.{digits}f}" for key in ("low", "high"))
    return f"{found['mean']:.{digits}f}" + ("" if low == high else f" ({low} to {high})")


def _head(numbers: Row) -> str:
    seeds = len(numbers["seeds"])
    return f"""# The toy world: theory, checked

Made by `python reports/toy/make.py`; all numbers stand in numbers.json. The task `toy` has five prompts with forty
possible responses each (`tasks/toy/README.md`), so that the expected reward of a policy, its gradient and its
optimum are sums over a list and not estimates. Every number below that is called exact is such a sum
(`rmbench/toy.py`); ranges are over {seeds} seeds (three for KL). What stands here says something about the trainers'
arithmetic and nothing about language: a table generalises nothing.

The best expected reward is **{numbers["optimum"]:.4g}**, that of the uniform start {numbers["uniform"]:.4g}. At
each place a *lure* pays 0.4 to 0.6 and is usually nearer."""


def _convergence(numbers: Row) -> str:
    rows, missed = [], []
    for row in numbers["convergence"]:
        curve = row["curve"]
        sooner = [_at(curve, share * numbers["steps"]) for share in (0.1, 0.3)]
        rows.append([
            row["trainer"], *(f"{one['mean']:.3f}" for one in sooner), _range(row), f"{row['optimum']:.3f}",
            f"{row['optimum'] - row['mean']:.4f}", _range(row["greedy"]), f"{row['kl']['mean']:.2f}",
        ])  # fmt: skip
        if row["low"] < row["optimum"] - NEAR:
            missed.append(row["trainer"])
    heads = ["trainer", "at a tenth", "at three tenths", "at the end", "its optimum", "left", "greedy", "KL"]
    words = f"With every seed, all are within {NEAR} of their optimum at the end"
    words += f", but for a seed or more of: {'; '.join(missed)}, which a lure still holds." if missed else "."
    return f"""## Trainers come to their optimum

Exact expected reward of the policy, sampled at temperature 1, after {numbers["steps"]} steps of 15 prompts
(learning rate 0.1, 0.03 for ppo, which makes four updates a step; entropy bonus 0.02 where there is one; KL to the
start free). The optimum of `sft` is that of its references, of which half are the best response. `dpo` draws its
pairs from the policy as it is.
{words}

{table(heads, rows)}

![exact expected reward by step](convergence.svg)"""


def _at(curve: Sequence[Row], step: float) -> Row:
    return min(curve, key=lambda point: abs(point["step"] - step))


def _best(numbers: Row) -> str:
    rows = [
        [str(row["n"]), f"{row['expected']:.4f}", f"{max(0.0, row['kl']):.4f}", f"{row['bound']:.4f}"]
        for row in numbers["best_of_n"]
    ]
    return f"""## Best-of-n, exactly

Of the uniform policy. log n - (n - 1) / n is an upper bound of the KL divergence (Beirami et al. 2024), far from it
where rewards tie and the best response is drawn anyway.

{table(["n", "expected reward", "KL", "log n - (n - 1) / n"], rows)}"""


def _schedules(numbers: Row) -> str:
    rows = [
        [row["schedule"], _range(row["gap"], 4), _range(row["away"], 4)]
        for row in numbers["schedules"]
    ]  # fmt: skip
    constant = numbers["schedules"][0]["gap"]["mean"]
    nearer = [row["schedule"] for row in numbers["schedules"] if row["gap"]["mean"] < constant]
    return f"""## Learning-rate schedules

REINFORCE with leave-one-out, two responses to each of 15 prompts, a high rate (0.3) and KL in the reward (0.2):
what is left of the exact optimum of E[r] - 0.2 KL, {numbers["schedules"][0]["optimum"]:.4f}, and KL to the policy
that has it. Nearer than a constant rate on average: {", ".join(nearer) or "none"}.

{table(["schedule", "objective left", "KL to the exact optimum"], rows)}"""


def _entropies(numbers: Row) -> str:
    rows = [
        [f"{row['entropy']:g}", _range(row["expected"]), f"{row['exact']:.3f}", _range(row["greedy"]),
         f"{row['caught']} of {row['places']}"]
        for row in numbers["entropies"]
    ]  # fmt: skip
    heads = ["entropy bonus", "expected reward", "exact", "greedy", "places not at the best response"]
    return f"""## Entropy bonus

REINFORCE with leave-one-out, four responses to each of 5 prompts, rate 0.3 (cosine): few enough that a lure can
catch it. *Exact* is where the bonus settles if nothing is caught: p = exp(Q / bonus) / Z at every prefix, by
backward induction, since the bonus in the loss counts the entropy of the tokens at hand and not of those to come. Noise
of so few responses is the likely reason that courses end elsewhere; k2 in the loss, below, is the same
penalty, since the start
is uniform, with six
times as many responses a step.

{table(heads, rows)}"""


def _penalties(numbers: Row) -> str:
    rows = []
    for row in numbers["penalties"]:
        own = row["settles"]
        exact = ["none", "none"] if own is None else [f"{own['expected']:.3f}", f"{own['kl']:.3f}"]
        best = row["regularised"]
        rows.append([
            row["penalty"], f"{row['beta']:g}", _range(row["expected"]), exact[0], f"{best['expected']:.3f}",
            _range(row["kl"]), exact[1], f"{best['kl']:.3f}",
        ])  # fmt: skip
    heads = ["KL", "coefficient", "reward", "settles at", "optimum", "KL reached", "settles at", "optimum"]
    return f"""## KL to the start, against the exact regularised optimum

REINFORCE with leave-one-out, eight responses to each of 15 prompts, cosine. *Optimum* is that of E[r] - coefficient
KL over whole responses, start * exp(r / coefficient) / Z; *settles at* is where the expected gradient of that very
penalty is even with the reward's. **Only k1 in the reward has the optimum.** In the loss k1 is no penalty at all
(its expected gradient is 0); k2 is KL(p || q) and k3 KL(q || p) of each token with the visits held fixed, so both
come to another policy, and to less reward or more KL than the objective that one may think of.

{table(heads, rows)}

![expected reward by coefficient](coefficients.svg)"""


def _estimators(numbers: Row) -> str:
    rows = []
    for row in numbers["estimators"]:
        shifted = "" if row["shifted"] is None else f"{row['shifted']:.4f}"
        rows.append([
            row["estimator"], f"{row['scale']:.3f}", f"{row['bias']:.3f}", f"{row['errors']:.1f}",
            f"{row['variance']:.4f}", shifted,
        ])  # fmt: skip
    heads = ["estimator", "scale", "bias", "standard errors", "variance", "reward + 1"]
    return f"""## Bias and variance of each estimator

One step of each trainer with {numbers["responses"]:,} responses (groups of four) at one table (expected reward
0.36). *Scale* is the length of the mean along the exact gradient (actor-critic and ppo divide by tokens, GRPO by
`max_tokens` or lengths, and its group mean holds the response itself); *bias* is what is left once that is divided
out, relative to the exact gradient, sampling noise among it; *standard errors* the furthest of 100 fixed directions
from the scaled exact gradient: below 4 there is no sign of bias. *Variance* is that of one response (trace), in the
exact gradient's scale, *reward + 1* the same where a constant is added to every reward, which changes no gradient.
A scale near 0 says that the mean is not even along the exact gradient. KL rows (coefficient
0.3) are unscaled, against the exact gradient of the regularised objective. Tests hold this:
tests/toy/test_theory.py, tests/toy/test_theory_kl.py.

{table(heads, rows)}"""
