"""Faults that a run must survive, each tried some times: a record of what was tried, what held and what was said.

    python tests/faults/matrix.py [NAME]... [--often N]

Prints JSON, one object for each fault: ``tried``, ``survived``, what was ``wrong``, a ``message`` that a user sees and
``seconds``. ``reports/robustness/faults.py`` makes a page of it.
"""

from __future__ import annotations

import argparse
import contextlib
import ctypes
import hashlib
import json
import os
import random
import re
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path

import stage
from killing import kill, side_by_side
from syscalls import calls_in, inject, run

Here = Callable[[Path], "Tried"]


@dataclass(slots=True)
class Tried:
    """A fault: how often it was tried and survived, what was wrong, and what the user saw."""

    tried: int = 0
    survived: int = 0
    wrong: list[str] = field(default_factory=list)
    message: str = ""

    def count(self, wrong: list[str], said: str = "") -> None:
        """Count one try."""
        self.tried += 1
        self.survived += not wrong
        self.wrong += wrong
        lines = [line for line in said.splitlines() if line.startswith(("rmbench: error", "rmbench: interrupted"))]
        place = re.compile(r"/\S*?/rmbench-faults-[^/]*/\d+/home")  # of this try
        self.message = self.message or place.sub("/data", (lines or [""])[0])


def unbroken(home: Path) -> dict[str, bytes]:
    """Run the suite once; return what every other run must end with."""
    return stage.content(stage.whole(home)[0])


def resumed(home: Path, out: Path, expected: dict[str, bytes]) -> list[str]:
    """Resume a run; return what of it is not as in the unbroken one, or was made again."""
    before = stage.committed(out)
    attempt = stage.Attempt(stage.words_of(out, "--resume"), home)
    code = attempt.ended(60)
    if code != 0:
        return [f"the resume ended with {code}: {attempt.words()[-300:]}"]
    now = stage.committed(out)
    again = [f"{name} was written again" for name, stat in before.items() if now.get(name) != stat]
    return again + stage.problems(out, expected)


def whole_files(out: Path, expected: dict[str, bytes]) -> list[str]:
    """Return the files that stand under their final name and are not as they should be."""
    found = stage.content(out)
    return [f"{name} is cut" for name, data in found.items() if data and name in expected and data != expected[name]]


# ---- kills and failing calls


def random_kills(often: int) -> Tried:
    """SIGKILL of the whole process group at a random moment, three times more during its resumes."""
    found = kill("small", often, jobs=1 if often < 100 else 2)
    return Tried(found["kills"], found["kills"] if not found["wrong"] else found["identical"], found["wrong"])


def other_kills(kind: str) -> Callable[[int], Tried]:
    """Return the same for another suite, in a Python of its own."""

    def killed(often: int) -> Tried:
        command = [sys.executable, str(stage.HERE / "killing.py"), "--suite", kind, "--kills", str(often)]
        done = subprocess.run(command, stdout=subprocess.PIPE, check=False)
        found = json.loads(done.stdout)
        return Tried(found["kills"], found["kills"] if not found["wrong"] else found["identical"], found["wrong"])

    return killed


def failing_calls(often: int) -> Tried:
    """SIGKILL, EIO or ENOSPC at a write, fsync or rename on the run folder: all of them where ``often`` is 0."""
    found = inject(often, jobs=1) if often else inject(None, jobs=2)
    tried, survived = (sum(found[key].values()) for key in ("tried", "identical"))
    return Tried(tried, survived, found["wrong"], next(iter(found["messages"]), ""))


