"""The README's commands and code, run as a new user would: files first, then every block in order."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from fakes import rmbench

README = (Path(__file__).resolve().parent.parent / "README.md").read_text(encoding="utf-8")
FILES = re.compile(r"<!-- file: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
BLOCKS = re.compile(r"(?<!-->\n)```(console|python)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("readme")
    for name, content in FILES.findall(README):
        (made / name).write_text(content, encoding="utf-8")
    return made


def test_every_block_of_the_readme_runs(folder):
    blocks = BLOCKS.findall(README)
    assert [kind for kind, _ in blocks].count("console") >= 4
    assert [kind for kind, _ in blocks].count("python") >= 3
    for kind, content in blocks:
        if kind == "python":
            command = [sys.executable, "-c", content]
            succeeded(subprocess.run(command, capture_output=True, text=True, cwd=folder, timeout=300, check=False))
        for line in content.splitlines() if kind == "console" else ():
            assert line.startswith("$ rmbench "), line
            succeeded(rmbench(*shlex.split(line)[2:], cwd=folder))


def succeeded(done):
    assert done.returncode == 0, f"{done.args}\n{done.stdout[-500:]}\n{done.stderr[-2000:]}"


def test_the_whole_plugin_has_at_most_14_lines():
    code = next(content for kind, content in BLOCKS.findall(README) if "hookimpl" in content)
    assert len([line for line in code.splitlines() if line.strip()]) <= 14


def test_files_and_folders_that_the_readme_names_are_there():
    root = Path(__file__).resolve().parent.parent
    for target in re.findall(r"\]\(([^)#]+)\)", README):
        assert (root / target).exists(), target
