"""Fake distributions, suites and runs that tests make."""

from __future__ import annotations

import atexit
import contextlib
import importlib
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

REPO = Path(__file__).resolve().parent.parent


def distribution(
    folder: Path, name: str, code: str, *, version: str = "1.0", entry: str | None = None, requires: str = ""
) -> Path:
    """Write an importable module and the metadata that an installed distribution would have."""
    module = name.replace("-", "_")
    (folder / f"{module}.py").write_text(code, encoding="utf-8")
    info = folder / f"{module}-{version}.dist-info"
    info.mkdir()
    needs = f"Requires-Dist: {requires}\n" if requires else ""
    text = f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n{needs}"
    (info / "METADATA").write_text(text, encoding="utf-8")
    (info / "entry_points.txt").write_text(f"[rmbench]\n{entry or name} = {module}\n", encoding="utf-8")
    return folder


def reward_code(name: str, body: str = "return [1.0] * len(batch)") -> str:
    """Return the code of a plugin that gives one reward."""
    return f'''
from rmbench import Reward, hookimpl

def build(scale: float = 1.0):
    """A reward of a test."""
    def score(batch):
        {body}
    return score

@hookimpl
def rmbench_rewards():
    return [Reward(name="{name}", version=1, build=build)]
'''


def rows(count: int = 6, *, references: bool = True) -> list[dict]:
    """Return rows of three candidates each: word for word, half of it, and something else."""
    made = []
    for i in range(count):
        truth = f"the cat number {i} sat on the mat in house {i * 7}"
        made.append(
            {
                "id": f"row-{i}",
                "prompt": f"What did cat {i} do?",
                **({"references": [truth]} if references else {}),
                "candidates": [
                    {"system": "whole", "text": truth, "human": {"quality": 3.0}, "raters": {"quality": [3, 3]}},
                    {
                        "system": "half",
                        "text": " ".join(truth.split()[:5]),
                        "human": {"quality": 2.0},
                        "raters": {"quality": [2, 2]},
                    },
                    {
                        "system": "other",
                        "text": f"a dog barked {i} times",
                        "human": {"quality": 1.0},
                        "raters": {"quality": [1, 1]},
                    },
                ],
            }
        )
    return made


def jsonl(path: Path, objects: list[dict]) -> Path:
    """Write objects as JSON lines."""
    path.write_text("".join(json.dumps(o) + "\n" for o in objects), encoding="utf-8")
    return path


def rmbench(
    *words: object, path: Path | None = None, stdin: str | None = None, cwd: Path | None = None, **environment: str
):
    """Run the command line in a process of its own, with a folder of fake distributions in front.

    It is forked from a Python that has imported the packages of others (preloaded.py), unless something is asked for
    that Python reads when it starts: variables other than rmbench's and PYTHONPATH.
    """
    env = {k: v for k, v in os.environ.items() if not k.startswith("RMBENCH_")} | environment
    if path is not None:
        env["PYTHONPATH"] = os.pathsep.join([str(path), *filter(None, [os.environ.get("PYTHONPATH")])])
    if at_start(env) == Preloaded.variables:
        return Preloaded.get().run([*map(str, words)], env, stdin or "", cwd or Path.cwd())
    command = [sys.executable, "-m", "rmbench.cli.main", *map(str, words)]
    return subprocess.run(
        command, input=stdin, capture_output=True, text=True, env=env, cwd=cwd, timeout=300, check=False
    )


def at_start(environment: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that Python or a package may read once, when it starts."""
    later = ("RMBENCH_", "PYTEST_", "PYTHONPATH")  # the last is put in place by preloaded.py
    return {name: value for name, value in environment.items() if not name.startswith(later)}


class Preloaded:
    """The Python of preloaded.py that this process forks its commands from."""

    variables = at_start(os.environ)
    one: Preloaded | None = None

    @classmethod
    def get(cls) -> Preloaded:
        """Start it for the first command."""
        if cls.one is None:
            cls.one = cls()
            atexit.register(cls.one.close)
        return cls.one

    def __init__(self) -> None:
        self.control, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        command = [sys.executable, str(REPO / "tests" / "preloaded.py"), str(theirs.fileno())]
        env = self.variables | {name: os.environ[name] for name in ("PYTHONPATH",) if name in os.environ}
        with theirs, Path(os.devnull).open("r+b") as null:
            self.process = subprocess.Popen(
                command,
                pass_fds=[theirs.fileno()],
                stdin=null,
                stdout=null,
                env=env,
                start_new_session=True,
            )

    def run(
        self, words: list[str], environment: dict[str, str], stdin: str, folder: Path
    ) -> subprocess.CompletedProcess:
        """Run one command to its end."""
        request = {"words": words, "environment": environment, "folder": str(folder)}
        with contextlib.ExitStack() as stack:
            streams = [stack.enter_context(tempfile.TemporaryFile("w+", encoding="utf-8")) for _ in range(3)]
            streams[0].write(stdin)
            streams[0].seek(0)
            socket.send_fds(self.control, [json.dumps(request).encode()], [stream.fileno() for stream in streams])
            code = self._answer(words)
            for stream in streams[1:]:
                stream.seek(0)
            return subprocess.CompletedProcess(words, code, streams[1].read(), streams[2].read())

    def _answer(self, words: list[str]) -> int:
        self.control.settimeout(300)
        try:
            return int(self.control.recv(64))
        except TimeoutError:
            os.killpg(self.process.pid, signal.SIGKILL)
            raise subprocess.TimeoutExpired(words, 300) from None

    def close(self) -> None:
        """End it."""
        self.control.close()
        self.process.wait(10)


@contextmanager
def modules_of(folder: Path, names: tuple[str, ...]):
    """Import the modules of a report's folder, which is no package, and let them go again."""
    sys.path.insert(0, str(folder))
    try:
        yield SimpleNamespace(**{name: importlib.import_module(name) for name in names})
    finally:
        sys.path.remove(str(folder))
        for name in names:
            sys.modules.pop(name, None)
