"""Bare preference files: TRL, RewardBench 1 and 2 and RM-Bench rows -> rows of a task file.

The first record decides the shape of a file; every later row must have the same:

- both answers strings, or both lists of messages: TRL and RewardBench 1; without a ``prompt`` the
  prompt is what the two answers begin with in common;
- lists of strings: RewardBench 2, every chosen answer better than every rejected one;
- three strings each, and either a ``domain``, or neither a counting column nor a subset name of
  RewardBench 2: RM-Bench (arXiv 2410.16184), in the styles concise, detailed plain, detailed markdown.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from rmbench.checks import HopelessError, Place, mapping, near, show, string, type_name
from rmbench.prompts import common_messages, common_prompt, stated_messages
from rmbench.samples import merged, render, turns, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rmbench.api import Turn

STYLES = ("concise", "detailed-plain", "detailed-markdown")
_COLUMNS = frozenset(("id", "kind", "task", "prompt", "chosen", "rejected", "context", "references", "subset", "meta"))
_COUNTS = frozenset(("num_correct", "num_incorrect", "num_rejected", "total_completions", "additional_metadata"))
_EXTRAS = _COUNTS | {
    "chosen_model", "rejected_model", "models", "model", "score_chosen", "score_rejected", "margin",
    "messages", "prompt_id", "source", "domain", "error", "error_key", "unique_id",
}  # fmt: skip
_SUBSETS = ("Factuality", "Focus", "Math", "Precise IF", "Safety", "Ties")
_OTHER_NAMES = frozenset(
    ("accepted", "good", "better", "preferred", "winner", "positive", "chosen_response",
     "refused", "bad", "worse", "dispreferred", "loser", "negative", "rejected_response")
)  # fmt: skip
_MOST_PAIRS = 10_000
_EXPECTED = 'a preference file has the columns "prompt", "chosen" and "rejected"'

Form = Literal["texts", "messages", "lists", "rm-bench"]
_FORMS: dict[Form, str] = {
    "texts": "a string",
    "messages": "a list of messages",
    "lists": "a list of strings",
    "rm-bench": "a list of 3 strings",
}


@dataclass(frozen=True, slots=True)
class Shape:
    """The form of the answers of a file, and whether a prompt stands beside them."""

    form: Form
    prompt: bool


def shape_of(record: Mapping[str, Any], at: Place) -> Shape | None:
    """Return the shape of a bare file from its first record, None where that is a row of a task file.

    Raises:
        HopelessError: the answers have other names, or are neither strings, messages nor lists of strings.
    """
    if "candidates" in record:
        return None
    given = [key for key in ("chosen", "rejected") if key in record]
    if not given:
        _refuse_other_names(record, at)
        return None
    if len(given) == 1:
        raise _missing(record, at, "rejected" if "chosen" in record else "chosen")
    form = _form_of(record, at)
    if form in ("lists", "rm-bench") and "prompt" not in record:
        raise _missing(record, at, "prompt")
    return Shape(form, "prompt" in record)


def row_from(record: Mapping[str, Any], at: Place, shape: Shape, *, default_id: str) -> dict[str, Any]:
    """Return the preference record as a row of a task file.

    The official further columns of the formats go into ``meta``; others stay, for ``sample_from`` to judge.

    Args:
        record: one record of a file of this shape.
        at: its place.
        shape: as the first record of the file has it.
        default_id: the id of a row that has none.

    Raises:
        InputError: the row has another shape, or a misspelt or wrong field.
    """
    unknown({key: None for key in record if key not in _EXTRAS}, at, _COLUMNS)
    _check_shape(record, at, shape)
    kept = {key: record[key] for key in record if key not in _EXTRAS and key not in ("chosen", "rejected", "prompt")}
    meta = mapping(record.get("meta", {}), at.key("meta"))
    meta = merged(meta, _extras(record, shape), at)
    row = kept | {"id": _identity(record.get("id", default_id), at.key("id")), "meta": meta}
    return row | _MAKERS[shape.form](record, at)


def _extras(record: Mapping[str, Any], shape: Shape) -> dict[str, Any]:
    """Return the further columns of the formats; a subset beside a domain is the source's own."""
    extras = {key: record[key] for key in record if key in _EXTRAS}
    if shape.form == "rm-bench" and "domain" in record and "subset" in record:
        extras["source_subset"] = record["subset"]
    return extras


