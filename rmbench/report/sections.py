"""The sections that every report has whatever was measured: canaries, other studies, provenance, how to read it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rmbench.report.escape import plain
from rmbench.report.numbers import UNKNOWN, count, decimals, interval, listing, number, plural
from rmbench.report.tables import Cell, Example, Head, Line, Section, Table

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from rmbench.api import Result
    from rmbench.report.cards import RunCard
    from rmbench.report.merge import Merged

OWN_SECTIONS = ("score", "agree", "canary", "optimise")
MOST_OTHER = 500
MOST_EXAMPLES = 12
MOST_CHARACTERS = 1200

HOW_TO_READ = (
    "Agreement is the share of pairs of texts that a reward orders as the labels do: 1 is always, 0.5 is a coin's.",
    "A tie of the reward counts one half. Below 0.5 is worse than a coin.",
    "Brackets are 95 % bootstrap intervals over prompts.",
    "Overlapping intervals do not prove equality: the paired tests under a task are sharper.",
    "Null rewards (random, constant, longest, shortest, copy, lead) look at no meaning.",
    "A reward that does not clearly beat the best of them has shown nothing on that task, however high its number.",
    "A row without a score counts against a reward in pairwise accuracy and is left out of means and correlations.",
    "A reward with such a row is marked incomplete; one without a value on some task, partial. Neither is ranked.",
    "An oracle reads the labels and is never ranked.",
    "Level pair: all pairs within samples. Level sample: within each sample, then averaged.",
    "Level pooled: over all texts at once. Level system: over means of systems. Level corpus: one number per system.",
    "Canaries check the measurement: swapped labels mirror the accuracy and a constant gets 0.5.",
    "Shuffled, lone and doubled rows keep their scores, and the headline is the same from the stored rows.",
)


def canary_section(rows: Sequence[Result], marks: Mapping[str, tuple[str, ...]]) -> Section | None:
    """Return one line per reward: passed, or what failed and by how much."""
    checks = [row for row in rows if row.study == "canary"]
    if not checks:
        return None
    order = {name: at for at, name in enumerate(marks)}
    names = sorted({row.reward or "all rewards" for row in checks}, key=lambda name: (order.get(name, -1), name))
    table = Table(
        title="Canaries by reward",
        caption="A few rows of each task with every reward. The deviation is the largest found.",
        corner="reward",
        heads=(
            Head("verdict", numeric=False),
            Head("checks"),
            Head("largest deviation"),
            Head("what failed", numeric=False),
        ),
        lines=tuple(_canary(name, [row for row in checks if (row.reward or "all rewards") == name]) for name in names),
    )
    return Section("Canaries", tables=(table,))


def _canary(name: str, checks: Sequence[Result]) -> Line:
    failed = [row for row in checks if row.reason is not None]
    largest = max((row.value for row in checks if row.value is not None), default=None)
    what = "; ".join(
        f"{row.metric}{f' on {row.task}' if row.task else ''}: {row.reason}"
        + (f" (deviation {row.value:.3g})" if row.value is not None else "")
        for row in failed
    )
    return Line(
        name,
        (
            Cell("failed" if failed else "passed", best=bool(failed)),
            Cell(f"{len(checks) - len(failed)}/{len(checks)}"),
            Cell("" if largest is None else f"{largest:.3g}"),
            Cell(what),
        ),
    )


def other_section(rows: Sequence[Result]) -> Section | None:
    """Return the numbers of studies that have no tables of their own here, as they are."""
    others = [row for row in rows if row.study not in OWN_SECTIONS]
    if not others:
        return None
    return Section(
        "Other studies", tables=tuple(_other(study, others) for study in dict.fromkeys(r.study for r in others))
    )


def _other(study: str, others: Sequence[Result]) -> Table:
    rows = [row for row in others if row.study == study]
    more = len(rows) - MOST_OTHER
    return Table(
        title=f"Study: {study}",
        caption="One line per number.",
        corner="task",
        heads=(Head("of", numeric=False), Head("metric", numeric=False), Head("value", "95 % interval"), Head("n")),
        lines=tuple(
            Line(
                row.task or "all tasks",
                (
                    Cell(_about(row)),
                    Cell(", ".join(part for part in (row.metric, row.aspect, row.level) if part)),
                    Cell(number(row.value, decimals([row.value])), interval(row.ci, decimals([row.value]))),
                    Cell("" if row.n is None else f"{row.n:,}"),
                ),
            )
            for row in rows[:MOST_OTHER]
        ),
        notes=(f"{plural(more, 'further number')} in results.csv",) if more > 0 else (),
    )


def _about(row: Result) -> str:
    parts = (
        row.reward,
        row.against and f"against {row.against}",
        row.system,
        row.policy,
        row.trainer,
        row.probe,
        row.subset,
    )
    steps = [f"{name} {value}" for name, value in (("seed", row.seed), ("step", row.step)) if value is not None]
    return ", ".join([*(part for part in parts if part), *steps])


def example_section(samples: Iterable[Mapping[str, Any]], task: str) -> tuple[Example, ...]:
    """Return the first texts of a task, cut to a readable length and made inert."""
    chosen = [sample for sample in samples if plain(str(sample.get("task", ""))) == task]
    return tuple(_example(sample) for sample in chosen[:MOST_EXAMPLES])


def _example(sample: Mapping[str, Any]) -> Example:
    people = [f"{plain(str(name))} {_given(value)}" for name, value in _pairs(sample.get("human"))]
    rewards = [f"{plain(str(name))} {_given(value)}" for name, value in _pairs(sample.get("scores"))]
    both = [f"{who}: {', '.join(given)}" for who, given in (("people", people), ("rewards", rewards)) if given]
    where = [plain(str(sample[key])) for key in ("id", "system") if sample.get(key)]
    return Example(", ".join(where), _cut(sample.get("prompt")), _cut(sample.get("text")), "; ".join(both))


def _pairs(value: object) -> list[tuple[object, object]]:
    return list(value.items()) if isinstance(value, dict) else []


def _given(value: object) -> str:
    return f"{value:.3g}" if isinstance(value, int | float) else "unscored"


def _cut(text: object) -> str:
    whole = plain(str(text or ""), lines=True)
    return (
        whole if len(whole) <= MOST_CHARACTERS else whole[:MOST_CHARACTERS] + f" [... {len(whole):,} characters in all]"
    )


def rewards_table(merged: Merged) -> Table:
    """Return what every reward is and where it came from."""
    return Table(
        title="Rewards",
        caption="What was run. Options are those given.",
        corner="reward",
        heads=tuple(
            Head(name, numeric=False) for name in ("version", "options", "from", "unscored rows", "what it is")
        ),
        lines=tuple(
            Line(
                name,
                (
                    Cell(card.version if card.use in (UNKNOWN, name) else f"{card.use} {card.version}"),
                    Cell(card.options),
                    Cell(card.distribution if card.distribution != UNKNOWN else card.plugin),
                    Cell(card.unscored),
                    Cell(card.doc.split(". ")[0]),
                ),
                tuple(mark for mark, applies in (("null", card.null), ("oracle", card.oracle)) if applies),
            )
            for name, card in merged.rewards.items()
        ),
    )


def tasks_table(merged: Merged) -> Table:
    """Return what every task is: the data behind the numbers."""
    return Table(
        title="Tasks",
        caption="The data behind the numbers; the label names version and content.",
        corner="task",
        heads=(
            Head("label", numeric=False),
            Head("kind", numeric=False),
            Head("languages", numeric=False),
            Head("samples"),
            Head("rows"),
            Head("licence", numeric=False),
        ),
        lines=tuple(
            Line(
                card.name,
                (
                    Cell(card.label),
                    Cell(card.kind),
                    Cell(card.languages),
                    Cell(count(card.samples)),
                    Cell(count(card.rows)),
                    Cell(card.licence),
                ),
            )
            for card in merged.tasks.values()
        ),
    )


def signature_section(merged: Merged) -> Section:
    """Return the signature of every reward on every task: what makes two numbers comparable."""
    found = dict.fromkeys(row.signature for row in merged.rows if row.signature)
    words = "Numbers of one reward from two runs may be compared when their signatures agree."
    return Section("Signatures", (words,) if found else ("No row carries a signature.",), commands=tuple(sorted(found)))


def provenance_section(merged: Merged) -> Section:
    """Return what the numbers were made with."""
    facts: list[tuple[str, str]] = []
    warnings: list[str] = []
    for run in merged.runs:
        prefix = f"{run.name}: " if len(merged.runs) > 1 else ""
        facts += [(prefix + name, value) for name, value in _facts(run)]
        warnings += [f"Problem: {prefix}{problem}" for problem in run.problems]
        warnings += [f"Warning: {prefix}{warning}" for warning in run.warnings]
    return Section(
        "Provenance", facts=tuple(facts), items=tuple(warnings), tables=(rewards_table(merged), tasks_table(merged))
    )


def _facts(run: RunCard) -> Iterable[tuple[str, str]]:
    yield "run", f"{run.name} ({run.status})"
    yield "studies", run.studies
    yield "seeds", run.seeds
    yield "limit", "all samples" if run.limit is None else plural(run.limit, "sample")
    yield "versions", listing((f"{name} {version}" for name, version in run.versions), 40) or UNKNOWN
    yield "git revision", run.git
    yield "device", run.device
    yield "started", run.started
    yield "finished", run.finished


def again_section(merged: Merged) -> Section:
    """Return the commands that make the numbers again."""
    words = "The command that made the run: with the same data and versions it gives the same bytes in results.json."
    return Section("Reproduce", (words,), commands=tuple(dict.fromkeys(run.command for run in merged.runs)))
