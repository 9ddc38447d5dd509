"""The nouns of policy training: what generates, what improves it, and what the engine hands to it (provisional).

A trainer is handed its data and a way to score: it reads ``train`` and ``dev`` here and cannot read ``test``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from rmbench.api import NAME, Runtime, Sample
from rmbench.kernel.checks import choice, whole

if TYPE_CHECKING:
    from pathlib import Path

    from rmbench.judged import Judgements

Row = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoding:
    """How a policy writes. The options of every policy are a subclass of this record.

    Attributes:
        max_tokens: most tokens of a response, its end among them, from 1.
        temperature: 0 is greedy (the likeliest token at each place); else logits are divided by it.
        top_k: only this many of the likeliest tokens are drawn from (Fan et al. 2018); 0: all.
        top_p: only the likeliest tokens that hold this much probability together (Holtzman et al. 2020); 1: all.
        min_p: only tokens of at least this share of the likeliest one's probability (Nguyen et al. 2024); 0: all.
        beams: width of beam search, 1: none; only with temperature 0.
        length_penalty: exponent of the length in the score of a beam.
        repetition_penalty: logits of tokens that were written already are divided by it where positive, else
            multiplied (Keskar et al. 2019); 1: none.
        best_of: responses drawn for each prompt, of which ``best_by`` chooses the best; 1: none.
        best_by: name of the reward of the suite that chooses.
        stop: texts; a response ends before the first of them.
    """

    max_tokens: int = 64
    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    min_p: float = 0.0
    beams: int = 1
    length_penalty: float = 1.0
    repetition_penalty: float = 1.0
    best_of: int = 1
    best_by: str = ""
    stop: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        """Check every field and what they rule out together; a wrong one is a ``ValueError`` that names it."""
        for name, at_least in (("max_tokens", 1), ("top_k", 0), ("beams", 1), ("best_of", 1)):
            whole(name, getattr(self, name), at_least)
        for name, least, most in (
            ("temperature", 0.0, 100.0), ("top_p", 1e-6, 1.0), ("min_p", 0.0, 1.0),
            ("length_penalty", -10.0, 10.0), ("repetition_penalty", 1e-3, 100.0),
        ):  # fmt: skip
            value = getattr(self, name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not least <= value <= most:
                raise ValueError(f"{name} is {value!r}, expected a number from {least:g} to {most:g}")
        object.__setattr__(self, "stop", tuple(self.stop))
        if not all(isinstance(text, str) and text for text in self.stop):
            raise ValueError(f"stop is {list(self.stop)!r}, expected texts that are not empty")
        if self.beams > 1 and self.temperature:
            raise ValueError(f"beams is {self.beams}, which goes with temperature 0 only (it is {self.temperature:g})")
        drawn = self.top_k or self.top_p < 1 or self.min_p
        if drawn and not self.temperature:
            raise ValueError("top_k, top_p and min_p choose among tokens to draw from: they need a temperature above 0")
        if (self.best_of > 1) != bool(self.best_by):
            raise ValueError(f"best_of is {self.best_of} and best_by {self.best_by!r}: one goes with the other")
        if self.best_of > 1 and not self.temperature:
            raise ValueError(f"best_of is {self.best_of}: with temperature 0 all responses are the same one")


@dataclass(frozen=True, slots=True)
class Response:
    """What a policy wrote, or a given text as it would write it.

    Attributes:
        text: without the end token and without what follows a stop text.
        ids: its tokens, the end token among them where ``finished``.
        finished: whether it came to its end within the most tokens.
    """

    text: str
    ids: tuple[int, ...]
    finished: bool


@dataclass(frozen=True, slots=True)
class Forward:
    """What a policy thinks of responses, all torch tensors on its device, gradients flowing.

    Attributes:
        logits: float32 (rows, T, vocabulary), before each token of each response; T is the longest response.
        ids: int64 (rows, T), the response's tokens, 0 beyond its end.
        mask: bool (rows, T), True on the response's tokens (the end token among them).
        hidden: float32 (rows, T, width), the last hidden state that each of the logits is made of; for value heads.
    """

    logits: Any
    ids: Any
    mask: Any
    hidden: Any


class Agent(Protocol):
    """A policy at work, in a process that has torch.

    ``module`` holds all its parameters: those that require a gradient are what is trained. ``model`` and ``tokenizer``
    are transformers' own where there are any (None for a table): what other libraries' trainers take.
    """

    module: Any
    model: Any
    tokenizer: Any

    def sample(self, samples: Sequence[Sample], n: int, decoding: Decoding, *, seed: int) -> list[tuple[Response, ...]]:
        """Return n responses for each prompt; ``best_of`` is not looked at here.

        A prompt's responses depend on the weights, the decoding, the seed and the place of the prompt in ``samples``.
        """
        ...

    def forward(self, samples: Sequence[Sample] | None, responses: Sequence[Response]) -> Forward:
        """Return what it thinks of one response per prompt; without prompts, of texts that stand alone."""
        ...

    def encode(self, text: str, most: int | None = None) -> Response:
        """Return a given text (a reference, a document) as a response, cut after ``most`` tokens."""
        ...

    def save(self, folder: Path) -> None:
        """Write it into a folder that ``Policy.load`` takes: safetensors, config.json, the tokenizer's files."""
        ...


@dataclass(frozen=True, slots=True)
class Scored:
    """What rewards gave to responses: one value per response, None with a reason where it has none."""

    values: tuple[float | None, ...]
    reasons: Mapping[int, str] = field(default_factory=dict)


def _nothing(_: Row) -> None:
    """Tell nobody."""


def _never() -> bool:
    return False


