"""The plain way: a wheel, installed, run from any folder."""

import json
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPO = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(out), str(REPO)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return next(out.glob("rmbench-*.whl"))


def test_the_wheel_carries_tasks_suites_and_templates_and_nothing_else(wheel):
    names = zipfile.ZipFile(wheel).namelist()
    for name in ("news-mini", "ende-mini", "chat-mini", "moderation-mini", "story-mini"):
        assert f"rmbench/_tasks/{name}/data.jsonl" in names
        assert f"rmbench/_tasks/{name}/task.toml" in names
    for name in (
        "_tasks/suites/quickstart.toml",
        "_tasks/suites/human.toml",
        "_tasks/suites/moderation.toml",
        "_tasks/moderation-mini/terms.txt",
        "report/templates/report.html.j2",
        "report/templates/report.css",
    ):
        assert f"rmbench/{name}" in names
    assert not [name for name in names if "test_" in name or name.endswith((".pth", ".so", ".pyc"))]
    assert {name.split("/")[0].split("-")[0] for name in names} == {"rmbench"}


def test_an_installed_wheel_runs_the_quickstart_from_any_folder(wheel, tmp_path):
    site, work = tmp_path / "site", tmp_path / "elsewhere"
    work.mkdir()
    pip = [
        sys.executable,
        "-m",
        "pip",
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
        "--target",
        str(site),
        str(wheel),
    ]
    subprocess.run(pip, check=True, capture_output=True)
    env = {**os.environ, "PYTHONPATH": str(site)}
    where = subprocess.run(
        [sys.executable, "-c", "import rmbench; print(rmbench.__file__)"],
        capture_output=True,
        text=True,
        env=env,
        cwd=work,
        check=True,
    )
    assert where.stdout.startswith(str(site))
    done = subprocess.run(
        [sys.executable, "-m", "rmbench.cli.main", "run"],
        capture_output=True,
        text=True,
        env=env,
        cwd=work,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    out = next((work / "runs").iterdir())
    assert out.name.startswith("quickstart-")
    manifest = json.loads((out / "manifest.json").read_text())
    assert manifest["status"] == "complete"
    assert {task["name"] for task in manifest["resolved"]["tasks"]} == {"news-mini", "ende-mini", "chat-mini"}
    assert (out / "report" / "index.html").stat().st_size > 10_000
