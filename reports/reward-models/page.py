"""The page: in plain words which reward models beat the length baseline, then the tables."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import recipes

if TYPE_CHECKING:
    from findings import Board, Line

COMMAND = "make reward-models"
SCRIPT = "python reports/reward-models/make.py"
NEURAL = ("lstm-bt", "transformer-bt")
HEAD = (
    "| reward | what | accuracy | ahead of the length baseline | verdict | calibration error | after temperature | "
    "seconds | parameters |"
)
RULER = "| --- | --- | ---: | ---: | --- | ---: | ---: | ---: | ---: |"
GOALS = ("hh-harmless", "qa-feedback")

COMPOSITE = """\
alpha * ROUGE-L + beta * fluency + gamma * diversity. Fluency is the mean log-probability of a word (nats) by a 3-gram
model with Kneser-Ney smoothing, fitted on the references of train. Learnt is `linear` with the loss of Bradley and
Terry over the three scores: weights on the scores' own scales, mean over the folds."""
HOW = """\
- Five folds by prompt; on hh-harmless by the first message of the dialogue (lower case, spaces joined), which
  is stricter. All files of a set are pooled. A fold's models never see its prompts; a tenth of the others is
  dev, which decides when to stop. The scores of the five folds stand in one column, which is measured once.
- Accuracy is over pairs of texts of one prompt (stated preferences, or ratings that differ); a tie counts one
  half. Intervals are 95 %, a bootstrap over prompts; differences are on the same pairs and resamples. They
  hold the fitted models fixed: what another seed or other folds would change is not in them.
- The length baseline is the best of longer and shorter, in words or characters, on the very pairs it is
  measured on: it is given what the models are not.
- On summeval, usr-topicalchat and grade the same few systems answer the prompts of all folds: part of what a model
  learns there may be a system's style, and texts of an unknown system may be judged worse than the table says.
- `human` is one rater against the mean of the others, whose pairs are not quite those of the table. It is no strict
  ceiling: one person is noisier than the mean of several, which a model learns to predict.
- Learning rate, weight decay and features were chosen by accuracy on hh-harmless and qa-feedback, on other
  folds of the same data; the other three sets had no part in it.
- `-bt` Bradley-Terry, `-hinge` hinge loss, `-squared` regression on the ratings, `-ce` good or not good.
  `linear` and `mlp` see hashed n-grams and MiniLM sentence vectors, and where there are references surface
  counts and four rule-based rewards too; `lstm` and `transformer` see the text only, from random weights.
- Calibration error is of the probability sigmoid(margin); the temperature is fitted on one half of the prompts
  and told on the other. Seconds and parameters are of one fit on one thread, mean over the folds.
- Seconds are by the clock, two fits at a time, on whatever machine made this page. The first models of a fold, `linear`
  with pair losses, also make the sentence vectors, which the others find in the cache."""


@dataclass(frozen=True, slots=True)
class Contents:
    """What the page tells.

    Attributes:
        boards: by data set.
        sizes: by data set: prompts and texts.
        weights: what people taught the classic composite, by data set and reward.
        curve: accuracy by architecture and number of training prompts.
        trl: what trl_pair.py wrote, None where it was not run.
        versions: of the packages.
        seconds: of all fits together.
    """

    boards: Sequence[Board]
    sizes: Mapping[str, tuple[int, int]]
    weights: Mapping[str, Mapping[str, float]]
    curve: Sequence[tuple[str, float, float, float, float]]
    trl: Mapping[str, Any] | None
    versions: Mapping[str, str]
    seconds: float


def page(told: Contents) -> str:
    """Return README.md."""
    parts = [
        ["# Which reward models beat a ruler?", ""],
        [f"Made by `{COMMAND}` ({SCRIPT}), which goes on where it was stopped.", ""],
        [*words(told.boards), ""],
        *(_table(board, told.sizes[board.task]) for board in told.boards),
        composites(told),
        _curve(told.curve),
        _trl(told.trl),
        _how(told),
    ]
    return "\n".join(line for lines in parts for line in lines)


def words(boards: Sequence[Board]) -> list[str]:
    """Return which fitted rewards beat the length baseline, and which do not, a line for each data set."""
    found = []
    for board in boards:
        base = board.line(board.baseline)
        by_verdict: dict[str, list[Line]] = {}
        for line in board.fitted():
            by_verdict.setdefault(line.ahead.verdict, []).append(line)
        told = [
            f"**{board.task}** ({_count(base.pairs)} pairs; the length baseline, `{base.reward}`, has {_share(base)})."
        ]
        for verdict, said in (
            ("better", "Beat it"), ("not told apart", "Not told apart from it"), ("worse", "Worse than it"),
        ):  # fmt: skip
            if lines := by_verdict.get(verdict):
                told.append(f"{said}: {', '.join(_gap(line) for line in lines)}.")
        told.append(_rules(board))
        found.append("- " + " ".join(filter(None, told)))
    return [*found, "", _goal(boards)]


def _goal(boards: Sequence[Board]) -> str:
    """Return whether a Bradley-Terry model beats the length baseline on both sets of pairs."""
    met: list[str] = []
    missed: list[str] = []
    for board in boards:
        if board.task in GOALS:
            for line in board.fitted():
                if line.reward in ("linear-bt", "mlp-bt"):
                    (met if line.ahead.verdict == "better" else missed).append(f"{line.reward} on {board.task}")
    sentence = "Bradley-Terry models whose paired difference to the length baseline has its interval above 0: "
    return sentence + (", ".join(met) or "none") + "." + (f" Missed: {', '.join(missed)}." if missed else "")


