"""Rows one behind the other in a single sequence, each attending to itself only: no padding is computed.

transformers calls the attention function that a configuration names. Ours, for the time of a call, computes scaled
dot-product attention segment by segment, on CUDA all segments in one variable-length call. A segment may also see the
keys of a prefix that stands earlier in the sequence, so that a prompt is computed once for all its responses. No model
code is copied: embeddings, layers and norms are the model's own, and see one long row with position ids that start
again.

What a batch's segments are belongs to the thread that scores it. A forward pass of the same model in another thread
meanwhile attends as transformers' own ``sdpa`` does, and the model's way of attention is back when the last of ours is
through.
"""

from __future__ import annotations

import inspect
from contextlib import contextmanager
from contextvars import ContextVar
from functools import cache
from threading import Lock
from typing import TYPE_CHECKING, Any, NamedTuple

import torch
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface

from rmbench.kernel.models.layout import Cumulative, Segment, cumulative

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

NAME = "rmbench_packed"
OWN = "sdpa"
WIDEST = 256  # of a head, in flash attention
HALVES = {torch.bfloat16, torch.float16}
AMPERE = (8, 0)  # the first that flash attention runs on


class Packing(NamedTuple):
    """The segments of the sequence that is computed, and their lengths on the device where it attends in one call."""

    segments: tuple[Segment, ...]
    lengths: Cumulative
    queries: torch.Tensor
    seen: torch.Tensor
    keys: torch.Tensor | None


_packing: ContextVar[Packing | None] = ContextVar("rmbench_packing", default=None)
_lock = Lock()
_held: dict[int, tuple[int, Any]] = {}  # id of a configuration: passes under way, and its own way of attention


@cache
def variable_attention() -> tuple[Callable[..., Any], frozenset[str]] | None:
    """Return torch's public variable-length attention and what it takes (more since 2.10), None where it has none."""
    try:
        from torch.nn.attention.varlen import varlen_attn
    except ImportError:
        return None
    return varlen_attn, frozenset(inspect.signature(varlen_attn).parameters)


def at_once(query: torch.Tensor, value: torch.Tensor) -> bool:
    """Whether all segments attend in one call: half precision on a CUDA device, heads of a width that it takes."""
    width = query.shape[3]
    return (
        query.is_cuda
        and query.dtype in HALVES
        and width == value.shape[3] <= WIDEST
        and width % 8 == 0
        and variable_attention() is not None
        and torch.cuda.get_device_capability(query.device) >= AMPERE
    )


def attention(
    module: torch.nn.Module,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    *,
    scaling: float | None = None,
    **given: Any,
) -> tuple[torch.Tensor, None]:
    """Attend within each segment: (1, heads, tokens, width) to (1, tokens, heads, width), as transformers wants it."""
    packing = _packing.get()
    if packing is None:
        own = AttentionInterface()[OWN]
        attended: tuple[torch.Tensor, None] = own(module, query, key, value, attention_mask, scaling=scaling, **given)
        return attended
    causal = _causal(module, given)
    if at_once(query, value):
        return _in_one_call(packing, (query, key, value), causal=causal, scaling=scaling), None
    return _by_segment(packing, (query, key, value), causal=causal, scaling=scaling), None


def _causal(module: torch.nn.Module, given: dict[str, Any]) -> bool:
    asked = given.get("is_causal")
    return bool(vars(module).get("is_causal", False) if asked is None else asked)


def _seen(length: int, prefix: int, device: torch.device) -> torch.Tensor:
    """Return the mask of a segment behind a prefix, bool (length, prefix + length): all of the prefix is seen."""
    return torch.ones(length, prefix + length, dtype=torch.bool, device=device).tril(prefix)


