"""Hostile text in every place that data, a plugin or a folder can set: inert in every output of every command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from types import SimpleNamespace

import hostile_world as world
import inert
import pytest
from fakes import rmbench

from rmbench.cli import terminal

CHECKS = {"index.html": inert.html, "report.md": inert.markdown, "results.tex": inert.latex, "results.csv": inert.table}
BOARD = {"index.html": inert.html, "leaderboard.md": inert.markdown, "leaderboard.csv": inert.table}


def on_terminal(folder, *words):
    """Run a command with a terminal as its streams and return its exit code and what it wrote there."""
    master, slave = pty.openpty()
    command = [sys.executable, "-m", "rmbench.cli.main", *map(str, words)]
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(folder), os.environ.get("PYTHONPATH", "")]),
        "TERM": "xterm",
    }
    child = subprocess.Popen(command, stdin=slave, stdout=slave, stderr=slave, env=environment)
    os.close(slave)
    written = b""
    while True:
        try:
            some = os.read(master, 65536)
        except OSError:  # the other end is closed
            break
        if not some:
            break
        written += some
    os.close(master)
    return child.wait(60), written.decode()


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    base = tmp_path_factory.mktemp("hostile")
    plugins, suite = world.plugins(base / "plugins"), world.suite(base / "suite")
    code, written = on_terminal(plugins, "run", suite, "--out", base / "run")
    return SimpleNamespace(base=base, plugins=plugins, run=base / "run", code=code, written=written)


def read(path):
    return path.read_bytes().decode()


def quiet(done):
    """What a command wrote to a pipe, checked."""
    assert inert.controls(done.stdout) == []
    assert inert.controls(done.stderr) == []
    return done


def test_a_terminal_gets_a_bar_a_table_and_no_control_of_others(made):
    assert made.code == 3
    assert "Traceback" not in made.written
    written = made.written
    assert "rows/s" in written
    for control in ("\x1b[?25l", "\x1b[?25h", "\x1b[2K", "\x1b[1A", "\r"):  # the bar is drawn again and again
        written = written.replace(control, "")
    assert inert.terminal(written) == []


def test_no_text_poses_as_a_message_of_ours(made, capsys):
    assert not [line for line in made.written.replace("\r", "\n").split("\n") if line.startswith(("# head", "- item"))]
    terminal.say("a\nrmbench: all is well", "b")
    assert capsys.readouterr().err == "a rmbench: all is well\nb\n"


@pytest.mark.parametrize("name", CHECKS)
def test_the_report_is_inert(made, name):
    assert CHECKS[name](read(made.run / "report" / name)) == []


def test_the_texts_are_there_all_the_same(made):
    page = read(made.run / "report" / "index.html")
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in page
    assert "\\x1b[2J" in page
    assert "id-1" in page
    results = json.loads(read(made.run / "results.json"))["results"]
    assert {row["aspect"] for row in results} >= set(world.ASPECTS)


def test_every_file_stands_inside_the_run_folder(made):
    names = {str(path.relative_to(made.run)) for path in made.run.rglob("*")}
    assert all(name.isascii() and name.isprintable() and len(name) < 120 for name in names)
    assert sorted(path.name for path in made.base.iterdir()) == ["plugins", "run", "suite"]


def test_a_leaderboard_is_inert(made):
    board = made.base / "run" / "board"
    added = quiet(rmbench("leaderboard", "add", made.run, board))
    assert added.returncode == 0, added.stderr
    for name, check in BOARD.items():
        assert check(read(board / name)) == [], name
    (kept,) = (board / "runs").iterdir()
    assert kept.name.isascii()


@pytest.mark.parametrize(
    "words", [("compare",), ("compare", "--json"), ("leaderboard",), ("leaderboard", "--json")], ids=" ".join
)
def test_commands_on_a_run_print_nothing_that_acts(made, words):
    done = quiet(rmbench(words[0], made.run, *words[1:]))
    assert done.returncode == 0, done.stderr
    if "--json" in words:
        assert json.loads(done.stdout)


def test_what_a_plugin_says_of_itself_is_inert(made):
    shown = quiet(rmbench("show", "judged", path=made.plugins))
    assert "doc<script>alert(1)</script>" in shown.stdout
    listed = quiet(rmbench("list", path=made.plugins))
    assert "broken: ImportError: import<script>" in listed.stdout
    as_json = json.loads(quiet(rmbench("list", "rewards", "--json", path=made.plugins)).stdout)
    assert next(row for row in as_json if row["name"] == "judged")["doc"].startswith("doc<script>")


def test_scored_lines_are_the_same_values_and_inert(made):
    row = {"id": world.bad("id"), "prompt": world.bad("ask"), "response": world.bad("answer"), "meta": {world.ALL: "x"}}
    line = json.dumps(row, ensure_ascii=False) + "\n"
    done = quiet(rmbench("score", "-r", "judged", path=made.plugins, stdin=line))
    assert done.returncode == 0
    scored = json.loads(done.stdout)
    assert {key: scored[key] for key in row} == row
    assert world.PART in scored["parts"]


@pytest.mark.parametrize(
    "words",
    [
        ("show", world.ALL), ("list", world.TERMINAL), (world.TERMINAL,), ("run", f"{world.TERMINAL}.toml"),
        ("run", "--task", f"{world.TERMINAL}.jsonl"), ("run", "--reward", world.TERMINAL), ("run", f"--{world.TERMINAL}"),
        ("run", "-o", f"length.{world.TERMINAL}=1"), ("run", "--limit", world.TERMINAL), ("report", world.TERMINAL),
        ("report", ".", "--format", world.TERMINAL), ("score", "-r", "length", world.TERMINAL), ("tune", world.TERMINAL),
    ],
    ids=lambda words: words[0][:6].strip("\x1b"),
)  # fmt: skip
def test_words_of_the_command_line_come_back_inert(tmp_path, words):
    done = quiet(rmbench(*words, cwd=tmp_path))
    assert done.returncode == 2, done.stderr
    assert "Traceback" not in done.stderr
    assert list(tmp_path.iterdir()) == []
