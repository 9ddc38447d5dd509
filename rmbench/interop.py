"""Rewards from and for TRL: functions ``(prompts, completions, **columns) -> list of numbers or None``.

TRL's trainers pass keyword arguments: strings, or in the conversational format lists of messages, and every other
column of the data set. Their None means "not applicable".
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from types import FunctionType, MethodType
from typing import TYPE_CHECKING, Any

from rmbench import guard, plugins, rewards, scoring, suite
from rmbench.api import Batch, Reward, Runtime, Turn
from rmbench.errors import InputError, PluginError, did_you_mean
from rmbench.frozen import thaw
from rmbench.overrides import reward_entry
from rmbench.samples import render

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from rmbench.api import Scorer, Unscored
    from rmbench.rewards import Chosen

    Function = Callable[..., Any]


def from_trl(
    fn: Function, *, name: str | None = None, version: int = 1, messages: bool = False, unscored: Unscored = "exclude"
) -> Reward:
    """Make a reward of a TRL-style reward function.

    It is called with prompts and completions, and with ``references``, ``contexts`` and the rows' ``meta`` as columns:
    all of them where it takes ``**columns``, else those that its signature names. Rows with other meta keys are other
    calls, so that what a row's call sees never depends on its neighbours.

    Args:
        fn: a function with the names ``prompts`` and ``completions``, or one of them and ``**columns``.
        name: of the reward; the function's own where it is not given.
        version: raised whenever a score could change.
        messages: pass conversations (lists of ``{"role", "content"}``) instead of strings.
        unscored: how rows without a score count; TRL's None is "not applicable", so they are left out.

    Raises:
        TypeError: an async function.
        ValueError: a name that a reward cannot have.
    """
    if inspect.iscoroutinefunction(fn) or inspect.iscoroutinefunction(type(fn).__call__):
        raise TypeError(f"{fn!r} is async: rmbench calls rewards one by one; wrap it: lambda **k: asyncio.run(fn(**k))")
    own = name or _own_name(fn)
    parameters = inspect.signature(fn).parameters.values()
    required = {item.name for item in parameters if item.default is item.empty and item.kind is not item.VAR_KEYWORD}

    def build() -> Scorer:
        return lambda batch: _call(fn, own, batch, messages=messages)

    build.__doc__ = inspect.getdoc(fn) or f"The TRL-style reward function {own}."
    needs = frozenset({"references", "contexts"} & required)
    return Reward(name=own, version=version, build=build, needs=needs, unscored=unscored)


def _own_name(fn: Function) -> str:
    if not isinstance(fn, FunctionType | MethodType) or fn.__name__ == "<lambda>":
        raise ValueError(f"{fn!r} has no name of its own: give name=")
    return fn.__name__.lower().strip("_")


def _call(fn: Function, name: str, batch: Batch, *, messages: bool) -> list[float | None]:
    """Score a batch: one call per set of meta keys."""
    groups: dict[frozenset[str], list[int]] = {}
    for row in range(len(batch)):
        groups.setdefault(frozenset(batch.meta[row] if batch.meta else ()), []).append(row)
    scores: list[float | None] = [None] * len(batch)
    for keys, rows in groups.items():
        columns = _columns(batch.take(rows), sorted(keys), messages=messages)
        given = fn(**_taken(fn, name, columns))
        if inspect.iscoroutine(given):
            given.close()
            raise TypeError(f"{name} returned a coroutine: async reward functions are not supported")
        for row, score in zip(rows, _numbers(given, len(rows), name), strict=True):
            scores[row] = score
    return scores


def _columns(batch: Batch, keys: Iterable[str], *, messages: bool) -> dict[str, list[Any]]:
    """Return the columns of a batch as TRL passes them."""
    meta = {key: [thaw(row[key]) for row in batch.meta] for key in keys}
    talks = [[{"role": turn.role, "content": turn.content} for turn in turns] for turns in batch.messages]
    answers = [[{"role": "assistant", "content": response}] for response in batch.responses]
    return meta | {
        "prompts": talks if messages else list(batch.prompts),
        "completions": answers if messages else list(batch.responses),
        "references": [list(texts) for texts in batch.references],
        "contexts": list(batch.contexts),
    }


def _taken(fn: Function, name: str, columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Return the columns that the function takes.

    Raises:
        TypeError: it requires a column that the rows do not have.
    """
    parameters = inspect.signature(fn).parameters
    if any(item.kind is item.VAR_KEYWORD for item in parameters.values()):
        taken = columns
    else:
        taken = {key: column for key, column in columns.items() if key in parameters}
    for item in parameters.values():
        variable = item.kind in (item.VAR_KEYWORD, item.VAR_POSITIONAL)
        if item.default is item.empty and not variable and item.name not in taken:
            raise TypeError(f"{name} needs the column {item.name!r}: these rows have {', '.join(sorted(columns))}")
    return taken