def order(home: Path) -> Tried:
    """Every file is synced before its rename, its folder after it, and both before the journal names it."""
    out, log = home / "ordered" / "run", home / "order.log"
    out.parent.mkdir()
    code, said = run(home, out, log, "-e", "trace=write,fsync,rename,socket,connect")
    tried = Tried()
    wrong = [] if code == 0 else [f"the traced run ended with {code}: {said[-300:]}"]
    tried.count(wrong + disordered([call[1:] for call in calls_in(log, out.parent)]))
    text = log.read_text(encoding="utf-8")
    lines = [line for line in text.splitlines() if " socket(" in line or " connect(" in line]
    tried.count([f"a socket: {line}" for line in lines if "AF_UNIX" not in line])
    return tried


def disordered(calls: list[tuple[str, str]]) -> list[str]:
    """Return in words where (call, file) pairs are not in the order that keeps data through a loss of power."""
    wrong: list[str] = []
    dirty: set[str] = set()  # files written and not synced
    renamed: dict[str, str] = {}  # folders whose new entry is not synced, and the entry
    parts = lines = 0
    for call, file in calls:
        if call == "write":
            if file.endswith("journal.jsonl"):
                lines += 1
                wrong += [f"{one} is journalled before its folder is synced" for one in renamed.values()]
            dirty.add(file)
        elif call == "fsync":
            dirty.discard(file)
            renamed.pop(file, None)
        elif call == "rename":
            final = file.removesuffix(".tmp-PID")
            wrong += [f"{final} is renamed before it is synced"] if file in dirty else []
            wrong += [f"{final} is renamed before the journal is synced"] if "run/journal.jsonl" in dirty else []
            renamed[str(Path(final).parent)] = final
            parts += final.startswith(("run/samples/", "run/scores/"))
    if parts != lines or not parts:
        wrong.append(f"{parts} parts are renamed and {lines} lines journalled")
    return wrong


# ---- a full disk


SAID = 1000  # bytes: what a run says must have space in its own file


def limited(size: int) -> Callable[[], None]:
    """Return what lets no file of a process grow beyond a size, in bytes."""
    return lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


def file_sizes(home: Path, often: int) -> Tried:
    """A limit on the size of files (RLIMIT_FSIZE) that one file of the run after the other meets."""
    expected, tried = unbroken(home), Tried()
    sizes = {file.stat().st_size for file in (home / "whole").rglob("*") if file.is_file()}
    sizes = sorted(size for size in sizes if size > SAID)
    for index, size in enumerate(random.Random(often).sample(sizes, min(often, len(sizes)))):
        out = home / f"limited-{index}" / "run"
        out.parent.mkdir()
        attempt = stage.Attempt(stage.words_of(out), home, prepare=limited(size - 1))
        tried.count(full(home, out, attempt, expected), attempt.words())
    return tried


def full(
    home: Path, out: Path, attempt: stage.Attempt, expected: dict[str, bytes], free: Callable[[], None] = lambda: None
) -> list[str]:
    """Return what is wrong with a run that met a full disk and is resumed when there is space again."""
    code, said = attempt.ended(60), attempt.words()
    wrong = [] if code == 4 else [f"it ended with {code}, expected 4: {said[-300:]}"]
    told = "no space to write (" in said and f"{out.parent.name}/{out.name}" in said and "bytes free" in said
    wrong += [] if told else [f"its message does not say so: {said[-300:]}"]
    wrong += whole_files(out, expected)
    free()
    return wrong + resumed(home, out, expected)


def small_disk(home: Path, often: int) -> Tried:
    """A file system in memory that is full when so much of the run is written, and has space for the resume."""
    expected, tried = unbroken(home), Tried()
    size = sum(file.stat().st_blocks * 512 for file in (home / "whole").rglob("*"))
    disk = home / "disk"
    disk.mkdir()
    mounted(disk, 8 * size)
    for index in range(often):
        out, filler = disk / f"{index}" / "run", disk / "filler"
        out.parent.mkdir()
        free = os.statvfs(disk).f_bavail * os.statvfs(disk).f_frsize
        with filler.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, free - size * (index + 1) // (often + 1))
        attempt = stage.Attempt(stage.words_of(out), home)
        tried.count(full(home, out, attempt, expected, filler.unlink), attempt.words())
        shutil.rmtree(out.parent)
    return tried


