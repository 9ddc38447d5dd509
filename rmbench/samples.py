"""One record of a task file -> ``Sample``: every field checked, nothing repaired."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rmbench.api import EMPTY, KINDS, Candidate, Preference, Sample, Turn
from rmbench.checks import LARGEST, Place, items, mapping, near, number, show, string, suggest
from rmbench.frozen import freeze

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from rmbench.api import Task

ROW = frozenset(
    ("id", "kind", "task", "prompt", "messages", "context", "references", "candidates", "preferences", "ties",
     "subset", "meta")
)  # fmt: skip
CANDIDATE = frozenset(("system", "text", "human", "raters", "rater_ids", "errors", "model_scores", "meta"))
_NUMBERS = (float, int)  # no booleans
_PLAIN = frozenset(("system", "text", "human"))
PREFERENCE = frozenset(("better", "worse", "subset"))
MESSAGE = frozenset(("role", "content"))
_SPEAKERS = {"user": "Human", "assistant": "Assistant"}
_PAIR = 2
_MOST_EXTRA = 1000


def sample_from(record: Mapping[str, Any], *, where: str, task: Task | None, warn: Callable[[str], None]) -> Sample:
    """Return the sample that a record of a task file describes.

    Args:
        record: one row, as DESIGN section 4 has it.
        where: ``path:line`` for messages.
        task: the card, whose kind and aspects the row must keep to; None where there is none.
        warn: called with one sentence for each field that is not known (it is kept in ``meta``).

    Raises:
        InputError: a field is missing, misspelt, or of the wrong type or range.
    """
    at = Place(where, "", warn)
    _check_kind(kind_in(record, at), task, at)
    prompt, messages = _prompt(record, at)
    candidates = _candidates(record, at, () if task is None else task.aspects)
    preferences = _preferences(record, at, len(candidates))
    return Sample(
        id=_identity(record, at),
        prompt=prompt,
        messages=messages,
        context=_optional(record, "context", at),
        references=_references(record, at),
        subset=_optional(record, "subset", at),
        candidates=candidates,
        preferences=preferences,
        ties=_ties(record, at, preferences, n=len(candidates)),
        meta=_fixed(rest(record, at, ROW)),
    )


def kind_in(record: Mapping[str, Any], at: Place) -> str | None:
    """Return the kind that a row states as ``kind`` or ``task``, or None; an ``InputError`` where it is none."""
    kinds = {key: string(record[key], at.key(key)) for key in ("kind", "task") if key in record}
    for key, kind in kinds.items():
        if kind not in KINDS:
            raise at.error(f'"{key}" is {show(kind)}, expected a kind', suggest(kind, KINDS))
    if len(set(kinds.values())) > 1:
        raise at.error(f'"kind" is {show(kinds["kind"])}, but "task" is {show(kinds["task"])}', "keep one of them")
    return next(iter(kinds.values()), None)


def rest(record: Mapping[str, Any], at: Place, known: frozenset[str]) -> dict[str, Any]:
    """Return the record's ``meta`` with the fields that are not known; a misspelt one is an ``InputError``."""
    meta = mapping(record["meta"], at.key("meta")) if "meta" in record else {}
    extra = unknown(record, at, known)
    for key in extra:
        at.warn(f"the field {_general(at.key(key))} is not known and is kept in meta")
    return merged(meta, {key: record[key] for key in extra}, at) if extra else meta


def merged(meta: dict[str, Any], extra: dict[str, Any], at: Place) -> dict[str, Any]:
    """Return ``meta`` with further fields; an ``InputError`` where both have one."""
    for key in (key for key in extra if key in meta):
        raise at.error(f"{show(at.key(key).name)} stands in {show(at.key('meta').name)} too", "keep one of the two")
    return meta | extra


def unknown(record: Mapping[str, Any], at: Place, known: frozenset[str]) -> list[str]:
    """Return the fields of a record that are not known, in its order; a misspelt one is an ``InputError``."""
    extra = [key for key in record if key not in known]
    if len(extra) > _MOST_EXTRA:
        raise at.error(f"{len(extra)} fields that are not known", 'fields of your own go into "meta"')
    for key in extra:
        if meant := near(key, known):
            advice = f'did you mean "{meant}"? (a field of your own goes into "meta")'
            raise at.error(f"the field {show(at.key(key).name)} is not known", advice)
    return extra


def turns(value: object, at: Place) -> tuple[Turn, ...]:
    """Return a list of messages as turns; an ``InputError`` where it is none or empty."""
    found = tuple(_turn(each, at.item(i)) for i, each in enumerate(items(value, at)))
    if not found:
        raise at.error(f"{show(at.name)} is an empty list, expected messages", "give at least one message")
    return found


