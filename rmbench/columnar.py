"""Arrow columns (Parquet, folders that ``datasets`` saved) -> rows as JSON lines give them: streamed and bounded."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rmbench.checks import HopelessError, show
from rmbench.datafile import most_bytes, size_of, too_much
from rmbench.errors import InputError
from rmbench.jsonl import DEPTH_CAP, LINE_CAP

if TYPE_CHECKING:
    from collections.abc import Iterator
    from io import BufferedReader

    from rmbench.checks import Problems

BATCH_ROWS = 1024
BATCH_BYTES = 16 * 2**20  # as encoded; texts of a dictionary may be longer when they are written out
CHUNK = 2**20  # bytes that are read of a column at a time
_FAULTS = (pa.ArrowException, OSError, ValueError, KeyError, OverflowError)
_ADVICE = {
    "binary": "cast the column to string, as UTF-8",
    "decimal": "cast the column to double, or to string",
    "time": "cast the column to string",
}


def parquet_rows(stream: BufferedReader, path: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the number (from 1) and the fields of every row of a Parquet file; errors go to ``problems``.

    A null is an absent field. Memory is bounded by a batch of at most 1,024 rows and by one page of each column,
    whatever the row groups are.
    """
    yield from _rows(_whole(_parquet_batches(stream, path), path, "Parquet"), path, most_bytes(stream), problems)


def arrow_rows(stream: BufferedReader, path: str, problems: Problems) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield as ``parquet_rows``, from a file in one of Arrow's own formats, as ``datasets`` saves them."""
    yield from _rows(_whole(_arrow_batches(stream), path, "Arrow"), path, most_bytes(stream), problems)


def _whole(batches: Iterator[pa.RecordBatch], path: str, what: str) -> Iterator[tuple[pa.RecordBatch, int]]:
    """Yield batches that hold together, with their bytes; what is damaged is one error, whatever Arrow makes of it."""
    checked = False
    while True:
        try:
            batch = next(batches)
            if not checked:
                _check_schema(batch.schema, path)
                checked = True
            _validate(batch, path)
            size = sum(map(_size, batch.columns))
        except StopIteration:
            return
        except (*_FAULTS, MemoryError) as error:
            raise _damaged(error, path, what) from None
        yield batch, size


def _validate(batch: pa.RecordBatch, path: str) -> None:
    """Raise where offsets or indices lead out of the batch, or a text is no UTF-8: Arrow itself would take both."""
    for name, column in zip(batch.schema.names, batch.columns, strict=True):
        try:
            column.validate(full=True)
        except pa.ArrowInvalid as error:
            if "UTF8" not in str(error):
                raise
            what = f"the column {show(name)} holds bytes that are not UTF-8"
            raise HopelessError(what, where=path, help="write its texts as UTF-8") from None


def _damaged(error: BaseException, path: str, what: str) -> HopelessError:
    words = str(error).strip().partition("\n")[0].removesuffix(".")[:200]
    if "encrypt" in words.lower() or "decrypt" in words.lower():
        return HopelessError("the file is encrypted", where=path, help="write it again without encryption")
    return HopelessError(f"not a whole {what} file ({words})", where=path, help="get it again, or write it again")


def _parquet_batches(stream: BufferedReader, path: str) -> Iterator[pa.RecordBatch]:
    """Yield the batches of a Parquet file; texts stay in dictionaries until their length is known."""
    meta = pq.read_metadata(stream)
    texts = [c.path for c in map(meta.schema.column, range(meta.num_columns)) if c.physical_type == "BYTE_ARRAY"]
    stream.seek(0)
    file = pq.ParquetFile(stream, pre_buffer=False, buffer_size=CHUNK, read_dictionary=texts)
    _check_schema(file.schema_arrow, path)
    groups = [meta.row_group(i) for i in range(meta.num_row_groups)]
    if sum(group.total_byte_size for group in groups) > most_bytes(stream):
        raise too_much(path)
    if meta.num_rows > size_of(stream):  # rows of less than a byte: what they unpack to is counted before they are read
        _count(file, stream, path)
    widest = max((group.total_byte_size / max(1, group.num_rows) for group in groups), default=0)
    size = max(1, min(BATCH_ROWS, int(BATCH_BYTES / max(1.0, widest))))
    yield from _batches(file, size)


