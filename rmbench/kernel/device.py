"""ROUGE over token ids that are on a device already: a policy's samples never leave it, and no row is waited for.

Shared n-grams are counted after one sort a row. Longest common subsequences are Hyyro's bit-parallel recurrence (2004,
"Bit-parallel LCS-length computation revisited") in words of 63 bits for all rows at once. A carry goes from word to
word as along a conveyor belt: word w takes token t - w at step t, when the carry of word w - 1 for that token is known.

A few rows are done sooner by compiled code on the host than a device starts its kernels: ``crossover`` says how many.
Counts are whole numbers and scores the same operations in float64 in both places, so they are equal bit for bit.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import torch

from rmbench.kernel.rouge import NAMES, PARTS

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

KINDS = ("rouge-1", "rouge-2", "rouge-l")
DEVICE_NAMES = tuple(name for name in NAMES if name.partition(".")[0] in KINDS)
BITS = 63  # of a word: the sign of an int64 is the carry
FULL = (1 << BITS) - 1
LARGEST = 2**31 - 2  # id: two of them are one key
SPARSE = 1 << 20  # ids from here on are numbered anew before the host counts them in tables
CELLS = 1 << 27  # int64 cells of the largest table on the device: 1 GiB
BLOCK = 64  # steps whose masks are fetched at once
CROSSOVER = {"cuda": {"counts": 256, "lcs": 4096}}  # rows; reports/performance/device.py measures them


class Ids(NamedTuple):
    """Token ids and how many of each row are real: int64 (n, width), int64 (n,); what stands behind them is ignored."""

    values: torch.Tensor
    lengths: torch.Tensor


def score_ids(
    names: Sequence[str],
    responses: torch.Tensor,
    references: torch.Tensor,
    *,
    response_lengths: torch.Tensor,
    reference_lengths: torch.Tensor,
    where: str | None = None,
) -> dict[str, torch.Tensor]:
    """Score rows of token ids with ROUGE-1, -2 or -L: what ``score_texts`` does with words, with ids.

    Time grows with the widths, not with the longest row: cut columns that no row uses.

    Args:
        names: ``rouge-1``, ``rouge-2``, ``rouge-l`` (F), or with ``.precision`` or ``.recall``.
        responses: ids, (n, width), any integer type, each from 0 to 2**31 - 2. An accelerator is not waited for to
            check them: there another id counts in the length of its row and equals nothing.
        references: ids, (n, their width), on the same device.
        response_lengths: ids of each response that are real, (n,); they stand first. An accelerator takes what is not
            from 0 to the width as the nearest of both.
        reference_lengths: the same of each reference.
        where: ``device`` or ``host``; None takes what is faster (see ``crossover``). On a CPU the host path is taken.

    Returns:
        By name float64 (n,) on the device of the responses, in [0, 1], higher is better; 0 where nothing is shared.

    Raises:
        TypeError: something else than a tensor, one name where a sequence belongs.
        ValueError: an unknown name or place, shapes that do not belong together; where the host counts or the ids are
            on a CPU, also ids and lengths that are too small or too large.
    """
    if isinstance(names, str):
        raise TypeError(f"names is one text, expected a sequence: [{names!r}]")
    own = _checked("response", responses, response_lengths)
    theirs = _checked("reference", references, reference_lengths)
    for name in names:
        if name not in DEVICE_NAMES:
            raise ValueError(f"{name!r} is not scored over ids: {', '.join(DEVICE_NAMES)}")
    if len(own.values) != len(theirs.values):
        raise ValueError(f"{len(own.values)} responses, but {len(theirs.values)} references")
    if own.values.device != theirs.values.device:
        raise ValueError(f"responses are on {own.values.device}, references on {theirs.values.device}")
    kinds = [kind for kind in KINDS if any(name.partition(".")[0] == kind for name in names)]
    if where is None:
        rows = crossover(own.values.device, lcs="rouge-l" in kinds)
        where = "host" if rows is None or len(own.values) < rows else "device"
    if where not in {"host", "device"}:
        raise ValueError(f"where is {where!r}, expected host or device")
    count = host_hits if where == "host" else device_hits
    if where == "host" or own.values.device.type == "cpu":
        _in_range("response", own)
        _in_range("reference", theirs)
    own, theirs = _cut(own), _cut(theirs)
    parts = {kind: _parts(kind, hits, own, theirs) for kind, hits in count(kinds, own, theirs).items()}
    return {name: parts[name.partition(".")[0]][PARTS.index(name.partition(".")[2] or "f")] for name in names}


def crossover(device: torch.device | str, *, lcs: bool) -> int | None:
    """Return from how many rows on a device is faster than the host, the copies counted; None where it never is.

    Args:
        device: where the ids are.
        lcs: whether longest common subsequences are asked for; counts alone pay from fewer rows on.
    """
    known = CROSSOVER.get(torch.device(device).type)
    return None if known is None else known["lcs" if lcs else "counts"]


def _checked(what: str, values: torch.Tensor, lengths: torch.Tensor) -> Ids:
    for name, tensor in ((f"{what}s", values), (f"{what}_lengths", lengths)):
        if not isinstance(tensor, torch.Tensor):
            raise TypeError(f"{name} is a {type(tensor).__name__}, expected a tensor")
        if tensor.is_floating_point() or tensor.is_complex() or tensor.dtype is torch.bool:
            raise ValueError(f"{name} are {tensor.dtype}: ids and lengths are whole numbers")
    if values.ndim != 2 or lengths.shape != values.shape[:1]:  # noqa: PLR2004 - rows and columns
        shapes = f"{tuple(values.shape)} and {tuple(lengths.shape)}"
        raise ValueError(f"ids and lengths of {what}s have the shapes {shapes}, expected (n, width) and (n,)")
    return Ids(values.long(), lengths.to(values.device).long())


def _in_range(what: str, ids: Ids) -> None:
    """Raise where a length or an id cannot be; the host waits for the answer."""
    width = ids.values.shape[1]
    wrong = (ids.lengths < 0) | (ids.lengths > width)
    if wrong.any():
        row = int(wrong.nonzero()[0])
        raise ValueError(f"row {row}: {what}_lengths is {int(ids.lengths[row])}, but there are {width} columns")
    wrong = ((ids.values < 0) | (ids.values > LARGEST)) & _real(ids, width)
    if wrong.any():
        row, place = wrong.nonzero()[0].tolist()
        problem = f"row {row}: {what}s hold the id {int(ids.values[row, place])} in column {place}"
        raise ValueError(f"{problem}; ids are 0 to 2**31 - 2, and padding is told by {what}_lengths")


def _cut(ids: Ids) -> Ids:
    """Bring lengths into the width and turn ids that cannot be into -1, which equals nothing, without waiting."""
    values = ids.values.where((ids.values >= 0) & (ids.values <= LARGEST), -1)
    return Ids(values, ids.lengths.clamp(0, values.shape[1]))


def _parts(kind: str, hits: torch.Tensor, own: Ids, theirs: Ids) -> tuple[torch.Tensor, ...]:
    """Return F, precision and recall, the formulas of ``rouge`` in their order of operations."""
    less = int(kind == "rouge-2")  # there is one pair of tokens fewer than there are tokens
    shared = hits.double()
    precision = shared / (own.lengths - less).clamp(min=1).double()
    recall = shared / (theirs.lengths - less).clamp(min=1).double()
    total = precision + recall
    f = torch.where(total > 0, 2 * precision * recall / total, 0.0)
    return f, precision, recall


def device_hits(kinds: Sequence[str], own: Ids, theirs: Ids) -> dict[str, torch.Tensor]:
    """Return shared tokens, shared pairs of them or longest common subsequences by kind: int64 (n,), on the device."""
    if not len(own.values):
        return dict.fromkeys(kinds, own.lengths)
    return {kind: torch.cat([_counted(kind, *both) for both in _pieces(kind, own, theirs)]) for kind in kinds}


def _pieces(kind: str, own: Ids, theirs: Ids) -> Iterator[tuple[Ids, Ids]]:
    """Cut the rows so that the tables of a piece fit in memory."""
    widths = own.values.shape[1], theirs.values.shape[1]
    cells = max(max(widths) + 1, BLOCK) * (max(widths) // BITS + 1) if kind == "rouge-l" else 8 * (sum(widths) + 1)
    each = max(1, CELLS // cells)
    for start in range(0, len(own.values), each):
        piece = slice(start, start + each)
        yield Ids(own.values[piece], own.lengths[piece]), Ids(theirs.values[piece], theirs.lengths[piece])


def _counted(kind: str, own: Ids, theirs: Ids) -> torch.Tensor:
    if kind == "rouge-l":
        return lcs_lengths(own, theirs)
    keys = _tokens if kind == "rouge-1" else _pairs
    return shared_counts(keys(own), keys(theirs))


def _tokens(ids: Ids) -> torch.Tensor:
    """Return the ids, -1 behind each row's end."""
    return ids.values.where(_real(ids, ids.values.shape[1]), -1)


