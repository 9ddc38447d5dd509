"""A Python that has imported the packages of others and starts the command line by a fork: run by fakes.py.

A command of a test is a process of its own all the same: its own folder, environment, streams, workers and exit code,
with no module of rmbench imported before it starts. It only does not pay two seconds for pandas, SciPy and NLTK again.
"""

import atexit
import contextlib
import gc
import importlib
import json
import os
import runpy
import socket
import sys
import threading
from collections.abc import Mapping
from pathlib import Path

PACKAGES = (
    "altair", "jinja2", "numpy", "pandas", "pyarrow.parquet", "rich.console", "rich.progress", "rich.table",
    "rouge_score.rouge_scorer", "scipy.stats", "typer", "vl_convert",
)  # fmt: skip
LARGEST = 2**20  # bytes of a request: the environment is most of it


def serve(control: socket.socket) -> bool:
    """Fork for each request and answer with the exit code; return True in the child, False when nobody asks more."""
    while True:
        message, streams, _, _ = socket.recv_fds(control, LARGEST, 3)
        if not message:
            return False
        child = os.fork()
        if child == 0:
            control.close()
            become(json.loads(message), streams)
            return True
        for stream in streams:
            os.close(stream)
        _, status = os.waitpid(child, 0)
        with contextlib.suppress(BrokenPipeError):
            control.send(json.dumps(os.waitstatus_to_exitcode(status)).encode())


def places(environment: Mapping[str, str]) -> list[str]:
    """Return the folders of PYTHONPATH as Python puts them into sys.path, behind the first place."""
    return [str(Path.cwd() / place) for place in environment.get("PYTHONPATH", "").split(os.pathsep) if place]


def become(request: dict, streams: list[int]) -> None:
    """Take the folder, environment, words and streams that `python -m rmbench.cli.main` would have started with."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
        os.close(stream)
    os.chdir(request["folder"])
    before = places(os.environ)
    os.environ.clear()
    os.environ.update(request["environment"])
    sys.path[: 1 + len(before)] = [os.getcwd(), *places(os.environ)]
    sys.argv = ["rmbench", *request["words"]]
    importlib.invalidate_caches()


def started() -> int:
    """Run the command line and return its exit code."""
    try:
        runpy.run_module("rmbench.cli.main", run_name="__main__", alter_sys=True)
    except SystemExit as end:
        return end.code
    return 0


def leave(code: int) -> None:
    """End as Python ends, but do not take down every module first: that takes longer than most commands."""
    for thread in threading.enumerate():
        if thread is not threading.current_thread() and not thread.daemon:
            thread.join()
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


if __name__ == "__main__":
    for package in PACKAGES:
        importlib.import_module(package)
    gc.freeze()  # a collection in a child would copy all of their memory
    assert not [name for name in sys.modules if name.split(".")[0] == "rmbench"]
    if serve(socket.socket(fileno=int(sys.argv[1]))):
        leave(started())