def render(messages: Iterable[Turn]) -> str:
    """Return messages as text: one as its content, several as ``Human: ...`` and ``Assistant: ...`` paragraphs."""
    listed = tuple(messages)
    if len(listed) == 1:
        return listed[0].content
    return "\n\n".join(f"{_SPEAKERS.get(turn.role, turn.role.capitalize())}: {turn.content}" for turn in listed)


def _general(at: Place) -> str:
    """Return the place's name without indices, so that a warning is the same for every element."""
    name, bracket, tail = at.name.partition("[")
    return show(name + "[]" + tail.partition("]")[2] if bracket else name)


def _need(record: Mapping[str, Any], key: str, at: Place, advice: str) -> Any:
    if key not in record:
        raise at.error(f"{show(at.key(key).name)} is missing", advice)
    return record[key]


def _optional(record: Mapping[str, Any], key: str, at: Place) -> str | None:
    return string(record[key], at.key(key)) if key in record else None


def _list(record: Mapping[str, Any], key: str, at: Place) -> tuple[tuple[Place, Any], ...]:
    """Return the elements of a list with their places; nothing where the field is absent."""
    if key not in record:
        return ()
    place = at.key(key)
    advice = f'write "{key}": ["..."]' if isinstance(record[key], str) else ""
    return tuple((place.item(i), each) for i, each in enumerate(items(record[key], place, advice)))


def _identity(record: Mapping[str, Any], at: Place) -> str:
    identity = string(_need(record, "id", at, "give every row an id, a string"), at.key("id"))
    if not identity:
        raise at.error('"id" is empty', "give every row an id of its own")
    return identity


def _references(record: Mapping[str, Any], at: Place) -> tuple[str, ...]:
    return tuple(string(each, place) for place, each in _list(record, "references", at))


def _check_kind(kind: str | None, task: Task | None, at: Place) -> None:
    if task is not None and None not in (kind, task.kind) and kind != task.kind:
        at.warn(f"rows say that their kind is {kind}, the task is {task.kind}: the task's counts")


def _prompt(record: Mapping[str, Any], at: Place) -> tuple[str, tuple[Turn, ...]]:
    prompt = _optional(record, "prompt", at)
    if "messages" in record:
        messages = turns(record["messages"], at.key("messages"))
        return (render(messages) if prompt is None else prompt), messages
    if prompt is None:
        unknown(record, at, ROW)
        raise at.error('neither "prompt" nor "messages" is there', "give one of them")
    return prompt, (Turn("user", prompt),)


def _turn(value: object, at: Place) -> Turn:
    message = _part(value, at, MESSAGE)
    role, content = (_need(message, key, at, "a message has a role and a content") for key in ("role", "content"))
    if role == "":
        raise at.error(f"{show(at.key('role').name)} is empty", "write user, assistant or system")
    return Turn(string(role, at.key("role")), string(content, at.key("content")))


def _part(value: object, at: Place, known: frozenset[str]) -> dict[str, Any]:
    """Return an object that has no ``meta``: fields that are not known are left out with a warning."""
    record = mapping(value, at)
    for key in unknown(record, at, known):
        at.warn(f"the field {_general(at.key(key))} is not known and is left out")
    return record


def _candidates(record: Mapping[str, Any], at: Place, aspects: tuple[str, ...]) -> tuple[Candidate, ...]:
    given = record.get("candidates")
    if type(given) is list:
        plain = [_plain(each, f"candidate-{i}", aspects) for i, each in enumerate(given)]
        if None not in plain:
            return tuple(filter(None, plain))
    return tuple(
        _candidate(mapping(each, place), place, f"candidate-{i}", aspects=aspects)
        for i, (place, each) in enumerate(_list(record, "candidates", at))
    )


def _plain(record: object, system: str, aspects: tuple[str, ...]) -> Candidate | None:
    """Return a candidate of system, text and human scores with nothing to say of it; None where `_candidate` must look.

    Most rows of large files are such, and no place of theirs need be worked out.
    """
    if type(record) is not dict or not record.keys() <= _PLAIN:
        return None
    text, name = record.get("text"), record.get("system", system)
    human = record.get("human", EMPTY)
    if type(text) is not str or type(name) is not str or (human is not EMPTY and type(human) is not dict):
        return None
    for aspect, score in human.items():
        if type(score) not in _NUMBERS or not abs(score) <= LARGEST or (aspects and aspect not in aspects):
            return None
    fixed = MappingProxyType({aspect: float(score) for aspect, score in human.items()}) if human else EMPTY
    return Candidate(name, text, fixed)