def _pairs(ids: Ids) -> torch.Tensor:
    """Return both ids of neighbours as one number, -1 behind each row's end: (n, width - 1)."""
    if ids.values.shape[1] == 0:
        return ids.values
    pairs = ids.values[:, :-1] << BITS // 2 | ids.values[:, 1:]
    return pairs.where(_real(Ids(ids.values, ids.lengths - 1), pairs.shape[1]), -1)


def _real(ids: Ids, width: int) -> torch.Tensor:
    return torch.arange(width, device=ids.values.device) < ids.lengths[:, None]


def shared_counts(own: torch.Tensor, theirs: torch.Tensor) -> torch.Tensor:
    """Return how many keys of each row two lists share, each as often as the one that has it less: int64 (n,).

    Args:
        own: keys, int64 (n, any width), smaller than 2**62; negative ones do not count.
        theirs: the same.
    """
    keys = torch.cat([own * 2, theirs * 2 + 1], dim=1).sort(dim=1).values  # the last bit says whose it is
    is_theirs, key = keys & 1, keys >> 1
    changes = key[:, 1:] != key[:, :-1]
    begins = torch.nn.functional.pad(changes, (1, 0), value=True)
    ends = torch.nn.functional.pad(changes, (0, 1), value=True)
    counts = []
    for mine in (1 - is_theirs, is_theirs):
        total = mine.cumsum(1)
        before = (total - mine).where(begins, 0).cummax(1).values  # what was counted when the run of this key began
        counts.append(total - before)
    return torch.minimum(*counts).where(ends & (key >= 0), 0).sum(1)


