"""Graphs of trainings: rewards, judges and KL over steps; and scores over the distance from the start."""

from __future__ import annotations

from math import log, sqrt
from typing import TYPE_CHECKING

from rmbench.report.tables import Graph, Graphs, Series

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.api import Result

MOST_PANELS = 9
MOST_SERIES = 8
FITTED_POINTS = 24
BEST_OF_N, RL = "best-of-n", "rl"

Points = tuple[tuple[float, float], ...]


def curve_graphs(rows: Sequence[Result]) -> Iterable[Graphs]:
    """Yield a panel per reward and one for the KL: a line per training on a reward, the mean over its seeds."""
    told = [row for row in rows if row.step is not None and row.value is not None and row.split == "dev"]
    trained = _trained(rows)
    rewards = list(dict.fromkeys(row.reward or "" for row in told if row.metric == "mean" and row.system in trained))
    panels = [
        _curve(told, trained, ("mean", reward), reward) for reward in rewards
    ] + [_curve(told, trained, ("kl", None), "KL to the start")]  # fmt: skip
    drawn = [panel for panel in panels if panel.series]
    if drawn:
        cut = f" The first {MOST_PANELS} of {len(drawn)} panels." if len(drawn) > MOST_PANELS else ""
        more = f" The first {MOST_SERIES} of {len(trained)} trainings." if len(trained) > MOST_SERIES else ""
        yield Graphs(
            f"Over training, on dev prompts: each reward and judge, and the KL (nats); means over seeds.{cut}{more}",
            tuple(drawn[:MOST_PANELS]),
        )


def _trained(rows: Sequence[Result]) -> dict[str, str]:
    """Return the reward of each training on one, by system."""
    found = {row.system or "": row.reward or "" for row in rows if row.metric == "mean" and row.aspect == "optimised"}
    return {system: reward for system, reward in found.items() if system and reward}


def _curve(rows: Sequence[Result], trained: dict[str, str], wanted: tuple[str, str | None], title: str) -> Graph:
    series = [
        Series(system, points)
        for system in list(trained)[:MOST_SERIES]
        if (points := _over_steps(rows, system, wanted))
    ]
    return Graph(title, "step", "", tuple(series))


def _over_steps(rows: Sequence[Result], system: str, wanted: tuple[str, str | None]) -> Points:
    """Return the mean over seeds at each step."""
    found: dict[int, list[float]] = {}
    for row in rows:
        if row.system == system and (row.metric, row.reward) == wanted and row.step is not None:
            found.setdefault(row.step, []).append(row.value or 0.0)
    return tuple((float(step), sum(values) / len(values)) for step, values in sorted(found.items()))


def drift_graphs(rows: Sequence[Result]) -> Iterable[Graphs]:
    """Yield a panel per optimised reward and score of it: the gain over the root of the KL, with the fitted forms."""
    trained = _trained(rows)
    chosen = [row for row in rows if row.metric == BEST_OF_N and row.aspect == "optimised"]
    trained |= {row.system or "": row.reward or "" for row in chosen if row.system not in trained}
    panels = []
    for proxy in dict.fromkeys(trained.values()):
        systems = [system for system, reward in trained.items() if reward == proxy][:MOST_SERIES]
        scores = dict.fromkeys(
            row.reward or "" for row in rows if row.system in systems and row.metric.startswith("scaling-")
        )
        for score in (*(name for name in scores if name == proxy), *(name for name in scores if name != proxy)):
            series = tuple(one for system in systems for one in _drift(rows, system, score))
            if any(not one.fitted for one in series):
                panels.append(Graph(score if score == proxy else f"{proxy}: {score}", "root of KL", "gain", series))
    if panels:
        cut = f" The first {MOST_PANELS} of {len(panels)} panels." if len(panels) > MOST_PANELS else ""
        yield Graphs(
            "Over-optimisation: gain of the optimised reward (a name alone) and of its judges (reward: judge) against "
            "the root of the KL to the start, for training and for best-of-n; dashed: the fitted forms (Gao et al. "
            f"2022).{cut}",
            tuple(panels[:MOST_PANELS]),
        )


def _drift(rows: Sequence[Result], system: str, score: str) -> Iterable[Series]:
    own = [row for row in rows if row.system == system]
    moved = any(row.aspect == RL and row.metric.startswith("scaling-") for row in own)  # best-of-n moves no weight
    for form, points in ((RL, _rl_points(own, score) if moved else ()), (BEST_OF_N, _pool_points(own, score))):
        if len(points) > 1:
            name = system if form == RL else f"{system} ({BEST_OF_N})"
            yield Series(name, points, joined=False)
            fitted = _fitted(own, score, form, max(x for x, _ in points))
            if fitted:
                yield Series(name, fitted, fitted=True)


def _rl_points(rows: Sequence[Result], score: str) -> Points:
    """Return (root of KL, gain over the first step) of each evaluation, mean over seeds; none without a first step."""
    told = [row for row in rows if row.step is not None and row.value is not None and row.split == "dev"]
    system = rows[0].system or "" if rows else ""
    moved, values = dict(_over_steps(told, system, ("kl", None))), _over_steps(told, system, ("mean", score))
    if not values or values[0][0] != min(moved, default=None):
        return ()
    first = values[0][1]
    return tuple((sqrt(max(0.0, moved[step])), value - first) for step, value in values if step in moved)


def _pool_points(rows: Sequence[Result], score: str) -> Points:
    moved = {row.step: row.value for row in rows if row.metric == "best-of-n-kl" and row.value is not None}
    found = {
        row.step: row.value
        for row in rows
        if row.metric == BEST_OF_N and row.reward == score and row.seed is None and row.value is not None
    }
    first = found.get(1)
    if first is None:
        return ()
    return tuple((sqrt(max(0.0, moved[n])), value - first) for n, value in sorted(found.items()) if n in moved and n)


def _fitted(rows: Sequence[Result], score: str, form: str, furthest: float) -> Points:
    """Return points of the fitted form from the start to the furthest distance."""
    told = {row.metric: row.value for row in rows if row.aspect == form and row.reward == score}
    alpha, beta = told.get("scaling-alpha"), told.get("scaling-beta")
    if alpha is None or beta is None or furthest <= 0:
        return ()
    places = [furthest * at / FITTED_POINTS for at in range(FITTED_POINTS + 1)]
    return tuple((d, d * (alpha - beta * (_log(d) if form == RL else d))) for d in places)


def _log(d: float) -> float:
    return log(d) if d > 0 else 0.0
