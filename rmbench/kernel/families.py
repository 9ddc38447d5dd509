"""Which rule scores which name: its options, what it reads, and the function that scores rows.

A family is a module with pure functions from rows to columns. Names that read the texts in the same way are served by
one call, so that a text is split once for all of them.
"""

import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib import import_module
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from rmbench.errors import did_you_mean
from rmbench.kernel import rouge
from rmbench.kernel.checks import choice, flag, whole
from rmbench.kernel.compiled import cost, ready

Column = NDArray[np.float64]
Check = Callable[[str, object], None]
Options = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Rows:
    """Rows to score: one response each, and what it is compared with.

    Attributes:
        responses: n texts.
        references: n sequences of texts, none empty; or none at all where nothing reads them.
        sources: n texts, or none at all.
    """

    responses: Sequence[str]
    references: Sequence[Sequence[str]] = ()
    sources: Sequence[str] = ()


Score = Callable[[Rows], Mapping[str, Column]]
Blocks = Callable[[], Iterator[Rows]]


@dataclass(frozen=True, slots=True)
class Rule:
    """What is known of a name without importing its family: its options and the column that it reads."""

    options: Mapping[str, Check] = field(default_factory=dict)
    reads: Literal["references", "sources", ""] = "references"


def _one_of(*choices: str) -> Check:
    return partial(choice, choices=choices)


def _at_least(least: int) -> Check:
    return partial(whole, least=least)


def _target(option: str, value: object) -> None:
    if value is not None:
        whole(option, value, 1)


ROUGE = Rule({"stemmer": flag, "lowercase": flag, "references": _one_of("max", "mean")})
RULES: Mapping[str, Rule] = {
    **dict.fromkeys(rouge.NAMES, ROUGE),
    "bleu": Rule({"tokenize": _one_of("13a", "zh", "ja-mecab", "ko-mecab", "intl", "char", "none"), "lowercase": flag}),
    "chrf": Rule({"word_order": _at_least(0), "lowercase": flag}),
    "ter": Rule({"normalized": flag, "no_punct": flag, "asian_support": flag, "case_sensitive": flag}),
    "token-f1": Rule(),
    "exact-match": Rule(),
    "length": Rule({"unit": _one_of("words", "chars"), "target": _target}, ""),
    "diversity": Rule({"n": _at_least(1)}, ""),
    "repetition": Rule({"n": _at_least(1)}, ""),
    "coverage": Rule({}, "sources"),
    "density": Rule({}, "sources"),
}
SACREBLEU = {"bleu": "mteval", "chrf": "chars", "ter": "shifts"}  # the compiled modules that would do its work
EACH = {"bleu": 5e-7, "chrf": 2e-6}  # seconds of sacrebleu for a character of response and references; not linear: ter
ORDERS = {"diversity": 2, "repetition": 3}


def resolve(names: Sequence[str], options: Options) -> dict[str, dict[str, Any]]:
    """Return the options of each name, checked.

    ``options`` holds options by reward (``{"chrf": {"word_order": 2}}``; those of rouge-l are also rouge-l.recall's),
    and options without a reward, which go to all names that have them.

    Raises:
        TypeError: options that are no mapping from texts.
        ValueError: a name or an option that is not known, options of a reward that is not asked for, a wrong value.
    """
    if not isinstance(options, Mapping) or not all(isinstance(key, str) for key in options):
        raise TypeError(f"options are {options!r:.50}, expected a mapping from names to values")
    for name in names:
        if name not in RULES:
            raise ValueError(f"unknown reward {name!r}: {did_you_mean(name.lower(), RULES)}")
    if options and not names:
        raise ValueError(f"options {', '.join(options)}, but no reward is asked for")
    asked = {*names, *(name.partition(".")[0] for name in names)}
    known = {option for name in names for option in RULES[name].options}
    flat = {key: value for key, value in options.items() if key not in RULES}
    for key, value in options.items():
        if key in flat and isinstance(value, Mapping):
            raise ValueError(f"options for {key}, which is no reward: {did_you_mean(key.lower(), RULES)}")
        if key in flat and key not in known:
            raise ValueError(f"none of {', '.join(names)} has an option {key!r}: {did_you_mean(key, known)}")
        if key in RULES and key not in asked:
            raise ValueError(f"options for {key}, which is not asked for: {', '.join(names)}")
        if key in RULES and not isinstance(value, Mapping):
            raise ValueError(f"options of {key} are {value!r}, expected names and values")
    return {name: _options(name, options, flat) for name in names}