def _refuse_other_names(record: Mapping[str, Any], at: Place) -> None:
    for key in record:
        if key in _OTHER_NAMES and isinstance(record[key], (str, list)):
            advice = f"{_EXPECTED}: rename the columns, names are not guessed"
            raise HopelessError(f"the column {show(key)} is not known", where=at.where, help=advice)


def _missing(record: Mapping[str, Any], at: Place, key: str) -> HopelessError:
    meant = next((other for other in record if other not in _COLUMNS and near(other, (key,))), None)
    advice = f"{_EXPECTED}; is {show(meant)} meant?" if meant else _EXPECTED
    return HopelessError(f'"{key}" is missing', where=at.where, help=advice)


def _form_of(record: Mapping[str, Any], at: Place) -> Form:
    chosen, rejected = record["chosen"], record["rejected"]
    if _is_rm_bench(record):
        return "rm-bench"
    form: Form
    for form in ("texts", "messages", "lists"):
        if _fits(chosen, form) and _fits(rejected, form):
            return form
    expected = "expected two strings, two lists of messages or two lists of strings"
    what = f'"chosen" is {_described(chosen)} and "rejected" is {_described(rejected)}, {expected}'
    raise HopelessError(what, where=at.where, help=_EXPECTED)


def _is_rm_bench(record: Mapping[str, Any]) -> bool:
    if not (_fits(record["chosen"], "rm-bench") and _fits(record["rejected"], "rm-bench")):
        return False
    return "domain" in record or not (_COUNTS & record.keys() or record.get("subset") in _SUBSETS)


def _fits(value: object, form: Form) -> bool:
    if isinstance(value, str):
        return form in ("texts", "lists")
    if not isinstance(value, list) or not value or form == "texts":
        return False
    kind = dict if form == "messages" else str
    return all(isinstance(each, kind) for each in value) and (form != "rm-bench" or len(value) == len(STYLES))


def _described(value: object) -> str:
    if not isinstance(value, list):
        shown = "" if value is None or isinstance(value, dict) else f" ({show(value)})"
        return type_name(value) + shown
    names = [
        name for name, kind in (("strings", str), ("messages", dict)) if all(isinstance(each, kind) for each in value)
    ]
    return f"a list of {len(value)} {names[0] if names else 'values'}"


def _check_shape(record: Mapping[str, Any], at: Place, shape: Shape) -> None:
    for key in ("chosen", "rejected", *(("prompt",) if shape.prompt else ())):
        if key not in record:
            raise at.error(f'"{key}" is missing', "all rows of a preference file have the same columns")
    if "prompt" in record and not shape.prompt:
        raise at.error('"prompt" stands here, but not in the first row', "give every row a prompt, or none")
    for key in ("chosen", "rejected"):
        if not _fits(record[key], shape.form):
            what = f'"{key}" is {_described(record[key])}, expected {_FORMS[shape.form]} as in the first row'
            raise at.error(what, "give all rows of the file one shape")


def _identity(value: object, at: Place) -> str:
    whole = isinstance(value, int) and not isinstance(value, bool)
    return str(value) if whole else string(value, at)


def _prompt(record: Mapping[str, Any], at: Place) -> dict[str, Any]:
    if isinstance(record["prompt"], list):
        return {"messages": record["prompt"]}
    return {"prompt": string(record["prompt"], at.key("prompt"))}


def _texts(record: Mapping[str, Any], at: Place) -> dict[str, Any]:
    chosen, rejected = record["chosen"], record["rejected"]
    if "prompt" in record:
        return _prompt(record, at) | _all_pairs([chosen], [rejected], record)
    cut = common_prompt(chosen, rejected)
    return {"prompt": chosen[:cut]} | _all_pairs([chosen[cut:]], [rejected[cut:]], record)


