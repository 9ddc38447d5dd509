"""Ask an advisory service about every locked package: `python .ci/audit.py`.

Exit 0: no advisory, or each has a dated waiver in .ci/waivers.toml. 1: an advisory without a waiver, a waiver past its
day, or one that matches nothing. 2: waivers.toml is wrong. 4: pip-audit could not be installed, or no advisory service
answered. pip-audit itself ends with 0 where the service knows none of the packages: that is 4 here.

pip-audit is not in requirements.lock: where it is not installed, it is put into a temporary environment.
"""

# ruff: noqa: INP001 - a script, in a folder of scripts

from __future__ import annotations

import argparse
import datetime as dt
import json
import shutil
import subprocess
import sys
import tempfile
import tomllib
import venv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
TOOL = "pip-audit==2.10.1"
KEYS = {"id": str, "reason": str, "until": dt.date}
PATIENCE = 900  # seconds: some hundred requests, one package each


class Unreachable(Exception):
    """No answer could be had: nothing is known of any package."""


@dataclass(frozen=True, slots=True)
class Advisory:
    """A published weakness of a locked package; ``names`` are its id and aliases."""

    package: str
    version: str
    names: tuple[str, ...]
    fixed: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Waiver:
    """An advisory that is accepted through the day ``until``."""

    id: str
    reason: str
    until: dt.date


def waivers(path: Path) -> list[Waiver]:
    """Read the waivers.

    Raises:
        ValueError: no TOML, a key is missing, unknown or of another type, or two waivers of one id.
    """
    table = tomllib.loads(path.read_text(encoding="utf-8"))
    if set(table) - {"waiver"}:
        raise ValueError(f"unknown {', '.join(sorted(set(table) - {'waiver'}))}, expected [[waiver]] tables")
    found: dict[str, Waiver] = {}
    for entry in table.get("waiver", []):
        if set(entry) != set(KEYS) or any(type(entry[key]) is not kind or not entry[key] for key, kind in KEYS.items()):
            raise ValueError(f"{entry}: expected id, reason (texts) and until (a date such as 2027-01-31)")
        if entry["id"] in found:
            raise ValueError(f"{entry['id']} stands there twice")
        found[entry["id"]] = Waiver(**entry)
    return list(found.values())


def problems(advisories: list[Advisory], accepted: list[Waiver], today: dt.date) -> list[str]:
    """Return what fails: advisories without a waiver, waivers past their day, waivers that match nothing."""
    by_id = {waiver.id: waiver for waiver in accepted}
    found, used = [], set()
    for one in advisories:
        waiver = next((by_id[name] for name in one.names if name in by_id), None)
        if waiver is None:
            fixed = f"fixed in {', '.join(one.fixed)}" if one.fixed else "no fixed version yet"
            found.append(f"{one.package} {one.version}: {' / '.join(one.names)}, {fixed}")
            continue
        used.add(waiver.id)
        if waiver.until < today:
            found.append(f"{one.package} {one.version}: the waiver of {waiver.id} ended on {waiver.until}")
    stale = [waiver.id for waiver in accepted if waiver.id not in used]
    return found + [f"the waiver of {name} matches no advisory: remove it, or mend its id" for name in stale]


def read(report: dict[str, Any]) -> tuple[list[Advisory], list[str]]:
    """Return the advisories of a report of pip-audit, and the packages that it could not look up.

    Raises:
        Unreachable: it could look up none.
    """
    packages = report["dependencies"]
    skipped = [one["name"] for one in packages if "skip_reason" in one]
    if len(skipped) == len(packages):
        raise Unreachable("the advisory service knows none of the packages: it is a mirror without advisories")
    advisories = [
        Advisory(one["name"], one["version"], (flaw["id"], *flaw["aliases"]), tuple(flaw["fix_versions"]))
        for one in packages
        for flaw in one.get("vulns", ())
    ]
    return advisories, skipped


def tool(folder: Path) -> list[str]:
    """Return the command of pip-audit, installed into a folder where it is not there already.

    Raises:
        Unreachable: it cannot be installed.
    """
    if found := shutil.which("pip-audit"):
        return [found]
    venv.create(folder, with_pip=True)
    python = folder / "bin" / "python"
    done = subprocess.run(  # noqa: S603 - our words
        [python, "-m", "pip", "install", "--quiet", TOOL], capture_output=True, text=True, check=False
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise Unreachable(f"{TOOL} is not installed and cannot be: {last}")
    return [str(python), "-m", "pip_audit"]


def ask(requirements: Path, service: str) -> dict[str, Any]:
    """Let pip-audit ask about every line of a lock file, and return its report.

    Raises:
        Unreachable: it ended without a report.
    """
    words = ["--no-deps", "--disable-pip", "--format", "json", "--progress-spinner", "off", "--timeout", "15"]
    with tempfile.TemporaryDirectory() as folder:
        command = [*tool(Path(folder)), "-r", str(requirements), "-s", service, *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE, check=False)  # noqa: S603
            report: dict[str, Any] = json.loads(done.stdout)
        except subprocess.TimeoutExpired as error:
            raise Unreachable(f"{service} did not answer in {PATIENCE} s") from error
        except ValueError as error:
            last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
            raise Unreachable(f"pip-audit ended with {done.returncode}: {last[:300]}") from error
    return report


def main(words: list[str] | None = None) -> int:
    """Ask, hold the answer against the waivers, and say what came of it."""
    parser = argparse.ArgumentParser(description="Audit the locked packages.")
    parser.add_argument("--requirements", type=Path, default=HERE.parent / "requirements.lock")
    parser.add_argument("--waivers", type=Path, default=HERE / "waivers.toml")
    parser.add_argument("--service", choices=("pypi", "osv"), default="pypi")
    given = parser.parse_args(words)
    try:
        accepted = waivers(given.waivers)
    except (ValueError, TypeError, OSError) as error:
        sys.stderr.write(f"audit: {given.waivers}: {error}\n")
        return 2
    try:
        advisories, skipped = read(ask(given.requirements, given.service))
    except Unreachable as error:
        sys.stderr.write(f"audit: nothing was audited: {error}\n  help: run it where {given.service} can be reached\n")
        return 4
    for name in skipped:
        sys.stderr.write(f"audit: {name} is not known to {given.service} and was not audited\n")
    found = problems(advisories, accepted, dt.datetime.now(dt.UTC).date())
    sys.stdout.write("".join(f"{one}\n" for one in found))
    sys.stdout.write(f"{len(advisories)} advisories, {len(accepted)} waivers, {len(found)} problems\n")
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
