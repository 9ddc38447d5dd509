"""Train the toy policy with every trainer and write this folder: python reports/toy/make.py.

README.md (words and tables), numbers.json, convergence.svg, coefficients.svg. --quick only shows that everything runs.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

HERE = Path(__file__).resolve().parent
sys.path.insert(0, str(HERE))

import charts  # noqa: E402 - from this folder
import courses  # noqa: E402
import gradients  # noqa: E402
import page  # noqa: E402
import world  # noqa: E402

from rmbench import toy  # noqa: E402
from rmbench.store import canonical, write_whole  # noqa: E402
from rmbench.trainers.best_of_n import kl_bound  # noqa: E402
from rmbench.trainers.critic_options import ActorCritic, Ppo  # noqa: E402
from rmbench.trainers.options import Grpo, Reinforce  # noqa: E402

if TYPE_CHECKING:
    from collections.abc import Sequence

Row = dict[str, Any]
SIZES = (1, 2, 4, 8, 16, 32, 64, 128, 256)
EARLY, NEAR, BETA = 0.3, 100.0, 0.3


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: steps of a training, seeds (few for KL penalties), responses of a measured gradient."""

    steps: int = 300
    seeds: tuple[int, ...] = (1, 2, 3, 4, 5)
    few: tuple[int, ...] = (1, 2, 3)
    responses: int = 24_000


QUICK = Effort(steps=6, seeds=(1, 2), few=(1,), responses=240)


def spread(values: Sequence[float]) -> Row:
    """Return mean and range over the seeds."""
    return {"mean": float(np.mean(values)), "low": min(values), "high": max(values)}


def convergence(effort: Effort) -> list[Row]:
    """Return the exact expected reward of every trainer on the way, beside the best that it can come to."""
    rows = []
    pays = [
        world.score([sample], [text]).values[0] for sample in world.data().train.samples for text in sample.references
    ]
    references = float(np.mean([value for value in pays if value is not None]))
    for name, options in courses.trainers(effort.steps).items():
        found = courses.every(options, effort.seeds)
        curve = [{"step": step, **spread([c.expected[at] for c in found])} for at, step in enumerate(found[0].steps)]
        best = references if name == "sft" else toy.optimum()
        last = [c.expected[-1] for c in found]
        rows.append({
            "trainer": name, "optimum": best, "curve": curve, **spread(last),
            "greedy": spread([toy.greedy(c.table) for c in found]), "kl": spread([c.kl[-1] for c in found]),
        })  # fmt: skip
    return rows


def best_of_n(_: Effort) -> list[Row]:
    """Return what is true of the best of n responses of the uniform policy."""
    logp = toy.policy(toy.uniform())
    found = [(n, toy.best_of(logp, n)) for n in SIZES]
    return [{"n": n, "expected": toy.mean(one), "kl": toy.kl(one, logp), "bound": kl_bound(n)} for n, one in found]


def schedules(effort: Effort) -> list[Row]:
    """Return how far from the regularised optimum each learning-rate schedule ends."""
    reference = toy.policy(toy.uniform())
    rows = []
    for name in courses.SCHEDULES:
        options = courses.scheduled(name, effort.steps)
        best = toy.regularised(reference, options.kl)
        top = toy.mean(best) - options.kl * toy.kl(best, reference)
        found = courses.every(options, effort.seeds)
        gaps = [top - c.expected[-1] + options.kl * c.kl[-1] for c in found]
        away = [toy.kl(toy.policy(c.table), best) for c in found]
        rows.append({"schedule": name, "gap": spread(gaps), "away": spread(away), "optimum": top})
    return rows


def entropies(effort: Effort) -> list[Row]:
    """Return what an entropy bonus comes to, beside where it settles exactly."""
    rows = []
    for entropy in courses.ENTROPIES:
        found = courses.every(courses.explored(entropy, effort.steps), effort.seeds)
        greedy = [toy.greedy(c.table) for c in found]
        caught = sum(_caught(c.table) for c in found)
        settled = toy.mean(toy.policy(toy.settled(toy.uniform(), entropy))) if entropy else toy.optimum()
        rows.append({
            "entropy": entropy, "expected": spread([c.expected[-1] for c in found]), "greedy": spread(greedy),
            "caught": caught, "places": 5 * len(found), "exact": settled,
        })  # fmt: skip
    return rows