def _batches(file: pq.ParquetFile, size: int) -> Iterator[pa.RecordBatch]:
    for index in range(
        file.num_row_groups
    ):  # a batch of two row groups has two dictionaries, which pyarrow cannot nest
        yield from file.iter_batches(batch_size=size, row_groups=[index])


def _count(file: pq.ParquetFile, stream: BufferedReader, path: str) -> None:
    """Raise where the rows of a file unpack to more than they may."""
    read = 0
    for batch in _batches(file, BATCH_ROWS):
        _validate(batch, path)
        read += sum(map(_size, batch.columns))
        if read > most_bytes(stream):
            raise too_much(path)


def _arrow_batches(stream: BufferedReader) -> Iterator[pa.RecordBatch]:
    """Yield the batches of an Arrow file or stream (``datasets`` writes streams)."""
    start = stream.read(6)
    stream.seek(0)
    if start == b"ARROW1":
        file = pa.ipc.open_file(stream)
        batches = (file.get_batch(i) for i in range(file.num_record_batches))
    else:
        batches = iter(pa.ipc.open_stream(stream))
    for batch in batches:
        batch.validate()
        yield from (batch.slice(at, BATCH_ROWS) for at in range(0, batch.num_rows, BATCH_ROWS))


def _rows(
    batches: Iterator[tuple[pa.RecordBatch, int]], path: str, most: int, problems: Problems
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of batches, up to ``most`` bytes of them; a damaged batch ends the reading."""
    number = read = 0
    try:
        for batch, size in batches:
            read += size
            if read > most:
                raise too_much(path)
            step = max(1, batch.num_rows) if size <= LINE_CAP else 1
            for at in range(0, batch.num_rows, step):
                piece = batch.slice(at, step)
                if size > LINE_CAP:
                    _check_length(piece, f"{path}:{number + 1}")
                yield from _converted(piece, path, number, problems)
                number += piece.num_rows
    except HopelessError as error:
        problems.add(error)


def _check_length(row: pa.RecordBatch, where: str) -> None:
    if sum(map(_size, row.columns)) > LINE_CAP:
        raise HopelessError(f"the row is longer than {LINE_CAP >> 20} MiB", where=where, help="cut its texts")


def _converted(
    batch: pa.RecordBatch, path: str, before: int, problems: Problems
) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the rows of a batch; where it cannot be converted, each of its rows that can."""
    plain = pa.schema([pa.field(field.name, _plain(field.type)) for field in batch.schema])
    try:
        found = batch.cast(plain).to_pylist(maps_as_pydicts="strict")
    except _FAULTS as error:
        if batch.num_rows > 1:
            for at in range(batch.num_rows):
                yield from _converted(batch.slice(at, 1), path, before + at, problems)
        else:
            problems.add(_bad_row(error, f"{path}:{before + 1}"))
        return
    for number, row in enumerate(found, before + 1):
        try:
            yield number, _fields(row, "", f"{path}:{number}")
        except InputError as error:
            problems.add(error)


def _bad_row(error: BaseException, where: str) -> InputError:
    if isinstance(error, KeyError):
        return InputError(f"a map has the key {error} twice", where=where, help="keep one of the two")
    return InputError(f"cannot be read: {str(error)[:200]}", where=where, help="write the file again")


def _fields(value: dict[str, Any], name: str, where: str) -> dict[str, Any]:
    """Return an object without its nulls, which Arrow has for every absent field."""
    return {
        key: _value(each, f"{name}.{key}" if name else key, where) for key, each in value.items() if each is not None
    }


def _value(value: Any, name: str, where: str) -> Any:
    if isinstance(value, dict):
        return _fields(value, name, where)
    if isinstance(value, list):
        return [_value(each, f"{name}[{i}]", where) for i, each in enumerate(value)]
    if isinstance(value, float) and not math.isfinite(value):
        raise InputError(
            f"{show(name)} is {value}, expected a finite number", where=where, help="leave out what has no value: null"
        )
    return value


def _check_schema(schema: pa.Schema, path: str) -> None:
    """Refuse columns that are no JSON, by name."""
    names = schema.names
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise HopelessError(f"two columns have the name {show(twice[0])}", where=path, help="rename one of them")
    for field in schema:
        _check_type(field.type, field.name, path, 0)


def _check_type(kind: pa.DataType, name: str, path: str, depth: int) -> None:
    if depth > DEPTH_CAP:
        raise HopelessError(
            f"the column {show(name[:80])} is nested deeper than {DEPTH_CAP} levels", where=path, help="flatten it"
        )
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_struct(kind):
        fields = [kind.field(i) for i in range(kind.num_fields)]
        if len({field.name for field in fields}) < len(fields):
            raise HopelessError(f"two fields of {show(name)} have one name", where=path, help="rename one of them")
        for field in fields:
            _check_type(field.type, f"{name}.{field.name}", path, depth + 1)
    elif pa.types.is_map(kind):
        if not _text(kind.key_type):
            raise HopelessError(
                f"the map {show(name)} has keys that are no strings", where=path, help="cast them to string"
            )
        _check_type(kind.item_type, f"{name}.*", path, depth + 1)
    elif _list(kind) and kind.value_field.name is not None:  # a name that is no UTF-8 shows here
        _check_type(kind.value_type, f"{name}[]", path, depth + 1)
    elif not (
        _text(kind)
        or pa.types.is_integer(kind)
        or pa.types.is_floating(kind)
        or pa.types.is_boolean(kind)
        or pa.types.is_null(kind)
    ):
        word = next((word for word in _ADVICE if word in str(kind)), "time")
        advice = _ADVICE[word] if not isinstance(kind, pa.BaseExtensionType) else "cast the column to its storage type"
        raise HopelessError(
            f"the column {show(name)} is of type {kind}, which no JSON value has", where=path, help=advice
        )


def _text(kind: pa.DataType) -> bool:
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _list(kind: pa.DataType) -> bool:
    return bool(
        pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)
        or pa.types.is_list_view(kind) or pa.types.is_large_list_view(kind)
    )  # fmt: skip


