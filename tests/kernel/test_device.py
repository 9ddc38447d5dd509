"""ROUGE over ids by torch operations against compiled code on the host, and both against rouge-score on words."""

import numpy as np
import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from rouge_score.rouge_scorer import RougeScorer

from rmbench import kernel
from rmbench.kernel import device

few, many = st.integers(0, 3), st.integers(0, 2**31 - 2)
token = st.one_of(few, st.sampled_from([2**31 - 2, 2**20, 150_000]))
rows_of = st.lists(st.tuples(st.lists(token, max_size=12), st.lists(token, max_size=12)), max_size=12)


def padded(rows, fill, extra=0):
    """Ids (n, longest + extra) and lengths; what stands behind a row's end is not its own."""
    width = max(map(len, rows), default=0) + extra
    ids = torch.full((len(rows), width), fill)
    for place, row in enumerate(rows):
        ids[place, : len(row)] = torch.tensor(row, dtype=torch.int64)
    return ids, torch.tensor([len(row) for row in rows], dtype=torch.int64)


def scored(own, theirs, where, names=device.DEVICE_NAMES):
    return kernel.score_ids(names, own[0], theirs[0], response_lengths=own[1], reference_lengths=theirs[1], where=where)


def equal(rows, fill=0, extra=0):
    """Check that both places give the same bits, and return them."""
    own, theirs = (padded([row[side] for row in rows], fill, extra) for side in (0, 1))
    here, there = scored(own, theirs, "device"), scored(own, theirs, "host")
    assert list(here) == list(there) == list(device.DEVICE_NAMES)
    for name in here:
        assert here[name].dtype == torch.float64
        assert here[name].shape == (len(rows),)
        assert here[name].numpy().tobytes() == there[name].numpy().tobytes(), name
    return here


@settings(max_examples=300, deadline=None)
@given(rows_of, few, st.integers(0, 3))
@example([([], [])], 0, 0)
@example([], 0, 2)
def test_the_device_gives_the_bits_of_the_host(rows, fill, extra):
    equal(rows, fill, extra)


@pytest.mark.parametrize("width", [1, 62, 63, 64, 125, 126, 127, 200, 1000])
@pytest.mark.parametrize("vocabulary", [1, 2, 20])
def test_carries_cross_words(width, vocabulary):
    draw = np.random.default_rng(width)
    sizes = draw.integers(0, width + 1, (30, 2))
    sizes[0], sizes[1] = width, (0, width)
    equal([tuple(draw.integers(0, vocabulary, size).tolist() for size in both) for both in sizes])


@pytest.mark.parametrize("stem", [(1, 2), (2, 1)])
def test_scores_are_those_of_rouge_score_for_words(stem):
    draw = np.random.default_rng(5)
    rows = [tuple(draw.integers(0, 9, draw.integers(0, 25 * times)).tolist() for times in stem) for _ in range(200)]
    found = equal(rows)
    theirs = RougeScorer(["rouge1", "rouge2", "rougeL"])
    words = [tuple(" ".join(f"w{number}" for number in row) for row in both) for both in rows]
    for place, (response, reference) in enumerate(words):
        expected = theirs.score(reference, response)
        for kind, name in (("rouge1", "rouge-1"), ("rouge2", "rouge-2"), ("rougeL", "rouge-l")):
            assert found[name][place] == expected[kind].fmeasure
            assert found[f"{name}.precision"][place] == expected[kind].precision
            assert found[f"{name}.recall"][place] == expected[kind].recall


def test_rows_are_cut_into_pieces_that_fit(monkeypatch):
    draw = np.random.default_rng(6)
    rows = [tuple(draw.integers(0, 5, draw.integers(0, 80)).tolist() for _ in range(2)) for _ in range(50)]
    whole = equal(rows)
    monkeypatch.setattr(device, "CELLS", 1500)
    own, theirs = (padded([row[side] for row in rows], 0) for side in (0, 1))
    assert len(list(device._pieces("rouge-l", device.Ids(*own), device.Ids(*theirs)))) == 50 // 9 + 1
    assert all((whole[name] == column).all() for name, column in equal(rows).items())


def test_small_integers_are_taken():
    ids = torch.tensor([[1, 2, 3]], dtype=torch.int32)
    lengths = torch.tensor([3], dtype=torch.int16)
    for where in ("device", "host"):
        found = scored((ids, lengths), (ids.to(torch.uint8), lengths), where)
        assert all(float(column[0]) == 1.0 for column in found.values())


