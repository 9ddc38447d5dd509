"""The arrows of the design, read from the imports, and what may be imported at start-up."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "rmbench"
HEAVY = (
    "torch",
    "transformers",
    "pandas",
    "scipy",
    "pyarrow",
    "numpy",
    "sacrebleu",
    "rouge_score",
    "altair",
    "jinja2",
    "numba",
)


def imports(path: Path) -> set[str]:
    """Modules of rmbench that a file imports when it runs; what only a type checker reads does not count."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    typing_only = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"
        for inner in ast.walk(node)
    }
    found = set()
    for node in ast.walk(tree):
        if id(node) in typing_only:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.startswith("rmbench"):
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names if alias.name.startswith("rmbench")}
    return found


def offenders(pattern: str, forbidden: tuple[str, ...]) -> list[str]:
    return [
        f"{path.relative_to(PACKAGE)} imports {name}"
        for path in sorted(PACKAGE.glob(pattern))
        for name in sorted(imports(path))
        if name.startswith(forbidden)
    ]


@pytest.mark.parametrize(
    ("pattern", "forbidden"),
    [
        ("api.py", ("rmbench.",)),
        ("errors.py", ("rmbench.",)),
        ("hookspecs.py", ("rmbench.plugins", "rmbench.engine", "rmbench.runs", "rmbench.tasks")),
        ("stats/*.py", ("rmbench.api", "rmbench.tasks", "rmbench.studies", "rmbench.engine", "rmbench.store", "rmbench.report")),
        ("tasks.py", ("rmbench.engine", "rmbench.suite", "rmbench.plugins", "rmbench.store", "rmbench.studies", "rmbench.report")),
        ("suite.py", ("rmbench.engine", "rmbench.store", "rmbench.studies", "rmbench.report", "rmbench.cli")),
        ("store.py", ("rmbench.engine", "rmbench.suite", "rmbench.studies", "rmbench.report", "rmbench.cli")),
        ("studies/*.py", ("rmbench.engine", "rmbench.process", "rmbench.worker", "rmbench.plugins", "rmbench.report", "rmbench.cli")),
        ("kernel/**/*.py", ("rmbench.api", "rmbench.tasks", "rmbench.samples", "rmbench.suite", "rmbench.engine", "rmbench.process", "rmbench.plugins", "rmbench.store", "rmbench.studies", "rmbench.report", "rmbench.builtin")),
        ("models/*.py", ("rmbench.plugins", "rmbench.tasks", "rmbench.suite", "rmbench.engine", "rmbench.process", "rmbench.runs", "rmbench.studies", "rmbench.report", "rmbench.builtin")),
        ("policies/*.py", ("rmbench.plugins", "rmbench.tasks", "rmbench.suite", "rmbench.engine", "rmbench.process", "rmbench.runs", "rmbench.studies", "rmbench.report", "rmbench.builtin", "rmbench.trainers")),
        ("trainers/*.py", ("rmbench.plugins", "rmbench.tasks", "rmbench.suite", "rmbench.engine", "rmbench.process", "rmbench.runs", "rmbench.studies", "rmbench.report", "rmbench.builtin")),
        ("judged.py", ("rmbench.plugins", "rmbench.tasks", "rmbench.suite", "rmbench.engine", "rmbench.models")),
        ("fitter.py", ("rmbench.suite", "rmbench.engine", "rmbench.runs", "rmbench.studies", "rmbench.report")),
        ("report/*.py", ("rmbench.engine", "rmbench.process", "rmbench.scoring", "rmbench.plugins", "rmbench.stats", "rmbench.cli")),
        ("[!c]*.py", ("rmbench.cli",)),
        ("builtin/*.py", ("rmbench.engine", "rmbench.process", "rmbench.plugins", "rmbench.store", "rmbench.suite", "rmbench.studies")),
    ],
)  # fmt: skip
def test_arrows(pattern, forbidden):
    assert list(PACKAGE.glob(pattern))
    assert offenders(pattern, forbidden) == []


@pytest.mark.parametrize(
    "code",
    [
        "import rmbench",
        "import rmbench; rmbench.run; rmbench.score; rmbench.from_trl",
        "import sys; sys.argv = ['rmbench', '--help']; from rmbench.cli.main import invoke; invoke(['--help'])",
        "from rmbench.cli.main import invoke; invoke(['list'])",
        "from rmbench.cli.main import invoke; invoke(['list', '--json'])",
        "import rmbench.worker",
        "import rmbench.kernel",
        "import rmbench.builtin.policies",
        "import rmbench.builtin.trainers",
    ],
)
def test_start_up_leaves_heavy_packages_unimported(code):
    probe = (
        f"{code}\nimport sys\nloaded = [name for name in {HEAVY!r} if name in sys.modules]\nassert not loaded, loaded"
    )
    done = subprocess.run([sys.executable, "-c", probe], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]


def test_help_imports_no_plugin(tmp_path):
    from fakes import distribution, rmbench

    distribution(tmp_path, "loud", "raise SystemExit('imported')")
    done = rmbench("--help", path=tmp_path, RMBENCH_STRICT="1")
    assert done.returncode == 0
    assert "imported" not in done.stderr


def test_no_file_or_function_grows_past_the_house_limits():
    for path in sorted(PACKAGE.rglob("*.py")):
        text = path.read_text(encoding="utf-8")
        assert text.count("\n") <= 400, path
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 60, f"{path}:{node.name}"


def test_the_driver_never_imports_torch():
    for path in PACKAGE.rglob("*.py"):
        apart = {"models", "policies", "trainers"} & set(path.parts)
        if not apart and path.name != "device.py":  # that one scores the tensors it is given
            assert "import torch" not in path.read_text(encoding="utf-8"), path