def lcs_lengths(own: Ids, theirs: Ids) -> torch.Tensor:
    """Return the length of the longest common subsequence of each row: int64 (n,).

    The wider side is the vector of bits, a step is a token of the narrower one.
    """
    vector, steps = (own, theirs) if own.values.shape[1] >= theirs.values.shape[1] else (theirs, own)
    if not steps.values.shape[1]:
        return torch.zeros_like(own.lengths)
    bits = _advanced(*_masks(vector, steps))
    return bits.shape[1] * BITS - _ones(bits).sum(1)


def _masks(vector: Ids, steps: Ids) -> tuple[torch.Tensor, torch.Tensor]:
    """Return for each different token of ``vector`` where it stands, and which token each step has.

    Returns:
        bits int64 (n, width + 1, words), by the token's first place in sorted order, the last one without any; and
        that place for each token of ``steps``, int64 (n, steps).
    """
    rows, width = vector.values.shape
    words, device = -(-width // BITS), vector.values.device
    tokens = _tokens(vector)
    in_order = tokens.sort(dim=1).values
    places = torch.arange(width, device=device)
    cells = torch.searchsorted(in_order, tokens) * words + places // BITS
    bits = (torch.ones_like(places) << places % BITS).where(tokens >= 0, 0)
    masks = torch.zeros(rows, (width + 1) * words, dtype=torch.int64, device=device).scatter_add_(1, cells, bits)
    wanted = steps.values.where(_real(steps, steps.values.shape[1]), -2)
    asked = torch.searchsorted(in_order, wanted).clamp(max=width - 1)
    return masks.view(rows, width + 1, words), asked.where(in_order.gather(1, asked) == wanted, width)


def _advanced(masks: torch.Tensor, asked: torch.Tensor) -> torch.Tensor:
    """Take all steps: V = (V + (V & M)) | (V & ~M); word w is w steps behind the first. int64 (n, words) at the end."""
    (rows, last, words), steps, device = masks.shape, asked.shape[1], asked.device
    masks = masks.flatten(1)
    asked = torch.nn.functional.pad(asked, (words - 1, words - 1), value=last - 1)
    number = torch.arange(words, device=device)
    vector = torch.full((rows, words), FULL, dtype=torch.int64, device=device)
    carry = torch.zeros(rows, words + 1, dtype=torch.int64, device=device)
    match, total = torch.empty_like(vector), torch.empty_like(vector)
    for start in range(0, steps + words - 1, BLOCK):
        times = torch.arange(start, min(start + BLOCK, steps + words - 1), device=device)
        cells = asked[:, times[:, None] + words - 1 - number] * words + number  # (n, block, words)
        block = masks.gather(1, cells.flatten(1)).view(cells.shape).transpose(0, 1).contiguous()
        for mask in block.unbind(0):
            torch.bitwise_and(vector, mask, out=match)
            torch.add(vector, match, out=total)
            total.sub_(carry[:, :-1])  # a carry is -1: the sign, shifted
            torch.bitwise_right_shift(total, BITS, out=carry[:, 1:])
            vector.bitwise_xor_(match).bitwise_or_(total.bitwise_and_(FULL))
    return vector


def _ones(bits: torch.Tensor) -> torch.Tensor:
    """Return how many bits of each word are set."""
    bits = bits - (bits >> 1 & 0x5555555555555555)
    bits = (bits & 0x3333333333333333) + (bits >> 2 & 0x3333333333333333)
    return ((bits + (bits >> 4) & 0x0F0F0F0F0F0F0F0F) * 0x0101010101010101) >> 56


def host_hits(kinds: Sequence[str], own: Ids, theirs: Ids) -> dict[str, torch.Tensor]:
    """Return what ``device_hits`` returns, counted by compiled code on the host."""
    from rmbench.kernel import lcs, ngrams

    rows, device = len(own.values), own.values.device
    if not rows:
        return dict.fromkeys(kinds, own.lengths)
    both = [(side.values.cpu().numpy(), side.lengths.cpu().numpy()) for side in (own, theirs)]
    ids = np.concatenate([values[np.arange(values.shape[1]) < lengths[:, None]] for values, lengths in both])
    numbers, size = _numbered(ids)
    bounds = np.concatenate([[0], np.cumsum(np.concatenate([lengths for _, lengths in both]))])
    row = np.arange(rows)
    runs = np.stack([row, row + 1, row + rows, row + rows + 1, row], axis=1)
    counters = {
        "rouge-1": lambda: ngrams.count_words(numbers, bounds, size, runs, rows),
        "rouge-2": lambda: ngrams.count_pairs(numbers, bounds, runs, rows),
        "rouge-l": lambda: lcs.lcs(numbers, bounds, size, runs, rows),
    }
    return {kind: torch.from_numpy(counters[kind]()).to(device) for kind in kinds}


def _numbered(ids: NDArray[np.int64]) -> tuple[NDArray[np.int32], int]:
    """Return ids that tables can be as long as, int32, and that length."""
    size = int(ids.max(initial=-1)) + 1
    if size > SPARSE:
        different, ids = np.unique(ids, return_inverse=True)
        size = len(different)
    return ids.astype(np.int32), size