@pytest.mark.parametrize("where", ["device", "host", None])
@pytest.mark.parametrize("wrong", [-100, -1, 2**31 - 1, 2**31, 2**40])
def test_ids_that_cannot_be_are_an_error_that_names_the_row(wrong, where):
    good = padded([[1, 2], [3, 4]], 0)
    bad = padded([[1, 2], [3, wrong]], 0)
    with pytest.raises(ValueError, match=f"row 1: responses hold the id {wrong} in column 1; ids are 0 to 2"):
        scored(bad, good, where)
    with pytest.raises(ValueError, match=f"row 1: references hold the id {wrong} in column 1"):
        scored(good, bad, where)
    ignored = bad[0], torch.tensor([2, 1])
    assert scored(ignored, ignored, where)["rouge-1"].tolist() == [1.0, 1.0]
    for length in (3, -1):
        with pytest.raises(ValueError, match=f"row 0: response_lengths is {length}, but there are 2 columns"):
            scored((good[0], torch.tensor([length, 1])), good, where)


def test_an_accelerator_takes_ids_that_cannot_be_as_equal_to_nothing(monkeypatch):
    monkeypatch.setattr(device, "_in_range", lambda *_: None)
    draw = np.random.default_rng(7)
    rows = [tuple(draw.integers(0, 6, draw.integers(0, 90)).tolist() for _ in range(2)) for _ in range(40)]
    wrong, apart = {4: -100, 5: 2**31}, {}
    sides = [[[wrong.get(token, token) for token in row[side]] for row in rows] for side in (0, 1)]
    for side in (0, 1):
        apart[side] = [[token if token < 4 else 1000 + side for token in row[side]] for row in rows]
    here = scored(*(padded(side, 0) for side in sides), "device")
    there = scored(padded(apart[0], 0), padded(apart[1], 0), "host")
    assert all(here[name].tolist() == there[name].tolist() for name in here)


def test_what_is_no_tensor_is_named():
    ids, lengths = padded([[1, 2]], 0)
    good = {"response_lengths": lengths, "reference_lengths": lengths}
    with pytest.raises(TypeError, match="references is a list, expected a tensor"):
        kernel.score_ids(["rouge-1"], ids, ids.tolist(), **good)
    with pytest.raises(TypeError, match="response_lengths is a ndarray, expected a tensor"):
        kernel.score_ids(["rouge-1"], ids, ids, response_lengths=lengths.numpy(), reference_lengths=lengths)
    with pytest.raises(TypeError, match="names is one text, expected a sequence"):
        kernel.score_ids("rouge-1", ids, ids, **good)


def test_only_what_is_asked_for_is_counted(monkeypatch):
    ids = padded([[1, 2]], 0)
    monkeypatch.setattr(device, "lcs_lengths", lambda *_: pytest.fail("asked for"))
    assert list(scored(ids, ids, "device", ["rouge-2.recall", "rouge-1"])) == ["rouge-2.recall", "rouge-1"]


def test_a_cpu_takes_the_host_path_and_a_gpu_from_some_rows_on(monkeypatch):
    assert device.crossover("cpu", lcs=True) is None
    assert 0 < device.crossover("cuda:1", lcs=False) <= device.crossover(torch.device("cuda"), lcs=True)
    ids = padded([[1, 2]] * 5, 0)
    monkeypatch.setattr(device, "device_hits", lambda *_: pytest.fail("on the device"))
    assert scored(ids, ids, None)["rouge-l"].tolist() == [1.0] * 5
    monkeypatch.undo()
    monkeypatch.setitem(device.CROSSOVER, "cpu", {"counts": 5, "lcs": 6})
    monkeypatch.setattr(device, "host_hits", lambda *_: pytest.fail("on the host"))
    assert scored(ids, ids, None, ["rouge-1"])["rouge-1"].tolist() == [1.0] * 5
    with pytest.raises(pytest.fail.Exception, match="on the host"):
        scored(ids, ids, None)


def test_bad_input_is_an_error():
    ids, lengths = padded([[1, 2]] * 5, 0)
    good = {"response_lengths": lengths, "reference_lengths": lengths}
    with pytest.raises(
        ValueError, match="'rouge-lsum' is not scored over ids: rouge-1, rouge-2, rouge-l, rouge-1.prec"
    ):
        kernel.score_ids(["rouge-lsum"], ids, ids, **good)
    with pytest.raises(ValueError, match="5 responses, but 4 references"):
        kernel.score_ids(["rouge-1"], ids, ids[:4], response_lengths=lengths, reference_lengths=lengths[:4])
    with pytest.raises(
        ValueError, match=r"of responses have the shapes \(5, 2\) and \(4,\), expected \(n, width\) and \(n,\)"
    ):
        kernel.score_ids(["rouge-1"], ids, ids, response_lengths=lengths[:4], reference_lengths=lengths)
    with pytest.raises(ValueError, match="whole numbers"):
        kernel.score_ids(["rouge-1"], ids.float(), ids, **good)
    with pytest.raises(ValueError, match="where is 'gpu', expected host or device"):
        kernel.score_ids(["rouge-1"], ids, ids, where="gpu", **good)
    with pytest.raises(ValueError, match="responses are on cpu, references on meta"):
        kernel.score_ids(["rouge-1"], ids, ids.to("meta"), **good)
