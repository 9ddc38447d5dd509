"""Is all in place for rmbench on this machine? What is installed, plugins, devices, folders, locks, no network."""

from __future__ import annotations

import fcntl
import json
import locale
import os
import platform
import re
import shutil
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, requires, version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rmbench.checks import near
from rmbench.version import __version__

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rmbench.plugins import Catalog

OK, NOTE, PROBLEM = "ok", "note", "problem"
FLOORS = {  # below these stand published weaknesses: see SECURITY.md
    "torch": "2.10", "transformers": "5.10", "pyarrow": "23.0.1", "jinja2": "3.1.6",
    "nltk": "3.10.4", "filelock": "3.20.3",
}  # fmt: skip
VARIABLES = (
    "RMBENCH_CACHE",
    "RMBENCH_COMPILED",
    "RMBENCH_DATA",
    "RMBENCH_JUDGE_API_KEY",
    "RMBENCH_PLUGINS",
    "RMBENCH_STRICT",
)
OTHERS = ("OPENAI_API_KEY", "HF_HUB_OFFLINE", "TRANSFORMERS_OFFLINE", "HF_TOKEN", "NUMBA_CACHE_DIR", "OMP_NUM_THREADS")
PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")
SECRET = re.compile(r"key|token|secret|passw|proxy|auth|cred", re.IGNORECASE)
EXTRAS = {
    "MeCab": ("sacrebleu[ja]", "bleu tokenize = ja-mecab"),
    "mecab_ko": ("sacrebleu[ko]", "bleu tokenize = ko-mecab"),
}
LEAST = 500_000_000  # bytes free on a disk: a run of the larger suites, with its report
PATIENCE = 120  # seconds for a process of ours


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at: its state (ok, note or problem), what was found, and what to do."""

    what: str
    state: str
    found: str
    help: str = ""


def examine(catalog: Catalog, tell: Callable[[str, int, int], None] = lambda *_: None) -> list[Finding]:
    """Look at everything, one thing after the other.

    Args:
        catalog: the plugins, loaded.
        tell: called with what is looked at now, how many are done, and of how many.
    """
    looks: list[tuple[str, Callable[[], Iterator[Finding]]]] = [
        ("python", python), ("packages", packages), ("extras", extras), ("plugins", lambda: plugins(catalog)),
        ("devices", devices), ("folders", folders), ("variables", lambda: variables(dict(os.environ))),
        ("no network", offline),
    ]  # fmt: skip
    found: list[Finding] = []
    for at, (name, look) in enumerate(looks):
        tell(name, at, len(looks))
        found += look()
    return found


def python() -> Iterator[Finding]:
    """Yield the interpreter, and how it writes text."""
    yield Finding("rmbench", OK, f"{__version__} in {Path(__file__).parent}")
    yield Finding("python", OK, f"{platform.python_version()} on {platform.system()} {platform.machine()}")
    encoding = locale.getpreferredencoding(do_setlocale=False)
    narrow = encoding.lower().replace("-", "") != "utf8"
    advice = "export LC_ALL=C.UTF-8, or PYTHONUTF8=1: other letters are shown as escapes until then"
    yield Finding(
        "text", NOTE if narrow else OK, f"{encoding}, files {sys.getfilesystemencoding()}", advice if narrow else ""
    )


def packages() -> Iterator[Finding]:
    """Yield what rmbench needs, held against its own ranges and the floors of published weaknesses."""
    from packaging.requirements import Requirement
    from packaging.specifiers import SpecifierSet

    try:
        needed = [Requirement(text) for text in requires("rmbench") or ()]
    except PackageNotFoundError:
        yield Finding("packages", PROBLEM, "rmbench is not installed, only importable", "pip install rmbench")
        needed = []
    ranges = {one.name: one.specifier for one in needed if one.marker is None}
    for name in dict.fromkeys((*ranges, *FLOORS)):
        floor = SpecifierSet(f">={FLOORS[name]}") if name in FLOORS else SpecifierSet()
        yield package(name, installed(name), ranges.get(name, SpecifierSet()) & floor)


def installed(name: str) -> str | None:
    """Return the version of a distribution, None where it is not there."""
    try:
        return version(name)
    except PackageNotFoundError:
        return None


def package(name: str, found: str | None, wanted: Any) -> Finding:
    """Return what is to say of a package; ``wanted`` is a set of specifiers of ``packaging``."""
    advice = f'pip install --upgrade "{name}{wanted}"'
    if found is None:
        return Finding(name, PROBLEM, "is not installed", advice)
    if wanted.contains(found, prereleases=True):
        return Finding(name, OK, found)
    floor = FLOORS.get(name)
    why = f", below {floor} stand published weaknesses" if floor else ""
    return Finding(name, PROBLEM, f"{found}, expected {wanted}{why}", advice)


def extras() -> Iterator[Finding]:
    """Yield what is only needed for some commands and options."""
    for name, what in (("optuna", "rmbench tune"), ("peft", "low-rank adapters (lora)")):
        found = installed(name)
        extra = {"optuna": "tune", "peft": "lora"}[name]
        advice = "" if found else f'for {what}: pip install "rmbench[{extra}]"'
        yield Finding(name, OK if found else NOTE, found or "is not installed", advice)
    for module, (wanted, what) in EXTRAS.items():
        there = find_spec(module) is not None
        yield Finding(module, OK if there else NOTE, "is there" if there else "is not installed",
                      "" if there else f'for {what}: pip install "{wanted}"')  # fmt: skip


def plugins(catalog: Catalog) -> Iterator[Finding]:
    """Yield what became of each plugin, and what the loader warned of."""
    for plugin in catalog.plugins:
        if plugin.reason is None:
            yield Finding(
                f"plugin {plugin.name}", OK, f"{plugin.distribution} {plugin.version}, {plugin.seconds:.2f} s"
            )
    for warning in catalog.warnings:
        what, _, advice = warning.rpartition("; ")
        yield Finding("plugin", PROBLEM, what or advice, advice if what else "see rmbench list plugins")


def devices() -> Iterator[Finding]:
    """Yield what models can run on, asked in a process of its own."""
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    yield Finding("processors", OK, f"{os.cpu_count()}, {memory / 1e9:.1f} GB of memory")
    told = asked("rmbench.models.devices")
    if isinstance(told, str):
        yield Finding("torch", PROBLEM, told, "pip install --force-reinstall torch: models cannot run until then")
        return
    yield Finding("torch", OK, f"{told['threads']} threads, CUDA {told['cuda'] or 'is not built in'}")
    for one in told["devices"]:
        size = "" if one["memory"] is None else f", {one['memory'] / 1e9:.1f} GB"
        yield Finding(f"device {one['name']}", OK, f"{one['what']}{size}")
    if not told["devices"]:
        yield Finding("accelerator", NOTE, "none was found", "models run on the CPU; --device takes cuda or mps")


def asked(module: str) -> Any:
    """Run a module of ours and return the JSON that it prints, or in words why there is none."""
    try:
        done = subprocess.run(  # noqa: S603 - our own interpreter and module
            [sys.executable, "-m", module], capture_output=True, text=True, timeout=PATIENCE, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return f"{type(error).__name__}: {error}"
    lines = done.stdout.splitlines()
    try:
        return json.loads(lines[-1])
    except (IndexError, ValueError):
        last = (done.stderr.strip().splitlines() or ["it said nothing"])[-1]
        return f"python -m {module} ended with {done.returncode}: {last}"


def folders() -> Iterator[Finding]:
    """Yield whether files can be written, locked and removed where rmbench writes."""
    cache = os.environ.get("NUMBA_CACHE_DIR")
    places = {"this folder": Path.cwd(), "temporary files": Path(tempfile.gettempdir())}
    places |= {"cache (RMBENCH_CACHE)": Path(os.environ["RMBENCH_CACHE"])} if "RMBENCH_CACHE" in os.environ else {}
    places |= {"compiled code (NUMBA_CACHE_DIR)": Path(cache)} if cache else {}
    for what, place in places.items():
        yield folder(what, place)
    beside = Path(__file__).parent / "kernel"
    if not cache and not os.access(beside, os.W_OK):
        yield Finding("compiled code", NOTE, f"{beside} is read-only: the user's cache folder is used instead")


def folder(what: str, place: Path) -> Finding:
    """Write, lock and remove a file in a folder, or in the nearest one above it that is there."""
    there = next((one for one in (place, *place.absolute().parents) if one.exists()), place)
    try:
        with tempfile.NamedTemporaryFile(prefix=".rmbench-doctor-", dir=there) as file:
            fcntl.flock(file.fileno(), fcntl.LOCK_EX | fcntl.LOCK_NB)
        free = shutil.disk_usage(there).free
    except OSError as error:
        advice = "work in a folder of a local disk that you may write" if there == place else f"make {place}"
        return Finding(what, PROBLEM, f"{place}: cannot be written or locked: {error.strerror}", advice)
    if free < LEAST:
        return Finding(
            what, PROBLEM, f"{place}: {free / 1e9:.2f} GB free", "free some space: a run stops with exit 4 without"
        )
    return Finding(what, OK, f"{place}: written and locked, {free / 1e9:.0f} GB free")


def variables(environment: dict[str, str]) -> Iterator[Finding]:
    """Yield the variables that rmbench and its packages read; the value of a secret is never shown."""
    for name in sorted(environment):
        lower = name.lower()
        if not (name.startswith("RMBENCH_") or name in OTHERS or lower in PROXIES):
            continue
        shown = "is set (not shown)" if SECRET.search(name) and lower != "no_proxy" else environment[name]
        if name.startswith("RMBENCH_") and name not in VARIABLES:
            meant = near(name, VARIABLES)
            yield Finding(
                name, NOTE, f"{shown}: rmbench reads no such variable", f"did you mean {meant}?" if meant else ""
            )
        elif name == "RMBENCH_DATA" and not Path(shown).is_dir():
            yield Finding(
                name, PROBLEM, f"{shown} is no folder", "set it to the folder of your task folders, or unset it"
            )
        else:
            yield Finding(name, OK, shown)


def offline() -> Iterator[Finding]:
    """Yield whether the shipped suites are complete, and rewards score, in a process that cannot connect."""
    told = asked("rmbench.offline")
    if isinstance(told, str):
        yield Finding("no network", PROBLEM, told, "rmbench --debug run shows where it fails")
        return
    for name, missing in told["suites"].items():
        advice = "set RMBENCH_DATA to the folder of these tasks" if missing else ""
        yield Finding(f"suite {name}", NOTE if missing else OK, missing or "all that it names is here", advice)
    failed = {name: why for name, why in told["rewards"].items() if why}
    for name, why in failed.items():
        yield Finding(f"reward {name}", PROBLEM, why, f"see rmbench show {name}")
    for tried in told["tried"]:
        yield Finding(
            "no network", PROBLEM, f"a connection was asked for: {tried}", "find the plugin: RMBENCH_PLUGINS narrows"
        )
    if not failed and not told["tried"]:
        yield Finding("no network", OK, f"{len(told['rewards'])} rewards scored, no connection was asked for")