def _plain(kind: pa.DataType) -> pa.DataType:
    """Return the type with its dictionaries written out."""
    if pa.types.is_dictionary(kind):
        return kind.value_type
    if pa.types.is_struct(kind):
        return pa.struct([pa.field(f.name, _plain(f.type)) for f in (kind.field(i) for i in range(kind.num_fields))])
    if pa.types.is_map(kind):
        return pa.map_(_plain(kind.key_type), _plain(kind.item_type))
    if pa.types.is_list(kind):
        return pa.list_(pa.field(kind.value_field.name, _plain(kind.value_type)))
    if pa.types.is_large_list(kind):
        return pa.large_list(pa.field(kind.value_field.name, _plain(kind.value_type)))
    return kind


def _size(array: pa.Array) -> int:
    """Return the bytes of an array with its dictionaries written out."""
    kind = array.type
    if pa.types.is_dictionary(kind):
        if not _text(kind):
            return int(array.nbytes)
        lengths = pc.binary_length(array.dictionary).take(array.indices)
        return int(pc.sum(pc.cast(lengths, pa.int64())).as_py() or 0) + int(array.indices.nbytes)
    if pa.types.is_struct(kind):
        return sum(map(_size, array.flatten()))
    if pa.types.is_map(kind):
        return _size(array.keys) + _size(array.items)
    if _list(kind):
        return _size(array.flatten()) + 8 * len(array)
    return int(array.nbytes)
