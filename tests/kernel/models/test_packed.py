"""Packed attention on CPU, and the arguments of the variable-length call that CUDA takes, by a reference of that call."""

import inspect

import numpy as np
import pytest
import tiny
import torch
from hypothesis import given
from hypothesis import strategies as st

from rmbench.kernel.models import packed
from rmbench.kernel.models.forward import TokenScorer
from rmbench.kernel.models.layout import Segment, cumulative


def reference(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, *, scale=None, window_size=(-1, -1), enable_gqa=False, num_splits=None):  # fmt: skip
    """What torch.nn.attention.varlen.varlen_attn computes, sequence by sequence, softmax written out."""
    assert (cu_seq_q.dtype, cu_seq_k.dtype) == (torch.int32, torch.int32)
    assert (int(cu_seq_q[-1]), int(cu_seq_k[-1])) == (len(query), len(key))
    assert (int(cu_seq_q.diff().max()), int(cu_seq_k.diff().max())) == (max_q, max_k)
    assert num_splits == 1
    assert enable_gqa == (query.shape[1] != key.shape[1])
    repeated = query.shape[1] // key.shape[1]
    key, value = key.repeat_interleave(repeated, 1), value.repeat_interleave(repeated, 1)
    output = torch.empty_like(query)
    for place in range(len(cu_seq_q) - 1):
        asked = slice(int(cu_seq_q[place]), int(cu_seq_q[place + 1]))
        seen = slice(int(cu_seq_k[place]), int(cu_seq_k[place + 1]))
        logits = torch.einsum("qhd,khd->hqk", query[asked], key[seen]) * (scale or query.shape[2] ** -0.5)
        if window_size == (-1, 0):
            shape = logits.shape[1:]
            logits.masked_fill_(~torch.ones(shape, dtype=torch.bool).tril(shape[1] - shape[0]), -torch.inf)
        output[asked] = torch.einsum("hqk,khd->qhd", logits.softmax(-1), value[seen])
    return output


def older(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, is_causal=False, return_aux=None):
    """The same call as torch 2.10 has it: no scale, no groups, causal as a flag."""
    assert query.shape[1] == key.shape[1]
    window = (-1, 0) if is_causal else (-1, -1)
    return reference(query, key, value, cu_seq_q, cu_seq_k, max_q, max_k, window_size=window, num_splits=1)


def in_one_call(monkeypatch, call):
    calls = []

    def counted(*given, **named):
        calls.append(named)
        return call(*given, **named)

    monkeypatch.setattr(packed, "at_once", lambda *_: True)
    found = counted, frozenset(inspect.signature(call).parameters)
    monkeypatch.setattr(packed, "variable_attention", lambda: found)
    return calls


@pytest.mark.parametrize("call", [reference, older])
@pytest.mark.parametrize("name", tiny.MODELS)
def test_one_call_for_all_segments_gives_what_each_alone_gives(monkeypatch, name, call):
    made, rows = tiny.model(name), tiny.rows(12)
    prompt = np.arange(2, 42)
    rows += [np.concatenate([prompt, row[:100]]) for row in rows]
    prefixes = [0] * 15 + [40] * 15
    truth = np.array([tiny.alone(made, row) for row in rows])
    scorer = TokenScorer(made, pad_id=1, batch_tokens=600)
    calls = in_one_call(monkeypatch, call)
    assert np.abs(scorer(rows, prefixes) - truth).max() / truth.std() < 1e-5
    assert len(calls) == 3 * len(scorer.plan(rows, prefixes).batches), "one a layer"


def test_the_reference_has_the_arguments_of_the_real_call():
    attend, known = packed.variable_attention()
    assert attend.__module__ == "torch.nn.attention.varlen"
    assert {"scale", "window_size", "enable_gqa", "num_splits"} <= known
    assert set(inspect.signature(reference).parameters) <= known


def test_cpu_attends_by_segment():
    query = torch.zeros(1, 2, 3, 8, dtype=torch.bfloat16)
    assert not packed.at_once(query, query)


@st.composite
def tiled(draw):
    """Segments that follow each other, some behind a prefix that is an earlier segment."""
    segments, at = [], 0
    for _ in range(draw(st.integers(1, 12))):
        length = draw(st.integers(1, 9))
        before = draw(st.sampled_from([None, *segments]))
        segments.append(Segment(at, at + length, *(before[:2] if before else (at, at))))
        at += length
    return segments


@given(tiled())
def test_cumulative_lengths_name_the_keys_that_each_segment_sees(segments):
    made = cumulative(segments)
    keys = np.arange(segments[-1].stop) if made.keys is None else made.keys
    assert (made.queries.dtype, made.seen.dtype, keys.dtype) == (np.int32, np.int32, np.int64)
    for place, (start, stop, prefix, prefix_stop) in enumerate(segments):
        assert (made.queries[place], made.queries[place + 1]) == (start, stop)
        seen = keys[made.seen[place] : made.seen[place + 1]]
        assert seen.tolist() == [*range(prefix, prefix_stop), *range(start, stop)]
    assert made.longest == (np.diff(made.queries).max(), np.diff(made.seen).max())


def test_a_model_has_its_own_attention_back_also_after_an_error():
    made = tiny.model("llama")
    before = made.config._attn_implementation
    seen = []

    def nested():
        with packed.attending(made.model, [Segment(0, 3, 0, 0)]):
            with packed.attending(made.model, [Segment(0, 2, 0, 0)]):
                pass
            seen.append(made.config._attn_implementation)
            raise RuntimeError("in between")

    with pytest.raises(RuntimeError, match="in between"):
        nested()
    assert seen == [packed.NAME]
    assert made.config._attn_implementation == before
    assert packed._held == {}


def test_a_copy_of_the_scores_leaves_cpu_arrays_alone():
    values = np.arange(3)
    assert packed.sent(values, torch.device("cpu")).tolist() == [0, 1, 2]
