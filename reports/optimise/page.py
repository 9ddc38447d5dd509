"""The page: what each training did, in words, then the tables and curves of its reports."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from rmbench.report import read_run
from rmbench.report.escape import markdown
from rmbench.report.graphs import draw_graphs
from rmbench.report.markdown import table_lines
from rmbench.report.model import build

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import rmbench
    from rmbench.report.tables import Section

COMMAND = "make optimise"
SCRIPT = "python reports/optimise/make.py"
TOLD_OF = ("Training on ", "Training speed", "Does agreement predict optimisation?")
LEFT_OUT = ("Seed by seed", "Every reward over seeds")  # headlines.csv has them
MINUTE = 60.0

HEADS = {
    "translation": "Translation: rewards and trainers",
    "best-of-n": "How far a reward can be trusted",
    "summarization": "Summarization",
    "dialogue": "Dialogue",
}
ABOUT = {
    "translation": """\
multi30k-ende, three seeds. `supervised` is what every training began with; `supervised-longer` went on with references
for about as long as a training on a reward takes: a reward has to beat that too.""",
    "best-of-n": """\
100 test prompts, one seed: the best of 1 to 256 responses by each reward, and policies trained on it without anything
that holds them back.""",
    "summarization": """\
dialogsum, three seeds. 3,000 dialogues teach so small a policy how a summary sounds, and little of what the dialogue
says.""",
    "dialogue": """\
qa-feedback, three seeds: the reward is fitted on people's preferences. 395 questions teach how an answer sounds; the
facts it cannot know.""",
}
HOW = """\
- Policies are Llama-like language models of 1 to 1.4 million parameters with tokens of their own, drawn at random and
  trained on one thread of a CPU; two trainings go on at a time.
- Every number is of outputs on the test split, which no training sees: sampled at temperature 1 on translation, as the
  trainings maximise the reward of sampled texts (`-greedy` are the same weights, writing greedily), by best-of-n where
  that is the trainer, greedy elsewhere.
- Settings of `sft` and of `grpo-balanced` were chosen on dev with seed 1; the others take theirs from it, untuned.
- Intervals are 95 %: whole seeds and prompts are resampled, crossed; of one seed, prompts alone.
- Every number of the runs, of each seed too, stands in headlines.csv.
- Seconds are by the clock, two trainings at a time, on whatever machine made this page."""


@dataclass(slots=True)
class Told:
    """README.md, and the figures that it shows, by name."""

    words: str = ""
    figures: dict[str, str] = field(default_factory=dict)


def page(runs: Mapping[str, rmbench.Run]) -> Told:
    """Return the page of finished runs, by part."""
    told = Told()
    lines = ["# What happens when a policy is trained on a reward?", ""]
    lines += [f"Made by `{COMMAND}` ({SCRIPT}), which goes on where it was stopped.", ""]
    lines += [
        "Gains of judges over the start, with 95 % intervals (not corrected for their number); none is its own judge.",
        "",
    ]
    lines += apart(runs)
    for part, run in runs.items():
        lines += [f"## {HEADS[part]}", "", ABOUT[part], ""]
        report = build([read_run(run)])
        for section in report.sections:
            if section.title.startswith(TOLD_OF):
                lines += _section(section, part, told)
    lines += ["## How", "", HOW, "", costs(runs), ""]
    told.words = "\n".join(lines)
    return told


def _section(section: Section, part: str, told: Told) -> list[str]:
    """Return what stands under a heading of a report, without its texts."""
    lines = [f"### {markdown(section.title)}", ""]
    lines += [line for paragraph in section.paragraphs for line in (markdown(paragraph), "")]
    lines += [*(f"- {markdown(item)}" for item in section.items), ""] if section.items else []
    for graphs in section.graphs:
        name = f"{part}-{len(told.figures) + 1}.svg"
        told.figures[name] = draw_graphs(graphs)
        lines += [f"![{markdown(graphs.caption)}]({name})", "", markdown(graphs.caption), ""]
    for table in section.tables:
        if not table.title.startswith(LEFT_OUT):
            lines += [*table_lines(table), ""]
    return lines


def apart(runs: Mapping[str, rmbench.Run]) -> Iterable[str]:
    """Yield lines that say which trainings made judges, which they did not optimise, rise or fall over their start."""
    for part, run in runs.items():
        judged: dict[str, list[rmbench.Result]] = {}
        for row in run.rows:
            of_judge = (row.study, row.metric, row.aspect, row.seed) == ("optimise", "gain", "judge", None)
            if of_judge and row.trainer and row.system and row.against in {None, row.policy} and row.ci is not None:
                judged.setdefault(row.system, []).append(row)
        every = [
            name for name, rows in judged.items() if len(rows) > 1 and all(row.ci and row.ci[0] > 0 for row in rows)
        ]
        raised = f"{', '.join(every)} raised every judge" if every else "none raised every judge"
        yield from (f"**{HEADS[part]}**: {raised} over the start with the whole interval above 0.", "")
        yield from ("| entry | judges that rose | judges that fell | not told apart |", "| --- | --- | --- | --- |")
        for name, rows in judged.items():
            risen = [row for row in rows if row.ci and row.ci[0] > 0]
            fallen = [row for row in rows if row.ci and row.ci[1] < 0]
            rest = [row for row in rows if row not in risen and row not in fallen]
            yield f"| {name} | {_listed(risen)} | {_listed(fallen)} | {_listed(rest)} |"
        yield ""


def _listed(rows: Sequence[rmbench.Result]) -> str:
    return "; ".join(f"{row.reward} {row.value:+.3g} [{row.ci[0]:+.3g}, {row.ci[1]:+.3g}]" for row in rows if row.ci)


def costs(runs: Mapping[str, rmbench.Run]) -> str:
    """Return a table of what each entry took: mean seconds of a training, by the clock."""
    lines = ["| part | entry | trainings | minutes together |", "| --- | --- | ---: | ---: |"]
    whole = 0.0
    for part, run in runs.items():
        taken: dict[str, list[float]] = {}
        for row in run.measurements:
            if row.study == "train" and row.metric == "seconds" and row.system and row.value is not None:
                taken.setdefault(row.system, []).append(row.value)
        for entry, seconds in taken.items():
            whole += sum(seconds)
            lines.append(f"| {part} | {entry} | {len(seconds)} | {sum(seconds) / MINUTE:.1f} |")
    return "\n".join([*lines, f"| all | | | {whole / MINUTE:.1f} |"])