def mounted(folder: Path, size: int) -> None:
    """Mount a file system in memory for this process and its children alone."""
    libc = ctypes.CDLL(None, use_errno=True)
    user, group = os.getuid(), os.getgid()
    new_user, new_mounts, private = 0x10000000, 0x00020000, 0x40000 | 0x4000
    if libc.unshare(new_mounts | (new_user if user else 0)):
        raise SystemExit(f"no namespace for mounts: {os.strerror(ctypes.get_errno())}")
    if user:
        for name, text in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
            Path(f"/proc/self/{name}").write_text(text, encoding="ascii")
    libc.mount(b"none", b"/", None, private, None)
    if libc.mount(b"tmpfs", os.fsencode(folder), b"tmpfs", 0, f"size={size}".encode()):
        raise SystemExit(f"no tmpfs: {os.strerror(ctypes.get_errno())}")


# ---- signals, two processes, other suites


def signalled(home: Path, often: int) -> Tried:
    """SIGINT, SIGTERM and SIGHUP at random moments: over within 5 s, what to do is said, the resume gives the same."""
    run_, seconds = stage.whole(home)
    expected, tried, draw = stage.content(run_), Tried(), random.Random(often)
    for index in range(often):
        number = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)[index % 3]
        out = home / f"signalled-{index}" / "run"
        out.parent.mkdir()
        attempt = stage.Attempt(stage.words_of(out), home)
        code = attempt.ended(draw.uniform(0.05, 0.95) * seconds)
        if code is None:
            os.kill(attempt.pid, number)
            code = attempt.ended(5)
        tried.count(interrupted(attempt, code, number, out) + resumed(home, out, expected), attempt.words())
    return tried


def interrupted(attempt: stage.Attempt, code: int | None, number: int, out: Path) -> list[str]:
    """Return what is wrong with how a run ended that got a signal."""
    said = attempt.words()
    if code is None:
        attempt.kill()
        return [f"{signal.Signals(number).name}: it still ran after 5 s"]
    early = code == -number or (code == 130 and not said)  # before the handlers stand
    wrong = [] if early or code in (0, 128 + number) else [f"it ended with {code}: {said[-300:]}"]
    wrong += ["a traceback was shown"] if "Traceback" in said else []
    if code == 128 + number and not early:
        told = f"rmbench run --resume --out {out}" if out.exists() else "nothing was written yet"
        wrong += [] if told in said else [f"it does not say how to go on: {said[-300:]}"]
    return wrong


def eight_at_once(home: Path, often: int) -> Tried:
    """Eight starts of one run at the same moment: one wins, the others end with 5 (or 2: it is not empty)."""
    expected, tried = unbroken(home), Tried()
    for index in range(often):
        out = home / f"eight-{index}" / "run"
        out.parent.mkdir()
        attempts = [stage.Attempt(stage.words_of(out), home, held=True) for _ in range(8)]
        for attempt in attempts:
            attempt.go()
        codes = sorted(attempt.ended(60) for attempt in attempts)
        wrong = [] if codes[0] == 0 and set(codes[1:]) <= {2, 5} else [f"they ended with {codes}"]
        tried.count(wrong + stage.problems(out, expected), "\n".join(attempt.words() for attempt in attempts))
    return tried


def second_writer(home: Path) -> Tried:
    """A second process on the folder of a living one ends with 5 and names it; a stale lock file is no obstacle."""
    from rmbench.store import RunFolder

    expected, tried = unbroken(home), Tried()
    first = RunFolder(home / "whole")
    first.lock()
    attempt = stage.Attempt(stage.words_of(home / "whole", "--resume"), home)
    code, said = attempt.ended(60), attempt.words()
    named = f"another process writes here (pid {os.getpid()} on" in said
    tried.count([] if code == 5 and named else [f"it ended with {code}: {said[-300:]}"], said)
    first.close()
    tried.count(resumed(home, home / "whole", expected))
    return tried


