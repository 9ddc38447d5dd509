"""Policies that come with rmbench: ``tiny`` and ``hf``. torch is imported where one is built or loaded."""

from pathlib import Path

from rmbench.api import Runtime
from rmbench.judged import Judgements
from rmbench.kernel.imports import undisturbed
from rmbench.policies.options import Hf, Tiny
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


def build_hf(judgements: Judgements, options: Hf, runtime: Runtime) -> Agent:
    """Return the policy of a local Hugging Face folder (see ``rmbench.policies.hf``)."""
    with undisturbed():
        from rmbench.policies.hf import build

        return build(judgements, options, runtime)


def load_hf(folder: Path, options: Hf, runtime: Runtime) -> Agent:
    """Return the policy of a folder that one was saved into."""
    with undisturbed():
        from rmbench.policies.hf import load

        return load(folder, options, runtime)


def check_hf(judgements: Judgements, options: Hf) -> None:
    """Refuse a folder that must not be loaded or does not fit the options, and more memory than there is."""
    with undisturbed():
        from rmbench.policies.hf import check

        check(judgements, options)


BACKENDS = ("torch", "transformers", "tokenizers")
POLICIES: tuple[Policy, ...] = (
    Policy(
        "tiny", 1, Tiny, build_tiny, load_tiny, BACKENDS, check_tiny,
        "A small new Llama or GPT-2 with a byte-pair encoding that is learnt from the task's train texts.",
    ),
    Policy(
        "hf", 1, Hf, build_hf, load_hf, BACKENDS, check_hf,
        "A local Hugging Face folder, causal or encoder-decoder, learnt whole or by LoRA (Hu et al. 2021).",
    ),
)  # fmt: skip
