"""The audit of the locked packages: waivers have an end, and no answer is no pass."""

import datetime as dt
from pathlib import Path

import pytest
from fakes import REPO, modules_of

TODAY = dt.date(2027, 1, 15)
REPORT = {
    "dependencies": [
        {
            "name": "torch",
            "version": "2.9",
            "vulns": [{"id": "PYSEC-1", "aliases": ["CVE-1"], "fix_versions": ["2.10"]}],
        },
        {"name": "rich", "version": "15", "vulns": []},
        {"name": "mine", "skip_reason": "not found"},
    ],
    "fixes": [],
}


@pytest.fixture(scope="module")
def audit():
    with modules_of(REPO / ".ci", ("audit",)) as found:
        yield found.audit


def waiver(audit, name="CVE-1", until=TODAY):
    return audit.Waiver(name, "never called", until)


def told(audit, *accepted):
    return audit.problems(audit.read(REPORT)[0], list(accepted), TODAY)


def test_an_advisory_fails_until_it_is_waived_by_its_id_or_an_alias(audit):
    assert told(audit) == ["torch 2.9: PYSEC-1 / CVE-1, fixed in 2.10"]
    assert told(audit, waiver(audit)) == []
    assert told(audit, waiver(audit, "PYSEC-1")) == []


def test_a_waiver_past_its_day_fails(audit):
    assert told(audit, waiver(audit, until=dt.date(2027, 1, 14))) == [
        "torch 2.9: the waiver of CVE-1 ended on 2027-01-14"
    ]


def test_a_waiver_that_matches_nothing_fails(audit):
    assert told(audit, waiver(audit), waiver(audit, "CVE-2")) == [
        "the waiver of CVE-2 matches no advisory: remove it, or mend its id"
    ]


@pytest.mark.parametrize(
    "text",
    [
        '[[waiver]]\nid = "CVE-1"\nreason = "x"',
        '[[waiver]]\nid = "CVE-1"\nreason = ""\nuntil = 2027-01-01',
        '[[waiver]]\nid = "CVE-1"\nreason = "x"\nuntil = "2027-01-01"',
        '[[waiver]]\nid = "CVE-1"\nreason = "x"\nuntil = 2027-01-01T00:00:00',
        '[[waiver]]\nid = "CVE-1"\nreason = "x"\nuntil = 2027-01-01\nowner = "y"',
        '[[waiver]]\nid = "CVE-1"\nreason = "x"\nuntil = 2027-01-01\n' * 2,
        "waivers = []", "waiver = [1]",
        "[[waiver",
    ],
)  # fmt: skip
def test_waivers_that_are_wrong(audit, tmp_path, text, capsys):
    (tmp_path / "waivers.toml").write_text(text, encoding="utf-8")
    assert audit.main(["--waivers", str(tmp_path / "waivers.toml")]) == 2
    assert str(tmp_path) in capsys.readouterr().err


def test_the_waivers_of_this_repository_can_be_read(audit):
    assert all(one.until.year < 2100 for one in audit.waivers(REPO / ".ci" / "waivers.toml"))


@pytest.mark.parametrize(
    ("script", "code", "words"),
    [
        ('print(\'{"dependencies": [{"name": "a", "skip_reason": "not found"}]}\')', 4, "knows none of the packages"),
        ("raise SystemExit('no route to host')", 4, "pip-audit ended with 1: no route to host"),
        ('print(\'{"dependencies": [{"name": "a", "version": "1", "vulns": []}]}\')', 0, ""),
        (f"import json; print(json.dumps({REPORT!r}))", 1, "mine is not known to pypi"),
    ],
)
def test_the_command(audit, tmp_path, monkeypatch, capsys, script, code, words):
    import sys

    path = tmp_path / "pip-audit"
    path.write_text(f"#!{sys.executable}\n{script}\n", encoding="utf-8")
    path.chmod(0o755)
    monkeypatch.setattr(audit.shutil, "which", lambda _: str(path))
    (tmp_path / "waivers.toml").write_text("", encoding="utf-8")
    assert audit.main(["--waivers", str(tmp_path / "waivers.toml")]) == code
    assert words in capsys.readouterr().err


def test_a_tool_that_cannot_be_installed_is_no_pass(audit, tmp_path, monkeypatch):
    monkeypatch.setattr(audit.shutil, "which", lambda _: None)
    monkeypatch.setattr(audit.venv, "create", lambda folder, with_pip: Path(folder).mkdir(exist_ok=True))
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin" / "python").write_text("#!/bin/sh\necho no index >&2\nexit 1\n", encoding="utf-8")
    (tmp_path / "bin" / "python").chmod(0o755)
    with pytest.raises(audit.Unreachable, match="cannot be: no index"):
        audit.tool(tmp_path)
