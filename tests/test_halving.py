"""Batches that fail are halved, without ever asking more of a reward than it can give."""

import pytest

from rmbench import halving
from rmbench.halving import Ledger, score_rows, within_memory
from rmbench.process import Broken, Failed
from rmbench.scoring import Scores
from rmbench.testing import sample_batch


class Counted:
    """A seat that fails as it is told, and counts the rows of each call."""

    def __init__(self, failure):
        self.notes = []
        self.failure = failure
        self.calls = []

    def score(self, batch):
        self.calls.append(len(batch))
        if failure := self.failure(batch):
            raise failure
        return Scores([float(len(text)) for text in batch.responses], [None] * len(batch))

    def close(self):
        return []


ROWS = sample_batch().take([i % len(sample_batch()) for i in range(16)])


@pytest.mark.parametrize("kind", ["timeout", "died"])
def test_one_that_never_answers_is_given_up_after_three_rows(kind):
    seat = Counted(lambda batch: Failed(kind, "gone"))
    with pytest.raises(Broken, match=r"failed on every row tried \(gone\)"):
        score_rows(seat, ROWS, Ledger(), whole=False)
    assert seat.calls == [16, 1, 1, 1]


def test_what_memory_does_not_hold_is_halved_with_one_note():
    def failure(batch):
        return Failed("raised", "MemoryError", memory=True) if len(batch) > 3 else None

    seat, ledger = Counted(failure), Ledger()
    expected = [float(len(text)) for text in ROWS.responses]
    assert score_rows(seat, ROWS, ledger, whole=False).values == expected
    assert ledger.notes == {"ran out of memory on a batch (scored in smaller ones)"}
    assert ledger.lost == 0
    assert within_memory(seat, ROWS, whole=False).values == expected


def test_only_memory_is_halved_where_the_batch_matters():
    seat = Counted(lambda batch: Failed("raised", "ValueError: no"))
    with pytest.raises(Failed, match="ValueError"):
        within_memory(seat, ROWS, whole=False)
    seat = Counted(lambda batch: Failed("raised", "MemoryError", memory=True))
    with pytest.raises(Failed, match="MemoryError"):
        within_memory(seat, ROWS, whole=False)
    assert seat.calls == [16, 8, 4, 2, 1]


def test_a_reward_that_dies_again_and_again_is_not_tried_for_ever():
    seat = Counted(lambda batch: Failed("died", "gone") if len(batch) > 1 or len(seat.calls) > 6 else None)
    ledger = Ledger()
    lost = score_rows(seat, ROWS, ledger, whole=False)
    again = score_rows(seat, ROWS, ledger, whole=False)
    assert ledger.deaths >= halving.LOST_BEFORE_GIVING_UP
    assert lost.values.count(None) >= halving.LOST_BEFORE_GIVING_UP
    assert again.reasons == [f"not tried: the reward had hung or died {ledger.deaths} times"] * 16
