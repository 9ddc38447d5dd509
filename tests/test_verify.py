"""``rmbench verify``: a whole run is called whole, each damage is named."""

import json
import os
import re

import pytest
from damaged_run import LENGTH, ROUGE, SAMPLES, copy, cut, flip, replace, small_run, swap
from fakes import rmbench

from rmbench import InputError, RunFolderError
from rmbench.store import RunFolder, sealed
from rmbench.verify import verify


@pytest.fixture(scope="module")
def whole():
    return small_run()


@pytest.fixture
def run(whole, tmp_path):
    return copy(whole, tmp_path)


def told(run):
    return [(damage.file, damage.what) for damage in verify(run).damages]


def manifest_of(run):
    return json.loads((run / "manifest.json").read_text(encoding="utf-8"))


def test_a_whole_run(whole):
    before = {path: path.stat().st_mtime_ns for path in whole.rglob("*")}
    done = rmbench("verify", whole)
    assert done.returncode == 0, done.stdout + done.stderr
    line = done.stdout.removeprefix(f"{whole}: ")
    pattern = r"all is well; checked 17 parts, 108 rows, \d+ numbers computed again in [\d.]+ s\n"
    assert re.fullmatch(pattern, line)
    assert {path: path.stat().st_mtime_ns for path in whole.rglob("*")} == before
    found = json.loads(rmbench("verify", whole, "--json").stdout)
    results = json.loads((whole / "results.json").read_bytes())["results"]
    assert (found["ok"], found["numbers"], found["damages"]) == (True, len(results), [])


