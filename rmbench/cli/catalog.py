"""``rmbench list`` and ``rmbench show``: what is installed."""

from __future__ import annotations

import html
import json
import os
import re
import shlex
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rmbench import fitted, trained
from rmbench.cli.terminal import print_columns, print_json, print_lines, say

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmbench.options import Option
    from rmbench.plugins import Catalog, Plugin

OPTION_RECORDS = {"reward model": "reward-model", "policy": "policy", "trainer": "trainer"}  # options are a dataclass
KINDS = ("tasks", "rewards", "reward-models", "policies", "trainers", "metrics", "suites", "plugins")


def _doc(text: str | None) -> str:
    return (text or "").strip().split("\n")[0]


def _who(plugin: Plugin) -> dict[str, Any]:
    return {"plugin": plugin.name, "distribution": plugin.distribution}


def _default(option: Option) -> Any:
    """Return an option's default as JSON has it; what JSON has not, as text."""
    if option.required:
        return None
    try:
        return json.loads(json.dumps(option.default, allow_nan=False))
    except (TypeError, ValueError):
        return str(option.default)


def _options(build: Callable[..., Any]) -> list[dict[str, Any]]:
    from rmbench.options import options_of

    return [
        {"name": o.name, "type": o.type, "default": _default(o), "required": o.required}
        for o in options_of(build).values()
    ]


def _reward_models(catalog: Catalog) -> list[dict[str, Any]]:
    return [
        {
            "name": name, "kind": "reward model", **_who(given.plugin), "version": given.value.version,
            "doc": _doc(given.value.options.__doc__), "losses": list(given.value.losses),
            "options": _options(given.value.options),
        }
        for name in sorted(catalog.reward_models)
        for given in catalog.reward_models[name]
    ]  # fmt: skip


def _trained(catalog: Catalog, what: str) -> list[dict[str, Any]]:
    table = catalog.table(what)
    return [
        {
            "name": name, "kind": what, **_who(given.plugin), "version": given.value.version,
            "doc": _doc(given.value.doc or given.value.options.__doc__), "options": _options(given.value.options),
        }
        for name in sorted(table)
        for given in table[name]
    ]  # fmt: skip


def _rewards(catalog: Catalog) -> list[dict[str, Any]]:
    rows = []
    for name in sorted(catalog.rewards):
        for given in catalog.rewards[name]:
            options = _options(given.value.build)
            doc = _doc(given.value.build.__doc__)
            rows.append(
                {
                    "name": name,
                    "kind": "reward",
                    **_who(given.plugin),
                    "version": given.value.version,
                    "doc": doc,
                    "options": options,
                }
            )
    return rows


def _tasks(catalog: Catalog) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": "task",
            **_who(g.plugin),
            "version": g.value.version,
            "doc": g.value.description,
            "options": [],
        }
        for name in sorted(catalog.tasks)
        for g in catalog.tasks[name]
    ]


def _metrics(catalog: Catalog) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "kind": "metric",
            **_who(g.plugin),
            "version": g.value.version,
            "doc": g.value.doc,
            "options": [],
        }
        for name in sorted(catalog.metrics)
        for g in catalog.metrics[name]
    ]


def _suites() -> list[dict[str, Any]]:
    from rmbench import suite
    from rmbench.version import __version__

    rows = []
    for name, path in suite.shipped().items():
        first = path.read_text(encoding="utf-8").split("\n", 1)[0]
        doc = first.removeprefix("#").strip() if first.startswith("#") else ""
        rows.append(
            {
                "name": name,
                "kind": "suite",
                "plugin": "builtin",
                "distribution": "rmbench",
                "version": __version__,
                "doc": doc,
                "options": [],
            }
        )
    return rows


def _plugins(catalog: Catalog) -> list[dict[str, Any]]:
    return [
        {
            "name": p.name, "kind": "plugin", "plugin": p.name, "distribution": p.distribution, "version": p.version,
            "doc": f"broken: {p.reason}" if p.reason else p.module, "options": [], "seconds": round(p.seconds, 3),
        }
        for p in catalog.plugins
    ]  # fmt: skip


def rows_of(what: str | None, catalog: Catalog) -> list[dict[str, Any]]:
    """Return what is installed of one kind, or of all."""
    tables: dict[str, Any] = {
        "rewards": lambda: _rewards(catalog),
        "reward-models": lambda: _reward_models(catalog),
        "policies": lambda: _trained(catalog, "policy"),
        "trainers": lambda: _trained(catalog, "trainer"),
        "tasks": lambda: _tasks(catalog),
        "metrics": lambda: _metrics(catalog),
        "suites": _suites,
        "plugins": lambda: _plugins(catalog),
    }
    chosen = [what] if what else list(tables)
    return [row for kind in chosen for row in tables.get(kind, list)()]


def load() -> Catalog:
    """Load the plugins and print their warnings."""
    from rmbench import plugins

    catalog = plugins.load()
    for warning in catalog.warnings:
        say(f"rmbench: warning: {warning}")
    return catalog