PLUGIN = "from rmbench import Reward\ndef build():\n    return lambda batch: [1.0] * len(batch)\nmine = Reward('mine', 1, build)\n"


def other_runs(home: Path) -> Tried:
    """--resume with another seed, reward, task byte or version of a reward's code: 5, what differs, nothing changed."""
    (home / "mine.py").write_text(PLUGIN, encoding="utf-8")
    suite, cats = home / "s.toml", home / "cats.jsonl"
    suite.write_text(suite.read_text().replace('["length", ', '["length", "mine.py:mine", '), encoding="utf-8")
    out, _ = stage.whole(home)
    before = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in out.rglob("*") if file.is_file()}
    changes = {
        "seeds ([1] there, [2] now)": (suite, lambda text: f"seeds = [2]\n{text}"),
        "reward mine": (home / "mine.py", lambda text: text.replace("1.0", "2.0")),
        "task cats": (cats, lambda text: text.replace("barked 3", "barked 4")),
        "reward mix": (suite, lambda text: text.replace("length = 0.5", "length = 0.25")),
    }
    tried = Tried()
    for told, (file, change) in changes.items():
        kept = file.read_text(encoding="utf-8")
        file.write_text(change(kept), encoding="utf-8")
        attempt = stage.Attempt(stage.words_of(out, "--resume"), home)
        code, said = attempt.ended(60), attempt.words()
        file.write_text(kept, encoding="utf-8")
        right = code == 5 and "belongs to another run; what differs: " in said and told in said
        wrong = [] if right else [f"{told}: it ended with {code}: {said[-300:]}"]
        now = {file: hashlib.sha256(file.read_bytes()).hexdigest() for file in before if file.name != ".lock"}
        wrong += [f"{file} was changed" for file, digest in now.items() if before[file] != digest]
        tried.count(wrong, said)
    return tried


# ---- odd places


NAMES = (
    "sp ace #1 100% it's new\nline \u202eright to left\u202c \U0001f600 e\u0301 and \u00e9",
    "\u65e5" * 85,  # 255 bytes
    "-leading odd \udcff byte",
)


def odd_names(home: Path) -> Tried:
    """Names of folders with spaces, #, %, quotes, a newline, bidi marks, emoji, 255 bytes, a dash, bytes that are no UTF-8."""
    expected, tried = unbroken(home), Tried()
    for name in NAMES:
        out = home / name / name
        attempt = stage.Attempt(stage.words_of(out), home)
        code = attempt.ended(60)
        tried.count([] if code == 0 else [f"{name!r}: it ended with {code}: {attempt.words()[-300:]}"])
        tried.count([f"{name!r}: {what}" for what in resumed(home, out, expected)])
    relative = stage.Attempt([*stage.words_of("x")[:-2], "--out=-x"], home)
    tried.count([] if relative.ended(60) == 0 else [f"--out=-x: {relative.words()[-300:]}"])
    tried.count(stage.problems(home / "-x", expected))
    return tried


def obeying() -> None:
    """Let mode bits count for root too: give up the capabilities that overrule them."""
    if os.getuid() == 0:
        libc, overruling = ctypes.CDLL(None), 1 << 1 | 1 << 2  # CAP_DAC_OVERRIDE, CAP_DAC_READ_SEARCH
        header, sets = (ctypes.c_uint32 * 2)(0x20080522, 0), (ctypes.c_uint32 * 6)()
        libc.capget(header, sets)
        sets[0] &= ~overruling
        sets[1] &= ~overruling
        if libc.capset(header, sets):
            raise SystemExit("the capabilities of root could not be given up")