DAMAGES = {
    "truncated": (lambda run: cut(run / ROUGE), ROUGE, r"is truncated: 100 of [\d,]+ bytes"),
    "flipped": (lambda run: flip(run / SAMPLES), SAMPLES, "but not those that were written"),
    "missing": (lambda run: (run / LENGTH).unlink(), LENGTH, r"is missing \([\d,]+ bytes\)"),
    "a folder": (lambda run: ((run / LENGTH).unlink(), (run / LENGTH).mkdir()), LENGTH, "is no file"),
    "empty": (lambda run: cut(run / LENGTH, 0), LENGTH, r"is empty: 0 of [\d,]+ bytes"),
    "longer": (lambda run: (run / LENGTH).open("ab").write(b"x"), LENGTH, "was changed"),
    "swapped": (lambda run: swap(run / LENGTH, run / ROUGE), LENGTH, f"holds the bytes of {ROUGE}"),
    "extra": (
        lambda run: (run / "scores/data/length/part-00001.parquet").write_bytes(b"x"),
        "scores/data/length/part-00001.parquet", "no line of the journal names it",
    ),
    "edited results": (
        lambda run: replace(run / "results.json", '"value": 0.', '"value": 0.9'),
        "results.json", r"study \w+, metric .*, task data, .*: value .* stored, .* computed from the rows",
    ),
    "results in other bytes": (
        lambda run: replace(run / "results.json", '{"schema": 1', '{ "schema": 1'), "results.json", "its bytes"
    ),
    "results of another suite": (
        lambda run: replace(run / "results.json", '"name": "small"', '"name": "other"'), "results.json", "its bytes"
    ),
    "cut results": (lambda run: cut(run / "results.json", 900), "results.json", ""),
    "no results": (lambda run: (run / "results.json").unlink(), "results.json", "is missing"),
    "edited manifest": (
        lambda run: replace(run / "manifest.json", '"device": "cpu"', '"device": "gpu"'), "manifest.json", "was edited"
    ),
    "edited journal": (
        lambda run: replace(run / "journal.jsonl", '"rows": 12', '"rows": 11'), "journal.jsonl", "11 rows, it has 12"
    ),
    "another hash in the journal": (
        lambda run: replace(run / "journal.jsonl", '"sha256": "', '"sha256": "0'), SAMPLES, "not those"
    ),
    "duplicate line": (
        lambda run: (run / "journal.jsonl").open("ab").write((run / "journal.jsonl").read_bytes().split(b"\n")[0] + b"\n"),
        "journal.jsonl", f"names {SAMPLES} again",
    ),
    "no JSON in the journal": (lambda run: cut(run / "journal.jsonl", -30), "journal.jsonl", "line 17 is cut"),
    "a journal that points outside": (
        lambda run: (run / "journal.jsonl").write_text('{"part": "../x", "sha256": "0"}\n'), "journal.jsonl", "did not write"
    ),
    "an old report": (lambda run: replace(run / "report/results.json", ": 0", ": 1"), "report/results.json", "other numbers"),
    "measurements": (lambda run: cut(run / "measurements.json", 50), "measurements.json", ""),
    "a link": (
        lambda run: ((run / ROUGE).unlink(), (run / ROUGE).symlink_to("/etc/passwd")), ROUGE, "symbolic link"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DAMAGES)
def test_a_damage_is_named(run, name):
    harm, file, words = DAMAGES[name]
    harm(run)
    found = [what for where, what in told(run) if where == file]
    assert found, told(run)
    assert re.search(words, found[0]), found


def test_the_command_lists_every_damage_and_what_to_do(run):
    cut(run / ROUGE)
    (run / LENGTH).unlink()
    done = rmbench("verify", run)
    assert done.returncode == 5
    for name in (LENGTH, ROUGE):
        assert f"{run / name}: is " in done.stdout
    assert "2 damaged; checked" in done.stdout
    assert f"rmbench run --resume --out {run}" in done.stderr
    found = json.loads(rmbench("verify", run, "--json").stdout)
    assert not found["ok"]
    assert {one["file"] for one in found["damages"]} == {LENGTH, ROUGE}


def test_a_manifest_that_was_forged_with_its_seal_is_no_bug(run):
    manifest = manifest_of(run)
    for spoil in (
        lambda m: m["resolved"]["tasks"][0].pop("rows"),
        lambda m: m["resolved"].update(tasks=3),
        lambda m: m["resolved"]["tasks"][0].update(kind="dialogue"),
        lambda m: m.update(fingerprint="0" * 64),
        lambda m: m["resolved"].update(rewards=[]),
        lambda m: m["failures"].update({"length": "because"}),
    ):
        changed = json.loads(json.dumps(manifest))
        spoil(changed)
        (run / "manifest.json").write_bytes(sealed(changed))
        assert told(run), spoil


def test_an_unfinished_run_is_not_damaged(run):
    RunFolder(run).write_manifest({**manifest_of(run), "status": "interrupted"})
    (run / "results.json").unlink()
    with (run / "journal.jsonl").open("ab") as journal:
        journal.write(b'{"part": "scores/data/len')
    (run / f"{LENGTH}.tmp-17").write_bytes(b"x")
    done = rmbench("verify", run)
    assert done.returncode == 0, done.stdout
    assert "all is well (unfinished: interrupted)" in done.stdout
    assert f"go on with: rmbench run --resume --out {run}" in done.stderr
    cut(run / ROUGE)
    assert [file for file, _ in told(run)] == [ROUGE]


def test_what_is_no_run_or_of_a_newer_schema(run, tmp_path):
    with pytest.raises(InputError, match="no run folder"):
        verify(tmp_path)
    (run / "manifest.json").write_bytes(sealed({**manifest_of(run), "schema": 2}))
    with pytest.raises(RunFolderError, match="upgrade rmbench"):
        verify(run)


def test_a_run_of_an_earlier_version_without_sizes_and_seal(run):
    manifest = {key: value for key, value in manifest_of(run).items() if key not in ("sha256", "machine")}
    (run / "manifest.json").write_text(json.dumps(manifest), encoding="utf-8")
    lines = [json.loads(line) for line in (run / "journal.jsonl").read_text(encoding="utf-8").splitlines()]
    old = "".join(json.dumps({"part": line["part"], "sha256": line["sha256"]}) + "\n" for line in lines)
    (run / "journal.jsonl").write_text(old, encoding="utf-8")
    assert told(run) == []
    cut(run / ROUGE)
    (run / LENGTH).unlink()
    assert dict(told(run))[LENGTH] == "is missing"
    assert "was changed: 100 bytes" in dict(told(run))[ROUGE]


def test_pipes_are_not_waited_for(run):
    for name in (LENGTH, ".lock", "results.json", "manifest.json"):
        (run / name).unlink()
        os.mkfifo(run / name)
        if name != "manifest.json":
            verify(run)
    with pytest.raises(RunFolderError, match="no file"):
        verify(run)


def test_a_run_that_is_being_written(run):
    writer = RunFolder(run)
    writer.lock()
    try:
        with pytest.raises(RunFolderError, match=f"pid {os.getpid()}"):
            verify(run)
    finally:
        writer.close()
    assert verify(run).damages == []