def _rules(board: Board) -> str:
    """Return how the best fitted reward stands to the best rule, in words."""
    fitted = board.fitted()
    rules = [line for line in board.lines if line.kind == "rule"]
    if not fitted or not rules:
        return ""
    one, other = fitted[0], rules[0]
    order = "above" if one.value > other.value else "not above"
    people = next((line for line in board.lines if line.kind == "people"), None)
    ceiling = f"; one rater against the others {people.value:.3f}" if people else ""
    said = f"({one.reward}, {one.value:.3f}) is {order} the best rule ({other.reward}, {other.value:.3f})"
    return f"The best fitted one {said}{ceiling}."


def _gap(line: Line) -> str:
    return f"{line.reward} ({_signed(line.ahead.value, line.ahead.ci)})"


def _signed(value: float | None, ci: tuple[float, float] | None) -> str:
    if value is None:
        return "-"
    return f"{value:+.3f}" + (f" [{ci[0]:+.3f}, {ci[1]:+.3f}]" if ci else "")


def _share(line: Line) -> str:
    return _interval(line.value, *line.ci) if line.ci else f"{line.value:.3f}"


def _interval(value: float, low: float, high: float) -> str:
    return f"{value:.3f} [{low:.3f}, {high:.3f}]"


def _count(number: float | None) -> str:
    return "-" if number is None else f"{number:,.0f}"


def _number(found: Mapping[str, float], name: str, form: str) -> str:
    return format(found[name], form) if name in found else "-"


def _table(board: Board, size: tuple[int, int]) -> list[str]:
    base = board.line(board.baseline)
    lines = [
        f"## {board.task}", "",
        f"{size[0]:,} samples, {size[1]:,} texts, {_count(base.pairs)} pairs. Length baseline: `{base.reward}`.", "",
        HEAD, RULER,
    ]  # fmt: skip
    for line in board.lines:
        seen = line.calibration if line.kind in ("fitted", "composite") else {}
        verdict = "the baseline" if line.reward == board.baseline else line.ahead.verdict
        cells = [
            line.reward, line.kind, _share(line), _signed(line.ahead.value, line.ahead.ci), verdict,
            _number(seen, "calibration-error", ".3f"), _number(seen, "calibration-error-scaled", ".3f"),
            _number(line.cost, "seconds", ".1f"), _number(line.cost, "parameters", ",.0f"),
        ]  # fmt: skip
        lines.append("| " + " | ".join(cells) + " |")
    unscored = [f"{line.reward} ({line.unscored})" for line in board.lines if line.unscored]
    return [*lines, "", *([f"Texts without a score: {', '.join(unscored)}.", ""] if unscored else [])]


def composites(told: Contents) -> list[str]:
    """Return the classic composite by hand beside the one whose weights people taught."""
    if not told.weights:
        return []
    names = list(recipes.CLASSIC)
    lines = [
        "## The classic composite, by hand and learnt from people", "",
        COMPOSITE, "",
        "| data set | weights | " + " | ".join(names) + " | accuracy | ahead of the length baseline |",
        "| --- | --- |" + " ---: |" * (len(names) + 2),
    ]  # fmt: skip
    for board in told.boards:
        if board.task in told.weights:
            for label, reward, weights in (
                ("by hand", "classic", recipes.CLASSIC), ("learnt", "classic-learnt", told.weights[board.task]),
            ):  # fmt: skip
                line = board.line(reward)
                numbers = [f"{weights[name]:.3g}" for name in names]
                cells = [board.task, label, *numbers, _share(line), _signed(line.ahead.value, line.ahead.ci)]
                lines.append("| " + " | ".join(cells) + " |")
    return [*lines, ""]


def _curve(curve: Sequence[tuple[str, float, float, float, float]]) -> list[str]:
    if not curve:
        return []
    lines = [
        f"## Learning curves on {recipes.CURVE_SET}", "",
        "Accuracy on the same held-out prompts of three of the folds, from an eighth, a quarter, half and all of their",
        "training prompts; and accuracy on dev by step, until half of the folds have stopped. Bradley-Terry loss.",
        "",
        "![Learning curves](curves.svg)", "",
        "| architecture | training prompts | accuracy |", "| --- | ---: | ---: |",
    ]  # fmt: skip
    lines += [f"| {name} | {prompts:,.0f} | {_interval(*numbers)} |" for name, prompts, *numbers in curve]
    return [*lines, ""]


def _trl(trl: Mapping[str, Any] | None) -> list[str]:
    title = ["## Beside TRL's RewardTrainer", ""]
    if trl is None:
        return [*title, "Not run here: `python reports/reward-models/trl_pair.py`.", ""]
    rates = trl.get("rows_per_second") or {}
    first, worst = len(trl["losses"]["rmbench"]), trl["largest_difference"]
    told = [
        f"The same small transformer ({trl['weights']:,} weights), pairs, order and steps, one thread:",
        f"the first {first} losses differ by {worst:.1e} at most (1e-4 is allowed).",
    ]
    for name, rate in rates.items():
        told.append(f"{name}: {rate['wall']:,} rows/s by the clock, {rate['processor']:,} by the processor's.")
    return [*title, " ".join(told), "", "`python reports/reward-models/trl_pair.py`; all numbers: trl_pair.json.", ""]


def _how(told: Contents) -> list[str]:
    versions = ", ".join(f"{name} {version}" for name, version in sorted(told.versions.items()))
    spent = f"{told.seconds / 60:.0f}"
    return [
        "## How", "",
        HOW,
        f"- All fits of the tables took {spent} minutes of one thread. Versions:",
        f"  {versions}.",
        "- headlines.csv has every number, manifest.json the settings, versions and the sha256 of the data.", "",
    ]  # fmt: skip
