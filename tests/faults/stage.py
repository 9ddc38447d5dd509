"""A Python that has rmbench imported and forks the command line, workers and all: a start costs milliseconds.

What a run writes, when, and in which order is the code of rmbench; only three things differ from
``python -m rmbench.cli.main``: nothing is imported again, parts are small (a few rows), and a worker is forked instead
of started. For the suite ``small`` also no null rewards are added and the report's files hold results.json, since
drawing and writing them takes most of the time. The suite ``real`` starts the command line as a user does.
"""

from __future__ import annotations

import contextlib
import gc
import importlib
import itertools
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from rmbench.runs import Run
    from rmbench.verify import Damage

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE.parent), str(HERE.parent.parent)]  # the checkout before what is installed

MODULES = (
    "pandas", "pyarrow.dataset", "pyarrow.parquet", "scipy.stats", "typer", "rmbench.builtin.metrics",
    "rmbench.cli.main", "rmbench.engine",
    "rmbench.results", "rmbench.runs", "rmbench.studies.compute", "rmbench.studies.training", "rmbench.worker",
)  # fmt: skip
REPORTED = ("altair", "jinja2", "nltk", "rouge_score.rouge_scorer", "vl_convert", "rmbench.report")
TORCH = (
    "torch", "torch.optim", "rmbench.fitter", "rmbench.models.linear", "rmbench.models.training",
    "rmbench.policies.tabular", "rmbench.trainer", "rmbench.trainers.loop", "rmbench.trainers.reinforce",
)  # fmt: skip
PART_ROWS = 9
REPORT = ("index.html", "report.md", "results.csv", "results.json", "results.tex")
COUNT = itertools.count()
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def load(kind: str) -> None:
    """Import what a run of a suite imports, and take away from a small one what costs most."""
    if kind == "real":
        return
    for name in (*MODULES, *(REPORTED if kind != "small" else ()), *(TORCH if kind == "trained" else ())):
        importlib.import_module(name)
    if kind == "trained":
        import torch

        torch.set_num_threads(1)
        torch.optim.AdamW([torch.zeros(1, requires_grad=True)])  # imports half of torch
    from rmbench import plugins, runs, suite

    plugins.load()  # imports them
    if kind == "small":
        suite.NULL_REWARDS = ()
        runs.Run.report = bare_report
    gc.collect()
    gc.freeze()


def bare_report(run: Run, folder: Path) -> None:
    """Write the files of a report, each with the numbers alone."""
    from rmbench.store import write_whole

    for name in REPORT:
        write_whole(folder / name, (run.folder / "results.json").read_bytes())


