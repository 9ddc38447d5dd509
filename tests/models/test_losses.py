"""Losses against numbers worked out by hand, their gradients, and what they refuse."""

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from rmbench.judged import LOSS_NEEDS
from rmbench.models.losses import LOSSES, MARGINS, PairLoss, PointLoss

PAIRS, POINTS = ("hinge", "bradley-terry"), ("squared", "cross-entropy")
finite = st.floats(-50, 50)


def column(*values):
    return torch.tensor(values, dtype=torch.float64)


@pytest.mark.parametrize(
    ("name", "first", "second", "margin", "expected"),
    [
        # max(0, m + worse - better): (0 - 1 < 0) and (2 - 0.5)
        ("hinge", [1.0, 0.5], [0.0, 2.0], 0, (0 + 1.5) / 2),
        ("hinge", [1.0, 0.5], [0.0, 2.0], 1, (0 + 2.5) / 2),
        ("hinge", [3.0, 0.5], [0.0, 0.25], [4.0, 0.5], (1.0 + 0.25) / 2),
        # -log sigmoid(d): log 2 at 0; log(1 + e^-1) and log(1 + e^1)
        ("bradley-terry", [0.0], [0.0], 0, math.log(2)),
        ("bradley-terry", [1.0, 0.0], [0.0, 1.0], 0, (0.31326168751822286 + 1.3132616875182228) / 2),
        ("bradley-terry", [2.0], [0.0], 1, 0.31326168751822286),
        ("bradley-terry", [2.0, 0.0], [0.0, 0.0], [2.0, 1.0], (math.log(2) + 1.3132616875182228) / 2),
    ],
)
def test_pair_losses_by_hand(name, first, second, margin, expected):
    margin = column(*margin) if isinstance(margin, list) else margin
    assert LOSSES[name](column(*first), column(*second), margin).item() == pytest.approx(expected, rel=1e-14)
    assert LOSSES[name](column(*first), column(*second), margin=margin).item() == pytest.approx(expected, rel=1e-14)


def test_the_margin_of_the_functions_is_0_unless_given():
    better, worse = column(0.5), column(0.0)
    assert LOSSES["hinge"](better, worse).item() == 0.0
    assert LOSSES["bradley-terry"](better, worse) == LOSSES["bradley-terry"](better, worse, torch.tensor(0.0))


@pytest.mark.parametrize(
    ("name", "score", "target", "expected"),
    [
        ("squared", [1.0, 2.0, 4.0], [1.0, 4.0, 3.0], (0 + 4 + 1) / 3),
        ("cross-entropy", [0.0, 0.0], [1.0, 0.0], math.log(2)),
        # s = log 3 is the probability 3/4: -log(3/4) for good, -log(1/4) for not
        ("cross-entropy", [math.log(3), math.log(3)], [1.0, 0.0], (math.log(4 / 3) + math.log(4)) / 2),
        ("cross-entropy", [math.log(3)], [0.5], (math.log(4 / 3) + math.log(4)) / 2),
    ],
)
def test_point_losses_by_hand(name, score, target, expected):
    assert LOSSES[name](column(*score), column(*target)).item() == pytest.approx(expected, rel=1e-14)


def test_targets_may_be_whole_numbers_or_flags():
    score = torch.tensor([0.5, -0.5])
    assert LOSSES["squared"](score, torch.tensor([1, 0])).item() == pytest.approx(0.25)
    flags = LOSSES["cross-entropy"](score, torch.tensor([True, False]))
    assert flags == LOSSES["cross-entropy"](score, torch.tensor([1.0, 0.0]))


@pytest.mark.parametrize("name", sorted(LOSSES))
def test_gradients_are_those_of_finite_differences(name):
    first = torch.tensor([0.3, -1.2, 2.0, 4.0], dtype=torch.float64, requires_grad=True)
    second = torch.tensor([0.9, 0.1, 0.4, 0.7], dtype=torch.float64, requires_grad=name in PAIRS)
    assert torch.autograd.gradcheck(LOSSES[name], (first, second))
    if name in PAIRS:
        assert torch.autograd.gradcheck(lambda one, other: LOSSES[name](one, other, 0.35), (first, second))


