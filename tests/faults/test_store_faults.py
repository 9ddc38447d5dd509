"""What the store does where a write, a sync or a rename fails, or where a process before it was killed."""

import errno
import os
from pathlib import Path

import pytest

from rmbench import EnvironmentFault, InputError, RunFolderError, errors, fitter, fitting, optimising, trainer
from rmbench.cli.running import _to_go_on
from rmbench.opening import open_folder
from rmbench.runs import Settings
from rmbench.store import NEEDED, RunFolder, append_whole, hidden, write_whole

PLAIN = {key: kind() if isinstance(kind, type) else None for key, kind in NEEDED.items()}
MANIFEST = {"schema": 1, **PLAIN, "fingerprint": "f", "warnings": []}
DEAD = 2**22 + 1  # no process has this number: the greatest of Linux is 2**22


@pytest.fixture
def no_sync(monkeypatch):
    def fail(_):
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr(os, "fsync", fail)


def test_a_file_that_could_not_be_synced_is_neither_there_nor_left(tmp_path, no_sync):
    (tmp_path / "x").write_bytes(b"old")
    with pytest.raises(EnvironmentFault, match="Input/output error"):
        write_whole(tmp_path / "x", b"new")
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {"x": b"old"}


def test_a_line_that_could_not_be_synced_is_taken_back(tmp_path, no_sync):
    (tmp_path / "journal").write_bytes(b"one\n")
    with pytest.raises(EnvironmentFault, match="journal"):
        append_whole(tmp_path / "journal", b"two\n")
    assert (tmp_path / "journal").read_bytes() == b"one\n"


def test_what_a_killed_start_left_goes_and_what_a_living_process_makes_stays(tmp_path):
    for name in (
        f".run.tmp-{DEAD}",
        f".run.old.tmp-{DEAD}",
        f".run.tmp-{os.getppid()}",
        f".runs.tmp-{DEAD}",
        ".run.tmp-x",
    ):
        (tmp_path / name).mkdir()
    RunFolder.create(tmp_path / "run", MANIFEST).close()
    left = {path.name for path in tmp_path.iterdir()}
    assert left == {"run", f".run.tmp-{os.getppid()}", f".runs.tmp-{DEAD}", ".run.tmp-x"}


def test_a_folder_appears_locked_and_a_full_one_is_not_replaced(tmp_path):
    first = RunFolder.create(tmp_path / "run", MANIFEST)
    with pytest.raises(RunFolderError, match=rf"another process writes here \(pid {os.getpid()} on"):
        RunFolder.create(tmp_path / "run", MANIFEST)
    first.close()
    with pytest.raises(RunFolderError, match="another process has made a run here"):
        RunFolder.create(tmp_path / "run", MANIFEST)
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_name_of_255_bytes_has_place_for_what_is_made_beside_it(tmp_path):
    name = "\u65e5" * 85
    assert len(os.fsencode(hidden(tmp_path / name, ".old").name)) < 200
    RunFolder.create(tmp_path / name, MANIFEST).close()
    assert RunFolder.is_run(tmp_path / name)


def test_force_leaves_a_run_or_nothing_wherever_it_is_killed(tmp_path, monkeypatch):
    out = tmp_path / "run"
    RunFolder.create(out, MANIFEST).close()
    seen = []
    made, rename = RunFolder.create, Path.rename
    monkeypatch.setattr(RunFolder, "create", lambda *given: (seen.append(out.exists()), made(*given))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (seen.append(self.exists()), rename(self, to))[1])
    run, _ = open_folder(out, MANIFEST, Settings(out, force=True))
    run.close()
    assert seen[:2] == [True, False]  # the old one is put aside whole before the new one is made
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_file_above_the_folder_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    with pytest.raises(InputError, match=r"cannot be the run folder: .*/file\b"):
        RunFolder.create(tmp_path / "file" / "run", MANIFEST)


def test_the_free_space_told_is_that_of_the_disk(tmp_path, monkeypatch):
    asked = []
    usage = type("Usage", (), {"free": 12})
    monkeypatch.setattr("rmbench.store.shutil.disk_usage", lambda path: (asked.append(path), usage)[1])

    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(Path, "mkdir", full)
    with pytest.raises(EnvironmentFault, match=r"no space to write \(12 bytes free\)"):
        write_whole(tmp_path / "not" / "there" / "x", b"new")
    assert asked == [tmp_path]


def test_what_differs_is_told_with_short_values(tmp_path):
    RunFolder.create(tmp_path / "run", {**MANIFEST, "identity": {"seeds": [1], "task a": {"x": "y" * 99}}}).close()
    other = {**MANIFEST, "fingerprint": "g", "identity": {"seeds": [2], "task a": {"x": "z"}}}
    with pytest.raises(RunFolderError, match=r"what differs: seeds \(\[1\] there, \[2\] now\), task a\n"):
        open_folder(tmp_path / "run", other, Settings(tmp_path / "run", resume=True))


def test_an_interrupt_before_the_folder_names_no_command(tmp_path):
    assert _to_go_on(Settings(tmp_path / "run")) == "nothing was written yet"
    RunFolder.create(tmp_path / "run", MANIFEST).close()
    assert _to_go_on(Settings(tmp_path / "run")).endswith(f"rmbench run --resume --out {tmp_path / 'run'}")


# ---- a full disk in the process of a fit or a training


def disk_full(*_):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError(errno.ENOSPC, "No space left on device")))
        write_whole(Path.cwd() / "model.safetensors", b"weights")


@pytest.mark.parametrize(
    ("process", "work", "driver"), [(fitter, "fit", fitting), (trainer, "train", optimising)], ids=["fit", "train"]
)
def test_a_full_disk_ends_the_run_and_is_no_fault_of_the_model(tmp_path, monkeypatch, process, work, driver):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(process, work, disk_full)
    reply = process.answer({}, None)
    with pytest.raises(EnvironmentFault, match=r"model\.safetensors: no space to write"):
        driver._raise(reply, "rm")


def test_what_is_no_fault_of_the_system_is_the_models():
    assert errors.reply(EnvironmentFault("the weights take 9 GB"))["error"] == "refused"
    assert errors.reply(InputError("steps is 0", help="1"))["error"] == "refused"
