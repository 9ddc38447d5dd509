"""card.md of a fitted model: what it was made from and how, a function of the fit without times, hosts or paths."""

from __future__ import annotations

import json
import platform
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from rmbench.judged import LOSS_NEEDS
from rmbench.models.balance import FEWEST, balance, length_baseline

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from rmbench.judged import Fitting, Judgements
    from rmbench.models.balance import Balance, LengthBaseline
    from rmbench.models.trained import Trained

PACKAGES = ("rmbench", "torch", "transformers", "numpy", "safetensors")
CURVE = 12  # rows of the curve that are shown; log.jsonl has all
LENGTH = 200  # characters of a value that are shown
NOT_MEASURED = "not measured"
ESCAPES = str.maketrans({
    **{char: f"\\{char}" for char in "\\`*_[]~$"}, "&": "&amp;", "<": "&lt;", ">": "&gt;", "|": "&vert;",
    "@": "&#64;", "#": "&#35;",
})  # fmt: skip


def card(
    judgements: Judgements, fitting: Fitting, trained: Trained, *, parameters: int, notes: Sequence[str] = ()
) -> str:
    """Return the card as Markdown; whatever comes from data or a plugin is escaped.

    Args:
        judgements: the data.
        fitting: its recipe is shown: model, versions, task, loss, options, seed.
        trained: how the weights came about.
        parameters: numbers that were learnt.
        notes: further sentences, each an item.
    """
    recipe = fitting.recipe
    of_texts = LOSS_NEEDS.get(recipe.get("loss", "")) == "texts"
    parts = [
        f"# {escaped(recipe.get('reward_model', 'a reward model'))} on {escaped(judgements.task.name)}",
        _table(("", ""), _facts(judgements, fitting, trained, parameters)),
        "## Warnings and notes",
        _items(
            [
                *_warnings(judgements, trained, texts=of_texts),
                *(escaped(note) for note in notes),
            ]
        ),
        "## Data",
        _table(("", "train", f"dev ({escaped(judgements.dev_from)})"), _splits(judgements)),
        _table(("file", "sha256"), [(escaped(k), escaped(v)) for k, v in sorted(judgements.sha256.items())]),
        "## Options",
        _table(("option", "value"), [(escaped(k), escaped(_word(v))) for k, v in _options(recipe).items()]),
        "## Curve",
        _curve(trained),
        "## Versions",
        _table(("package", "version"), _versions(recipe)),
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def length_warning(judgements: Judgements, accuracy: float | None) -> str | None:
    """Return a sentence where a reward that sees the length alone does as well as the model, else None.

    ``accuracy`` is the model's on dev. Both are pairwise accuracies, the other's
    on dev too, or on train where dev has fewer than 20 pairs.
    """
    baseline = length_baseline(judgements)
    if baseline is None or accuracy is None or baseline.accuracy < accuracy:
        return None
    return (
        f"A reward that looks at the length alone does as well as this model: {_length_words(baseline)}; "
        f"the model has {accuracy:.3f} on dev. It may have learnt nothing but length."
    )


def escaped(value: object) -> str:
    """Return a value as one line of inert Markdown of at most 200 characters: no markup, link, mention or control."""
    text = "".join(char if char.isprintable() else " " if char in "\n\t" else "\ufffd" for char in str(value))
    shown = text if len(text) <= LENGTH else text[: LENGTH - 1] + "\u2026"
    inert = shown.translate(ESCAPES).replace("](", "]\\(")
    return inert.replace("://", "&colon;//").replace("www.", "www&period;")


def _warnings(judgements: Judgements, trained: Trained, *, texts: bool) -> list[str]:
    """Return what to know of a fit; one on ``texts`` alone has learnt nothing of judgements, nor of lengths."""
    found = []
    warning = None if texts else length_warning(judgements, trained.accuracy)
    baseline = None if texts else length_baseline(judgements)
    if warning is not None:
        found.append(f"**Warning.** {warning}")
    elif baseline is not None:
        behind = "" if trained.accuracy is None else f"; the model has {trained.accuracy:.3f} on dev"
        found.append(f"Length alone: {_length_words(baseline)}{behind}.")
    if trained.accuracy is None:
        found.append("Dev has no pairs: there is no accuracy to compare, and none by which training could stop.")
    elif len(judgements.dev.pairs) < FEWEST:
        found.append(f"Dev has {len(judgements.dev.pairs)} pairs only: its accuracy says little.")
    if trained.seconds_budget:
        found.append("**Not reproducible**: a budget of seconds was set, so the weights depend on the machine's speed.")
    if (trained.shift, trained.scale) != (0.0, 1.0):
        found.append(
            f"Ratings were standardised (train's mean {trained.shift:.6g} and deviation {trained.scale:.6g});"
            " scores are on the raters' scale."
        )
    return found


def _length_words(baseline: LengthBaseline) -> str:
    return f"{baseline.reward} has {baseline.accuracy:.3f} on {baseline.split} ({baseline.pairs:,} pairs)"


def _facts(
    judgements: Judgements, fitting: Fitting, trained: Trained, parameters: int
) -> Iterable[tuple[str, str]]:  # fmt: skip
    recipe = fitting.recipe
    accuracy = NOT_MEASURED if trained.accuracy is None else f"{trained.accuracy:.4f}"
    yield "reward model", escaped(f"{recipe.get('reward_model', '-')} {recipe.get('version', '')}".rstrip())
    yield "plugin", escaped(recipe.get("plugin", "-"))
    yield "task", escaped(recipe.get("task", f"{judgements.task.name}@{judgements.task.version}"))
    yield "loss", escaped(recipe.get("loss", "-"))
    yield "seed", escaped(recipe.get("seed", fitting.runtime.seed))
    yield "parameters", f"{parameters:,}"
    kept = f"{trained.steps:,}, weights of step {trained.best_step:,} kept, stopped by {trained.stopped}"
    yield "steps", "none: solved exactly" if trained.stopped == "exact" else kept
    yield "pairwise accuracy on dev", f"{accuracy} ({len(judgements.dev.pairs):,} pairs, a tie counts one half)"
    yield "reproducible", "no: a budget of seconds" if trained.seconds_budget else "yes, on a CPU"
    for name, signature in (recipe.get("uses") or {}).items():
        yield f"uses {escaped(name)}", escaped(signature)


def _options(recipe: Mapping[str, Any]) -> Mapping[str, Any]:
    found = recipe.get("options")
    return found if isinstance(found, Mapping) else {}


def _word(value: Any) -> str:
    """Return an option's value as JSON; of a path the last name only, since a card names no place of this machine."""
    if isinstance(value, PurePath) or (isinstance(value, str) and value.startswith("/")):
        return f".../{PurePath(value).name}"
    return json.dumps(value, ensure_ascii=False, default=str)


def _splits(judgements: Judgements) -> list[tuple[str, str, str]]:
    columns = [dict(_balance(balance(split))) for split in (judgements.train, judgements.dev)]
    return [(name, columns[0][name], columns[1][name]) for name in columns[0]]


def _balance(found: Balance) -> Iterable[tuple[str, str]]:
    yield "samples", f"{found.samples:,}"
    yield "texts", f"{found.rows:,}"
    yield "pairs", f"{found.pairs:,}"
    rated = "" if found.mean is None else f", mean {found.mean:.4g}, deviation {found.deviation:.4g}"
    yield "rated texts", f"{found.rated:,}{rated}"
    yield "high-quality texts", "-" if found.good is None else f"{found.good:.3f} of {found.judged:,}"
    for name, share in (("better text longer", found.better_longer), ("both as long", found.equally_long)):
        yield name, "-" if share is None else f"{share:.3f} of the pairs"
    for reward in ("longest", "shortest"):
        yield f"accuracy of {reward}", f"{found.by_length[reward]:.3f}" if found.by_length else "-"


def _curve(trained: Trained) -> str:
    rows = list(trained.curve)
    if not rows:
        return "Solved exactly, without steps." if trained.stopped == "exact" else "No evaluation was made."
    places = sorted({round(at * (len(rows) - 1) / (CURVE - 1)) for at in range(CURVE)})
    best = [place for place, row in enumerate(rows) if row["step"] == trained.best_step]
    shown = [rows[place] for place in sorted({*places, *best})]
    cells = [
        (f"{row['step']:,}", *(_number(row.get(name)) for name in ("loss", "lr", "accuracy", "dev_loss")))
        for row in shown
    ]
    return _table(("step", "loss", "rate", "accuracy on dev", "loss on dev"), cells)


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.4g}"


def _versions(recipe: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
    yield "python", platform.python_version()
    for name in PACKAGES:
        yield name, escaped(_version(name))
    if recipe.get("distribution") not in (None, *PACKAGES):
        yield escaped(recipe["distribution"]), escaped(recipe.get("distribution_version", "-"))


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return "-"


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [f"| {' | '.join(cells)} |" for cells in rows]
    return "\n".join([f"| {' | '.join(head)} |", f"|{'---|' * len(head)}", *lines]) if lines else ""


def _items(sentences: Sequence[str]) -> str:
    return "\n".join(f"- {sentence}" for sentence in sentences) or "None."