def _by_segment(
    packing: Packing, tensors: tuple[torch.Tensor, ...], *, causal: bool, scaling: float | None
) -> torch.Tensor:
    query, key, value = tensors
    grouped = query.shape[1] != key.shape[1]
    output = query.new_empty((1, query.shape[2], query.shape[1], value.shape[3]))
    for start, stop, prefix, prefix_stop in packing.segments:
        keys, values, mask = key[:, :, start:stop], value[:, :, start:stop], None
        if prefix_stop > prefix:
            keys = torch.cat([key[:, :, prefix:prefix_stop], keys], dim=2)
            values = torch.cat([value[:, :, prefix:prefix_stop], values], dim=2)
            mask = _seen(stop - start, prefix_stop - prefix, query.device)
        attended = scaled_dot_product_attention(
            query[:, :, start:stop], keys, values, attn_mask=mask, is_causal=causal and mask is None,
            scale=scaling, enable_gqa=grouped,
        )  # fmt: skip
        output[:, start:stop] = attended.transpose(1, 2)
    return output


def _in_one_call(
    packing: Packing, tensors: tuple[torch.Tensor, ...], *, causal: bool, scaling: float | None
) -> torch.Tensor:
    """Attend in all segments at once. A causal mask ends in the lower right corner: it leaves a prefix to be seen."""
    found = variable_attention()
    if found is None:
        raise RuntimeError("this torch has no variable-length attention")
    attend, known = found
    query, key, value = (tensor[0].transpose(0, 1) for tensor in tensors)
    if packing.keys is not None:
        key, value = key[packing.keys], value[packing.keys]
    options: dict[str, Any] = {"num_splits": 1} if "num_splits" in known else {}  # the neighbours must not matter
    if query.shape[1] != key.shape[1]:
        if "enable_gqa" in known:
            options["enable_gqa"] = True
        else:
            key, value = (one.repeat_interleave(query.shape[1] // one.shape[1], dim=1) for one in (key, value))
    if "scale" in known:
        options["scale"] = scaling
    elif scaling is not None:
        query = query * (scaling * query.shape[2] ** 0.5)
    if causal:
        options |= {"window_size": (-1, 0)} if "window_size" in known else {"is_causal": True}
    longest_query, longest_key = packing.lengths.longest
    attended: torch.Tensor = attend(
        query, key, value, packing.queries, packing.seen, longest_query, longest_key, **options
    )
    return attended[None]


def _mask(*given: Any, **named: Any) -> Any:
    """Build no mask where segments say who sees whom, else that of ``sdpa``."""
    return AttentionMaskInterface()[OWN](*given, **named) if _packing.get() is None else None


AttentionInterface.register(NAME, attention)
AttentionMaskInterface.register(NAME, _mask)


def packing_of(segments: Sequence[Segment], device: torch.device) -> Packing:
    """Return the segments with what variable-length attention needs of them on the device, copied once a batch."""
    lengths = cumulative(segments)
    queries, seen = sent(lengths.queries, device), sent(lengths.seen, device)
    keys = None if lengths.keys is None else sent(lengths.keys, device)
    return Packing(tuple(segments), lengths, queries, seen, keys)


def sent(values: Any, device: torch.device) -> torch.Tensor:
    """Copy an array to the device, to CUDA from pinned memory without waiting."""
    tensor = torch.from_numpy(values)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


@contextmanager
def attending(backbone: torch.nn.Module, segments: Sequence[Segment]) -> Iterator[None]:
    """Let a model attend by segments in this thread; its own way of attention is back afterwards."""
    config: Any = backbone.config
    token = _packing.set(packing_of(segments, next(backbone.parameters()).device))
    with _lock:
        count, before = _held.get(id(config), (0, config._attn_implementation))  # noqa: SLF001 - the setter of 5.24 reloads kernels
        _held[id(config)] = count + 1, before
        config._attn_implementation = NAME  # noqa: SLF001 - as above
    try:
        yield
    finally:
        _packing.reset(token)
        with _lock:
            count, before = _held.pop(id(config))
            if count > 1:
                _held[id(config)] = count - 1, before
            else:
                config._attn_implementation = before  # noqa: SLF001 - as above
