"""Write every page of reports/robustness, one command after the other, and the page that joins them.

    python reports/robustness/make.py [--quick]

Each command runs by itself too. ``--quick`` tries fewer faults and no million rows. Needs strace (faults.py) and about
40 minutes on two quiet cores.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
COMMANDS = {  # page -> (command, what --quick adds)
    "faults": ("faults.py", ["--quick"]),
    "inputs": ("inputs.py", []),
    "plugins": ("plugins.py", []),
    "hostile": ("hostile.py", []),
    "engine": ("engine.py", ["--rows", "10000", "100000"]),
}


def main() -> int:
    """Run the commands and return 1 where one of them says that something did not hold."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n", maxsplit=1)[0])
    parser.add_argument("--quick", action="store_true", help="fewer faults, fewer rows")
    parser.add_argument("pages", nargs="*", choices=[*COMMANDS, []], help="only these")
    given = parser.parse_args()
    failed = []
    for page in given.pages or COMMANDS:
        name, less = COMMANDS[page]
        print(f"{name} ...", flush=True)
        if subprocess.call([sys.executable, HERE / name, *(less if given.quick else [])]):  # noqa: S603 - our own command
            failed.append(name)
    for name in failed:
        print(f"{name}: not all of it held, see its page")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