def test_gradients_by_hand():
    better, worse = column(1.0, 0.0).requires_grad_(), column(0.0, 1.0).requires_grad_()
    LOSSES["hinge"](better, worse).backward()
    assert better.grad.tolist() == [0.0, -0.5]
    assert worse.grad.tolist() == [0.0, 0.5]
    score = column(0.0, 0.0).requires_grad_()
    LOSSES["cross-entropy"](score, column(1.0, 0.0)).backward()  # (sigmoid(s) - y) / n
    assert score.grad.tolist() == [-0.25, 0.25]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16])
def test_far_scores_neither_overflow_nor_lose_their_gradient(dtype):
    for far in (1e3, -1e3):
        better = torch.tensor([far], dtype=dtype, requires_grad=True)
        worse = torch.zeros(1, dtype=dtype)
        loss = LOSSES["bradley-terry"](better, worse)
        loss.backward()
        assert loss.item() == pytest.approx(max(0.0, -far), rel=1e-2)
        assert better.grad.item() == (0.0 if far > 0 else -1.0)
        assert math.isfinite(LOSSES["cross-entropy"](better, torch.ones(1)).item())
        assert loss.dtype == dtype


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(finite, finite, st.floats(0, 5)), min_size=1, max_size=20))
def test_losses_are_the_mean_of_their_formula(rows):
    first, second, margin = (column(*values) for values in zip(*rows, strict=True))
    hinge = math.fsum(max(0.0, m + w - b) for b, w, m in rows) / len(rows)
    terry = math.fsum(math.log1p(math.exp(-abs(b - w - m))) + max(0.0, m + w - b) for b, w, m in rows) / len(rows)
    square = math.fsum((s - y) ** 2 for s, y, _ in rows) / len(rows)
    assert LOSSES["hinge"](first, second, margin).item() == pytest.approx(hinge, rel=1e-12, abs=1e-12)
    assert LOSSES["bradley-terry"](first, second, margin).item() == pytest.approx(terry, rel=1e-12, abs=1e-12)
    assert LOSSES["squared"](first, second).item() == pytest.approx(square, rel=1e-12, abs=1e-12)
    assert LOSSES["bradley-terry"](first, second, margin) >= 0


@pytest.mark.parametrize("name", sorted(LOSSES))
@pytest.mark.parametrize(
    ("first", "second", "message"),
    [
        (torch.zeros(3), torch.zeros(2), r"has shape \(3,\), \w+ has \(2,\)"),
        (torch.zeros(3, 1), torch.zeros(3), "has shape"),
        (torch.zeros(3), torch.zeros(()), "has shape"),
        (torch.zeros(0), torch.zeros(0), "is empty"),
        (torch.zeros(2, dtype=torch.int64), torch.zeros(2), "expected a tensor of floating point"),
        ([0.0], torch.zeros(1), "is list, expected a tensor"),
        (torch.zeros(1), None, "is NoneType, expected a tensor"),
    ],
)
def test_wrong_shapes_and_types_are_value_errors(name, first, second, message):
    with pytest.raises(ValueError, match=message) as error:
        LOSSES[name](first, second)
    assert str(error.value).startswith(f"{name}: ")


@pytest.mark.parametrize("name", PAIRS)
def test_a_margin_of_another_shape_is_refused(name):
    with pytest.raises(ValueError, match=r"margin has shape \(3,\), better has \(2,\)"):
        LOSSES[name](torch.zeros(2), torch.zeros(2), torch.zeros(3))
    with pytest.raises(ValueError, match="margin has shape"):
        LOSSES[name](torch.zeros(2), torch.zeros(2), torch.zeros(1))


def test_a_target_that_is_no_probability_is_refused():
    with pytest.raises(ValueError, match="cross-entropy: a target is outside 0 to 1"):
        LOSSES["cross-entropy"](torch.zeros(2), torch.tensor([1.0, 4.0]))
    with pytest.raises(ValueError, match="outside 0 to 1"):
        LOSSES["cross-entropy"](torch.zeros(1), torch.tensor([math.nan]))


def test_every_loss_has_a_kind_and_a_need():
    assert {name for name, loss in LOSSES.items() if loss.kind == "pairs"} == set(PAIRS) == set(MARGINS)
    assert {name for name, loss in LOSSES.items() if loss.kind == "points"} == set(POINTS)
    for name, loss in LOSSES.items():
        assert loss.name == name
        assert isinstance(loss, PairLoss if name in PAIRS else PointLoss)
        assert LOSS_NEEDS[name] == {"squared": "ratings", "cross-entropy": "good"}.get(name, "pairs")
        assert loss.each.__doc__
