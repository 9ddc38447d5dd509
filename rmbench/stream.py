"""``rmbench.score``: rows in, the same rows with their score out, in order."""

from __future__ import annotations

import io
import json
import threading
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench import plugins, rewards, suite, suite_values
from rmbench.api import Batch, Runtime, Task
from rmbench.checks import Once, silent
from rmbench.errors import InputError, PluginError, RMBenchError
from rmbench.halving import Ledger, fill, score_rows, with_scores
from rmbench.preflight import refused
from rmbench.process import Broken, Inline, Process, Seat
from rmbench.responses import read_responses
from rmbench.source import BATCH_ROWS, batch

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Iterable, Iterator, Mapping, Sequence
    from typing import BinaryIO

    from rmbench.api import Sample
    from rmbench.plugins import Catalog
    from rmbench.rewards import Chosen
    from rmbench.scoring import Scores

WRITTEN = frozenset({"score", "reason", "parts"})
PER_CANDIDATE = frozenset({"candidate", "system", "response"})
TASK = Task(name="rows", version=1, kind=None, data={}, bare=True)


class Scorer:
    """Rewards in an order in which each finds those that it uses, ready to score batches of samples.

    The last one is the reward that was asked for.
    """

    def __init__(
        self, order: Sequence[Chosen], *, timeout: float, runtime: Runtime, stop: threading.Event | None = None
    ) -> None:
        self.order = order
        self.chosen = order[-1]
        self.ledgers = {one.name: Ledger() for one in self.order}
        self.broken: dict[str, str] = {}
        self.stop = stop or threading.Event()
        self.seats: dict[str, Seat] = {}
        self.timeout = timeout
        self.runtime = runtime

    @classmethod
    def named(
        cls, catalog: Catalog, entry: Mapping[str, Any], *, base: Path, timeout: float, runtime: Runtime
    ) -> Scorer:
        """Return the scorer of one reward ``{"use", "options"}``, with those that it uses."""
        chosen = rewards.choose(catalog, entry, base=base, where="reward")
        every = suite.with_uses({chosen.name: chosen}, catalog, base, "reward")
        order = [one for wave in suite.waves(every, "reward") for one in wave]
        return cls(order, timeout=timeout, runtime=runtime)

    def _seat(self, one: Chosen) -> Seat:
        if one.name not in self.seats:
            inline = one.source == "inline"
            self.seats[one.name] = (
                Inline(one, self.runtime)
                if inline
                else Process(one, self.runtime, timeout=self.timeout, stop=self.stop, log=None)
            )
            self.ledgers[one.name].notes.update(self.seats[one.name].notes)
        return self.seats[one.name]

    def score(self, rows: Batch) -> Scores:
        """Score a batch with the last reward.

        Raises:
            PluginError: a reward cannot be used.
        """
        return self._all(rows)[self.chosen.name]

    def columns(self, rows: Batch) -> dict[str, list[float | None]]:
        """Return the scores of every reward on a batch, by name."""
        return {name: scores.values for name, scores in self._all(rows).items()}

    def named_scores(self, rows: Batch, names: Sequence[str], needed: Sequence[str]) -> dict[str, Scores]:
        """Return the scores of some of the rewards on a batch, by name; those that they use are scored too.

        A reward that cannot be used gives None with the reason, and stands in ``broken`` from then on.

        Raises:
            PluginError: one of ``needed`` cannot be used.
        """
        wanted, always = self._with_used(names), self._with_used(needed)
        found: dict[str, Scores] = {}
        for one in self.order:
            if one.name not in wanted:
                continue
            if lacking := [name for name in one.uses if name in self.broken]:
                self.broken.setdefault(one.name, f"it uses {', '.join(lacking)}, which could not be used")
            if one.name not in self.broken:
                try:
                    found[one.name] = self._one(one, rows, found)
                except RMBenchError as error:
                    if one.name in always:
                        raise
                    self.broken[one.name] = error.what
            if one.name in self.broken:
                found[one.name] = fill(len(rows), self.broken[one.name])
        return {name: found[name] for name in names}

    def _with_used(self, names: Container[str]) -> set[str]:
        """Return these rewards and those that they use."""
        found: set[str] = set()
        for one in reversed(self.order):
            if one.name in names or one.name in found:
                found |= {one.name, *one.uses}
        return found

    def _all(self, rows: Batch) -> dict[str, Scores]:
        found: dict[str, Scores] = {}
        for one in self.order:
            found[one.name] = self._one(one, rows, found)
        return found

    def _one(self, one: Chosen, rows: Batch, found: Mapping[str, Scores]) -> Scores:
        """Score a batch with one reward, those that it uses being found."""
        given = rows if one.labelled else replace(rows, labels=())
        used = {name: tuple(found[name].values) for name in one.uses}
        whole = one.reward.scope == "sample"
        try:
            return score_rows(self._seat(one), with_scores(given, used), self.ledgers[one.name], whole=whole)
        except Broken as error:
            if error.refused and one.options:
                raise refused(one, error.refused) from error
            raise PluginError(str(error), where=f"reward {one.name}", help="rmbench show " + one.name) from error

    def close(self) -> None:
        """Give the workers back."""
        for name, seat in self.seats.items():
            self.ledgers[name].notes.update(seat.close())


