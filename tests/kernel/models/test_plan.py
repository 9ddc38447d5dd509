"""What a plan promises of any rows: each is computed, the budget is kept, a shared prefix is one."""

import json
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rmbench.kernel.models import plan as planning

lengths = st.lists(st.integers(1, 60), min_size=1, max_size=40)


@st.composite
def prompted(draw):
    """Rows of a few prompts, and how long their prompt is; some rows are the prompt alone, some are equal."""
    prompts = [np.arange(size) for size in draw(st.lists(st.integers(0, 40), min_size=1, max_size=4))]
    rows, prefixes = [], []
    for _ in range(draw(st.integers(1, 30))):
        prompt = prompts[draw(st.integers(0, len(prompts) - 1))]
        own = draw(st.lists(st.integers(0, 3), min_size=0 if len(prompt) else 1, max_size=25))
        rows.append(np.concatenate([prompt, own]).astype(np.int64))
        prefixes.append(len(prompt))
    return rows, prefixes


def ids(sizes):
    return [np.full(size, place) for place, size in enumerate(sizes)]


def holds(batches, rows, budget):
    """Check what is true of every plan of these rows."""
    assert sorted(row for batch in batches for row in batch.rows) == list(range(len(rows)))
    for batch in batches:
        assert batch.computed <= budget or len(batch.rows) == 1
        assert batch.real == sum(len(rows[row]) for row in batch.rows)
        for group in batch.groups:
            assert group.shared == 0 or len(group.rows) > 1
            assert len({rows[row][: group.shared].tobytes() for row in group.rows}) == 1
            assert all(len(rows[row]) > group.shared for row in group.rows)


def packed_cost(batch, rows):
    return sum(group.shared + sum(len(rows[row]) - group.shared for row in group.rows) for group in batch.groups)


def padded_cost(batch, rows):
    return max(len(rows[row]) for row in batch.rows) * len(batch.rows)


@given(prompted(), st.integers(1, 200))
def test_packed_batches(made, budget):
    rows, prefixes = made
    batches = planning.packed(rows, planning.shared_groups(rows, prefixes), budget)
    holds(batches, rows, budget)
    assert all(batch.computed == packed_cost(batch, rows) <= batch.real for batch in batches)


@given(lengths, st.integers(1, 200))
def test_without_a_prefix_nothing_is_computed_that_is_not_real_and_order_is_kept(sizes, budget):
    rows = ids(sizes)
    batches = planning.packed(rows, planning.shared_groups(rows, [0] * len(rows)), budget)
    holds(batches, rows, budget)
    assert sum(batch.computed for batch in batches) == sum(sizes)
    assert [row for batch in batches for row in batch.rows] == list(range(len(rows)))
    for one, following in pairwise(batches):
        assert one.computed + len(rows[following.rows[0]]) > budget, "a batch is filled"


@given(lengths, st.integers(1, 200))
def test_padded_batches(sizes, budget):
    rows = ids(sizes)
    batches = planning.padded(rows, budget)
    holds(batches, rows, budget)
    assert all(batch.computed == padded_cost(batch, rows) for batch in batches)
    sorted_lengths = [len(rows[row]) for batch in batches for row in batch.rows]
    assert sorted_lengths == sorted(sizes, reverse=True), "the longest first: what does not fit is known at once"


@given(lengths)
def test_single_batches(sizes):
    rows = ids(sizes)
    batches = planning.single(rows)
    holds(batches, rows, 0)
    assert [batch.computed for batch in batches] == sizes


@given(prompted(), st.integers(1, 200), st.sampled_from(["packed", "padded"]))
def test_halves(made, budget, way):
    rows, prefixes = made
    groups = planning.shared_groups(rows, prefixes)
    batches = planning.packed(rows, groups, 10**6) if way == "packed" else planning.padded(rows, 10**6)
    (batch,) = batches
    if len(batch.rows) == 1:
        return
    halves = planning.halves(batch, rows, way, budget)
    assert sorted(row for half in halves for row in half.rows) == list(range(len(rows)))
    assert max(len(half.rows) for half in halves) <= (len(rows) + 1) // 2
    cost = packed_cost if way == "packed" else padded_cost
    assert all(half.computed == cost(half, rows) for half in halves)
    if way == "packed":
        holds(halves, rows, budget)
    else:
        assert len(halves) == 2


@given(st.lists(st.lists(st.integers(0, 2), min_size=1, max_size=3), max_size=30))
def test_the_same_row_is_one(rows):
    first, unique = planning.deduplicated([np.array(row) for row in rows])
    assert [rows[unique[place]] for place in first] == rows
    assert len(unique) == len({tuple(row) for row in rows})
    assert list(unique) == sorted(unique)


def test_the_dtype_of_ids_does_not_make_rows_different():
    first, _ = planning.deduplicated([np.array([1, 2], np.int32), np.array([1, 2], np.int64)])
    assert first == (0, 0)


def test_a_short_prefix_is_not_shared():
    rows = [np.r_[: planning.LEAST_SHARED, own] for own in (70, 71)]
    assert [group.shared for group in planning.shared_groups(rows, [planning.LEAST_SHARED] * 2)] == [8]
    assert [group.shared for group in planning.shared_groups(rows, [planning.LEAST_SHARED - 1] * 2)] == [0, 0]


def test_prompts_of_one_length_are_shared_only_where_they_are_equal():
    one, other = np.arange(10), np.arange(10, 20)
    rows = [np.r_[prompt, own] for own in (70, 71) for prompt in (one, other)]
    assert [group.rows for group in planning.shared_groups(rows, [10] * 4)] == [(0, 2), (1, 3)]


def test_rows_and_prefixes_are_as_many():
    with pytest.raises(ValueError, match="zip"):
        planning.shared_groups([np.arange(3)], [1, 2])


def test_a_plan_is_kept_as_json():
    rows = [np.r_[:10, own] for own in (70, 71, 72)]
    batches = planning.packed(rows, planning.shared_groups(rows, [10] * 3), 12)
    made = planning.Plan("packed", (0, 1, 2), (0, 1, 2), batches)
    assert (made.real, made.computed) == (33, 23)
    assert json.loads(json.dumps(made.to_dict()))["batches"][0] == {
        "groups": [{"rows": [0, 1], "shared": 10}],
        "real": 22,
        "computed": 12,
    }
