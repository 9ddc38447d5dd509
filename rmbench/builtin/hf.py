"""A reward model from a local folder, without code: a Hugging Face sequence classifier, through the scoring kernel.

The score is the logit of the label, of any size and sign, or its probability; higher is better. Weights are read from
safetensors, offline, and no code of the folder is run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rmbench import Batch, NoScore, Reward, Runtime
from rmbench.builtin.options import choice, whole
from rmbench.kernel.imports import undisturbed
from rmbench.prompts import prompts_of

Columns = Mapping[str, Sequence[float | NoScore | None]]
Dtype = Literal["float32", "bfloat16", "float16"]
Truncation = Literal["left", "right", "error"]
Template = Path | Literal["none"]
Output = Literal["logit", "probability"]


def hf(
    *,
    path: Path,
    max_length: int | None = None,
    truncation: Truncation = "left",
    chat_template: Template | None = None,
    system: str | None = None,
    label: int | str | None = None,
    output: Output = "logit",
    dtype: Dtype | None = None,
    runtime: Runtime | None = None,
) -> Callable[[Batch], Columns]:
    """Logit of a local sequence-classification folder, or a label's probability; parts: tokens, tokens cut.

    Prompt and response become text by the chat template (the folder's, or a Jinja file; "none" for none), else as
    prompt + newline + response + EOS. A row longer than max_length (default: what the model takes) loses the beginning
    of its prompt; one whose response would be cut has no score, unless truncation is "right". Where the model has
    several labels, one must be named. With output = "probability" the score is that label's, in [0, 1]: by the softmax
    over the labels, or the sigmoid of its logit where it is the only one or the model is a multi-label one
    (problem_type); so a sentiment or toxicity classifier is a reward. dtype is float32 on CPU and bfloat16 on a GPU
    unless it is given.
    """
    from rmbench.kernel.models.folder import inspect

    choice("truncation", truncation, ("left", "right", "error"))
    choice("output", output, ("logit", "probability"))
    folder = inspect(path)
    _check(folder, max_length, label)
    given: dict[str, Any] = {
        **where(runtime, dtype),
        "max_length": max_length, "truncation": truncation, "chat_template": chat_template, "system": system,
        "label": label, "output": output,
    }  # fmt: skip
    return Scorer(path, given)


class Scorer:
    """Scores batches; the weights are read with the first one, so that a suite is checked without them."""

    def __init__(self, path: Path, given: Mapping[str, Any]) -> None:
        self.path = path
        self.given = given
        self.made: Any = None

    def __call__(self, batch: Batch) -> Columns:
        """Return the columns score, tokens and cut."""
        if self.made is None:
            with undisturbed():
                from rmbench.kernel import sequence_scorer

            self.made = sequence_scorer(self.path, **self.given)
        rows = self.made.rows(prompts_of(batch), batch.responses)
        return {
            "score": [row.score if isinstance(row.score, float) else NoScore(row.score.reason) for row in rows],
            "tokens": [float(row.parts.tokens) for row in rows],
            "cut": [float(row.parts.cut) for row in rows],
        }

    def measures(self) -> Mapping[str, float]:
        """Return tokens a second, tokens real and computed, rows that were repeats, and where the seconds went."""
        return {} if self.made is None else taken([self.made])


def taken(scorers: Sequence[Any]) -> dict[str, float]:
    """Return what scorers of the kernel took in all: tokens and seconds (see ``Scorer.measures``)."""
    meters, timings = [one.tokens.meter for one in scorers], [one.timings for one in scorers]
    total = sum(took.total for took in timings)
    tokens = sum(meter.real for meter in meters)
    return {
        "tokens-per-second": tokens / total if total else 0.0,
        "tokens": tokens,
        "tokens-computed": sum(meter.computed for meter in meters),
        "rows-repeated": sum(meter.repeated for meter in meters),
        "seconds-tokenising": sum(took.encoding for took in timings),
        "seconds-planning": sum(took.planning for took in timings),
        "seconds-forward": sum(took.forward for took in timings),
        "seconds-otherwise": sum(took.rest for took in timings),
    }


def where(runtime: Runtime | None, dtype: Dtype | None) -> dict[str, str]:
    """Return on which device, and in which dtype, a model computes."""
    engine = runtime or Runtime()
    return {"device": engine.device, "dtype": dtype or engine.dtype}


def check_length(folder: Any, max_length: int | None) -> None:
    """Raise a ``ValueError`` where ``max_length`` is no number of tokens that the folder's model takes."""
    if max_length is not None:
        whole("max_length", max_length, 1)
        if folder.positions is not None and max_length > folder.positions:
            raise ValueError(f"max_length is {max_length:,}, the model takes {folder.positions:,} tokens")


def _check(folder: Any, max_length: int | None, label: int | str | None) -> None:
    """Refuse, before anything is loaded, what the folder's configuration already rules out."""
    check_length(folder, max_length)
    from rmbench.kernel.models.folder import listed_labels

    names = folder.labels
    known = listed_labels(names)
    if label is None and len(names) > 1:
        raise ValueError(f"the model has {len(names)} labels: choose one with label: {known}")
    same = [index for index, name in names.items() if name == label]
    if len(same) > 1:
        raise ValueError(f"{len(same)} labels are named {label!r}: choose one by its index: {known}")
    if isinstance(label, bool) or (label is not None and label not in names and not same):
        raise ValueError(f"label is {label!r}, the model has {known}")


def _facts(*, path: Path, chat_template: Template | None = None, **_: object) -> Iterable[str]:
    from rmbench.kernel.models.folder import inspect

    return form_of(inspect(path).template, chat_template)


def form_of(own: str | None, chat_template: Template | None) -> list[str]:
    """Say how prompt and response become text, which the options leave to the folder and its ``own`` template."""
    from rmbench.kernel.models.files import read_text, short_hash

    text = read_text(chat_template) if isinstance(chat_template, Path) else own if chat_template is None else None
    return ["form:plain" if text is None else f"form:chat#{short_hash(text)}"]


REWARDS = (Reward(name="hf", version=1, build=hf, backends=("torch", "transformers"), facts=_facts),)
