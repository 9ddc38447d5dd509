"""A damaged run either comes out again to the byte with --resume, or ends in exit 5 with words."""

import json

import pytest
from damaged_run import LENGTH, ROUGE, SAMPLES, copy, cut, flip, replace, scoring_here, small_run, swap
from fakes import rmbench as command

import rmbench
from rmbench import RunFolderError
from rmbench.cli.main import invoke
from rmbench.store import NEEDED, RunFolder, sealed
from rmbench.verify import verify

PUBLIC = ("samples", "scores", "results.json", "journal.jsonl")


@pytest.fixture(scope="module")
def whole():
    return small_run()


def resume(run):
    return command("run", "--resume", "--out", run, "--workers", "2")


def held(run):
    """Return the bytes of what is a function of the suite; the order of the journal is that of the workers."""
    files = [path for name in PUBLIC for path in (run / name, *(run / name).rglob("*")) if path.is_file()]
    return {str(path.relative_to(run)): sorted(path.read_bytes().split(b"\n")) for path in files}


def harmed(run):
    """Damage a run in every way that --resume mends."""
    cut(run / "scores/data/longest/part-00000.parquet")
    flip(run / SAMPLES)
    swap(run / LENGTH, run / ROUGE)
    (run / "scores/data/shortest/part-00000.parquet").unlink()
    cut(run / "scores/data/random/part-00000.parquet", 0)
    cut(run / "scores/data/rouge-l/canary.json", 9)
    (run / "scores/data/constant/part-00001.parquet").write_bytes((run / LENGTH).read_bytes())
    (run / "scores/data/notes.txt").write_text("mine", encoding="utf-8")
    (run / "scores/data__rouge-l").mkdir()  # its parts' names in quarantine/ would be those of another
    (run / "scores/data__rouge-l/part-00000.parquet").write_bytes(b"extra")
    with (run / "journal.jsonl").open("ab") as journal:
        lines = (run / "journal.jsonl").read_bytes().split(b"\n")
        journal.write(lines[0] + b"\nno json\n" + lines[1][:20])
    replace(run / "results.json", '"value": 0.', '"value": 0.9')
    cut(run / "measurements.json", 70)


def test_every_damage_at_once_is_mended_to_the_byte(whole, tmp_path):
    run = copy(whole, tmp_path)
    harmed(run)
    found = {damage.file for damage in verify(run).damages}
    assert len(found) == 13, found
    with scoring_here():
        rmbench.run(whole.parent / "suite.toml", out=run, resume=True)
    assert held(run) == held(whole)
    assert verify(run).damages == []
    kept = {path.name: path.read_bytes() for path in (run / "quarantine").iterdir()}
    assert kept["scores__data__notes.txt"] == b"mine"
    assert b"extra" in (
        kept["scores__data__rouge-l__part-00000.parquet"],
        kept["scores__data__rouge-l__part-00000.parquet.1"],
    )
    assert len(kept) == 10


def test_half_a_journal_and_a_manifest_without_what_is_only_told(whole, tmp_path):
    run = copy(whole, tmp_path)
    kept = {name: value for name, value in RunFolder(run).manifest().items() if name in (*NEEDED, "schema", "status")}
    RunFolder(run).write_manifest({**kept, "warnings": 5, "resumed": {}})
    cut(run / "journal.jsonl", (run / "journal.jsonl").stat().st_size // 2)
    assert {one.file for one in verify(run).damages} > {"journal.jsonl"}
    with scoring_here():
        assert invoke(["run", "--resume", "--out", str(run)]) == 0
    assert held(run) == held(whole)
    assert verify(run).damages == []
    assert RunFolder(run).manifest()["versions"]
    assert not (run / "quarantine").exists()  # the same bytes were written over what no line named


def test_a_reward_is_not_averaged_over_the_parts_that_are_left(whole, tmp_path):
    run = copy(whole, tmp_path)
    (run / ROUGE).unlink()
    lines = [line for line in (run / "journal.jsonl").read_text().splitlines(keepends=True) if ROUGE not in line]
    (run / "journal.jsonl").write_text("".join(lines))
    found = [damage for damage in verify(run).damages if damage.file == "results.json"]
    assert all("reward rouge-l" in damage.what for damage in found[:5])
    assert found[-1].what.endswith("more results differ")


def test_a_manifest_that_lost_a_key_is_told(whole, tmp_path):
    run = copy(whole, tmp_path)
    manifest = json.loads((run / "manifest.json").read_bytes())
    for key in NEEDED:
        for changed in ({name: value for name, value in manifest.items() if name != key}, {**manifest, key: 5}):
            (run / "manifest.json").write_bytes(sealed(changed))
            with pytest.raises(RunFolderError, match=r"manifest\.json: is no manifest of rmbench"):
                verify(run)
    assert resume(run).returncode == 5


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"fingerprint": "0"}, "what differs: its fingerprint alone"),
        ({"suite": {}}, "tasks"),
        ({"identity": {}, "fingerprint": "0"}, "what differs: task data"),
    ],
)
def test_an_edited_manifest_is_no_bug(whole, tmp_path, change, words):
    run = copy(whole, tmp_path)
    folder = RunFolder(run)
    folder.write_manifest({**folder.manifest(), **change})
    assert verify(run).damages or "suite" in change
    done = resume(run)
    assert done.returncode in (2, 5), done.stderr
    assert words in done.stderr


def test_a_link_in_the_folder_is_refused_and_nothing_behind_it_moves(whole, tmp_path):
    run = copy(whole, tmp_path)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "part-00000.parquet").write_bytes(b"mine")
    (run / ROUGE).unlink()
    (run / "scores/data/rouge-l/canary.json").unlink()
    (run / "scores/data/rouge-l").rmdir()
    (run / "scores/data/rouge-l").symlink_to(tmp_path / "mine")
    done = resume(run)
    assert done.returncode == 5
    assert "scores/data/rouge-l is a symbolic link" in done.stderr
    assert (tmp_path / "mine" / "part-00000.parquet").read_bytes() == b"mine"