def homeless() -> None:
    """Have no home and no folder for a cache."""
    obeying()
    for name in ("HOME", "XDG_CACHE_HOME", "RMBENCH_CACHE", "TMPDIR"):
        os.environ.pop(name, None)
    os.environ["HOME"] = "/nonexistent"


def no_space_of_its_own(home: Path) -> Tried:
    """A read-only parent or run folder, a file in the folder's place or above it, no home, a read-only suite folder."""
    expected, tried = unbroken(home), Tried()
    locked, file = home / "locked", home / "file"
    locked.mkdir()
    file.write_text("mine", encoding="utf-8")
    shutil.copytree(home / "whole", home / "shut")
    locked.chmod(0o555)
    (home / "shut").chmod(0o555)
    places = {
        locked / "run": (4, "Permission denied"), locked / "deep" / "run": (4, "Permission denied"),
        file: (2, "is not empty"), file / "run": (2, f"File exists: {file}"), home / "shut": (4, "Permission denied"),
    }  # fmt: skip
    for out, (expect, told) in places.items():
        attempt = stage.Attempt(
            stage.words_of(out, *(["--resume"] if out.name == "shut" else [])), home, prepare=obeying
        )
        code, said = attempt.ended(60), attempt.words()
        place = out.name if out.parent == home else str(out.parent.relative_to(home))  # relative to where it was typed
        right = code == expect and told in said and place in said and "Traceback" not in said
        tried.count([] if right else [f"{out.name}: it ended with {code}: {said[-400:]}"], said)
    tried.count(
        [] if file.read_text(encoding="utf-8") == "mine" and not list(locked.iterdir()) else ["it was written to"]
    )
    outside = home.parent / "outside"
    home.chmod(0o555)
    attempt = stage.Attempt(stage.words_of(outside / "run"), home, said=home.parent / "said", prepare=homeless)
    code = attempt.ended(60)
    home.chmod(0o755)
    locked.chmod(0o755)
    tried.count([] if code == 0 else [f"no home: it ended with {code}: {attempt.words()[-300:]}"])
    tried.count(stage.problems(outside / "run", expected) if code == 0 else [])
    return tried


# ---- all of them


def at_home(work: Callable[..., Tried], *often: int) -> Tried:
    """Try a fault in a process and a folder of its own."""
    stage.load("small")
    [found] = side_by_side(1, lambda _, folder: asdict(work(stage.home(folder, "small"), *often)))
    return Tried(**found)


MATRIX: dict[str, Callable[[int], Tried]] = {
    "kills": random_kills,
    "kills, full": other_kills("full"),
    "kills, trained": other_kills("trained"),
    "kills, real": other_kills("real"),
    "calls": failing_calls,
    "order": lambda _: at_home(order),
    "file sizes": lambda often: at_home(file_sizes, often),
    "small disk": lambda often: at_home(small_disk, often),
    "signals": lambda often: at_home(signalled, often),
    "eight at once": lambda often: at_home(eight_at_once, often),
    "second writer": lambda _: at_home(second_writer),
    "other runs": lambda _: at_home(other_runs),
    "odd names": lambda _: at_home(odd_names),
    "odd places": lambda _: at_home(no_space_of_its_own),
}


def tried(names: list[str], often: dict[str, int]) -> Iterator[tuple[str, dict]]:
    """Try faults by name, each so often; yield what was found."""
    for name in names:
        begun = time.monotonic()
        found = asdict(MATRIX[name](often.get(name, 1)))
        yield name, {**found, "seconds": round(time.monotonic() - begun, 1)}


def main() -> None:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "often", nargs="*", help="NAME or NAME=TIMES", default=[name for name in MATRIX if "," not in name]
    )
    given = [word.partition("=") for word in parser.parse_args().often]
    often = {name: 3 if times == "" else int(times) for name, _, times in given}
    found = dict(tried(list(often), often))
    print(json.dumps(found, indent=1))
    sys.exit(any(one["wrong"] for one in found.values()))


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        main()