def list_(
    what: Annotated[
        str | None, typer.Argument(metavar="[" + "|".join(KINDS) + "]", help="What to list; all by default.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="A list of objects.")] = False,
) -> None:
    """List what is installed."""
    from rmbench.errors import InputError, did_you_mean

    if what is not None and what not in KINDS:
        raise InputError(f"nothing to list is called {what!r}", help=did_you_mean(what, KINDS))
    rows = rows_of(what, load())
    if as_json:
        print_json(rows, indent=1)
        return
    head = ["name", "kind", "version", "plugin", "what it is"]
    print_columns(head, [[r["name"], r["kind"], str(r["version"]), r["plugin"], r["doc"]] for r in rows])


def show(
    name: Annotated[
        str,
        typer.Argument(
            help="A reward, reward model, policy, trainer, task, metric, suite or plugin; or a folder of RUN/training."
        ),
    ],
    as_json: Annotated[bool, typer.Option("--json", help="An object.")] = False,
) -> None:
    """Show one thing: what it is, its options, where it comes from."""
    from rmbench.errors import InputError, did_you_mean

    folder = Path(name)
    if folder.is_dir() and trained.is_policy(folder):
        _show_policy(folder, as_json=as_json)
        return
    if folder.is_dir() and (fitted.is_checkpoint(folder) or os.sep in name):
        if seeds := trained.seeds_of(folder):
            one = shlex.quote(str(seeds[0]))
            raise InputError("holds the seeds of a policy", where=name, help=f"name one: rmbench show {one}")
        _show_fit(folder, as_json=as_json)
        return
    catalog = load()
    every = rows_of(None, catalog)
    rows = [row for row in every if name in (row["name"], f"{row['distribution']}:{row['name']}")]
    if not rows:
        raise InputError(f"nothing is called {name!r}", help=did_you_mean(name, [row["name"] for row in every]))
    if as_json:
        print_json(rows[0], indent=1)
        return
    for row in rows:
        _show(row, catalog)


def _show_fit(folder: Path, *, as_json: bool) -> None:
    """Print what a fitted model says of itself: its card, or its recipe as JSON."""
    from dataclasses import asdict

    found = fitted.inspect(folder)
    card = folder / "card.md"
    if as_json:
        print_json({**asdict(found), "folder": str(folder)}, indent=1)
    elif card.is_file():
        text = re.sub(r"\\([!-/:-@\[-`{-~])", r"\1", card.read_text(encoding="utf-8", errors="replace"))
        print_lines(html.unescape(text))  # Markdown's escapes are for a browser
    else:
        print_lines(f"{found.reward_model}@{found.version}, loss {found.loss}, fitted on {found.task}")


def _show_policy(folder: Path, *, as_json: bool) -> None:
    """Print what the folder of a policy says of itself: in lines, or its recipe as JSON."""
    if as_json:
        print_json({**trained.recipe(folder), "folder": str(folder)}, indent=1)
        return
    print_lines("\n".join(trained.described(folder)))


def _oracle(reward: Any, catalog: Catalog) -> list[str]:
    """Say whether a reward reads the labels."""
    from rmbench.rewards import is_oracle

    found = is_oracle(catalog, reward)
    if found is False:
        return []
    if found:
        return [
            "An oracle: it, or a reward that it uses, reads the labels. Shown, never ranked, no reward to train on.",
            "",
        ]
    return ["An oracle where its options make it read, or use a reward that reads, the human labels.", ""]


def _docs(options: Callable[..., Any]) -> str:
    """Return what a record of options says of itself, then what those say that it goes on from."""
    import inspect
    from dataclasses import is_dataclass

    kinds = inspect.getmro(options) if isinstance(options, type) else (options,)
    own = [vars(kind).get("__doc__") for kind in kinds if is_dataclass(kind) or kind is options]
    return "\n\n".join(inspect.cleandoc(doc) for doc in own if doc) or "no description"


def _show(row: dict[str, Any], catalog: Catalog) -> None:
    import inspect

    lines = [f"{row['name']} ({row['kind']}, version {row['version']}, from {row['distribution']})", ""]
    doc = row["doc"]
    if row["kind"] == "reward":
        given = next(g for g in catalog.rewards[row["name"]] if g.plugin.distribution == row["distribution"])
        doc = inspect.getdoc(given.value.build) or "no description"
    if row["kind"] in OPTION_RECORDS:
        table = catalog.table(OPTION_RECORDS[row["kind"]])[row["name"]]
        model = next(g for g in table if g.plugin.distribution == row["distribution"])
        doc = "\n\n".join(filter(None, (getattr(model.value, "doc", ""), _docs(model.value.options))))
    lines += [doc, ""]
    if row["kind"] == "reward":
        lines += _oracle(given.value, catalog)
    if row["kind"] == "reward model":
        lines += [f"Losses: {', '.join(row['losses'])} (the first is the default).", ""]
    for option in row["options"]:
        default = "required" if option["required"] else f"default {json.dumps(option['default'])}"
        before = f"  -o {row['name']}.{option['name']}=..." if row["kind"] == "reward" else f"  {option['name']}"
        lines.append(f"{before}  {option['type']}, {default}")
    print_lines("\n".join(lines).rstrip())