def _caught(table: Any) -> int:
    """Return at how many places the likeliest response is not the best one."""
    likeliest = toy.policy(table).argmax(axis=1)
    return int((likeliest != toy.rewards().argmax(axis=1)).sum())


def penalties(effort: Effort) -> list[Row]:
    """Return what KL penalties come to, beside the exact regularised optimum and where each settles exactly."""
    start = toy.uniform()
    reference = toy.policy(start)
    rows = []
    for name in courses.PLACES:
        for beta in courses.PENALTIES:
            found = courses.every(courses.penalised(name, beta, effort.steps), effort.few)
            best, own = toy.regularised(reference, beta), _settled(name, beta)
            rows.append({
                "penalty": name, "beta": beta, "expected": spread([c.expected[-1] for c in found]),
                "kl": spread([c.kl[-1] for c in found]),
                "regularised": {"expected": toy.mean(best), "kl": toy.kl(best, reference)},
                "settles": None if own is None else {"expected": toy.mean(own), "kl": toy.kl(own, reference)},
            })  # fmt: skip
    return rows


def _settled(name: str, beta: float) -> Any:
    """Return the policy at which a penalty's expected gradient and the reward's are even; None where it has none."""
    if name == "k1 in the reward":
        return toy.regularised(toy.policy(toy.uniform()), beta)
    if name == "k1 in the loss":
        return None
    return toy.policy(toy.settled(toy.uniform(), beta, forward=name == "k3 in the loss"))