def _numbers(given: Iterable[Any], count: int, name: str) -> list[float | None]:
    """Return what a reward gave as Python floats, with None kept.

    Raises:
        TypeError: a text among them.
        ValueError: another number of them than rows.
    """
    values = list(given)
    if len(values) != count:
        raise ValueError(f"{name} returned {len(values)} scores for {count} rows")
    if wrong := [value for value in values if isinstance(value, str | bytes)]:
        raise TypeError(f"{name} returned the text {wrong[0]!r}, expected numbers or None")
    return [None if value is None else float(value) for value in values]


def to_trl(
    reward: Any,
    options: Mapping[str, Any] | None = None,
    *,
    parts: Mapping[str, Any] | None = None,
    references: str = "references",
    contexts: str = "contexts",
    languages: tuple[str, ...] = (),
) -> Callable[..., list[float | None]]:
    """Make a function that TRL's GRPO and RLOO trainers accept: ``(prompts, completions, **columns)``.

    The scorer is built once, in this process, and so are those of the rewards that a composite uses; they score first.
    A row's id is its position in the call, its sample the rows with the same prompt; the response of a conversational
    completion is its last assistant message. Columns of the data set that are not named here become the rows' ``meta``.
    A row without a score, or with one that is not finite, gives None, which TRL leaves out.

    Args:
        reward: a name, ``file.py:name``, ``{"use", "name", "options"}``, a ``Reward`` or a function
            ``(batch) -> scores``; TRL logs it under its name.
        options: of the reward.
        parts: rewards that it uses, by the name it uses, each given like ``reward``; those that are not here come from
            the plugins, with default options.
        references: column of the data set with a text or a list of texts per row.
        contexts: column with the source of a text, where that is not the prompt.
        languages: of the responses, the last counts.

    Raises:
        PluginError: a reward cannot be built.
        InputError: a wrong name or option, rewards that use each other in a circle, or a part that nothing uses.
        ValueError: an oracle (it reads the labels) or scores that only data carry, here or in a part; in a call, a
            column that is missing or of another length.
        scoring.Contract: in a call, a reward did not give one number or None per row.
    """
    graph = _graph(reward, options or {}, parts or {})
    name = graph[-1].name
    needs = frozenset().union(*(_trainable(one, name) for one in graph))
    scorers = [(one, _built(one)) for one in graph]
    wanted = {column: name for column, name in (("references", references), ("contexts", contexts)) if column in needs}

    def function(prompts: Sequence[Any], completions: Sequence[Any], **columns: Any) -> list[float | None]:
        for column, given in wanted.items():
            if given not in columns:
                raise ValueError(f"{name} needs {column}: no column {given!r} in the data set (name it: {column}=)")
        return _scored(scorers, _batch(prompts, completions, columns, (references, contexts, languages)))

    function.__name__ = function.__qualname__ = name
    function.__doc__ = graph[-1].reward.build.__doc__
    return function


def _graph(reward: Any, options: Mapping[str, Any], parts: Mapping[str, Any]) -> list[Chosen]:
    """Return the reward after all that it uses, in an order in which each finds what it uses."""
    where = "to_trl"
    entry = reward_entry(dict(reward) if isinstance(reward, Mapping) else reward, where)
    use = entry["use"]
    alone = not parts and not isinstance(use, str) and not (isinstance(use, Reward) and use.uses)
    catalog = plugins.Catalog() if alone else plugins.load()
    entry["options"] = {**entry.get("options", {}), **options}
    top = rewards.choose(catalog, entry, base=Path.cwd(), where=where)
    given = {
        name: rewards.choose(catalog, {**reward_entry(part, where), "name": name}, base=Path.cwd(), where=where)
        for name, part in parts.items()
    }
    every = suite.with_uses({**given, top.name: top}, catalog, Path.cwd(), where)
    used = {name for one in every.values() for name in one.uses}
    if spare := sorted(set(given) - used):
        raise InputError(f"parts has {spare[0]!r}, which nothing uses", where=where, help=did_you_mean(spare[0], used))
    return [one for wave in suite.waves(every, where) for one in wave]


