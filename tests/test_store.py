import json
import subprocess
import sys

import pytest

from rmbench import InputError, RunFolderError
from rmbench.store import NEEDED, RunFolder, canonical, folder_name, write_whole

MANIFEST = {"schema": 1, **{key: kind() if isinstance(kind, type) else None for key, kind in NEEDED.items()}}


@pytest.fixture
def run(tmp_path):
    folder = RunFolder.create(tmp_path / "run", MANIFEST)
    yield folder
    folder.close()


def test_the_folder_appears_with_its_manifest(run):
    assert run.manifest() == MANIFEST
    assert RunFolder.is_run(run.path)


def test_a_part_is_journalled_with_its_hash_and_survives(run):
    run.commit("scores/a/part-00000.parquet", b"bytes", rows=3)
    entry = json.loads((run.path / "journal.jsonl").read_text().splitlines()[0])
    assert entry["rows"] == 3
    run.close()
    again = RunFolder.reopen(run.path)
    again.recover()
    assert set(again.parts) == {"scores/a/part-00000.parquet"}
    again.close()


def test_recovery_drops_changed_missing_and_temporary_parts(run):
    for index in range(4):
        run.commit(f"scores/a/part-0000{index}.parquet", b"bytes", rows=1)
    run.close()
    folder = run.path / "scores" / "a"
    (folder / "part-00000.parquet").write_bytes(b"other")
    (folder / "part-00001.parquet").unlink()
    (folder / "part-00009.parquet.tmp-1").write_bytes(b"half")
    with (run.path / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"part": "scores/a/part-00004.parq')
    again = RunFolder.reopen(run.path)
    again.recover()
    assert sorted(again.parts) == ["scores/a/part-00002.parquet", "scores/a/part-00003.parquet"]
    assert not list(folder.glob("*.tmp-*"))
    assert (run.path / "quarantine" / "scores__a__part-00000.parquet").read_bytes() == b"other"
    again.close()


def test_one_writer(run):
    code = f"from rmbench.store import RunFolder; from pathlib import Path; RunFolder(Path({str(run.path)!r})).lock()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert "RunFolderError" in done.stderr
    assert "pid" in done.stderr


def test_manifests_that_cannot_be_read(tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        RunFolder(tmp_path).manifest()
    for content, told in ((b"{", "damaged"), (b"[]", "no manifest"), (b'{"schema": 99}', "upgrade")):
        (tmp_path / "manifest.json").write_bytes(content)
        with pytest.raises(RunFolderError, match=told):
            RunFolder(tmp_path).manifest()


def test_files_are_written_whole(tmp_path):
    path = tmp_path / "a" / "b.json"
    write_whole(path, b"one")
    write_whole(path, b"two")
    assert path.read_bytes() == b"two"
    assert [p.name for p in path.parent.iterdir()] == ["b.json"]


def test_the_order_of_system_calls_is_fsync_then_rename_then_the_folder(tmp_path, monkeypatch):
    import os
    from pathlib import Path

    calls = []
    fsync, rename = os.fsync, Path.rename
    monkeypatch.setattr(os, "fsync", lambda fd: (calls.append("fsync"), fsync(fd))[1])
    monkeypatch.setattr(Path, "rename", lambda self, to: (calls.append("rename"), rename(self, to))[1])
    write_whole(tmp_path / "x", b"data")
    assert calls == ["fsync", "rename", "fsync"]


def test_names_become_safe_folders():
    assert folder_name("rouge-l") == "rouge-l"
    strange = [folder_name(n) for n in ("../x", "a/b", "con", "A", "a\0b", "x" * 300, "é")]
    assert len(set(strange)) == len(strange)
    for name in strange:
        assert "/" not in name
        assert not name.startswith(".")
        assert len(name) < 100


def test_nan_is_never_written():
    with pytest.raises(ValueError, match="JSON"):
        canonical({"x": float("nan")})


def test_a_journal_that_points_outside_moves_nothing(run, tmp_path):
    victim = tmp_path / "victim.txt"
    victim.write_text("mine")
    for line in ('{"part": "../victim.txt", "sha256": "00"}', "5", '{"part": "manifest.json", "sha256": "00"}'):
        (run.path / "journal.jsonl").write_text(line + "\n")
        with pytest.raises(RunFolderError, match="did not write"):
            run.recover()
    assert victim.read_text() == "mine"


def test_logs_are_not_written_through_a_link(tmp_path):
    from rmbench import EnvironmentFault
    from rmbench.store import append

    (tmp_path / "victim").write_text("mine")
    (tmp_path / "log").symlink_to(tmp_path / "victim")
    with pytest.raises(EnvironmentFault):
        append(tmp_path / "log", b"x")
    assert (tmp_path / "victim").read_text() == "mine"
