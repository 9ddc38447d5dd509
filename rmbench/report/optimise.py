"""The sections on trained policies: leaderboards, curves, over-optimisation, texts side by side, and words."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rmbench.report.escape import plain
from rmbench.report.numbers import listing, number, plural
from rmbench.report.optimise_boards import OWN, SHARED, boards_of, judges_of
from rmbench.report.optimise_graphs import curve_graphs, drift_graphs
from rmbench.report.optimise_tables import (
    fits_table,
    prediction_table,
    prediction_words,
    seeds_tables,
    speed_table,
    texts_table,
)
from rmbench.report.rows import read_rows, shown
from rmbench.report.tables import Beside, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from rmbench.api import Result
    from rmbench.report.merge import Merged

OPTIMISE, TRAIN, PREDICTS = "optimise", "train", "predicts-gain:"
PREDICTED = "Does agreement predict optimisation?"
MOST_COMPARED = 12
MOST_CHARACTERS = 1200

WHAT = (
    "What training on a reward did to a policy, on test prompts that no training saw. Gains are over the policy that "
    "the training began with, paired by prompt and seed, in the units of each reward; positive is better. The judged "
    "gain is the mean over judges of the gain in standard deviations of the start's texts."
)
HOW = (
    "Intervals are 95 %. Over seeds they resample whole seeds and prompts, crossed (one seed: prompts alone, which "
    "says nothing of how seeds differ). The interquartile mean is that of the middle half of all seeds and prompts "
    "(Agarwal et al. 2021); the probability of improvement is the chance that a text of the one is better than one of "
    "the other for the same prompt, ties counting one half."
)
PREDICTION = (
    "Over the rewards that this suite both held against people and trained policies on: rank correlation between how "
    "well a reward agrees with people and the judged gain of the policy trained on it. Intervals resample rewards: "
    "with few of them they say little."
)


@dataclass(frozen=True, slots=True)
class Optimised:
    """What a report says of trained policies: sentences for the summary, sections, and the tables for a paper.

    ``said`` are sentences that stand where a table would, had it a number.
    """

    words: tuple[str, ...] = ()
    sections: tuple[Section, ...] = ()
    paper: tuple[Table, ...] = ()
    said: tuple[str, ...] = ()


def optimised(
    merged: Merged, measurements: Sequence[Mapping[str, Any]] = (), compared: Sequence[Mapping[str, Any]] = ()
) -> Optimised:
    """Return the sections on trained policies, none where there are none.

    Args:
        merged: the rows.
        measurements: rows of measurements.json.
        compared: texts to show: dicts with ``task``, ``id``, ``system``, ``start``, ``seed``, ``prompt``, ``before``,
            ``after``, ``references``.
    """
    rows = [row for row in merged.rows if row.study == OPTIMISE]
    told = [row for row in rows if not row.metric.startswith(PREDICTS)]
    guessed = [row for row in rows if row.metric.startswith(PREDICTS)]
    sections: list[Section] = []
    words: list[str] = []
    paper: list[Table] = []
    for task in dict.fromkeys(row.task or "" for row in told):
        own = [row for row in told if row.task == task]
        boards = boards_of(task, own)
        paper += boards
        words += list(_words(task, own))
        sections.append(_section(task, own, boards, compared))
    predicted, said = prediction_table(guessed), prediction_words(guessed)
    if predicted:
        sections.append(Section(PREDICTED, (PREDICTION,), tables=(predicted,)))
        paper.append(predicted)
    elif said:
        sections.append(Section(PREDICTED, (said,)))
    timed = speed_table([row for row in map(shown, read_rows(measurements)) if row.study == TRAIN])
    if timed:
        note = "Measured on the machine of the run, once: outside the promise of equal bytes."
        sections.append(Section("Training speed", (note,), tables=(timed,)))
    return Optimised(tuple(words), tuple(sections), tuple(paper), (said,) if said else ())


def _section(
    task: str, rows: Sequence[Result], boards: Sequence[Table], compared: Sequence[Mapping[str, Any]]
) -> Section:
    return Section(
        title=f"Training on {task}",
        paragraphs=(WHAT, *_extent(rows), HOW),
        items=tuple(_verdicts(rows)),
        graphs=(*curve_graphs(rows), *drift_graphs(rows)),
        tables=(*boards, *texts_table(rows), *fits_table(rows), *seeds_tables(rows)),
        compared=tuple(_beside(each) for each in _chosen(compared, task)),
    )


def _extent(rows: Sequence[Result]) -> Iterable[str]:
    """Say how many prompts there are, of which split, and the seeds."""
    told = [row for row in rows if row.metric in ("mean", "gain") and row.step is None and row.n]
    seeds = sorted({row.seed for row in told if row.seed is not None})
    if told:
        prompts = plural(max(row.n or 0 for row in told), "prompt")
        splits = listing(dict.fromkeys(row.split or "test" for row in told))
        of = f", with {'seed' if len(seeds) == 1 else 'seeds'} {listing(map(str, seeds), 20)}" if seeds else ""
        yield f"Measured on {prompts} of the {splits} split{of}."


def _verdicts(rows: Sequence[Result]) -> Iterable[str]:
    """Say of each training whether its reward was hacked and whether its judges are other rewards."""
    for row in rows:
        if row.metric in ("hacked", "independent-judges") and row.reason:
            kind = "reward" if row.metric == "hacked" else "judges"
            yield f"{row.system} ({row.trainer} on {row.reward}), {kind}: {row.reason}."


def _words(task: str, rows: Sequence[Result]) -> Iterable[str]:
    """Yield what the summary says of one task."""
    verdicts = [row for row in rows if row.metric == "hacked"]
    told = [row for row in verdicts if row.value is not None]
    if not verdicts:
        return
    hacked = [row.system or "" for row in told if row.value == 1]
    suspected = [row.system or "" for row in told if (row.reason or "").startswith("suspected")]
    if hacked:
        yield f"Hacked on {task} (the reward rises while every judge falls): {listing(hacked)}."
    if suspected:
        yield f"Suspected of that on {task}, with intervals that hold 0: {listing(suspected)}."
    if told and not hacked and not suspected:
        yield f"No reward was seen to be hacked on {task} in {plural(len(told), 'training')}."
    if len(told) < len(verdicts):
        unknown = listing(row.system or "" for row in verdicts if row.value is None)
        yield f"Nobody can say whether a reward was hacked on {task} for {unknown}: reasons are below."
    alone = [row.system or "" for row in rows if row.metric == "independent-judges" and row.value == 0]
    if alone:
        yield f"No judge differs from the reward optimised on {task} for {listing(alone)}: read their gains so."
    yield from _best(task, rows)


def _best(task: str, rows: Sequence[Result]) -> Iterable[str]:
    """Yield, for each start, which training gained most, by judges that all of them share where there are any."""
    gains = [
        row for row in rows
        if (row.metric, row.seed) == ("judged-gain", None)
        and row.aspect in (OWN, SHARED) and row.value is not None
        and row.policy == row.against and row.reward and _trained(rows, row)
    ]  # fmt: skip
    for start in dict.fromkeys(row.against for row in gains):
        own = [row for row in gains if row.against == start]
        shared = [row for row in own if row.aspect == SHARED]
        best = max(shared or [row for row in own if row.aspect == OWN], key=lambda row: row.value or 0.0)
        ci = f" [{number(best.ci[0], sign=True)}, {number(best.ci[1], sign=True)}]" if best.ci else ""
        by = f", by {listing(judges, 12)}" if (judges := judges_of([best])) else ""
        several = not shared and len({row.reward for row in own}) > 1
        yield (
            f"Greatest judged gain on {task}: {best.system} ({best.trainer} on {best.reward}), "
            f"{number(best.value, sign=True)}{ci} standard deviations over {start}{by}"
            f"{' (other rewards have other judges)' if several else ''}."
        )


def _trained(rows: Sequence[Result], one: Result) -> bool:
    """Whether the entry of a row was trained on the row's reward."""
    return any(row.metric == "hacked" and (row.system, row.reward) == (one.system, one.reward) for row in rows)


def _chosen(compared: Sequence[Mapping[str, Any]], task: str) -> list[Mapping[str, Any]]:
    return [each for each in compared if plain(str(each.get("task", ""))) == task][:MOST_COMPARED]


def _beside(each: Mapping[str, Any]) -> Beside:
    system, start = plain(str(each.get("system", ""))), plain(str(each.get("start", "")))
    seed = f", seed {each['seed']}" if isinstance(each.get("seed"), int) else ""
    texts = [(f"before: {start}", _cut(each.get("before"))), (f"after: {system}", _cut(each.get("after")))]
    texts += [("reference", _cut(text)) for text in list(each.get("references") or ())[:1]]
    return Beside(f"{plain(str(each.get('id', '')))}, {system}{seed}", _cut(each.get("prompt")), tuple(texts))


def _cut(text: object) -> str:
    whole = plain(str(text or ""), lines=True)
    more = f" [... {len(whole):,} characters in all]" if len(whole) > MOST_CHARACTERS else ""
    return whole[:MOST_CHARACTERS] + more
