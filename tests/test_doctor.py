"""``rmbench doctor``: what is in place, and what is not, with what to do."""

import json
import os
import subprocess
import sys

import pytest
from fakes import distribution, reward_code, rmbench
from packaging.specifiers import SpecifierSet

from rmbench import doctor

PHONING = reward_code("phoning") + '\nimport socket\nsocket.create_connection(("127.0.0.1", 9), timeout=1)\n'


@pytest.fixture(scope="module")
def ill(tmp_path_factory):
    """Return what the doctor finds with a broken plugin, one that phones, and odd variables."""
    home = tmp_path_factory.mktemp("doctor")
    distribution(home, "broken", "import no_such_package")
    distribution(home, "phoning", PHONING)
    done = rmbench(
        "doctor", "--json", path=home, cwd=home,
        RMBENCH_DATA="/no/such/folder", RMBENCH_JUDGE_API_KEY="sesame", RMBENCH_STRIKT="1",
    )  # fmt: skip
    assert done.returncode == 1, done.stderr
    assert "sesame" not in done.stdout + done.stderr
    assert sorted(path.name for path in home.iterdir() if path.name.startswith(".")) == []
    return json.loads(done.stdout)


def found(findings, what):
    return [(one["state"], one["found"], one["help"]) for one in findings if one["what"] == what]


def test_each_problem_has_what_to_do(ill):
    problems = [one for one in ill if one["state"] == doctor.PROBLEM]
    assert all(one["help"] for one in problems)
    assert {one["what"] for one in problems} == {"plugin", "RMBENCH_DATA", "no network"}


def test_plugins(ill):
    (broken, *_) = [one for one in found(ill, "plugin") if "broken" in one[1]]
    assert broken[0] == "problem"
    assert "no_such_package" in broken[1]
    assert "reinstall or remove broken" in broken[2]
    assert found(ill, "plugin builtin")[0][0] == "ok"


def test_a_connection_is_refused_and_told(ill):
    ((state, words, _),) = found(ill, "no network")
    assert state == "problem"
    assert "socket.getaddrinfo '127.0.0.1'" in words


def test_variables(ill):
    assert found(ill, "RMBENCH_JUDGE_API_KEY") == [("ok", "is set (not shown)", "")]
    assert found(ill, "RMBENCH_DATA")[0][:2] == ("problem", "/no/such/folder is no folder")
    assert found(ill, "RMBENCH_STRIKT") == [
        ("note", "1: rmbench reads no such variable", "did you mean RMBENCH_STRICT?")
    ]


def test_what_is_in_place(ill):
    assert found(ill, "torch")[0][0] == "ok"
    assert "threads" in found(ill, "torch")[1][1]
    assert "written and locked" in found(ill, "this folder")[0][1]
    assert found(ill, "suite quickstart") == [("ok", "all that it names is here", "")]
    assert found(ill, "suite human")[0][0] == "note"


def test_proxies_are_secrets_too():
    told = list(doctor.variables({"https_proxy": "http://me:word@host", "NO_PROXY": "localhost", "HOME": "/x"}))
    assert [(one.what, one.found) for one in told] == [("NO_PROXY", "localhost"), ("https_proxy", "is set (not shown)")]


@pytest.mark.parametrize(
    ("version", "state", "words"),
    [
        ("2.13.0+cpu", "ok", "2.13.0+cpu"),
        ("2.9.1", "problem", "below 2.10 stand published weaknesses"),
        (None, "problem", "is not installed"),
    ],
)
def test_a_package_below_its_floor(version, state, words):
    one = doctor.package("torch", version, SpecifierSet(">=2.10"))
    assert (one.state, words in one.found) == (state, True)
    assert bool(one.help) == (state == "problem")
    assert "torch>=2.10" in one.help or state == "ok"


def test_a_folder_that_cannot_be_written(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("x")
    told = doctor.folder("cache", tmp_path / "file")
    assert (told.state, "cannot be written or locked" in told.found) == ("problem", True)
    assert doctor.folder("cache", tmp_path / "to" / "come").state == "ok"
    monkeypatch.setattr(doctor, "LEAST", 10**18)
    assert "GB free" in doctor.folder("cache", tmp_path).found
    assert doctor.folder("cache", tmp_path).state == "problem"


def test_a_process_that_fails_is_told_in_words():
    assert "No module named rmbench.nothing" in doctor.asked("rmbench.nothing")


def test_text_that_is_no_utf8_is_a_note():
    code = "from rmbench import doctor; print([one.state for one in doctor.python() if one.what == 'text'])"
    environment = {**os.environ, "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=True)
    assert done.stdout == "['note']\n"