class Forked:
    """A worker as ``subprocess.Popen`` starts it, by a fork: `python -m MODULE` with pipes and a session of its own."""

    def __init__(self, command: list[str], **options: object) -> None:
        ours, theirs = zip(*(reversed(os.pipe()) if n == 0 else os.pipe() for n in range(3)), strict=True)
        ready, begun = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            work(command[-1], theirs, begun)
        for end in (*theirs, begun):
            os.close(end)
        os.read(ready, 1)  # it has its own group now, as behind Popen
        os.close(ready)
        self.stdin, self.stdout, self.stderr = (
            os.fdopen(end, "wb" if n == 0 else "rb", 0) for n, end in enumerate(ours)
        )
        self.returncode: int | None = None

    def wait(self, timeout: float | None = None) -> int:
        """Wait for its end."""
        deadline = time.monotonic() + (timeout or 3600)
        while self.returncode is None:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                self.returncode = os.waitstatus_to_exitcode(status)
            elif time.monotonic() > deadline:
                raise subprocess.TimeoutExpired("worker", timeout or 3600)
            else:
                time.sleep(0.001)
        return self.returncode

    def poll(self) -> int | None:
        """Return how it ended, None while it runs."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self.wait(1e-9)
        return self.returncode

    def terminate(self) -> None:
        """Send SIGTERM."""
        os.kill(self.pid, signal.SIGTERM)


def work(module: str, streams: tuple[int, ...], begun: int) -> None:
    """Be a worker in a fresh fork: take the streams, keep nothing else of the driver, never return."""
    try:
        os.setsid()
        os.write(begun, b".")
        for number, stream in enumerate(streams):
            os.dup2(stream, number)
        os.closerange(3, 1024)
        for number in SIGNALS:
            signal.signal(number, signal.SIG_DFL)
        importlib.import_module(module).main()
        os._exit(0)
    except BaseException as error:
        os.write(2, repr(error).encode())
        os._exit(1)


def become_rmbench(words: list[str], folder: Path, said: int, *, gate: int | None) -> None:
    """Be the command line in a fresh fork, in a process group of its own; never return."""
    from rmbench import process, source
    from rmbench.cli import main, terminal

    os.setsid()
    if gate is not None:
        os.read(gate, 1)
    os.chdir(folder)
    null = os.open(os.devnull, os.O_RDWR)
    for number, stream in enumerate((null, said, said)):
        os.dup2(stream, number)
    os.closerange(3, 1024)
    source.PART_ROWS = PART_ROWS
    process.subprocess = SimpleNamespace(Popen=Forked, PIPE=-1, TimeoutExpired=subprocess.TimeoutExpired)
    sys.argv = ["rmbench", *words]
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(n, "w" if n else "r", closefd=False) for n in range(3))
    code = 99
    with contextlib.suppress(SystemExit):
        terminal.ready()
        code = main.guarded(words, debug=False)
    terminal.let_go()
    sys.stderr.flush()
    os._exit(code)


class Attempt:
    """One start of the command line: waited for, or killed with all of its process group.

    ``held``: it waits before it begins, for a tracer, until ``go``. ``prepare`` is called in the new process first.
    """

    def __init__(
        self,
        words: list[str],
        folder: Path,
        *,
        real: bool = False,
        held: bool = False,
        said: Path | None = None,
        prepare: Callable[[], None] = lambda: None,
    ) -> None:
        self.said = said or folder / f".said-{os.getpid()}-{next(COUNT)}"
        self.begun = time.monotonic()
        self.gate = os.pipe() if held else (None, None)
        with self.said.open("wb") as file:
            if real:
                command = [sys.executable, "-m", "rmbench.cli.main", *words]
                self.pid = subprocess.Popen(
                    command, cwd=folder, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True,
                ).pid  # fmt: skip
            else:
                self.pid = os.fork()
                if self.pid == 0:
                    try:
                        prepare()
                        become_rmbench(words, folder, file.fileno(), gate=self.gate[0])
                    finally:  # never back into the code that forked
                        traceback.print_exc()
                        os._exit(99)

    def go(self) -> None:
        """Let it begin where it was held."""
        os.write(self.gate[1], b".")
        for end in self.gate:
            os.close(end)

    def ended(self, seconds: float) -> int | None:
        """Wait so long; return the exit code, or None where it still runs."""
        deadline = time.monotonic() + seconds
        while True:
            pid, status = os.waitpid(self.pid, os.WNOHANG)
            if pid:
                return os.waitstatus_to_exitcode(status)
            left = deadline - time.monotonic()
            if left <= 0:
                return None
            time.sleep(min(left, 0.002))

    def kill(self) -> None:
        """Kill the whole group as ``kill -9`` does."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)

    def words(self) -> str:
        """Return what it printed."""
        return self.said.read_text(encoding="utf-8", errors="replace")


# ---- what is run


