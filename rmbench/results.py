"""results.json and measurements.json: rows of numbers as canonical bytes, and back, and as a table."""

from __future__ import annotations

import json
from dataclasses import asdict
from math import isfinite
from typing import TYPE_CHECKING, Any, NoReturn

from rmbench.api import FIELDS, Result
from rmbench.errors import RunFolderError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    import pandas as pd

SCHEMA = 1
KEYS = ("schema", "run", "results")
COUNTS = ("seed", "step", "resamples", "n", "rows", "pairs", "skipped", "unscored")
NUMBERS = ("value", "p", "p_holm")
INTERVAL = "ci"
TEXTS = tuple(name for name in FIELDS if name not in (*COUNTS, *NUMBERS, INTERVAL))
NEEDED = ("study", "metric")
BOUNDS = 2
HELP = "remove results.json and run `rmbench run --resume --out RUN`: it is computed again from the rows"


def to_json(run: Mapping[str, Any], results: Sequence[Result]) -> bytes:
    """Return the canonical JSON of a run's numbers: ASCII, one result a line, equal bytes for equal numbers.

    Every object has every key of ``FIELDS`` in that order, null where it means nothing; floats are written by
    ``repr`` after rounding to 12 significant digits (minus zero as zero), the keys of ``run`` are sorted.

    Raises:
        ValueError: a number is not finite, or a field holds another type than ``Result`` says.
    """
    lines = [_line(index, result) for index, result in enumerate(results)]
    about = json.dumps(run, allow_nan=False, sort_keys=True)
    body = ",\n".join(lines)
    return f'{{"schema": {SCHEMA}, "run": {about}, "results": [\n{body}\n]}}\n'.encode("ascii")


def from_json(data: bytes) -> tuple[dict[str, Any], list[Result]]:
    """Return ``run`` and the results of the bytes of `to_json`, checked strictly.

    Raises:
        RunFolderError: no JSON, a newer schema, a key that is missing, unknown or twice, another type than
            promised, or a number that is not finite.
    """
    whole = _parse(data)
    if not isinstance(whole, dict):
        raise _damaged("expected an object")
    _check_schema(whole.get("schema"))
    _check_keys(whole, KEYS, "results.json")
    run, rows = whole["run"], whole["results"]
    if not isinstance(run, dict) or not isinstance(rows, list):
        raise _damaged('"run" is no object, or "results" no list')
    return run, [_result(row, f"results.json, result {index}") for index, row in enumerate(rows)]


def frame(results: Iterable[Result]) -> pd.DataFrame:
    """Return the results as a DataFrame with the columns of results.json.

    A missing value is ``pd.NA`` and turns no integer into a float: texts are ``string``, counts ``Int64``, numbers
    ``Float64``; ``ci`` holds (low, high) tuples or None.
    """
    import pandas as pd  # slow to import

    rows = [asdict(result) for result in results]
    kinds = {**dict.fromkeys(TEXTS, "string"), **dict.fromkeys(COUNTS, "Int64"), **dict.fromkeys(NUMBERS, "Float64")}
    return pd.DataFrame(
        {name: pd.Series([row[name] for row in rows], dtype=kinds.get(name, "object")) for name in FIELDS},
        columns=list(FIELDS),
    )


def _line(index: int, result: Result) -> str:
    row = asdict(result)
    place = f"result {index} ({result.study} {result.metric}, task {result.task}, reward {result.reward})"
    for name in NUMBERS:
        row[name] = None if row[name] is None else _finite(row[name], f"{place}: {name}")
    for name in COUNTS:
        row[name] = None if row[name] is None else _whole(row[name], f"{place}: {name}")
    for name in TEXTS:
        if not (isinstance(row[name], str) or (row[name] is None and name not in NEEDED)):
            raise ValueError(f"{place}: {name} is {row[name]!r}, expected a text")
    if result.ci is not None:
        if len(result.ci) != BOUNDS:
            raise ValueError(f"{place}: ci is {result.ci!r}, expected a pair")
        row[INTERVAL] = [_finite(bound, f"{place}: ci") for bound in result.ci]
    return json.dumps({name: row[name] for name in FIELDS}, allow_nan=False)


def _finite(value: object, place: str) -> float:
    if not _is_number(value):
        raise ValueError(f"{place} is {value!r}, expected a finite number or None")
    return float(f"{value:.11e}") + 0.0  # minus zero becomes zero


def _whole(value: object, place: str) -> int:
    if not _is_count(value):
        raise ValueError(f"{place} is {value!r}, expected an integer or None")
    return int(value)  # type: ignore[call-overload, no-any-return] # _is_count has checked it


def _is_count(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_number(value: object) -> bool:
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return isfinite(value)
    except OverflowError:  # an integer that no float can hold
        return False


def _is_interval(value: object) -> bool:
    return isinstance(value, list) and len(value) == BOUNDS and all(map(_is_number, value))


def _damaged(what: str, where: str = "results.json") -> RunFolderError:
    return RunFolderError(f"is damaged: {what}", where=where, help=HELP)


def _parse(data: bytes) -> object:
    try:
        return json.loads(data.decode("utf-8"), object_pairs_hook=_object, parse_constant=_no_constant)
    except (ValueError, RecursionError) as error:
        raise _damaged(str(error)) from error


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"the key {next(name for name in names if names.count(name) > 1)!r} stands twice")
    return found


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


def _check_schema(schema: object) -> None:
    if not _is_count(schema):
        raise _damaged(f'"schema" is {schema!r}, expected an integer')
    if schema != SCHEMA:
        raise RunFolderError(
            f"has schema {schema}, this release reads schema {SCHEMA}",
            where="results.json",
            help="read it with the release of rmbench that wrote it (manifest.json names it), or a newer one",
        )


def _check_keys(found: Mapping[str, Any], expected: Iterable[str], where: str) -> None:
    odd = sorted(set(found) ^ set(expected))
    if odd:
        raise _damaged("keys missing or unknown: " + ", ".join(map(repr, odd)), where)


def _result(row: object, where: str) -> Result:
    if not isinstance(row, dict):
        raise _damaged("expected an object", where)
    _check_keys(row, FIELDS, where)
    for name in FIELDS:
        if not _fits(name, row[name]):
            raise _damaged(f"{name!r} is {row[name]!r:.200}", where)
    numbers = {name: None if row[name] is None else float(row[name]) for name in NUMBERS}
    ci = None if row[INTERVAL] is None else (float(row[INTERVAL][0]), float(row[INTERVAL][1]))
    return Result(**{**row, **numbers, INTERVAL: ci})


def _fits(name: str, value: object) -> bool:
    """Whether a field of a row holds what its place promises."""
    if value is None:
        return name not in NEEDED
    if name in COUNTS:
        return _is_count(value)
    if name in NUMBERS:
        return _is_number(value)
    return _is_interval(value) if name == INTERVAL else isinstance(value, str)
