"""Rewards that misbehave, each in its own way; named as tests/bad_plugins/rewards.py:NAME."""

import os
import random
import signal
import sys
import time


def good(batch):
    """Score the number of words: the one whose rows must not change."""
    return [float(len(text.split())) for text in batch.responses]


def raises_always(batch):
    raise RuntimeError("always")


def raises_on_one_row(batch):
    if any(row == "row-3#1" for row in batch.ids):
        raise ValueError("row three is not to my taste")
    return good(batch)


def wrong_length(batch):
    return good(batch)[:-1]


def wrong_type(batch):
    return "not scores"


def non_finite(batch):
    return [float("nan") if row.endswith("#0") else 1.0 for row in batch.ids]


def exits(batch):
    sys.exit(0)


def exits_hard(batch):
    os._exit(0)


def crashes_on_one_row(batch):
    if any(row == "row-3#1" for row in batch.ids):
        os.kill(os.getpid(), signal.SIGSEGV)
    return good(batch)


def hangs(batch):
    while True:
        time.sleep(1)


def hangs_on_one_row(batch):
    while any(row == "row-3#1" for row in batch.ids):
        time.sleep(1)
    return good(batch)


def prints(batch):
    print("noise on stdout")
    os.write(1, b"noise on fd 1\n" * 1000)
    return good(batch)


def changes_the_process(batch):
    random.seed(3)
    os.environ["LEFT_BEHIND"] = "1"
    os.chdir("/")
    return good(batch)


def interrupts(batch):
    raise KeyboardInterrupt


def depends_on_neighbours(batch):
    return [float(len(batch))] * len(batch)


def leaves_a_child(batch):
    if os.fork() == 0:
        with open("children", "a", encoding="utf-8") as file:  # noqa: PTH123
            file.write(f"{os.getpid()}\n")
        time.sleep(600)
    return good(batch)
