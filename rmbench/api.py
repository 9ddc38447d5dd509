"""The nouns: frozen records that tasks, plugins, the engine and the studies share.

Nothing here imports anything heavy; nothing here knows a file or a process.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from pathlib import Path

NAME = re.compile(r"[a-z0-9][a-z0-9._+-]*")
KINDS = ("summarization", "translation", "dialogue", "qa", "generation", "moderation")
Kind = Literal["summarization", "translation", "dialogue", "qa", "generation", "moderation"]
Unscored = Literal["wrong", "exclude"]
FAILED = ("raised: ", "timeout: ", "died: ", "not tried: ")  # how the reason of a row that failed begins
EMPTY: Mapping[str, Any] = MappingProxyType({})


def _empty() -> Mapping[str, Any]:
    return EMPTY


@dataclass(frozen=True, slots=True)
class Turn:
    """One message of a conversation: ``role`` (system, user, assistant, ...) and its text."""

    role: str
    content: str


@dataclass(frozen=True, slots=True)
class Candidate:
    """One text to score, with whatever people and other models said of it.

    ``human`` maps an aspect to the mean score of the raters (higher is better), ``raters`` to the
    score of each; ``model_scores`` are scores computed elsewhere, by name. ``seed`` is that of the policy of the suite
    that wrote it, None for a text of the data.
    """

    system: str
    text: str
    human: Mapping[str, float] = field(default_factory=_empty)
    raters: Mapping[str, tuple[float, ...]] = field(default_factory=_empty)
    model_scores: Mapping[str, float] = field(default_factory=_empty)
    meta: Mapping[str, Any] = field(default_factory=_empty)
    seed: int | None = None


@dataclass(frozen=True, slots=True)
class Preference:
    """A stated preference between two candidates of a sample, by index."""

    better: int
    worse: int
    subset: str | None = None


@dataclass(frozen=True, slots=True)
class Sample:
    """One prompt with its candidates.

    ``prompt`` is what ``batch.prompts`` shows, ``messages`` what models see. ``context`` is the source
    of the texts where there is one (article, passages), else the prompt is.
    """

    id: str
    prompt: str
    messages: tuple[Turn, ...]
    context: str | None = None
    references: tuple[str, ...] = ()
    subset: str | None = None
    candidates: tuple[Candidate, ...] = ()
    preferences: tuple[Preference, ...] = ()
    ties: tuple[tuple[int, int], ...] = ()
    meta: Mapping[str, Any] = field(default_factory=_empty)


@dataclass(frozen=True, slots=True)
class Task:
    """A card: what the data are and where they lie. The rows are read by ``rmbench.tasks.read``.

    ``data`` maps a split (``test``, ``train``, ``dev``) to its file; ``sha256`` a file name to its
    digest (checked when present). ``good`` is the least score of aspect ``main`` that makes a text a
    high-quality one. ``bare`` marks a file without a card. ``pairs`` names how a fit makes pairs of
    the rows where nobody judged them; empty: the data's own.
    """

    name: str
    version: int
    kind: str | None
    data: Mapping[str, Path]
    description: str = ""
    licence: str = ""
    source: str = ""
    citation: str = ""
    languages: tuple[str, ...] = ()
    sha256: Mapping[str, str] = field(default_factory=_empty)
    aspects: tuple[str, ...] = ()
    main: str | None = None
    good: float | None = None
    bare: bool = False
    pairs: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """What people said of one row; only a reward that needs ``labels`` sees it.

    ``main`` is the headline aspect of the task (None where no ratings exist).
    """

    human: Mapping[str, float]
    raters: Mapping[str, tuple[float, ...]]
    main: str | None


@dataclass(frozen=True, slots=True)
class Batch:
    """Columns of equal length, each a tuple, one entry per candidate.

    Attributes:
        ids: stable, one per candidate (``<sample id>#<candidate index>``).
        groups: id of the sample of each row.
        messages: tuples of ``Turn``: what models see.
        prompts: the prompt as text.
        contexts: the source text, or None where the prompt is the source.
        responses: the texts to score.
        references: tuple of reference texts of each row (may be empty).
        languages: tuple of the task's languages of each row; the last is the response's.
        scores: columns of other scores by name: those of the rewards in ``uses``, and scores that the
            data carry (``model_scores``). None where a row has none.
        labels: ``Label`` of each row for a reward that needs ``labels``, else empty.
        meta: the row's mapping of further fields (of the sample, overlaid with the candidate's).
    """

    ids: tuple[str, ...]
    groups: tuple[str, ...]
    messages: tuple[tuple[Turn, ...], ...]
    prompts: tuple[str, ...]
    contexts: tuple[str | None, ...]
    responses: tuple[str, ...]
    references: tuple[tuple[str, ...], ...]
    languages: tuple[tuple[str, ...], ...]
    scores: Mapping[str, tuple[float | None, ...]] = field(default_factory=_empty)
    labels: tuple[Label, ...] = ()
    meta: tuple[Mapping[str, Any], ...] = ()

    def __len__(self) -> int:
        """Return the number of rows."""
        return len(self.ids)

    @property
    def sources(self) -> tuple[str, ...]:
        """Source text of each row: its context where there is one, else its prompt."""
        return tuple(
            prompt if context is None else context for prompt, context in zip(self.prompts, self.contexts, strict=True)
        )

    def take(self, rows: Sequence[int]) -> Batch:
        """Return the batch of the rows at these indices, in this order."""
        return Batch(
            ids=tuple(self.ids[i] for i in rows),
            groups=tuple(self.groups[i] for i in rows),
            messages=tuple(self.messages[i] for i in rows),
            prompts=tuple(self.prompts[i] for i in rows),
            contexts=tuple(self.contexts[i] for i in rows),
            responses=tuple(self.responses[i] for i in rows),
            references=tuple(self.references[i] for i in rows),
            languages=tuple(self.languages[i] for i in rows),
            scores=MappingProxyType({k: tuple(v[i] for i in rows) for k, v in self.scores.items()}),
            labels=tuple(self.labels[i] for i in rows) if self.labels else (),
            meta=tuple(self.meta[i] for i in rows) if self.meta else (),
        )


@dataclass(frozen=True, slots=True)
class Runtime:
    """What the engine knows and a builder may ask for with a keyword ``runtime``."""

    device: str = "cpu"
    dtype: str = "float32"
    seed: int = 1
    cache: str | None = None


@dataclass(frozen=True, slots=True)
class NoScore:
    """In place of None: a row that cannot be scored, with the reason in words that stands beside it everywhere."""

    reason: str


Scores = Sequence[float | NoScore | None]


class Scorer(Protocol):
    """What ``build`` returns: called with a batch, gives one score per row, in order.

    A mapping of columns is also accepted; its ``score`` is the reward, the others are its parts. A scorer may also have
    ``close()``, and ``measures()`` that returns numbers by name: what its work took since it was built.
    """

    def __call__(self, batch: Batch, /) -> Scores | Mapping[str, Scores]:
        """Score every row of the batch; None is "cannot score"."""
        ...


Names = Iterable[str] | Callable[..., Iterable[str]]


@dataclass(frozen=True, slots=True)
class Reward:
    """A named, versioned maker of scorers.

    Args:
        name: ``[a-z0-9][a-z0-9._+-]*``, unique over all plugins.
        version: raised whenever a score could change.
        build: ``build(**options)`` returns a scorer; its keyword arguments are the options. A keyword
            ``runtime`` is filled by the engine and is no option. An option annotated ``Path`` names a file or
            folder relative to the suite; what it holds is in the signature.
        needs: names of the batch columns that must be there (``references``, ``contexts``, ``scores``,
            ``labels``), or a function of the options that returns them. ``labels`` makes an oracle.
        uses: names of the rewards whose scores arrive in ``batch.scores``, or a function of the options.
        scope: ``"row"``, or ``"sample"`` when the scorer must see whole samples.
        backends: distributions whose version belongs in the signature, such as ``("rouge-score",)``.
        unscored: how rows without a score count by default: ``"wrong"`` or ``"exclude"``.
        facts: further ``name:value`` words of the signature, or a function of the options that returns them: what a
            score depends on beyond the options (the form that a model folder gives its texts).
    """

    name: str
    version: int
    build: Callable[..., Scorer]
    needs: Names = frozenset()
    uses: Names = ()
    scope: Literal["row", "sample"] = "row"
    backends: tuple[str, ...] = ()
    unscored: Unscored = "wrong"
    facts: Names = ()

    def __post_init__(self) -> None:
        """Check the fields; a wrong one is a ``ValueError`` that names the reward."""
        if not isinstance(self.name, str) or not NAME.fullmatch(self.name):
            raise ValueError(
                f"reward name {self.name!r}: expected lower-case letters, digits, . _ + - ({NAME.pattern})"
            )
        if not isinstance(self.version, int) or isinstance(self.version, bool) or self.version < 0:
            raise ValueError(f"reward {self.name}: version {self.version!r} is not a non-negative integer")
        if not callable(self.build):
            raise ValueError(f"reward {self.name}: build is not callable")
        if self.scope not in ("row", "sample"):
            raise ValueError(f"reward {self.name}: scope {self.scope!r} is neither 'row' nor 'sample'")
        if self.unscored not in ("wrong", "exclude"):
            raise ValueError(f"reward {self.name}: unscored {self.unscored!r} is neither 'wrong' nor 'exclude'")


@dataclass(frozen=True, slots=True)
class Metric:
    """A statistic that compares a reward with people (provisional).

    Args:
        name: as it stands in a suite and in results.json.
        version: raised whenever a value could change.
        levels: at which levels it is computed: ``sample``, ``pooled``, ``system``.
        statistic: ``(scores, human) -> float | None`` on two float arrays of equal length; None where it
            is undefined (constant, too few). None for the metrics that the study computes itself.
        doc: one sentence: what it measures, its range and direction.
    """

    name: str
    version: int
    levels: tuple[str, ...]
    statistic: Callable[[Any, Any], float | None] | None = None
    doc: str = ""


@dataclass(frozen=True, slots=True)
class Result:
    """One number, with all that is needed to read it: a row of results.json.

    Every field is in every row; None where it means nothing. ``n`` counts the samples that entered,
    ``cluster`` says what is resampled where that is not the sample, ``skipped`` the samples in which
    the statistic is undefined, ``unscored`` the rows that the reward could not score.
    """

    study: str
    metric: str
    task: str | None = None
    kind: str | None = None
    subset: str | None = None
    split: str | None = None
    reward: str | None = None
    against: str | None = None
    system: str | None = None
    policy: str | None = None
    trainer: str | None = None
    seed: int | None = None
    step: int | None = None
    probe: str | None = None
    aspect: str | None = None
    level: str | None = None
    value: float | None = None
    ci: tuple[float, float] | None = None
    p: float | None = None
    p_holm: float | None = None
    resamples: int | None = None
    cluster: str | None = None
    n: int | None = None
    rows: int | None = None
    pairs: int | None = None
    skipped: int | None = None
    unscored: int | None = None
    reason: str | None = None
    signature: str | None = None


FIELDS = (
    "study", "task", "kind", "subset", "split", "reward", "against", "system", "policy", "trainer", "seed",
    "step", "probe", "metric", "aspect", "level", "value", "ci", "p", "p_holm", "resamples", "cluster",
    "n", "rows", "pairs", "skipped", "unscored", "reason", "signature",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Column:
    """Scores of one reward on one task: ``values`` where ``ok``, and a reason elsewhere.

    ``values`` is a float64 array of shape (rows,), 0.0 where not ok; ``ok`` a bool array; ``reasons``
    maps a row index to the reason it has no score. ``parts`` are further columns by name, with the
    same meaning of missing (their own ``ok``).
    """

    values: Any
    ok: Any
    reasons: Mapping[int, str] = field(default_factory=dict)
    parts: Mapping[str, Column] = field(default_factory=dict)