SUITE = """name = "cats-and-dogs"
tasks = ["cats.jsonl", "dogs.jsonl"]
rewards = ["length", "diversity", { use = "composite", name = "mix", options = { weights = { length = 0.5, diversity = 0.5 } } }]
metrics = ["pairwise-accuracy"]
"""
TRAINED = """name = "trained"
tasks = ["toy"]
rewards = ["toy", "length"]
studies = ["score", "agree", "optimise"]
metrics = ["pairwise-accuracy"]
[[reward_model]]
name = "rm"
use = "linear"
task = "toy"
options = { steps = 12 }
[[policy]]
name = "base"
use = "tabular"
task = "toy"
[[train]]
name = "up"
trainer = "reinforce"
policy = "base"
task = "toy"
reward = "toy"
judges = ["length"]
trainer_options = { steps = 8, batch = 4 }
"""
SMALL = SUITE.replace("metrics", 'studies = ["score"]\nmetrics')
KINDS = {"small": SMALL, "full": SUITE, "trained": TRAINED, "real": SUITE}


def home(folder: Path, kind: str) -> Path:
    """Write a suite and its tasks into a folder: two tasks of several parts, or the toy task."""
    from fakes import jsonl, rows

    folder.mkdir(parents=True, exist_ok=True)
    (folder / "s.toml").write_text(KINDS[kind], encoding="utf-8")
    if kind != "trained":
        jsonl(folder / "cats.jsonl", rows(8, references=False))
        jsonl(folder / "dogs.jsonl", rows(5, references=False))
    return folder


def words_of(out: Path | str, *more: str) -> list[str]:
    """Return the command line of the suite."""
    return ["run", "s.toml", "--kind", "qa", "--json", "--out", str(out), *more]


def whole(folder: Path, out: str = "whole", *, real: bool = False) -> tuple[Path, float]:
    """Run the suite unbroken; return the run folder and the seconds that it took."""
    attempt = Attempt(words_of(out), folder, real=real)
    code = attempt.ended(300)
    seconds = time.monotonic() - attempt.begun
    if code != 0:
        raise SystemExit(f"the unbroken run ended with {code}: {attempt.words()}")
    return folder / out, seconds


# ---- what must hold of a run folder


def content(run: Path) -> dict[str, bytes]:
    """Return the files that a run must end with byte for byte: results, samples, scores, and the report's copies."""
    files = [run / "results.json", run / "report" / "results.json", run / "report" / "results.csv"]
    files += [file for part in ("samples", "scores") for file in (run / part).rglob("*") if file.is_file()]
    return {str(file.relative_to(run)): file.read_bytes() if file.is_file() else b"" for file in files}


def committed(run: Path) -> dict[str, tuple[int, int]]:
    """Return inode and time of change of every part that the journal names on a whole line."""
    journal = run / "journal.jsonl"
    found = {}
    for line in journal.read_bytes().split(b"\n")[:-1] if journal.exists() else ():
        entry = json.loads(line)
        stat = (run / entry["part"]).stat()
        found[entry["part"]] = (stat.st_ino, stat.st_mtime_ns)
    return found


def leftovers(folder: Path) -> list[str]:
    """Return what a killed write left in a folder or below it."""
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*.tmp-*"))


def problems(run: Path, expected: dict[str, bytes]) -> list[str]:
    """Return in words what of a finished run is not as in the unbroken one."""
    found = content(run)
    wrong = [f"{name} differs" for name in {**expected, **found} if expected.get(name) != found.get(name)]
    wrong += [f"{name} was left" for name in leftovers(run.parent)]
    wrong += ["something is in quarantine"] if (run / "quarantine").exists() else []
    manifest = json.loads((run / "manifest.json").read_bytes())
    wrong += [] if manifest["status"] == "complete" else [f"the manifest says {manifest['status']}"]
    wrong += [f"report/{name} is missing" for name in REPORT if not (run / "report" / name).is_file()]
    return wrong + [f"verify: {damage.file} {damage.what}" for damage in verified(run)]


def verified(run: Path) -> list[Damage]:
    """Return what `rmbench verify` finds wrong; the numbers are not computed again, their bytes were compared."""
    from rmbench.verify import verify

    return verify(run, numbers=False).damages
