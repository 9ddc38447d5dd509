"""What a call changes of its process is undone and told, whatever it was before."""

import os
import random
import signal
import sys

import numpy as np
import pytest

from rmbench import guard, scoring, traces


def changed(body, kinds=traces.STATE):
    with traces.undone(kinds) as notes:
        body()
    return notes


def test_nothing_changed_is_nothing_told():
    assert changed(lambda: None, (*traces.STATE, traces.PATH)) == []


def test_each_change_is_undone():
    before = random.getstate(), os.getcwd(), os.umask(0o022), signal.getsignal(signal.SIGUSR1)

    def rude():
        random.seed(1)
        np.random.seed(1)
        os.chdir("/")
        os.umask(0o077)
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        os.environ["RMBENCH_LEFT"] = "1"

    assert changed(rude) == [
        "changed the state of Python's random module (restored)", "changed the state of numpy.random (restored)",
        "changed the working directory (restored)", "changed the environment (RMBENCH_LEFT) (restored)",
        "changed the umask (restored)", "changed the handlers of signals (SIGUSR1) (restored)",
    ]  # fmt: skip
    assert (random.getstate(), os.getcwd(), os.umask(before[2]), signal.getsignal(signal.SIGUSR1)) == (
        *before[:2], 0o022, before[3],
    )  # fmt: skip
    assert "RMBENCH_LEFT" not in os.environ


def test_a_change_is_undone_where_the_body_raises():
    folder = os.getcwd()

    def rude():
        os.chdir("/")
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        changed(rude)
    assert os.getcwd() == folder


def test_a_package_that_is_imported_meanwhile_is_noticed_at_the_next_call(monkeypatch):
    state = np.random.get_state()
    monkeypatch.delitem(sys.modules, "numpy")

    def first():
        sys.modules["numpy"] = np
        np.random.seed(3)

    assert changed(first) == []
    assert changed(lambda: np.random.seed(3)) == ["changed the state of numpy.random (restored)"]
    np.random.set_state(state)


def test_torchs_settings_are_undone():
    torch = pytest.importorskip("torch")
    threads = torch.get_num_threads()

    def rude():
        torch.manual_seed(3)
        torch.set_default_dtype(torch.float64)
        torch.set_grad_enabled(False)
        torch.use_deterministic_algorithms(True)
        torch.set_num_threads(threads + 1)

    notes = changed(rude)
    for told in ("random generator", "default dtype", "grad mode", "deterministic algorithms", "number of threads"):
        assert any(told in note for note in notes), told
    assert torch.get_default_dtype() == torch.float32
    assert torch.is_grad_enabled()
    assert not torch.are_deterministic_algorithms_enabled()
    assert torch.get_num_threads() == threads


def test_a_tensor_that_requires_grad_is_refused_and_one_of_no_memory_is_known():
    torch = pytest.importorskip("torch")
    with pytest.raises(scoring.Contract, match="requires grad"):
        scoring.check(torch.ones(2, requires_grad=True), 2)
    assert scoring.check(torch.tensor([1.0, float("nan")]), 2).values == [1.0, None]
    assert guard.Foreign(torch.OutOfMemoryError("no")).memory
    assert guard.Foreign(MemoryError()).memory
    assert not guard.Foreign(ValueError()).memory


def test_sys_path_is_put_back_or_only_told():
    before = list(sys.path)
    assert changed(lambda: sys.path.append("/nowhere"), [traces.PATH]) == ["changed sys.path (restored)"]
    assert sys.path == before
    notes = changed(lambda: sys.path.append("/nowhere"), [traces.OWN_PATH])
    assert notes == ["changed sys.path (kept: the process is its own)"]
    sys.path.remove("/nowhere")


def test_a_folder_that_is_gone_is_no_error(tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert changed(lambda: None) == []
    os.chdir(tmp_path)
