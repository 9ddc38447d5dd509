"""Does a reward rank texts as people do? Every number of the agree study, from the rows of one task."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING

from rmbench.api import Result
from rmbench.studies.benchmarks import benchmarks
from rmbench.studies.calibration import calibration
from rmbench.studies.canaries import canaries
from rmbench.studies.correlations import acc_eq, fit_ties, pooled_level, sample_level
from rmbench.studies.difference import differences
from rmbench.studies.headline import Headline, HeadlineSums, headline, headline_sums
from rmbench.studies.pairs import pairwise, rated_pairs, rated_top1, stated_pairs, stated_top1
from rmbench.studies.quality import fit_quality, quality
from rmbench.studies.systems import system_level
from rmbench.studies.view import Wanted, judge, rating_views, with_subsets

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from rmbench.api import Metric
    from rmbench.studies.rows import Rows, Scored
    from rmbench.studies.view import View

__all__ = ["Headline", "HeadlineSums", "agree", "canaries", "headline", "headline_sums"]

NO_PLUGINS: Mapping[str, Metric] = MappingProxyType({})


def agree(
    rows: Rows, metrics: Collection[str] | None, plugin_metrics: Mapping[str, Metric] = NO_PLUGINS
) -> list[Result]:
    """Return how every reward of a task agrees with people, in a fixed order.

    First the rewards that could not be measured, with their reason; then stated preferences, the averages of
    published benchmarks, each aspect of the ratings, and the differences between rewards on the headline.

    Args:
        rows: the task with the scores of all rewards.
        metrics: the names to give, None for all that the labels allow.
        plugin_metrics: metrics with a ``statistic``, by name, computed like ``kendall`` at their levels.
    """
    wanted = Wanted(metrics, plugin_metrics)
    rewards = judge(rows)
    results = absent(rows, wanted)
    for pairs in stated_pairs(rows, rewards):
        results += pairwise(pairs, wanted) + calibration(pairs, wanted) + stated_top1(pairs, wanted)
    results += benchmarks(rows, rewards, wanted)
    for aspect in rows.aspects:
        if aspect in rows.human:
            for view in rating_views(rows, aspect, rewards):
                results += _ratings(view, wanted)
    return results + differences(rows, wanted)


def _ratings(whole: View, wanted: Wanted) -> list[Result]:
    ties = fit_ties(whole) if "acc-eq" in wanted else {}
    fitted = fit_quality(whole) if whole.aspect == whole.rows.main and whole.rows.good is not None else None
    results = []
    for view in with_subsets(whole):
        pairs = rated_pairs(view)
        results += pairwise(pairs, wanted) + calibration(pairs, wanted) + rated_top1(view, wanted)
        results += sample_level(view, wanted) + acc_eq(view, wanted, ties)
        results += pooled_level(view, wanted) + system_level(view, wanted)
        results += quality(view, wanted, fitted) if fitted is not None else []
    return results


def absent(rows: Rows, wanted: Wanted) -> list[Result]:
    """Return a null with its reason for each main metric of each reward that scored nothing on this task."""
    places = _main_metrics(rows, wanted)
    results = []
    for scored in rows.rewards.values():
        reason = _why_absent(scored)
        if reason is not None:
            results += [_null(rows, scored, place, reason) for place in places]
    return results


def _main_metrics(rows: Rows, wanted: Wanted) -> list[Headline]:
    """Return the headline, and Kendall's tau where the main aspect is rated."""
    found = headline(rows)
    places = [] if found is None else [found]
    if rows.main is not None and rows.main in rows.human and rows.human[rows.main].ok.any():
        places.append(Headline("kendall", rows.main, "sample"))
    return [place for place in places if place.metric in wanted]


def _why_absent(scored: Scored) -> str | None:
    if scored.column is None:
        return scored.reason or "not measured"
    if scored.column.ok.any():
        return None
    reasons = sorted(set(scored.column.reasons.values()))
    return "no row has a score" + (f": {reasons[0]}" if reasons else "")


def _null(rows: Rows, scored: Scored, place: Headline, reason: str) -> Result:
    return Result(
        study="agree",
        metric=place.metric,
        task=rows.task,
        kind=rows.kind,
        split=rows.split,
        reward=scored.name,
        aspect=place.aspect,
        level=place.level,
        unscored=None if scored.column is None else len(scored.column.ok),
        reason=reason,
        signature=scored.signature,
    )
