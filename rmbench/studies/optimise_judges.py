"""Do the judges of a training differ from the reward that it optimises? Said in words for each entry."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from rmbench.studies.optimise_means import about

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from rmbench.api import Result
    from rmbench.studies.entries import Entry
    from rmbench.studies.optimise_means import Field

INDEPENDENT = "independent-judges"


def independence(field: Field, manifest: Mapping[str, Any]) -> Iterator[Result]:
    """Yield, for every entry with a reward, how many of its judges are another thing than the reward.

    A judge of the same signature is the reward under another name; one that uses the reward, or that the reward uses,
    shares a part with it. ``n`` counts the judges; the words are in ``reason``.
    """
    uses = {r["name"]: tuple(r.get("uses") or ()) for r in manifest["resolved"]["rewards"]}
    for found in field.outputs.values():
        entry = found.entry
        if not entry.reward or entry.reward not in field.rows.rewards:
            continue
        told = {name: why for name in entry.judges if (why := _same(field, uses, entry.reward, name))}
        free = [name for name in entry.judges if name not in told]
        row = about(field, entry, INDEPENDENT, field.rows.rewards[entry.reward])
        yield replace(row, value=float(len(free)), n=len(entry.judges), reason=_words(entry, told, free))


def _closure(uses: Mapping[str, tuple[str, ...]], name: str) -> set[str]:
    """Return the rewards that a reward uses, and that these use."""
    found: set[str] = set()
    rest = [name]
    while rest:
        more = [used for used in uses.get(rest.pop(), ()) if used not in found]
        found.update(more)
        rest += more
    return found


def is_same(field: Field, judge: str, reward: str) -> bool:
    """Whether a judge is the reward, under its name or another."""
    own, other = field.rows.rewards.get(reward), field.rows.rewards.get(judge)
    return judge == reward or (own is not None and other is not None and own.signature == other.signature)


def _same(field: Field, uses: Mapping[str, tuple[str, ...]], reward: str, judge: str) -> str | None:
    """Return what a judge shares with the reward, None where nothing is known."""
    if is_same(field, judge, reward):
        return "is the reward under another name"
    if judge in _closure(uses, reward):
        return "is a part of the reward"
    return "uses the reward" if reward in _closure(uses, judge) else None


def _words(entry: Entry, told: Mapping[str, str], free: list[str]) -> str:
    shared = "; ".join(f"{name} {why}" for name, why in told.items())
    if not entry.judges:
        return f"nothing but {entry.reward} itself judges {entry.name}"
    if not free:
        return f"no judge of {entry.name} differs from {entry.reward}: {shared}"
    differ = f"{', '.join(free)} differ{'' if len(free) > 1 else 's'} from {entry.reward}"
    return f"{differ}; {shared}" if shared else differ
