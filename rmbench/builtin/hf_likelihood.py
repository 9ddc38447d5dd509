"""How likely a local causal language model finds the response: given its prompt, or as a text alone (fluency).

Weights are read from safetensors, offline, and no code of the folder is run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rmbench import Batch, NoScore, Reward, Runtime
from rmbench.builtin.hf import Dtype, Template, Truncation, check_length, form_of, taken, where
from rmbench.builtin.options import choice, flag
from rmbench.kernel.imports import undisturbed
from rmbench.prompts import prompts_of

Columns = Mapping[str, Sequence[float | NoScore | None]]
Normalise = Literal["tokens", "none"]


def hf_likelihood(
    *,
    path: Path,
    normalise: Normalise = "tokens",
    alone: bool = False,
    max_length: int | None = None,
    truncation: Truncation = "left",
    chat_template: Template | None = None,
    system: str | None = None,
    dtype: Dtype | None = None,
    runtime: Runtime | None = None,
) -> Callable[[Batch], Columns]:
    """Mean log-probability per token of the response given the prompt, by a local causal-LM folder; at most 0.

    The natural logarithm; normalise = "none" gives the sum over the response's tokens. Higher is likelier. Parts:
    tokens (how many are counted), sum. The response's tokens are those that hold a character of it: EOS or the end of
    the turn behind it is not counted; a response without any has no score. Prompt and response become text as for hf,
    by the chat template where there is one. Where the prompt is empty and no system is given, or alone = true (then
    prompt, template and system are left out), the text stands alone behind BOS; where the tokenizer has none, the first
    token, which nothing precedes, is not counted, and a text of one token has no score. max_length, truncation,
    chat_template, system and dtype are as for hf.
    """
    choice("normalise", normalise, ("tokens", "none"))
    choice("truncation", truncation, ("left", "right", "error"))
    flag("alone", alone)
    if alone and (system is not None or chat_template is not None):
        raise ValueError(
            "alone is true, which leaves out what system and chat_template would add: give one or the other"
        )
    check_length(language_model(path), max_length)
    given: dict[str, Any] = {
        **where(runtime, dtype),
        "max_length": max_length, "truncation": truncation, "chat_template": "none" if alone else chat_template,
        "system": system,
    }  # fmt: skip
    return Scorer(path, given, normalise=normalise, alone=alone)


class Scorer:
    """Scores batches; the weights are read with the first one, so that a suite is checked without them."""

    def __init__(self, path: Path, given: Mapping[str, Any], *, normalise: str, alone: bool) -> None:
        self.path = path
        self.given = given
        self.normalise = normalise
        self.alone = alone
        self.made: Any = None

    def __call__(self, batch: Batch) -> Columns:
        """Return the columns score, tokens and sum."""
        if self.made is None:
            with undisturbed():
                from rmbench.kernel.models.causal import causal_scorer

            self.made = causal_scorer(self.path, **self.given)
        rows = self.made.rows([""] * len(batch) if self.alone else prompts_of(batch), batch.responses)
        mean = self.normalise == "tokens"
        sums = [row.total if isinstance(row.total, float) else NoScore(row.total.reason) for row in rows]
        pairs = list(zip(sums, rows, strict=True))
        return {
            "score": [one / row.tokens if mean and isinstance(one, float) else one for one, row in pairs],
            "tokens": [float(row.tokens) for row in rows],
            "sum": [one if isinstance(one, float) else None for one in sums],
        }

    def measures(self) -> Mapping[str, float]:
        """Return what scoring took (see ``hf.Scorer.measures``)."""
        return {} if self.made is None else taken([self.made])


def language_model(path: Path) -> Any:
    """Return what a folder holds, without its weights; an ``InputError`` where it is no causal language model."""
    from rmbench.kernel.models.files import HELP, wrong
    from rmbench.kernel.models.folder import CAUSAL, TOKENIZER, inspect

    folder = inspect(path, CAUSAL)
    if not any((folder.path / name).exists() for name in TOKENIZER):
        raise wrong("has no tokenizer", folder.path, HELP)
    return folder


def _facts(
    *, path: Path, chat_template: Template | None = None, alone: bool = False, **_: object
) -> Iterable[str]:  # fmt: skip
    return ["form:alone"] if alone else form_of(language_model(path).template, chat_template)


REWARDS = (
    Reward(name="hf-likelihood", version=1, build=hf_likelihood, backends=("torch", "transformers"), facts=_facts),
)