def estimators(effort: Effort) -> list[Row]:
    """Return bias and variance of each estimator of the gradient, at a table on the way, with a shifted reward too."""
    at, start = world.on_the_way(EARLY), world.on_the_way(NEAR, seed=1)
    common = {**gradients.ONE_STEP, "batch": effort.responses // 4, "group": 4, "kl": 0.0}
    critic = {**common, "whiten": False, "value_weight": 0.0}
    loo = {**common, "baseline": "leave-one-out"}
    exact, wrong = gradients.state_values(at), np.random.default_rng(0).normal(size=toy.rewards().shape)
    nothing = np.zeros_like(exact)
    plan: list[tuple[str, Any, Any]] = [
        *((f"reinforce, {name}", Reinforce(**{**common, "baseline": name}), None)
          for name in ("none", "moving-average", "greedy", "leave-one-out")),
        ("actor-critic, critic 0, lambda 1", ActorCritic(lam=1.0, **critic), nothing),
        *((f"actor-critic, exact critic, lambda {lam:g}", ActorCritic(lam=lam, **critic), exact)
          for lam in (1.0, 0.95, 0.0)),
        *((f"actor-critic, wrong critic, lambda {lam:g}", ActorCritic(lam=lam, **critic), wrong) for lam in (1.0, 0.0)),
        ("ppo, first epoch, exact critic", Ppo(epochs=1, **critic), exact),
        ("grpo, not scaled, dr_grpo", Grpo(**{**common, "scale": "none", "normalisation": "dr_grpo"}), None),
        ("grpo, not scaled, grpo", Grpo(**{**common, "scale": "none"}), None),
        ("grpo, scaled, dr_grpo", Grpo(**{**common, "normalisation": "dr_grpo"}), None),
        ("grpo, scaled, grpo", Grpo(**common), None),
    ]  # fmt: skip
    rows = [_row(name, at, options, head) for name, options, head in plan]
    target = toy.regularised_gradient(at, start, BETA)
    for kind in ("reward", "loss"):
        for name in ("k1", "k2", "k3"):
            options = Reinforce(**{**loo, "kl": BETA, "kl_in": kind, "kl_estimator": name})
            rows.append(_row(f"KL {name} in the {kind}", at, options, None, start=start, target=target))
    second = {**common, "baseline": "none", "updates": 2, "learning_rate": 0.3}
    for name, more in (
        ("none", {}), ("not cut", {"importance": "truncated", "importance_cap": 1e9}),
        ("truncated at 1.2", {"importance": "truncated", "importance_cap": 1.2}),
        ("clipped at 1.2", {"importance": "clipped", "importance_cap": 1.2}),
    ):  # fmt: skip
        rows.append(_row(f"second update, weights {name}", at, Reinforce(**{**second, **more}), None, look=1))
    return rows


def _row(name: str, at: Any, options: Any, head: Any, *, target: Any = None, **more: Any) -> Row:
    """Return bias and variance of an estimator once its scale is divided out; that of a penalty stands as it is."""
    found = gradients.estimates(options, at, head=head, **more)
    exact = found.exact if target is None else target.reshape(-1)
    scale = float(found.mean @ exact / (exact @ exact)) if target is None else 1.0
    bias = found.mean / scale - exact
    moved = None if more or not isinstance(options, Reinforce | ActorCritic) else _shifted(at, options, head, scale)
    return {
        "estimator": name, "scale": scale, "bias": float(np.linalg.norm(bias) / np.linalg.norm(exact)),
        "cosine": float(found.mean @ exact / np.linalg.norm(found.mean) / np.linalg.norm(exact)),
        "errors": float(np.abs(found.errors(exact * scale)).max()), "variance": found.variance / scale**2,
        "shifted": moved,
    }  # fmt: skip


def _shifted(at: Any, options: Any, head: Any, scale: float) -> float:
    """Return the variance where 1 is added to every reward; the critic and the average know of it."""
    numbers = {"moving_average": toy.mean(toy.policy(at)) + 1}
    values = None if head is None else head + (1 if head.any() else 0)
    return gradients.estimates(options, at, head=values, numbers=numbers, shift=1.0).variance / scale**2


PARTS: Mapping[str, Callable[[Effort], list[Row]]] = {
    "convergence": convergence, "best_of_n": best_of_n, "schedules": schedules, "entropies": entropies,
    "penalties": penalties, "estimators": estimators,
}  # fmt: skip


def part(name: str, effort: Effort, work: Path) -> list[Row]:
    """Return a part's rows: those that are kept, else made and kept."""
    kept = work / f"{name}.json"
    if not kept.is_file():
        write_whole(kept, canonical(PARTS[name](effort)))
    rows: list[Row] = json.loads(kept.read_bytes())
    return rows


def make(effort: Effort, work: Path, out: Path) -> None:
    """Do everything and write the folder."""
    numbers = {
        "optimum": toy.optimum(), "uniform": toy.mean(toy.policy(toy.uniform())), "steps": effort.steps,
        "seeds": list(effort.seeds), "responses": effort.responses,
        **{name: part(name, effort, work) for name in PARTS},
    }  # fmt: skip
    write_whole(out / "numbers.json", canonical(numbers))
    write_whole(out / "README.md", page.page(numbers).encode())
    write_whole(out / "convergence.svg", charts.convergence(numbers).encode())
    write_whole(out / "coefficients.svg", charts.coefficients(numbers).encode())
    print(f"wrote {out}")


def main() -> None:
    """Make the folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=HERE)
    parser.add_argument("--work", type=Path, help="where parts are kept, so that what was interrupted goes on")
    parser.add_argument("--part", choices=list(PARTS), help="make this part alone, into --work")
    parser.add_argument("--quick", action="store_true", help="few steps, seeds and responses: the numbers mean nothing")
    given = parser.parse_args()
    if given.quick and given.out == HERE:
        parser.error("--quick needs an --out of its own")
    if given.part and given.work is None:
        parser.error("--part needs --work")
    effort = QUICK if given.quick else Effort()
    with tempfile.TemporaryDirectory() as temporary:
        work = given.work or Path(temporary)
        for folder in (work, given.out):
            folder.mkdir(parents=True, exist_ok=True)
        if given.part:
            part(given.part, effort, work)
        else:
            make(effort, work, given.out)


if __name__ == "__main__":
    main()