def _messages(record: Mapping[str, Any], at: Place) -> dict[str, Any]:
    chosen, rejected = turns(record["chosen"], at.key("chosen")), turns(record["rejected"], at.key("rejected"))
    n, lead = _lead(record, at, chosen, rejected=rejected)
    for key, answer in (("chosen", chosen), ("rejected", rejected)):
        if "prompt" in record and answer[n].role in ("user", "system"):
            what = f'"{key}" goes on with a {answer[n].role} message that is not the prompt\'s'
            raise at.error(what, "give the reply alone, or the conversation from the prompt on")
    return lead | _all_pairs([render(chosen[n:])], [render(rejected[n:])], record)


def _lead(
    record: Mapping[str, Any], at: Place, chosen: tuple[Turn, ...], *, rejected: tuple[Turn, ...]
) -> tuple[int, dict[str, Any]]:
    """Return how many messages of each answer are prompt, and the prompt's fields of the row.

    A ``prompt`` that is a string may be the question of a longer conversation that both answers repeat
    (a system message before it, say): then the conversation is what models see.
    """
    shared = common_messages(chosen, rejected)
    repeated = {"messages": [{"role": turn.role, "content": turn.content} for turn in chosen[:shared]]}
    if "prompt" not in record:
        return shared, (repeated if shared else {"prompt": ""})
    lead = _prompt(record, at)
    if "messages" in lead:
        return stated_messages(chosen, rejected, turns(lead["messages"], at.key("prompt"))), lead
    return (shared, lead | repeated) if shared and chosen[0].role != "assistant" else (0, lead)


def _lists(record: Mapping[str, Any], at: Place) -> dict[str, Any]:
    chosen, rejected = (
        [answers] if isinstance(answers, str) else answers for answers in (record["chosen"], record["rejected"])
    )
    if len(chosen) * len(rejected) > _MOST_PAIRS:
        what = f"{len(chosen)} chosen and {len(rejected)} rejected answers are more than {_MOST_PAIRS} pairs"
        raise at.error(what, "state the pairs that matter as preferences of a task row")
    return _prompt(record, at) | _all_pairs(chosen, rejected, record)


def _rm_bench(record: Mapping[str, Any], at: Place) -> dict[str, Any]:
    """Return the nine pairs: easy where the chosen style is the fancier one, hard where the plainer.

    The two safety domains count as one, as in the source's own script.
    """
    key = "domain" if "domain" in record else "subset"
    stated = string(record.get(key, "all"), at.key(key))
    domain = "safety" if stated.startswith("safety") else stated
    row = _all_pairs(record["chosen"], record["rejected"], {})
    for pair in row["preferences"]:
        i, j = pair["better"], pair["worse"] - len(STYLES)
        level = "normal" if i == j else "easy" if i > j else "hard"
        pair["subset"] = f"{domain}/{level}"
    for i, candidate in enumerate(row["candidates"]):
        candidate["system"] = f"{candidate['system'].partition('/')[0]}/{STYLES[i % len(STYLES)]}"
    return _prompt(record, at) | row | {"subset": domain}


def _all_pairs(chosen: Sequence[str], rejected: Sequence[str], record: Mapping[str, Any]) -> dict[str, Any]:
    """Return the candidates, and every chosen one better than every rejected one; equal texts tie."""
    subset = {"subset": record["subset"]} if "subset" in record else {}
    preferences: list[dict[str, Any]] = []
    ties: list[list[int]] = []
    for i, better in enumerate(chosen):
        for j, worse in enumerate(rejected, len(chosen)):
            if better == worse:
                ties.append([i, j])
            else:
                preferences.append({"better": i, "worse": j} | subset)
    candidates = _named("chosen", chosen) + _named("rejected", rejected)
    return {"candidates": candidates, "preferences": preferences, "ties": ties}


def _named(name: str, texts: Sequence[str]) -> list[dict[str, Any]]:
    if len(texts) == 1:
        return [{"system": name, "text": texts[0]}]
    return [{"system": f"{name}/{i}", "text": text} for i, text in enumerate(texts, 1)]


_MAKERS: dict[Form, Callable[[Mapping[str, Any], Place], dict[str, Any]]] = {
    "texts": _texts,
    "messages": _messages,
    "lists": _lists,
    "rm-bench": _rm_bench,
}