def _options(name: str, options: Options, flat: Options) -> dict[str, Any]:
    checks = RULES[name].options
    own = {**options.get(name.partition(".")[0], {}), **options.get(name, {})}
    for option in own:
        if option not in checks:
            raise ValueError(f"{name} has no option {option!r}: {did_you_mean(option, checks)}")
    resolved = {option: value for option, value in flat.items() if option in checks} | own
    resolved = {option: value.item() if isinstance(value, np.generic) else value for option, value in resolved.items()}
    for option, value in resolved.items():
        checks[option](option, value)
    return resolved


def plan(options: Mapping[str, Options], blocks: Blocks) -> list[Score]:
    """Return the functions that score the names, each serving all names that share its reading of the texts.

    Args:
        options: by name, as ``resolve`` returns them.
        blocks: returns all rows, block by block, for an estimate of the work.
    """
    return [
        *_rouge({name: own for name, own in options.items() if RULES[name] is ROUGE}, blocks),
        *(_sacrebleu(name, own, blocks) for name, own in options.items() if name in SACREBLEU),
        *_bags(options),
    ]


def _worth(blocks: Blocks, seconds: Callable[[Rows], float], kernels: Sequence[str], *, start: float = 0.0) -> bool:
    """Return whether to use compiled code, from the plain path's seconds added up until they decide.

    ``start`` is what the plain path takes before its first row.
    """
    enough, total = cost(kernels), start
    for rows in blocks():
        if total >= enough:
            break
        total += seconds(rows)
    return ready(total, kernels)


def _rouge(options: Mapping[str, Options], blocks: Blocks) -> Iterator[Score]:
    """Yield a function for each tokenisation: every text is split once for all names that share it."""
    groups: dict[tuple[bool, bool], dict[str, Any]] = {}
    for name, own in options.items():
        split = own.get("stemmer", False), own.get("lowercase", True)
        groups.setdefault(split, {})[name] = own.get("references", "max")
    for (stemmer, lowercase), names in groups.items():
        estimate = partial(_rouge_seconds, names=tuple(names), stemmer=stemmer)
        start = 0.0 if "rouge_score" in sys.modules else rouge.IMPORT
        use = _worth(blocks, estimate, rouge.kernels(tuple(names), stemmer=stemmer), start=start)
        score = partial(rouge.scores, names=names, stemmer=stemmer, lowercase=lowercase, use_compiled=use)
        yield partial(_on_references, score)


def _rouge_seconds(rows: Rows, *, names: Sequence[str], stemmer: bool) -> float:
    return rouge.seconds(rows.responses, rows.references, names=names, stemmer=stemmer)


def _on_references(score: Callable[..., Mapping[str, Column]], rows: Rows) -> Mapping[str, Column]:
    return score(rows.responses, rows.references)


def _sacrebleu(name: str, options: Options, blocks: Blocks) -> Score:
    """Return sacrebleu's or the compiled function of one of its metrics."""
    family = import_module(f"rmbench.kernel.{name}")
    if name in EACH:
        use = _worth(blocks, lambda rows: EACH[name] * _characters(rows), (SACREBLEU[name],))
    else:
        seconds = partial(family.seconds, **options)
        use = _worth(blocks, lambda rows: seconds(rows.responses, rows.references), (SACREBLEU[name],))
    return partial(_on_references, partial(family.scores if use else family.plain, **options))


def _characters(rows: Rows) -> int:
    return sum(map(len, rows.responses)) + sum(sum(map(len, texts)) for texts in rows.references)


def _bags(options: Mapping[str, Options]) -> Iterator[Score]:
    """Yield a function for each way in which rules on words read the texts."""
    if any(name in options for name in ("token-f1", "exact-match")):
        yield lambda rows: _family("bags").scores(rows.responses, rows.references)
    if any(name in options for name in ("coverage", "density")):
        yield lambda rows: _family("bags").copied(rows.responses, rows.sources)
    orders = {name: options[name].get("n", n) for name, n in ORDERS.items() if name in options}
    if orders:
        yield partial(_shares, orders)
    if "length" in options:
        unit, target = options["length"].get("unit", "words"), options["length"].get("target")
        yield lambda rows: {
            "length": np.array([_family("bags").length(text, unit, target) for text in rows.responses], np.float64)
        }


def _shares(orders: Mapping[str, int], rows: Rows) -> dict[str, Column]:
    columns = _family("bags").shares(rows.responses, set(orders.values()))
    found = {name: columns[n] for name, n in orders.items()}
    if "repetition" in found:  # a text of fewer than n words repeats nothing
        found["repetition"] = np.nan_to_num(found["repetition"], nan=1.0)
    return found


def _family(name: str) -> Any:
    return import_module(f"rmbench.kernel.{name}")