def _no_reward(_: Sequence[Sample], __: Sequence[str]) -> Scored:
    raise ValueError("this training has no reward")


def _no_judges(_: Sequence[Sample], __: Sequence[str]) -> Mapping[str, Scored]:
    return {}


@dataclass(frozen=True, slots=True)
class Session:
    """What the engine knows of a training.

    Attributes:
        folder: where the policy is to stand, and what an interrupted training left: it is of the same start, data,
            trainer, options, reward and seed.
        recipe: what is trained, in words: ``policy``, ``trainer``, ``options`` and so on; it goes into config.json.
        runtime: device, dtype, seed (of this training) and cache.
        decoding: how the policy will write; trainers that draw responses take ``max_tokens`` and ``stop`` of it.
        start: makes the policy that the training begins with, anew: the reference that KL is measured to.
        score: the reward: ``score(samples, texts)``, one text per sample. A row that it cannot score has None.
        judge: the reward and all judges by name, in the same form: for curves, never for learning.
        reward: name of the reward, None where there is none.
        tell: called now and then with ``{"step", "steps", "loss", "reward"}`` (None where unknown).
        stop: whether the user wants to stop; then state is saved and ``judged.Interrupted`` raised.
    """

    folder: Path
    recipe: Row = field(default_factory=dict)
    runtime: Runtime = field(default_factory=Runtime)
    decoding: Decoding = field(default_factory=Decoding)
    start: Callable[[], Agent] | None = None
    score: Callable[[Sequence[Sample], Sequence[str]], Scored] = _no_reward
    judge: Callable[[Sequence[Sample], Sequence[str]], Mapping[str, Scored]] = _no_judges
    reward: str | None = None
    tell: Callable[[Row], None] = _nothing
    stop: Callable[[], bool] = _never


@dataclass(frozen=True, slots=True)
class Trained:
    """What a training came to.

    Attributes:
        steps: optimizer steps made.
        stopped: why it ended.
        decoding: fields of ``Decoding`` that the trained policy writes with from now on (best-of-n), by name.
        notes: what the user should know, one sentence each.
    """

    steps: int
    stopped: Literal["steps", "seconds", "patience"] = "steps"
    decoding: Row = field(default_factory=dict)
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Policy:
    """A named, versioned maker of policies (provisional).

    Args:
        name: ``[a-z0-9][a-z0-9._+-]*``, unique over all plugins.
        version: raised whenever a response could change.
        options: a dataclass, a subclass of ``Decoding``; its fields are the options, with their types and defaults. A
            wrong value is a ``ValueError`` of its own checks, made before anything is read.
        build: ``build(judgements, options, runtime)`` returns a new agent; its tokenizer and its weights are a function
            of the task's train split, the options and ``runtime.seed``.
        load: ``load(folder, options, runtime)`` returns the agent that ``Agent.save`` wrote.
        backends: distributions whose version belongs in the signature.
        check: ``check(judgements, options)`` raises an ``InputError`` for what data and options together rule out,
            before anything is written. May be None.
        doc: one sentence.
    """

    name: str
    version: int
    options: Callable[..., Any]
    build: Callable[[Judgements, Any, Runtime], Agent]
    load: Callable[[Path, Any, Runtime], Agent]
    backends: tuple[str, ...] = ()
    check: Callable[[Judgements, Any], None] | None = None
    doc: str = ""

    def __post_init__(self) -> None:
        """Check the fields; a wrong one is a ``ValueError`` that names the policy."""
        _check("policy", self.name, self.version, options=self.options, build=self.build, load=self.load)


NEEDS = ("reward", "references", "pairs")


@dataclass(frozen=True, slots=True)
class Trainer:
    """A named, versioned way to improve a policy (provisional).

    Args:
        name: ``[a-z0-9][a-z0-9._+-]*``, unique over all plugins.
        version: raised whenever a trained policy could change.
        options: a dataclass; its fields are the options. Every trainer has ``steps`` and ``seconds``.
        train: ``train(agent, judgements, options, session)`` changes the agent's weights and returns ``Trained``. It
            leaves ``log.jsonl`` (a row per step) and ``curve.jsonl`` (a row per evaluation) in ``session.folder``,
            functions of suite and seed, and ``.timings.jsonl`` (seconds of each step by stage). The engine saves.
        needs: of ``NEEDS``, or a function ``needs(options)`` that returns them: a reward, references in train, pairs
            there.
        backends: distributions whose version belongs in the signature.
        check: ``check(judgements, options)``, as a policy's. May be None.
        doc: one sentence, with the paper.
    """

    name: str
    version: int
    options: Callable[..., Any]
    train: Callable[[Any, Judgements, Any, Session], Trained]
    needs: Iterable[str] | Callable[[Any], Iterable[str]] = frozenset({"reward"})
    backends: tuple[str, ...] = ()
    check: Callable[[Judgements, Any], None] | None = None
    doc: str = ""

    def __post_init__(self) -> None:
        """Check the fields; a wrong one is a ``ValueError`` that names the trainer."""
        _check("trainer", self.name, self.version, options=self.options, train=self.train)
        if not callable(self.needs):
            for need in self.needs:
                choice(f"trainer {self.name}: needs", need, NEEDS)


def _check(what: str, name: object, version: object, **called: object) -> None:
    if not isinstance(name, str) or not NAME.fullmatch(name):
        raise ValueError(f"{what} name {name!r} does not match {NAME.pattern}")
    if not isinstance(version, int) or isinstance(version, bool) or version < 0:
        raise ValueError(f"{what} {name}: version {version!r} is not a non-negative integer")
    for field_name, value in called.items():
        if not callable(value):
            raise ValueError(f"{what} {name}: {field_name} is not callable")
