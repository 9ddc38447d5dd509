"""A world whose outcomes can be listed: the reward ``toy`` and the policy ``tabular``, to check theory with."""

from collections.abc import Callable
from pathlib import Path

from rmbench.api import Batch, NoScore, Reward, Runtime
from rmbench.errors import InputError
from rmbench.judged import Judgements
from rmbench.policies.tabular_options import Tabular
from rmbench.policy import Agent, Policy
from rmbench.toy_world import place_of, reward


def toy() -> Callable[[Batch], list[float | NoScore]]:
    """Reward of the toy world, in [0, 1], higher is better: see ``rmbench.toy_world.reward``.

    A prompt or a response of another world cannot be scored.
    """

    def row(prompt: str, text: str) -> float | NoScore:
        try:
            return reward(prompt, text)
        except InputError as error:
            return NoScore(error.what)

    def score(batch: Batch) -> list[float | NoScore]:
        return [row(prompt, text) for prompt, text in zip(batch.prompts, batch.responses, strict=True)]

    return score


def build_tabular(judgements: Judgements, options: Tabular, runtime: Runtime) -> Agent:
    """Return a new table (see ``rmbench.policies.tabular``)."""
    from rmbench.policies.tabular import build

    return build(judgements, options, runtime)


def load_tabular(folder: Path, options: Tabular, runtime: Runtime) -> Agent:
    """Return a saved table."""
    from rmbench.policies.tabular import load

    return load(folder, options, runtime)


def check_tabular(judgements: Judgements, _: Tabular) -> None:
    """Refuse prompts of another world."""
    for sample in (*judgements.train.samples, *judgements.dev.samples):
        try:
            place_of(sample.prompt)
        except InputError as error:
            raise InputError(error.what, where=f"task {judgements.task.name}", help=error.help) from error


REWARDS = (Reward(name="toy", version=1, build=toy),)
POLICIES = (
    Policy(
        "tabular", 1, Tabular, build_tabular, load_tabular, backends=("torch",), check=check_tabular,
        doc="A table of logits for every prompt and prefix of the task toy, whose outcomes can be listed.",
    ),
)  # fmt: skip
