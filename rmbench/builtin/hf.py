"""A reward model from a local folder, without code: a Hugging Face sequence classifier, through the scoring kernel.

The score is the logit of the label, of any size and sign; higher is better. Weights are read from safetensors, offline,
and no code of the folder is run.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from rmbench import Batch, NoScore, Reward, Runtime
from rmbench.builtin.options import choice, whole
from rmbench.kernel.imports import undisturbed

Columns = Mapping[str, Sequence[float | NoScore | None]]
Dtype = Literal["float32", "bfloat16", "float16"]
Truncation = Literal["left", "right", "error"]
Template = Path | Literal["none"]


def hf(
    *,
    path: Path,
    max_length: int | None = None,
    truncation: Truncation = "left",
    chat_template: Template | None = None,
    system: str | None = None,
    label: int | str | None = None,
    dtype: Dtype | None = None,
    runtime: Runtime | None = None,
) -> Callable[[Batch], Columns]:
    """Logit of a local sequence-classification folder; parts: tokens, and tokens that truncation cut.

    Prompt and response become text by the chat template (the folder's, or a Jinja file; "none" for none), else as
    prompt + newline + response + EOS. A row longer than max_length (default: what the model takes) loses the beginning
    of its prompt; one whose response would be cut has no score, unless truncation is "right". Where the model has
    several labels, one must be named. dtype is float32 on CPU and bfloat16 on a GPU unless it is given.
    """
    from rmbench.kernel.models.folder import inspect

    choice("truncation", truncation, ("left", "right", "error"))
    folder = inspect(path)
    _check(folder, max_length, label)
    given: dict[str, Any] = {
        "device": runtime.device if runtime else "cpu",
        "dtype": dtype or (runtime.dtype if runtime else "float32"),
        "max_length": max_length, "truncation": truncation, "chat_template": chat_template, "system": system,
        "label": label,
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
        rows = self.made.rows(_prompts(batch), batch.responses)
        return {
            "score": [row.score if isinstance(row.score, float) else NoScore(row.score.reason) for row in rows],
            "tokens": [float(row.parts.tokens) for row in rows],
            "cut": [float(row.parts.cut) for row in rows],
        }

    def measures(self) -> Mapping[str, float]:
        """Return tokens a second, tokens real and computed, rows that were repeats, and where the seconds went."""
        if self.made is None:
            return {}
        meter, took = self.made.tokens.meter, self.made.timings
        return {
            "tokens-per-second": meter.real / took.total if took.total else 0.0,
            "tokens": meter.real, "tokens-computed": meter.computed, "rows-repeated": meter.repeated,
            "seconds-tokenising": took.encoding, "seconds-planning": took.planning, "seconds-forward": took.forward,
            "seconds-otherwise": took.rest,
        }  # fmt: skip


def _prompts(batch: Batch) -> list[Any]:
    """Return what the model sees of each row: the prompt, or the conversation where it is one."""
    alone = [len(turns) == 1 and turns[0].role == "user" for turns in batch.messages]
    return [
        turns[0].content if one else [{"role": turn.role, "content": turn.content} for turn in turns]
        for one, turns in zip(alone, batch.messages, strict=True)
    ]


def _check(folder: Any, max_length: int | None, label: int | str | None) -> None:
    """Refuse, before anything is loaded, what the folder's configuration already rules out."""
    if max_length is not None:
        whole("max_length", max_length, 1)
        if folder.positions is not None and max_length > folder.positions:
            raise ValueError(f"max_length is {max_length:,}, the model takes {folder.positions:,} tokens")
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
    """Say how prompt and response become text, which the options leave to the folder."""
    from rmbench.kernel.models.files import read_text, short_hash
    from rmbench.kernel.models.folder import inspect

    own = inspect(path).template if chat_template is None else None
    text = read_text(chat_template) if isinstance(chat_template, Path) else own
    return ["form:plain" if text is None else f"form:chat#{short_hash(text)}"]


REWARDS = (Reward(name="hf", version=1, build=hf, backends=("torch", "transformers"), facts=_facts),)
