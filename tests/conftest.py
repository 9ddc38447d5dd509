"""What every test may ask for."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

# Tests run on every core already: threads of torch and BLAS in each of them wait for each other.
os.environ.setdefault("OMP_NUM_THREADS", "1")

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="session")
def data_dir() -> Path:
    """The folder of human-judged data: RMBENCH_DATA, else ../shared/data. CI fails where it is missing."""
    folder = Path(os.environ.get("RMBENCH_DATA", REPO.parent / "shared" / "data")).resolve()
    if not folder.is_dir():
        message = f"no data folder {folder}: set RMBENCH_DATA"
        if os.environ.get("CI"):
            pytest.fail(message)
        pytest.skip(message)
    return folder


@pytest.fixture(autouse=True)
def _handlers_of_signals():
    """A command run in this process takes signals, as a fit does, and the processes of later tests would inherit that."""
    kept = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in kept.items():
        signal.signal(number, handler)
