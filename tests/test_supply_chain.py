"""Locked versions and the ranges of pyproject.toml are above the floors of published weaknesses."""

import re
import tomllib
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.version import Version

from rmbench.doctor import FLOORS

ROOT = Path(__file__).resolve().parent.parent
LOCK = dict(re.findall(r"^([\w.-]+)==(\S+)", (ROOT / "requirements.lock").read_text(encoding="utf-8"), re.MULTILINE))
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


@pytest.mark.parametrize("name", FLOORS)
def test_what_is_locked_is_above_its_floor(name):
    assert Version(LOCK[name]) >= Version(FLOORS[name])


def test_every_locked_version_is_exact():
    lines = (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines()
    names = [line for line in lines if line and not line.lstrip().startswith("#")]
    assert len(names) > 30
    assert all(re.fullmatch(r"[\w.-]+(\[[\w,-]+\])?==[\w.!+]+( ;.*)?", name) for name in names), names


@pytest.mark.parametrize("text", [one for one in PROJECT["dependencies"] if Requirement(one).name in FLOORS])
def test_the_least_version_of_a_dependency_is_not_below_its_floor(text):
    wanted = Requirement(text)
    least = [Version(one.version) for one in wanted.specifier if one.operator in {">=", "=="}]
    assert least
    assert min(least) >= Version(FLOORS[wanted.name])


def test_security_says_every_floor():
    words = (ROOT / "SECURITY.md").read_text(encoding="utf-8")
    for name, floor in FLOORS.items():
        assert name == "nltk" or f"{name} {floor}" in words
