"""Rule rewards over columns of texts: checked, cut into chunks, scored on threads, put back in order."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rmbench.kernel.checks import whole
from rmbench.kernel.families import RULES, Rows, Score, plan, resolve

Column = NDArray[np.float64]
References = Sequence[str] | Sequence[Sequence[str]]

ROWS = 512  # of a chunk: enough that a call costs nothing beside them
CHARACTERS = 500_000  # of a chunk's texts: working memory is some twenty times as much


def score_texts(
    names: Sequence[str],
    responses: Sequence[str],
    references: References | None = None,
    *,
    sources: Sequence[str] | None = None,
    options: Mapping[str, Any] | None = None,
    threads: int = 1,
) -> dict[str, Column]:
    """Return the scores of n responses by each rule reward, in input order.

    ROUGE equals rouge-score bit for bit, BLEU, chrF and TER equal sacrebleu to 1e-9. Small inputs are scored by these
    packages, larger ones by code compiled for it (see ``rmbench.kernel.compiled``); a row is the same either way, and
    whatever rows are beside it. Consecutive rows with equal references share what is prepared of them.

    Args:
        names: rewards as ``rmbench list rewards`` gives them (``rouge-l``, ``chrf``, ``token-f1`` ...) and
            ``rouge-l.precision``, ``rouge-l.recall`` (of rouge-1, -2, -lsum, too). Scales are those of the rewards:
            ROUGE in [0, 1]; BLEU and chrF 0 to 100; TER negated. Higher is better.
        responses: n texts: a list, or another sequence; of an array or a pandas Series a chunk at a time is copied.
        references: n texts, or n lists or tuples of texts with at least one each. Of several, ROUGE takes the one with
            the highest F, or with ``references="mean"`` the mean. Not needed by length, diversity and repetition.
        sources: n texts, for coverage and density.
        options: by reward (``{"chrf": {"word_order": 2}}``), or for all that have it (``{"stemmer": True}``).
        threads: chunks scored at once. Compiled code runs without the interpreter lock.

    Returns:
        A float64 array of shape (n,) for each name; NaN where a reward has no score (diversity of a text that is too
        short). Working memory does not grow with n: some 16 MB a thread, or what the longest row takes.

    Raises:
        TypeError: one text where a sequence belongs, something else where a text or a mapping belongs.
        ValueError: lengths that differ, a row without references, unknown names and options, wrong values.
    """
    whole("threads", threads, 1)
    resolved = resolve(_named(names), {} if options is None else options)
    read = {RULES[name].reads for name in resolved}
    responses = _texts("responses", responses)
    own = _matching("references", references, len(responses)) if "references" in read else None
    other = _texts("sources", _matching("sources", sources, len(responses))) if "sources" in read else None
    columns = {name: np.empty(len(responses), np.float64) for name in resolved}
    jobs = plan(resolved, partial(_blocks, responses, own, other))
    run = partial(_score, jobs=jobs, columns=columns, responses=responses, references=own, sources=other)
    _run(run, chunks(responses, own, other), int(threads))
    return columns


def _run(run: Any, pieces: Iterator[tuple[int, int]], threads: int) -> None:
    if threads == 1:
        for piece in pieces:
            run(piece)
        return
    pool = ThreadPoolExecutor(threads)
    try:
        for _ in pool.map(run, pieces):
            pass
    finally:
        pool.shutdown(cancel_futures=True)


def _score(
    piece: tuple[int, int],
    *,
    jobs: Sequence[Score],
    columns: Mapping[str, Column],
    responses: Sequence[str],
    references: References | None,
    sources: Sequence[str] | None,
) -> None:
    """Score the rows of a chunk and write them where they belong."""
    rows = _rows(piece, responses, references, sources)
    for job in jobs:
        for name, values in job(rows).items():
            if name in columns:
                columns[name][slice(*piece)] = values


def _rows(
    piece: tuple[int, int], responses: Sequence[str], references: References | None, sources: Sequence[str] | None
) -> Rows:
    start, stop = piece
    own: Sequence[Any] = () if references is None else references[start:stop]
    # zip is the quick way to a tuple for each text
    many = list(zip(own, strict=True)) if _plain(own) else [(one,) if isinstance(one, str) else one for one in own]
    return Rows(responses[start:stop], many, () if sources is None else sources[start:stop])


def _plain(column: Sequence[Any]) -> bool:
    """Return whether each entry is one text."""
    return set(map(type, column)) <= {str}


def _blocks(responses: Sequence[str], references: References | None, sources: Sequence[str] | None) -> Iterator[Rows]:
    for start in range(0, len(responses), ROWS):
        yield _rows((start, min(start + ROWS, len(responses))), responses, references, sources)


def chunks(
    responses: Sequence[str], references: References | None = None, sources: Sequence[str] | None = None
) -> Iterator[tuple[int, int]]:
    """Yield the first row of each chunk and the one behind its last.

    A chunk ends after ``ROWS`` rows or ``CHARACTERS`` characters, but goes on while rows have the same references, up
    to twice that. A longer row is a chunk.
    """
    start = 0
    while start < len(responses):
        stop = min(start + ROWS, len(responses))
        size = sum(map(len, responses[start:stop]))
        if references is not None:
            some = references[start:stop]
            size += sum(map(len if _plain(some) else _size, some))
        size += 0 if sources is None else sum(map(len, sources[start:stop]))
        if size > CHARACTERS:
            size, stop = 0, start
        while stop < len(responses):
            again = stop > start and _again(stop, references, sources)
            size += len(responses[stop])
            if not again:
                size += 0 if references is None else _size(references[stop])
                size += 0 if sources is None else len(sources[stop])
            rows, characters = (2 * ROWS, 2 * CHARACTERS) if again else (ROWS, CHARACTERS)
            if stop > start and (stop - start >= rows or size > characters):
                break
            stop += 1
        yield start, stop
        start = stop


def _size(texts: str | Sequence[str]) -> int:
    return len(texts) if isinstance(texts, str) else sum(map(len, texts))


def _again(row: int, references: References | None, sources: Sequence[str] | None) -> bool:
    """Return whether a row is compared with the same texts as the row before."""
    columns = [column for column in (references, sources) if column is not None]
    return bool(columns) and all(column[row] == column[row - 1] for column in columns)


class Slices(Sequence[Any]):
    """An array or a pandas Series as a sequence, turned into Python's objects a block at a time."""

    def __init__(self, values: Any) -> None:
        self.values = getattr(values, "iloc", values)
        self.size = len(values)

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, rows: Any) -> Any:
        if isinstance(rows, slice):
            return self.values[rows].tolist()
        return self[rows : rows + 1][0]

    def __iter__(self) -> Iterator[Any]:
        for start in range(0, self.size, ROWS):
            yield from self[start : start + ROWS]


