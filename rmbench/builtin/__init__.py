"""What comes with rmbench: a plugin like any other, behind the entry point ``builtin``."""

from collections.abc import Sequence
from pathlib import Path

from rmbench import Metric, Reward, Task, hookimpl
from rmbench.builtin import combine, hf, nulls, overlap, rouge, words


@hookimpl
def rmbench_rewards() -> Sequence[Reward]:
    """Give the built-in rewards, the null rewards among them."""
    return [*rouge.REWARDS, *overlap.REWARDS, *words.REWARDS, *combine.REWARDS, *hf.REWARDS, *nulls.REWARDS]


@hookimpl
def rmbench_metrics() -> Sequence[Metric]:
    """Give the built-in metrics."""
    from rmbench.builtin.metrics import METRICS

    return list(METRICS)


@hookimpl
def rmbench_tasks() -> Sequence[Task]:
    """Give the tasks that ship: from the wheel, or from the repository where rmbench is installed editable."""
    from rmbench.tasks import load_tasks

    package = Path(__file__).parent.parent
    shipped = package / "_tasks"
    folder = shipped if shipped.is_dir() else package.parent / "tasks"
    return load_tasks(folder)