def _taken(original: Mapping[str, Any]) -> frozenset[str]:
    """Return the fields that the output gives a meaning of its own: an input's are replaced."""
    return WRITTEN | PER_CANDIDATE if "candidates" in original else WRITTEN


def _lines(original: Mapping[str, Any], sample: Sample) -> list[dict[str, Any]]:
    """Return the objects to write for a sample: the one that was read, or one per candidate of a task row."""
    kept = {key: value for key, value in original.items() if key not in _taken(original)}
    if "candidates" not in original:
        return [kept]
    shared = {key: value for key, value in kept.items() if key not in ("candidates", "preferences", "ties")}
    return [{**shared, "candidate": i, "system": c.system, "response": c.text} for i, c in enumerate(sample.candidates)]


def scored(pairs: Iterable[tuple[Mapping[str, Any], Sample]], scorer: Scorer) -> Iterator[dict[str, Any]]:
    """Yield every object with ``score``, its ``reason`` where that is None, and ``parts``."""
    held: list[tuple[Mapping[str, Any], Sample]] = []
    rows = 0
    for pair in pairs:
        held.append(pair)
        rows += len(pair[1].candidates)
        if rows >= BATCH_ROWS:
            yield from _flush(held, scorer)
            held, rows = [], 0
    yield from _flush(held, scorer)


def _flush(held: Sequence[tuple[Mapping[str, Any], Sample]], scorer: Scorer) -> Iterator[dict[str, Any]]:
    every = [sample for _, sample in held]
    if not every:
        return
    scores = scorer.score(batch(every, TASK, labels=True))
    lines = [line for original, sample in held for line in _lines(original, sample)]
    for i, line in enumerate(lines):
        value = scores.values[i]
        reason = {} if value is not None else {"reason": scores.reasons[i]}
        parts = {"parts": {name: column[i] for name, column in scores.parts.items()}} if scores.parts else {}
        yield {**line, "score": value, **reason, **parts}


def score_stream(
    stream: BinaryIO, where: str, scorer: Scorer, warn: Callable[[str], None], path: Path | None = None
) -> Iterator[dict[str, Any]]:
    """Score the rows of a stream: JSON lines, or what the name of the file says."""
    tell = Once(where, warn)
    needs = frozenset().union(*(one.needs for one in scorer.order))
    pairs = (_fed(pair, needs, scorer.chosen.name) for pair in read_responses(stream, where, warn, path))
    yield from scored((_told(pair, tell) for pair in pairs), scorer)


def _told(pair: tuple[Mapping[str, Any], Sample], tell: Once) -> tuple[Mapping[str, Any], Sample]:
    for key in sorted(_taken(pair[0]) & pair[0].keys()):
        tell(f'the field "{key}" of the input is replaced by ours')
    return pair


def _fed(pair: tuple[Mapping[str, Any], Sample], needs: frozenset[str], name: str) -> tuple[Mapping[str, Any], Sample]:
    sample = pair[1]
    there = {"references": bool(sample.references), "contexts": sample.context is not None}
    for column in sorted(needs & {name for name, filled in there.items() if not filled}):
        what = f"row {sample.id!r} has no {column}, which the reward {name!r} needs"
        raise InputError(what, help='add "references": ["..."]' if column == "references" else 'add "context": "..."')
    return pair


def score(
    reward: Any,
    rows: Iterable[Mapping[str, Any]],
    options: Mapping[str, Any] | None = None,
    *,
    timeout: float = suite_values.DEFAULT_TIMEOUT,
) -> list[dict[str, Any]]:
    """Score rows with one reward.

    Args:
        reward: a name, ``file.py:name``, a ``Reward``, or a function ``(batch) -> scores``.
        rows: objects ``{"prompt" or "messages", "response", "references", "context", "meta"}``, or task
            rows with ``candidates`` (one object out per candidate).
        options: of the reward.
        timeout: seconds per batch of 256 rows (0: none).

    Returns:
        The same objects, in order, with ``score`` (None with a ``reason``) and ``parts``.

    Raises:
        InputError: a row or an option is wrong.
        PluginError: the reward cannot be used.
    """
    text = "".join(json.dumps(row, allow_nan=False) + "\n" for row in rows)
    entry = {"use": reward, "options": dict(options or {})}
    scorer = Scorer.named(plugins.load(), entry, base=Path.cwd(), timeout=timeout, runtime=Runtime())
    try:
        return list(score_stream(io.BytesIO(text.encode()), "rows", scorer, silent))
    finally:
        scorer.close()