def _candidate(record: dict[str, Any], at: Place, system: str, *, aspects: tuple[str, ...]) -> Candidate:
    meta = _candidate_meta(record, at)
    text = _need(record, "text", at, "every candidate has a text")
    human = _by_name(record, "human", at)
    raters = _by_name(record, "raters", at)
    _check_aspects(human, at.key("human"), aspects)
    _check_aspects(raters, at.key("raters"), aspects)
    return Candidate(
        system=string(record.get("system", system), at.key("system")),
        text=string(text, at.key("text")),
        human=_fixed({name: number(score, place) for name, (place, score) in human.items()}),
        raters=_fixed({name: _numbers(given, place) for name, (place, given) in raters.items()}),
        model_scores=_fixed(_model_scores(record, at)),
        meta=_fixed(meta),
    )


def _fixed(value: dict[str, Any]) -> Mapping[str, Any]:
    """Return a mapping that no reward can change for the others."""
    return freeze(value) if value else EMPTY


def _by_name(record: dict[str, Any], key: str, at: Place) -> dict[str, tuple[Place, Any]]:
    if key not in record:
        return {}
    inside = at.key(key)
    return {name: (inside.key(name), each) for name, each in mapping(record[key], inside).items()}


def _model_scores(record: dict[str, Any], at: Place) -> dict[str, float]:
    return {name: number(score, place) for name, (place, score) in _by_name(record, "model_scores", at).items()}


def _numbers(value: object, at: Place) -> tuple[float, ...]:
    return tuple(number(each, at.item(i)) for i, each in enumerate(items(value, at)))


def _check_aspects(given: Iterable[str], at: Place, aspects: tuple[str, ...]) -> None:
    for aspect in given if aspects else ():
        if aspect not in aspects:
            advice = suggest(aspect, aspects)
            raise at.error(f"{show(at.name)} has the aspect {show(aspect)}, which the card does not name", advice)


def _candidate_meta(record: dict[str, Any], at: Place) -> dict[str, Any]:
    """Return ``meta`` with the annotations that only people read: ``rater_ids`` and ``errors``."""
    meta = rest(record, at, CANDIDATE)
    notes: dict[str, Any] = {key: record[key] for key in ("rater_ids", "errors") if key in record}
    if "errors" in notes:
        items(notes["errors"], at.key("errors"))
    if "rater_ids" in notes and not isinstance(notes["rater_ids"], (dict, list)):
        raise at.key("rater_ids").wrong(notes["rater_ids"], "an object or a list")
    return merged(meta, notes, at) if notes else meta


def _preferences(record: Mapping[str, Any], at: Place, n: int) -> tuple[Preference, ...]:
    found = tuple(_preference(each, place, n) for place, each in _list(record, "preferences", at))
    stated = {(each.better, each.worse) for each in found}
    for each in found:
        if (each.worse, each.better) in stated:
            raise at.error(
                f"candidates {each.better} and {each.worse} are each better than the other",
                "keep one of the two preferences, or make them a tie",
            )
    return found


def _preference(value: object, at: Place, n: int) -> Preference:
    record = _part(value, at, PREFERENCE)
    better, worse = (
        _index(_need(record, key, at, 'a preference has "better" and "worse"'), at.key(key), n)
        for key in ("better", "worse")
    )
    if better == worse:
        raise at.error(f"{show(at.name)} prefers candidate {better} to itself", "name two candidates")
    return Preference(better, worse, _optional(record, "subset", at))


def _ties(
    record: Mapping[str, Any], at: Place, preferences: tuple[Preference, ...], *, n: int
) -> tuple[tuple[int, int], ...]:
    decided = {frozenset((each.better, each.worse)) for each in preferences}
    ties = tuple(_tie(each, place, n) for place, each in _list(record, "ties", at))
    for a, b in ties:
        if frozenset((a, b)) in decided:
            raise at.error(f"candidates {a} and {b} are both a tie and a preference", "keep one of the two")
    return ties


def _tie(value: object, at: Place, n: int) -> tuple[int, int]:
    pair = items(value, at)
    if len(pair) != _PAIR:
        raise at.error(
            f"{show(at.name)} has {len(pair)} entries, expected the indices of two candidates", "write [i, j]"
        )
    a, b = (_index(each, at.item(i), n) for i, each in enumerate(pair))
    if a == b:
        raise at.error(f"{show(at.name)} ties candidate {a} with itself", "name two candidates")
    return a, b


def _index(value: object, at: Place, n: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise at.wrong(value, "the index of a candidate")
    if not 0 <= value < n:
        advice = f"write 0 to {n - 1}" if n else "give the row candidates"
        raise at.error(f"{show(at.name)} is {value}, but there are {n} candidates", advice)
    return value
