"""Tables on trained policies: what they write, seed by seed, scaling fits, predictions, and what training took."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rmbench.report.grid import Filed, Frame, grid
from rmbench.report.numbers import MISSING, interval, listing, number, plural
from rmbench.report.tables import Cell, Head, Line, Table

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterable, Sequence

    from rmbench.api import Result

WRITTEN = {
    "length": Head("length", "words"), "distinct-2": Head("distinct-2"), "finished": Head("finished", "share"),
    "kl": Head("KL", "nats"), "bleu": Head("BLEU"), "chrf": Head("chrF"), "rouge-1": Head("ROUGE-1"),
    "rouge-2": Head("ROUGE-2"), "rouge-l": Head("ROUGE-L"), "expected-reward": Head("expected reward", "exact"),
    "optimum": Head("optimum", "exact"),
}  # fmt: skip
AGGREGATES = ("mean", "interquartile-mean", "gain", "interquartile-gain", "probability-of-improvement")
STAGES = ("rollout", "scoring", "update", "overhead")
MOST_PREDICTIONS = 60


def texts_table(rows: Sequence[Result]) -> Iterable[Table]:
    """Yield what each entry writes, over seeds, without a reward."""
    own = [row for row in rows if row.metric in WRITTEN and row.seed is None and row.step is None]
    if own:
        order = list(WRITTEN)
        own.sort(key=lambda row: order.index(row.metric))
        systems = dict.fromkeys(row.system or "" for row in rows if row.metric == "mean")
        own.sort(key=lambda row: list(systems).index(row.system or "") if row.system in systems else len(systems))
        filed = [Filed(row.system or "", row.metric, WRITTEN[row.metric], row, ranked=False) for row in own]
        filed.sort(key=lambda one: order.index(str(one.column)))
        words = (
            "Of the test outputs, means over seeds. KL is to the start, of a sampled response; of the best of n, "
            "log n - (n - 1) / n, the most that it can be. BLEU and chrF are from 0 to 100, ROUGE from 0 to 1."
        )
        yield _in_order(grid(Frame("What the policies write", words, corner="policy"), filed), list(systems))


def _in_order(table: Table, systems: Sequence[str]) -> Table:
    known = {name: at for at, name in enumerate(systems)}
    return replace(table, lines=tuple(sorted(table.lines, key=lambda line: known.get(line.label, len(known)))))


def seeds_tables(rows: Sequence[Result]) -> Iterable[Table]:
    """Yield, folded, the aggregates of every reward over seeds, and its mean and gain on each seed."""
    told = [row for row in rows if row.metric in AGGREGATES and row.step is None and row.reward]
    whole = [row for row in told if row.seed is None]
    if whole:
        words = "Mean, interquartile mean and gains over seeds and prompts; probability of improvement over each rival."
        frame = Frame("Every reward over seeds", words, corner="policy, reward", folded=True)
        yield grid(frame, [_filed(_of(row), _column(row), _head(row), row) for row in whole])
    each = [row for row in told if row.seed is not None and row.metric in ("mean", "gain") and row.against is None]
    if each:
        frame = Frame("Seed by seed", "Intervals resample prompts.", corner="policy, reward, seed", folded=True)
        yield grid(frame, [_filed(f"{_of(row)}, {row.seed}", row.metric, Head(row.metric), row) for row in each])


def _filed(line: str, column: Hashable, head: Head, row: Result) -> Filed:
    return Filed(line, column, head, row, ranked=False, unit=row.reward or "")


def _of(row: Result) -> str:
    return f"{row.system}, {row.reward}"


def _column(row: Result) -> tuple[str, str | None]:
    return row.metric, row.against


def _head(row: Result) -> Head:
    return Head(row.metric.replace("-", " "), f"over {row.against}" if row.against else "")


def fits_table(rows: Sequence[Result]) -> Iterable[Table]:
    """Yield the fits of how a score changes with the distance from the start (Gao et al. 2022)."""
    own = [row for row in rows if row.metric.startswith("scaling-")]
    if not own:
        return
    heads = {
        "scaling-alpha": Head("alpha"), "scaling-beta": Head("beta"), "scaling-peak": Head("greatest at", "root of KL"),
    }  # fmt: skip
    words = (
        "Gain over the start at distance d, the root of the KL: d (alpha - beta d) for best-of-n, "
        "d (alpha - beta log d) for RL (Gao et al. 2022). Alpha is how fast a score rises at first, beta how fast that "
        "wears off; where the form is greatest may lie beyond what was measured."
    )
    frame = Frame("Over-optimisation, fitted", words, corner="policy, score, form", folded=True)
    own = [row for row in own if row.metric in heads]
    yield grid(frame, [_filed(f"{_of(row)}, {row.aspect}", row.metric, heads[row.metric], row) for row in own])


def prediction_table(rows: Sequence[Result]) -> Table | None:
    """Return, a line per agreement metric and training with a number, both rank correlations and how many rewards."""
    told = _predictions(rows)
    every = [its for its in told if any(row.value is not None for row in its.values())]
    if not every:
        return None
    shown = every[:MOST_PREDICTIONS]
    more, none = len(every) - len(shown), len(told) - len(every)
    notes = dict.fromkeys(row.reason for its in shown for row in its.values() if row.reason)
    heads = (
        Head("labels of", numeric=False), Head("trained on", numeric=False), Head("trainer", numeric=False),
        Head("Spearman", "95 % interval"), Head("Kendall", "95 % interval"), Head("rewards"),
    )  # fmt: skip
    left = [f"{plural(more, 'further line')} in results.csv"] if more > 0 else []
    left += [f"{plural(none, 'line')} without a number, left out: {_reasons(rows)}"] if none else []
    return Table(
        title="Agreement and judged gain",
        caption="A line per agreement metric; at 1 the reward that agrees best with people trains best.",
        corner="agreement",
        heads=heads,
        lines=tuple(_prediction(its) for its in shown),
        notes=(*(f"{MISSING}: {reason}" for reason in notes), *left),
    )


def prediction_words(rows: Sequence[Result]) -> str | None:
    """Return a sentence where no prediction has a number, None where one has, or nothing was to be predicted."""
    if not rows or any(row.value is not None for row in rows):
        return None
    most = plural(max(row.n or 0 for row in rows), "reward")
    return f"Whether agreement with people predicts gains from training cannot be said of {most}: {_reasons(rows)}."


def _predictions(rows: Sequence[Result]) -> list[dict[str, Result]]:
    cells: dict[tuple[object, ...], dict[str, Result]] = {}
    for row in rows:
        key = (row.task, row.probe, row.aspect, row.level, row.against, row.policy, row.trainer)
        cells.setdefault(key, {})[row.metric] = row
    return list(cells.values())


def _reasons(rows: Sequence[Result]) -> str:
    return listing(dict.fromkeys(row.reason or "no reason given" for row in rows if row.value is None))


def _prediction(its: dict[str, Result]) -> Line:
    row = next(iter(its.values()))
    name = ", ".join(part for part in (row.probe, row.aspect, row.level) if part)
    numbers = [its.get(f"predicts-gain:{coefficient}") for coefficient in ("spearman", "kendall")]
    cells = [Cell("") if one is None else Cell(number(one.value, 2, sign=True), interval(one.ci, 2)) for one in numbers]
    words = (row.task or "", f"{row.against} from {row.policy}", row.trainer or "mean over trainers")
    return Line(name, (*(Cell(word) for word in words), *cells, Cell(f"{row.n or 0:,}")))


def speed_table(rows: Sequence[Result]) -> Table | None:
    """Return a line per training: seconds, rates and the share of each stage, means over its seeds."""
    if not rows:
        return None
    told: dict[tuple[str, str, str], dict[str, list[float]]] = {}
    for row in rows:
        its = told.setdefault((row.system or "", row.trainer or "", row.task or ""), {})
        if row.value is not None:
            its.setdefault(row.metric, []).append(row.value)
    heads = (
        Head("trainer", numeric=False), Head("task", numeric=False), Head("trainings"), Head("steps"), Head("seconds"),
        Head("tokens/s"), Head("parameters"), *(Head(stage, "share") for stage in STAGES),
    )  # fmt: skip
    words = "Means over the seeds of an entry. Shares are of the seconds of all steps."
    return Table("Where training time goes", words, "policy", heads, tuple(_speed(*one) for one in told.items()))


def _speed(name: tuple[str, str, str], told: dict[str, list[float]]) -> Line:
    trainings = max((len(values) for values in told.values()), default=0)
    means = {metric: sum(values) / len(values) for metric, values in told.items()}
    amounts = [
        f"{means[m]:,.4g}" if m in means else "" for m in ("steps", "seconds", "tokens-per-second", "parameters")
    ]
    shares = [f"{100 * means[f'share:{stage}']:.0f} %" if f"share:{stage}" in means else "" for stage in STAGES]
    return Line(name[0], tuple(map(Cell, (name[1], name[2], str(trainings), *amounts, *shares))))
