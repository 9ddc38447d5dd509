"""Policies that come with rmbench: ``tiny`` and ``hf``. torch is imported where one is built or loaded."""

from pathlib import Path

from rmbench.api import Runtime
from rmbench.judged import Judgements
from rmbench.kernel.imports import undisturbed
from rmbench.policies.options import Tiny
from rmbench.policy import Agent, Policy


def build_tiny(judgements: Judgements, options: Tiny, runtime: Runtime) -> Agent:
    """Return a new small language model (see ``rmbench.policies.tiny``)."""
    with undisturbed():  # torch's compiler and transformers set variables where they are first used
        from rmbench.policies.tiny import build

        return build(judgements, options, runtime)


def load_tiny(folder: Path, options: Tiny, runtime: Runtime) -> Agent:
    """Return the small language model of a folder."""
    with undisturbed():
        from rmbench.policies.tiny import load

        return load(folder, options, runtime)


def check_tiny(judgements: Judgements, options: Tiny) -> None:
    """Refuse more memory than there is, and a task without texts."""
    with undisturbed():
        from rmbench.policies.tiny import check

        check(judgements, options)


BACKENDS = ("torch", "transformers", "tokenizers")
POLICIES: tuple[Policy, ...] = (
    Policy(
        "tiny", 1, Tiny, build_tiny, load_tiny, BACKENDS, check_tiny,
        "A small new Llama or GPT-2 with a byte-pair encoding that is learnt from the task's train texts.",
    ),
)  # fmt: skip
