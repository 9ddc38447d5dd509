"""Options that are paths: relative to the suite, given to the builder as Path, their contents in the signature."""

import json
import os

import pytest
from fakes import rmbench as command
from fakes import rows

from rmbench import NoScore, content, options, scoring

REWARD = '''
from pathlib import Path
from typing import Literal
from rmbench import NoScore, Reward

def build(*, words: Path, mode: Path | Literal["none"] | None = None):
    """Count the words of a file."""
    assert isinstance(words, Path)
    listed = words.read_text().split()
    def score(batch):
        return [sum(text.split().count(w) for w in listed) or NoScore("no word of the list") for text in batch.responses]
    return score

counted = Reward(name="counted", version=1, build=build)
'''


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "reward.py").write_text(REWARD, encoding="utf-8")
    (tmp_path / "lists").mkdir()
    (tmp_path / "lists" / "words.txt").write_text("cat sat", encoding="utf-8")
    text = "".join(json.dumps(row) + "\n" for row in rows())
    (tmp_path / "data.jsonl").write_text(text, encoding="utf-8")
    (tmp_path / "s.toml").write_text(
        'tasks = ["data.jsonl"]\nrewards = [{ use = "reward.py:counted", options = { words = "lists/words.txt" } }]\n',
        encoding="utf-8",
    )
    return tmp_path


def signature(run):
    found = json.loads((run / "results.json").read_text(encoding="utf-8"))
    return next(row["signature"] for row in found["results"] if row["reward"] == "counted")


def test_a_path_is_relative_to_the_suite_and_its_contents_are_in_the_signature(folder):
    (folder / "elsewhere").mkdir()
    done = command("run", "../s.toml", "--out", "run", "--kind", "qa", "--max-unscored", "1", cwd=folder / "elsewhere")
    assert done.returncode == 0, done.stderr
    sha = content.digest(folder / "lists" / "words.txt")[:8]
    assert f"words:words.txt#{sha}" in signature(folder / "elsewhere" / "run")
    assert str(folder) not in (folder / "elsewhere" / "run" / "results.json").read_text(encoding="utf-8")


def test_a_path_of_the_command_line_is_relative_to_the_working_directory_also_on_resume(folder):
    here = folder / "here"
    here.mkdir()
    (here / "mine.txt").write_text("mat", encoding="utf-8")
    words = ("--kind", "qa", "--max-unscored", "1")
    done = command("run", "../s.toml", "-o", "counted.words=mine.txt", "--out", "run", *words, cwd=here)
    assert done.returncode == 0, done.stderr
    assert "words:mine.txt#" in signature(here / "run")
    again = command("run", "--resume", "--out", "here/run", "--max-unscored", "1", cwd=folder)
    assert again.returncode == 0, again.stderr
    (here / "mine.txt").write_text("hat", encoding="utf-8")
    changed = command("run", "--resume", "--out", "here/run", cwd=folder)
    assert changed.returncode == 5, changed.stderr
    assert "belongs to another run; what differs: task data (reward counted)" in changed.stderr


def test_a_path_that_is_not_there_is_exit_2_and_nothing_is_written(folder):
    done = command("run", "s.toml", "-o", "counted.words=no.txt", "--kind", "qa", "--out", "run", cwd=folder)
    assert done.returncode == 2
    assert "option counted.words: cannot read" in done.stderr
    assert "no.txt" in done.stderr
    assert not (folder / "run").exists()


def test_rows_without_a_score_keep_the_reason_that_the_reward_gives(folder):
    line = json.dumps({"id": "a", "prompt": "p", "response": "nothing here"})
    (folder / "in.jsonl").write_text(line + "\n", encoding="utf-8")
    given = ("-r", "reward.py:counted", "-o", "counted.words=lists/words.txt", "in.jsonl")
    done = command("score", *given, cwd=folder)
    out = json.loads(done.stdout)
    assert (out["score"], out["reason"]) == (None, "no word of the list")


def test_the_digest_of_a_folder_sees_names_and_contents_but_no_hidden_files(tmp_path):
    (tmp_path / "m" / "deep").mkdir(parents=True)
    (tmp_path / "m" / "a").write_bytes(b"1")
    (tmp_path / "m" / "deep" / "b").write_bytes(b"2")
    before = content.digest(tmp_path / "m")
    (tmp_path / "m" / ".cache").write_bytes(b"3")
    os.mkfifo(tmp_path / "m" / "pipe")
    assert content.digest(tmp_path / "m") == before
    (tmp_path / "m" / "deep" / "b").rename(tmp_path / "m" / "deep" / "c")
    assert content.digest(tmp_path / "m") != before


def test_words_of_a_literal_are_no_paths():
    from pathlib import Path
    from typing import Literal

    def build(*, file: Path | Literal["none"] | None = None, name: str = ""):
        return file, name

    assert options.paths(build, {"file": "x.txt", "name": "y.txt"}) == ["file"]
    assert options.paths(build, {"file": "none"}) == []
    assert options.paths(build, {"file": None}) == []
    assert options.typed(build, {"file": "x.txt", "name": "y"}) == {"file": Path("x.txt"), "name": "y"}


def test_no_score_without_words_still_has_a_reason():
    found = scoring.check([1.0, NoScore(""), NoScore("cut\nshort")], 3)
    assert found.values == [1.0, None, None]
    assert found.reasons[1] == "the reward gave no reason"
    assert "\n" not in found.reasons[2]


def test_a_folder_of_too_many_files_is_not_read(tmp_path, monkeypatch):
    monkeypatch.setattr(content, "MOST_FILES", 3)
    for place in ("a", "b"):
        (tmp_path / place).mkdir()
        for number in range(4):
            (tmp_path / place / str(number)).write_bytes(b"")
    with pytest.raises(OSError, match="more than 3 files"):
        content.digest(tmp_path)