def _trainable(one: Chosen, top: str) -> frozenset[str]:
    """Return the columns that a reward needs; refuse one that needs what a trainer does not have."""
    who = one.name if one.name == top else f"{one.name} (a part of {top})"
    if one.oracle:
        raise ValueError(f"{who} is an oracle: it reads the human labels, so nothing may be trained on it")
    if "scores" in one.needs:
        raise ValueError(f"{who} reads scores that data carry: a text that was just sampled has none")
    return one.needs


def _built(one: Chosen) -> Callable[[Batch], Any]:
    try:
        return scoring.build(one.reward, one.options, Runtime())
    except (guard.Foreign, scoring.Contract) as error:
        help_line = f"see `rmbench show {one.reward.name}`"
        raise PluginError(f"it cannot be built: {error}", where=f"reward {one.name}", help=help_line) from error


def _scored(scorers: Sequence[tuple[Chosen, Callable[[Batch], Any]]], rows: Batch) -> list[float | None]:
    """Return the scores of the last reward; each finds those that it uses in ``batch.scores``."""
    known: dict[str, list[float | None]] = {}
    values: list[float | None] = []
    for one, scorer in scorers:
        used = {name: tuple(known[name]) for name in one.uses}
        values = scoring.check(scorer(replace(rows, scores=used)), len(rows)).values
        known[one.name] = values
    return values


def _batch(
    prompts: Sequence[Any],
    completions: Sequence[Any],
    columns: Mapping[str, Any],
    named: tuple[str, str, tuple[str, ...]],
) -> Batch:
    """Return the rows of one call; ``named`` are the columns of references and contexts, and the languages."""
    count = len(prompts)
    references, contexts, languages = named
    if len(completions) != count:
        raise ValueError(f"{len(completions)} completions for {count} prompts")
    listed = {name: column for name, column in columns.items() if isinstance(column, list | tuple)}
    if wrong := [name for name, column in listed.items() if len(column) != count]:
        raise ValueError(f"column {wrong[0]!r} has {len(listed[wrong[0]])} rows for {count} prompts")
    talks = tuple(_turns(prompt) for prompt in prompts)
    texts = tuple(render(turns) for turns in talks)
    blank = [None] * count
    further = [name for name in listed if name not in (references, contexts)]
    return Batch(
        ids=tuple(str(row) for row in range(count)),
        groups=tuple(str(talks.index(turns)) for turns in talks),
        messages=talks,
        prompts=texts,
        contexts=tuple(listed.get(contexts, blank)),
        responses=tuple(_answer(completion) for completion in completions),
        references=tuple(_texts(row) for row in listed.get(references, blank)),
        languages=(languages,) * count,
        meta=tuple({name: listed[name][row] for name in further} for row in range(count)),
    )


def _turns(prompt: Any) -> tuple[Turn, ...]:
    if isinstance(prompt, str):
        return (Turn("user", prompt),)
    return tuple(Turn(message["role"], _content(message)) for message in prompt)


def _answer(completion: Any) -> str:
    """Return the text of a completion: of a conversation, its last assistant message."""
    if isinstance(completion, str):
        return completion
    said = [_content(message) for message in completion if message.get("role", "assistant") == "assistant"]
    if not said:
        raise ValueError("a completion has no assistant message")
    return said[-1]


def _content(message: Mapping[str, Any]) -> str:
    content = message.get("content")
    if content is None:  # a message that only calls tools
        return ""
    if not isinstance(content, str):
        raise TypeError(f"a message's content is a {type(content).__name__}, expected text (images are not supported)")
    return content


def _texts(references: Any) -> tuple[str, ...]:
    if references is None:
        return ()
    return (references,) if isinstance(references, str) else tuple(references)
