"""The reward models that a run fitted: on what, and what came of it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rmbench.report.numbers import UNKNOWN
from rmbench.report.rows import read_rows
from rmbench.report.tables import Cell, Head, Line, Section, Table

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

FIT = "fit:"
HEADS = (
    Head("model", numeric=False), Head("loss", numeric=False), Head("fitted on", numeric=False), Head("dev accuracy"),
    Head("steps"), Head("parameters"), Head("seconds"),
)  # fmt: skip
WORDS = (
    "Fitted in this run on the train split, never on what is measured above. Their cards are training/NAME/card.md.",
    "Dev accuracy is pairwise, on the part that decided when to stop: a little too high. Seconds are this machine's.",
)


def fits_section(manifest: Mapping[str, Any], measurements: Sequence[Mapping[str, Any]]) -> Section | None:
    """Return a line per fitted reward model, None where the run fitted none."""
    recipes = {
        str(entry.get("name")): entry["recipe"]
        for entry in manifest.get("resolved", {}).get("rewards", ())
        if isinstance(entry.get("recipe"), dict)
    }
    if not recipes:
        return None
    measured: dict[str, dict[str, float]] = {}
    for row in read_rows(measurements):
        if row.metric.startswith(FIT) and row.value is not None:
            measured.setdefault(row.reward or "", {})[row.metric.removeprefix(FIT)] = row.value
    lines = tuple(_line(name, recipe, measured.get(name, {})) for name, recipe in recipes.items())
    return Section("Fitted reward models", WORDS, tables=(Table("Fits", "", "reward", HEADS, lines),))


def _line(name: str, recipe: Mapping[str, Any], told: Mapping[str, float]) -> Line:
    words = (f"{recipe.get('reward_model')}@{recipe.get('version')}", str(recipe.get("loss")), str(recipe.get("task")))
    numbers = (
        _shown(told, "accuracy", ".3f"), _shown(told, "steps", ",.0f"), _shown(told, "parameters", ",.0f"),
        _shown(told, "seconds", ",.1f"),
    )  # fmt: skip
    return Line(name, tuple(Cell(text) for text in (*words, *numbers)))


def _shown(told: Mapping[str, float], name: str, form: str) -> str:
    return format(told[name], form) if name in told else UNKNOWN