def _column(what: str, values: Any) -> Sequence[Any]:
    if isinstance(values, (str, bytes)):
        raise TypeError(f"{what} is one text, expected a sequence: [{values[:30]!r}]")
    if isinstance(values, (list, tuple)):
        return values
    if isinstance(values, np.ndarray) and values.ndim == 0:
        raise TypeError(f"{what} is one value, expected a sequence of texts")
    if isinstance(values, np.ndarray) or hasattr(values, "iloc"):
        return Slices(values)
    if not isinstance(values, Iterable) or isinstance(values, (Mapping, set, frozenset)):
        raise TypeError(f"{what} is a {type(values).__name__}, expected a sequence of texts")
    return list(values)


def _texts(what: str, values: Sequence[Any]) -> Sequence[str]:
    texts = _column(what, values)
    if not _plain(texts):
        for row, text in enumerate(texts):
            if not isinstance(text, str):
                raise TypeError(f"row {row}: {what} holds {text!r:.50}, expected a text")
    return texts


def _named(names: Any) -> Sequence[str]:
    column = _column("names", names)
    for name in column:
        if not isinstance(name, str):
            raise TypeError(f"names holds {name!r:.50}, expected the name of a reward")
    return column


def _matching(what: str, values: Sequence[Any] | None, rows: int) -> Sequence[Any]:
    """Return a column that has one entry for each response: texts, or lists of texts."""
    if values is None:
        raise ValueError(f"{what} are missing, and a reward that is asked for reads them")
    column = _column(what, values)
    if len(column) != rows:
        last = min(rows, len(column))
        raise ValueError(f"{rows} responses, but {what} for {len(column)}: row {last} has no match")
    if not _plain(column):
        for row, texts in enumerate(column):
            if not isinstance(texts, (str, list, tuple)):
                expected = "a text or a list of texts" if what == "references" else "a text"
                raise TypeError(f"row {row}: {what} holds {texts!r:.50}, expected {expected}")
            if not isinstance(texts, str):
                if not texts:
                    raise ValueError(f"row {row} has no text in {what}, expected at least one")
                _inner(row, what, texts)
    return column


def _inner(row: int, what: str, texts: Sequence[Any]) -> None:
    for text in texts:
        if not isinstance(text, str):
            raise TypeError(f"row {row}: {what} holds {text!r:.50}, expected a text")
